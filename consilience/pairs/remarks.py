"""What a row must say of itself: who drives its value, and where p and interval disagree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from consilience.pairs.correlations import ROUNDING, Floats, Ints, blocks_of
from consilience.pairs.families import Units
from consilience.pairs.inference import LEVEL, Estimate

LEAST_UNITS = 6
"""Fewest models, or families, of which one can be called an outlier."""
ALPHA = 1 - LEVEL


@dataclass(frozen=True)
class Outlier:
    """Who drives a value, and the value without it; no name for nobody."""

    name: str = ""
    value: float = np.nan


def allowances(left_out: Floats, side: Ints) -> Floats:
    """Returns (q, k) half the widths of the intervals that all other models, or families, give.

    The jackknife variance without the deviation of the one in question: its own would hide it, for
    a single one can never move z by more than about the standard error that it makes itself.

    Args:
        left_out: (q, k) z without each one.
        side: (k,) the side of the set that it belongs to.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, and plans need none of it

    half = np.full(left_out.shape, np.nan)
    parts = []
    for number in np.unique(side):
        values = left_out[:, side == number]
        present = np.isfinite(values)
        n = present.sum(axis=1, keepdims=True)
        count = np.maximum(n, LEAST_UNITS)
        mean = np.where(present, values, 0).sum(axis=1, keepdims=True) / count
        squares = np.where(present, values - mean, 0) ** 2
        total = squares.sum(axis=1, keepdims=True)
        others = np.maximum(total - squares * count / (count - 1), 0) * (count - 2) / (count - 1)
        variance = total * (count - 1) / count
        parts.append((number, np.where(n < LEAST_UNITS, np.nan, others), variance, count))
    everything = sum(variance for _, _, variance, _ in parts)
    for number, others, variance, count in parts:
        spread = np.maximum(others + everything - variance, 0)
        half[:, side == number] = np.sqrt(spread) * stdtrit(count - 2.0, (1 + LEVEL) / 2)
    return half


def outliers(
    found: Estimate, names: Sequence[str], sizes: tuple[int, ...], families: tuple[Units, list[str]]
) -> list[Outlier]:
    """Returns, for each dataset pair, the model or family that drives the value.

    One without which z moves by more than half the width of the interval that all others give. If
    several do, the one that moves it most; a model is named rather than its family.

    Args:
        found: of the set.
        names: (m,) ids of the models.
        sizes: numbers of models of the sides.
        families: the units that were left out and their names; none where models are the sample.
    """
    units, family_names = families
    blocks = [side for side in blocks_of(sizes) if len(side) > 1]
    counted = np.concatenate(blocks)
    left_out = found.left_out[:, counted]
    chosen = [names[k] for k in counted]
    if units.counts.shape[1]:
        by_unit = allowances(found.by_family, units.side)
        stages = [(left_out, by_unit[:, units.of[counted]], chosen),
                  (found.by_family, by_unit, family_names)]  # fmt: skip
    else:
        side = np.concatenate([np.full(len(block), k) for k, block in enumerate(blocks)])
        stages = [(left_out, allowances(left_out, side), chosen)]
    said = [Outlier()] * len(found.z)
    for values, half, labels in stages:
        with np.errstate(invalid="ignore"):
            moved = np.abs(values - found.z[:, None])
            beyond = np.where((moved > half) & (moved > np.sqrt(ROUNDING)), moved, 0.0)
        if not beyond.shape[1]:
            continue
        for row, place in enumerate(beyond.argmax(axis=1)):
            if beyond[row, place] > 0 and not said[row].name:
                said[row] = Outlier(labels[place], float(np.tanh(values[row, place])))
    return said


def disagreement(
    p: float, low: float, high: float, least: float = 0.0, outlier: Outlier | None = None
) -> str:
    """Returns what to say where p and interval of a row lead to different words, or "".

    Args:
        p: of the relabelling.
        low: lower end of the interval.
        high: its upper end.
        least: the least p that the arrangements allow.
        outlier: who drives the value.
    """
    if not np.isfinite([p, low, high]).all():
        return ""
    holds = low <= 0 <= high
    if p <= ALPHA and holds:
        if outlier and outlier.name:
            return f"; p <= 0.05 but the interval holds 0: without {outlier.name} the value is " \
                   f"{outlier.value:.2f}"  # fmt: skip
        return "; p <= 0.05 but the interval holds 0: they agree, others like them need not"
    if p > ALPHA and not holds:
        if least > ALPHA:
            return f"; the interval leaves out 0, and p cannot be below {least:.2g}"
        return (
            "; the interval leaves out 0 but p > 0.05: models relabelled at random often reach it"
        )
    return ""
