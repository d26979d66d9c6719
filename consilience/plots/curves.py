"""Similarity over the number of stimuli and of neighbours."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from consilience.errors import DataError
from consilience.plots.style import (
    DARK,
    LIGHT,
    PAGE,
    PALE,
    PALETTE,
    MetricAxis,
    bottom_legend,
    columns_for,
    panels,
    style,
    title,
)

AXES = {
    "n": "stimuli (n)",
    "k": "neighbours (k)",
    "k_share": "neighbours (share of n)",
}
MAX_LINES = 28
"""Up to so many model pairs, each has a line of its own."""
KEYS = ["model_x", "layer_x", "model_y", "layer_y"]


def sensitivity(
    tables: Mapping[str, pd.DataFrame],
    stability: pd.DataFrame,
    *,
    axis: MetricAxis,
    layers: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws similarities over the number of stimuli, and of neighbours, a panel per dataset.

    The line is the median over model pairs (mean over draws), the bands hold half and nine tenths
    of the pairs; up to 28 pairs have lines of their own. A dashed line stands at the number of
    stimuli from which on the ranking of the pairs stays as it is.

    Args:
        tables: {dataset: table of `results/sensitivity`} of one metric.
        stability: rows of `results/sensitivity/stability` of that metric.
        axis: the metric.
        layers: {model: layer}; a model with one layer needs no entry.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, axis, setting`, quantiles over pairs, `n_pairs`.

    Raises:
        DataError: no table has a value.
    """
    curves = {name: _pairs(table, layers or {}) for name, table in tables.items()}
    shown = [
        (kind, name)
        for kind in AXES
        for name, found in curves.items()
        if len(found[found["axis"] == kind])
    ]
    if not shown:
        raise DataError("no similarity has a value at any number of stimuli or neighbours")
    known = stability.drop_duplicates("dataset").set_index("dataset")["n_stable"]
    with style():
        columns = columns_for(len(shown), width)
        columns = min(columns, 4)
        panel = width / columns
        figure = panels(len(shown), width=width, height=0.75 * panel, columns=columns, extra=18)
        parts = []
        for axes, (kind, name) in zip(figure.axes, shown, strict=True):
            found = curves[name]
            wide = found[found["axis"] == kind].pivot_table("value", "setting", KEYS)
            parts.append(_summary(wide).assign(dataset=name, axis=kind))
            _draw(axes, wide, parts[-1])
            stable = known.get(name) if kind == "n" else None
            has = stable is not None and pd.notna(stable)
            if has:
                axes.axvline(float(stable), color=PALETTE[5], linewidth=0.8, linestyle="--")
            note = "" if kind != "n" else f"stable from {stable}" if has else "not stable yet"
            axes.set_title(title(name, note, panel - 12))
            axes.set_xlabel(AXES[kind])
        _finish(figure, axis, columns, parts)
        bottom_legend(figure, _entries(not all(map(_single, parts))), "", width)
    order = ["dataset", "axis", "setting", "median", "q25", "q75", "low", "high"]
    order += ["smallest", "largest", "n_pairs"]
    return figure, pd.concat(parts, ignore_index=True)[order]


def _pairs(table: pd.DataFrame, layers: Mapping[str, str]) -> pd.DataFrame:
    """Returns the mean over draws for every setting and pair of two models, by their layers."""
    kept = table[(table["model_x"] != table["model_y"]) & table["value"].notna()]
    for side in "xy":
        wanted = kept[f"model_{side}"].map(layers).fillna(kept[f"layer_{side}"])
        kept = kept[kept[f"layer_{side}"] == wanted]
    return kept.groupby(["axis", "setting", *KEYS], sort=True)["value"].mean().reset_index()


def _summary(wide: pd.DataFrame) -> pd.DataFrame:
    quantiles = wide.quantile([0.5, 0.25, 0.75, 0.05, 0.95, 0, 1], axis=1).T
    quantiles.columns = ["median", "q25", "q75", "low", "high", "smallest", "largest"]
    return quantiles.assign(n_pairs=wide.notna().sum(axis=1)).reset_index()


def _single(summary: pd.DataFrame) -> bool:
    """Returns whether each model pair has a line of its own."""
    return bool(summary["n_pairs"].max() <= MAX_LINES)


def _draw(axes: Axes, wide: pd.DataFrame, summary: pd.DataFrame) -> None:
    x = summary["setting"].to_numpy(dtype=float)
    if _single(summary):
        axes.plot(x, wide.to_numpy(), color=PALE, linewidth=0.5, marker=".", markersize=1.5)
    else:
        axes.fill_between(x, summary["low"], summary["high"], color=LIGHT, linewidth=0)
        axes.fill_between(x, summary["q25"], summary["q75"], color=PALE, linewidth=0)
    axes.plot(x, summary["median"], color=DARK, linewidth=1.2, marker="o", markersize=2.5)
    axes.set_xscale("log")
    axes.minorticks_off()
    marks = _marks(x)
    axes.set_xticks(marks, [f"{mark:g}" for mark in marks])


def _marks(x: Sequence[float]) -> list[float]:
    """Returns the settings to name: those at least a factor of 1.8 apart, the last one always."""
    marks: list[float] = []
    for value in sorted(x, reverse=True):
        if not marks or marks[-1] / value >= 1.8:
            marks.append(float(value))
    return marks[::-1]


def _finish(figure: Figure, axis: MetricAxis, columns: int, parts: Sequence[pd.DataFrame]) -> None:
    ends = [part[["smallest", "largest"] if _single(part) else ["low", "high"]] for part in parts]
    limits = axis.limits(np.concatenate([part.to_numpy().ravel() for part in ends]), 0.05)
    for position, axes in enumerate(figure.axes):
        axes.set_ylim(limits)
        if position % columns:
            axes.set_yticklabels([])
    figure.supylabel(f"{axis.label}\n({axis.direction})", size=7)


def _entries(wide: bool) -> list:
    line = Line2D([], [], color=DARK, marker="o", markersize=2.5, label="median of model pairs")
    stable = Line2D(
        [], [], color=PALETTE[5], linestyle="--", label="ranking of pairs stable from here"
    )
    if not wide:
        return [line, Line2D([], [], color=PALE, label="a model pair"), stable]
    bands = [Patch(color=PALE, label="half of them"), Patch(color=LIGHT, label="nine tenths")]
    return [line, *bands, stable]
