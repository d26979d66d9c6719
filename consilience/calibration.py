"""Calibration: a similarity against what features of unrelated models would score.

The null hypothesis is that the samples of one side are in no relation to those of the other: its
distribution is that of the value when the samples of one side are permuted. For metrics that are
inner products over pairs of samples its mean, variance and skewness follow from sums of each side
alone; for all others prepared forms are permuted with a seed. Every pair of a table meets the same
permutations, so the null of a maximum over layers is to be had as well: see
`consilience.alignment.align`.

Where samples come in groups, such as captions of one picture, whole groups of one size are
permuted: single samples would not be exchangeable, and the closed form, which permutes them, does
not hold.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from consilience.errors import MetricError
from consilience.forms.groups import arrangements, block_order, describe
from consilience.forms.moments import Moments, null_moments
from consilience.metrics import Facts, Metric

NullKind = Literal["closed_form", "monte_carlo"]
ROUNDING = 1e-12
"""Draws this close to the value, relative to its size, count as ties: permuting changes the order
of sums, and a self pair must not beat itself by rounding."""


@dataclass(frozen=True)
class Null:
    """The permutation null of one value."""

    mean: float
    sd: float
    p: float
    """Share of the null that is at least as similar; from draws, (1 + #) / (K + 1)."""


@dataclass(frozen=True)
class Permutations:
    """Seeded permutations of n samples, the same for every pair of a table."""

    count: int = 1000
    seed: int = 0

    def orders(self, n: int, groups: np.ndarray | None = None) -> np.ndarray:
        """Returns (count, n) row indexes, a function of seed, count, n and groups alone.

        Args:
            n: number of samples.
            groups: (n,) see `consilience.forms.groups`; groups of one size change places as
                blocks, and no sample leaves its block.

        Raises:
            MetricError: no two groups have the same size, so there is nothing to permute.
        """
        if groups is not None and arrangements(groups) < 2:
            raise MetricError(
                f"{describe(groups)}, no two of one size: they cannot change places, so there is "
                "no null; group the samples more finely, or do without a null"
            )
        return _orders(self.count, self.seed, n, None if groups is None else groups.tobytes())

    def words(self, groups: np.ndarray | None) -> str:
        """Returns what is to be said where groups have few orders; nothing if they have many."""
        if groups is None or (ways := arrangements(groups)) > self.count:
            return ""
        return f"{describe(groups)} change places in {ways} ways only: no p is below 1/{ways}"


@lru_cache(maxsize=4)
def _orders(count: int, seed: int, n: int, groups: bytes | None) -> np.ndarray:
    rng = np.random.default_rng([seed, n])
    if groups is None:
        orders = np.stack([rng.permutation(n) for _ in range(count)]).astype(np.int32)
    else:
        codes = np.frombuffer(groups, dtype=np.int64)
        orders = np.stack([block_order(codes, rng) for _ in range(count)]).astype(np.int32)
    orders.flags.writeable = False
    return orders


def closed_form(metric: Metric, value: float, a: Moments, b: Moments) -> Null:
    """Returns the null of an inner-product metric from the moments of both sides.

    Mean and variance are exact (Mantel 1967). The p-value takes the null for a Pearson type III
    distribution of the same skewness (Josse, Pagès and Husson 2008): inner products of kernels of
    low rank are skewed to the right, and a normal p-value would be too small by far. For values
    that come in steps (neighbour counts) it is the mid-p: half the mass at the value counts.
    """
    mean, variance, skewness = null_moments(a, b)
    sd = math.sqrt(max(variance, 0.0))
    return Null(mean, sd, pearson_p(value, mean, sd, skewness, _sign(metric.facts)))


def pearson_p(value: float, mean: float, sd: float, skewness: float, sign: int = 1) -> float:
    """Returns P(null ≥ value) of a Pearson type III distribution; ≤ value for sign = -1."""
    from scipy import special  # noqa: PLC0415 - slow to import, and plans need no p-value

    if sd == 0:
        return 1.0
    z, skewness = sign * (value - mean) / sd, sign * skewness
    if abs(skewness) < 1e-4:
        return float(special.ndtr(-z))
    shape = 4 / skewness**2
    quantile = shape + z * math.sqrt(shape) * math.copysign(1, skewness)
    if quantile <= 0:
        return 1.0 if skewness > 0 else 0.0
    tail = special.gammaincc if skewness > 0 else special.gammainc
    return float(tail(shape, quantile))


def monte_carlo(metric: Metric, value: float, a: Any, b: Any, orders: np.ndarray) -> Null:  # noqa: ANN401
    """Returns the null of a value from its prepared forms, the second one permuted.

    Args:
        metric: a metric whose value depends on how samples are paired.
        value: that of the pair as it is.
        a: prepared form of x.
        b: prepared form of y.
        orders: (K, n) permutations of the samples.

    Cost: K comparisons. p cannot be below 1 / (K + 1).
    """
    draws = np.array([metric.compare(a, metric.permuted(b, order)) for order in orders])
    if not np.isfinite(draws).all():
        raise MetricError("the metric is undefined for some permutations of the samples")
    return null_of_draws(value, draws, metric.facts)


def null_of_draws(
    value: float, draws: np.ndarray, facts: Facts, *, rounding: float = ROUNDING
) -> Null:
    """Returns the null given by draws (K,) of the value under permutation."""
    sign = _sign(facts)
    slack = rounding * max(abs(value), float(np.abs(draws).max()))
    as_similar = np.count_nonzero(sign * draws >= sign * value - slack)
    sd = float(np.std(draws, ddof=1)) if len(draws) > 1 else math.nan
    return Null(float(np.mean(draws)), sd, float((1 + as_similar) / (len(draws) + 1)))


def _sign(facts: Facts) -> int:
    return 1 if facts.larger_is_more_similar else -1


def best_value(facts: Facts) -> float:
    """Returns the value of full agreement: of a self pair, or else the bound; NaN if neither."""
    if facts.self_value is not None:
        return facts.self_value
    bound = facts.bounds[1] if facts.larger_is_more_similar else facts.bounds[0]
    return bound if np.isfinite(bound) else math.nan


NULL = ["null_mean", "null_sd", "z", "p", "calibrated"]
"""Columns beside a value, in their order; `calibrate` makes those that follow from the others."""


def calibrate(table: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Returns the table with `z` and `calibrated` from its value, null_mean and null_sd.

    z = (value - null_mean) / null_sd, in the metric's own direction; calibrated =
    (value - null_mean) / (best - null_mean): 0 is chance, 1 a self pair, negative below chance,
    never clipped.
    """
    excess = table["value"] - table["null_mean"]
    room = best_value(facts) - table["null_mean"]
    # a null without spread cannot be left by chance: there is no z
    z = excess / table["null_sd"].where(table["null_sd"] > 0)
    return table.assign(z=z, calibrated=excess / room.where(room != 0))


def calibrated_value(value: float, null: Null, facts: Facts) -> float:
    """Returns `calibrated` of one value, as `calibrate` gives it of a table; NaN without room."""
    room = best_value(facts) - null.mean
    return (value - null.mean) / room if room else math.nan


def false_discovery(p: pd.Series, method: Literal["bh", "by"] = "by") -> pd.Series:
    """Returns p-values adjusted for false discovery over all pairs of a table.

    Args:
        p: p-values; null where a pair has none, and null in the result.
        method: `by` (Benjamini and Yekutieli) holds under any dependence, and pairs that share a
            model do depend on each other; `bh` (Benjamini and Hochberg) under independence.
    """
    from scipy.stats import false_discovery_control  # noqa: PLC0415 - as above

    adjusted = pd.Series(np.nan, index=p.index, dtype="float64")
    known = p.notna()
    if known.any():
        adjusted[known] = false_discovery_control(p[known].to_numpy(float), method=method)
    return adjusted
