"""Whether classifiers of equal loss, or of close predictions, have similar representations."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots.classifiers import (
    CCA,
    FG,
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
from consilience.plots.style import (
    GREY,
    LETTER,
    PAGE,
    bottom_legend,
    columns_for,
    log_scale,
    panels,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGE = 1.25 * LETTER
"""Mean width of a letter of a title, in mm."""
SIDES = ["model_x", "model_y", "width_x", "width_y"]


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
    labels = {"m_cca_f": CCA + " of f", "loss_difference": "difference of losses (nats)"}
    title = "Difference of losses and similarity of features"
    figure = _draw(table, labels, title, min_accuracy, width)
    for axes in figure.axes:
        left = np.floor(5 * (axes.dataLim.x0 - 0.02)) / 5
        axes.set_xlim(max(0.0, left), 1)
    return figure, table[[*KIND, *SIDES, *labels, "accurate"]]


@register(
    per=STUDY,
    takes={"pairs": PAIRS, "min_accuracy": MIN_ACCURACY},
    category="Identifiability",
    caption=(
        "Each point is a pair of classifiers: how unlike their representations are against the "
        "Kullback-Leibler divergence of their predictions (the larger of both directions). "
        "Crosses are pairs with a model below `min_accuracy`."
    ),
    when=IDENTIFIED,
)
def identifiability_divergence(
    pairs: pd.DataFrame, *, min_accuracy: float = 0.9, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws d_{f,g} of pairs against the Kullback-Leibler divergence of their predictions.

    A panel per dataset, architecture, K and M; the colour is the width of both models.

    Args:
        pairs: rows of results/identifiability.
        min_accuracy: pairs with a model below are crosses.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, architecture, classes, dimension, model_x, model_y,
        width_x, width_y, kl, d_fg, accurate`.

    Raises:
        DataError: no pair has both numbers.
    """
    table = pairs.assign(
        kl=pairs[["kl_xy", "kl_yx"]].max(axis=1), accurate=accurate(pairs, min_accuracy)
    )
    table = table[table["kl"].notna() & table["d_fg"].notna()].reset_index(drop=True)
    if table.empty:
        raise DataError(f"none of {len(pairs)} pairs has a divergence and a dissimilarity")
    labels = {"kl": "Kullback-Leibler divergence (nats)", "d_fg": FG}
    title = "Divergence of predictions and dissimilarity of representations"
    figure = _draw(table, labels, title, min_accuracy, width)
    for axes, kind in zip(figure.axes, kinds(table), strict=True):
        log_scale(axes, kind.pairs["kl"], "x")
    return figure, table[[*KIND, *SIDES, *labels, "accurate"]]


def _draw(
    table: pd.DataFrame, labels: Mapping[str, str], title: str, min_accuracy: float, width: float
) -> Figure:
    """Returns a panel per kind of pairs with the second labelled column against the first."""
    shown, (x, y) = list(kinds(table)), labels
    with style():
        columns = min(columns_for(len(shown), width), 3)
        size = min(width / columns, 75)
        figure = panels(
            len(shown), width=size * columns, height=size, columns=columns, extra=15
        )  # fmt: skip
        widths = Widths.of(table)
        for axes, kind in zip(figure.axes, shown, strict=True):
            _panel(axes, kind.pairs, widths, (x, y))
            count = len(kind.pairs)
            axes.set_title(f"{kind.name}\n{count} pair{'s' * (count != 1)}")
            axes.set(xlabel=labels[x], box_aspect=1)
        for axes in figure.axes[::columns]:
            axes.set_ylabel(labels[y])
        rest = int((~table["accurate"]).sum())
        cross = mark(GREY, f"accuracy below {min_accuracy:g} (n = {rest})", marker="x")
        handles = [*widths.legend(table[table["accurate"]]), *([cross] if rest else [])]
        bottom_legend(figure, handles, "W: width of both models (n = pairs)", size * columns)
        figure.suptitle(fill(title, int(size * columns / LARGE)))
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, widths: Widths, columns: tuple[str, str]) -> None:
    size = float(np.clip(1500 / len(rows), 4, 14))
    good = widths.ordered(rows[rows["accurate"]])
    bad = rows[~rows["accurate"]]
    options = {"clip_on": False, "rasterized": len(rows) > 500}
    axes.scatter(
        *bad[list(columns)].T.to_numpy(), s=0.7 * size, marker="x", color=GREY, linewidths=0.5,
        zorder=2, **options,
    )  # fmt: skip
    axes.scatter(
        *good[list(columns)].T.to_numpy(), s=size, c=widths.colors(good), linewidths=0, zorder=3,
        **options,
    )  # fmt: skip
    log_scale(axes, rows[columns[1]])
