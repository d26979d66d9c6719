"""Says how similarity follows overlap."""

from consilience.causes.tables import make_effects
from consilience.logs import log_to

log_to(snakemake.log[0])
make_effects(
    snakemake.input.get("tables", []),
    snakemake.input.get("published", []),
    snakemake.output[0],
    seed=snakemake.params.seed,
    **snakemake.params.settings,
)
