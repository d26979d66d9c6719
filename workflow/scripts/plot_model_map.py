"""Draws the models of every dataset as points whose distances are their dissimilarities."""

from consilience.logs import log_to
from consilience.plots import draw, model_map, read_inputs

log_to(snakemake.log[0])
inputs = read_inputs(snakemake.input.similarity, snakemake.params.models, snakemake.params.label)
draw(
    snakemake.params.stem,
    model_map,
    inputs.tables,
    inputs.models,
    axis=inputs.axis,
    group=snakemake.params.group,
    layers=inputs.layers,
)
