"""The job of metrics that share products or lists, on one dataset."""

from typing import Any

from consilience.similarity import Engine, make_shared


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Computes the pairs of a job of Snakemake."""
    make_shared(
        job.input.manifest,
        job.output[0],
        dataset=job.wildcards.dataset,
        specs=job.params.specs,
        stores=job.params.stores,
        shelf=job.params.shelf,
        engine=Engine.of(job.config["similarity"], job.threads),
        pairs=job.params.pairs,
    )
