"""Compares all pairs of models on one dataset by metrics that share products or lists."""

from consilience.logs import log_to
from consilience.similarity import Engine, make_family

log_to(snakemake.log[0])
settings = snakemake.config.get("similarity", {})
make_family(
    snakemake.input.manifest,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    specs=snakemake.params.specs,
    stores=snakemake.params.stores,
    fresh=snakemake.params.fresh,
    engine=Engine(
        threads=snakemake.threads,
        max_memory=settings.get("max_memory_mb", 2000) * 2**20,
        checkpoint=settings.get("checkpoint", 60),
        device=settings.get("device", "cpu"),
        shelf=settings.get("shelf_mb", 2000) * 2**20,
    ),
)
