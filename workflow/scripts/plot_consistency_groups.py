"""Draws the mean consistency within and between groups of models."""

from consilience.files import read_table
from consilience.logs import log_to
from consilience.plots import consistency_groups, draw, read_models

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    consistency_groups,
    read_table(snakemake.input[0]),
    read_models(snakemake.params.models),
    label=snakemake.params.label,
)
