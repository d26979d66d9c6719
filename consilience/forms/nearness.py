"""How near the rows of features are to each other, and which differences of it are rounding."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from consilience.errors import MetricError
from consilience.forms.kernels import largest_size
from consilience.forms.rows import Rows, unit_rows

BLOCK_ENTRIES = 4_000_000
"""Similarities held at a time while neighbours are looked for."""
SAME_DIRECTION = 2.0**-46
"""Rows whose cosine is within this of 1 point the same way: float32 may move each by 2⁻²⁴."""
SAME_PLACE = 2.0**-98
"""Rows whose squared distance is within twice this share of the largest squared norm are equal: the
rounding of float64."""
NARROW = 1 - 2.0**-10
"""From this squared length of the mean direction on, cosines are taken from distances of unit rows:
they are so close to 1 that their own rounding would hide how they differ."""


@dataclass(frozen=True)
class Nearness:
    """Rows placed so that inner products, or these less half a squared norm, tell what is near.

    Nearness of rows i and j is xᵢ·xⱼ for inner products and, as a rule, cosines (of unit rows), and
    xᵢ·xⱼ - ‖xⱼ‖²/2 where distances tell. In float64 it is known to `tolerance`: a sum of d products
    is off by about √d roundings of its size, of which four times as many are allowed. What differs
    by less is a tie. This makes no ties of features without any: from one neighbour to the next,
    nearness of n samples differs by about 1/n of its spread, and 4 (4 + √d) 2⁻⁵³ is 3e-14 for 4,096
    units.
    """

    rows: Rows
    values: np.ndarray
    """The rows (n, d), float64 or float32."""
    squares: np.ndarray
    """(n,) squared norms."""
    half: np.ndarray
    """(n,) what is taken off the product: half the squared norms, or 0."""
    top: np.ndarray
    """(n,) nearness from which a row counts as equal to row i."""
    groups: np.ndarray | None = None
    """(n,) rows of one group are no neighbours of each other."""
    own: bool = False
    """Whether a row may be its own neighbour."""

    @classmethod
    def of(
        cls,
        x: np.ndarray,
        distance: str,
        *,
        dtype: type = np.float64,
        groups: np.ndarray | None = None,
        own: bool = False,
    ) -> "Nearness":
        """Returns the nearness of the rows of x: (n, d).

        Args:
            x: the rows.
            distance: `cosine`, `euclidean` or `inner_product`.
            dtype: of `values`.
            groups: (n,) integers, or None.
            own: whether a row may be its own neighbour.

        Raises:
            MetricError: a zero row has no cosine.
        """
        cosine, halved = distance == "cosine", distance == "euclidean"
        rows = Rows(x).then(unit_rows) if cosine else Rows(x)
        same = SAME_DIRECTION
        if halved:
            rows, same = rows.near_center(), SAME_PLACE * x.shape[1] * largest_size(x) ** 2
        values, squares = _values(rows, dtype)
        if cosine and _mean_square(values) > NARROW:
            rows, halved = rows.near_center(), True
            values, squares = _values(rows, dtype)
        half = squares / 2 if halved else np.zeros(len(x))
        top = squares - half - same if cosine or halved else np.full(len(x), np.inf)
        return cls(rows, values, squares, half, top, groups, own)

    def blocks(self, squared: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yields blocks of rows of the nearness (n, n), float64; -inf where there is no neighbour.

        Args:
            squared: (n, n) squared distances, if they are known.
        """
        n, halved = len(self.values), self.half.any()
        step = max(1, BLOCK_ENTRIES // n)
        for start in range(0, n, step):
            rows = slice(start, start + step)
            if squared is None:
                nearness = self.values[rows] @ self.values.T
                nearness = np.subtract(nearness, self.half, out=nearness) if halved else nearness
            else:
                nearness = squared[rows] * -0.5
                nearness += self.half[rows, None]
            self.exclude(nearness, start)
            yield nearness

    def exclude(self, nearness: np.ndarray, start: int) -> None:
        """Sets a block of all columns to -inf for a row itself, unless `own`, and its group."""
        rows = np.arange(len(nearness))
        itself = nearness[rows, rows + start] if self.own else -np.inf
        self.exclude_groups(nearness, slice(start, start + len(nearness)), slice(None))
        nearness[rows, rows + start] = itself

    def exclude_groups(self, nearness: np.ndarray, rows: slice, columns: slice) -> None:
        """Sets the nearness of some rows and columns to -inf where both are of one group."""
        if self.groups is not None:
            nearness[self.groups[rows, None] == self.groups[columns]] = -np.inf

    @property
    def unit(self) -> float:
        """The share of its size by which nearness may be off."""
        return 4 * (4 + np.sqrt(self.rows.shape[1])) * 2.0**-53

    def row_tolerance(self) -> np.ndarray:
        """Returns (n,) the largest `tolerance` of each row."""
        norms = np.sqrt(self.squares)
        return self.unit * (norms * norms.max() + self.half + self.half.max())

    def tolerance(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Returns how far apart the nearness of rows i and j and an equal one may be computed."""
        norms = np.sqrt(self.squares)
        return self.unit * (norms[i] * norms[j] + self.half[i] + self.half[j])

    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Returns the nearness of pairs of rows in float64."""
        return row_products(self.rows, i, j) - self.half[j]


def _values(rows: Rows, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows (n, d) and their squared norms (n,), these in float64."""
    if dtype == np.float32:
        return rows.float32()
    values = rows.take(slice(0, len(rows)))
    return values, np.einsum("ij,ij->i", values, values)


def _mean_square(values: np.ndarray) -> float:
    mean = values.mean(axis=0, dtype=np.float64)
    return float(mean @ mean)


def row_products(x: Rows, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Returns the inner products of the rows i and j, in float64."""
    step = max(1, BLOCK_ENTRIES // x.shape[1] // 4)
    found = np.empty(len(i))
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        np.einsum("ij,ij->i", x.take(i[part]), x.take(j[part]), out=found[part])
    return found


def check_groups(groups: np.ndarray | None, n: int, k: int) -> None:
    """Raises MetricError unless each of n rows has k rows of other groups.

    Args:
        groups: (n,) integers, or None: every row is a group of its own.
        n: number of rows.
        k: number of neighbours.
    """
    if groups is None:
        return
    if groups.shape != (n,):
        raise MetricError(
            f"groups have shape {groups.shape}, and there are {n} rows; give each row one group"
        )
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    others = n - sizes[group]
    if others.min() < k:
        row = int(np.argmin(others))
        raise MetricError(
            f"row {row} has {others[row]} rows of other groups than its own ({groups[row]}), and "
            f"k = {k} neighbours need as many; take a smaller k, or more samples of other groups"
        )
