"""Deals the samples of a dataset to two sides with a known overlap."""

from consilience.logs import log_to
from consilience.train.split import make_split

log_to(snakemake.log[0])
make_split(snakemake.input.samples, snakemake.output[0], **snakemake.params.split)
