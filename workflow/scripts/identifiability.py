"""Compares the predictions and representations of all classifiers of one architecture."""

from consilience.identifiability import make_identifiability
from consilience.logs import log_to

log_to(snakemake.log[0])
make_identifiability(
    snakemake.input.manifest,
    snakemake.input.samples,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    models=snakemake.params.models,
    logit_columns=snakemake.params.logit_columns,
    seed=snakemake.params.seed,
    **snakemake.params.settings,
)
