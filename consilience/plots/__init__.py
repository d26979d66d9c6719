"""Figures from tables: each function returns a figure and the table that it shows.

Only matplotlib's Figure is used, never its global state, so nothing needs a screen.
"""

import logging
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from consilience.errors import DataError
from consilience.files import atomic
from consilience.plots.accuracies import probe_accuracy
from consilience.plots.agreement import metric_agreement, metric_distances, similarity_agreement
from consilience.plots.categories import model_categories
from consilience.plots.curves import sensitivity, stimuli_steps
from consilience.plots.distribution import consistency_distribution
from consilience.plots.heatmaps import (
    consistency_heatmap,
    consistency_heatmap_groups,
    model_order,
    similarity_heatmaps,
)
from consilience.plots.inputs import (
    Inputs,
    read_axis,
    read_consistency,
    read_inputs,
    read_metrics,
    read_models,
    read_tables,
)
from consilience.plots.intervals import consistency_groups, group_differences, similarity_behavior
from consilience.plots.maps import model_map
from consilience.plots.modalities import aligned_models, alignment, read_language
from consilience.plots.reliability import reliability
from consilience.plots.scatter import similarity_accuracy, similarity_scatter
from consilience.plots.spread import similarity_spread
from consilience.plots.style import COLUMN, PAGE, MetricAxis, style

__all__ = [
    "COLUMN",
    "PAGE",
    "Inputs",
    "MetricAxis",
    "aligned_models",
    "alignment",
    "consistency_distribution",
    "consistency_groups",
    "consistency_heatmap",
    "consistency_heatmap_groups",
    "draw",
    "group_differences",
    "metric_agreement",
    "metric_distances",
    "model_categories",
    "model_map",
    "model_order",
    "probe_accuracy",
    "read_axis",
    "read_consistency",
    "read_inputs",
    "read_language",
    "read_metrics",
    "read_models",
    "read_tables",
    "reliability",
    "save_figure",
    "sensitivity",
    "similarity_accuracy",
    "similarity_agreement",
    "similarity_behavior",
    "similarity_heatmaps",
    "similarity_scatter",
    "similarity_spread",
    "stimuli_steps",
]

logger = logging.getLogger(__name__)

DPI = 300
NO_DATES = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def save_figure(figure: Figure, table: pd.DataFrame, stem: str | Path) -> list[Path]:
    """Writes `stem`.svg, .pdf, .png (300 dpi) and .csv, each whole or not at all.

    The bytes depend on figure and table alone: no date, no random ids.

    Returns:
        the four paths.
    """
    stem = Path(stem)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in (*NO_DATES, "csv")]
    with style():
        for _ in range(2):  # the layout settles at the second pass: every format gets the same
            figure.draw_without_rendering()
        for path, (kind, metadata) in zip(paths, NO_DATES.items(), strict=False):
            with atomic(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=DPI, metadata=metadata)
    with atomic(paths[-1]) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return paths


def draw(
    stem: str | Path,
    function: Callable[..., tuple[Figure, pd.DataFrame]],
    *tables: Any,  # noqa: ANN401
    **settings: Any,  # noqa: ANN401
) -> None:
    """Writes the figure that a function makes of tables, or one that says why there is none.

    A study too small for a figure is no failure of the study, but nobody should wonder where the
    figure is.
    """
    try:
        figure, table = function(*tables, **settings)
    except DataError as error:
        logger.warning("%s: %s", stem, error)
        figure, table = _say(str(error)), pd.DataFrame({"reason": [str(error)]})
    save_figure(figure, table, stem)


def _say(reason: str) -> Figure:
    with style():
        figure = Figure(figsize=(COLUMN / 25.4, 1))
        text = textwrap.fill(f"Not drawn: {reason}", 55)
        figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
