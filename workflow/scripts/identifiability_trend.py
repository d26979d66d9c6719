"""Says whether wider models are closer."""

from consilience.identifiability import make_trend
from consilience.logs import log_to

log_to(snakemake.log[0])
make_trend(
    snakemake.input,
    snakemake.output[0],
    seed=snakemake.params.seed,
    **snakemake.params.settings,
)
