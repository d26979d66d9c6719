"""The spread of consistency over dataset pairs, for every pair of groups."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consilience.consistency.sets import ALL
from consilience.errors import DataError
from consilience.plots.style import (
    COLUMN,
    DARK,
    FONT,
    GREY,
    LIGHT,
    METHODS,
    PAGE,
    Groups,
    name_pairs,
    read_groups,
    style,
)

MAX_POINTS = 80
"""Above so many dataset pairs, boxes stand without single points."""


def consistency_distribution(
    consistency: pd.DataFrame,
    models: pd.DataFrame,
    *,
    group: str,
    method: str = "pearson",
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the consistency over all dataset pairs as one box per pair of groups.

    Boxes: quartiles and median, whiskers to the farthest value within 1.5 interquartile ranges.
    The band behind them is the quartiles of all models, its line the median. Rows are sorted by
    the median over all metrics. Pairs of groups with too few models are listed
    below.

    Args:
        consistency: rows of `results/consistency`, of one or several metrics.
        models: metadata indexed by model id, for the colours.
        group: the grouping to show.
        method: `pearson` or `spearman`.
        labels: {metric: name for the reader}.
        width: of the figure, in mm; one column for one metric, two for more, if not given.

    Returns:
        the figure, and its table: the rows of `consistency` that it shows.

    Raises:
        DataError: no row of the grouping has a value.
    """
    rows = consistency[consistency["method"] == method]
    table = rows[rows["grouping"].isin([group, ALL])].reset_index(drop=True)
    table = table.assign(
        label=[_label(*pair) for pair in zip(table["group_x"], table["group_y"], strict=True)]
    )
    measured = table[(table["grouping"] == group) & table["value"].notna()]
    if measured.empty:
        raise DataError(
            f"no pair of groups of {group!r} has a consistency; the column status says why"
        )
    order = measured.groupby("label")["value"].median().sort_values(kind="stable").index.tolist()
    metrics = table["metric"].unique().tolist()
    width = width or (COLUMN if len(metrics) == 1 else PAGE)
    notes = _notes(table[table["grouping"] == group], order, width)
    with style():
        height = 5.0 * len(order) + 18 + 3.2 * len(notes)
        figure = Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        figure.subplots(1, len(metrics), sharey=True, sharex=True, squeeze=False)
        for axes, metric in zip(figure.axes, metrics, strict=True):
            _draw(axes, table[table["metric"] == metric], order, group)
            axes.set_title((labels or {}).get(metric, metric))
        _name_groups(figure.axes[0], measured, order, read_groups(models, group))
        figure.supxlabel(
            f"{METHODS[method]} between two datasets (n = dataset pairs)\n" + "\n".join(notes),
            size=FONT,
        )
    return figure, table.drop(columns="label")


def _label(x: str, y: str) -> str:
    return x if x == y else f"{x} – {y}"


def _draw(axes: Axes, rows: pd.DataFrame, order: list[str], group: str) -> None:
    base = rows.loc[rows["grouping"] == ALL, "value"].dropna()
    if len(base):
        low, middle, high = np.quantile(base, [0.25, 0.5, 0.75])
        axes.axvspan(low, high, color=LIGHT, linewidth=0, zorder=0)
        axes.axvline(middle, color=GREY, linewidth=0.8, zorder=0)
        axes.text(
            middle,
            len(order) - 0.45,
            "all models",
            size=FONT,
            color=DARK,
            ha="center",
            va="bottom",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    chosen = rows[rows["grouping"] == group].dropna(subset="value").groupby("label")["value"]
    values = {label: part.to_numpy() for label, part in chosen}
    present = [k for k, label in enumerate(order) if label in values]
    dots = max(map(len, values.values()), default=0) <= MAX_POINTS
    axes.boxplot(
        [values[order[k]] for k in present], positions=present, orientation="horizontal",
        widths=0.55, showfliers=not dots, boxprops={"linewidth": 0.7},
        medianprops={"color": DARK, "linewidth": 1.4}, whiskerprops={"linewidth": 0.7},
        capprops={"linewidth": 0.7}, manage_ticks=False,
        flierprops={"marker": ".", "markersize": 1.5, "markeredgecolor": GREY},
    )  # fmt: skip
    if dots:
        for k in present:
            spread = np.linspace(-0.18, 0.18, 5)[np.arange(len(values[order[k]])) % 5]
            axes.plot(values[order[k]], k + spread, ".", color=GREY, markersize=2.5, zorder=1.5)
    axes.axvline(0, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
    axes.set_ylim(-0.6, len(order) + 0.1)


def _name_groups(axes: Axes, rows: pd.DataFrame, order: list[str], groups: Groups) -> None:
    """Names the rows, each with a dot in the colour of either group."""
    first = rows.drop_duplicates("label").set_index("label")
    counts = rows.groupby(["metric", "label"]).size().groupby("label").max()
    axes.set_yticks(range(len(order)), [f"{label} (n = {counts[label]})" for label in order])
    sides = [(first.loc[label, "group_x"], first.loc[label, "group_y"]) for label in order]
    name_pairs(axes, [(groups.color(x), groups.color(y)) for x, y in sides])


def _notes(rows: pd.DataFrame, order: list[str], width: float) -> list[str]:
    """Lists the pairs of groups without a number, in lines that fit the width in mm."""
    absent = rows[~rows["label"].isin(order)].drop_duplicates("label")
    if absent.empty:
        return []
    words = [f"{row.label} (n = {row.n_models})" for row in absent.itertuples()]
    words = [word + ", " for word in words[:-1]] + words[-1:]
    lines, limit = ["Too few models (n): "], int(width * 0.78)
    for word in words:
        if len(lines[-1]) + len(word) > limit:
            lines.append("")
        lines[-1] += word
    return lines
