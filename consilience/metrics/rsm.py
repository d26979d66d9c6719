"""Norms of differences of representational similarity matrices."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consilience.errors import MetricError
from consilience.forms.groups import Between
from consilience.forms.kernels import (
    check_units,
    check_varies,
    largest_size,
    near_center,
    power_of_two_scale,
)
from consilience.forms.rows import centered_rows
from consilience.metrics import Facts, Metric, metric, unit_rows
from consilience.metrics._norms import spectral_norm

NEAR = 1e-2
"""Share of ‖x‖² + ‖y‖² up to which a squared distance is found from differences."""


@metric(
    "rsm_norm_difference",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=True,
    invariant_to={"permutation"},
    citation="klabunde2025",
)
@dataclass(frozen=True)
class RSMNormDifference(Metric):
    """Norm of the difference of two distance matrices: ‖D - D'‖.

    D holds the distance of each pair of samples: Euclidean, 1 - cosine or 1 - Pearson correlation
    of their rows. The norm runs over all n² entries (`frobenius`) or is the largest absolute
    eigenvalue (`spectral`). It is a metric on distance matrices: it is 0 if and only if these are
    equal. ReSi (Klabunde et al. 2025) describes the norm of the entries but computes the spectral
    one of Euclidean distances; use norm="spectral" for its numbers. The norm of the n(n-1)/2
    distances is `frobenius` over √2.

    Values grow with n, and Euclidean ones with the scale and width of the features, so that
    differences of scale outweigh those of shape unless features are normalised beforehand.

    Cost: n²d per model; per pair n²/2 (`frobenius`), or (`spectral`) about 100 n², with a bound of
    10⁻¹⁰ of the value that is checked, and 4n³/3 where it does not hold, as between distances of
    noise of one size. Memory: 4n² bytes per model, and 16n² during a spectral comparison.

    Args:
        norm: `frobenius` or `spectral`.
        distance: `euclidean`, `cosine` or `correlation`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(RSMNormDifference()(x, x + np.roll(x, 1, axis=0)), 4)
        18.0457
    """

    norm: Literal["frobenius", "spectral"] = "frobenius"
    distance: Literal["euclidean", "cosine", "correlation"] = "euclidean"

    @property
    def facts(self) -> Facts:
        """The facts: directions ignore scale, distances ignore translations."""
        extra = {
            "euclidean": {"orthogonal", "translation"},
            "cosine": {"orthogonal", "isotropic_scaling"},
            "correlation": {"isotropic_scaling"},
        }
        facts = self.class_facts
        return replace(facts, invariant_to=facts.invariant_to | extra[self.distance])

    @property
    def leaves_out(self) -> bool:
        """Whether pairs within a group are left out: always."""
        return True

    def prepare(self, x: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
        """Returns the distances of all pairs of rows of x: (n, d), one per unordered pair.

        With groups (n,), those within one are 0, as those of a sample with itself.
        """
        check_units("rsm_norm_difference", 2, len(x), groups)
        check_varies(x)
        distances = self._distances(x)
        return distances if groups is None else distances * Between(groups).upper()

    def _distances(self, x: np.ndarray) -> np.ndarray:
        """Returns the distances of all pairs of rows of x: (n, d)."""
        scaled = power_of_two_scale(x)
        if self.distance == "euclidean":
            exponent = int(np.frexp(largest_size(x))[1])  # given back after the squares
            distances = squared_gaps(scaled)
            return _restored(np.sqrt(distances, out=distances), exponent)
        if self.distance == "correlation":
            scaled = centered_rows(scaled)
        return squared_gaps(unit_rows(scaled)) / 2  # 1 - cosine, without cancellation

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the norm of the difference of two vectors of distances."""
        difference = a - b
        if self.norm == "frobenius":
            square = float(np.dot(difference, difference))
            if 1e-200 < square < 1e200:
                return float(np.sqrt(2 * square))
        largest = largest_size(difference)
        if largest == 0:
            return 0.0
        exponent = int(np.frexp(largest)[1])
        difference = power_of_two_scale(difference)  # so that squares stay in range
        if self.norm == "frobenius":
            value = np.sqrt(2 * np.dot(difference, difference))
        else:
            value = spectral_norm(_square(difference))
        return float(_restored(value, exponent))

    def permuted(self, a: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Returns the distances of the permuted samples."""
        from scipy.spatial.distance import squareform  # noqa: PLC0415 - slow to import

        return squareform(squareform(a)[np.ix_(order, order)], checks=False)

    def work_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of a matrix over all pairs of samples, or of two for eigenvalues."""
        return (16 if self.norm == "spectral" else 8) * n * n + 24 * n * d

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of one float64 per unordered pair of samples."""
        return 4 * n * (n - 1)


SMALL = 256
"""Up to so many rows, all distances are found from differences."""
BLOCK = 512
"""Rows whose distances to all others are found at once."""


def squared_gaps(x: np.ndarray) -> np.ndarray:
    """Returns the squared distances of all pairs of rows of x: (n, d), one per unordered pair.

    ‖x‖² + ‖y‖² - 2x·y where that keeps 13 digits, and the sum of squared differences elsewhere.
    """
    n = len(x)
    if n <= SMALL:
        from scipy.spatial.distance import pdist  # noqa: PLC0415 - slow to import

        return pdist(x, "sqeuclidean")
    given, x = x, near_center(x)
    norms = np.einsum("ij,ij->i", x, x)
    found = np.empty(n * (n - 1) // 2)
    ends = np.cumsum(np.arange(n - 1, -1, -1))
    for start in range(0, n, BLOCK):
        rows, others = x[start : start + BLOCK], x[start:]
        sums = norms[start : start + BLOCK, None] + norms[start:]
        gaps = sums - 2 * (rows @ others.T)
        sums *= NEAR
        i, j = np.nonzero(np.triu(gaps <= sums, 1))
        for part in range(0, len(i), BLOCK):
            k, m = i[part : part + BLOCK], j[part : part + BLOCK]
            gaps[k, m] = np.sum((given[start + k] - given[start + m]) ** 2, axis=1)
        for row in range(len(rows)):
            place = start + row
            found[ends[place] - (n - 1 - place) : ends[place]] = gaps[row, row + 1 :]
    return found


def _square(vector: np.ndarray) -> np.ndarray:
    """Returns the symmetric matrix of these entries above the diagonal, of which the sum is ≥ 0.

    A matrix and its negative have one norm, so exchanged sides give the same bits.
    """
    from scipy.spatial.distance import squareform  # noqa: PLC0415 - slow to import

    return squareform(vector if vector.sum() >= 0 else -vector, checks=False)


def _restored(values: np.ndarray, exponent: int) -> np.ndarray:
    """Returns values · 2^exponent."""
    with np.errstate(over="ignore"):
        values = np.ldexp(values, exponent)
    if not np.isfinite(values).all():
        raise MetricError("distances exceed the largest float64, 1.8e308; scale the features down")
    return values
