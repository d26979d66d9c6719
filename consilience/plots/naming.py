"""Names beside points, where they fit between points and other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.plots import mpl
from consilience.plots.style import DARK, FONT, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

OFFSETS = [
    (dx * r, dy * r, ha, va)
    for r in (1.0, 2.2, 3.6)
    for dx, dy, ha, va in (
        (4, 0, "left", "center"), (-4, 0, "right", "center"), (0, 4, "center", "bottom"),
        (0, -4, "center", "top"), (3, 3, "left", "bottom"), (-3, 3, "right", "bottom"),
        (3, -3, "left", "top"), (-3, -3, "right", "top"),
    )
]  # fmt: skip


def name_points(figure: Figure, panels: Mapping[Axes, pd.DataFrame], length: int = 18) -> None:
    """Names points where a label fits between points and other labels; leaves out the rest.

    Args:
        figure: whose layout is settled first.
        panels: {axes: points `x, y` by name}, those that matter most first.
        length: letters to which names are shortened.
    """
    for _ in range(2):  # the first pass makes room for the legend, the second for the titles
        figure.draw_without_rendering()
    for axes, points in panels.items():
        spots = axes.transData.transform(points[["x", "y"]].to_numpy())
        pixel = figure.dpi / 72
        taken = [
            mpl.Bbox.from_bounds(x - 2.2 * pixel, y - 2.2 * pixel, 4.4 * pixel, 4.4 * pixel)
            for x, y in spots
        ]
        for name, spot in zip(shorten(list(points.index), length), spots, strict=True):
            _place(axes, name, spot, taken, pixel)


def _place(axes: Axes, name: str, spot: np.ndarray, taken: list[Bbox], pixel: float) -> None:
    """Writes the name at the first offset that is free and inside the panel, if there is one."""
    frame = axes.get_window_extent()
    at = axes.transData.inverted().transform(spot)
    for dx, dy, ha, va in OFFSETS:
        far = max(abs(dx), abs(dy)) > 5
        text = axes.annotate(
            name, at, (dx, dy), textcoords="offset points", ha=ha, va=va, size=FONT, color=DARK,
            path_effects=[mpl.withStroke(linewidth=1.5, foreground="white")], zorder=6,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": DARK} if far else None,
        )  # fmt: skip
        text.set_in_layout(False)
        text.get_window_extent()  # puts the text in place
        box = mpl.Text.get_window_extent(text)  # without the line to the point
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
        inside = inside and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(box.overlaps(other) for other in taken):
            taken.append(box)
            return
        text.remove()
