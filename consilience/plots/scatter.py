"""Scatter plots over model pairs: one dataset against another, similarity against accuracy."""

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consilience.errors import DataError
from consilience.files import derive_seed
from consilience.pairs.inference import PairSet
from consilience.pairs.matrix import Similarity
from consilience.pairs.relate import correlate_pairs
from consilience.pairs.sets import ALL, ModelSet, pair_set
from consilience.plots.heatmaps import read_all
from consilience.plots.style import (
    DARK,
    GREY,
    PAGE,
    PALE,
    Groups,
    MetricAxis,
    bottom_legend,
    color_bar,
    color_scale,
    columns_for,
    minus,
    pair_name,
    panels,
    read_groups,
    style,
)
from consilience.probe.scores import LINEAR

SYMBOL = {"pearson": "r", "spearman": "ρ"}
MAX_COLORED = 3
"""Up to so many groups, pairs between groups have colours of their own."""


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
            _draw_points(axes, points, groups)
            _draw_line(axes, points)
            axes.set(xlabel=names[0], ylabel=names[1])
            axes.set_title(f"{_result(row, SYMBOL[method])}\n{row['n_pairs']} model pairs")
            parts.append(points)
        table = pd.concat(parts, ignore_index=True)
        _square(figure.axes, axis.limits(table[["value_x", "value_y"]].to_numpy(), 0.02))
        figure.suptitle(_headline(axis, len(shown), len(rows)))
        _pair_legend(figure, table, groups, width)
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


def _result(row: Mapping[str, object], symbol: str) -> str:
    """Returns r and its interval, or why there is none."""
    if not np.isfinite(row.get("value", np.nan)):
        return str(row["status"])
    text = f"{symbol} = {row['value']:.2f}"
    if np.isfinite(row.get("low", np.nan)):
        text += f" [{row['low']:.2f}, {row['high']:.2f}]"
    return minus(text)


def _points(x: Similarity, y: Similarity, names: tuple[str, str], groups: Groups) -> pd.DataFrame:
    pairs, models = _common_pairs(x, y)
    keep = pairs.valid
    return pd.DataFrame(
        {
            "dataset_x": names[0],
            "dataset_y": names[1],
            **_pair_columns(models, pairs.first[keep], pairs.second[keep], groups),
            "value_x": pairs.x[keep],
            "value_y": pairs.y[keep],
        }
    )


def _common_pairs(x: Similarity, y: Similarity) -> tuple[PairSet, list[str]]:
    models = sorted(set(x.models) & set(y.models))
    return pair_set(x, y, ModelSet(ALL, ALL, ALL, (tuple(models),))), models


def _pair_columns(
    models: Sequence[str], first: np.ndarray, second: np.ndarray, groups: Groups
) -> dict[str, list[str] | list[bool]]:
    """Returns models and groups of the pairs, groups in the order of the legend."""
    rank = {name: position for position, name in enumerate(groups.names)}
    pairs = [(models[i], models[j]) for i, j in zip(first, second, strict=True)]
    sides = [sorted((groups.of[a], groups.of[b]), key=rank.__getitem__) for a, b in pairs]
    return {
        "model_x": [a for a, _ in pairs],
        "model_y": [b for _, b in pairs],
        "group_x": [a for a, _ in sides],
        "group_y": [b for _, b in sides],
        "colored": [a == b or len(groups.names) <= MAX_COLORED for a, b in sides],
    }


def _draw_points(
    axes: Axes, points: pd.DataFrame, groups: Groups, scale: ScalarMappable | None = None
) -> None:
    """Draws pairs in the colours of their groups, or by the accuracy of the better model.

    Between-group pairs come first, so that the groups' own stand out.
    """
    size = float(np.clip(1500 / max(len(points), 1), 2.5, 14))
    within = points["group_x"] == points["group_y"]
    for chosen in (points[~within], points[within]) if scale is None else (points,):
        if scale is None:
            fill, rim = (
                [
                    groups.color(name) if colored else PALE
                    for name, colored in zip(chosen[side], chosen["colored"], strict=True)
                ]
                for side in ("group_x", "group_y")
            )
        else:
            fill, rim = scale.to_rgba(chosen["better"]), "none"
        axes.scatter(
            chosen["value_x"], chosen["value_y"], s=size, c=fill, edgecolors=rim, marker="o",
            linewidths=0.22 * np.sqrt(size), alpha=0.85, rasterized=len(points) > 500,
            clip_on=False, zorder=3,
        )  # fmt: skip


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


def _pair_legend(figure: Figure, table: pd.DataFrame, groups: Groups, width: float) -> None:
    counts = table.drop_duplicates(["model_x", "model_y"]).value_counts(["group_x", "group_y"])
    handles, rest = [], 0
    for x, y in combinations_with_replacement(groups.names, 2):
        n = int(counts.get((x, y), 0))
        if x != y and len(groups.names) > MAX_COLORED:
            rest += n
        elif n:
            name = pair_name(x, y)
            handles.append(_dot(groups.color(x), groups.color(y), f"{name} (n = {n})"))
    if rest:
        handles.append(_dot(PALE, PALE, f"between groups (n = {rest})"))
    if groups.column:
        bottom_legend(figure, handles, f"{groups.column} (n = model pairs)", width)


