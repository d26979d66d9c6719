"""Ranks published tables of ReSi beside the metrics of a study."""

from consilience.grounding.published import make_published
from consilience.logs import log_to

log_to(snakemake.log[0])
make_published(
    snakemake.params.sources,
    snakemake.output.values,
    snakemake.output.cases,
    snakemake.output.domains,
    own=snakemake.input.get("own", []),
    seed=snakemake.params.seed,
)
