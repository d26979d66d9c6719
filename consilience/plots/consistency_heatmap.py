"""Consistency of datasets as heat maps: of all models by every metric, and of groups of models."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.sets import ALL
from consilience.plots import mpl
from consilience.plots.facts import METRIC, STUDY, Condition, register
from consilience.plots.families import (
    WITHIN,
    add_notes,
    between,
    families_of,
    footnotes,
    headline,
    is_open,
    marks,
    models_in,
    pair_of_datasets,
    value_beside,
)
from consilience.plots.sources import CONSISTENCY, GROUP, LABEL, LABELS
from consilience.plots.style import (
    FONT,
    LETTER,
    LIGHT,
    METHODS,
    PAGE,
    blank,
    color_bar,
    color_scale,
    ink,
    minus,
    pair_name,
    panels,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

PALER = 0.4
"""How much of its colour a cell keeps whose interval holds 0."""
MAX_PAIRS = 10
"""Most pairs of groups that have a panel each."""


@register(
    per=STUDY,
    takes={"consistency": CONSISTENCY, "labels": LABELS},
    category="Consistency",
    caption=(
        "Correlation, over all pairs of models, of their similarities on two datasets. Where "
        "models are of families, the value is that over pairs of models of different families; "
        "`all` is that over all pairs. Cells whose interval holds 0 are pale."
    ),
)
def consistency_heatmap(
    consistency: pd.DataFrame,
    *,
    method: str = "pearson",
    datasets: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws the consistency of all models between every two datasets, one panel per metric.

    Where models are of families, cells hold the value over pairs of models of different families,
    and below it that over all pairs. Cells whose interval holds 0 are pale. Footnotes tell who
    drives a value, and where p and interval disagree.

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
    with style():
        if note := between(rows):
            figure.suptitle(f"Consistency {note}")
            figure.set_figheight(figure.get_figheight() + 6 / 25.4)
        known = labels or {}

        def name(row: Any) -> str:  # noqa: ANN401
            metric = f"{known.get(row.metric, row.metric)}{WITHIN}" if len(chosen) > 1 else ""
            return metric + pair_of_datasets(row)

        add_notes(figure, [*_key(rows, width), *footnotes(rows, name, width)], FONT)
    return figure, rows.reset_index(drop=True)


@register(
    per=METRIC,
    takes={"consistency": CONSISTENCY, "group": GROUP, "label": LABEL},
    category="Consistency",
    caption=(
        "Correlation, over pairs of models within and between groups, of their similarities on "
        "two datasets; with families, over pairs of models of different families."
    ),
    when=Condition(
        "groups that colour the models and have a consistency",
        lambda plan: plan.group in plan.settings["consistency"]["groups"],
    ),
)
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
    table = pd.concat(chosen.values(), ignore_index=True)
    with style():
        note = between(table, "\nbetween families of `{}`")
        figure.suptitle(f"{label}: consistency within and between groups ({group}){note}")
        lines = textwrap.wrap("; ".join(notes), int(width / LETTER))
        figure.supxlabel("\n".join(lines), size=FONT)
        more = 6 + 3 * len(lines) + 4 * bool(note)
        figure.set_figheight(figure.get_figheight() + more / 25.4)
        notes = [*_key(table, width), *footnotes(table, _name_in_group, width)]
        add_notes(figure, notes, FONT)
    return figure, table


def _key(rows: pd.DataFrame, width: float) -> list[str]:
    """Returns what the numbers in cells are, where models are of families."""
    key = "numbers: over pairs of models of different families; all: over all pairs of models"
    return textwrap.wrap(key, int(width / LETTER)) if families_of(rows) else []


def _name_in_group(row: Any) -> str:  # noqa: ANN401
    groups = "all models" if row.grouping == ALL else pair_name(row.group_x, row.group_y)
    return groups + WITHIN + pair_of_datasets(row)


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
    # Of all panels at once: one whose groups have no value between families shows none.
    shown = headline(pd.concat(dict(chosen)))
    with style():
        figure = panels(len(chosen), width=width, height=height, columns=columns, extra=2)
        for position, heading in enumerate(chosen):
            axes, rows = figure.axes[position], shown.loc[heading]
            _draw_cells(axes, rows, names, cell, scale)
            name = f"{heading}, {models_in(rows)}"
            long = len(name) * LETTER > (width - margin - 20) / columns
            axes.set_title(f"{heading}\n{models_in(rows)}" if long else name)
            if position % columns:
                axes.set_yticklabels([])
        shrink = min(0.8, 120 / (figure.get_figheight() * 25.4))
        label = f"{method} of similarities\nover model pairs"
        if families_of(shown):
            label += " of different families"
        if any(is_open(row) for row in shown.itertuples() if np.isfinite(row.value)):
            few = families_of(shown) and shown["low"].isna().any()
            label += f"\n(pale: the interval holds 0{', or there is none' * bool(few)})"
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
        image[i, j] = scale.to_rgba(row.value) if found else mpl.to_rgba(LIGHT)
        if found and is_open(row):
            image[i, j] = PALER * image[i, j] + 1 - PALER
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
    plain = value_beside(row)
    text = f"{row.value:.2f}" if np.isfinite(row.value) else "–"
    if np.isfinite(row.value) and cell > 5.5:
        text += marks(row)
    if np.isfinite(row.low) and cell > 17:
        text += f"\n[{row.low:.2f}, {row.high:.2f}]"
    if np.isfinite(plain) and cell > 11:
        text += f"\nall {plain:.2f}"
    return minus(text if cell > 6 + LETTER * len(marks(row)) else text.replace("0.", "."))
