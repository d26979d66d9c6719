"""How the loss of trained models fell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.files import natural_order
from consilience.plots import mpl
from consilience.plots.facts import STUDY, register
from consilience.plots.sources import LEARNED, TRAINED, from_tables
from consilience.plots.style import (
    DARK,
    GREY,
    PAGE,
    PALETTE,
    bottom_legend,
    columns_for,
    log_scale,
    panels,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FITTED = ("trained", "untrained")


@register(
    per=STUDY,
    takes={"curves": from_tables("learned_curves"), "learned": LEARNED},
    category="Training",
    caption=(
        "The loss of every trained model along its training: the mean over the batches since the "
        "point before. The dashed line is the loss of always answering the class frequencies. "
        "Models that did not fit are dotted."
    ),
    when=TRAINED,
)
def training_curves(
    curves: pd.DataFrame, learned: pd.DataFrame, *, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws the loss of every trained model along its steps, a panel per recipe.

    The colour is the variant; of a variant each seed has a line.

    Args:
        curves: rows of results/train/curves.
        learned: rows of results/train/learned.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `curves`.

    Raises:
        DataError: no model has a loss along its training.
    """
    if curves.empty:
        raise DataError(
            "no model of the study has a loss along its training: none took a step, their weights "
            "being given or untrained"
        )
    recipes = sorted(curves["recipe"].unique(), key=natural_order)
    colors = _colors(curves["variant"].unique())
    with style():
        columns = min(columns_for(len(recipes), width), 3)
        size = min(width / columns, 90)
        figure = panels(len(recipes), width=max(size * columns, 90), height=0.75 * size + 8,
                        columns=columns, extra=24)  # fmt: skip
        for axes, recipe in zip(figure.axes, recipes, strict=True):
            rows = curves[curves["recipe"] == recipe]
            _panel(axes, rows, learned[learned["recipe"] == recipe], colors)
            axes.set_title(f"{recipe} ({rows['model'].nunique()} models)")
        for axes in figure.axes[::columns]:
            axes.set_ylabel("loss (nats)")
        heading = "; ".join(["variant", *_without(curves, learned)])
        drawn = learned[learned["model"].isin(curves["model"])]
        bottom_legend(figure, list(_handles(colors, drawn)), heading, max(size * columns, 90))
    return figure, curves.reset_index(drop=True)


def _colors(variants: Sequence[str]) -> Mapping[str, object]:
    """Returns a colour per variant, in natural order; of many, neighbours are alike."""
    names = sorted(variants, key=natural_order)
    many = mpl.colormaps["viridis"](np.linspace(0, 0.92, len(names)))
    palette = PALETTE[:-1]  # thin lines of the yellow are hard to see
    return {
        name: palette[k] if len(names) <= len(palette) else tuple(many[k])
        for k, name in enumerate(names)
    }


def _panel(
    axes: Axes, rows: pd.DataFrame, learned: pd.DataFrame, colors: Mapping[str, object]
) -> None:
    status = dict(zip(learned["model"], learned["status"], strict=True))
    for (variant, model), line in rows.groupby(["variant", "model"], sort=True):
        fitted = status.get(model, "trained") in FITTED
        axes.plot(
            line["step"], line["loss"], color=colors[variant], linewidth=0.7, alpha=0.8,
            linestyle="-" if fitted else ":",
        )  # fmt: skip
    for chance in sorted(learned["chance_loss"].dropna().astype(float).unique()):
        axes.axhline(chance, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    log_scale(axes, rows["loss"])
    axes.set_xlim(left=0)
    axes.set_xlabel("steps of the optimiser")
    axes.locator_params(axis="x", nbins=4)


def _handles(colors: Mapping[str, object], learned: pd.DataFrame) -> Iterator[Line2D]:
    counts = learned["variant"].value_counts()
    for name, color in colors.items():
        yield mpl.Line2D(
            [], [], color=color, linewidth=1.2, label=f"{name} (n = {counts.get(name, 0)})"
        )
    yield mpl.Line2D([], [], color=GREY, linewidth=0.8, linestyle="--", label="loss of chance")
    lost = int((~learned["status"].isin(FITTED)).sum())
    if lost:
        label = f"did not fit (n = {lost})"
        yield mpl.Line2D([], [], color=DARK, linewidth=0.8, linestyle=":", label=label)


def _without(curves: pd.DataFrame, learned: pd.DataFrame) -> Iterator[str]:
    rest = learned[~learned["model"].isin(curves["model"])]
    if len(rest):
        yield f"{len(rest)} models have no curve, as they took no step"
