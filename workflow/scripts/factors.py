"""Says what factors explain of the similarities of pairs of models."""

import pandas as pd

from consilience.factors import make_shares
from consilience.logs import log_to

log_to(snakemake.log[0])
rows = snakemake.params.models
make_shares(
    snakemake.input,
    pd.DataFrame(list(rows.values()), index=list(rows)),
    snakemake.output[0],
    **snakemake.params.settings,
)
