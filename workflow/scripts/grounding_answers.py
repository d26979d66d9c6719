"""Reads what the models of tests answer on one dataset."""

from consilience.grounding import make_answers
from consilience.logs import log_to

log_to(snakemake.log[0])
make_answers(
    snakemake.input.manifest,
    snakemake.input.samples,
    snakemake.output.accuracies,
    snakemake.output.pairs,
    dataset=snakemake.wildcards.dataset,
    models=snakemake.params.models,
    sets=snakemake.params.sets,
    held_out=snakemake.params.held_out,
    logit_columns=snakemake.params.logit_columns,
    seed=snakemake.params.seed,
)
