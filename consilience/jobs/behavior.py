"""The job of how models differ in what they do, on one dataset."""

from typing import Any

from consilience.behavior import make_behavior


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the table of a job of Snakemake."""
    make_behavior(
        job.input.probe,
        job.input.manifest,
        job.input.samples,
        job.output[0],
        dataset=job.wildcards.dataset,
        logit_columns=job.params.logit_columns,
    )
