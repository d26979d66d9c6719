"""Intervals over models by leaving out one at a time."""

from collections.abc import Sequence

import numpy as np

from consilience.pairs.correlations import ROUNDING, Floats, Ints

LEVEL = 0.95


def spread(left_out: Floats, side: Ints) -> tuple[float, int]:
    """Returns the squared standard error of a score and its degrees of freedom.

    SE² = sum over groups of (k - 1)/k · sum over its models of (θ without i - mean of these)²; the
    degrees of freedom are the sum of k - 1.

    Args:
        left_out: (m,) the score without each model.
        side: (m,) the group of each model.
    """
    total, freedom = 0.0, 0
    for g in np.unique(side):
        values = left_out[side == g]
        k = len(values)
        total += (k - 1) / k * float(((values - values.mean()) ** 2).sum())
        freedom += k - 1
    return total, freedom


def logit(value: Floats | float, finest: float) -> Floats:
    """Returns log(v / (1 - v)); 0 and 1 count as `finest` away from the ends."""
    v = np.clip(np.asarray(value, dtype=float), finest, 1 - finest)
    return np.log(v / (1 - v))


def logit_interval(value: float, left_out: Floats, side: Ints, finest: float) -> Sequence[float]:
    """Returns the 95 % interval of a score between 0 and 1, from the jackknife on its logit.

    Args:
        value: of all models.
        left_out: (m,) without each model.
        side: (m,) the group of each model.
        finest: half the smallest step of the score near its ends, such as 1 / (2 pairs).

    Returns:
        Two numbers; missing where a model cannot be left out, or leaving one out changes nothing.
    """
    if not np.isfinite(left_out).all():
        return np.nan, np.nan
    variance, freedom = spread(logit(left_out, finest), side)
    low, high = _ends(float(logit(value, finest)), variance, freedom)
    return 1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))


def plain_interval(value: float, left_out: Floats, side: Ints) -> Sequence[float]:
    """Returns the same on the plain scale, for means over models and for differences."""
    if not np.isfinite(left_out).all():
        return np.nan, np.nan
    return _ends(value, *spread(left_out, side))


def _ends(centre: float, variance: float, freedom: int) -> tuple[float, float]:
    from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, and plans need none

    if freedom < 1 or variance <= ROUNDING**2:
        return np.nan, np.nan
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * np.sqrt(variance)
    return centre - half, centre + half
