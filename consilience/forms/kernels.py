"""Square matrices over pairs of samples, shared by the metrics built on them."""

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.groups import Between, unit_count
from consilience.forms.rows import FAR, SINGLE, Rows, coarse, unit_rounding

STRIP = 256
"""Rows of a matrix over all pairs of samples that are worked on at a time."""
VANISHED = "the centred kernel vanishes: all pairs of samples are equally alike"


def power_of_two_scale(x: np.ndarray) -> np.ndarray:
    """Returns x divided by a power of two so that its largest entry lies in [0.5, 1).

    Exact, so a scale-free metric gives the same bits for x and 2x, and squares stay in range.
    """
    largest = largest_size(x)
    if largest == 0:
        return x
    exponent = -int(np.frexp(largest)[1])
    if abs(exponent) > 1000:  # the factor itself would not be a number
        return np.ldexp(x, exponent)
    return x * 2.0**exponent


def largest_size(x: np.ndarray) -> float:
    """Returns the largest |x|, without a copy of x."""
    return float(max(x.max(), -x.min()))


def check_varies(x: np.ndarray | Rows) -> None:
    """Raises MetricError if all rows of x: (n, d) are the same vector, up to rounding.

    A unit varies if its range exceeds the rounding of its own largest value, and of the largest
    value that half of the units reach: the rounding of sums that nearly cancel is of that size.
    """
    x = Rows.of(x)
    least = 64 * np.finfo(float).eps * x.largest()
    if _varies(x.take(slice(0, 64)), least):  # as a rule, some rows tell
        return
    if not _varies(x.take(slice(0, len(x))), least):
        raise MetricError(
            "the features are constant: all samples have the same vector, up to rounding"
        )


def _varies(x: np.ndarray, least: float) -> bool:
    largest = np.maximum(x.max(axis=0), -x.min(axis=0))
    sizes = np.maximum(largest, np.median(largest))
    return bool((np.ptp(x, axis=0) > np.maximum(least, unit_rounding(x) * sizes)).any())


def centered(x: np.ndarray) -> np.ndarray:
    """Returns x: (n, d), scaled by a power of two, minus its column means."""
    x = power_of_two_scale(x)
    return x - x.mean(axis=0)


def near_center(x: np.ndarray) -> np.ndarray:
    """Returns x: (n, d) minus its column means rounded to 12 bits below its largest entry.

    Distances are unchanged and lose little to cancellation; unlike the exact mean, the rounded one
    keeps distances exactly tied that are tied in integers or other coarse grids. Where the means
    were so large that what is left is below `FAR` of them, it is done again.
    """
    largest, before = largest_size(x), np.inf
    while 0 < largest < FAR * before:
        x = x - coarse(x.mean(axis=0), largest)
        before, largest = largest, largest_size(x)
    return x


def squared_distances(x: np.ndarray) -> np.ndarray:
    """Returns the squared Euclidean distances (n, n) between the rows of x: (n, d)."""
    x = near_center(x)
    distances = x @ x.T
    norms = np.diagonal(distances).copy()
    for start in range(0, len(x), STRIP):  # no second matrix
        rows = slice(start, start + STRIP)
        distances[rows] *= -2
        distances[rows] += norms[rows, None] + norms
    np.maximum(distances, 0, out=distances)
    np.fill_diagonal(distances, 0)
    return distances


