"""Says what factors explain of how universal dimensions are."""

import pandas as pd

from consilience.factors import make_dimension_shares
from consilience.logs import log_to

log_to(snakemake.log[0])
rows = snakemake.params.models
make_dimension_shares(
    snakemake.input,
    pd.DataFrame(list(rows.values()), index=list(rows)),
    snakemake.output[0],
    **snakemake.params.settings,
)
