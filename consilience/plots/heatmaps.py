"""Heat maps: similarity of models per dataset, consistency of datasets."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from consilience.errors import DataError
from consilience.pairs.matrix import Similarity, read_similarity
from consilience.pairs.sets import ALL
from consilience.plots.style import (
    FONT,
    LETTER,
    LIGHT,
    METHODS,
    PAGE,
    MetricAxis,
    blank,
    bottom_legend,
    color_bar,
    color_scale,
    columns_for,
    ink,
    minus,
    pair_name,
    panels,
    read_groups,
    shorten,
    style,
    title,
)

MAX_PAIRS = 10
"""Most pairs of groups that have a panel each."""
STRIP = 0.045
"""Width of the group colour bars, as a share of the matrix."""


def read_all(
    tables: Mapping[str, pd.DataFrame], layers: Mapping[str, str] | None
) -> dict[str, Similarity]:
    """Returns one similarity per model pair for every dataset, in the order given."""
    if not tables:
        raise DataError("there is no similarity table to draw")
    return {name: read_similarity(table, name, layers) for name, table in tables.items()}


def model_order(similarities: Mapping[str, Similarity], axis: MetricAxis) -> list[str]:
    """Returns all models in one order: average linkage of their mean distance over the datasets.

    A pair that no dataset has counts as far apart as the farthest pair.
    """
    models = sorted({model for s in similarities.values() for model in s.models})
    if len(models) < 3:
        return models
    with np.errstate(invalid="ignore"):
        stack = np.array([spread_out(s, models) for s in similarities.values()])
        present = np.isfinite(stack)
        mean = np.where(present, stack, 0).sum(axis=0) / present.sum(axis=0)
    distances = axis.distances(mean)
    distances = np.where(np.isfinite(distances), distances, np.nanmax(distances))
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    return [models[position] for position in leaves_list(tree)]


def spread_out(similarity: Similarity, models: Sequence[str]) -> np.ndarray:
    """Returns the matrix over `models`, NaN where the dataset lacks one."""
    rows = pd.Index(models).get_indexer(list(similarity.models))
    full = np.full((len(models), len(models)), np.nan)
    full[np.ix_(rows, rows)] = similarity.matrix
    return full


def similarity_heatmaps(
    tables: Mapping[str, pd.DataFrame],
    models: pd.DataFrame,
    *,
    axis: MetricAxis,
    group: str | None = None,
    layers: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the similarity of all model pairs, one panel per dataset.

    All panels share one order of the models (average linkage of the mean over the datasets) and
    one colour scale; brighter is more similar whatever the metric's direction. Models that a
    dataset lacks stay blank, as do failed pairs; self pairs are grey.

    Args:
        tables: {dataset: similarity table} of one metric.
        models: metadata indexed by model id.
        axis: the metric.
        group: metadata column for the colour bars.
        layers: {model: layer}; a model with one layer needs no entry.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, position_x, position_y, model_x, model_y, value`.
    """
    similarities = read_all(tables, layers)
    order, groups = model_order(similarities, axis), read_groups(models, group)
    matrices = {name: spread_out(s, order) for name, s in similarities.items()}
    low, high = axis.limits(np.concatenate([m.ravel() for m in matrices.values()]))
    scale = color_scale(low, high, turned=not axis.larger_is_more_similar)
    columns = columns_for(len(matrices), width)
    panel = (width - 20) / columns
    with style():
        figure = panels(len(matrices), width=width, height=panel + 3, columns=columns, extra=14)
        for position, (dataset, values) in enumerate(matrices.items()):
            axes = figure.axes[position]
            draw_matrix(axes, values, groups.colors(order), scale)
            present = len(similarities[dataset].models)
            note = f"{present} of {len(order)} models" if present < len(order) else ""
            axes.set_title(title(dataset, note, panel))
            if position % columns == 0:
                name_matrix(axes, order, width - 20, columns)
        color_bar(scale, figure.axes, f"{axis.label}\n({axis.direction})", aspect=30)
        heading = f"{len(order)} models, in one order; grey: same model, white: no value"
        heading += f"\n{group}" if group else ""
        bottom_legend(figure, groups.legend(order, "s"), heading, width)
    return figure, _matrix_table(matrices, order)