def upper_triangle(matrix: np.ndarray) -> np.ndarray:
    """Returns the entries above the diagonal of (n, n) as a vector of n(n-1)/2, row by row."""
    n, start = len(matrix), 0
    found = np.empty(n * (n - 1) // 2, dtype=matrix.dtype)
    for row in range(n - 1):
        stop = start + n - 1 - row
        found[start:stop] = matrix[row, row + 1 :]
        start = stop
    return found


def unit(vector: np.ndarray, reference: float, reason: str) -> np.ndarray:
    """Returns vector / |vector|; an error if the norm is only rounding beside `reference`.

    Raises:
        MetricError: with `reason`, if there is nothing left to compare.
    """
    norm = np.sqrt(np.dot(vector, vector))
    if not norm > 1e-14 * reference:
        raise MetricError(reason)
    return vector / norm


def check_sigma(sigma: object, name: str) -> None:
    """Raises ConfigError if sigma is not a positive number or `median`."""
    if isinstance(sigma, str) and sigma == "median":
        return
    number = isinstance(sigma, int | float) and not isinstance(sigma, bool)
    if not number or not 0 < sigma < np.inf:
        raise ConfigError(
            f"metric {name!r}: sigma cannot be {sigma!r}; use a number above 0 or 'median'"
        )


def check_samples(
    x: np.ndarray, estimator: str, what: str, groups: np.ndarray | None = None
) -> None:
    """Raises MetricError if x: (n, d) has too few samples, or groups, for the estimator."""
    least = 4 if estimator == "debiased" else 2
    if estimator != "debiased":
        groups = None
    check_units(f"{estimator} {what}", least, len(x), groups)


def check_units(what: str, least: int, n: int, groups: np.ndarray | None = None) -> None:
    """Raises MetricError if n samples, or their groups, are fewer than `least`."""
    if (count := unit_count(groups, n)) < least:
        units = "samples" if groups is None else "groups of samples"
        raise MetricError(f"{what} needs at least {least} {units}, not {count}")


def kernel_matrix(x: np.ndarray, kernel: str, sigma: float | str = "median") -> np.ndarray:
    """Returns the kernel matrix (n, n) of x: (n, d).

    Linear kernels are those of centred features divided by a power of two: for scale-free values.
    """
    if kernel == "linear":
        x = centered(x)
        return x @ x.T
    if sigma == "median":
        x = power_of_two_scale(x)
    distances = squared_distances(x)
    variance = lower_median(distances) if sigma == "median" else float(sigma) ** 2
    if kernel == "laplace":
        np.sqrt(distances, out=distances)
        distances *= -1 / np.sqrt(variance)
    else:
        distances *= -0.5 / variance
    return np.exp(distances, out=distances)


def lower_median(distances: np.ndarray) -> float:
    """Returns the lower median of the non-zero squared distances (n, n)."""
    positive = upper_triangle(distances)
    if positive.min() <= 0:
        positive = positive[positive > 0]
    middle = (len(positive) - 1) // 2
    positive.partition(middle)
    return float(positive[middle])


def pair_vector(kernel: np.ndarray, estimator: str, groups: np.ndarray | None = None) -> np.ndarray:
    """Returns the centred kernel (n, n) as a vector over pairs of samples; destroys its input.

    The inner product of two such vectors is that of the centred matrices. `biased`: rows and
    columns have mean 0, and the vector ends with the diagonal. `debiased`: the diagonal is set to
    zero first, and rows have sum 0 over the rest; with groups (n,) so are all pairs of one group.
    """
    n = len(kernel)
    if estimator == "debiased" and groups is not None:
        return np.sqrt(2) * upper_triangle(_centred_between(kernel, Between(groups)))
    if estimator == "debiased":
        np.fill_diagonal(kernel, 0)
    sums = kernel.sum(axis=1)
    if estimator == "debiased":
        shift = sums / (n - 2) - sums.sum() / (2 * (n - 1) * (n - 2))
    else:
        shift = sums / n - sums.sum() / (2 * n * n)
    kernel -= shift[:, None]
    kernel -= shift[None, :]
    pairs = upper_triangle(kernel)
    pairs *= np.sqrt(2)  # each unordered pair stands for two entries
    if estimator == "debiased":
        return pairs
    return np.concatenate([pairs, np.diagonal(kernel)])


def _centred_between(kernel: np.ndarray, between: Between) -> np.ndarray:
    """Returns the kernel (n, n) with row sums 0 over pairs of different groups, and 0 elsewhere."""
    within = between.same(slice(0, len(kernel)), slice(0, len(kernel)))
    kernel[within] = 0
    shift = between.fit(kernel.sum(axis=1))
    kernel -= shift[:, None]
    kernel -= shift[None, :]
    kernel[within] = 0
    return kernel


def twice_centered(x: np.ndarray) -> np.ndarray:
    """Returns `centered` x: (n, d) with what rounding left of the means removed as well.

    A rounded first mean would give constant units a direction.
    """
    x = centered(x)
    x -= x.mean(axis=0)
    return x


def ranked_svd(
    x: np.ndarray, purpose: str, given: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns U, s, Vᵀ of x at its numerical rank, for x derived from entries below 1.

    Entries of 0.5 to 1 are rounded by eps / 2, so that rounding alone reaches singular values of
    √(n d) eps / 2, however small those of x are beside its means. Where the features are float32,
    eps is that of float32, and such errors, being independent, reach (√n + √d) eps / 2.

    Args:
        x: (n, d) features, scaled by a power of two, and centred or not.
        purpose: for the message.
        given: (n, d) the features as they were given, whose values tell how they are rounded.

    Raises:
        MetricError: no rank is left; `purpose` ends "there is nothing to …".
    """
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    rank = np.count_nonzero(s > least_strength(x.shape, s[0], given))
    if rank == 0:
        raise MetricError(
            f"the features are constant up to rounding: there is nothing to {purpose}"
        )
    return np.ascontiguousarray(u[:, :rank]), s[:rank], vt[:rank]


def least_strength(shape: tuple[int, int], largest: float, given: np.ndarray) -> float:
    """Returns the singular value that rounding alone reaches; see `ranked_svd`.

    Args:
        shape: (n, d) of the derived features.
        largest: their largest singular value.
        given: (n, d) the features as they were given.
    """
    least = max(shape) * np.finfo(float).eps * max(largest, 0.5)
    if unit_rounding(given) == SINGLE:
        least = max(least, np.sqrt(shape).sum() * SINGLE / 16)
    return float(least)
