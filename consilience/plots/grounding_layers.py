"""Whether layers of a model are the less similar the further they are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.grounding.cases import LAYERS, Case
from consilience.grounding.closeness import Closeness
from consilience.grounding.overview import OK
from consilience.plots import mpl
from consilience.plots.facts import register
from consilience.plots.grounded import (
    CASES,
    GROUNDED,
    LAYERED_METRIC,
    SCORED,
    TABLES,
    interval,
    ordered,
)
from consilience.plots.inputs import read_axis
from consilience.plots.sources import LABEL
from consilience.plots.style import (
    DARK,
    GREY,
    LETTER,
    LIGHT,
    PAGE,
    PALE,
    PALETTE,
    MetricAxis,
    bottom_legend,
    color_bar,
    color_scale,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ["recipe", "dataset", "model", "layer_x", "layer_y", "distance", "value"]
MATRIX = 0.8
"""Width of a matrix, as a share of that of the curves beside it."""


class Layered(NamedTuple):
    """A test of layers and what it says."""

    case: Case
    layers: Mapping[str, Sequence[str]]
    """Of each model, in order."""
    pairs: pd.DataFrame
    scores: pd.DataFrame


@register(
    per=LAYERED_METRIC,
    takes={"tables": TABLES, "scored": SCORED, "cases": CASES, "label": LABEL},
    category="Grounding",
    caption=(
        "Similarity of two layers of one model against how far they are apart, of every recipe "
        "with such a test: single models (grey) and their mean (blue); beside it, all layers of "
        "the first model, from the first one at the top left. A metric that finds the order falls "
        "from left to right, and is brightest along the diagonal."
    ),
    when=GROUNDED,
)
def grounding_layers(
    tables: Mapping[str, pd.DataFrame],
    scored: pd.DataFrame,
    cases: Sequence[Mapping],
    *,
    label: str,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws similarities of layers by their distance, and the layers of a model of each recipe.

    Args:
        tables: {dataset: similarity table} of one metric, with their metadata.
        scored: rows of results/grounding of this metric.
        cases: fields of `consilience.grounding.cases.Case`.
        label: the metric's name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `recipe, dataset, model, layer_x, layer_y, distance, value`, a
        row for every two layers of a model.

    Raises:
        DataError: no test is of layers, or no two layers of a model have a similarity.
    """
    axis = read_axis(tables, label)
    found = [
        _read(Case(**case), tables[case["dataset"]], scored, axis)
        for case in ordered(cases)
        if case["test"] == LAYERS
    ]
    table = pd.concat([part.pairs for part in found]) if found else pd.DataFrame(columns=COLUMNS)
    if table["value"].isna().all():
        raise DataError("no two layers of a model have a similarity (similarity.layers: all)")
    shown = [part for part in found if part.pairs["value"].notna().any()]
    low, high = axis.limits(table["value"].to_numpy(float))
    scale = color_scale(low, high, turned=not axis.larger_is_more_similar)
    columns = 1 if len(shown) == 1 else 2
    rows = -(-len(shown) // columns)
    with style():
        wide = min(width, 110.0) if columns == 1 else width
        figure = mpl.Figure(figsize=(wide / 25.4, (rows * 45 + 26) / 25.4), layout="constrained")
        grid = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1, MATRIX] * columns)
        places = grid.reshape(-1, 2)
        for (curve, matrix), part in zip(places, shown, strict=False):
            _curves(curve, part, axis, 0.5 * wide / columns)
            _matrix(matrix, part, scale)
        for axes in places[len(shown) :].ravel():
            axes.remove()
        color_bar(scale, figure.axes, f"{label}\n({axis.direction})", aspect=30, shrink=0.6)
        figure.suptitle(f"{label}: layers of one model")
        bottom_legend(figure, _legend(shown), _note(found, shown), wide)
    return figure, table.reset_index(drop=True)


