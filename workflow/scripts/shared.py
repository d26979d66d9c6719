"""Compares all pairs of models on one dataset by metrics that share products or lists."""

from consilience.logs import log_to
from consilience.similarity import Engine, make_shared

log_to(snakemake.log[0])
make_shared(
    snakemake.input.manifest,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    specs=snakemake.params.specs,
    stores=snakemake.params.stores,
    shelf=snakemake.params.shelf,
    engine=Engine.of(snakemake.config["similarity"], snakemake.threads),
    pairs=snakemake.params.pairs,
)
