"""Two metrics against each other, a panel per two of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.plots.style import DARK, minus, panels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def share(shown: Sized, every: Sized, form: str) -> str:
    """Returns how many pairs of metrics of how many are shown; empty if all are."""
    if len(shown) == len(every):
        return ""
    return form.format(f"{len(shown)} of {len(every)} pairs of metrics")


def wide_values(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Returns the values with a column per metric, metrics in the order of the rows."""
    wide = rows.pivot_table("value", list(keys), "metric", sort=True)
    return wide[[metric for metric in rows["metric"].unique() if metric in wide]]


def draw_pairs(
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
