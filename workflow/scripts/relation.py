"""Relates the similarity of model pairs to how far they differ in what they do."""

from consilience.behavior import make_relation
from consilience.logs import log_to

log_to(snakemake.log[0])
make_relation(
    snakemake.input.similarity,
    snakemake.input.behavior,
    snakemake.output.table,
    snakemake.output.domains,
    domains=snakemake.params.domains,
    seed=snakemake.params.seed,
    **snakemake.params.settings,
)
