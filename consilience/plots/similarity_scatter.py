"""Similarity of model pairs on one dataset against that on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.matrix import Similarity
from consilience.pairs.sets import ALL
from consilience.plots.facts import METRIC, Plan, register
from consilience.plots.ordering import read_all
from consilience.plots.points import (
    SYMBOL,
    common_pairs,
    draw_points,
    driven,
    pair_columns,
    pair_legend,
    result,
)
from consilience.plots.sources import CONSISTENCY, GROUP, MODELS, from_similarity
from consilience.plots.style import DARK, GREY, PAGE, Groups, MetricAxis, panels, read_groups, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _counting(plan: Plan, _: str) -> list[str]:
    """Returns the models that count for consistency."""
    return list(plan.study.groups([], plan.settings["consistency"]["models"]))


@register(
    per=METRIC,
    takes=from_similarity(only=_counting)
    | {"consistency": CONSISTENCY, "models": MODELS, "group": GROUP},
    category="Consistency",
    caption=(
        "Each point is a pair of models: its similarity on one dataset against that on another. "
        "r has an interval from resampling models; where models are of families, r is also that "
        "over pairs of models of different families."
    ),
)
def similarity_scatter(  # noqa: PLR0913
    tables: Mapping[str, pd.DataFrame],
    consistency: pd.DataFrame,
    models: pd.DataFrame,
    *,
    axis: MetricAxis,
    group: str | None = None,
    method: str = "pearson",
    layers: Mapping[str, str] | None = None,
    max_panels: int = 6,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the similarity of model pairs on one dataset against that on another.

    One panel per dataset pair; of more than `max_panels` pairs, those at even steps from the
    lowest to the highest consistency are shown, and the title says so. A pair within a group has
    the group's colour; a pair between groups has the fill of one and the rim of the other (grey
    with more than three groups).

    Args:
        tables: {dataset: similarity table} of one metric.
        consistency: rows of `results/consistency` of the same metric, for r and its interval.
        models: metadata indexed by model id.
        axis: the metric.
        group: metadata column for the colours.
        method: `pearson` or `spearman`.
        layers: {model: layer}; a model with one layer needs no entry.
        max_panels: most panels.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset_x, dataset_y, model_x, model_y, group_x, group_y,
        value_x, value_y`.

    Raises:
        DataError: no dataset pair of `consistency` has a value, or a table of it is missing.
    """
    similarities, groups = read_all(tables, layers), read_groups(models, group)
    rows = _measured(consistency, method, similarities)
    shown = _spread_over(rows, max_panels)
    with style():
        columns = min(len(shown), 3 if width > 120 else 2)
        figure = panels(
            len(shown), width=width, height=width / columns * 0.95, columns=columns, extra=22
        )
        parts = []
        for axes, row in zip(figure.axes, shown.to_dict("records"), strict=True):
            names = (row["dataset_x"], row["dataset_y"])
            points = _points(*(similarities[name] for name in names), names, groups)
            draw_points(axes, points, groups)
            _draw_line(axes, points)
            axes.set(xlabel=names[0], ylabel=names[1])
            said = f"{result(row, SYMBOL[method])}{driven(row, width / columns - 6)}"
            clear = 6 if "families" in said else None  # of the label at the top of the axis
            axes.set_title(f"{said}\n{row['n_pairs']} model pairs", pad=clear)
            parts.append(points)
        table = pd.concat(parts, ignore_index=True)
        _square(figure.axes, axis.limits(table[["value_x", "value_y"]].to_numpy(), 0.02))
        figure.suptitle(_headline(axis, len(shown), len(rows)))
        pair_legend(figure, table, groups, width)
    return figure, table.drop(columns="colored")


def _measured(
    consistency: pd.DataFrame, method: str, similarities: Mapping[str, Similarity]
) -> pd.DataFrame:
    """Returns the rows of all models that have a value, after checking that they can be drawn."""
    rows = consistency[(consistency["grouping"] == ALL) & (consistency["method"] == method)]
    rows = rows[rows["value"].notna()]
    needed = {*rows["dataset_x"], *rows["dataset_y"]}
    if rows.empty or not needed <= set(similarities):
        missing = ", ".join(sorted(needed - set(similarities))) or "none"
        raise DataError(
            f"nothing to draw: {len(rows)} dataset pairs have a consistency of all models; "
            f"similarity tables missing: {missing}"
        )
    return rows


def _headline(axis: MetricAxis, shown: int, available: int) -> str:
    title = f"{axis.label} of model pairs on two datasets\n(line: least squares; dotted: equal"
    if shown < available:
        title += f"; {shown} of {available} dataset pairs, at even steps from lowest to highest"
    return f"{title})"


def _spread_over(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Returns at most `most` rows at even steps of the sorted value, lowest first."""
    rows = rows.sort_values(["value", "dataset_x", "dataset_y"])
    steps = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return rows.iloc[steps]


def _points(x: Similarity, y: Similarity, names: tuple[str, str], groups: Groups) -> pd.DataFrame:
    pairs, models = common_pairs(x, y)
    keep = pairs.valid
    return pd.DataFrame(
        {
            "dataset_x": names[0],
            "dataset_y": names[1],
            **pair_columns(models, pairs.first[keep], pairs.second[keep], groups),
            "value_x": pairs.x[keep],
            "value_y": pairs.y[keep],
        }
    )


def _draw_line(axes: Axes, points: pd.DataFrame) -> None:
    """Draws the least-squares line of y on x, over the range of x."""
    x, y = points["value_x"].to_numpy(), points["value_y"].to_numpy()
    if len(x) > 2 and np.ptp(x) > 0:
        slope = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, y.mean() + slope * (ends - x.mean()), color=DARK, linewidth=0.8, zorder=4)


def _square(all_axes: Sequence[Axes], limits: tuple[float, float]) -> None:
    for axes in all_axes:
        axes.plot(limits, limits, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.locator_params(nbins=5)
