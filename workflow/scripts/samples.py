"""Chooses the samples of one dataset."""

from consilience.logs import log_to
from consilience.samples import make_samples

log_to(snakemake.log[0])
make_samples(
    snakemake.params.row,
    snakemake.params.seed,
    snakemake.output[0],
    parent=snakemake.input.get("parent"),
)
