"""Scores one metric on all tests of recipes."""

from consilience.grounding import make_grounding
from consilience.logs import log_to

log_to(snakemake.log[0])
make_grounding(
    snakemake.input.similarity,
    snakemake.input.accuracies,
    snakemake.input.answers,
    snakemake.output.table,
    snakemake.output.models,
    snakemake.output.samples,
    metric_id=snakemake.wildcards.metric,
    cases=snakemake.params.cases,
    thresholds=snakemake.params.thresholds,
    seed=snakemake.params.seed,
    **snakemake.params.draws,
)
