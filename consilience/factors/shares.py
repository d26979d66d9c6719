"""Shares of variance that factors explain beside each other, with intervals by family."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from consilience.pairs.families import MIN_FAMILIES


def omega_squared(values: np.ndarray, factors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns ω² of each factor beside the others: its share of the variance in the population.

    Of a least-squares fit of dummies of all factors, added up, to n values: SS_e is what it leaves,
    MS_e = SS_e / (n - rank), and SS_f what is left more without the factor, which has df_f levels
    that no other one tells. ω² = (SS_f - df_f MS_e) / (SS_t + MS_e) (Hays 1963). Unlike SS_f / SS_t
    it is 0 on average, and so at times negative, where levels say nothing.

    Args:
        values: (n,).
        factors: {name: (n,) whole numbers, its levels}.

    Returns:
        ω² by name; NaN of a factor with one level, or whose levels others tell, and of all where
        values are equal or no more than the fit can take up.
    """
    left, rank = _left_over(values, list(factors.values()))
    total, spare = _total(values), len(values) - rank
    found = {}
    for name in factors:
        without, less = _left_over(values, [x for k, x in factors.items() if k != name])
        found[name] = float("nan")
        if np.isfinite(total) and spare > 0 and rank > less:
            noise = left / spare
            found[name] = (without - left - (rank - less) * noise) / (total + noise)
    return found


def unique_shares(values: np.ndarray, factors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns what R² of all factors together, added up, loses without each of them.

    Args:
        values: (n,).
        factors: {name: (n,) whole numbers, its levels}.

    Returns:
        the loss by name; NaN where values are equal.
    """
    left, total = _left_over(values, list(factors.values()))[0], _total(values)
    return {
        name: (_left_over(values, [x for k, x in factors.items() if k != name])[0] - left) / total
        for name in factors
    }


def _total(values: np.ndarray) -> float:
    """Returns the sum of squares about the mean; NaN where values are equal."""
    centred = values - values.mean()
    total = float(centred @ centred)
    return total if total > 1e-24 * max(float(values @ values), 1e-300) else float("nan")


def _left_over(values: np.ndarray, factors: Sequence[np.ndarray]) -> tuple[float, int]:
    """Returns the sum of squares that an additive fit of dummies leaves, and the fit's rank."""
    parts = [np.ones((len(values), 1))]
    parts += [(x[:, None] == np.unique(x)[1:]).astype(float) for x in factors]
    design = np.hstack(parts)
    weights, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    left = values - design @ weights
    return float(left @ left), int(rank)


class Share(NamedTuple):
    """What one factor explains."""

    value: float
    """ω²."""
    unique: float
    low: float
    """Of `value`; NaN if there are too few families."""
    high: float


def shares_of(
    parts: Sequence[tuple[np.ndarray, Mapping[str, np.ndarray], np.ndarray]],
) -> dict[str, Share]:
    """Returns what each factor explains, on average over parts such as datasets.

    The interval leaves out one family at a time, in all parts together: with F families it is
    ω² ± t(F - 1) √((F - 1) / F · Σ (ω²₋f - mean)²), cut at 1.

    Args:
        parts: (values (n,), {factor: levels (n,)}, families (n, k)) of each, the families of the
            k models that a value is of.

    Returns:
        by factor.
    """
    names = list(parts[0][1])
    families = np.unique(np.concatenate([own.ravel() for _, _, own in parts]))

    def mean(left_out: str | None) -> np.ndarray:
        """Returns ω² of each factor without a family, (factors,)."""
        found = []
        for values, factors, own in parts:
            keep = (own != left_out).all(axis=1) if left_out is not None else slice(None)
            kept = {name: x[keep] for name, x in factors.items()}
            found.append(list(omega_squared(values[keep], kept).values()))
        return np.mean(found, axis=0)

    value = mean(None)
    unique = np.mean([list(unique_shares(v, x).values()) for v, x, _ in parts], axis=0)
    low = high = np.full(len(names), np.nan)
    if len(families) >= MIN_FAMILIES:
        left = np.array([mean(family) for family in families])
        count = len(left)
        spread = ((left - left.mean(axis=0)) ** 2).sum(axis=0) * (count - 1) / count
        half = t.ppf(0.975, count - 1) * np.sqrt(spread)
        low, high = value - half, np.minimum(value + half, 1.0)
    rows = zip(value, unique, low, high, strict=True)
    return {name: Share(*map(float, row)) for name, row in zip(names, rows, strict=True)}
