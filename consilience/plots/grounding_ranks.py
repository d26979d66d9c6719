"""Ranks of metrics over all tests, by modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.grounding.overview import NOT_GROUNDED
from consilience.grounding.published.names import MEASURES
from consilience.plots import mpl
from consilience.plots.facts import STUDY, Condition, register
from consilience.plots.grounded import (
    GROUNDED,
    MODULES,
    OTHER,
    RANKS,
    SUMMARY,
    kind_color,
    kind_legend,
    kind_of,
    named,
)
from consilience.plots.sources import LABELS, from_plan, from_tables
from consilience.plots.style import (
    DARK,
    FONT,
    GREY,
    LETTER,
    LIGHT,
    PAGE,
    bottom_legend,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

ALL = "all"
ROW = 4.2
"""Height of a metric, in mm."""
MAX_POINTS = 12
"""Of more tests, boxes stand without single ones."""
BOX = ["whisker_low", "q1", "median", "q3", "whisker_high"]
COLUMNS = [
    "domain", "metric", "kind", "n_cases", *BOX, "mean_rank", "low", "high", "place", "coverage",
    "best_share", "critical_difference",
]  # fmt: skip


@register(
    per=STUDY,
    takes={"ranks": RANKS, "summary": SUMMARY, "modules": MODULES, "labels": LABELS},
    category="Grounding",
    caption=(
        "Ranks of metrics over the tests of all recipes, by modality and in all: quartiles and "
        "median (box), single tests (dots) where there are few, the mean with its 95 % interval "
        "over models (diamond), sorted by median, then mean. Colours: what metrics compare. The "
        "bar is Nemenyi's critical difference of two mean ranks, which is optimistic: it takes "
        "tests as independent, and they share models."
    ),
    when=GROUNDED,
)
def grounding_ranks(
    ranks: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    modules: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the ranks of metrics over tests as boxes, a panel for all and for every modality.

    Metrics with a value in too few tests to have a place stand last, with their coverage.

    Args:
        ranks: rows of results/grounding/ranks/cases.
        summary: rows of results/grounding/ranks/domains.
        modules: {metric: module that it is of}, for the colours.
        labels: {metric: name for the reader}.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: for every modality and metric the box, and what `summary` says.

    Raises:
        DataError: no test counts.
    """
    counted = ranks[ranks["rank"].notna()]
    if counted.empty or summary.empty:
        raise DataError("no test counts: the column `note` of results/grounding says why")
    kinds = kind_of(modules or {})
    table = rank_boxes(counted, summary)
    table.insert(2, "kind", table["metric"].map(kinds).fillna(OTHER))
    found = sorted(counted["domain"].unique())
    panels = found if len(found) == 1 else [ALL, *found]
    columns = 1 if len(panels) == 1 else 3 if len(panels) == 3 else 2
    rows = -(-len(panels) // columns)
    most = table["domain"].value_counts().max()
    with style():
        wide = min(width, 130.0) if columns == 1 else width
        height = rows * (ROW * (most + 2) + 15) + 27
        figure = mpl.Figure(figsize=(wide / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, domain in zip(grid, panels, strict=False):
            own = table[table["domain"] == domain]
            cases = counted if domain == ALL else counted[counted["domain"] == domain]
            names = _names(own, labels, _room(wide, columns))
            _panel(axes, own, cases, names)
            axes.set_title(_title(domain, cases), loc="left")
        for axes in grid[len(panels) :]:
            axes.remove()
        handles = [*kind_legend(table["kind"]), *_marks(counted, summary)]
        bottom_legend(figure, handles, "\n".join(_notes(table, ranks, wide)), wide)
    return figure, table


@register(
    per=STUDY,
    takes={
        "cases": from_tables("grounding_published_cases"),
        "means": from_tables("grounding_published_domains"),
        "modules": from_plan("modules", lambda plan, _: dict(plan.published_modules)),
        "labels": LABELS,
    },
    category="Grounding",
    caption=(
        "Ranks of metrics as published, by our rules, beside those of the study: as in "
        "`grounding_ranks`, a row per source of tables, and a column per modality. Metrics are "
        "ranked among those of one source, and have the name that the study has for the same "
        "values, or the published one."
    ),
    when=Condition("published tables (`grounding.published`)", lambda plan: plan.published_tables),
)
def grounding_published(
    cases: pd.DataFrame,
    means: pd.DataFrame,
    *,
    modules: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the boxes of `grounding_ranks` for each source of published tables and the study.

    Args:
        cases: rows of results/grounding/published/cases.
        means: rows of results/grounding/published/domains.
        modules: {metric: module that it is of}, for the colours.
        labels: {metric: name for the reader}.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: that of `grounding_ranks` with the column `source` first.

    Raises:
        DataError: no source has a rank.
    """
    counted = cases[cases["rank"].notna() & (cases["domain"] != ALL)]
    if counted.empty:
        raise DataError("no published table has a rank: results/grounding/published says why")
    kinds = kind_of(modules or {})
    parts = [
        rank_boxes(rows, means[(means["source"] == source) & (means["domain"] != ALL)])
        .assign(source=source)
        for source, rows in counted.groupby("source", sort=False)
    ]  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "source", table.pop("source"))
    table.insert(3, "kind", table["metric"].map(kinds).fillna(OTHER))
    sources = list(dict.fromkeys(table["source"]))
    found = sorted(table["domain"].unique())
    high = [table[table["source"] == s]["domain"].value_counts().max() for s in sources]
    with style():
        known = _labels(means, labels)
        notes = list(_source_notes(means, sources, width))
        height = sum(ROW * (k + 2) + 15 for k in high) + 24 + 3.2 * len(notes)
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(
            len(sources), len(found), squeeze=False, height_ratios=[ROW * (k + 2) + 8 for k in high]
        )
        for (i, source), (j, domain) in product(enumerate(sources), enumerate(found)):
            own = table[(table["domain"] == domain) & (table["source"] == source)]
            if own.empty:
                grid[i, j].set_visible(False)
                continue
            rows = counted[(counted["domain"] == domain) & (counted["source"] == source)]
            names = _names(own, known, _room(width, len(found)))
            _panel(grid[i, j], own, rows, names)
            grid[i, j].set_title(f"{source}: {domain}", loc="left")
        handles = [*kind_legend(table["kind"]), *_marks(counted, means)]
        bottom_legend(figure, handles, "\n".join(notes), width)
    return figure, table


def _labels(means: pd.DataFrame, labels: Mapping[str, str] | None) -> dict[str, str]:
    """Returns the study's names of metrics, of others how tables of ReSi abbreviate them."""
    published = dict(zip(means["metric"], means["name"], strict=True))
    found = {m: MEASURES[name].label for m, name in published.items() if name in MEASURES}
    return found | dict(labels or {})


def _source_notes(means: pd.DataFrame, sources: Sequence[str], width: float) -> Iterator[str]:
    """Yields what is to be known of each source."""
    for source in sources:
        for note in (
            means.loc[means["source"] == source, "note"].replace("", np.nan).dropna().unique()
        ):
            yield from wrap(f"{source}: {note}", int(width / LETTER))


def rank_boxes(ranks: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Returns for every modality, and for all, a box of each metric's ranks with its mean.

    Args:
        ranks: rows of results/grounding/ranks/cases that have a rank.
        summary: rows of results/grounding/ranks/domains.

    Returns:
        `domain, metric, whisker_low, q1, median, q3, whisker_high` (whiskers to the farthest rank
        within 1.5 interquartile ranges) and the columns of `summary`; within a modality sorted by
        median, then mean, those without a place last.
    """
    parts = []
    for domain in summary["domain"].unique():
        cases = ranks if domain == ALL else ranks[ranks["domain"] == domain]
        rows = [
            {"metric": m, **_box(r), "domain": domain} for m, r in cases.groupby("metric")["rank"]
        ]
        parts.append(pd.DataFrame(rows))
    table = pd.concat(parts).merge(summary, how="left", on=["domain", "metric"])
    table["median"] = table["median"].fillna(table["median_rank"])
    order = table.assign(
        last=table["place"].isna(), of=pd.factorize(table["domain"])[0], mean=table["mean_rank"]
    ).sort_values(["of", "last", "median", "mean", "metric"], kind="stable")
    kept = [column for column in COLUMNS if column != "kind"]
    return table.loc[order.index, kept].reset_index(drop=True)


def _box(ranks: pd.Series) -> dict[str, float]:
    q1, median, q3 = np.quantile(ranks, [0.25, 0.5, 0.75])
    reach = 1.5 * (q3 - q1)
    inside = ranks[(ranks >= q1 - reach) & (ranks <= q3 + reach)]
    return dict(zip(BOX, (inside.min(), q1, median, q3, inside.max()), strict=True))


def _names(table: pd.DataFrame, labels: Mapping[str, str] | None, room: int) -> list[str]:
    """Returns the names of metrics, those without a place with their coverage."""
    names = named(table["metric"].tolist(), labels)
    ends = [f" ({row.coverage:.0%})" if pd.isna(row.place) else "" for row in table.itertuples()]
    cut = zip(shorten(names, room), shorten(names, room - 6), ends, strict=True)
    return [(less if end else full) + end for full, less, end in cut]


def _room(width: float, columns: int) -> int:
    """Returns how many letters of a name fit beside a panel."""
    return int(0.45 * width / columns / LETTER) if columns > 1 else 34


def _title(domain: str, cases: pd.DataFrame) -> str:
    """Returns the modality, and how many tests count."""
    count = len(cases[["recipe", "test"]].drop_duplicates())
    return f"{'all modalities' if domain == ALL else domain}: {count} tests"


def _panel(axes: Axes, table: pd.DataFrame, cases: pd.DataFrame, names: Sequence[str]) -> None:
    few = table["n_cases"].max() <= MAX_POINTS
    for k, row in enumerate(table.to_dict("records")):
        color = kind_color(row["kind"])
        draw_box(axes, k, row, color)
        if few:
            own = cases.loc[cases["metric"] == row["metric"], "rank"].sort_values()
            spread = np.linspace(-0.2, 0.2, max(len(own), 2))[: len(own)]
            axes.plot(own, k - 0.16 + spread, ".", color=DARK, markersize=2.2, zorder=3,
                      markeredgewidth=0)  # fmt: skip
    most = int(max(len(table), cases["rank"].max()))
    _difference(axes, float(table["critical_difference"].iloc[0]), most)
    axes.set_yticks(range(len(table)), names)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0.5, most + 0.5), ylim=(len(table) - 0.4, -2.1))
    axes.set_xlabel(f"rank (1 = best of {most})")
    axes.xaxis.set_major_locator(mpl.MaxNLocator(6, integer=True, min_n_ticks=2))


def draw_box(axes: Axes, place: int, row: Mapping, color: str) -> None:
    """Draws one metric: its box, where there is one, and its mean with an interval below it.

    Args:
        axes: where; ranks lie along x.
        place: of the metric along y.
        row: `whisker_low, q1, median, q3, whisker_high, mean_rank, low, high`; missing numbers are
            not drawn.
        color: of the box.
    """
    y, half = place - 0.16, 0.22
    if np.isfinite(row["q1"]):
        for ends in (("whisker_low", "q1"), ("q3", "whisker_high")):
            axes.plot([row[end] for end in ends], [y, y], color=GREY, linewidth=0.7, zorder=1)
        axes.add_patch(
            mpl.Rectangle(
                (row["q1"], y - half), row["q3"] - row["q1"], 2 * half, facecolor=color,
                edgecolor=DARK, linewidth=0.4, alpha=0.75, zorder=2,
            )
        )  # fmt: skip
        axes.plot([row["median"]] * 2, [y - half, y + half], color="black", linewidth=1.2, zorder=4)
    if np.isfinite(row.get("mean_rank", np.nan)):
        y = place + 0.3
        if np.isfinite(row.get("low", np.nan)):
            axes.plot([row["low"], row["high"]], [y, y], color=DARK, linewidth=0.9, zorder=3)
        axes.plot(row["mean_rank"], y, "D", color=color, markersize=3, zorder=5,
                  markeredgecolor="black", markeredgewidth=0.5)  # fmt: skip


def _difference(axes: Axes, difference: float, most: int) -> None:
    """Draws the critical difference of two mean ranks above the metrics."""
    if np.isnan(difference):
        return
    beyond = difference > most - 1
    end = 1 + min(difference, most - 1)
    axes.plot([1, end], [-0.9, -0.9], color=DARK, linewidth=1.0)
    for x in (1,) if beyond else (1, end):
        axes.plot([x, x], [-1.1, -0.7], color=DARK, linewidth=1.0)
    text = f"CD {difference:.1f}{', more than all' if beyond else ''}"
    label = axes.text(1, -1.25, text, size=FONT, ha="left", va="bottom")
    label.set_in_layout(False)  # else a narrow panel makes room for it, and has none left itself
    axes.axhline(-0.55, color=LIGHT, linewidth=0.5, zorder=0)


def _notes(table: pd.DataFrame, ranks: pd.DataFrame, width: float) -> Iterator[str]:
    """Yields lines on what cannot be seen."""
    lost = ranks.loc[ranks["status"] == NOT_GROUNDED, ["recipe", "test"]].drop_duplicates()
    if len(lost):
        names = ", ".join(f"{row.recipe} {row.test}" for row in lost.itertuples())
        yield from wrap(f"not counted, as groups do not behave differently: {names}",
                        int(width / LETTER))  # fmt: skip
    if table["critical_difference"].notna().any():
        text = (
            "CD: Nemenyi's critical difference of two mean ranks (5 %), which is optimistic: tests "
            "share models, and it takes them as independent"
        )
        yield from wrap(text, int(width / LETTER))
    if table["place"].isna().any():
        yield "(%): of the tests with a value; too few for a place"


def _marks(ranks: pd.DataFrame, summary: pd.DataFrame) -> list[Line2D]:
    """Returns what boxes, dots and diamonds are."""
    marks = [
        mpl.Line2D([], [], color="black", marker="|", linestyle="", markersize=5, label="median"),
        mpl.Line2D([], [], color=DARK, marker="D", linewidth=0.9, markersize=3,
                   markerfacecolor="white", label="mean, 95 % interval over models"),
    ]  # fmt: skip
    if summary["n_cases"].min() <= MAX_POINTS:
        marks.append(
            mpl.Line2D(
                [], [], color=DARK, marker=".", linestyle="", markersize=3, label="single test"
            )
        )
    return marks
