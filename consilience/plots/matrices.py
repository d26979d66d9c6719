"""Matrices of numbers as colours: models by models, and tables with numbers in cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from consilience.plots import mpl
from consilience.plots.style import FONT, LETTER, LIGHT, blank, ink, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

STRIP = 0.045
"""Width of the group colour bars, as a share of the matrix."""


def draw_matrix(
    axes: Axes, values: np.ndarray, strip: Sequence[str], scale: ScalarMappable
) -> None:
    """Draws values as colours, beside them a bar of group colours; self pairs are grey."""
    m = len(values)
    image = scale.to_rgba(np.ma.masked_invalid(values))
    image[~np.isfinite(values)] = mpl.to_rgba("white")
    here = np.isfinite(values).any(axis=1)
    image[np.arange(m)[here], np.arange(m)[here]] = mpl.to_rgba(LIGHT)
    axes.imshow(image, extent=(0, m, m, 0), interpolation="nearest", aspect="equal")
    bar = np.array([mpl.to_rgba(color) for color in strip])
    gap, end = -0.35 * STRIP * m, -1.35 * STRIP * m
    axes.imshow(bar[:, None], extent=(end, gap, m, 0), interpolation="nearest", aspect="equal")
    axes.imshow(bar[None], extent=(0, m, gap, end), interpolation="nearest", aspect="equal")
    axes.set(xlim=(end, m), ylim=(m, end))
    blank(axes)


def name_matrix(axes: Axes, names: Sequence[str], room: float, columns: int) -> None:
    """Names the rows if that leaves each row of the matrix the height of a line of text."""
    short = shorten(names, 24 if columns == 1 else 16)
    side = 0.85 * (room - LETTER * max(map(len, short))) / columns
    if side / len(names) * 72 / 25.4 >= FONT:
        axes.set_yticks(np.arange(len(names)) + 0.5, short)
        axes.tick_params(axis="y", length=0, pad=1)


def draw_table(axes: Axes, values: np.ndarray, scale: ScalarMappable, form: str | None) -> None:
    """Draws a table of numbers as colours, rows from the top; no number is white.

    Args:
        axes: where.
        values: (rows, columns).
        scale: colours of the values.
        form: format of the number in a cell, such as `{:.0f}`; None for colours alone.
    """
    m, d = values.shape
    image = scale.to_rgba(np.ma.masked_invalid(values))
    image[~np.isfinite(values)] = mpl.to_rgba("white")
    axes.imshow(image, extent=(0, d, m, 0), interpolation="nearest", aspect="auto")
    blank(axes)
    axes.tick_params(length=0, pad=1)
    for i, j in np.argwhere(np.isfinite(values) & (form is not None)):
        axes.text(
            j + 0.5, i + 0.5, (form or "").format(values[i, j]), ha="center", va="center",
            size=FONT, color=ink(image[i, j, :3]),
        )  # fmt: skip
