"""The job of the probes of several trained models on one dataset."""

from typing import Any

from consilience.probe.measure import make_probe


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the tables of a job of Snakemake."""
    for features, out in zip(job.input.features, job.output, strict=True):
        make_probe(
            features,
            job.input.samples,
            out,
            seed=job.params.seed,
            logit_columns=job.params.columns,
            device=job.config["probe"]["device"],
            **job.params.settings,
        )
