"""The job of how similarities by one metric carry over."""

from typing import Any

import pandas as pd

from consilience.consistency import make_consistency


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the tables of a job of Snakemake."""
    rows = job.params.models
    make_consistency(
        job.input.similarity,
        pd.DataFrame(list(rows.values()), index=list(rows)),
        dict(job.output.items()),
        reliability_paths=job.input.reliability,
        samples_paths=job.input.samples,
        sets=job.params.sets,
        seed=job.params.seed,
        **job.params.settings,
    )
