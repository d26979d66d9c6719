"""The job of how behavior goes together with similarities by one metric."""

from typing import Any

import pandas as pd

from consilience.behavior import make_relation


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the tables of a job of Snakemake."""
    rows = job.params.models
    make_relation(
        job.input.similarity,
        job.input.behavior,
        job.output.table,
        job.output.domains,
        domains=job.params.domains,
        models=pd.DataFrame(list(rows.values()), index=list(rows)),
        clusters=job.params.clusters,
        seed=job.params.seed,
        **job.params.settings,
    )
