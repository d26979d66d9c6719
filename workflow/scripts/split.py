"""Deals the samples of a dataset to two sides, for each split of it."""

from consilience.logs import log_to
from consilience.train.split import make_splits

log_to(snakemake.log[0])
make_splits(snakemake.input.samples, snakemake.output, snakemake.params.splits)
