"""Embeds the class names of one dataset with a text tower."""

from consilience.logs import log_to
from consilience.probe import make_prompts

log_to(snakemake.log[0])
make_prompts(
    snakemake.params.row,
    snakemake.input.samples,
    snakemake.output[0],
    templates=snakemake.params.templates,
)
