"""Draws by how much similarities change from one number of stimuli to the next."""

from consilience.logs import log_to
from consilience.plots import draw, read_inputs, read_tables, stimuli_steps

log_to(snakemake.log[0])
inputs = read_inputs(snakemake.input.similarity, snakemake.params.models, snakemake.params.label)
draw(
    snakemake.params.stem,
    stimuli_steps,
    read_tables(snakemake.input.tables),
    axis=inputs.axis,
    layers=inputs.layers,
)
