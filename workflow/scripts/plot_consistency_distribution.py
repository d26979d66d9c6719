"""Draws the consistency over all dataset pairs, a box per pair of groups."""

from consilience.logs import log_to
from consilience.plots import consistency_distribution, draw, read_consistency, read_models

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    consistency_distribution,
    read_consistency(snakemake.input),
    read_models(snakemake.params.models),
    group=snakemake.params.shown[0],
    column=snakemake.params.shown[1],
    labels=snakemake.params.labels,
)
