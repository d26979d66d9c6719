"""Measures how far every two models differ in what they do on one dataset."""

from consilience.behavior import make_behavior
from consilience.logs import log_to

log_to(snakemake.log[0])
make_behavior(
    snakemake.input.probe,
    snakemake.input.manifest,
    snakemake.input.samples,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    logit_columns=snakemake.params.logit_columns,
)
