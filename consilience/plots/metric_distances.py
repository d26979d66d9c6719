"""How far metrics are from each other in the consistency of anchors."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.sets import ANCHOR
from consilience.plots import mpl
from consilience.plots.facts import STUDY, Condition, register
from consilience.plots.families import between, headline
from consilience.plots.matrices import draw_table
from consilience.plots.metric_pairs import share, wide_values
from consilience.plots.sources import CONSISTENCY, LABELS
from consilience.plots.style import (
    FONT,
    LETTER,
    METHODS,
    PAGE,
    color_bar,
    color_scale,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW = 4.0
"""Height of an anchor's row, in mm."""
NARROW = 5.6
"""Under so many mm, columns of metric pairs are named by numbers."""
LEAST = 2.8
"""Narrowest column, in mm; pairs of metrics beyond those that fit are left out."""


@register(
    per=STUDY,
    takes={"consistency": CONSISTENCY, "labels": LABELS},
    category="Consistency",
    caption=(
        "How far two metrics are from each other in what they say of the consistency of an "
        "anchor: the 1-Wasserstein distance of their distributions over dataset pairs, mean over "
        "the sets of models that the anchor is compared with."
    ),
    when=Condition(
        "anchors, and two metrics or more",
        lambda plan: len(plan.study.metrics) > 1 and plan.settings["consistency"]["anchors"],
    ),
)
def metric_distances(
    consistency: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    method: str = "pearson",
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws how far metrics are from each other in what they say of an anchor's consistency.

    For an anchor and a set of its partners (all others, or those of a group), two metrics give
    two distributions of consistency over dataset pairs; their distance is the 1-Wasserstein one,
    over the dataset pairs that both have. Where models are of families, consistency is that over
    pairs of models of different families. A cell is the mean over the sets of partners. Of more
    pairs of metrics than fit, the first are shown, and the figure says so.

    Args:
        consistency: rows of `results/consistency` of several metrics, with anchors.
        labels: {metric: name for the reader}.
        method: `pearson` or `spearman`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `anchor, partners, metric_x, metric_y, distance, n_dataset_pairs,
        mean`, where `mean` is that of the cell.

    Raises:
        DataError: no anchor has a consistency by two metrics.
    """
    rows = headline(consistency[consistency["method"] == method])
    rows = rows[(rows["grouping"] == ANCHOR) & rows["value"].notna()]
    table = _distances(wide_values(rows, ["group_x", "group_y", "dataset_x", "dataset_y"]))
    if table.empty:
        raise DataError("no anchor has a consistency by two metrics: nothing to compare")
    anchors = [name for name in rows["group_x"].unique() if name in set(table["anchor"])]
    short = shorten(anchors, 28)
    left = LETTER * max(map(len, short)) + 6
    every = list(
        table[["metric_x", "metric_y"]].drop_duplicates().itertuples(index=False, name=None)
    )
    pairs = every[: int((width - left - 18) / LEAST)]
    table = table[
        [pair in pairs for pair in zip(table["metric_x"], table["metric_y"], strict=True)]
    ]
    cells = table.pivot_table("distance", "anchor", ["metric_x", "metric_y"])
    cells = cells.reindex(index=anchors, columns=pd.MultiIndex.from_tuples(pairs))
    cell = min((width - left - 18) / len(pairs), 14.0)
    names, key = _name_pairs(pairs, labels or {}, cell)
    key = share(pairs, every, "{}; ") + key
    below = max(LETTER * max(len(line) for name in names for line in name.split("\n")), 10) + 6
    scale = color_scale(0, float(np.nanmax(cells.to_numpy())) or 1.0)
    with style():
        size = (max(left + cell * len(pairs) + 22, 85), ROW * len(anchors) + below + 12)
        lines = textwrap.wrap(key, int(size[0] / LETTER))
        size = (size[0], max(size[1] + 3 * len(lines), 45 + below))
        figure = mpl.Figure(figsize=np.array(size) / 25.4, layout="constrained")
        axes = figure.subplots()
        draw_table(axes, cells.to_numpy(), scale, "{:.2f}" if cell > 5.6 else None)
        axes.set_yticks(np.arange(len(anchors)) + 0.5, short)
        axes.set_xticks(np.arange(len(pairs)) + 0.5, names, rotation=90, linespacing=1.0)
        figure.supxlabel("\n".join(lines), size=FONT)
        color_bar(scale, axes, f"1-Wasserstein distance\nof {METHODS[method]}", shrink=1.0)
        families = between(rows, "\nbetween families of `{}`")
        figure.suptitle(f"Consistency of anchors: how far metrics differ{families}")
    mean = table.groupby(["anchor", "metric_x", "metric_y"])["distance"].transform("mean")
    return figure, table.assign(mean=mean).reset_index(drop=True)


def _distances(wide: pd.DataFrame) -> pd.DataFrame:
    """Returns the distance of every two metrics for every anchor and set of partners."""
    from scipy.stats import wasserstein_distance  # noqa: PLC0415 - slow to import

    rows = []
    for x, y in combinations(wide.columns, 2):
        by = wide[[x, y]].dropna().groupby(level=["group_x", "group_y"], sort=False)
        for (anchor, partners), part in by:
            distance = float(wasserstein_distance(part[x], part[y]))
            rows.append((anchor, partners, x, y, distance, len(part)))
    names = ["anchor", "partners", "metric_x", "metric_y", "distance", "n_dataset_pairs"]
    return pd.DataFrame(rows, columns=names)


def _name_pairs(
    pairs: Sequence[tuple[str, str]], labels: Mapping[str, str], cell: float
) -> tuple[list[str], str]:
    """Returns the names of the columns, and what the numbers in them mean if they are numbers."""
    if cell >= NARROW:
        return [f"{labels.get(x, x)}\n– {labels.get(y, y)}" for x, y in pairs], ""
    number = {
        name: k + 1 for k, name in enumerate(dict.fromkeys(n for pair in pairs for n in pair))
    }
    names = [f"{number[x]}–{number[y]}" for x, y in pairs]
    return names, "; ".join(f"{k}: {labels.get(name, name)}" for name, k in number.items())
