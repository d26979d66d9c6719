"""The spread of consistency over dataset pairs, for every pair of groups."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.sets import ALL, ANCHOR
from consilience.plots import mpl
from consilience.plots.facts import GROUPING, register
from consilience.plots.families import (
    OUTLIER,
    WITHIN,
    between,
    families_of,
    footnotes,
    headline,
    pair_of_datasets,
    value_beside,
)
from consilience.plots.sources import CONSISTENCY, LABELS, MODELS, from_plan
from consilience.plots.style import (
    COLUMN,
    DARK,
    FONT,
    GREY,
    LETTER,
    LIGHT,
    METHODS,
    PAGE,
    name_pairs,
    pair_name,
    read_groups,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ROWS = 60
"""Above so many pairs of groups, those within groups are shown."""
MAX_POINTS = 80
"""Above so many dataset pairs, boxes stand without single points."""


@register(
    per=GROUPING,
    takes={
        "consistency": CONSISTENCY,
        "models": MODELS,
        "group": from_plan("grouping", lambda plan, grouping: plan.distributions[grouping][0]),
        "column": from_plan("column", lambda plan, grouping: plan.distributions[grouping][1]),
        "labels": LABELS,
    },
    category="Consistency",
    caption=(
        "Correlation, over pairs of models within and between groups, of their similarities on two "
        "datasets; each point is a pair of datasets. The band is all models (quartiles, median). "
        "Groups that are too small are listed. Where models are of families, points are over pairs "
        "of models of different families, and open circles the median over all pairs."
    ),
)
def consistency_distribution(
    consistency: pd.DataFrame,
    models: pd.DataFrame,
    *,
    group: str,
    column: str | None = None,
    method: str = "pearson",
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the consistency over all dataset pairs as one box per pair of groups.

    Boxes: quartiles and median, whiskers to the farthest value within 1.5 interquartile ranges.
    The band behind them is the quartiles of all models, its line the median. Rows are sorted by
    the median over all metrics. Pairs of groups with too few models are listed below. Of more than
    60 pairs those within a group are shown, or of an anchor with all others; the figure says so.
    Where models are of families, the values are those over pairs of models of different families,
    and an open circle is the median over all pairs; points that one model or family drives
    have a dagger.

    Args:
        consistency: rows of `results/consistency`, of one or several metrics.
        models: metadata indexed by model id, for the colours.
        group: the grouping to show: a metadata column, `set` or `anchor`.
        column: of anchors, the metadata column whose groups they are compared with.
        method: `pearson` or `spearman`.
        labels: {metric: name for the reader}.
        width: of the figure, in mm; one column for one metric, two for more, if not given.

    Returns:
        the figure, and its table: the rows of `consistency` that it shows.

    Raises:
        DataError: no row of the grouping has a value.
    """
    rows = consistency[consistency["method"] == method].reset_index(drop=True)
    families, shown = families_of(rows), headline(rows)
    own, left_out = _limited(_of_grouping(shown[shown["grouping"] == group], group, column))
    base = shown[shown["grouping"] == ALL]
    table = rows.loc[base.index.union(own.index)]
    own = own.assign(size=own["value"].fillna(own.get("value_all", np.nan)))
    measured = own[own["size"].notna()]
    if measured.empty:
        raise DataError(
            f"no pair of groups of {group!r} has a consistency; the column status says why"
        )
    order = measured.groupby("label")["size"].median().sort_values(kind="stable").index.tolist()
    metrics = table["metric"].unique().tolist()
    width = width or (COLUMN if len(metrics) == 1 else PAGE)
    notes = [*left_out, *_notes(own, order, width), *_key(families, width)]
    told = rows.loc[own.index].assign(label=own["label"])
    notes += footnotes(told, _name, width, intervals=False)
    with style():
        height = 5.0 * len(order) + 18 + 3.2 * len(notes)
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        figure.subplots(1, len(metrics), sharey=True, sharex=True, squeeze=False)
        for axes, metric in zip(figure.axes, metrics, strict=True):
            _draw(
                axes, base[base["metric"] == metric], measured[measured["metric"] == metric], order
            )
            axes.set_title((labels or {}).get(metric, metric))
        _name_groups(figure.axes[0], measured, order, models)
        figure.axes[0].set_ylabel(f"{group} and {column}" if column else group)
        counts = "n = dataset pairs" + ", F = families" * bool(families)
        figure.supxlabel(
            f"{METHODS[method]} between two datasets ({counts})\n" + "\n".join(notes), size=FONT
        )
        if families:
            figure.suptitle(f"Consistency {between(rows)}")
            figure.set_figheight(figure.get_figheight() + 6 / 25.4)
    return figure, table.reset_index(drop=True)


def _of_grouping(rows: pd.DataFrame, group: str, column: str | None) -> pd.DataFrame:
    """Returns the rows with labels; of anchors those with all others and the column's groups."""
    partners = rows["group_y"]
    if group == ANCHOR:
        rows = rows[(partners == ALL) | partners.str.startswith(f"{column}=")]
        partners = rows["group_y"].replace(ALL, "all others").str.removeprefix(f"{column}=")
    return rows.assign(label=list(map(pair_name, rows["group_x"], partners)))


