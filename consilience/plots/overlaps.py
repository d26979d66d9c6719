"""What figures of causes share: colours of kinds, rows of effects, a panel of value and overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.causes.effects import OWN
from consilience.causes.published import headline
from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.facts import Condition, Plan, Scope
from consilience.plots.sources import from_plan, from_tables
from consilience.plots.style import DARK, FONT, GREY, PALE, PALETTE, bottom_legend, minus, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

KINDS = {"data": "data", "task": "tasks with their data", "corpus": "text", "labels": "labels"}
"""Kinds of overlap, in words."""
COLORS = dict(zip(KINDS, (PALETTE[0], PALETTE[5], PALETTE[3], PALETTE[2]), strict=True))
FLOOR, CEILING = "untrained", "twin"
PUBLISHED = "published"
"""In the place of a metric: the values of the publication's own table, of whichever metric."""
PUBLISHED_LABEL = "CKA as published (diffusion: CKNNA)"
LONG = 40
"""Letters of slope, interval and p from which on p has a line of its own."""
PANEL = 44.0
"""Height of a panel, in mm."""


def caused_on(plan: Plan) -> Iterable[str]:
    """Returns the datasets on which pairs with a known overlap are compared."""
    return plan.caused_on


CAUSED = Scope("metric", lambda plan: plan.caused, "metric of pairs with a known overlap")
EFFECT = Scope(
    "metric", lambda plan: plan.effect_metrics, "metric of pairs with a known overlap, or published"
)
HAS_EFFECTS = Condition("pairs with a known overlap (`causes`)", lambda plan: plan.effect_metrics)
PAIRS = from_tables("causes", datasets=caused_on)
EFFECTS = from_tables("causes_effects")
PUBLISHED_PAIRS = from_tables("causes_published")
METRIC = from_plan("metric", lambda plan, metric: metric)
LABEL = from_plan("label", lambda plan, metric: plan.study.labels.get(metric, PUBLISHED_LABEL))