def draw_matrix(
    axes: Axes, values: np.ndarray, strip: Sequence[str], scale: ScalarMappable
) -> None:
    """Draws values as colours, beside them a bar of group colours; self pairs are grey."""
    m = len(values)
    image = scale.to_rgba(np.ma.masked_invalid(values))
    image[~np.isfinite(values)] = mpl.colors.to_rgba("white")
    here = np.isfinite(values).any(axis=1)
    image[np.arange(m)[here], np.arange(m)[here]] = mpl.colors.to_rgba(LIGHT)
    axes.imshow(image, extent=(0, m, m, 0), interpolation="nearest", aspect="equal")
    bar = np.array([mpl.colors.to_rgba(color) for color in strip])
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
    image[~np.isfinite(values)] = mpl.colors.to_rgba("white")
    axes.imshow(image, extent=(0, d, m, 0), interpolation="nearest", aspect="auto")
    blank(axes)
    axes.tick_params(length=0, pad=1)
    for i, j in np.argwhere(np.isfinite(values) & (form is not None)):
        axes.text(
            j + 0.5, i + 0.5, (form or "").format(values[i, j]), ha="center", va="center",
            size=FONT, color=ink(image[i, j, :3]),
        )  # fmt: skip


def _matrix_table(matrices: Mapping[str, np.ndarray], order: Sequence[str]) -> pd.DataFrame:
    i, j = np.triu_indices(len(order), 1)
    names = np.array(order, dtype=object)
    parts = [
        pd.DataFrame(
            {
                "dataset": dataset,
                "position_x": i,
                "position_y": j,
                "model_x": names[i],
                "model_y": names[j],
                "value": values[i, j],
            }
        )
        for dataset, values in matrices.items()
    ]
    return pd.concat(parts, ignore_index=True)


