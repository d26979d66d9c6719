"""Whether classifiers of equal loss have similar representations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots.classifiers import (
    CCA,
    IDENTIFIED,
    KIND,
    MIN_ACCURACY,
    PAIRS,
    Widths,
    accurate,
    kinds,
    mark,
)
from consilience.plots.facts import STUDY, register
from consilience.plots.style import GREY, PAGE, bottom_legend, columns_for, log_scale, panels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@register(
    per=STUDY,
    takes={"pairs": PAIRS, "min_accuracy": MIN_ACCURACY},
    category="Identifiability",
    caption=(
        "Each point is a pair of classifiers: the absolute difference of their losses on the "
        "dataset against the mean canonical correlation of their features. An equal loss does not "
        "make features similar. Crosses are pairs with a model below `min_accuracy`."
    ),
    when=IDENTIFIED,
)
def identifiability_loss(
    pairs: pd.DataFrame, *, min_accuracy: float = 0.9, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws the difference of losses of pairs against m_CCA of their features.

    A panel per dataset, architecture, K and M; the colour is the width of both models.

    Args:
        pairs: rows of results/identifiability.
        min_accuracy: pairs with a model below are crosses.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, architecture, classes, dimension, model_x, model_y,
        width_x, width_y, m_cca_f, loss_difference, accurate`.

    Raises:
        DataError: no pair has both numbers.
    """
    difference = (pairs["loss_x"] - pairs["loss_y"]).abs()
    table = pairs.assign(loss_difference=difference, accurate=accurate(pairs, min_accuracy))
    table = table[difference.notna() & pairs["m_cca_f"].notna()].reset_index(drop=True)
    if table.empty:
        raise DataError(f"none of {len(pairs)} pairs has losses and a correlation of features")
    shown = list(kinds(table))
    with style():
        columns = min(columns_for(len(shown), width), 3)
        size = min(width / columns, 75)
        figure = panels(
            len(shown), width=size * columns, height=size, columns=columns, extra=15
        )  # fmt: skip
        widths = Widths.of(table)
        for axes, kind in zip(figure.axes, shown, strict=True):
            _panel(axes, kind.pairs, widths)
            count = len(kind.pairs)
            axes.set_title(f"{kind.name}\n{count} pair{'s' * (count != 1)}")
        for axes in figure.axes[::columns]:
            axes.set_ylabel("difference of losses (nats)")
        rest = int((~table["accurate"]).sum())
        cross = mark(GREY, f"accuracy below {min_accuracy:g} (n = {rest})", marker="x")
        handles = [*widths.legend(table[table["accurate"]]), *([cross] if rest else [])]
        bottom_legend(figure, handles, "W: width of both models (n = pairs)", size * columns)
        figure.suptitle("Difference of losses and similarity of features")
    sides = [f"{key}_{side}" for key in ("model", "width") for side in "xy"]
    return figure, table[[*KIND, *sides, "m_cca_f", "loss_difference", "accurate"]]


def _panel(axes: Axes, rows: pd.DataFrame, widths: Widths) -> None:
    size = float(np.clip(1500 / len(rows), 4, 14))
    good = widths.ordered(rows[rows["accurate"]])
    bad = rows[~rows["accurate"]]
    options = {"clip_on": False, "rasterized": len(rows) > 500}
    axes.scatter(
        bad["m_cca_f"], bad["loss_difference"], s=0.7 * size, marker="x", color=GREY,
        linewidths=0.5, zorder=2, **options,
    )  # fmt: skip
    axes.scatter(
        good["m_cca_f"], good["loss_difference"], s=size, c=widths.colors(good), linewidths=0,
        zorder=3, **options,
    )  # fmt: skip
    left = np.floor(5 * (float(rows["m_cca_f"].min()) - 0.02)) / 5
    axes.set(xlim=(max(0.0, left), 1), xlabel=CCA + " of f", box_aspect=1)
    log_scale(axes, rows["loss_difference"])
