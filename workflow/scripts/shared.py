"""Compares models by metrics that share products or lists, and by others while libraries are up."""

from consilience.logs import log_to
from consilience.together import make_each

log_to(snakemake.log[0])
make_each("consilience.jobs.shared", snakemake)
