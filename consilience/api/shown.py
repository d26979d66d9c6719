"""What comparisons print: the value first, and what it means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from consilience.api.measures import Measure
from consilience.calibration import NULL
from consilience.similarity.over_units import UNITS

CONSTANT = ("dataset", "metric", "layer_x", "layer_y")
"""Columns that need not be shown where all rows have one value."""
ROUNDING = 1e-9
"""A mean of the null that is this small a share of its deviation is shown as 0."""
UNSHOWN = ("hash_x", "hash_y")
SHOWN = {"max_rows": 20, "float_format": "{:.4g}".format}
"""How a table is printed."""


@dataclass(frozen=True)
class Comparison:
    """The similarity of two models, and what chance would give.

    Attributes:
        value: in the metric's own direction.
        null_mean: mean of the value when the samples of one side are permuted; None: no null.
        null_sd: its standard deviation.
        z: (value - null_mean) / null_sd.
        p: share of the null that is at least as similar.
        calibrated: (value - null_mean) / (best - null_mean): 0 is chance, 1 a self pair.
        value_units: what infinitely many units would give; None: not for this metric, or too few.
        low_units: lower end of its 95 % interval over units.
        high_units: upper end.
        note: why one of these is missing, or what is to be said of p.
        n: number of samples.
        null: `closed_form`, `monte_carlo` or None.
        measure: the metric and what was done to features before it.
    """

    value: float
    null_mean: float | None
    null_sd: float | None
    z: float | None
    p: float | None
    calibrated: float | None
    value_units: float | None
    low_units: float | None
    high_units: float | None
    note: str | None
    n: int
    null: str | None
    measure: Measure

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        lines = [
            f"value       {self.value:.6g}  ({self.measure.way})",
            f"metric      {self.measure}",
            f"samples     {self.n}",
        ]
        if self.value_units is not None:
            lines += units_lines({name: getattr(self, name) for name in UNITS})
        if self.null:
            lines += null_lines({name: getattr(self, name) for name in NULL}, self.null)
        lines += note_lines(self.note)
        return "\n".join(lines)

    __repr__ = __str__


def null_lines(found: Mapping[str, Any], kind: str) -> list[str]:
    """Returns what is said of the null of one value.

    Args:
        found: null_mean, null_sd, z, p and calibrated; None for what is missing.
        kind: of the null.
    """
    small = abs(found["null_mean"] or 0.0) < ROUNDING * (found["null_sd"] or 0.0)
    mean = number(0.0 if small else found["null_mean"])
    return [
        f"null        mean {mean}, sd {number(found['null_sd'])} ({kind.replace('_', ' ')})",
        f"z, p        {number(found['z'])}, {probability(found['p'])}",
        f"calibrated  {number(found['calibrated'])}  (0 chance, 1 a self pair)",
    ]


def units_lines(found: Mapping[str, Any]) -> list[str]:
    """Returns what is said of a value as infinitely many units would give it.

    Args:
        found: value_units, low_units and high_units.
    """
    value, low, high = (number(found[name]) for name in UNITS)
    return [f"units       {value}  ({low} to {high}: with infinitely many units)"]


def note_lines(note: str | None) -> list[str]:
    """Returns the line of a note, if there is one."""
    return [f"note        {note}"] if note else []


def number(value: float | None) -> str:
    """Returns a number as it is shown, of what may be missing."""
    return "undefined" if value is None else f"{value:.4g}"


def probability(value: float | None) -> str:
    """Returns a p-value as it is shown: one too small for a float is not 0."""
    return "< 1e-300" if value is not None and value < 1e-300 else number(value)


class SimilarityTable(pd.DataFrame):
    """A similarity table that prints its values: a pandas DataFrame in all else."""

    @property
    def _constructor(self) -> type["SimilarityTable"]:
        return SimilarityTable

    def __repr__(self) -> str:
        return "\n".join([*self._heading(), self._shown().to_string(**SHOWN)])

    def _repr_html_(self) -> str:
        heading = "<br>".join(self._heading())
        return f"<p>{heading}</p>{self._shown().to_html(**SHOWN)}"

    def _shown(self) -> pd.DataFrame:
        """Returns the columns that say something, with p-values as they are shown."""
        table = pd.DataFrame(self)
        dropped = [name for name in UNSHOWN if name in table]
        if "value" in table:  # otherwise somebody chose columns
            dropped += [name for name in table if name not in dropped and table[name].isna().all()]
            constant = [name for name in CONSTANT if name in table and len(set(table[name])) == 1]
            dropped += constant
        table = table.drop(columns=list(dict.fromkeys(dropped)))
        if {"null_mean", "null_sd"} <= set(table):
            small = table["null_mean"].abs() < ROUNDING * table["null_sd"]
            table["null_mean"] = table["null_mean"].mask(small.fillna(False), 0.0)
        if "p" in table:
            table["p"] = [probability(None if pd.isna(p) else float(p)) for p in table["p"]]
        return table

    def _heading(self) -> list[str]:
        """Returns what the table is of, as far as its metadata say."""
        attrs: dict[str, Any] = self.attrs
        if "words" not in attrs or "value" not in self:
            return []
        null = attrs.get("null") or "no null"
        return [f"{attrs['words']} ({attrs['way']}; {null.replace('_', ' ')})"]
