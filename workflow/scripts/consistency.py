"""Measures how similarities by one metric carry over, and by others while libraries are up."""

from consilience.logs import log_to
from consilience.together import make_each

log_to(snakemake.log[0])
make_each("consilience.jobs.consistency", snakemake)
