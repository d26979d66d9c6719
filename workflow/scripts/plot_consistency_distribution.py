"""Draws the consistency over all dataset pairs, one box per pair of groups."""

import pandas as pd

from consilience.logs import log_to
from consilience.plots import consistency_distribution, draw, read_consistency

log_to(snakemake.log[0])
rows = snakemake.params.models
draw(
    snakemake.params.stem,
    consistency_distribution,
    read_consistency(snakemake.input),
    pd.DataFrame(list(rows.values()), index=list(rows)),
    group=snakemake.params.group,
    labels=snakemake.params.labels,
)
