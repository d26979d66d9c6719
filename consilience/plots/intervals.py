"""Numbers with their intervals, one row each: consistency and its differences, behavior."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consilience.consistency.differences import MEAN
from consilience.errors import DataError
from consilience.pairs.sets import ALL
from consilience.plots.style import (
    COLUMN,
    DARK,
    FONT,
    GREY,
    LETTER,
    LIGHT,
    METHODS,
    PAGE,
    Groups,
    bottom_legend,
    name_pairs,
    pair_name,
    read_groups,
    shorten,
    style,
)

ROW = 4.0
"""Height of a row, in mm."""
MAX_ROWS = 60
"""A grouping with more pairs of groups shows those within groups only."""
MAX_COLUMNS = 4


def row_figure(counts: Sequence[int], columns: int, *, width: float, extra: float) -> Figure:
    """Returns a figure of blocks of rows above each other, as high as their counts demand.

    Args:
        counts: rows of each block.
        columns: panels side by side in each block.
        width: of the figure, in mm.
        extra: height beside the rows and their titles, in mm.
    """
    height = ROW * sum(counts) + 9.0 * len(counts) + extra
    figure = Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
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
            line) and `color`.
        labels: the order of the rows.
    """
    places = pd.Index(labels).get_indexer(rows["label"])
    colors = rows["color"].tolist() if "color" in rows else DARK
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


