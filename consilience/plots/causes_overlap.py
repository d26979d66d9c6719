"""How similarity follows the overlap of two models' data or tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from consilience.causes.effects import OWN
from consilience.causes.selection import LABELS
from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.facts import register
from consilience.plots.overlaps import (
    CAUSED,
    CEILING,
    EFFECTS,
    FLOOR,
    KINDS,
    LABEL,
    METRIC,
    PAIRS,
    color_of,
    group_name,
    kinds_of,
    marks,
    overlap_panel,
)
from consilience.plots.style import GREY, PAGE, bottom_legend, style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

PANEL = 44.0
"""Height of a panel, in mm."""


@register(
    per=CAUSED,
    takes={"pairs": PAIRS, "effects": EFFECTS, "metric": METRIC, "label": LABEL},
    category="Causes",
    caption=(
        "Similarity of two models against the share of their data, or of their classes with these "
        "data, that both have: one line per draw of the split, quartiles over draws, and the line "
        "with the mean slope, with its 95 % t interval over draws and p by permuting overlaps "
        "within draws. Dotted: pairs of untrained models; dashed: models of the same data from "
        "another start. A row per kind of overlap and network, a column per dataset."
    ),
)
def causes_overlap(
    pairs: pd.DataFrame, effects: pd.DataFrame, *, metric: str, label: str, width: float = PAGE
) -> tuple[Figure, pd.DataFrame]:
    """Draws value against overlap, a row of panels per kind, network and training set.

    Args:
        pairs: rows of results/causes of one metric.
        effects: rows of results/causes/effects.
        metric: the variant.
        label: its name for the reader.
        width: of the figure, in mm.

    Returns:
        the figure, and its table: the pairs that it shows, with the statistics of their effects.

    Raises:
        DataError: no pair with an overlap has a value.
    """
    return draw_overlaps(
        pairs[pairs["kind"] != LABELS], effects, metric, width,
        title=f"{label}, against what two models share", x="overlap",
    )  # fmt: skip


def draw_overlaps(
    pairs: pd.DataFrame, effects: pd.DataFrame, metric: str, width: float, *, title: str, x: str
) -> tuple[Figure, pd.DataFrame]:
    """Draws the panels of `causes_overlap`, and returns their table."""
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
