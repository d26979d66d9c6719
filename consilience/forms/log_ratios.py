"""Σ log² λ over the eigenvalues λ of one kernel relative to another, from determinants alone.

Of n samples and d + d' units at most d + d' eigenvalues are not 1, but finding them is a dense
problem of that size. For every w > 0, Σ log(1 + w λ) is the logarithm of a determinant, which the
Gram matrices give by one Cholesky factor of the narrower side. On a known interval, ℓ² is a sum of
functions log(1 + w exp ℓ) and of cosh ℓ up to an error that is as small as one likes, and known.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

EPS = float(np.finfo(float).eps)
BEYOND = 1.5
"""By how much nodes reach beyond the interval."""
STEP = 1.0
"""Between nodes, at most: of it an error of some 10⁻⁸ is left."""
FARTHEST = 25.0
"""Logarithm of an eigenvalue up to which it is tried."""
ROUNDS = 12
"""Of weighted least squares, towards the least largest error."""


class Fit(NamedTuple):
    """ℓ² on [-reach, reach] as Σ shareᵢ bᵢ(ℓ) + constant + hyperbolic · cosh ℓ.

    With s(y) = log(1 + exp y), bᵢ is s(ℓ - xᵢ) + s(ℓ + xᵢ) - ℓ - xᵢ, or s(ℓ) - ℓ/2 at x₀ = 0.
    """

    places: np.ndarray
    """(k,) nodes xᵢ, from 0."""
    shares: np.ndarray
    constant: float
    hyperbolic: float
    error: float
    """The largest one."""


@cache
def fit(reach: float, more: int = 0) -> Fit:
    """Returns a fit on [-reach, reach], about as good as one with so many nodes can be.

    Args:
        reach: half of the interval.
        more: nodes to take beside those that `STEP` asks for.
    """
    places = np.linspace(0, reach + BEYOND, int(np.ceil((reach + BEYOND) / STEP)) + 1 + more)
    points = reach * np.cos(np.linspace(0, np.pi / 2, 8 * len(places)))
    parts = _parts(points, places)
    sizes = np.abs(parts).max(axis=0)
    parts, weights = parts / sizes, np.ones(len(points))
    for _ in range(ROUNDS):  # Lawson (1961)
        scaled = parts * weights[:, None]
        found = np.linalg.lstsq(scaled, points**2 * weights, rcond=1e-14)[0]
        missed = np.abs(parts @ found - points**2)
        weights *= np.sqrt(missed / missed.max() + 1e-3)
        weights /= weights.max()
    found /= sizes
    fine = np.linspace(0, reach, 50 * len(places))
    error = float(np.abs(_parts(fine, places) @ found - fine**2).max())
    return Fit(places, found[:-2], float(found[-2]), float(found[-1]), 1.1 * error + 1e-13)


def _parts(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the functions of a fit (m, k + 2) at points: (m,)."""
    x, nodes = points[:, None], places[1:]
    pairs = np.logaddexp(0, x - nodes) + np.logaddexp(0, x + nodes) - x - nodes
    middle = np.logaddexp(0, x) - x / 2
    return np.hstack([middle, pairs, np.ones_like(x), np.cosh(x)])


class Logs(NamedTuple):
    """Sums over the d + d' eigenvalues that are not 1 for sure."""

    squares: float
    """Σ log² λ."""
    total: float
    """Σ log λ."""
    loss: float
    """How far off `squares` may be."""


def log_sums(p: np.ndarray, q: np.ndarray, cross: np.ndarray, more: int = 0) -> Logs | None:
    """Returns sums over the eigenvalues of 1 + YYᵀ relative to 1 + XXᵀ; None: they are too large.

    The eigenvalues lie between 1 / (1 + max p) and 1 + max q. With c = 1 + w, 1 + XXᵀ + w (1 + YYᵀ)
    has the determinant Π (c + w qⱼ) · det(c + P - w M (c + w Q)⁻¹ Mᵀ), but for a power of c.

    Args:
        p: (d,) eigenvalues of XᵀX, where X: (n, d) is turned to its principal axes; n ≥ d + d'.
        q: (d',) the same of Y.
        cross: (d, d') M = XᵀY. It is cheaper with d ≤ d'.
        more: see `fit`.
    """
    largest = max(p.max(), q.max())
    reach = max(1.0, np.ceil(4 * np.log1p(largest)) / 4)
    if not reach <= FARTHEST:
        return None
    how, count = fit(float(reach), more), len(p) + len(q)
    first = float(np.log1p(p).sum())
    total = float(np.log1p(q).sum()) - first
    logs = [_log_determinant(p, q, cross, np.exp(how.places[0]))]
    for place in how.places[1:]:
        logs += [_log_determinant(p, q, cross, np.exp(side)) for side in (place, -place)]
    if not np.isfinite(logs).all():
        return None
    above = np.array(logs) - first
    pairs = above[1::2] + above[2::2] - total - count * how.places[1:]
    squares = how.shares[0] * (above[0] - total / 2) + how.shares[1:] @ pairs
    shared = cross * cross
    traces = count + np.sum(q - q / (1 + q)) / 2 + np.sum(p - p / (1 + p)) / 2
    traces -= (shared.sum(axis=1) @ (1 / (1 + p)) + shared.sum(axis=0) @ (1 / (1 + q))) / 2
    squares += how.constant * count + how.hyperbolic * traces
    rounding = 8 * EPS * count * (1 + largest) * np.abs(how.shares).sum()
    return Logs(float(squares), total, float(count * how.error + rounding))


def _log_determinant(p: np.ndarray, q: np.ndarray, cross: np.ndarray, w: float) -> float:
    """Returns log det (1 + XXᵀ + w (1 + YYᵀ)) on the span of both; NaN: it is not positive."""
    from scipy.linalg import blas, lapack  # noqa: PLC0415 - slow to import

    least = 1 + w + w * q
    rows = cross * np.sqrt(w / least)
    kernel = blas.dsyrk(-1.0, rows.T, trans=1, lower=1)
    kernel[np.diag_indices_from(kernel)] += 1 + w + p
    lower, failed = lapack.dpotrf(kernel, lower=1, clean=0, overwrite_a=1)
    if failed:
        return np.nan
    return float(2 * np.log(np.diagonal(lower)).sum() + np.log(least).sum())
