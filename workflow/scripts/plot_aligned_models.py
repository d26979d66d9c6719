"""Draws the alignment of every two models across modalities as heat maps."""

from consilience.logs import log_to
from consilience.plots import aligned_models, draw, read_axis, read_tables

log_to(snakemake.log[0])
tables = read_tables(snakemake.input)
draw(
    snakemake.params.stem,
    aligned_models,
    tables,
    axis=read_axis(tables, snakemake.params.label),
)
