"""Compares the pairs of one shard of models on one dataset by one metric."""

from consilience.logs import log_to
from consilience.similarity import Engine, make_shard

log_to(snakemake.log[0])
make_shard(
    snakemake.input.manifest,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    metric_id=snakemake.wildcards.metric,
    spec=snakemake.params.spec,
    shard=int(snakemake.wildcards.shard),
    shards=snakemake.params.shards,
    store=snakemake.params.store,
    samples=snakemake.input.get("samples") or None,
    fresh=snakemake.config["fresh"],
    engine=Engine.of(snakemake.config["similarity"], snakemake.threads),
    pairs=snakemake.params.pairs,
)
