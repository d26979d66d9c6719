"""What metrics cost against what they find."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.facts import STUDY, Condition, register
from consilience.plots.grounded import (
    MODULES,
    OTHER,
    SUMMARY,
    kind_color,
    kind_legend,
    kind_of,
    named,
)
from consilience.plots.naming import name_points
from consilience.plots.sources import LABELS, from_tables
from consilience.plots.style import (
    DARK,
    GREY,
    LETTER,
    PAGE,
    PALE,
    bottom_legend,
    log_scale,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

ALL = "all"
MARKERS = {"call": "o", "pass": "s"}
COLUMNS = [
    "domain", "metric", "kind", "seconds", "mean_rank", "low", "high", "front", "place",
    "coverage", "n_pairs", "n_timed", "measured", "shared_by",
]  # fmt: skip


@register(
    per=STUDY,
    takes={
        "summary": SUMMARY,
        "costs": from_tables("grounding_costs"),
        "modules": MODULES,
        "labels": LABELS,
    },
    category="Grounding",
    caption=(
        "What metrics cost, in CPU seconds per pair, against their mean rank over the tests "
        "(1 is best, at the top), by modality and in all, with the 95 % interval of the rank over "
        "models. The line joins those that no other metric beats in both (the Pareto front). "
        "Squares were computed in a pass over all pairs at once, and have equal parts of its time."
    ),
    when=Condition("times of the pairs of tests (`grounding`)", lambda plan: plan.costed),
)
def grounding_cost(
    summary: pd.DataFrame,
    costs: pd.DataFrame,
    *,
    modules: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws mean rank against seconds per pair, and the front of what no metric beats in both.

    Only metrics with a place are on the front. Those of which no time is known are named below.

    Args:
        summary: rows of results/grounding/ranks/domains.
        costs: rows of results/grounding/ranks/costs.
        modules: {metric: module that it is of}, for the colours.
        labels: {metric: name for the reader}.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: for every modality and metric `kind, seconds, mean_rank, low,
        high, front` (whether it is on the front), and what both tables say besides.

    Raises:
        DataError: no metric has both a time and a rank.
    """
    table = summary.merge(costs, how="left", on=["metric", "domain"])
    table["kind"] = table["metric"].map(kind_of(modules or {})).fillna(OTHER)
    table["front"] = np.concatenate(
        [on_front(part) for _, part in table.groupby("domain", sort=False)] or [[]]
    ).astype(bool)
    shown = table[table["seconds"].notna() & table["mean_rank"].notna()]
    if shown.empty:
        raise DataError(f"no time per pair is known of any of {table['metric'].nunique()} metrics")
    found = [domain for domain in shown["domain"].unique() if domain != ALL]
    panels = found if len(found) == 1 else [ALL, *found]
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    untimed = named(sorted(set(table["metric"]) - set(shown["metric"])), labels)
    with style():
        wide = min(width, 120.0) if columns == 1 else width
        notes = wrap(f"no time known: {', '.join(untimed)}", int(wide / LETTER)) if untimed else []
        height = rows * 72 + 18 + 3.2 * len(notes)
        figure = mpl.Figure(figsize=(wide / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        points = {}
        for axes, domain in zip(grid, panels, strict=False):
            own = shown[shown["domain"] == domain].sort_values("front", ascending=False)
            _panel(axes, own, shown["seconds"])
            axes.set_title("all modalities" if domain == ALL else domain, loc="left")
            names = named(own["metric"].tolist(), labels)
            points[axes] = pd.DataFrame(
                {"x": own["seconds"].to_numpy(float), "y": own["mean_rank"].to_numpy(float)},
                index=names,
            )
        for axes in grid[len(panels) :]:
            axes.remove()
        handles = [*kind_legend(shown["kind"], "o"), *_marks(shown)]
        bottom_legend(figure, handles, "\n".join(["names where they fit", *notes]), wide)
        name_points(figure, points, 28)
    return figure, table.reindex(columns=COLUMNS)


def on_front(table: pd.DataFrame) -> np.ndarray:
    """Returns which metrics (k,) no other one beats: none is as good in both and better in one.

    Args:
        table: `seconds, mean_rank, place` of metrics; those without a time or a place are never on
            the front and beat nobody.
    """
    cost, rank = (table[name].to_numpy(float, na_value=np.nan) for name in ("seconds", "mean_rank"))
    known = np.isfinite(cost) & np.isfinite(rank) & table["place"].notna().to_numpy()
    as_good = (cost[:, None] <= cost) & (rank[:, None] <= rank)
    better = (cost[:, None] < cost) | (rank[:, None] < rank)
    beaten = (as_good & better & known[:, None]).any(axis=0)
    return known & ~beaten


def _panel(axes: Axes, table: pd.DataFrame, seconds: pd.Series) -> None:
    front = table[table["front"]].sort_values("seconds")
    axes.plot(front["seconds"], front["mean_rank"], color=GREY, linewidth=0.9, zorder=2,
              drawstyle="steps-post")  # fmt: skip
    axes.vlines(table["seconds"], table["low"], table["high"], color=PALE, linewidth=0.7, zorder=1)
    for row in table.to_dict("records"):
        color = kind_color(row["kind"]) if pd.notna(row["place"]) else "white"
        axes.plot(
            row["seconds"], row["mean_rank"], MARKERS.get(row["measured"], "o"), color=color,
            markersize=5 if row["front"] else 4, markeredgecolor="black" if row["front"] else GREY,
            markeredgewidth=1.0 if row["front"] else 0.4, zorder=4,
        )  # fmt: skip
    log_scale(axes, seconds, "x")
    ends = table[["mean_rank", "low", "high"]].to_numpy(float)
    low, high = np.nanmin(ends), np.nanmax(ends)
    pad = 0.06 * max(high - low, 1)
    axes.set(ylim=(high + pad, low - pad), xlabel="CPU seconds per pair", ylabel="mean rank")
    axes.margins(x=0.08)


def _marks(shown: pd.DataFrame) -> list[Line2D]:
    options = {"linestyle": "", "markersize": 4.5}
    marks = [
        mpl.Line2D([], [], color=GREY, linewidth=0.9, marker="o", markersize=5,
                   markerfacecolor="white", markeredgecolor="black", label="Pareto front"),
    ]  # fmt: skip
    if (shown["measured"] == "pass").any():
        marks += [
            mpl.Line2D([], [], marker="o", color=PALE, label="timed pair by pair", **options),
            mpl.Line2D([], [], marker="s", color=PALE, label="part of a pass", **options),
        ]
    if shown["place"].isna().any():
        marks.append(
            mpl.Line2D([], [], marker="o", color=DARK, markerfacecolor="white",
                       label="too few tests for a place", **options)
        )  # fmt: skip
    return marks
