"""Draws the alignment of models across modalities."""

from consilience.logs import log_to
from consilience.plots import alignment, draw, read_axis, read_language, read_tables

log_to(snakemake.log[0])
tables = read_tables(snakemake.input.tables)
draw(
    snakemake.params.stem,
    alignment,
    tables,
    axis=read_axis(tables, snakemake.params.label),
    language=read_language(snakemake.input.manifests),
)
