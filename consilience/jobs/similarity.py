"""The job of the similarities of one metric on one dataset."""

from typing import Any

from consilience.similarity import Engine, make_similarity


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Makes the table of a job of Snakemake."""
    make_similarity(
        job.input.manifest,
        job.output[0],
        dataset=job.wildcards.dataset,
        metric_id=job.wildcards.metric,
        spec=job.params.spec,
        samples=job.input.get("samples") or None,
        store=job.params.store,
        fresh=job.config["fresh"],
        engine=Engine.of(job.config["similarity"], job.threads),
        pairs=job.params.pairs,
        shards=job.input.get("shards") or (),
    )
