"""Ranks metrics over all tests of recipes."""

from consilience.grounding import make_ranks
from consilience.logs import log_to

log_to(snakemake.log[0])
make_ranks(
    snakemake.input,
    snakemake.output.cases,
    snakemake.output.domains,
    snakemake.output.differences,
)
