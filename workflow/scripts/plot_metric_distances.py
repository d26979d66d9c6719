"""Draws how far metrics are from each other in the consistency of anchors."""

from consilience.logs import log_to
from consilience.plots import draw, metric_distances, read_consistency

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    metric_distances,
    read_consistency(snakemake.input),
    labels=snakemake.params.labels,
)