def _limited(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Returns the rows of at most 60 pairs, or those within groups, and a line that says so."""
    many = rows["label"].nunique()
    if many <= MAX_ROWS:
        return rows, []
    anchors = (rows["grouping"] == ANCHOR).all()
    kept = rows[rows["group_y"] == (ALL if anchors else rows["group_x"])]
    what = "of anchors with all others" if anchors else "within groups"
    return kept, [f"{kept['label'].nunique()} of {many} pairs: those {what}"]


def _draw(axes: Axes, base: pd.DataFrame, rows: pd.DataFrame, order: list[str]) -> None:
    everything = base["value"].dropna()
    if len(everything):
        low, middle, high = np.quantile(everything, [0.25, 0.5, 0.75])
        axes.axvspan(low, high, color=LIGHT, linewidth=0, zorder=0)
        axes.axvline(middle, color=GREY, linewidth=0.8, zorder=0)
        axes.text(
            middle, len(order) - 0.45, "all models", size=FONT, color=DARK, ha="center",
            va="bottom", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    known = rows[rows["value"].notna()]
    values = {label: part.to_numpy() for label, part in known.groupby("label")["value"]}
    present = [k for k, label in enumerate(order) if label in values]
    dots = max(map(len, values.values()), default=0) <= MAX_POINTS
    if present:  # else no group has a pair of models of different families
        _draw_boxes(axes, values, order, present, dots=dots)
    _draw_beside(axes, rows, order)
    axes.axvline(0, color=GREY, linewidth=0.5, linestyle=":", zorder=0)
    axes.set_ylim(-0.6, len(order) + 0.1)


def _draw_boxes(
    axes: Axes,
    values: Mapping[str, np.ndarray],
    order: Sequence[str],
    present: Sequence[int],
    *,
    dots: bool,
) -> None:
    """Draws a box for each row that has values, with single points where these are few."""
    axes.boxplot(
        [values[order[k]] for k in present], positions=present, orientation="horizontal",
        widths=0.55, showfliers=not dots, boxprops={"linewidth": 0.7},
        medianprops={"color": DARK, "linewidth": 1.4}, whiskerprops={"linewidth": 0.7},
        capprops={"linewidth": 0.7}, manage_ticks=False,
        flierprops={"marker": ".", "markersize": 1.5, "markeredgecolor": GREY},
    )  # fmt: skip
    if dots:
        for k in present:
            spread = np.linspace(-0.18, 0.18, 5)[np.arange(len(values[order[k]])) % 5]
            axes.plot(values[order[k]], k + spread, ".", color=GREY, markersize=2.5, zorder=1.5)


def _draw_beside(axes: Axes, rows: pd.DataFrame, order: list[str]) -> None:
    """Marks values that one model or family drives; circles the median over all pairs."""
    if "outlier" in rows:
        driven = rows[(rows["outlier"].fillna("") != "") & rows["value"].notna()]
        places = [order.index(label) for label in driven["label"]]
        look = {"marker": f"${OUTLIER}$", "markersize": 6, "color": DARK, "zorder": 5}
        axes.plot(driven["value"], np.add(places, 0.3), linestyle="", **look)
    if "value_all" in rows:
        beside = pd.Series([value_beside(row) for row in rows.itertuples()], index=rows.index)
        plain = beside.groupby(rows["label"]).median().dropna()
        places = [order.index(label) for label in plain.index]
        axes.plot(
            plain, places, "o", markerfacecolor="white", markeredgecolor=DARK, markersize=4,
            markeredgewidth=0.8, zorder=4,
        )  # fmt: skip


def _name_groups(axes: Axes, rows: pd.DataFrame, order: list[str], models: pd.DataFrame) -> None:
    """Names the rows, those of a metadata column with a dot in the colour of either group."""
    first = rows.drop_duplicates("label").set_index("label").loc[order]
    counts = rows.groupby(["metric", "label"]).size().groupby("label").max()
    sizes = {label: f"n = {counts[label]}" for label in order}
    if families_of(rows):
        families = rows.groupby("label")["n_families"].max()
        sizes = {label: f"{text}, F = {families[label]}" for label, text in sizes.items()}
    axes.set_yticks(range(len(order)), [f"{label} ({sizes[label]})" for label in order])
    grouping = rows["grouping"].iloc[0]
    if grouping in models.columns:
        color = read_groups(models, grouping).color
        name_pairs(
            axes,
            [(color(x), color(y)) for x, y in zip(first["group_x"], first["group_y"], strict=True)],
        )


def _name(row: Any) -> str:  # noqa: ANN401
    return f"{row.label}{WITHIN}{pair_of_datasets(row)}"


def _key(families: str, width: float) -> list[str]:
    """Returns what points and circles are, where models are of families."""
    if not families:
        return []
    key = (
        "boxes and points: over pairs of models of different families; circle: median over all "
        "pairs of models"
    )
    return textwrap.wrap(key, int(width / LETTER))


def _notes(rows: pd.DataFrame, order: list[str], width: float) -> list[str]:
    """Lists the pairs of groups without a number, in lines that fit the width in mm."""
    absent = rows[~rows["label"].isin(order)].drop_duplicates("label")
    if absent.empty:
        return []
    words = [f"{row.label} (n = {row.n_models})" for row in absent.itertuples()]
    words = [word + ", " for word in words[:-1]] + words[-1:]
    lines, limit = ["Too few models (n): "], int(width * 0.78)
    for word in words:
        if len(lines[-1]) + len(word) > limit:
            lines.append("")
        lines[-1] += word
    return lines
