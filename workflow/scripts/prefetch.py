"""Fetches what the study needs from elsewhere."""

from consilience.logs import log_to
from consilience.prefetch import make_prefetch

log_to(snakemake.log[0])
make_prefetch(snakemake.params.rows, snakemake.output[0])
