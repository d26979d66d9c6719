"""Draws the consistency of all models between every two datasets, by every metric."""

from consilience.logs import log_to
from consilience.plots import consistency_heatmap, draw, read_consistency

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    consistency_heatmap,
    read_consistency(snakemake.input),
    labels=snakemake.params.labels,
)
