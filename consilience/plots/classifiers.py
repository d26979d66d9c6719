"""What figures of pairs of classifiers share: their table, their kinds, colours of widths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.plots import mpl
from consilience.plots.facts import Condition, Plan
from consilience.plots.sources import from_plan, from_tables
from consilience.plots.style import DARK, PALE, PALETTE

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

KIND = ["dataset", "architecture", "classes", "dimension"]
"""What pairs of one panel have in common."""
LLV, FG = r"$d_\mathrm{LLV}$", r"$d_{f,g}$"
CCA = r"$m_\mathrm{CCA}$"


def identified(plan: Plan) -> Iterable[str]:
    """Returns the datasets on which pairs of classifiers are compared."""
    return plan.identified


IDENTIFIED = Condition("pairs of classifiers (`identifiability`)", identified)
PAIRS = from_tables("identifiability", datasets=identified)
MIN_ACCURACY = from_plan("min_accuracy", lambda plan, _: plan.trend_settings["min_accuracy"])


class Kind(NamedTuple):
    """Pairs of classifiers of one architecture, K and M on one dataset."""

    name: str
    """For the reader: `radial_4, K = 4, M = 2`."""
    dimension: int
    pairs: pd.DataFrame


def kinds(pairs: pd.DataFrame) -> Iterator[Kind]:
    """Yields the pairs of each kind, by dataset; architectures are named where there are several.

    Args:
        pairs: rows of results/identifiability.

    Raises:
        DataError: there are none.
    """
    if pairs.empty:
        raise DataError(
            "no two models have logits, an unembedding, and one architecture, K and M in common"
        )
    several = len(pairs["architecture"].unique()) > 1
    for (dataset, architecture, classes, dimension), rows in pairs.groupby(KIND, sort=True):
        of = f", {architecture}" if several else ""
        yield Kind(f"{dataset}{of}, K = {classes}, M = {dimension}", dimension, rows)


def accurate(pairs: pd.DataFrame, least: float) -> pd.Series:
    """Returns for which pairs both models reach an accuracy, on the dataset."""
    return (pairs["accuracy_x"] >= least) & (pairs["accuracy_y"] >= least)


@dataclass(frozen=True)
class Widths:
    """One colour per width, from dark to bright; pairs of two widths are pale."""

    color: Mapping[float, object]

    @classmethod
    def of(cls, pairs: pd.DataFrame) -> Widths:
        """Returns the colours of the widths that both models of some pair have."""
        found = sorted(pairs.loc[pairs["width_x"] == pairs["width_y"], "width_x"].unique())
        shades = mpl.colormaps["viridis"](np.linspace(0, 0.92, max(len(found), 2)))
        return cls({width: tuple(shades[k]) for k, width in enumerate(found)})

    def common(self, pairs: pd.DataFrame) -> pd.Series:
        """Returns the width of both models of each pair; missing where they have not one width."""
        if not self.color:
            return pd.Series(np.nan, pairs.index)
        return pairs["width_x"].where(pairs["width_x"] == pairs["width_y"])

    def colors(self, pairs: pd.DataFrame) -> list[object]:
        """Returns the colour of each pair."""
        return [self.color.get(width, self._rest) for width in self.common(pairs)]

    @property
    def _rest(self) -> str:
        return PALE if self.color else DARK

    def ordered(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """Returns the pairs with those of two widths first, to be drawn below the others."""
        return pairs.iloc[np.argsort(self.common(pairs).notna().to_numpy(), kind="stable")]

    def legend(self, pairs: pd.DataFrame) -> list[Line2D]:
        """Returns one entry per width, with its number of pairs."""
        counts = self.common(pairs).value_counts(dropna=False)
        rest = len(pairs) - sum(int(counts.get(width, 0)) for width in self.color)
        entries = [(f"W = {width:g}", color, counts.get(width, 0)) for width, color in
                   self.color.items()]  # fmt: skip
        if rest and self.color:
            entries.append(("of two widths", self._rest, rest))
        return [mark(color, f"{name} (n = {count})") for name, color, count in entries if count]


def mark(color: object, label: str, *, hollow: bool = False, marker: str = "o") -> Line2D:
    """Returns a legend entry that is a marker."""
    return mpl.Line2D(
        [], [], linestyle="", marker=marker, markersize=4, label=label, markeredgecolor=color,
        markerfacecolor="none" if hollow else color, markeredgewidth=0.8,
    )  # fmt: skip


def class_colors(count: int) -> list[object]:
    """Returns a colour for each class; of many, shades of one scale, far apart for neighbours."""
    few = (*PALETTE, DARK)
    if count <= len(few):
        return list(few[:count])
    step = next(k for k in range(round(0.38 * count), count) if gcd(k, count) == 1)
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.97, count))
    return [tuple(shades[k * step % count]) for k in range(count)]
