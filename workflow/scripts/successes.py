"""Puts the attacks on all models into one table."""

from consilience.logs import log_to
from consilience.transfer.overview import make_successes

log_to(snakemake.log[0])
make_successes(snakemake.input, snakemake.output[0])
