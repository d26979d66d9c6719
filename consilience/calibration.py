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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from consilience.errors import MetricError
from consilience.forms.dominance import chance_of_meeting
from consilience.forms.groups import arrangements, block_order, describe
from consilience.forms.moments import Moments, null_moments
from consilience.metrics import Facts, Metric

NullKind = Literal["closed_form", "monte_carlo"]
ROUNDING = 1e-12
"""Draws this close to the value, relative to its size, count as ties: permuting changes the order
of sums, and a self pair must not beat itself by rounding."""
EXACT = 1e-9
"""A room between chance and the best value, or a spread of the null, that is this small a share of
them is rounding."""
TILED = 1e-6
"""The same for values of the tiled pass, which are right to float32."""


@dataclass(frozen=True)
class Null:
    """The permutation null of one value."""

    mean: float
    sd: float
    p: float
    """Share of the null that is at least as similar; from draws, (1 + #) / (K + 1)."""
    note: str | None = None
    """What is to be said of p."""


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


def closed_form(
    metric: Metric, value: float, a: Moments, b: Moments, precision: float = EXACT
) -> Null:
    """Returns the null of an inner-product metric from the moments of both sides.

    Mean and variance are exact (Mantel 1967). The p-value takes the null for a Pearson type III
    distribution of the same skewness (Josse, Pagès and Husson 2008): inner products of kernels of
    low rank are skewed to the right, and a normal p-value would be too small by far. For values
    that come in steps (neighbour counts) it is the mid-p: half the mass at the value counts.

    Three moments do not tell of a value that is decided by whether one sample of x meets one of y
    (`consilience.forms.dominance`). That happens in 1 of n permutations, so there p is no smaller
    than 1/n: too large for sides that agree in all else too, and never too small. Where two or
    three of each side decide, it is no smaller than 1 / (n (n - 1)) or 1 / (n (n - 1) (n - 2)).

    Args:
        metric: of the value.
        value: of the pair as it is.
        a: sums of x.
        b: sums of y.
        precision: a spread that is this small a share of the value is rounding, and p is 1.
    """
    mean, variance, skewness = null_moments(a, b)
    sd, sign = math.sqrt(max(variance, 0.0)), _sign(metric.facts)
    if sd <= precision * max(abs(value), abs(mean), _unit(metric.facts)):
        return Null(mean, sd, 1.0)
    p = pearson_p(value, mean, sd, skewness, sign)
    if p < 1 / a.n and (floor := chance_of_meeting(a, b, sd, sign * skewness)) > p:
        return Null(mean, sd, floor, _FLOOR)
    return Null(mean, sd, p)


_FLOOR = (
    "p is set to the chance that those samples meet which decide the value (1/n for one of each "
    "side); only permutations would tell it more finely"
)


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
    slack = rounding * max(abs(value), float(np.abs(draws).max()), _unit(facts))
    as_similar = np.count_nonzero(sign * draws >= sign * value - slack)
    sd = float(np.std(draws, ddof=1)) if len(draws) > 1 else math.nan
    return Null(float(np.mean(draws)), sd, float((1 + as_similar) / (len(draws) + 1)))


def _sign(facts: Facts) -> int:
    return 1 if facts.larger_is_more_similar else -1


def _unit(facts: Facts) -> float:
    """Returns the size beside which values are rounding: 1 where they have no unit, else 0.

    Values that do not change with the scale of the features have none: distances that are all
    1e-15 are 0.
    """
    return 1.0 if "isotropic_scaling" in facts.invariant_to else 0.0


def best_value(facts: Facts) -> float:
    """Returns the value of full agreement: of a self pair, or else the bound; NaN if neither."""
    if facts.self_value is not None:
        return facts.self_value
    bound = facts.bounds[1] if facts.larger_is_more_similar else facts.bounds[0]
    return bound if np.isfinite(bound) else math.nan


NULL = ["null_mean", "null_sd", "z", "p", "calibrated"]
"""Columns beside a value, in their order; `calibrate` makes those that follow from the others."""


def calibrate(table: pd.DataFrame, facts: Facts, precision: float = EXACT) -> pd.DataFrame:
    """Returns the table with `z`, `calibrated` and `note` from its value, null_mean and null_sd.

    z = (value - null_mean) / null_sd, in the metric's own direction; calibrated =
    (value - null_mean) / (best - null_mean): 0 is chance, 1 a self pair, negative below chance,
    never clipped. A null without spread cannot be left by chance, so there is no z, and one that
    is the best value leaves no room to be better than chance, so nothing is calibrated: `note`
    says so, after what it says of p.

    Args:
        table: of similarities.
        facts: of their metric.
        precision: what share of values, and of 1 where they have no unit, counts as nothing.
    """
    best, mean = best_value(facts), table["null_mean"]
    nothing = precision * _size(table["value"], mean, best, facts)
    excess, room = table["value"] - mean, best - mean
    flat, full = table["null_sd"] <= nothing, room.abs() <= nothing
    return table.assign(
        z=excess / table["null_sd"].mask(flat),
        calibrated=excess / room.mask(full),
        note=_notes(table, {_FLAT: flat, _FULL: full}),
    )


_FLAT = "no z: permuting the samples changes nothing but rounding"
_FULL = "no calibrated: chance gives the best value, up to rounding"


def _size(value: pd.Series, mean: pd.Series, best: float, facts: Facts) -> pd.Series:
    """Returns what is large beside rounding: the largest of value, null mean, best value, unit."""
    least = max(abs(best) if np.isfinite(best) else 0.0, _unit(facts))
    return pd.concat([value.abs(), mean.abs()], axis=1).max(axis=1).clip(lower=least)


def _notes(table: pd.DataFrame, found: Mapping[str, pd.Series]) -> pd.Series:
    """Returns the table's notes with those texts added whose rows are marked."""
    given = table["note"] if "note" in table else pd.Series(None, index=table.index)
    marks = pd.DataFrame({"given": given.notna(), **found}).to_numpy(bool)
    texts = [
        "; ".join(text for text, marked in zip((note, *found), row, strict=True) if marked)
        for note, row in zip(given, marks, strict=True)
    ]
    return pd.Series([text or None for text in texts], index=table.index, dtype="string")


def calibrated_value(value: float, null: Null, facts: Facts) -> float:
    """Returns `calibrated` of one value, as `calibrate` gives it of a table; NaN without room."""
    row = {"value": [value], "null_mean": [null.mean], "null_sd": [null.sd]}
    return float(calibrate(pd.DataFrame(row), facts)["calibrated"].iloc[0])


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
