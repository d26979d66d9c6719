"""Draws how much more consistent one group of models is than another."""

from consilience.logs import log_to
from consilience.plots import draw, group_differences, read_consistency, read_models

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    group_differences,
    read_consistency(snakemake.input),
    read_models(snakemake.params.models),
    labels=snakemake.params.labels,
)