def consistency_heatmap(
    consistency: pd.DataFrame,
    *,
    method: str = "pearson",
    datasets: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the consistency of all models between every two datasets, one panel per metric.

    Args:
        consistency: rows of `results/consistency`, of one or several metrics.
        method: `pearson` or `spearman`.
        datasets: their order; alphabetical if not given.
        labels: {metric: name for the reader}.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `consistency` that it shows.
    """
    rows = consistency[(consistency["grouping"] == ALL) & (consistency["method"] == method)]
    if rows.empty:
        raise DataError(f"the consistency table has no row of all models with method {method!r}")
    names = list(datasets or sorted({*rows["dataset_x"], *rows["dataset_y"]}))
    chosen = {
        (labels or {}).get(metric, metric): part
        for metric, part in rows.groupby("metric", sort=False)
    }
    columns = min(len(chosen), 3 if len(names) <= 6 else 2 if len(names) <= 10 else 1)
    columns = 2 if columns == 3 and len(chosen) == 4 else columns  # two full rows
    figure = _draw_panels(chosen, names, columns if width > 120 else 1, METHODS[method], width)
    return figure, rows.reset_index(drop=True)


def consistency_heatmap_groups(
    consistency: pd.DataFrame,
    *,
    group: str,
    label: str,
    method: str = "pearson",
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the consistency between every two datasets within and between groups of models.

    The first panel is all models. A pair of groups without any value (too few models) has no
    panel; of more than ten pairs those within groups come first. The figure says both.

    Args:
        consistency: rows of `results/consistency` of one metric.
        group: the grouping.
        label: the metric's name for the reader.
        method: `pearson` or `spearman`.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `consistency` that it shows.

    Raises:
        DataError: no pair of groups has a value.
    """
    rows = consistency[consistency["method"] == method]
    pairs = {
        key: part for key, part in rows[rows["grouping"] == group].groupby(["group_x", "group_y"])
    }
    shown = {key: part for key, part in pairs.items() if part["value"].notna().any()}
    absent = [pair_name(*key) for key in pairs if key not in shown]
    if not shown:
        raise DataError(f"no pair of groups of {group!r} has a consistency; status says why")
    notes = [f"no value (too few models): {', '.join(absent)}"] if absent else []
    own = sorted(shown, key=lambda pair: (pair[0] != pair[1], pair))
    if len(own) > MAX_PAIRS:
        notes.insert(0, f"{MAX_PAIRS} of {len(own)} pairs of groups, those within groups first")
    chosen = {"all models": rows[rows["grouping"] == ALL]}
    chosen |= {pair_name(*pair): shown[pair] for pair in own[:MAX_PAIRS]}
    names = sorted({*rows["dataset_x"], *rows["dataset_y"]})
    columns = min(len(chosen), 3 if len(names) <= 6 else 2 if len(names) <= 24 else 1)
    figure = _draw_panels(chosen, names, columns, METHODS[method], width)
    with style():
        figure.suptitle(f"{label}: consistency within and between groups ({group})")
        lines = textwrap.wrap("; ".join(notes), int(width / LETTER))
        figure.supxlabel("\n".join(lines), size=FONT)
        figure.set_figheight(figure.get_figheight() + (6 + 3 * len(lines)) / 25.4)
    return figure, pd.concat(chosen.values(), ignore_index=True)


def _draw_panels(
    chosen: Mapping[str, pd.DataFrame],
    names: Sequence[str],
    columns: int,
    method: str,
    width: float,
) -> Figure:
    """Draws a panel of dataset pairs for every set of rows, with one colour bar."""
    margin = LETTER * min(18, max(map(len, names)))
    cell = min((width - margin - 20) / columns / max(len(names) - 1, 1), 22.0)
    turned = margin > cell
    height = cell * (len(names) - 1) + (margin if turned else 4) + 5
    scale = color_scale(-1, 1, colors="RdBu_r")
    with style():
        figure = panels(len(chosen), width=width, height=height, columns=columns, extra=2)
        for position, (heading, rows) in enumerate(chosen.items()):
            axes = figure.axes[position]
            _draw_cells(axes, rows, names, cell, scale)
            name = f"{heading}, {_models_in(rows)}"
            long = len(name) * LETTER > (width - margin - 20) / columns
            axes.set_title(f"{heading}\n{_models_in(rows)}" if long else name)
            if position % columns:
                axes.set_yticklabels([])
        shrink = min(0.8, 120 / (figure.get_figheight() * 25.4))
        label = f"{method} of similarities\nover model pairs"
        color_bar(scale, figure.axes, label, shrink=shrink).set_ticks([-1, -0.5, 0, 0.5, 1])
    return figure


def _draw_cells(
    axes: Axes, rows: pd.DataFrame, names: Sequence[str], cell: float, scale: ScalarMappable
) -> None:
    """Fills the lower triangle with r, and with its interval below it where a cell has room."""
    index = pd.Index(names)
    m = len(names)
    image = np.ones((m, m, 4))
    for row in rows.itertuples():
        j, i = sorted(index.get_indexer([row.dataset_x, row.dataset_y]))
        found = np.isfinite(row.value)
        image[i, j] = scale.to_rgba(row.value) if found else mpl.colors.to_rgba(LIGHT)
        if cell > 4.2:
            axes.text(
                j + 0.5, i + 0.5, _cell_text(row, cell), ha="center", va="center", size=FONT,
                color=ink(image[i, j, :3]),
            )  # fmt: skip
    axes.imshow(image[1:, :-1], extent=(0, m - 1, m, 1), interpolation="nearest", aspect="equal")
    blank(axes)
    short = shorten(names, 18)
    axes.set_xticks(
        np.arange(m - 1) + 0.5,
        short[:-1],
        rotation=90 if max(map(len, short)) * LETTER > cell else 0,
    )
    axes.set_yticks(np.arange(1, m) + 0.5, short[1:])
    axes.tick_params(length=0, pad=1)


def _cell_text(row: Any, cell: float) -> str:  # noqa: ANN401
    """Returns r, with its interval in big cells and without the leading zero in small ones."""
    if not np.isfinite(row.value):
        return "–"
    text = f"{row.value:.2f}"
    if np.isfinite(row.low) and cell > 17:
        text += f"\n[{row.low:.2f}, {row.high:.2f}]"
    return minus(text if cell > 6 else text.replace("0.", "."))


def _models_in(rows: pd.DataFrame) -> str:
    low, high = rows["n_models"].min(), rows["n_models"].max()
    return f"{low} models" if low == high else f"{low} to {high} models"
