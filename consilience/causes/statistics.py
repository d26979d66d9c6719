"""How strongly a value follows the overlap of two models' data, over draws of the split.

Pure functions of three arrays with one entry per pair of models: `draw` (which draw of the split
the pair is of), `overlap` (share of the data, classes or parts of labels that both models have)
and `value`. All values are finite; draws are the independent units, pairs of one draw are not.
"""

from math import factorial, prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray

LEVEL = 0.95
"""Of intervals."""
TIES = 1e-9
"""Slopes that differ by less, relative to the largest, are the same but for rounding."""
NEIGHBORS_SEED = 42
"""Of the noise that the published estimator adds to both variables."""
_CHUNK = 4_000_000
"""Numbers that permuted overlaps may take at once."""


class Slope(NamedTuple):
    """The mean over draws of the slopes of value on overlap."""

    value: float
    low: float
    high: float
    per_draw: Floats
    """One slope per draw that has two overlaps or more."""


class Permuted(NamedTuple):
    """A p-value by relabelling, and what it could be at the least."""

    p: float
    least: float
    arrangements: float
    """How many different ones there are; infinite where the number is beyond floats."""
    drawn: int
    """How many were drawn; 0: each was taken once."""


def slopes(draw: Labels, overlap: Floats, value: Floats) -> Floats:
    """Returns the least-squares slope of value on overlap in each draw, in the order of draws.

    Draws with a single overlap have none and are left out.
    """
    weights, _ = _weights(draw, overlap)
    return weights @ value


def _weights(draw: Labels, overlap: Floats) -> tuple[Floats, Labels]:
    """Returns (draws, n) weights of values in the slopes of draws, and (n,) the draw of each."""
    _, place = np.unique(draw, return_inverse=True)
    inside = place == np.arange(place.max(initial=-1) + 1)[:, None]
    counts = inside.sum(axis=1, keepdims=True)
    off = np.where(inside, overlap - (inside @ overlap)[:, None] / counts, 0.0)
    squares = (off**2).sum(axis=1)
    kept = squares > TIES * np.maximum((inside @ overlap**2), 1e-300)
    return off[kept] / squares[kept, None], place


def slope(draw: Labels, overlap: Floats, value: Floats) -> Slope:
    """Returns the mean of the slopes of draws, with its t interval over draws.

    mean ± t(0.975, draws − 1) · sd / √draws, sd with ddof 1. One draw has no interval, no draw
    with two overlaps no slope (NaN). A bootstrap over so few draws would be too narrow.
    """
    found = slopes(draw, overlap, value)
    if len(found) < 2:
        return Slope(float(found[0]) if len(found) else np.nan, np.nan, np.nan, found)
    from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, and plans need none

    half = float(stdtrit(len(found) - 1, (1 + LEVEL) / 2) * found.std(ddof=1) / len(found) ** 0.5)
    mean = float(found.mean())
    return Slope(mean, mean - half, mean + half, found)


def arrangements(block: Labels, overlap: Floats) -> float:
    """Returns in how many different ways overlaps can be dealt anew within blocks.

    The product over blocks of n! / Π (rows with one overlap)!.
    """
    total = 1
    for own in np.unique(block):
        _, counts = np.unique(overlap[block == own], return_counts=True)
        total *= factorial(int(counts.sum())) // prod(factorial(int(c)) for c in counts)
    try:
        return float(total)
    except OverflowError:
        return np.inf


