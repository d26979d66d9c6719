"""Numbers with their intervals, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.plots import mpl
from consilience.plots.style import DARK, GREY, Groups, name_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 4.0
"""Height of a row, in mm."""
BELOW = 0.28
"""How far below its row the value over all pairs stands, in rows."""
MAX_ROWS = 60
"""A grouping with more pairs of groups shows those within groups only."""


def row_figure(counts: Sequence[int], columns: int, *, width: float, extra: float) -> Figure:
    """Returns a figure of blocks of rows above each other, as high as their counts demand.

    Args:
        counts: rows of each block.
        columns: panels side by side in each block.
        width: of the figure, in mm.
        extra: height beside the rows and their titles, in mm.
    """
    height = ROW * sum(counts) + 9.0 * len(counts) + extra
    figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
    figure.subplots(
        len(counts), columns, sharex=True, sharey="row", squeeze=False,
        height_ratios=[count + 0.6 for count in counts],
    )  # fmt: skip
    return figure


def draw_rows(axes: Axes, rows: pd.DataFrame, labels: Sequence[str]) -> None:
    """Draws a point and its intervals for every row; the first label is at the top.

    Args:
        axes: where.
        rows: `label, value, low, high`, and if there are any `low_wide, high_wide` (a thinner
            line), `color`, and `value_all, low_all, high_all` (an open point with a thin line
            below; see `families.headline`).
        labels: the order of the rows.
    """
    places = pd.Index(labels).get_indexer(rows["label"])
    colors = rows["color"].tolist() if "color" in rows else DARK
    if "value_all" in rows:
        _draw_plain(axes, rows, places + BELOW)
        places = places - BELOW / 2
    for ends, thickness in ((("low_wide", "high_wide"), 0.6), (("low", "high"), 1.8)):
        if ends[0] in rows:
            axes.hlines(places, rows[ends[0]], rows[ends[1]], colors=colors, linewidth=thickness)
    axes.scatter(
        rows["value"], places, s=13, c=colors, zorder=3, edgecolors="white", linewidths=0.5
    )
    axes.axvline(0, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="x", labelbottom=True)
    axes.locator_params(axis="x", nbins=5)


def _draw_plain(axes: Axes, rows: pd.DataFrame, places: np.ndarray) -> None:
    """Draws the values over all pairs of models, which stand beside those between families."""
    axes.hlines(places, rows["low_all"], rows["high_all"], colors=GREY, linewidth=0.6)
    axes.scatter(
        rows["value_all"], places, s=8, facecolors="white", edgecolors=GREY, linewidths=0.7,
        zorder=2,
    )  # fmt: skip


def add_dots(axes: Axes, rows: pd.DataFrame, groups: Groups) -> None:
    """Puts a dot in the colour of either group beside the name of each row."""
    sides = list(zip(rows["group_x"], rows["group_y"], strict=True))
    name_pairs(axes, [tuple(map(groups.color, pair)) for pair in sides])
