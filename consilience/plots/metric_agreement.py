"""Consistency by one metric against that by another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

from consilience.errors import DataError
from consilience.plots.facts import STUDY, register
from consilience.plots.families import between, headline
from consilience.plots.metric_pairs import draw_pairs, share, wide_values
from consilience.plots.sources import CONSISTENCY, LABELS, SEVERAL_METRICS
from consilience.plots.style import GREY, METHODS, PAGE, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEYS = ["dataset_x", "dataset_y", "grouping", "group_x", "group_y"]


@register(
    per=STUDY,
    takes={"consistency": CONSISTENCY, "labels": LABELS},
    category="Consistency",
    caption=(
        "Consistency by one metric against that by another. Each point is a pair of datasets and "
        "a group, or pair of groups, of models; points share datasets and models, so r describes "
        "them and is no test."
    ),
    when=SEVERAL_METRICS,
)
def metric_agreement(
    consistency: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    method: str = "pearson",
    max_panels: int = 12,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws consistency by one metric against that by another, a panel per two metrics.

    Where models are of families, the values are those over pairs of models of different families.
    Points are dataset pairs and groups of models together; r describes them and is no test, since
    they share datasets and models. Of more than `max_panels` pairs of metrics the first are shown.

    Args:
        consistency: rows of `results/consistency`, of several metrics.
        labels: {metric: name for the reader}.
        method: `pearson` or `spearman`.
        max_panels: most panels.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `metric_x, metric_y`, datasets, groups, `value_x, value_y, r`.

    Raises:
        DataError: fewer than two metrics have values.
    """
    rows = headline(consistency[consistency["method"] == method])
    rows = rows[rows["value"].notna()]
    wide = wide_values(rows, KEYS)
    every = list(combinations(wide.columns, 2))
    if not every:
        raise DataError("fewer than two metrics have a consistency: nothing to compare")
    limits = (min(-0.02, float(wide.min().min()) - 0.02), 1.02)
    names = labels or {}

    def finish(axes: Axes, x: str, y: str) -> None:
        axes.plot(limits, limits, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set(xlabel=names.get(x, x), ylabel=names.get(y, y))

    both = {pair: wide[list(pair)].dropna() for pair in every[:max_panels]}
    figure, table = draw_pairs(both, finish, "points", width)
    with style():
        note = share(both, every, " ({})")
        families = between(rows, " between families of `{}`")
        figure.suptitle(
            f"Consistency{families} ({METHODS[method]})\nby one metric and another{note}"
        )
    return figure, table[["metric_x", "metric_y", *KEYS, "value_x", "value_y", "r"]]
