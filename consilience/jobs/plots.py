"""The job of one figure."""

from typing import Any

from consilience.plots.drawing import draw_figure


def make(job: Any) -> None:  # noqa: ANN401 - Snakemake's
    """Draws the figure of a job of Snakemake."""
    stem = job.output.png.removesuffix(".png")
    draw_figure(job.params.figure, stem, dict(job.input.items()), job.params.said)
