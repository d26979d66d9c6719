"""The job of the samples of one dataset."""

from typing import Any

from consilience.samples import make_samples


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the samples of a job of Snakemake."""
    make_samples(job.params.row, job.params.seed, job.output[0], parent=job.input.get("parent"))