def _dot(fill: str, rim: str, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="", marker="o", markersize=4, label=label,
        markerfacecolor=fill, markeredgecolor=rim, markeredgewidth=1.0,
    )  # fmt: skip


def similarity_accuracy(  # noqa: PLR0913
    tables: Mapping[str, pd.DataFrame],
    accuracy: pd.DataFrame,
    models: pd.DataFrame,
    *,
    axis: MetricAxis,
    group: str | None = None,
    color: str = "group",
    method: str = "pearson",
    layers: Mapping[str, str] | None = None,
    seed: int = 0,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the gap in accuracy of model pairs against their similarity, one panel per dataset.

    r comes with an interval that resamples models.

    Args:
        tables: {dataset: similarity table} of one metric.
        accuracy: columns `dataset, model, accuracy` (a share from 0 to 1); several rows of a
            model, such as seeds, are averaged. Of several kinds of probes the linear one counts.
        models: metadata indexed by model id.
        axis: the metric.
        group: metadata column for the colours.
        color: `group`, or `accuracy`: that of the better model of a pair.
        method: `pearson` or `spearman`.
        layers: {model: layer}; a model with one layer needs no entry.
        seed: study seed of the intervals.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, model_x, model_y, group_x, group_y, similarity,
        accuracy_gap` (percentage points)`, better` (accuracy of the better model, %)`, r, low,
        high`.

    Raises:
        DataError: no dataset has both similarities and accuracies.
    """
    similarities, groups = read_all(tables, layers), read_groups(models, group)
    if "kind" in accuracy:
        accuracy = accuracy[accuracy["kind"] == LINEAR]
    mean = accuracy.groupby(["dataset", "model"])["accuracy"].mean()
    shown = [name for name in similarities if name in mean.index.get_level_values("dataset")]
    if not shown:
        raise DataError(
            f"no dataset has both similarities ({', '.join(similarities)}) and accuracies "
            f"({', '.join(sorted(set(accuracy['dataset'])))})"
        )
    with style():
        columns = min(columns_for(len(shown), width), 4)
        figure = panels(
            len(shown), width=width, height=width / columns + 4, columns=columns,
            extra=22 if color == "group" else 8,
        )  # fmt: skip
        found = [
            _gaps(similarities[name], mean[name], name, groups, method, seed) for name in shown
        ]
        scale = _scale([points["better"] for points, _ in found]) if color == "accuracy" else None
        parts = []
        for axes, dataset, (points, row) in zip(figure.axes, shown, found, strict=True):
            _draw_points(axes, points, groups, scale)
            axes.set_title(f"{dataset} ({row['n_pairs']} pairs)\n{_result(row, SYMBOL[method])}")
            parts.append(points.assign(**{key: row.get(key) for key in ("value", "low", "high")}))
        table = pd.concat(parts, ignore_index=True)
        _label_gaps(figure, table, axis, columns)
        if scale is None:
            _pair_legend(figure, table, groups, width)
        else:
            color_bar(scale, figure.axes, "accuracy of the better model (%)", aspect=30)
    names = {"value_x": "similarity", "value_y": "accuracy_gap", "value": SYMBOL[method]}
    return figure, table.drop(columns="colored").rename(columns=names)


def _gaps(
    similarity: Similarity,
    accuracy: pd.Series,
    dataset: str,
    groups: Groups,
    method: str,
    seed: int,
) -> tuple[pd.DataFrame, dict]:
    """Returns the pairs with both numbers, and their correlation."""
    models = [model for model in similarity.models if model in accuracy.index]
    value = accuracy[models].to_numpy(dtype=float) * 100
    gaps = Similarity(tuple(models), np.abs(value[:, None] - value[None]))
    pairs, models = _common_pairs(similarity, gaps)
    row = correlate_pairs(
        pairs, ("the similarity", "the accuracy gap"), methods=[method], permutations=0,
        seed=derive_seed(seed, "similarity_accuracy", dataset),
    )[method]  # fmt: skip
    keep = pairs.valid
    columns = _pair_columns(models, pairs.first[keep], pairs.second[keep], groups)
    points = {"dataset": dataset, **columns, "value_x": pairs.x[keep], "value_y": pairs.y[keep]}
    better = np.maximum(
        *(accuracy[columns[f"model_{side}"]].to_numpy(dtype=float) for side in "xy")
    )
    return pd.DataFrame(points).assign(better=better * 100), row


def _scale(values: Sequence[pd.Series]) -> ScalarMappable:
    """Returns one colour scale for the accuracies (%) of all panels."""
    every = pd.concat(values)
    low, high = (every.min(), every.max()) if len(every) else (0.0, 100.0)
    return color_scale(low, high)


def _label_gaps(figure: Figure, table: pd.DataFrame, axis: MetricAxis, columns: int) -> None:
    limits = axis.limits(table["value_x"].to_numpy(), 0.02)
    top = float(table["value_y"].max()) * 1.05 or 1.0
    for position, axes in enumerate(figure.axes):
        axes.set(xlim=limits, ylim=(-0.02 * top, top))
        axes.locator_params(nbins=4)
        axes.set_box_aspect(1)
        if position + columns >= len(figure.axes):
            axes.set_xlabel("similarity")
        if position % columns:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("accuracy gap (% points)")
    figure.suptitle(f"{axis.label} of model pairs ({axis.direction}) and their gap in accuracy")
