"""Draws how much of similarity and consistency is noise of the stimuli."""

from consilience.files import read_table
from consilience.logs import log_to
from consilience.plots import draw, reliability

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    reliability,
    read_table(snakemake.input[0]),
    label=snakemake.params.label,
)
