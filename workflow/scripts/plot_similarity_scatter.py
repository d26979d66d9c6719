"""Draws similarity on one dataset against similarity on another."""

from consilience.logs import log_to
from consilience.plots import draw, read_consistency, read_inputs, similarity_scatter

log_to(snakemake.log[0])
inputs = read_inputs(
    snakemake.input.similarity,
    snakemake.params.models,
    snakemake.params.label,
    snakemake.params.only,
)
draw(
    snakemake.params.stem,
    similarity_scatter,
    inputs.tables,
    read_consistency([snakemake.input.consistency]),
    inputs.models,
    axis=inputs.axis,
    group=snakemake.params.group,
    layers=inputs.layers,
)
