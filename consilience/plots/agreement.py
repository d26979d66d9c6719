"""What the metrics of a study make of the same models: values, and distributions of consistency."""

import textwrap
from collections.abc import Callable, Mapping, Sequence, Sized
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import wasserstein_distance

from consilience.errors import DataError
from consilience.pairs.sets import ANCHOR
from consilience.plots.heatmaps import draw_table, read_all
from consilience.plots.inputs import Inputs
from consilience.plots.style import (
    DARK,
    FONT,
    GREY,
    LETTER,
    METHODS,
    PAGE,
    color_bar,
    color_scale,
    minus,
    panels,
    shorten,
    style,
)

KEYS = ["dataset_x", "dataset_y", "grouping", "group_x", "group_y"]
ROW = 4.0
"""Height of an anchor's row, in mm."""
NARROW = 5.6
"""Under so many mm, columns of metric pairs are named by numbers."""
LEAST = 2.8
"""Narrowest column, in mm; pairs of metrics beyond those that fit are left out."""


def metric_agreement(
    consistency: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    method: str = "pearson",
    max_panels: int = 12,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws consistency by one metric against that by another, a panel per two metrics.

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
    rows = consistency[(consistency["method"] == method) & consistency["value"].notna()]
    wide = _wide(rows, KEYS)
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
    figure, table = _draw_pairs(both, finish, "points", width)
    with style():
        note = _share(both, every, " ({})")
        figure.suptitle(f"Consistency ({METHODS[method]})\nby one metric and another{note}")
    return figure, table[["metric_x", "metric_y", *KEYS, "value_x", "value_y", "r"]]


def similarity_agreement(
    metrics: Mapping[str, Inputs],
    *,
    max_panels: int = 12,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the mean similarity of model pairs by one metric against that by another.

    The mean is over the datasets on which both metrics have a value of the pair. r (Pearson)
    describes the points and is no test, since pairs share models. Of more than `max_panels` pairs
    of metrics the first are shown.

    Args:
        metrics: {metric: its similarity tables}.
        max_panels: most panels.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `metric_x, metric_y, model_x, model_y, value_x, value_y,
        n_datasets, r`.

    Raises:
        DataError: no two metrics have a value of the same pair of models.
    """
    wide = pd.DataFrame({name: _values(inputs) for name, inputs in metrics.items()})
    every = list(combinations(wide.columns, 2))
    pairs = {(x, y): _means(wide[[x, y]]) for x, y in every[:max_panels]}
    pairs = {pair: means for pair, means in pairs.items() if len(means)}
    if not pairs:
        raise DataError("no two metrics have a similarity of the same pair of models")

    def finish(axes: Axes, x: str, y: str) -> None:
        names = []
        for metric in (x, y):
            axis = metrics[metric].axis
            note = "" if axis.larger_is_more_similar else f"\n({axis.direction})"
            names.append(textwrap.fill(axis.label, 36) + note)
        values = pairs[x, y]
        axes.set(xlim=metrics[x].axis.limits(values[x].to_numpy(), 0.05))
        axes.set(ylim=metrics[y].axis.limits(values[y].to_numpy(), 0.05))
        axes.set(box_aspect=1, xlabel=names[0], ylabel=names[1])

    figure, table = _draw_pairs(pairs, finish, "model pairs", width)
    with style():
        note = _share(pairs, every, " ({})")
        figure.suptitle(f"Similarity, mean over datasets,\nby one metric and another{note}")
    names = ["metric_x", "metric_y", "model_x", "model_y", "value_x", "value_y", "n_datasets", "r"]
    return figure, table[names]


def _share(shown: Sized, every: Sized, form: str) -> str:
    """Returns how many pairs of metrics of how many are shown; empty if all are."""
    if len(shown) == len(every):
        return ""
    return form.format(f"{len(shown)} of {len(every)} pairs of metrics")


def _values(inputs: Inputs) -> pd.Series:
    """Returns the similarity of every two models on every dataset."""
    parts = {}
    for dataset, similarity in read_all(inputs.tables, inputs.layers).items():
        i, j = np.triu_indices(len(similarity.models), 1)
        names = np.array(similarity.models, dtype=object)
        index = pd.MultiIndex.from_arrays([names[i], names[j]], names=["model_x", "model_y"])
        parts[dataset] = pd.Series(similarity.matrix[i, j], index)
    return pd.concat(parts, names=["dataset"])


def _means(both: pd.DataFrame) -> pd.DataFrame:
    by = both.dropna().groupby(level=["model_x", "model_y"])
    return by.mean().assign(n_datasets=by.size())


def _wide(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Returns the values with a column per metric, metrics in the order of the rows."""
    wide = rows.pivot_table("value", list(keys), "metric", sort=True)
    return wide[[metric for metric in rows["metric"].unique() if metric in wide]]


def _draw_pairs(
    pairs: Mapping[tuple[str, str], pd.DataFrame],
    finish: Callable[[Axes, str, str], None],
    what: str,
    width: float,
) -> tuple[Figure, pd.DataFrame]:
    """Draws a scatter plot per pair of metrics; returns the figure and its points."""
    parts = []
    with style():
        columns = min(len(pairs), 3)
        panel = width / max(columns, 2)
        figure = panels(
            len(pairs), width=panel * columns, height=panel * 0.95, columns=columns, extra=12
        )
        for axes, ((x, y), both) in zip(figure.axes, pairs.items(), strict=True):
            r = both[x].corr(both[y]) if len(both) > 2 else np.nan
            points = both.rename(columns={x: "value_x", y: "value_y"}).reset_index()
            parts.append(points.assign(metric_x=x, metric_y=y, r=r))
            axes.scatter(
                both[x], both[y], s=float(np.clip(1500 / max(len(both), 1), 2.5, 12)), color=DARK,
                alpha=0.5, linewidths=0, rasterized=len(both) > 500, clip_on=False,
            )  # fmt: skip
            finish(axes, x, y)
            axes.locator_params(nbins=4)
            axes.set_title(minus(f"r = {r:.2f}, {len(both)} {what}"))
    return figure, pd.concat(parts, ignore_index=True)


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
    over the dataset pairs that both have. A cell is the mean over the sets of partners. Of more
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
    rows = consistency[(consistency["method"] == method) & consistency["value"].notna()]
    rows = rows[rows["grouping"] == ANCHOR]
    table = _distances(_wide(rows, ["group_x", "group_y", "dataset_x", "dataset_y"]))
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
    key = _share(pairs, every, "{}; ") + key
    below = max(LETTER * max(len(line) for name in names for line in name.split("\n")), 10) + 6
    scale = color_scale(0, float(np.nanmax(cells.to_numpy())) or 1.0)
    with style():
        size = (max(left + cell * len(pairs) + 22, 85), ROW * len(anchors) + below + 12)
        lines = textwrap.wrap(key, int(size[0] / LETTER))
        size = (size[0], max(size[1] + 3 * len(lines), 45 + below))
        figure = Figure(figsize=np.array(size) / 25.4, layout="constrained")
        axes = figure.subplots()
        draw_table(axes, cells.to_numpy(), scale, "{:.2f}" if cell > 5.6 else None)
        axes.set_yticks(np.arange(len(anchors)) + 0.5, short)
        axes.set_xticks(np.arange(len(pairs)) + 0.5, names, rotation=90, linespacing=1.0)
        figure.supxlabel("\n".join(lines), size=FONT)
        color_bar(scale, axes, f"1-Wasserstein distance\nof {METHODS[method]}", shrink=1.0)
        figure.suptitle("Consistency of anchors: how far metrics differ")
    mean = table.groupby(["anchor", "metric_x", "metric_y"])["distance"].transform("mean")
    return figure, table.assign(mean=mean).reset_index(drop=True)


def _distances(wide: pd.DataFrame) -> pd.DataFrame:
    """Returns the distance of every two metrics for every anchor and set of partners."""
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
