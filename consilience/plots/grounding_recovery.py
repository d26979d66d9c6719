"""Model recovery: of which model a metric takes data to be, and how often it is right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.plots import mpl
from consilience.plots.facts import Plan, Scope, register
from consilience.plots.matrices import draw_table
from consilience.plots.sources import LABEL, from_tables
from consilience.plots.style import (
    DARK,
    FONT,
    GREY,
    PAGE,
    PALE,
    PALETTE,
    blank,
    bottom_legend,
    color_bar,
    color_scale,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

MAX_NUMBERS = 10
"""Up to so many models, cells of the matrix hold the share in percent."""
MAX_NAMES = 20


def _recovered(plan: Plan) -> Iterable[str]:
    """Returns the datasets on which models are recovered."""
    return plan.recovery_datasets


RECOVERING = Scope("metric", lambda plan: plan.recovering, "metric with model recovery")


@register(
    per=RECOVERING,
    takes={
        "confusion": from_tables("grounding_recovery", datasets=_recovered),
        "recovered": from_tables("grounding_recovered", datasets=_recovered),
        "label": LABEL,
    },
    category="Grounding",
    caption=(
        "Model recovery. Data were made of each model's features as a recording would, of a few "
        "noisy channels, and compared with all models. Left: for which model the data of each are "
        "taken, at the largest number of stimuli. Right: the share that is taken for the right "
        "model, with the 95 % interval over models where leaving one out changes anything, against "
        "chance and the share asked for."
    ),
)
def grounding_recovery(
    confusion: pd.DataFrame, recovered: pd.DataFrame, *, label: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws the confusion of models and the share recovered over stimuli, a row per dataset.

    Args:
        confusion: rows of results/grounding/recovery of one metric.
        recovered: rows of results/grounding/recovered of that metric.
        label: the metric's name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the rows of `recovered`.
    """
    datasets = list(dict.fromkeys(recovered["dataset"]))
    with style():
        height = 62 * len(datasets) + 20
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(len(datasets), 2, squeeze=False)
        scale = color_scale(0, 1)
        for line, dataset in zip(grid, datasets, strict=True):
            own = recovered[recovered["dataset"] == dataset].sort_values("n")
            _matrix(line[0], confusion[confusion["dataset"] == dataset], dataset, scale)
            _curve(line[1], own)
        if len(confusion.drop_duplicates("model_x")) > MAX_NUMBERS:
            color_bar(scale, grid[:, 0], "share of the data", shrink=0.5, aspect=25 * len(datasets))
        bottom_legend(figure, _entries(), "", width)
        figure.suptitle(f"Model recovery by {label}")
    return figure, recovered.reset_index(drop=True)


def _matrix(axes: Axes, rows: pd.DataFrame, dataset: str, scale: mpl.ScalarMappable) -> None:
    if rows.empty:
        _empty(axes, dataset)
        return
    n = int(rows["n"].max())
    models = sorted(rows["model_x"].unique())
    wide = rows[rows["n"] == n].pivot_table("share", "model_x", "model_y")
    values = wide.reindex(index=models, columns=models).to_numpy()
    numbers = len(models) <= MAX_NUMBERS
    draw_table(axes, 100 * values if numbers else values, _percent(scale, numbers),
               "{:.0f}" if numbers else None)  # fmt: skip
    axes.set_title(f"{dataset}, n = {n:,}")
    axes.set(xlabel="taken for (same order)", ylabel="data of")
    if len(models) <= MAX_NAMES:
        axes.set_yticks(np.arange(len(models)) + 0.5, shorten(models, 18))


def _percent(scale: mpl.ScalarMappable, numbers: bool) -> mpl.ScalarMappable:
    return color_scale(0, 100) if numbers else scale


def _curve(axes: Axes, rows: pd.DataFrame) -> None:
    known = rows[rows["accuracy"].notna()]
    if known.empty:
        _empty(axes, "; ".join(rows["note"].unique())[:60])
        return
    axes.fill_between(known["n"], known["low"], known["high"], color=PALE, linewidth=0)
    axes.plot(known["n"], known["accuracy"], color=DARK, linewidth=1.2, marker="o", markersize=3)
    axes.axhline(float(known["chance"].iloc[0]), color=GREY, linestyle=":", linewidth=0.9)
    axes.axhline(float(known["bound"].iloc[0]), color=PALETTE[2], linestyle="--", linewidth=0.8)
    least = known["n_recovered"].iloc[0]
    if pd.notna(least):
        axes.axvline(float(least), color=PALETTE[5], linestyle="--", linewidth=0.8)
    text = f"recovered from {int(least)} stimuli on" if pd.notna(least) else "never recovered"
    axes.set_title(f"{int(known['n_models'].iloc[0])} models: {text}")
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(known["n"], [f"{n:,}" for n in known["n"]])
    axes.set(xlabel="stimuli (n)", ylabel="share recovered", ylim=(-0.03, 1.05))


def _empty(axes: Axes, text: str) -> None:
    blank(axes)
    axes.text(0.5, 0.5, f"no value\n{text}", ha="center", va="center", size=FONT,
              transform=axes.transAxes)  # fmt: skip


def _entries() -> list[Line2D]:
    line = mpl.Line2D
    return [
        line([], [], color=DARK, marker="o", markersize=3, label="share recovered"),
        mpl.Patch(color=PALE, label="95 % over models"),
        line([], [], color=GREY, linestyle=":", label="chance"),
        line([], [], color=PALETTE[2], linestyle="--", label="share asked for"),
        line([], [], color=PALETTE[5], linestyle="--", label="recovered from here on"),
    ]
