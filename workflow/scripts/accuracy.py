"""Gathers the probe accuracies of a study."""

from consilience.logs import log_to
from consilience.probe import make_accuracy

log_to(snakemake.log[0])
make_accuracy(snakemake.input, snakemake.output[0])
