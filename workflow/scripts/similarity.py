"""Compares all pairs of models on one dataset by one metric."""

from consilience.logs import log_to
from consilience.similarity import Engine, make_similarity

log_to(snakemake.log[0])
settings = snakemake.config.get("similarity", {})
make_similarity(
    snakemake.input.manifest,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    metric_id=snakemake.wildcards.metric,
    spec=snakemake.params.spec,
    samples=snakemake.input.get("samples") or None,
    store=snakemake.params.store,
    fresh=snakemake.params.fresh,
    engine=Engine(
        threads=snakemake.threads,
        max_memory=settings.get("max_memory_mb", 2000) * 2**20,
        checkpoint=settings.get("checkpoint", 60),
        device=settings.get("device", "cpu"),
        shelf=settings.get("shelf_mb", 2000) * 2**20,
    ),
)
