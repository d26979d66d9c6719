"""How well trained models do on what they learnt from, and on what they did not."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

import pandas as pd

from consilience.errors import DataError
from consilience.files import natural_order
from consilience.plots import mpl
from consilience.plots.facts import STUDY, register
from consilience.plots.rows import row_figure
from consilience.plots.sources import LEARNED, TRAINED
from consilience.plots.style import (
    DARK,
    LETTER,
    LIGHT,
    PAGE,
    PALETTE,
    bottom_legend,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SIDES = {"train": (PALETTE[0], -0.17, "learnt from"), "test": (PALETTE[5], 0.17, "not learnt from")}
"""Colour, place in the row and words of what models are scored on."""
MAX_REASONS = 8
"""Of more models the reasons are in the table alone."""
FITTED = ("trained", "untrained")


@register(
    per=STUDY,
    takes={"learned": LEARNED},
    category="Training",
    caption=(
        "Accuracy of every trained model (dots) on what it learnt from and on what it did not, by "
        "variant of its recipe; lines are medians. Crosses are models that did not fit, with the "
        "reason below."
    ),
    when=TRAINED,
)
def training_accuracy(learned: pd.DataFrame, *, width: float = PAGE) -> tuple[Figure, pd.DataFrame]:
    """Draws train and test accuracy of every model, a row per variant, a panel per recipe.

    Args:
        learned: rows of results/train/learned.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `learned`.

    Raises:
        DataError: no model has an accuracy.
    """
    columns = ["accuracy_train", "accuracy_test"]
    shown = learned[learned[columns].notna().any(axis=1)].astype(dict.fromkeys(columns, float))
    if shown.empty:
        raise DataError(f"none of {len(learned)} trained models has an accuracy")
    recipes = sorted(shown["recipe"].unique(), key=natural_order)
    variants = [
        sorted(shown.loc[shown["recipe"] == recipe, "variant"].unique(), key=natural_order)
        for recipe in recipes
    ]
    reasons = list(_reasons(shown, width))
    with style():
        figure = row_figure(list(map(len, variants)), 1, width=width, extra=16 + 3.2 * len(reasons))
        for axes, recipe, names in zip(figure.axes, recipes, variants, strict=True):
            rows = shown[shown["recipe"] == recipe]
            _panel(axes, rows, names)
            axes.set_title(f"{recipe} ({len(rows)} models)", loc="left")
        figure.axes[-1].set_xlabel("accuracy")
        low = float(shown[columns].min().min())
        figure.axes[-1].set_xlim(low - 0.04 * (1.01 - low), 1.01)
        bottom_legend(figure, list(_handles(shown)), "\n".join(reasons), width)
    return figure, learned.reset_index(drop=True)


def _panel(axes: Axes, rows: pd.DataFrame, variants: list[str]) -> None:
    for k, variant in enumerate(variants):
        part = rows[rows["variant"] == variant]
        fitted = part["status"].isin(FITTED)
        for side, (color, shift, _) in SIDES.items():
            values = part[f"accuracy_{side}"]
            for chosen, marker, size in ((fitted, "o", 9), (~fitted, "x", 12)):
                axes.scatter(
                    values[chosen], [k + shift] * int(chosen.sum()), s=size, marker=marker,
                    color=color, alpha=0.75, linewidths=0.9 if marker == "x" else 0, zorder=3,
                )  # fmt: skip
            if values.notna().any():
                axes.vlines(values.median(), k + shift - 0.15, k + shift + 0.15, color=DARK,
                            linewidth=1.0, zorder=4)  # fmt: skip
    for k in range(1, len(variants)):
        axes.axhline(k - 0.5, color=LIGHT, linewidth=0.5, zorder=0)
    counts = rows["variant"].value_counts()
    names = shorten(variants, 30)
    labels = [f"{name} (n = {counts[v]})" for name, v in zip(names, variants, strict=True)]
    axes.set_yticks(range(len(variants)), labels)
    axes.set_ylim(len(variants) - 0.5, -0.5)
    axes.tick_params(axis="x", labelbottom=True)
    axes.locator_params(axis="x", nbins=6)


def _handles(shown: pd.DataFrame) -> Iterator[Line2D]:
    options = {"linestyle": "", "markersize": 4}
    for side, (color, _, name) in SIDES.items():
        if shown[f"accuracy_{side}"].notna().any():
            yield mpl.Line2D([], [], marker="o", color=color, label=f"{side}: {name}", **options)
    yield mpl.Line2D([], [], marker="|", color=DARK, label="median", **options)
    lost = int((~shown["status"].isin(FITTED)).sum())
    if lost:
        yield mpl.Line2D(
            [], [], marker="x", color=DARK, label=f"did not fit (n = {lost})", **options
        )


def _reasons(shown: pd.DataFrame, width: float) -> Iterator[str]:
    """Yields lines that say why models did not fit."""
    lost = shown[~shown["status"].isin(FITTED)]
    for row in lost.head(MAX_REASONS).itertuples():
        yield from wrap(f"{row.model}: {row.status}", int(width / LETTER))
    if len(lost) > MAX_REASONS:
        yield f"and {len(lost) - MAX_REASONS} more, see the column status of the table"
