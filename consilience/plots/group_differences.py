"""How much more consistent one group of models is than another."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.families import MIN_FAMILIES
from consilience.plots.facts import STUDY, register
from consilience.plots.families import between, families_of, footnotes, headline, marks
from consilience.plots.rows import MAX_ROWS, add_dots, draw_rows, row_figure
from consilience.plots.sources import GROUPED, LABELS, MODELS, from_tables
from consilience.plots.style import COLUMN, FONT, LETTER, PAGE, read_groups, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_COLUMNS = 4


@register(
    per=STUDY,
    takes={
        "differences": from_tables("consistency_differences"),
        "models": MODELS,
        "labels": LABELS,
    },
    category="Consistency",
    caption=(
        "Difference of the mean consistency (Fisher's z) within two groups. Thick lines are 95 % "
        "intervals of one difference; thin ones hold for all differences of a panel at once. Where "
        "models are of families, filled points are over pairs of models of different families; "
        "open ones are over all pairs. A dagger: one model or family drives the difference."
    ),
    when=GROUPED,
)
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
    differences of a grouping the largest and smallest are shown, and the figure says so. Where
    models are of families, filled points are over pairs of models of different families, with
    intervals over families; open ones with thin lines are over all pairs.

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
    from consilience.consistency.differences import MEAN  # noqa: PLC0415 - imports SciPy

    shown = (differences["method"] == method) & (differences["dataset_x"] == MEAN)
    table = differences[shown & differences["value"].notna()].reset_index(drop=True)
    if table.empty:
        raise DataError("no two groups of models have a difference of consistency")
    rows = headline(table)
    rows = rows.assign(
        label=rows["group_x"] + " − " + rows["group_y"],
        low_wide=rows["low_simultaneous"],
        high_wide=rows["high_simultaneous"],
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
            line[0].set_yticks(range(len(order)), _marked(part, order))
            note = f"\n(largest and smallest, {len(order)} of {known[grouping]})"
            line[0].set_ylabel(grouping + (note if len(order) < known[grouping] else ""))
            if grouping in models.columns:
                first = part.drop_duplicates("label").set_index("label").loc[order]
                add_dots(line[0], first, read_groups(models, grouping))
            for axes in line[len(chunk) :]:
                axes.set_visible(False)
        lines = [*_below(rows, width), *_notes(table.loc[rows.index], labels or {}, width)]
        figure.supxlabel("\n".join(lines), size=FONT)
        more = 3.0 * (len(lines) - 2)
        if families_of(rows):
            figure.suptitle(f"Differences of consistency\n{between(rows)}")
            more += 8
        figure.set_figheight(figure.get_figheight() + more / 25.4)
    return figure, table.loc[rows.index].reset_index(drop=True)


def _below(rows: pd.DataFrame, width: float) -> list[str]:
    """Returns what numbers and lines mean."""
    first = "difference of consistency (Fisher's z), mean over dataset pairs"
    ends = "thick: 95 % interval of one; thin: of all in a panel at once"
    if not families_of(rows):
        return [first, f"({ends})"]
    notes = [
        first,
        f"(filled: over pairs of models of different families; {ends}; open: over all pairs of "
        "models, 95 % interval of one)",
    ]
    lacking = rows.loc[rows["value"].notna() & rows["low"].isna(), "label"].nunique()
    if lacking and rows["low_all"].notna().any():
        notes.append(
            f"no interval: it takes {MIN_FAMILIES} families in each group "
            f"({lacking} of {rows['label'].nunique()} differences)"
        )
    return [line for note in notes for line in textwrap.wrap(note, int(width / LETTER))]


def _marked(rows: pd.DataFrame, order: list[str]) -> list[str]:
    """Returns labels with the marks that any of their rows has."""
    signs = {
        label: "".join(dict.fromkeys("".join(map(marks, part.itertuples()))))
        for label, part in rows.groupby("label")
    }
    return [f"{label} {signs[label]}".rstrip() for label in order]


def _notes(rows: pd.DataFrame, labels: Mapping[str, str], width: float) -> list[str]:
    """Returns who drives differences, and what else their status says; `_below` tells the rest."""
    if "status" in rows:
        rows = rows.assign(status=rows["status"].str.replace(r"; no interval[^;]*", "", regex=True))
    several = len(set(rows["metric"])) > 1

    def name(row: Any) -> str:  # noqa: ANN401
        metric = f"{labels.get(row.metric, row.metric)}, " * several
        return f"{metric}{row.group_x} − {row.group_y}"

    return footnotes(rows, name, width)


def _by_size(rows: pd.DataFrame) -> list[str]:
    """Returns the labels, largest difference first; of many the outermost."""
    sizes = rows["value"].fillna(rows.get("value_all", rows["value"])).groupby(rows["label"])
    mean = sizes.mean().sort_values(ascending=False, kind="stable")
    if len(mean) > MAX_ROWS:
        mean = pd.concat([mean.iloc[: MAX_ROWS // 2], mean.iloc[-MAX_ROWS // 2 :]])
    return mean.index.tolist()
