"""Draws consistency by one metric against that by another."""

from consilience.logs import log_to
from consilience.plots import draw, metric_agreement, read_consistency

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    metric_agreement,
    read_consistency(snakemake.input),
    labels=snakemake.params.labels,
)
