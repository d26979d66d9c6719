"""Effects as rows with intervals: in one order, named, a block per kind of overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.causes.effects import NOT_FITTED
from consilience.plots import mpl
from consilience.plots.overlaps import KINDS, color_of, kinds_of
from consilience.plots.rows import ROW, draw_rows
from consilience.plots.style import FONT, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = 56
"""Most letters of a row's name."""


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Returns effects by kind, network and sets, each with a name, none twice in a kind."""
    places = {kind: k for k, kind in enumerate(kinds_of(table))}
    keys = ["source", "train_set", "family", "dataset"]
    found = table.assign(place=table["kind"].map(places)).sort_values(["place", *keys])
    found = found.drop(columns="place").reset_index(drop=True)
    return found.assign(name=names_of(found))


def names_of(table: pd.DataFrame) -> list[str]:
    """Returns network, training set, and where there are several the evaluation set of effects.

    A star marks models that did not fit their data.
    """
    sets = table.groupby(["source", "kind", "family", "train_set"])["dataset"].transform("nunique")
    several_sources = len(set(table["source"])) > 1
    names = []
    for row, count in zip(table.itertuples(), sets, strict=True):
        name = f"{row.family.replace('_', ' ')}, {row.train_set}"
        name += f": {row.dataset.replace('_', ' ')}" if count > 1 else ""
        name += f" ({row.source})" if several_sources else ""
        names.append(f"{name} *" if row.status == NOT_FITTED else name)
    return names


def row_blocks(
    table: pd.DataFrame,
    columns: Mapping[str, Sequence[str]],
    width: float,
    words: Mapping[str, str],
) -> Figure:
    """Returns a figure of rows with intervals: a block per kind, a panel per column.

    Args:
        table: of `ordered`.
        columns: {name: columns of value, low and high}.
        width: of the figure, in mm.
        words: for each name what its axis says.
    """
    kinds = kinds_of(table)
    counts = [int((table["kind"] == kind).sum()) for kind in kinds]
    height = ROW * sum(counts) + 15.0 * len(counts) + 8
    figure = mpl.Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
    grid = figure.subplots(
        len(kinds), len(columns), squeeze=False, sharey="row",
        height_ratios=[count + 1.5 for count in counts],
    )  # fmt: skip
    for line, kind in zip(grid, kinds, strict=True):
        rows = table[table["kind"] == kind]
        labels = list(map(str, range(len(rows))))
        for axes, (name, (value, low, high)) in zip(line, columns.items(), strict=True):
            shown = pd.DataFrame(
                {"label": labels, "value": rows[value].to_numpy(float),
                 "low": rows[low].to_numpy(float), "high": rows[high].to_numpy(float)}
            ).assign(color=color_of(kind))  # fmt: skip
            draw_rows(axes, shown, labels)
            axes.set_xlabel(words[name])
            for k in np.flatnonzero(shown["value"].isna()):
                axes.annotate(rows["status"].iloc[k], (0.02, k), va="center", fontsize=FONT,
                              xycoords=axes.get_yaxis_transform())  # fmt: skip
        line[0].set_yticks(range(len(rows)), shorten(list(rows["name"]), NAME))
        line[0].set_title(KINDS.get(kind, kind), loc="left")
    return figure
