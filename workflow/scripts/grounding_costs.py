"""Tells what each metric took to compute."""

from consilience.grounding import make_costs
from consilience.logs import log_to

log_to(snakemake.log[0])
make_costs(
    snakemake.input,
    snakemake.output[0],
    store=snakemake.params.store,
    domains=snakemake.params.domains,
    sharers=snakemake.params.sharers,
)
