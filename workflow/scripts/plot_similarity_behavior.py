"""Draws how the similarity of models goes together with differences in what they do."""

from consilience.files import read_table
from consilience.logs import log_to
from consilience.plots import draw, similarity_behavior

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    similarity_behavior,
    read_table(snakemake.input[0]),
    label=snakemake.params.label,
)
