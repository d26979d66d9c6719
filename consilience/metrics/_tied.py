"""Means of neighbour metrics over random orders of equally near samples."""

from functools import lru_cache

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from consilience.forms.nearness import BLOCK_ENTRIES
from consilience.forms.ties import (
    Lookup,
    Neighbors,
    bordered,
    places_of,
    shared_neighbors,
    tied_pairs,
)

EXACT_K = 24
"""Up to so many neighbours, all numbers of common ones are counted with their probability."""


def mean_jaccard(a: Neighbors, b: Neighbors) -> float:
    """Returns the mean Jaccard index of neighbour sets over random orders of tied samples.

    Of row i, x takes p of t tied samples and y takes q of u. If h of those taken by x are nearer in
    y and g tied in y, the common ones are those nearer on both sides, h, and a hypergeometric
    number out of those that y chooses from. Above 24 neighbours each of the three random numbers is
    replaced by three values with its mean and variance (of Gauss-Hermite quadrature), which moves
    the value by less than 1e-3.
    """
    k, shared = a.lists.shape[1], shared_neighbors(a, b)
    (near_x, t), (near_y, u) = places_of(a), places_of(b)
    cases = np.column_stack(
        [shared.near, shared.near_y, shared.tied, t, k - near_x, shared.near_x, u, k - near_y]
    )
    cases, counts = np.unique(cases, axis=0, return_counts=True)
    found = (_mean_index if k <= EXACT_K else _mean_index_of_many)(cases.T, k)
    return float(found @ counts / len(a.lists))


def _mean_index(cases: np.ndarray, k: int) -> np.ndarray:
    """Returns the expected Jaccard index of cases (8, m), one per column.

    Args:
        cases: common neighbours that are nearer on both sides; of those tied in x, how many are
            nearer and how many tied in y, how many there are, and how many x takes; of those tied
            in y, how many are nearer in x, how many there are, and how many y takes.
        k: number of neighbours.
    """
    near, near_y, tied, t, p, near_x, u, q = cases[:, :, None, None]
    numbers = np.arange(k + 1)
    g = np.arange(int(np.minimum(p, tied).max(initial=0)) + 1)[:, None]
    chance = _hypergeometric(t, tied, p, g)
    h = _hypergeometric(t - tied, near_y, p - g, numbers)
    taken = _hypergeometric(u, near_x + g, q, numbers)
    common = np.minimum(near + numbers[:, None] + numbers, k)
    index = common / (2 * k - common)
    return np.einsum("mgh,mgc,mhc->m", chance * h, taken, index, optimize=True)


def _hypergeometric(
    total: np.ndarray, marked: np.ndarray, drawn: np.ndarray, found: np.ndarray
) -> np.ndarray:
    """Returns the chance of so many marked ones among those drawn; 0 where that cannot be."""
    possible = (found <= marked) & (found <= drawn) & (drawn - found <= total - marked)
    possible &= (marked <= total) & (drawn >= 0) & (drawn <= total)
    logs = _log_factorials(int(total.max(initial=0)))
    parts = marked, total - marked, drawn, total - drawn
    plus = sum(logs[np.clip(part, 0, total)] for part in parts) - logs[total]
    parts = found, marked - found, drawn - found, total - marked - drawn + found
    logs = plus - sum(logs[np.where(possible, part, 0)] for part in parts)
    return np.where(possible, np.exp(np.where(possible, logs, 0)), 0.0)


@lru_cache(maxsize=4)
def _log_factorials(n: int) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def _mean_index_of_many(cases: np.ndarray, k: int) -> np.ndarray:
    """Returns the same as `_mean_index`, with three values for each number."""
    near, near_y, tied, t, p, near_x, u, q = cases.astype(float)
    points, weights = hermegauss(3)
    weights = weights / weights.sum()
    found = np.zeros(cases.shape[1])
    for point, chance in zip(points, weights, strict=True):
        g = _quantile(t, tied, p, point)
        for of_h, chance_h in zip(points, weights, strict=True):
            h = _quantile(t - tied, near_y, p - g, of_h)
            for of_c, chance_c in zip(points, weights, strict=True):
                common = np.clip(near + h + _quantile(u, near_x + g, q, of_c), 0, k)
                found += chance * chance_h * chance_c * common / (2 * k - common)
    return found


def _quantile(total: np.ndarray, marked: np.ndarray, drawn: np.ndarray, point: float) -> np.ndarray:
    """Returns the mean of a hypergeometric number plus so many standard deviations."""
    total = np.maximum(total, 1)
    share = np.clip(marked / total, 0, 1)
    spread = drawn * share * (1 - share) * (total - drawn) / np.maximum(total - 1, 1)
    return drawn * share + point * np.sqrt(np.maximum(spread, 0))


def share_reached(a: Neighbors, b: Neighbors) -> float:
    """Returns the share of samples reached again by a step in b, then one in a.

    With ties the mean over random orders: i is missed by all that y takes with the product of
    1 - wₓ(j, i) over those nearer, times the mean of such products over all choices among the tied.
    """
    if not (bordered(a) or bordered(b)):
        return _share_reached(a.lists, b.lists)
    n, k = b.lists.shape
    lookup = Lookup(a)
    near, tied = places_of(b)
    rows = np.arange(n)[:, None]
    missed = np.where(np.arange(k) < near[:, None], 1 - lookup(b.lists, rows), 1.0).prod(axis=1)
    for i, j in tied_pairs(b):
        missed[np.unique(i)] *= _mean_product(1 - lookup(j, i), i, k - near, tied)
    return float(1 - missed.mean())


def _share_reached(a: np.ndarray, b: np.ndarray) -> float:
    n, k = a.shape
    step = max(1, BLOCK_ENTRIES // k**2)
    back = 0
    for start in range(0, n, step):
        reached = a[b[start : start + step]]
        samples = np.arange(start, start + len(reached), dtype=a.dtype)
        back += np.count_nonzero((reached == samples[:, None, None]).any(axis=(1, 2)))
    return back / n


def _mean_product(
    values: np.ndarray, rows: np.ndarray, places: np.ndarray, tied: np.ndarray
) -> np.ndarray:
    """Returns for each row the mean product of values over all choices of as many as places.

    Args:
        values: in [0, 1], of each tied neighbour, row after row.
        rows: which row each value is of.
        places: (n,) how many are chosen.
        tied: (n,) of how many.
    """
    own, starts, sizes = np.unique(rows, return_index=True, return_counts=True)
    most = int(places[own].max())
    # means[:, m]: of the products of m out of the values met so far
    means = np.zeros((len(own), most + 1))
    means[:, 0] = 1
    numbers = np.arange(1, most + 1)
    for met in range(int(tied[own].max())):
        live = met < sizes
        value = np.where(live, values[np.minimum(starts + met, len(values) - 1)], 0)[:, None]
        share = numbers / (met + 1)  # of the choices of m out of met + 1, those with the new one
        after = np.where(share <= 1, share * value * means[:, :-1] + (1 - share) * means[:, 1:], 0)
        means[:, 1:] = np.where(live[:, None], after, means[:, 1:])
    return means[np.arange(len(own)), places[own]]
