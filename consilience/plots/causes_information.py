"""How much a similarity says of what two models share, and how much is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from consilience.plots import mpl
from consilience.plots.effect_rows import NAME, ordered
from consilience.plots.facts import register
from consilience.plots.overlaps import (
    EFFECT,
    EFFECTS,
    HAS_EFFECTS,
    KINDS,
    LABEL,
    METRIC,
    color_of,
    effects_of,
    kinds_of,
)
from consilience.plots.rows import ROW
from consilience.plots.style import DARK, GREY, LIGHT, PAGE, PALE, bottom_legend, shorten, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = {
    "share": ("o", "held out, by level"),
    "share_linear": ("D", "held out, by a line"),
    "share_published": ("x", "published estimator"),
}
"""Columns of the table, their markers and words."""


@register(
    per=EFFECT,
    takes={"effects": EFFECTS, "metric": METRIC, "label": LABEL},
    category="Causes",
    caption=(
        "Information of similarity about the overlap, as a share of the overlap's entropy: two "
        "lower bounds, which predict the overlap in a draw of the split from the other draws "
        "(below 0: the levels say nothing of a new draw), and mutual information as Li et al. "
        "(2025) estimate it (crosses), which takes levels for a continuum and can exceed what "
        "there is to know."
    ),
    when=HAS_EFFECTS,
)
def causes_information(
    effects: pd.DataFrame, *, metric: str, label: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws three estimates of information over the entropy of the overlap, a row per effect.

    Args:
        effects: rows of results/causes/effects.
        metric: the variant, or `published`.
        label: its name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the effects, with `share_linear` and `share_published`.

    Raises:
        DataError: no effect has a slope.
    """
    table = ordered(effects_of(effects, metric))
    table = table.assign(
        share_linear=table["mi_held_out_linear"] / table["entropy_x"],
        share_published=table["mi_published"] / table["entropy_x"],
    )
    kinds = kinds_of(table)
    counts = [int((table["kind"] == kind).sum()) for kind in kinds]
    with style():
        height = ROW * sum(counts) + 11.0 * len(counts) + 20
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(
            len(kinds), 1, squeeze=False, sharex=True,
            height_ratios=[count + 1 for count in counts],
        )[:, 0]  # fmt: skip
        for axes, kind in zip(grid, kinds, strict=True):
            _panel(axes, table[table["kind"] == kind], kind)
        grid[-1].set_xlabel("information / entropy of the overlap")
        handles = [
            mpl.Line2D([], [], linestyle="", marker=marker, color=DARK, markersize=4, label=words,
                       markerfacecolor="white" if marker == "D" else DARK)
            for marker, words in MARKS.values()
        ]  # fmt: skip
        bottom_legend(figure, handles, "", width)
        figure.suptitle(f"What {label} says of the overlap")
    return figure, table


def _panel(axes: Axes, rows: pd.DataFrame, kind: str) -> None:
    color = color_of(kind)
    places = range(len(rows))
    for at, line in ((0, ":"), (1, "--")):
        axes.axvline(at, color=GREY, linewidth=0.7, linestyle=line, zorder=0)
    ends = rows[["share", "share_published"]]
    axes.hlines(places, ends.min(axis=1), ends.max(axis=1), color=PALE, linewidth=0.8, zorder=1)
    for column, (marker, _) in MARKS.items():
        open_ = {"facecolors": "white", "edgecolors": color} if marker == "D" else {"color": color}
        axes.scatter(rows[column], places, s=13, marker=marker, linewidths=0.8, zorder=3, **open_)
    for k in range(1, len(rows)):
        axes.axhline(k - 0.5, color=LIGHT, linewidth=0.3, zorder=0)
    axes.set_yticks(list(places), shorten(list(rows["name"]), NAME))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(KINDS.get(kind, kind), loc="left")
    axes.tick_params(axis="x", labelbottom=True)
