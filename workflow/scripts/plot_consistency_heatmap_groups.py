"""Draws the consistency between every two datasets within and between groups of models."""

from consilience.files import read_table
from consilience.logs import log_to
from consilience.plots import consistency_heatmap_groups, draw

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    consistency_heatmap_groups,
    read_table(snakemake.input[0]),
    group=snakemake.params.group,
    label=snakemake.params.label,
)