def similarity_behavior(
    relation: pd.DataFrame,
    *,
    label: str,
    method: str = "pearson",
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws how similarity goes together with differences in behavior: a row per dataset.

    Datasets of a domain stand together and have one colour.

    Args:
        relation: rows of `results/behavior/relation` of one metric.
        label: the metric's name for the reader.
        method: `pearson` or `spearman`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `relation` that it shows.

    Raises:
        DataError: no dataset has a value.
    """
    chosen = relation[relation["method"] == method]
    table = chosen[chosen["value"].notna()].sort_values(["domain", "dataset"], kind="stable")
    if table.empty:
        why = ", ".join(sorted(set(chosen["status"]))) or "no labelled dataset"
        raise DataError(f"no dataset has a relation of similarity and behavior: {why}")
    datasets = table["dataset"].unique().tolist()
    domains = read_groups(table.drop_duplicates("dataset").set_index("dataset"), "domain")
    rows = table.assign(label=table["dataset"], color=domains.colors(table["dataset"]))
    measures = table["measure"].unique().tolist()
    with style():
        figure = row_figure([len(datasets)], len(measures), width=width, extra=22)
        for axes, measure in zip(figure.axes, measures, strict=True):
            draw_rows(axes, rows[rows["measure"] == measure], datasets)
            axes.set_title(measure.replace("_", " "))
        figure.axes[0].set_yticks(range(len(datasets)), shorten(datasets, 20))
        figure.suptitle(f"{label} and behavior")
        heading = (
            f"{METHODS[method]} of similarity and difference in behavior, over model pairs\n"
            "(line: 95 % interval over models; colour: domain, n = datasets)"
        )
        bottom_legend(figure, domains.legend(datasets, "o"), heading, width)
    return figure, table.reset_index(drop=True)


def consistency_groups(
    means: pd.DataFrame,
    models: pd.DataFrame,
    *,
    label: str,
    method: str = "pearson",
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the mean consistency over all dataset pairs, within and between groups of models.

    A block per grouping, named sets and anchors included. The thick line is the 95 % interval over
    models, the thin one that over models and stimuli; behind them are the mean of all models and
    its interval.

    Args:
        means: rows of `results/consistency/means` of one metric.
        models: metadata indexed by model id, for the colours.
        label: the metric's name for the reader.
        method: `pearson` or `spearman`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `means` that it shows.

    Raises:
        DataError: no groups, or none has a mean.
    """
    chosen = means[means["method"] == method]
    base, rest = chosen[chosen["grouping"] == ALL], chosen[chosen["grouping"] != ALL]
    blocks = {name: _pairs_of(part) for name, part in rest.groupby("grouping", sort=False)}
    blocks = {name: part for name, part in blocks.items() if len(part)}
    if not blocks:
        raise DataError(f"no group of models has a mean consistency by {label}")
    with style():
        figure = row_figure([len(part) for part in blocks.values()], 1, width=width, extra=16)
        for axes, (name, part) in zip(figure.axes, blocks.items(), strict=True):
            rows = part.assign(low_wide=part["low_joint"], high_wide=part["high_joint"])
            for row in base.itertuples():
                axes.axvspan(row.low, row.high, color=LIGHT, linewidth=0, zorder=0)
                axes.axvline(row.value, color=GREY, linewidth=0.8, zorder=0)
            draw_rows(axes, rows, part["label"].tolist())
            _name(axes, rows, name, models)
            axes.set_title(_heading(name, len(part), len(rest[rest["grouping"] == name])))
        figure.supxlabel(
            f"{METHODS[method]} of two datasets, mean of Fisher's z over dataset pairs (n = models)"
            "\n(thick: 95 % interval over models; thin: over models and stimuli; "
            "band: all models)",
            size=FONT,
        )
        figure.suptitle(f"Consistency of {label}")
    table = pd.concat([base, *(part for part in blocks.values())], ignore_index=True)
    return figure, table[list(means.columns)]


def _pairs_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with a value, highest first, with labels; those within groups if many."""
    known = rows[rows["value"].notna()]
    if len(known) > MAX_ROWS:
        known = known[known["group_x"] == known["group_y"]]
    known = known.sort_values("value", ascending=False, kind="stable")
    return known.assign(label=list(map(pair_name, known["group_x"], known["group_y"])))


def _heading(grouping: str, shown: int, all_of_them: int) -> str:
    return f"{grouping} ({shown} of {all_of_them})" if shown < all_of_them else grouping


def _name(axes: Axes, rows: pd.DataFrame, grouping: str, models: pd.DataFrame) -> None:
    names = [f"{r.label} (n = {r.n_models})" for r in rows.itertuples()]
    axes.set_yticks(range(len(rows)), names)
    if grouping in models.columns:
        _add_dots(axes, rows, read_groups(models, grouping))


def _add_dots(axes: Axes, rows: pd.DataFrame, groups: Groups) -> None:
    sides = list(zip(rows["group_x"], rows["group_y"], strict=True))
    name_pairs(axes, [tuple(map(groups.color, pair)) for pair in sides])


def group_differences(
    differences: pd.DataFrame,
    models: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    method: str = "pearson",
    width: float | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Draws by how much models are more consistent within one group than within another.

    The mean over all dataset pairs, a panel per metric. The thick line is the 95 % interval of one
    difference, the thin one holds for all differences of a panel at once. Of more than 60
    differences of a grouping the largest and smallest are shown, and the figure says so.

    Args:
        differences: rows of `results/consistency/differences`, of one or several metrics.
        models: metadata indexed by model id, for the colours.
        labels: {metric: name for the reader}.
        method: `pearson` or `spearman`.
        width: of the figure, in mm; one column for one metric, two for more, if not given.

    Returns:
        the figure, and its table: the rows of `differences` that it shows.

    Raises:
        DataError: no two groups have a difference.
    """
    shown = (differences["method"] == method) & (differences["dataset_x"] == MEAN)
    table = differences[shown & differences["value"].notna()].reset_index(drop=True)
    if table.empty:
        raise DataError("no two groups of models have a difference of consistency")
    rows = table.assign(
        label=table["group_x"] + " − " + table["group_y"],
        low_wide=table["low_simultaneous"],
        high_wide=table["high_simultaneous"],
    )
    metrics = table["metric"].unique().tolist()
    columns = min(len(metrics), MAX_COLUMNS)
    width = width or (COLUMN if columns == 1 else PAGE)
    chunks = [metrics[k : k + columns] for k in range(0, len(metrics), columns)]
    blocks = [(g, chunk) for g in table["grouping"].unique() for chunk in chunks]
    known = rows.groupby("grouping")["label"].nunique()
    orders = {g: _by_size(part) for g, part in rows.groupby("grouping")}
    drawn = {(g, label) for g, order in orders.items() for label in order}
    rows = rows[[pair in drawn for pair in zip(rows["grouping"], rows["label"], strict=True)]]
    with style():
        counts = [len(orders[g]) for g, _ in blocks]
        margin = LETTER * rows["label"].str.len().max() + 12
        room = max(12, int((width - margin) / columns / LETTER))
        figure = row_figure(counts, columns, width=width, extra=14 + 3 * len(blocks))
        grid = np.array(figure.axes).reshape(len(blocks), columns)
        for line, (grouping, chunk) in zip(grid, blocks, strict=True):
            part, order = rows[rows["grouping"] == grouping], orders[grouping]
            for axes, metric in zip(line, chunk, strict=False):
                draw_rows(axes, part[part["metric"] == metric], order)
                axes.set_title(textwrap.fill((labels or {}).get(metric, metric), room))
            line[0].set_yticks(range(len(order)), order)
            note = f"\n(largest and smallest, {len(order)} of {known[grouping]})"
            line[0].set_ylabel(grouping + (note if len(order) < known[grouping] else ""))
            if grouping in models.columns:
                first = part.drop_duplicates("label").set_index("label").loc[order]
                _add_dots(line[0], first, read_groups(models, grouping))
            for axes in line[len(chunk) :]:
                axes.set_visible(False)
        figure.supxlabel(
            "difference of consistency (Fisher's z), mean over dataset pairs\n(thick: 95 % "
            "interval of one; thin: of all in a panel at once)",
            size=FONT,
        )
    return figure, table.loc[rows.index].reset_index(drop=True)


def _by_size(rows: pd.DataFrame) -> list[str]:
    """Returns the labels, largest difference first; of many the outermost."""
    mean = rows.groupby("label")["value"].mean().sort_values(ascending=False, kind="stable")
    if len(mean) > MAX_ROWS:
        mean = pd.concat([mean.iloc[: MAX_ROWS // 2], mean.iloc[-MAX_ROWS // 2 :]])
    return mean.index.tolist()
