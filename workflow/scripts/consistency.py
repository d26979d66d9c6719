"""Measures how similarities carry over from dataset to dataset."""

import pandas as pd

from consilience.consistency import make_consistency
from consilience.logs import log_to

log_to(snakemake.log[0])
rows = snakemake.params.models
models = pd.DataFrame(list(rows.values()), index=list(rows))
make_consistency(
    snakemake.input.similarity,
    models,
    dict(snakemake.output.items()),
    reliability_paths=snakemake.input.reliability,
    samples_paths=snakemake.input.samples,
    sets=snakemake.params.sets,
    seed=snakemake.params.seed,
    **snakemake.params.settings,
)
