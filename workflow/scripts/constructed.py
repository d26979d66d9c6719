"""Makes models that show what closeness of predictions says of features."""

from consilience.identifiability import make_constructed
from consilience.logs import log_to

log_to(snakemake.log[0])
make_constructed(
    snakemake.output[0],
    construction=snakemake.params.construction,
    seed=snakemake.params.seed,
)
