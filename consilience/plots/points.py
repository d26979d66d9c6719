"""Pairs of models as points, in the colours of their groups."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.pairs.inference import PairSet
from consilience.pairs.matrix import Similarity
from consilience.pairs.sets import ALL, ModelSet, pair_set
from consilience.plots import mpl
from consilience.plots.families import OUTLIER, add_notes, driver
from consilience.plots.style import (
    FONT,
    LETTER,
    PALE,
    Groups,
    bottom_legend,
    minus,
    pair_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SYMBOL = {"pearson": "r", "spearman": "ρ"}
MAX_COLORED = 3
"""Up to so many groups, pairs between groups have colours of their own."""


def result(row: Mapping[str, object], symbol: str) -> str:
    """Returns r and its interval, or why there is none; where models are of families, both."""
    if not np.isfinite(row.get("value", np.nan)):
        return str(row["status"])
    plain = _with_ends(row, "")
    if not np.isfinite(row.get("value_between", np.nan)):
        return minus(f"{symbol} = {plain}")
    between = _with_ends(row, "_between")
    return minus(f"{row['n_families']} families: {symbol} = {between}\nall pairs: {plain}")


def driven(row: Mapping[str, object], width: float) -> str:
    """Returns who drives the value over all pairs, in lines that fit; empty for nobody.

    Args:
        row: of a table with outliers, or without.
        width: of the panel, in mm.
    """
    if not driver(row.get("outlier")):
        return ""
    text = minus(f"{OUTLIER} {row['value_without']:.2f} without {row['outlier']}")
    return "\n" + "\n".join(textwrap.wrap(text, int(width / LETTER)))


def _with_ends(row: Mapping[str, object], of: str) -> str:
    text = f"{row[f'value{of}']:.2f}"
    if np.isfinite(row.get(f"low{of}", np.nan)):
        text += f" [{row[f'low{of}']:.2f}, {row[f'high{of}']:.2f}]"
    return text


def common_pairs(x: Similarity, y: Similarity) -> tuple[PairSet, list[str]]:
    """Returns the pairs of the models that both have, and these models."""
    models = sorted(set(x.models) & set(y.models))
    return pair_set(x, y, ModelSet(ALL, ALL, ALL, (tuple(models),))), models


def pair_columns(
    models: Sequence[str], first: np.ndarray, second: np.ndarray, groups: Groups
) -> dict[str, list[str] | list[bool]]:
    """Returns models and groups of the pairs, groups in the order of the legend."""
    rank = {name: position for position, name in enumerate(groups.names)}
    pairs = [(models[i], models[j]) for i, j in zip(first, second, strict=True)]
    sides = [sorted((groups.of[a], groups.of[b]), key=rank.__getitem__) for a, b in pairs]
    return {
        "model_x": [a for a, _ in pairs],
        "model_y": [b for _, b in pairs],
        "group_x": [a for a, _ in sides],
        "group_y": [b for _, b in sides],
        "colored": [a == b or len(groups.names) <= MAX_COLORED for a, b in sides],
    }


def draw_points(
    axes: Axes, points: pd.DataFrame, groups: Groups, scale: ScalarMappable | None = None
) -> None:
    """Draws pairs in the colours of their groups, or by the accuracy of the better model.

    Between-group pairs come first, so that the groups' own stand out.
    """
    size = float(np.clip(1500 / max(len(points), 1), 2.5, 14))
    within = points["group_x"] == points["group_y"]
    for chosen in (points[~within], points[within]) if scale is None else (points,):
        if scale is None:
            fill, rim = (
                [
                    groups.color(name) if colored else PALE
                    for name, colored in zip(chosen[side], chosen["colored"], strict=True)
                ]
                for side in ("group_x", "group_y")
            )
        else:
            fill, rim = scale.to_rgba(chosen["better"]), "none"
        axes.scatter(
            chosen["value_x"], chosen["value_y"], s=size, c=fill, edgecolors=rim, marker="o",
            linewidths=0.22 * np.sqrt(size), alpha=0.85, rasterized=len(points) > 500,
            clip_on=False, zorder=3,
        )  # fmt: skip


def pair_legend(
    figure: Figure,
    table: pd.DataFrame,
    groups: Groups,
    width: float,
    notes: Sequence[str] = (),
) -> None:
    """Puts a legend of the groups of pairs below the panels, with their numbers of model pairs.

    Args:
        figure: with its panels.
        table: of the points.
        groups: of the models; without any there is no legend.
        width: of the figure, in mm.
        notes: lines above the legend.
    """
    counts = table.drop_duplicates(["model_x", "model_y"]).value_counts(["group_x", "group_y"])
    handles, rest = [], 0
    for x, y in combinations_with_replacement(groups.names, 2):
        n = int(counts.get((x, y), 0))
        if x != y and len(groups.names) > MAX_COLORED:
            rest += n
        elif n:
            name = pair_name(x, y)
            handles.append(_dot(groups.color(x), groups.color(y), f"{name} (n = {n})"))
    if rest:
        handles.append(_dot(PALE, PALE, f"between groups (n = {rest})"))
    if not groups.column:
        add_notes(figure, notes, FONT)
        return
    figure.set_figheight(figure.get_figheight() + 3.0 * len(notes) / 25.4)
    heading = "\n".join([*notes, f"{groups.column} (n = model pairs)"])
    bottom_legend(figure, handles, heading, width)


def _dot(fill: str, rim: str, label: str) -> Line2D:
    return mpl.Line2D(
        [], [], linestyle="", marker="o", markersize=4, label=label,
        markerfacecolor=fill, markeredgecolor=rim, markeredgewidth=1.0,
    )  # fmt: skip
