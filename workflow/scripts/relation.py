"""Relates the similarity of model pairs to how far they differ in what they do."""

import pandas as pd

from consilience.behavior import make_relation
from consilience.logs import log_to

log_to(snakemake.log[0])
rows = snakemake.params.models
make_relation(
    snakemake.input.similarity,
    snakemake.input.behavior,
    snakemake.output.table,
    snakemake.output.domains,
    domains=snakemake.params.domains,
    models=pd.DataFrame(list(rows.values()), index=list(rows)),
    clusters=snakemake.params.clusters,
    seed=snakemake.params.seed,
    **snakemake.params.settings,
)
