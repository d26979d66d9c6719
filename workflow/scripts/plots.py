"""Draws one figure: its facts say of what."""

from consilience.logs import log_to
from consilience.plots import draw_figure

log_to(snakemake.log[0])
draw_figure(
    snakemake.params.figure,
    snakemake.params.stem,
    dict(snakemake.input.items()),
    snakemake.params.said,
)
