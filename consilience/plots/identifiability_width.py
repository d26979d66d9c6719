"""Whether wider classifiers are closer to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.classifiers import (
    CCA,
    FG,
    IDENTIFIED,
    KIND,
    LLV,
    MIN_ACCURACY,
    PAIRS,
    Kind,
    accurate,
    kinds,
    mark,
)
from consilience.plots.facts import STUDY, register
from consilience.plots.sources import from_tables
from consilience.plots.style import FONT, PAGE, PALE, PALETTE, bottom_legend, minus, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = {"d_llv": LLV, "d_fg": FG, "m_cca_f": CCA + " of f"}
MEAN, MEDIAN = PALETTE[0], PALETTE[5]


@register(
    per=STUDY,
    takes={
        "pairs": PAIRS,
        "trend": from_tables("identifiability_trend"),
        "min_accuracy": MIN_ACCURACY,
    },
    category="Identifiability",
    caption=(
        "Distance of predictions and dissimilarity of representations against the width of both "
        "classifiers of a pair: every pair (dots), their mean and their median with 95 % intervals "
        "that resample models; below, the slope of the means per doubling of the width. Pairs with "
        "a model below `min_accuracy` are counted, not shown."
    ),
    when=IDENTIFIED,
)
def identifiability_width(
    pairs: pd.DataFrame,
    trend: pd.DataFrame,
    *,
    min_accuracy: float = 0.9,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws d_LLV, d_{f,g} and m_CCA of pairs of one width against it, with mean and median.

    A row of panels per dataset, architecture, K and M; below a width stands how many of its models
    are accurate.

    Args:
        pairs: rows of results/identifiability.
        trend: rows of results/identifiability/trend/widths, of these pairs.
        min_accuracy: that both models of a pair reach, as in `trend`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `trend`.

    Raises:
        DataError: no width has a value.
    """
    table = trend.reset_index(drop=True)
    known = table[table["width"].notna() & table["value"].notna()]
    shown = [kind for kind in kinds(pairs) if len(_of(known, kind))]
    if not shown:
        raise DataError(
            f"no width has enough models that reach the accuracy {min_accuracy:g} on a dataset"
        )
    with style():
        height = len(shown) * 55 + 18
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(len(shown), len(MEASURES), squeeze=False)
        for kind, line in zip(shown, grid, strict=True):
            same = kind.pairs[kind.pairs["width_x"] == kind.pairs["width_y"]]
            kept = same[accurate(same, min_accuracy)]
            for axes, (measure, label) in zip(line, MEASURES.items(), strict=True):
                _panel(axes, kept, _of(table, kind), measure)
                axes.set_ylabel(label)
            lost = len(same) - len(kept)
            note = f"{lost} of {len(same)} pairs of one width left out" if lost else "all pairs"
            line[0].set_title(f"{kind.name}: {note}", loc="left")
        figure.suptitle(f"Closeness and width, of models with an accuracy from {min_accuracy:g} on")
        _legend(figure, width)
    return figure, table


def _of(table: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """Returns the rows of a trend that are of a kind."""
    first = kind.pairs.iloc[0]
    return table[np.logical_and.reduce([table[key] == first[key] for key in KIND])]


def _slope(trend: pd.DataFrame) -> str:
    """Returns the slope of the means and its interval, or that there is none."""
    for row in trend[trend["statistic"] == "slope"].to_dict("records"):
        if np.isnan(row["value"]):
            break
        numbers = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**row)
        return minus(f"slope: {numbers}")
    return "no slope: fewer than 2 widths"


def _panel(axes: Axes, kept: pd.DataFrame, trend: pd.DataFrame, measure: str) -> None:
    rows = trend[trend["measure"] == measure].sort_values("width")
    widths = sorted(rows["width"].dropna().unique())
    place = dict(zip(widths, np.log2(widths), strict=True))
    spread = np.random.default_rng(0).uniform(-0.1, 0.1, len(kept))
    axes.scatter(
        kept["width_x"].map(place) + spread, kept[measure], s=5, color=PALE, linewidths=0, zorder=1,
        rasterized=len(kept) > 500,
    )  # fmt: skip
    for statistic, color, marker, shift in (
        ("mean", MEAN, "o", -0.16),
        ("median", MEDIAN, "D", 0.16),
    ):
        part = rows[(rows["statistic"] == statistic) & rows["value"].notna()]
        x = part["width"].map(place) + shift
        axes.vlines(x, part["low"], part["high"], color=color, linewidth=1.2, zorder=3)
        axes.plot(
            x, part["value"], color=color, marker=marker, markersize=3.2, linewidth=0.7, zorder=4,
            markeredgecolor="white", markeredgewidth=0.4,
        )  # fmt: skip
    counts = rows.drop_duplicates("width").set_index("width")["n_models"]
    names = [f"{width:g}\n(n = {counts[width]})" for width in widths]
    axes.set_xticks([place[width] for width in widths], names)
    axes.set_xlim(np.log2(widths[0]) - 0.5, np.log2(widths[-1]) + 0.5)
    slope = _slope(trend[trend["measure"] == measure])
    axes.set_xlabel(f"width (n models)\n{slope}", size=FONT)
    if measure == "m_cca_f":
        axes.set_ylim(top=1.0)
    else:
        axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=5)


def _legend(figure: Figure, width: float) -> None:
    handles = [
        mark(PALE, "a pair of models"),
        *(
            mpl.Line2D(
                [], [], color=color, marker=marker, markersize=3.5, linewidth=1.2, label=name
            )
            for color, marker, name in (
                (MEAN, "o", "mean, 95 % interval over models"),
                (MEDIAN, "D", "median, 95 % interval over models"),
            )
        ),
    ]
    bottom_legend(figure, handles, "", width)
