"""Draws the similarity of model pairs against their gap in probe accuracy."""

from consilience.files import read_table
from consilience.logs import log_to
from consilience.plots import draw, read_inputs, similarity_accuracy

log_to(snakemake.log[0])
inputs = read_inputs(snakemake.input.similarity, snakemake.params.models, snakemake.params.label)
draw(
    snakemake.params.stem,
    similarity_accuracy,
    inputs.tables,
    read_table(snakemake.input.probe),
    inputs.models,
    axis=inputs.axis,
    group=snakemake.params.group,
    color=snakemake.params.color,
    layers=inputs.layers,
)
