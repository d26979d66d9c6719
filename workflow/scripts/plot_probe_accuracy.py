"""Draws the accuracies of the linear probes of all models on all datasets."""

from consilience.files import read_table
from consilience.logs import log_to
from consilience.plots import draw, probe_accuracy, read_models

log_to(snakemake.log[0])
draw(
    snakemake.params.stem,
    probe_accuracy,
    read_table(snakemake.input[0]),
    read_models(snakemake.params.models),
    group=snakemake.params.group,
)
