"""Takes the pairs with a known overlap from one similarity table."""

from consilience.causes.tables import make_causes
from consilience.logs import log_to

log_to(snakemake.log[0])
make_causes(
    snakemake.input.similarity,
    snakemake.output[0],
    dataset=snakemake.wildcards.dataset,
    metric_id=snakemake.wildcards.metric,
    pairs=snakemake.params.pairs,
    learned=next(iter(snakemake.input.get("learned", [])), None),
    splits=snakemake.params.splits,
    sides=snakemake.params.sides,
)
