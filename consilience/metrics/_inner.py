"""Metrics that are inner products over pairs of samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from consilience.forms.moments import Moments
from consilience.forms.rows import Rows
from consilience.forms.tiles import TileForm, cube_samples, scaled_cubes
from consilience.forms.units import LEAST, SOME, UnitSample, units_of_vector
from consilience.metrics._base import Metric


class InnerProductMetric(Metric):
    """A metric that is the inner product of two unit vectors over pairs of samples.

    The vectors hold the entries above the diagonal of a symmetric matrix, row by row, and then,
    where `has_diagonal` is true, the diagonal.
    """

    @property
    def has_diagonal(self) -> bool:
        """Whether the vectors end with the diagonal."""
        return False

    @property
    def has_closed_form(self) -> bool:
        """Whether `moments` gives the null of the value: always."""
        return True

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the inner product of two unit vectors."""
        return float(np.dot(a, b))

    def moments(self, a: np.ndarray) -> Moments:
        """Returns the sums over the matrix that holds each pair of the vector twice."""
        n = round(np.sqrt(2 * len(a)))  # n(n+1)/2 entries with the diagonal, n(n-1)/2 without
        diagonal = None
        if n * (n + 1) // 2 == len(a) and self.has_diagonal:
            diagonal = a[n * (n - 1) // 2 :]
        else:
            n = round(np.sqrt(2 * len(a)) + 0.5)
        matrix = np.zeros((n, n))
        matrix[~np.tri(n, dtype=bool)] = a[: n * (n - 1) // 2] / np.sqrt(2)
        return Moments.of_symmetric(matrix + matrix.T, diagonal)

    def units(self, x: np.ndarray, a: np.ndarray) -> UnitSample | None:
        """Returns the units of x: (n, d) as a sample, for linear kernels of so many units."""
        if not self.facts.of_units or x.shape[1] < LEAST:
            return None
        return units_of_vector(x, a, diagonal=self.has_diagonal)

    @property
    def centring(self) -> str:
        """How the tiled pass centres entries: a key of `forms.tiles.CENTRINGS`, or empty."""
        return ""

    def tile_form(self, x: Rows) -> TileForm:
        """Returns what the tiled pass needs of x: (n, d), if `centring` names a way."""
        raise NotImplementedError

    def tile_cubes(self, x: Rows) -> tuple[float, ...]:
        """Returns the third-order sums of the null of x: (n, d), from a part of the samples."""
        return scaled_cubes(self.moments(self.prepare(x.take(cube_samples(len(x))))), len(x))

    def compare_all(self, forms_x: Sequence[Any], forms_y: Sequence[Any]) -> np.ndarray:
        """Returns the inner products of all pairs of vectors."""
        return np.asarray(forms_x) @ np.asarray(forms_y).T

    def permuted(self, a: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Returns the vector over pairs of the permuted samples."""
        n = len(order)
        rows, columns = np.triu_indices(n, 1)
        x, y = order[rows], order[columns]
        low, high = np.minimum(x, y), np.maximum(x, y)
        moved = a[low * (2 * n - low - 1) // 2 + high - low - 1]
        return (
            np.concatenate([moved, a[n * (n - 1) // 2 :][order]]) if len(a) > len(moved) else moved
        )

    def work_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of a matrix over all pairs of samples, and of copies of features."""
        return 10 * n * n + 24 * n * d

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of one float64 per unordered pair of samples, and of some units."""
        return 4 * n * (n + 1) + (8 * n * min(d, SOME) if self.facts.of_units else 0)
