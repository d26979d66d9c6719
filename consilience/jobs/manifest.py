"""The job of the manifest of one dataset."""

from typing import Any

from consilience.features.manifest import make_manifest


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the manifest of a job of Snakemake."""
    make_manifest(job.input.features, job.input.samples, job.output[0])