def permute(
    draw: Labels,
    overlap: Floats,
    value: Floats,
    *,
    permutations: int = 999,
    seed: int = 0,
    block: Labels | None = None,
) -> Permuted:
    """Returns the two-sided p-value of the slope when overlaps are permuted within draws.

    Share of the arrangements whose mean slope over draws is at least as far from 0. Where there
    are no more different ones than would be drawn, each is taken once, and the least possible p
    is the share of those with the steepest slope; else as many are drawn, p is
    (1 + as steep) / (1 + drawn), and the least 1 / (1 + drawn). An offset of a whole draw changes
    nothing.

    Args:
        draw: (n,) draws.
        overlap: (n,).
        value: (n,).
        permutations: how many to draw; 0 gives no p-value.
        seed: of the drawing.
        block: (n,) within which overlaps are exchanged; draws, if not given. Blocks are parts of
            draws.

    Returns:
        p and least are NaN where no draw has two overlaps or `permutations` is 0.
    """
    block = draw if block is None else block
    weights, place = _weights(draw, overlap)
    count = arrangements(block, overlap)
    if not len(weights) or permutations <= 0:
        return Permuted(np.nan, np.nan, count, 0)
    # Within a draw the mean and the sum of squares of overlaps stay, so a slope is linear in them.
    squares = np.bincount(place, (overlap - _mean_within(place, overlap)) ** 2)
    kept = squares > TIES * np.maximum(np.bincount(place, overlap**2), 1e-300)
    scale = np.divide(1.0, squares, out=np.zeros_like(squares), where=kept) / len(weights)
    centred = (value - _mean_within(place, value)) * scale[place]
    observed = abs(float(overlap @ centred))
    if count <= permutations:
        found = np.abs(_all_sums(block, overlap, centred))
        top = float(found.max())
        as_steep = found >= observed - TIES * top
        return Permuted(float(as_steep.mean()), float((found >= top * (1 - TIES)).mean()), count, 0)
    rng = np.random.default_rng(seed)
    steep = 0
    blocks = [np.flatnonzero(block == own) for own in np.unique(block)]
    step = max(1, _CHUNK // len(overlap))
    for start in range(0, permutations, step):
        size = min(step, permutations - start)
        sums = np.zeros(size)
        for rows in blocks:
            order = np.argsort(rng.random((size, len(rows))), axis=1)
            sums += overlap[rows][order] @ centred[rows]
        top = max(observed, float(np.abs(sums).max()))
        steep += int((np.abs(sums) >= observed - TIES * top).sum())
    return Permuted((1 + steep) / (1 + permutations), 1 / (1 + permutations), count, permutations)


def _mean_within(place: Labels, values: Floats) -> Floats:
    """Returns for each row the mean of its draw."""
    return (np.bincount(place, values) / np.bincount(place))[place]


def _all_sums(block: Labels, overlap: Floats, weight: Floats) -> Floats:
    """Returns Σ weight · overlap for every different arrangement of overlaps within blocks."""
    total = np.zeros(1)
    for own in np.unique(block):
        rows = np.flatnonzero(block == own)
        levels, counts = np.unique(overlap[rows], return_counts=True)
        sums = np.array(list(_dealt(weight[rows], levels, counts.tolist())))
        total = (total[:, None] + sums).ravel()
    return total


def _dealt(weight: Floats, levels: Floats, counts: list[int]):  # noqa: ANN202 - of floats
    """Yields Σ weight · overlap for every different way to deal levels to rows."""
    if not len(weight):
        yield 0.0
        return
    for k, level in enumerate(levels):
        if counts[k]:
            left = [c - (j == k) for j, c in enumerate(counts)]
            for rest in _dealt(weight[1:], levels, left):
                yield float(weight[0] * level) + rest


def spearman(overlap: Floats, value: Floats) -> float:
    """Returns the rank correlation over all pairs, ties averaged; NaN if either is constant."""
    from scipy.stats import rankdata  # noqa: PLC0415 - as above

    x, y = rankdata(overlap), rankdata(value)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(np.corrcoef(x, y)[0, 1])


def entropy(overlap: Floats) -> float:
    """Returns the entropy of the levels of the overlap, in nats."""
    share = np.unique(overlap, return_counts=True)[1] / len(overlap)
    return float(-(share * np.log(share)).sum()) + 0.0


def omega2(overlap: Floats, value: Floats) -> float:
    """Returns which share of the values' variance the levels of the overlap explain.

    (SSB − (L − 1) MSW) / (SST + MSW), with L levels and MSW = SSW / (n − L); nearly unbiased, below
    0 where levels explain less than chance does. NaN with one level, no spare row, or no variance.
    """
    levels, place = np.unique(overlap, return_inverse=True)
    freedom = len(value) - len(levels)
    total = float(((value - value.mean()) ** 2).sum())
    if len(levels) < 2 or freedom < 1 or total <= _rounding(value):
        return np.nan
    within = float(((value - _mean_within(place, value)) ** 2).sum())
    noise = within / freedom
    return (total - within - (len(levels) - 1) * noise) / (total + noise)


def _rounding(value: Floats) -> float:
    """Returns the sum of squares that values have by rounding alone."""
    return float(len(value) * (1e-12 * np.abs(value).max(initial=0.0)) ** 2)


def held_out_information(
    draw: Labels, overlap: Floats, value: Floats, *, linear: bool = False
) -> float:
    """Returns a lower bound of the information of value about overlap, by draws left out, in nats.

    I ≥ H(x) + mean ln q(x | y). q is of Bayes' rule: the shares of the levels as prior, and as
    density of y under a level the Student t of a new value, all of it from the other draws. By
    level: mean of the level, pooled variance s² with df = n − L, scale² s² (1 + 1 / n_l). Linear:
    the least-squares line, df = n − 2, scale² s² (1 + 1 / n + (x − x̄)² / Sxx). Never above H(x),
    and below 0 where the levels say nothing of a new draw.

    Args:
        draw: (n,) draws, at least two.
        overlap: (n,).
        value: (n,).
        linear: whether the mean is a linear function of the overlap.

    Returns:
        NaN where the other draws of some draw lack one of its levels, or leave no variance to
        estimate.
    """
    levels, counts = np.unique(overlap, return_counts=True)
    if len(levels) < 2 or len(np.unique(draw)) < 2:
        return np.nan
    prior = np.log(counts / len(overlap))
    total = 0.0
    for own in np.unique(draw):
        out = draw == own
        model = _line(overlap[~out], value[~out], levels) if linear else (
            _levels(overlap[~out], value[~out], levels)
        )  # fmt: skip
        if model is None:
            return np.nan
        log_q = prior + _log_t(value[out][:, None], *model)
        place = np.searchsorted(levels, overlap[out])
        chosen = log_q[np.arange(len(place)), place]
        if not np.isfinite(chosen).all():
            return np.nan
        total += float((chosen - np.logaddexp.reduce(log_q, axis=1)).sum())
    return entropy(overlap) + total / len(overlap)


Predictive = tuple[Floats, Floats, int]
"""Means and scales of a new value under each level, and degrees of freedom."""


def _levels(overlap: Floats, value: Floats, levels: Floats) -> Predictive | None:
    inside = overlap == levels[:, None]
    counts = inside.sum(axis=1)
    freedom = len(value) - int((counts > 0).sum())
    if freedom < 1:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (inside @ value) / counts
        widths = 1 + 1 / counts
    rest = value - means[np.searchsorted(levels, overlap)]
    return _predictive(value, rest, means, widths, freedom)


def _line(overlap: Floats, value: Floats, levels: Floats) -> Predictive | None:
    freedom, off = len(value) - 2, overlap - overlap.mean()
    squares = float(off @ off)
    if freedom < 1 or squares <= TIES:
        return None
    steep = float(off @ value) / squares
    at = levels - overlap.mean()
    rest = value - value.mean() - steep * off
    widths = 1 + 1 / len(value) + at**2 / squares
    return _predictive(value, rest, value.mean() + steep * at, widths, freedom)


def _predictive(
    value: Floats, rest: Floats, means: Floats, widths: Floats, freedom: int
) -> Predictive | None:
    squares = float(rest @ rest)
    if squares <= _rounding(value):
        return None
    return means, np.sqrt(squares / freedom * widths), freedom


def _log_t(value: Floats, mean: Floats, scale: Floats, freedom: int) -> Floats:
    """Returns the log density of Student's t but for a constant; −∞ under a level without rows."""
    with np.errstate(invalid="ignore"):
        found = -np.log(scale) - (freedom + 1) / 2 * np.log1p(
            ((value - mean) / scale) ** 2 / freedom
        )
    return np.where(np.isfinite(mean) & np.isfinite(scale), found, -np.inf)


def published_information(overlap: Floats, value: Floats) -> float:
    """Returns the mutual information as Li et al. (2025) estimate it, in nats, for comparison.

    scikit-learn's `mutual_info_regression` with `random_state=42`: Kraskov's first estimator with 3
    neighbours and both variables continuous, though the overlap is not; it can exceed the entropy
    of the overlap, and it depends on the overlap's last bits. NaN with fewer than 4 rows.
    """
    from sklearn.feature_selection import mutual_info_regression  # noqa: PLC0415 - as above

    if len(value) < 4:
        return np.nan
    found = mutual_info_regression(overlap[:, None], value, random_state=NEIGHBORS_SEED)
    return float(found[0])


def published_r2(overlap: Floats, value: Floats) -> float:
    """Returns R² of the least-squares line over all pairs; NaN if either is constant."""
    if len(value) < 2 or np.ptp(overlap) == 0 or np.ptp(value) == 0:
        return np.nan
    return float(np.corrcoef(overlap, value)[0, 1] ** 2)
