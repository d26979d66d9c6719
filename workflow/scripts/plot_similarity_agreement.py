"""Draws the mean similarity of model pairs by one metric against that by another."""

from consilience.logs import log_to
from consilience.plots import draw, read_metrics, similarity_agreement

log_to(snakemake.log[0])
metrics = read_metrics(snakemake.input, snakemake.params.models, snakemake.params.labels)
draw(snakemake.params.stem, similarity_agreement, metrics)
