"""Says how well other models predict single dimensions of each model."""

from consilience.factors import make_dimensions
from consilience.logs import log_to

log_to(snakemake.log[0])
make_dimensions(
    snakemake.input.manifest,
    snakemake.input.samples,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    models=snakemake.params.models,
    **snakemake.params.settings,
)
