"""What a difference of consistency says of itself: who drives it, and what to know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from consilience.consistency.clustering import warning
from consilience.consistency.sheets import SetResult
from consilience.pairs.correlations import ROUNDING, Floats
from consilience.pairs.inference import LEVEL
from consilience.pairs.relate import NO_SPREAD
from consilience.pairs.remarks import LEAST_UNITS, Outlier

WHY = "no interval: "
"""Begins why there is none."""


@dataclass(frozen=True)
class LeftOut:
    """What z of one group is without each of its models, or families.

    Attributes:
        z: (q,) of all of the group.
        without: (q, k) without each in turn.
        names: (k,) of what is left out.
    """

    z: Floats
    without: Floats
    names: Sequence[str]

    def deviations(self) -> Floats:
        """Returns (q, k) deviations; their squares sum to the jackknife variance."""
        known = np.isfinite(self.without)
        n = np.maximum(known.sum(axis=1), 1)
        values = np.where(known, self.without, self.z[:, None])
        return (values - values.mean(axis=1, keepdims=True)) * np.sqrt((n - 1) / n)[:, None]

    def spread_over(self, columns: Sequence[str], numbers: Floats, fill: Floats) -> Floats:
        """Returns (q, columns) the numbers (q, k) of this group's own, and `fill` of others."""
        found = np.repeat(fill[:, None], len(columns), axis=1)
        found[:, [columns.index(name) for name in self.names]] = numbers
        return found


def allowances(groups: tuple[LeftOut, LeftOut], columns: Sequence[str]) -> Floats:
    """Returns (q, columns) half the widths of the intervals that all others give of a difference.

    The jackknife variance of the difference without the deviation of the one in question, as
    `remarks.allowances` of one value. What both groups have is left out of both.

    Args:
        groups: what is compared.
        columns: all that is left out; NaN for what is of a group of fewer than `LEAST_UNITS`.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, and plans need none of it

    nothing, counts, deviations = np.zeros(len(groups[0].z)), [], []
    for group in groups:
        n = np.isfinite(group.without).sum(axis=1)
        shared = np.repeat(n[:, None].astype(float), len(group.names), axis=1)
        counts.append(group.spread_over(columns, shared, np.full(len(n), np.inf)))
        deviations.append(group.spread_over(columns, group.deviations(), nothing))
    n = np.minimum(*counts)
    few, n = n < LEAST_UNITS, np.maximum(n, LEAST_UNITS)
    squares = (deviations[0] - deviations[1]) ** 2
    others = np.maximum(squares.sum(axis=1, keepdims=True) - squares * n / (n - 1), 0)
    return np.where(few, np.nan, np.sqrt(others) * stdtrit(n - 2, (1 + LEVEL) / 2))


def outliers_of(
    models: tuple[LeftOut, LeftOut],
    families: tuple[LeftOut, LeftOut] | None = None,
    family: Mapping[str, str] | None = None,
    scale: float = 1.0,
) -> list[Outlier]:
    """Returns, for each row, the model or family that drives a difference.

    One without which it moves by more than half the width of the interval that all others give; a
    model is named rather than its family.

    Args:
        models: both groups without each model.
        families: both groups without each family; None where models are the sample.
        family: {model: name of its family}, if there are families.
        scale: of the variances of differences, see `differences.shrinkage`.
    """
    said = [Outlier()] * len(models[0].z)
    columns = _all(models)
    if families is None:
        stages = [(models, columns, allowances(models, columns))]
    else:
        units = _all(families)
        half = allowances(families, units) * np.sqrt(scale)
        of_models = half[:, [units.index(family[name]) for name in columns]]
        stages = [(models, columns, of_models), (families, units, half)]
    for groups, names, half in stages:
        a, b = (group.spread_over(names, group.without, group.z) for group in groups)
        moved = np.abs(a - b - (groups[0].z - groups[1].z)[:, None])
        with np.errstate(invalid="ignore"):
            beyond = np.where((moved > half) & (moved > np.sqrt(ROUNDING)), moved, 0.0)
        for row, place in enumerate(beyond.argmax(axis=1)):
            if beyond[row, place] > 0 and not said[row].name:
                said[row] = Outlier(names[place], float(a[row, place] - b[row, place]))
    return said


def _all(groups: tuple[LeftOut, LeftOut]) -> list[str]:
    return sorted({name for group in groups for name in group.names})


def reasons(members: tuple[SetResult, SetResult], notes: tuple[str, str]) -> str:
    """Returns why a difference has no interval, and by which group.

    Args:
        members: both groups.
        notes: why each of them has none, or nothing.
    """
    by_group: dict[str, list[str]] = {}
    for result, note in zip(members, notes, strict=True):
        if note:
            text = note.rpartition(WHY)[2]
            by_group.setdefault(text, []).append(result.chosen.group_x)
    named = [f"{text} ({' and '.join(groups)})" for text, groups in by_group.items()]
    return f"{WHY}{', '.join(named)}" if named else NO_SPREAD


def statuses(table: pd.DataFrame, *, intervals: bool) -> list[str]:
    """Returns what each row says of itself.

    Args:
        table: differences, with `why` there would be no interval, and what of clustering is said.
        intervals: whether any are asked for.
    """
    said = []
    for row in table.to_dict("records"):
        text = "ok"
        if intervals and np.isnan(row["low"]):
            text += f"; {row['why']}"
        said.append(text + _disagreement(row) + row["clustered"])
    return said


def _disagreement(row: dict) -> str:
    """Returns what to say where both intervals of a row lead to different words."""
    ends = [row.get(f"{end}{of}", np.nan) for of in ("", "_between") for end in ("low", "high")]
    if not np.isfinite(ends).all():
        return ""
    plain, between = ends[0] <= 0 <= ends[1], ends[2] <= 0 <= ends[3]
    if plain == between:
        return ""
    if between:
        return (
            "; between families: the interval holds 0, that over all pairs does not: "
            "near-duplicates can make such a difference"
        )
    return (
        "; between families: the interval leaves out 0, that over all pairs does not: "
        "near-duplicates can hide a difference"
    )


def clustered(members: tuple[SetResult, SetResult], used: str) -> str:
    """Returns what to say of the column by which models of a group cluster, or nothing."""
    said = (warning(result.clustering, used) for result in members)
    return next(filter(None, said), "")
