"""Compares all pairs of models on one dataset by one metric."""

from consilience.logs import log_to
from consilience.similarity import Engine, make_similarity

log_to(snakemake.log[0])
make_similarity(
    snakemake.input.manifest,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    metric_id=snakemake.wildcards.metric,
    spec=snakemake.params.spec,
    samples=snakemake.input.get("samples") or None,
    store=snakemake.params.store,
    fresh=snakemake.config["fresh"],
    engine=Engine.of(snakemake.config["similarity"], snakemake.threads),
    pairs=snakemake.params.pairs,
    shards=snakemake.input.get("shards") or (),
)