def effects_of(effects: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns the effects of one metric of the study, or those of the publication's table.

    Args:
        effects: rows of results/causes/effects.
        metric: the variant, or `published`.

    Raises:
        DataError: none of them has a slope.
    """
    own = effects["source"] == OWN
    chosen = (
        headline(effects) & ~own if metric == PUBLISHED else (effects["metric"] == metric) & own
    )
    found = effects[chosen].reset_index(drop=True)
    if not found["slope"].notna().any():
        raise DataError(f"no pairs with a known overlap have a slope by {metric}")
    return found


def kinds_of(rows: pd.DataFrame) -> list[str]:
    """Returns the kinds of overlap that rows are of, in one order."""
    return sorted(set(rows["kind"]), key=lambda kind: (*KINDS, kind).index(kind))


def color_of(kind: str) -> str:
    """Returns the colour of a kind of overlap."""
    return COLORS.get(kind, GREY)


def legend_of(kinds: Sequence[str]) -> list[Line2D]:
    """Returns an entry for each kind of overlap."""
    return [
        mpl.Line2D([], [], linestyle="", marker="o", markersize=4, color=color_of(kind),
                   label=KINDS.get(kind, kind))
        for kind in kinds
    ]  # fmt: skip


def marks() -> list[Line2D]:
    """Returns the entries of what a panel shows."""
    options = {"color": DARK, "linewidth": 1.1}
    return [
        mpl.Patch(facecolor="none", edgecolor=DARK, linewidth=0.7, label="quartiles over draws"),
        mpl.Line2D([], [], color=PALE, linewidth=0.8, label="one draw"),
        mpl.Line2D([], [], **options, label="mean of the draws' lines"),
    ]  # fmt: skip


def overlap_panel(
    axes: Axes,
    pairs: pd.DataFrame,
    effect: pd.Series | None,
    *,
    color: str,
    name: str,
    r2: bool = False,
) -> None:
    """Draws value against overlap: draws, boxes, the mean line, floor and ceiling.

    Args:
        axes: where.
        pairs: `draw`, `overlap`, `value` and perhaps `control` of one dataset, metric and group.
        effect: the row of effects of these pairs, for line and words; None: neither.
        color: of boxes and line.
        name: title.
        r2: whether the published R² stands beside the name.
    """
    control = pairs.get("control", pd.Series("", pairs.index)).fillna("")
    plain = pairs[(control == "") & pairs["value"].notna()]
    levels = sorted(plain["overlap"].unique())
    for _, own in plain.groupby("draw"):
        line = own.groupby("overlap")["value"].mean()
        axes.plot(line.index, line, color=PALE, linewidth=0.6, zorder=1)
    gaps = np.diff(levels)
    boxes = axes.boxplot(
        [plain.loc[plain["overlap"] == level, "value"] for level in levels], positions=levels,
        widths=0.5 * float(gaps.min()) if len(gaps) else 0.1, manage_ticks=False, zorder=3,
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": color},
        medianprops={"color": color, "linewidth": 1.2},
    )  # fmt: skip
    for part in ("boxes", "whiskers", "caps"):
        for artist in boxes[part]:
            artist.set(color=color, linewidth=0.7)
    for kind, dashes in ((FLOOR, ":"), (CEILING, "--")):
        values = pairs.loc[control == kind, "value"].dropna()
        if len(values):
            axes.axhline(
                float(values.mean()), color=GREY, linestyle=dashes, linewidth=0.9, zorder=0
            )
    if effect is not None and np.isfinite(effect["slope"]) and levels:
        middle, height = plain["overlap"].mean(), plain["value"].mean()
        ends = np.array([levels[0], levels[-1]])
        axes.plot(
            ends, height + effect["slope"] * (ends - middle), color=DARK, linewidth=1.1, zorder=4
        )
    axes.set_xticks(levels, [f"{level:.2g}" for level in levels])
    pad = 0.5 * float(gaps.min()) if len(gaps) else 0.5
    if levels:
        axes.set_xlim(levels[0] - pad, levels[-1] + pad)
    if r2 and effect is not None and np.isfinite(effect["r2_published"]):
        name += f" (R² {effect['r2_published']:.2f})"
    words = say(effect)
    words = words if len(words) <= LONG else words.replace(", p", "\np")
    axes.set_title(f"{name}\n{words}", loc="left", fontsize=FONT)
    axes.ticklabel_format(axis="y", useOffset=False)


def say(effect: pd.Series | None) -> str:
    """Returns slope, interval and p of an effect, in a line; or why there is none."""
    if effect is None or not np.isfinite(effect["slope"]):
        return "no slope" if effect is None else effect["status"]
    digits = decimals(effect["slope"])
    text = f"slope {effect['slope']:.{digits}f}"
    if np.isfinite(effect["slope_low"]):
        text += f" [{effect['slope_low']:.{digits}f}, {effect['slope_high']:.{digits}f}]"
    if np.isfinite(effect["p"]):
        text += f", p {p_text(effect['p'])}"
    return minus(text)


def decimals(value: float) -> int:
    """Returns how many decimals show two digits of a number, 2 to 5."""
    if not np.isfinite(value) or value == 0:
        return 2
    return int(np.clip(1 - np.floor(np.log10(abs(value))), 2, 5))


def p_text(p: float) -> str:
    """Returns a p-value for the reader."""
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def group_name(row: pd.Series, *, several: bool = True) -> str:
    """Returns network and training set of a row, for the reader."""
    family = row["family"].replace("_", " ")
    return f"{family}, {row['train_set']}" if several else family


def draw_overlaps(
    pairs: pd.DataFrame, effects: pd.DataFrame, metric: str, width: float, *, title: str, x: str
) -> tuple[Figure, pd.DataFrame]:
    """Draws value against overlap, a row of panels per kind, network and training set.

    Args:
        pairs: rows of results/causes of one metric.
        effects: rows of results/causes/effects.
        metric: the variant.
        width: of the figure, in mm.
        title: of the figure.
        x: what the axes say.

    Returns:
        the figure, and its table: the pairs that it shows, with the statistics of their effects.

    Raises:
        DataError: no pair with an overlap has a value.
    """
    plain = pairs[pairs["control"] == ""]
    if not plain["value"].notna().any():
        raise DataError(f"no pair with a known overlap has a value by {metric}")
    datasets = list(dict.fromkeys(plain["dataset"]))
    groups = [
        key
        for kind in kinds_of(plain)
        for key, _ in plain[plain["kind"] == kind].groupby(["kind", "family", "train_set"])
    ]
    with style():
        height = len(groups) * PANEL + 16
        figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
        grid = figure.subplots(len(groups), len(datasets), squeeze=False, sharex="row")
        for line, (kind, family, train_set) in zip(grid, groups, strict=True):
            for axes, dataset in zip(line, datasets, strict=True):
                own = _chosen(pairs, kind, family, train_set, dataset)
                found = _chosen(effects, kind, family, train_set, dataset)
                found = found[(found["source"] == OWN) & (found["metric"] == metric)]
                effect = found.iloc[0] if len(found) else None
                overlap_panel(axes, own, effect, color=color_of(kind), name=f"on {dataset}")
                axes.set_xlabel(x)
            name = group_name(own.iloc[0]) if len(own) else f"{family}, {train_set}"
            line[0].set_ylabel(f"{KINDS.get(kind, kind)}\n{name}")
        bottom_legend(figure, list(_handles(pairs)), "", width)
        figure.suptitle(title)
    numbers = ["slope", "slope_low", "slope_high", "p", "status"]
    keys = ["kind", "family", "train_set", "dataset", "metric"]
    shown = effects[effects["source"] == OWN][[*keys, *numbers]]
    return figure, pairs.merge(shown, on=keys, how="left").reset_index(drop=True)


def _chosen(
    rows: pd.DataFrame, kind: str, family: str, train_set: str, dataset: str
) -> pd.DataFrame:
    same = (rows["kind"] == kind) & (rows["family"] == family) & (rows["train_set"] == train_set)
    return rows[same & (rows["dataset"] == dataset)]


def _handles(pairs: pd.DataFrame) -> Iterator[mpl.Line2D]:
    yield from marks()
    controls = set(pairs["control"])
    for kind, line, words in (
        (FLOOR, ":", "untrained"), (CEILING, "--", "same data, another start")
    ):  # fmt: skip
        if kind in controls:
            yield mpl.Line2D([], [], color=GREY, linestyle=line, linewidth=0.9, label=words)
