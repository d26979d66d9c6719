"""How much of similarity and consistency is noise of the stimuli."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.sets import ALL
from consilience.plots import mpl
from consilience.plots.facts import METRIC, Condition, register
from consilience.plots.families import families_of
from consilience.plots.rows import ROW, draw_rows
from consilience.plots.sources import CONSISTENCY, LABEL
from consilience.plots.style import DARK, FONT, GREY, LIGHT, METHODS, PAGE, shorten, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 60
"""Above so many dataset pairs, intervals are pale."""


@register(
    per=METRIC,
    takes={"consistency": CONSISTENCY, "label": LABEL},
    category="Consistency",
    caption=(
        "Left: reliability of the similarities of all pairs of models, from halves of the "
        "stimuli. Right: consistency of every pair of datasets as measured, and corrected for "
        "the noise of the stimuli."
    ),
    when=Condition("similarities on halves of the stimuli", lambda plan: plan.halved),
)
def reliability(
    consistency: pd.DataFrame,
    *,
    label: str,
    method: str = "pearson",
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws each dataset's reliability, and raw against corrected consistency of dataset pairs.

    Args:
        consistency: rows of `results/consistency` of one metric, with reliabilities.
        label: the metric's name for the reader.
        method: `pearson` or `spearman`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `consistency` that it shows.

    Raises:
        DataError: no dataset has a reliability.
    """
    rows = consistency[(consistency["grouping"] == ALL) & (consistency["method"] == method)]
    table = rows.reset_index(drop=True)
    sides = [
        table[[f"dataset_{s}", f"reliability_{s}"]].set_axis(["label", "value"], axis=1)
        for s in "xy"
    ]
    by = pd.concat(sides).dropna().groupby("label")["value"]
    points = by.agg(value="median", low="min", high="max").reset_index()
    if points.empty:
        raise DataError(f"no dataset has a reliability of {label}")
    points = points.sort_values("value", ascending=False, kind="stable")
    names = points["label"].tolist()
    with style():
        height = max(ROW * len(names) + 24, width * 0.5)
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_rows(left, points, names)
        left.set_yticks(range(len(names)), shorten(names, 20))
        left.set_xlim(min(0.0, float(points["low"].min()) - 0.02), 1.02)
        left.set_xlabel(
            "reliability of similarities, all stimuli\n(line: range over the partner datasets)",
            size=FONT,
        )
        _draw_corrected(right, table, METHODS[method])
        figure.suptitle(f"{label}: noise of the stimuli")
    return figure, table


def _draw_corrected(axes: Axes, table: pd.DataFrame, name: str) -> None:
    known = table[table["value"].notna() & table["corrected"].notna()]
    who = "families" if families_of(table) else "models"
    everything = known[["value", "corrected", "low", "high"]].to_numpy()
    low = float(np.nanmin(everything, initial=0.0)) - 0.02
    high = float(np.nanmax(everything, initial=1.0)) + 0.02
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.5, linestyle=":", zorder=0)
    line = LIGHT if len(known) > MANY else GREY
    axes.hlines(known["corrected"], known["low"], known["high"], colors=line, linewidth=0.4)
    axes.scatter(known["value"], known["corrected"], s=10, color=DARK, linewidths=0, zorder=3)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", anchor="N")
    axes.set_xlabel(f"consistency, raw ({name})\n(line: 95 % interval over {who})", size=FONT)
    axes.set_ylabel("consistency, corrected for the noise", size=FONT)
    absent = len(table) - len(known)
    note = f", {absent} without" if absent else ""
    axes.set_title(f"dataset pairs: {len(known)}{note}")
