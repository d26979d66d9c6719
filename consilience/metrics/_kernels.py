"""Square matrices over pairs of samples, shared by the metrics built on them."""

import numpy as np

from consilience.errors import MetricError


def power_of_two_scale(x: np.ndarray) -> np.ndarray:
    """Returns x divided by a power of two so that its largest entry lies in [0.5, 1).

    Exact, so a scale-free metric gives the same bits for x and 2x, and squares stay in range.
    """
    largest = np.abs(x).max()
    if largest == 0:
        return x
    return np.ldexp(x, -int(np.frexp(largest)[1]))


def check_varies(x: np.ndarray) -> None:
    """Raises MetricError if all rows of x: (n, d) are the same vector, up to rounding."""
    spread = x.max(axis=0) - x.min(axis=0)
    if spread.max() <= 64 * np.finfo(float).eps * np.abs(x).max():
        raise MetricError("the features are constant: all samples have the same vector")


def centered(x: np.ndarray) -> np.ndarray:
    """Returns x: (n, d), scaled by a power of two, minus its column means."""
    x = power_of_two_scale(x)
    return x - x.mean(axis=0)


def near_center(x: np.ndarray) -> np.ndarray:
    """Returns x: (n, d) minus its column means rounded to 12 bits below its largest entry.

    Distances are unchanged and lose little to cancellation; unlike the exact mean, the rounded one
    keeps distances exactly tied that are tied in integers or other coarse grids.
    """
    exponent = 12 - int(np.frexp(np.abs(x).max())[1])
    return x - np.ldexp(np.rint(np.ldexp(x.mean(axis=0), exponent)), -exponent)


def squared_distances(x: np.ndarray) -> np.ndarray:
    """Returns the squared Euclidean distances (n, n) between the rows of x: (n, d)."""
    x = near_center(x)
    gram = x @ x.T
    norms = np.diagonal(gram)
    distances = norms[:, None] + norms[None, :] - 2 * gram
    np.maximum(distances, 0, out=distances)
    np.fill_diagonal(distances, 0)
    return distances


def upper_triangle(matrix: np.ndarray) -> np.ndarray:
    """Returns the entries above the diagonal of (n, n) as a vector of n(n-1)/2, row by row."""
    n = len(matrix)
    return matrix[~np.tri(n, dtype=bool)]


def unit(vector: np.ndarray, reference: float, reason: str) -> np.ndarray:
    """Returns vector / |vector|; an error if the norm is only rounding beside `reference`.

    Raises:
        MetricError: with `reason`, if there is nothing left to compare.
    """
    norm = np.sqrt(np.dot(vector, vector))
    if not norm > 1e-14 * reference:
        raise MetricError(reason)
    return vector / norm
