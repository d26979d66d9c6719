"""Measures consistency with what follows from accuracy taken out."""

import pandas as pd

from consilience.factors import make_matched
from consilience.logs import log_to

log_to(snakemake.log[0])
rows = snakemake.params.models
make_matched(
    snakemake.input.similarity,
    snakemake.input.accuracy,
    pd.DataFrame(list(rows.values()), index=list(rows)),
    dict(snakemake.output.items()),
    sets=snakemake.params.sets,
    seed=snakemake.params.seed,
    **snakemake.params.settings,
)
