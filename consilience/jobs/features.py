"""The job of the features of one model on one dataset."""

from typing import Any

from consilience.features.extract import extract_features


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the features file of a job of Snakemake."""
    model, dataset = job.params.extraction
    settings = job.config.get("features", {})
    weights = job.input.get("weights")
    extract_features(
        {**model["row"], "weights": weights[0]} if weights else model["row"],
        dataset["row"],
        job.input.samples,
        job.output[0],
        dtype=model["dtype"],
        autocast=model["autocast"],
        learnt=model["learnt"],
        device=settings.get("device", "auto"),
        batch_size=settings.get("batch_size", 32),
        compile=settings.get("compile", False),
        workers=job.threads - 1,
    )
