"""The bound on the dissimilarity of representations by the distance of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.classifiers import (
    FG,
    IDENTIFIED,
    KIND,
    LLV,
    PAIRS,
    Kind,
    Widths,
    kinds,
    mark,
)
from consilience.plots.facts import STUDY, Condition, register
from consilience.plots.sources import from_tables
from consilience.plots.style import DARK, GREY, PAGE, bottom_legend, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

VALUES = ["d_llv", "d_fg", "t1", "t2", "d_svd_f", "d_svd_g", "bound"]
MEASURES = (
    (LLV, FG, "d_llv", "d_fg", None),
    (r"$T_1$ (of labels)", r"$d_\mathrm{SVD}$", "t1", "d_svd_f", "d_svd_g"),
    (r"$T_2$ (of samples)", r"$d_\mathrm{SVD}$", "t2", "d_svd_g", "d_svd_f"),
)
"""Labels of x and y; columns of x, of what it belongs to, and of what it is published with."""
ABREAST = 3
"""From more kinds on, kinds stand side by side and not below each other."""


@register(
    per=STUDY,
    takes={"pairs": PAIRS},
    category="Identifiability",
    caption=(
        "Pairs of trained classifiers whose predictions are close enough for the bound: how "
        "unlike their representations are against the distance of their log-likelihood variances, "
        "which bounds it (line), and both parts of the one against parts of the other. T1 is of "
        "labels, as the dissimilarity of f (filled), T2 of samples, as that of g (filled); in the "
        "published figures T1 stands against that of g and T2 against that of f (hollow)."
    ),
    when=IDENTIFIED,
)
def identifiability_bound(
    pairs: pd.DataFrame, *, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws d_{f,g} against d_LLV with the line 2 M d_LLV, for pairs that the bound holds for.

    Beside it stand T1 and T2 against the dissimilarities of f and g; a row of panels per dataset,
    architecture, K and M. The colour is the width of both models.

    Args:
        pairs: rows of results/identifiability.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `pairs` that it shows, `dataset, architecture,
        classes, dimension, model_x, model_y, width_x, width_y, d_llv, d_fg, t1, t2, d_svd_f,
        d_svd_g, bound`.

    Raises:
        DataError: the bound applies to no pair.
    """
    found = [(kind, kind.pairs[kind.pairs["bound_applies"]]) for kind in kinds(pairs)]
    shown = [
        (kind._replace(pairs=rows, name=f"{kind.name}: {len(rows)} of {len(kind.pairs)} pairs"))
        for kind, rows in found
        if len(rows)
    ]
    if not shown:
        raise DataError(
            f"the bound applies to none of {len(pairs)} pairs: it needs d_LLV < 1/(2 M), and heads "
            f"without a bias; the smallest d_LLV is {pairs['d_llv'].min():.3g}"
        )
    table = pd.concat([kind.pairs for kind in shown], ignore_index=True)
    with style():
        widths = Widths.of(pairs)
        figure = _draw(shown, widths, width, "pairs of trained classifiers")
        heading = "W: width of both models (n = pairs)" if widths.color else ""
        bottom_legend(figure, [*widths.legend(table), *_pairing()], heading, width)
    sides = [f"{key}_{side}" for key in ("model", "width") for side in "xy"]
    return figure, table[[*KIND, *sides, *VALUES]]


@register(
    per=STUDY,
    takes={"perturbed": from_tables("constructed_perturbed")},
    category="Identifiability",
    caption=(
        "A constructed classifier of K classes in the plane against itself with ever more noise "
        "on its features: as for pairs of trained classifiers, where the bound holds."
    ),
    when=Condition("constructed models with noise", lambda plan: "perturbed" in plan.constructions),
)
def identifiability_constructed(
    perturbed: pd.DataFrame, *, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws the panels of `identifiability_bound` for a constructed model with ever more noise.

    Args:
        perturbed: rows of results/identifiability/constructed/perturbed.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `perturbed` with d_LLV < 1/(2 M), M = 2.

    Raises:
        DataError: the bound applies to none.
    """
    table = perturbed[perturbed["bound_applies"]].reset_index(drop=True)
    if table.empty:
        raise DataError("the bound applies to none of the constructed models")
    shown = [
        Kind(f"K = {classes}: {len(rows)} steps", 2, rows)
        for classes, rows in table.groupby("classes", sort=True)
    ]
    with style():
        figure = _draw(shown, Widths({}), width, "a constructed classifier with ever more noise")
        bottom_legend(figure, _pairing(), "", width)
    return figure, table


def _pairing() -> list[Line2D]:
    return [
        mark(DARK, r"what it belongs to: $T_1$ with f, $T_2$ with g"),
        mark(DARK, r"as published: $T_1$ with g, $T_2$ with f", hollow=True),
        mpl.Line2D([], [], color=GREY, linewidth=0.8, label=r"$2 M\,$" + LLV),
    ]


def _draw(shown: Sequence[Kind], widths: Widths, width: float, what: str) -> Figure:
    abreast = ABREAST < len(shown) <= 2 * ABREAST
    rows, columns = (3, len(shown)) if abreast else (len(shown), 3)
    height = rows * (38 if abreast else 48) + 24
    figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for kind, line in zip(shown, grid.T if abreast else grid, strict=True):
        for axes, measure in zip(line, MEASURES, strict=True):
            _panel(axes, kind, widths, measure)
        line[0].set_title(kind.name + ("\n" if abreast else ", ") + _above(kind.pairs), loc="left")
    if abreast:
        for axes in grid[:, 1:].flat:
            axes.set_ylabel("")
    figure.suptitle(f"Bound of {FG} by {LLV}: {what}")
    return figure


def _above(rows: pd.DataFrame) -> str:
    above = int((rows["d_fg"] > rows["bound"]).sum())
    return f"{above or 'none'} above the line"


def _panel(axes: Axes, kind: Kind, widths: Widths, measure: tuple) -> None:
    label_x, label_y, x, own, other = measure
    rows = widths.ordered(kind.pairs)
    colors, many = widths.colors(rows), len(rows) > 500
    size = float(np.clip(1500 / len(rows), 3, 12))
    if other:
        axes.scatter(
            rows[x], rows[other], s=size, facecolors="none", edgecolors=colors, linewidths=0.6,
            rasterized=many, clip_on=False, zorder=3,
        )  # fmt: skip
    axes.scatter(
        rows[x], rows[own], s=size, c=colors, linewidths=0, rasterized=many, clip_on=False,
        zorder=4,
    )  # fmt: skip
    axes.set(xlabel=label_x, ylabel=label_y)
    if other is None:
        end = 1 / (2 * kind.dimension)
        axes.plot([0, end], [0, 1], color=GREY, linewidth=0.8, zorder=1)
        axes.set(xlim=(0, end), ylim=(-0.02, 1))
    else:
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=min(0.0, float(rows[[own, other]].min().min())))
    axes.locator_params(nbins=4)
