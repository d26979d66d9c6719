"""Compares all pairs of models on halves of one dataset by one metric."""

from consilience.logs import log_to
from consilience.reliability import make_reliability
from consilience.similarity import Engine

log_to(snakemake.log[0])
make_reliability(
    snakemake.input.manifest,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    metric_id=snakemake.wildcards.metric,
    spec=snakemake.params.spec,
    samples=snakemake.input.get("samples") or None,
    splits=snakemake.params.splits,
    seed=snakemake.params.seed,
    engine=Engine.of(snakemake.config["similarity"], snakemake.threads),
)
