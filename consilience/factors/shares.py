"""Shares of variance that factors explain, alone and beside others, with intervals by family."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from consilience.pairs.families import MIN_FAMILIES


def omega_squared(values: np.ndarray, levels: np.ndarray) -> float:
    """Returns ω² of one factor: the share of variance that its levels explain, in the population.

    With g levels, n values, and sums of squares between and within levels,
    ω² = (SS_b - (g - 1) MS_w) / (SS_t + MS_w), MS_w = SS_w / (n - g) (Hays 1963). Unlike
    η² = SS_b / SS_t it is 0 on average, and so at times negative, where levels say nothing.

    Args:
        values: (n,).
        levels: (n,) whole numbers.

    Returns:
        ω²; NaN with fewer than two levels, no more values than levels, or equal values.
    """
    _, codes = np.unique(levels, return_inverse=True)
    n, counts = len(values), np.bincount(codes)
    g = len(counts)
    centred = values - values.mean()
    total = float(centred @ centred)
    if g < 2 or n <= g or total <= 1e-24 * max(float(values @ values), 1e-300):
        return float("nan")
    between = float((np.bincount(codes, centred) ** 2 / counts).sum())
    noise = (total - between) / (n - g)
    return (between - (g - 1) * noise) / (total + noise)


def unique_shares(values: np.ndarray, factors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns what R² of all factors together, added up, loses without each of them.

    Args:
        values: (n,).
        factors: {name: (n,) whole numbers, its levels}.

    Returns:
        the loss by name; NaN where values are equal.
    """
    full = _explained(values, list(factors.values()))
    return {
        name: full - _explained(values, [x for other, x in factors.items() if other != name])
        for name in factors
    }


def _explained(values: np.ndarray, factors: Sequence[np.ndarray]) -> float:
    """Returns R² of an additive fit of dummies."""
    parts = [np.ones((len(values), 1))]
    parts += [(x[:, None] == np.unique(x)[1:]).astype(float) for x in factors]
    design = np.hstack(parts)
    centred = values - values.mean()
    total = centred @ centred
    if total <= 1e-24 * max(float(values @ values), 1e-300):
        return float("nan")
    left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(1 - left @ left / total)


class Share(NamedTuple):
    """What one factor explains."""

    alone: float
    """ω²."""
    unique: float
    low: float
    """Of `alone`; NaN if there are too few families."""
    high: float


def shares_of(
    parts: Sequence[tuple[np.ndarray, Mapping[str, np.ndarray], np.ndarray]],
) -> dict[str, Share]:
    """Returns what each factor explains, on average over parts such as datasets.

    The interval leaves out one family at a time, in all parts together: with F families it is
    ω² ± t(F - 1) √((F - 1) / F · Σ (ω²₋f - mean)²).

    Args:
        parts: (values (n,), {factor: levels (n,)}, families (n, k)) of each, the families of the
            k models that a value is of.

    Returns:
        by factor.
    """
    names = list(parts[0][1])
    families = np.unique(np.concatenate([own.ravel() for _, _, own in parts]))

    def mean(name: str, keep: Callable[[np.ndarray], np.ndarray]) -> float:
        found = [omega_squared(v[keep(own)], x[name][keep(own)]) for v, x, own in parts]
        return float(np.mean(found))

    unique = [unique_shares(values, factors) for values, factors, _ in parts]
    shares = {}
    for name in names:
        alone = mean(name, lambda own: np.ones(len(own), bool))
        low = high = float("nan")
        if len(families) >= MIN_FAMILIES:
            left = np.array([mean(name, lambda own, f=f: (own != f).all(axis=1)) for f in families])
            spread = ((left - left.mean()) ** 2).sum() * (len(left) - 1) / len(left)
            half = t.ppf(0.975, len(left) - 1) * np.sqrt(spread)
            low, high = alone - half, alone + half
        shares[name] = Share(alone, float(np.mean([u[name] for u in unique])), low, high)
    return shares
