"""Similarity over the number of stimuli and of neighbours, and its change from step to step."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.facts import CURVE_METRIC, Condition, Files, Plan, Source, register
from consilience.plots.inputs import read_rows, read_tables
from consilience.plots.sources import from_similarity, from_tables
from consilience.plots.style import (
    COLUMN,
    DARK,
    FONT,
    LETTER,
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {
    "n": "stimuli (n)",
    "k": "neighbours (k)",
    "k_share": "neighbours (share of n)",
}
MAX_LINES = 28
"""Up to so many model pairs, each has a line of its own."""
KEYS = ["model_x", "layer_x", "model_y", "layer_y"]


def _with_curves(plan: Plan) -> Iterable[str]:
    """Returns the datasets with curves."""
    return plan.curve_datasets


def _of_metric(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns the rows of one metric."""
    return rows[rows["metric"] == metric]


CURVES = from_tables("sensitivity", read_tables, _with_curves)


@register(
    per=CURVE_METRIC,
    takes=from_similarity(_with_curves)
    | {
        "tables": CURVES,
        "stability": Source(
            lambda m: _of_metric(read_rows(m.files["stability"]), m.said["metric"]),
            (Files("stability"),),
            {"metric": lambda _, metric: metric},
        ),
    },
    category="Similarity",
    caption=(
        "Similarities of pairs of models on fewer stimuli and with other numbers of neighbours. "
        "The dashed line is the number of stimuli from which on the ranking of the pairs stays "
        "as it is."
    ),
)
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
        columns = min(columns_for(len(shown), width), 4)
        panel = min(width / columns, COLUMN)
        width = panel * columns
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
            note = "" if kind != "n" else f"stable from {stable}" if has else "no stable n"
            axes.set_title(title(name, note, panel - 12))
            axes.set_xlabel(AXES[kind])
        _finish(figure, axis, columns, parts)
        bottom_legend(figure, _entries(not all(map(_single, parts))), "", width)
    order = ["dataset", "axis", "setting", "median", "q25", "q75", "low", "high"]
    order += ["smallest", "largest", "n_pairs"]
    return figure, pd.concat(parts, ignore_index=True)[order]


@register(
    per=CURVE_METRIC,
    takes=from_similarity(_with_curves) | {"tables": CURVES},
    category="Similarity",
    caption=(
        "Absolute change of the similarities of pairs of models from one number of stimuli to "
        "the next larger one. Boxes are quartiles, whiskers reach from 5 to 95 % of the pairs."
    ),
    when=Condition(
        "curves over two numbers of stimuli",
        lambda plan: len(plan.settings["sensitivity"]["n"]) > 1,
    ),
)
def stimuli_steps(
    tables: Mapping[str, pd.DataFrame],
    *,
    axis: MetricAxis,
    layers: Mapping[str, str] | None = None,
    width: float = PAGE,
) -> tuple[Figure, pd.DataFrame]:
    """Draws by how much similarities change from one number of stimuli to the next larger one.

    A panel per dataset, a box per step over the model pairs that have a value at both ends (mean
    over draws): quartiles and median, whiskers from the 5th to the 95th percentile.

    Args:
        tables: {dataset: table of `results/sensitivity`} of one metric.
        axis: the metric.
        layers: {model: layer}; a model with one layer needs no entry.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: `dataset, n_from, n_to`, quantiles over pairs, `n_pairs`.

    Raises:
        DataError: no dataset has values at two numbers of stimuli.
    """
    steps = {}
    for name, table in tables.items():
        found = _pairs(table, layers or {})
        wide = found[found["axis"] == "n"].pivot_table("value", "setting", KEYS)
        changes = wide.diff().abs().iloc[1:].dropna(how="all")
        if len(changes):
            before = dict(zip(wide.index[1:], wide.index, strict=False))
            ends = [(before[n], n) for n in changes.index]
            changes.index = pd.MultiIndex.from_tuples(ends, names=["n_from", "n_to"])
            steps[name] = changes
    if not steps:
        raise DataError("no dataset has similarities at two numbers of stimuli")
    with style():
        columns = min(columns_for(len(steps), width), 4)
        panel = min(width / columns, COLUMN)
        width = panel * columns
        figure = panels(len(steps), width=width, height=0.75 * panel, columns=columns, extra=14)
        top = max(float(changes.quantile(0.95, axis=1).max()) for changes in steps.values())
        for position, (axes, (name, changes)) in enumerate(
            zip(figure.axes, steps.items(), strict=True)
        ):
            _draw_boxes(axes, changes)
            axes.set(title=name, ylim=(0, 1.05 * top or 1.0))
            if position % columns:
                axes.set_yticklabels([])
        figure.supylabel(f"absolute change of\n{axis.label}", size=7)
        note = "from one number of stimuli to the next (box: quartiles; whiskers: 5 % to 95 % of "
        note = textwrap.fill(f"{note}the model pairs)", int(width / LETTER))
        figure.supxlabel(note, size=FONT)
    parts = [_summary(changes).assign(dataset=name) for name, changes in steps.items()]
    table = pd.concat(parts, ignore_index=True)
    order = ["dataset", "n_from", "n_to", "median", "q25", "q75", "low", "high", "largest"]
    return figure, table[[*order, "n_pairs"]]


def _draw_boxes(axes: Axes, changes: pd.DataFrame) -> None:
    axes.boxplot(
        [row[np.isfinite(row)] for row in changes.to_numpy()], whis=(5, 95), showfliers=False,
        widths=0.55, boxprops={"linewidth": 0.7}, whiskerprops={"linewidth": 0.7},
        capprops={"linewidth": 0.7}, medianprops={"color": DARK, "linewidth": 1.4},
    )  # fmt: skip
    names = [f"{_short(low)} → {_short(high)}" for low, high in changes.index]
    axes.set_xticks(range(1, len(names) + 1), names, rotation=90 if len(names) > 2 else 0)


def _short(n: float) -> str:
    """Returns the number, thousands as k."""
    return f"{n / 1000:g}k" if n >= 1000 else f"{n:g}"


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
    line = mpl.Line2D([], [], color=DARK, marker="o", markersize=2.5, label="median of model pairs")
    stable = mpl.Line2D(
        [], [], color=PALETTE[5], linestyle="--", label="ranking of pairs stable from here"
    )
    if not wide:
        return [line, mpl.Line2D([], [], color=PALE, label="a model pair"), stable]
    bands = [
        mpl.Patch(color=PALE, label="half of them"),
        mpl.Patch(color=LIGHT, label="nine tenths"),
    ]
    return [line, *bands, stable]
