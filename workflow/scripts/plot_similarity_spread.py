"""Draws mean and spread of similarities over the datasets by one metric."""

from consilience.logs import log_to
from consilience.plots import draw, read_inputs, similarity_spread

log_to(snakemake.log[0])
inputs = read_inputs(snakemake.input.similarity, snakemake.params.models, snakemake.params.label)
draw(
    snakemake.params.stem,
    similarity_spread,
    inputs.tables,
    inputs.models,
    axis=inputs.axis,
    group=snakemake.params.group,
    transform=snakemake.params.transform,
    layers=inputs.layers,
)
