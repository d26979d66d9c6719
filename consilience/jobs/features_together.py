"""The job of the features of several trained models on one dataset."""

from typing import Any

from consilience.features.extract import extract_together


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the features files of a job of Snakemake."""
    settings = job.config["features"]
    extract_together(
        job.params.extractions,
        job.input.weights,
        job.input.samples,
        job.output,
        device=settings["device"],
        batch_size=settings["batch_size"],
        compile=settings["compile"],
        workers=job.threads - 1,
    )
