"""The sums that give the null of neighbour lists with ties; see `consilience.forms.moments`."""

import numpy as np

from consilience.forms.dominance import peaks_of
from consilience.forms.moments import Moments, cube_samples, cubes_of_some, sparse_cubes
from consilience.forms.ties import Lookup, Neighbors, places_of, tied_pairs

SPARSE = 64
"""Up to so many neighbours per row, the third moment is taken from all of them, not from a part of
the samples."""

ROUNDING = 1e-12
"""Squares below this share of the number of neighbours are those of equal entries."""


def moments_with_ties(a: Neighbors) -> Moments:
    """Returns the sums of the matrix of neighbours' weights.

    Each row of it has the sum k. Where all pairs tie, all entries are equal, and the null has no
    spread: not even that of rounding. Mean and variance are exact; the third moment is that of the
    symmetric part, from a part of the samples if there are many of them and of ties.
    """
    n, k = a.lists.shape
    near, tied = places_of(a)
    lookup, mean = Lookup(a), k / (n - 1)
    squares = float((near + (k - near) * lookup.weights).sum()) - n * k * mean
    if squares <= ROUNDING * n * k:
        return Moments(n, mean, 0.0, 0.0, 0.0, 0.0, 0.0, ())
    rows = np.arange(n)[:, None]
    nearer = np.arange(k) < near[:, None]
    columns = np.bincount(a.lists[nearer], minlength=n).astype(float)
    energy = near + (k - near) * lookup.weights + columns
    transposed = float(lookup(a.lists, rows)[nearer].sum())
    for i, j in tied_pairs(a):
        columns += np.bincount(j, weights=lookup.weights[i], minlength=n)
        energy += np.bincount(j, weights=lookup.weights[i] ** 2, minlength=n)
        transposed += float(lookup.weights[i] @ lookup(j, i))
    transposed += n * (n - 1) * mean**2 - 2 * mean * n * k
    columns -= k
    crowded = n <= len(cube_samples(n)) or (near + tied * (near < k)).mean() > max(4 * k, SPARSE)
    cubes = _dense_cubes(lookup, mean) if crowded else _sparse_cubes(a, lookup, mean)
    ends = (0.0, float(columns @ columns), 0.0)
    # of the symmetric part: rows and columns each hold half of it
    peaks = peaks_of(energy / 4, columns / 2)
    return Moments(n, mean, squares, transposed, *ends, cubes, peaks=peaks)


def _dense_cubes(lookup: Lookup, mean: float) -> tuple[float, ...]:
    chosen = cube_samples(lookup.n)
    matrix = lookup(chosen[:, None], chosen)
    matrix = (matrix + matrix.T) / 2 - mean
    np.fill_diagonal(matrix, 0)
    return cubes_of_some(matrix, lookup.n)


def _sparse_cubes(a: Neighbors, lookup: Lookup, mean: float) -> tuple[float, ...]:
    from scipy.sparse import coo_array  # noqa: PLC0415 - slow to import, and plans need no null

    n, k = a.lists.shape
    nearer = np.arange(k) < lookup.near[:, None]
    rows, columns = [np.nonzero(nearer)[0]], [a.lists[nearer]]
    for i, j in tied_pairs(a):
        rows.append(i)
        columns.append(j)
    i, j = np.concatenate(rows), np.concatenate(columns)
    weights = np.where(np.arange(len(i)) < len(rows[0]), 1.0, lookup.weights[i])
    return sparse_cubes(coo_array((weights, (i, j)), shape=(n, n)).tocsr(), mean)
