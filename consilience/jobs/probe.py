"""The job of the probes of one model on one dataset."""

from typing import Any

from consilience.probe.measure import make_probe


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the table of a job of Snakemake."""
    make_probe(
        job.input.features,
        job.input.samples,
        job.output[0],
        seed=job.params.seed,
        prompts=job.input.prompts or None,
        logit_columns=job.params.columns,
        device=job.config["probe"]["device"],
        **job.params.settings,
    )
