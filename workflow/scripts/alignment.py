"""Aligns models on one dataset by one metric: reductions over all pairs of layers."""

from consilience.alignment import make_alignment
from consilience.logs import log_to

log_to(snakemake.log[0])
make_alignment(
    snakemake.input.manifest,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    metric_id=snakemake.wildcards.metric,
    spec=snakemake.params.spec,
    groups=snakemake.params.groups,
    permutations=snakemake.params.permutations,
    seed=snakemake.params.seed,
    store=snakemake.params.store,
    fresh=snakemake.config["fresh"],
    threads=snakemake.threads,
)