def _read(case: Case, table: pd.DataFrame, scored: pd.DataFrame, axis: MetricAxis) -> Layered:
    """Returns the pairs of layers of a case's models, and its scores."""
    close = Closeness(table, case.dataset)
    layers = {model: list(table.attrs["layers"].get(model, ())) for model in case.models}
    sign = 1.0 if axis.larger_is_more_similar else -1.0
    parts = []
    for model, names in layers.items():
        i, j = np.triu_indices(len(names), 1)
        parts.append(
            pd.DataFrame(
                {
                    "recipe": case.recipe,
                    "dataset": case.dataset,
                    "model": model,
                    "layer_x": np.array(names, dtype=object)[i],
                    "layer_y": np.array(names, dtype=object)[j],
                    "distance": j - i,
                    "value": sign * close.layers(model)[i, j],
                }
            )
        )
    own = (scored["recipe"] == case.recipe) & (scored["test"] == LAYERS)
    return Layered(case, layers, pd.concat(parts, ignore_index=True), scored[own])


def _curves(axes: Axes, part: Layered, axis: MetricAxis, width: float) -> None:
    """Draws the similarity by distance, of each model and of all."""
    means = part.pairs.pivot_table("value", "distance", "model", aggfunc="mean")
    for model in means:
        axes.plot(means.index, means[model], color=PALE, linewidth=0.7, zorder=1)
    axes.plot(
        part.pairs["distance"] + 0.0, part.pairs["value"], ".", color=GREY, markersize=2.0,
        markeredgewidth=0, zorder=2, rasterized=len(part.pairs) > 500,
    )  # fmt: skip
    mean = means.mean(axis=1)
    axes.plot(mean.index, mean, "o-", color=PALETTE[0], markersize=3, linewidth=1.2, zorder=3)
    if not axis.larger_is_more_similar:
        axes.invert_yaxis()
    axes.set_xlabel("layers apart")
    axes.xaxis.set_major_locator(mpl.MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.locator_params(axis="y", nbins=4)
    axes.grid(axis="y", color=LIGHT, linewidth=0.4)
    name = part.case.recipe
    if len(name) * LETTER > width:
        name = f"{name[: int(width / LETTER) - 1]}…"
    axes.set_title("\n".join([f"{name} ({len(part.layers)} models)", *_said(part.scores)]),
                   loc="left")  # fmt: skip


def _said(scores: pd.DataFrame) -> list[str]:
    """Returns both scores of the test with their intervals, or why there are none."""
    lines = []
    for score, sign in (("spearman", "ρ"), ("conformity", "conformity")):
        for row in scores[scores["score"] == score].to_dict("records"):
            if row["status"] != OK:
                return [str(row["status"]).replace("_", " "), ""]
            text = interval(row["value"], row["low"], row["high"])
            lines.append(f"{sign} {text}")
    return lines


def _matrix(axes: Axes, part: Layered, scale: object) -> None:
    """Draws all layers of the first model that has any similarity."""
    known = part.pairs[part.pairs["value"].notna()]
    model = str(known["model"].iloc[0])
    names = part.layers[model]
    place = {name: k for k, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    own = known[known["model"] == model]
    i, j = own["layer_x"].map(place), own["layer_y"].map(place)
    values[i, j] = values[j, i] = own["value"]
    image = scale.to_rgba(np.ma.masked_invalid(values))
    image[~np.isfinite(values)] = mpl.to_rgba("white")
    image[np.arange(len(names)), np.arange(len(names))] = mpl.to_rgba(LIGHT)
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([0, len(names) - 1], ["first", "last"])
    axes.set_yticks([0, len(names) - 1], ["first", "last"])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    variant = model.removeprefix(f"{part.case.recipe}.")
    axes.set_title(f"{variant}: {len(names)} layers", loc="left")


def _legend(shown: Sequence[Layered]) -> list:
    marks = [
        mpl.Line2D([], [], color=PALE, linewidth=0.8, label="a model"),
        mpl.Line2D([], [], color=GREY, marker=".", linestyle="", markersize=3,
                   label="two layers of it"),
        mpl.Line2D([], [], color=PALETTE[0], marker="o", markersize=3, label="mean of models"),
    ]  # fmt: skip
    if any(part.pairs["value"].isna().any() for part in shown):
        marks.append(
            mpl.Patch(facecolor="white", edgecolor=DARK, linewidth=0.5, label="no value")
        )  # fmt: skip
    return marks


def _note(found: Sequence[Layered], shown: Sequence[Layered]) -> str:
    """Says what chance is, and which recipes have no similarity of layers."""
    drawn = {part.case.recipe for part in shown}
    chance = "chance: ρ 0, conformity .50"
    absent = [part.case.recipe for part in found if part.case.recipe not in drawn]
    return f"{chance}; no similarity of layers: {', '.join(absent)}" if absent else chance
