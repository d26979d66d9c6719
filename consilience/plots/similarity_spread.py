"""What the datasets of a study make of the same model pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots.facts import METRIC, Condition, register
from consilience.plots.matrices import draw_matrix, name_matrix
from consilience.plots.ordering import model_order, read_all, spread_out
from consilience.plots.sources import GROUP, MODELS, from_plan, from_similarity
from consilience.plots.style import (
    DARK,
    PAGE,
    MetricAxis,
    bottom_legend,
    color_bar,
    color_scale,
    panels,
    read_groups,
    style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRANSFORMS = {"arccos": (np.arccos, (-1.0, 1.0)), "tan": (np.tan, (-np.pi / 2, np.pi / 2))}
"""Functions of a similarity, and the values that they take."""


@register(
    per=METRIC,
    takes=from_similarity()
    | {
        "models": MODELS,
        "group": GROUP,
        "transform": from_plan("transform", lambda plan, _: plan.settings["plots"]["transform"]),
    },
    category="Similarity",
    caption=(
        "Mean and standard deviation, over datasets, of the similarity of every two models, and "
        "one against the other."
    ),
    when=Condition("two datasets or more", lambda plan: len(plan.study.datasets) > 1),
)
def similarity_spread(
    tables: Mapping[str, pd.DataFrame],
    models: pd.DataFrame,
    *,
    axis: MetricAxis,
    group: str | None = None,
    transform: str = "none",
    layers: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws mean and standard deviation over the datasets of every model pair's similarity.

    Two heat maps in the order of `similarity_heatmaps`, and one against the other.

    Args:
        tables: {dataset: similarity table} of one metric.
        models: metadata indexed by model id.
        axis: the metric.
        group: metadata column for the colour bars.
        transform: `none`, or `arccos` or `tan` of every value before averaging.
        layers: {model: layer}; a model with one layer needs no entry.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `model_x, model_y, mean, sd` (over datasets, n - 1)`,
        n_datasets`.

    Raises:
        DataError: no model pair has a value on two datasets, or a transform has no meaning for
            the metric.
    """
    similarities = read_all(tables, layers)
    order, groups = model_order(similarities, axis), read_groups(models, group)
    stack = np.array([spread_out(s, order) for s in similarities.values()])
    stack, axis = _transform(stack, transform, axis)
    i, j = np.triu_indices(len(order), 1)
    pairs = pd.DataFrame(stack[:, i, j])
    names = np.array(order, dtype=object)
    table = pd.DataFrame(
        {
            "model_x": names[i],
            "model_y": names[j],
            "mean": pairs.mean(),
            "sd": pairs.std(),
            "n_datasets": pairs.notna().sum(),
        }
    )
    if table["sd"].isna().all():
        raise DataError("no pair of models has a similarity on two datasets")
    with style():
        figure = panels(3, width=width, height=width / 3 + 8, columns=3, extra=14)
        for axes, column in zip(figure.axes[:2], ("mean", "sd"), strict=True):
            values = np.full((len(order), len(order)), np.nan)
            values[i, j] = values[j, i] = table[column]
            reverse = column == "mean" and not axis.larger_is_more_similar
            low, high = axis.limits(values) if column == "mean" else (0.0, np.nanmax(values))
            scale = color_scale(low, high, turned=reverse)
            draw_matrix(axes, values, groups.colors(order), scale)
            axes.set_title(f"{column} over {len(stack)} datasets")
            bar = color_bar(scale, axes, "", location="bottom", aspect=20, pad=0.03)
            bar.ax.locator_params(nbins=4)
        name_matrix(figure.axes[0], order, width - 20, 3)
        _scatter(figure, table)
        figure.suptitle(f"{axis.label} ({axis.direction})")
        heading = f"{group} (grey: same model, white: no value)" if group else ""
        bottom_legend(figure, groups.legend(order, "s"), heading, width)
    return figure, table


def _transform(values: np.ndarray, name: str, axis: MetricAxis) -> tuple[np.ndarray, MetricAxis]:
    """Returns the values after the transform, and their axis; arccos turns the direction."""
    if name == "none":
        return values, axis
    function, (least, most) = TRANSFORMS[name]
    low, high = axis.bounds
    if low < least or high > most:
        raise DataError(
            f"plots.transform: {name} takes values from {least:.3g} to {most:.3g}, and "
            f"{axis.label} has values from {low:g} to {high:g}"
        )
    ends = sorted(float(function(end)) for end in (low, high))
    turned = name == "arccos"
    label = f"{name} of {axis.label}" + (", radians" if turned else "")
    axis = MetricAxis(label, (ends[0], ends[1]), axis.larger_is_more_similar != turned)
    return function(np.clip(values, low, high)), axis


def _scatter(figure: Figure, table: pd.DataFrame) -> None:
    axes = figure.axes[2]
    size = float(np.clip(1500 / len(table), 2.0, 12))
    axes.scatter(
        table["mean"], table["sd"], s=size, color=DARK, alpha=0.5, linewidths=0,
        rasterized=len(table) > 500,
    )  # fmt: skip
    axes.set(xlabel="mean", ylabel="standard deviation", box_aspect=1)
    axes.set_title(f"{table['sd'].notna().sum()} model pairs")
    axes.locator_params(nbins=4)
