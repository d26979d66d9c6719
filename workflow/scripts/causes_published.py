"""Reads published tables of pairs."""

from consilience.causes.tables import make_published
from consilience.logs import log_to

log_to(snakemake.log[0])
make_published(snakemake.params.sources, snakemake.output[0])
