"""How the models of a study spread over its metadata columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.facts import STUDY, Condition, register
from consilience.plots.matrices import draw_table
from consilience.plots.sources import MODELS, from_plan
from consilience.plots.style import (
    LETTER,
    PAGE,
    Groups,
    color_bar,
    color_scale,
    read_groups,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW = 4.0
"""Height of a row, in mm."""
LONGEST = 24


@register(
    per=STUDY,
    takes={"models": MODELS, "columns": from_plan("columns", lambda plan, _: plan.group_columns)},
    category="Models",
    caption=(
        "How many models of the study have which values of every two metadata columns. Groups "
        "that hardly occur together cannot be told apart by any analysis of the study."
    ),
    when=Condition(
        "two columns or more that group models", lambda plan: len(plan.group_columns) > 1
    ),
)
def model_categories(
    models: pd.DataFrame, columns: Sequence[str], *, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws how many models have which values of every two metadata columns.

    The column with the most values comes last, downwards, where there is room for names. Groups
    that hardly occur together cannot be told apart by any analysis of the study: this shows them.

    Args:
        models: metadata indexed by model id; an empty cell counts as the value `none`.
        columns: metadata columns, two at least.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `column_x, value_x, column_y, value_y, n_models`, with a row
        for every two values, also where no model has both.

    Raises:
        DataError: fewer than two columns.
    """
    if len(columns) < 2:
        raise DataError(f"{len(columns)} metadata column: two are needed to count models by both")
    found = {name: read_groups(models, name) for name in columns}
    order = sorted(columns, key=lambda name: len(found[name].names))
    counts = {pair: _count(found[pair[0]], found[pair[1]]) for pair in combinations(order, 2)}
    across, down = order[:-1], order[1:]
    names = {name: _names(groups) for name, groups in found.items()}
    left = LETTER * max(len(text) for name in down for text in names[name]) + 8
    below = LETTER * max(len(text) for name in across for text in names[name]) + 8
    widths = [len(found[name].names) for name in across]
    heights = [len(found[name].names) for name in down]
    cell = min((width - left - 18 - 3 * len(widths)) / sum(widths), 9.0)
    scale = color_scale(0, max(c.to_numpy().max() for c in counts.values()), colors="Blues")
    with style():
        size = (left + cell * sum(widths) + 3 * len(widths) + 18, ROW * sum(heights) + below + 8)
        figure = mpl.Figure(figsize=np.array(size) / 25.4, layout="constrained")
        grid = figure.subplots(
            len(down), len(across), squeeze=False, width_ratios=widths, height_ratios=heights
        )
        for (x, y), table in counts.items():
            axes = grid[down.index(y), across.index(x)]
            draw_table(axes, table.to_numpy(), scale, "{:.0f}" if cell > 3.2 else None)
            if x == across[0]:
                axes.set_yticks(np.arange(len(table)) + 0.5, names[y])
                axes.set_ylabel(y)
            if y == down[-1]:
                axes.set_xticks(np.arange(table.shape[1]) + 0.5, names[x], rotation=90)
                axes.set_xlabel(x)
        for i, j in zip(*np.triu_indices(len(down), 1), strict=True):
            grid[i, j].remove()
        figure.align_labels()
        bar = color_bar(scale, figure.axes, "models")
        bar.ax.yaxis.set_major_locator(mpl.MaxNLocator(5, integer=True))
    return figure, _long(counts)


def _names(groups: Groups) -> list[str]:
    """Returns the values, each with the number of models that have it."""
    sizes = pd.Series(groups.of).value_counts()
    short = shorten(groups.names, LONGEST)
    return [f"{text} ({sizes[name]})" for text, name in zip(short, groups.names, strict=True)]


def _count(across: Groups, down: Groups) -> pd.DataFrame:
    """Returns the models by the values of one column (across) and another (down)."""
    x, y = pd.Series(across.of), pd.Series(down.of)
    table = pd.crosstab(y, x)
    return table.reindex(index=list(down.names), columns=list(across.names), fill_value=0)


def _long(counts: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    rows = [
        (x, value_x, y, value_y, table.loc[value_y, value_x])
        for (x, y), table in counts.items()
        for value_y in table.index
        for value_x in table.columns
    ]
    return pd.DataFrame(rows, columns=["column_x", "value_x", "column_y", "value_y", "n_models"])
