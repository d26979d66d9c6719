"""Draws similarities over the number of stimuli and of neighbours."""

from consilience.files import read_table
from consilience.logs import log_to
from consilience.plots import draw, read_inputs, read_tables, sensitivity

log_to(snakemake.log[0])
inputs = read_inputs(snakemake.input.similarity, snakemake.params.models, snakemake.params.label)
stability = read_table(snakemake.input.stability)
draw(
    snakemake.params.stem,
    sensitivity,
    read_tables(snakemake.input.tables),
    stability[stability["metric"] == snakemake.wildcards.metric],
    axis=inputs.axis,
    layers=inputs.layers,
)
