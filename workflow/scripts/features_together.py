"""Extracts the features of trained models on one dataset, and on others while libraries are up."""

from consilience.logs import log_to
from consilience.together import make_each

log_to(snakemake.log[0])
make_each("consilience.jobs.features_together", snakemake)
