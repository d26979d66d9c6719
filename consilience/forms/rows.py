"""Features read a few rows at a time: in float64 while they are worked on, never whole in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from consilience.errors import ConfigError, MetricError

ENTRIES = 2**16
"""Entries of a block: half a megabyte in float64, which stays in the cache."""

SINGLE = 8 * 2.0**-23
"""Differences below this share of the largest value are rounding where values are float32."""

RowMap = Callable[[np.ndarray, int], np.ndarray]
"""Makes new rows of some rows (m, d), each on its own; the number is that of the first one."""


class Rows:
    """Features (n, d) with what is done to each row before a metric, done when rows are asked for.

    Blocks have the same rows whatever the threads and the memory, so sums over them do not depend
    on these.
    """

    def __init__(self, x: np.ndarray, *maps: RowMap) -> None:
        self.raw, self._maps = x, maps
        self.shape = x.shape

    @classmethod
    def of(cls, x: "np.ndarray | Rows") -> "Rows":
        """Returns features, given as an array or as rows, as rows."""
        return x if isinstance(x, Rows) else cls(x)

    def __len__(self) -> int:
        return self.shape[0]

    def then(self, row_map: RowMap) -> "Rows":
        """Returns the rows after one more map."""
        return Rows(self.raw, *self._maps, row_map)

    def take(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the float64 copy of some rows."""
        block = self.raw[rows].astype(np.float64)
        first = (rows.start or 0) if isinstance(rows, slice) else 0
        for row_map in self._maps:
            block = row_map(block, first)
        return block

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields all rows in float64, some at a time, with their place."""
        n, d = self.shape
        step = max(1, ENTRIES // d)
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            yield rows, self.take(rows)

    def largest(self) -> float:
        """Returns the largest |x|."""
        if not self._maps:
            return float(max(self.raw.max(), -self.raw.min()))
        return max(float(max(block.max(), -block.min())) for _, block in self.blocks())

    def scaled(self) -> "Rows":
        """Returns the rows divided by a power of two so that the largest entry is in [0.5, 1)."""
        largest = self.largest()
        if largest == 0:
            return self
        exponent = -int(np.frexp(largest)[1])
        if exponent == 0:
            return self
        if abs(exponent) > 1000:  # the factor itself would not be a number
            return self.then(lambda block, _: np.ldexp(block, exponent, out=block))
        return self.then(lambda block, _: np.multiply(block, 2.0**exponent, out=block))

    def means(self) -> np.ndarray:
        """Returns the column means (d,)."""
        total = np.zeros(self.shape[1])
        for _, block in self.blocks():
            total += block.sum(axis=0)
        return total / len(self)

    def less(self, shift: np.ndarray) -> "Rows":
        """Returns the rows minus one vector (d,)."""
        return self.then(lambda block, _: np.subtract(block, shift, out=block))

    def centered(self) -> "Rows":
        """Returns the rows divided by a power of two, minus their mean."""
        rows = self.scaled()
        return rows.less(rows.means())

    def near_center(self) -> "Rows":
        """Returns the rows minus their mean, rounded as by `kernels.near_center`."""
        x, largest, before = self, self.largest(), np.inf
        while 0 < largest < FAR * before:
            x = x.less(coarse(x.means(), largest))
            if np.abs(x.take(slice(0, 64))).max() >= FAR * largest:  # as a rule, some rows tell
                return x
            before, largest = largest, x.largest()
        return x

    def float32(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows (n, d) in float32, and their squared norms (n,) in float64."""
        found, squares = np.empty(self.shape, dtype=np.float32), np.empty(len(self))
        for rows, block in self.blocks():
            found[rows] = block
            squares[rows] = np.einsum("ij,ij->i", block, block)
        return found, squares


FAR = 2.0**-8
"""Means are far from zero if they exceed what is left without them so many times."""


def coarse(means: np.ndarray, largest: float) -> np.ndarray:
    """Returns the means (d,) of features rounded to 12 bits below their largest entry."""
    exponent = 12 - int(np.frexp(largest)[1])
    return np.ldexp(np.rint(np.ldexp(means, exponent)), -exponent)


def rounding(x: np.ndarray) -> float:
    """Returns the share of the largest |x| below which differences in x: (n, d) are rounding.

    It is that of the narrowest type that holds the values: bfloat16, float16, float32 or float64.
    Whole numbers and steps of up to 8 bits are exact, so they count as float64. Some rows tell.
    """
    some = np.asarray(x[:64], dtype=float)
    exact = 64 * np.finfo(float).eps
    steps = np.ldexp(some, 8 - int(np.frexp(np.abs(some).max())[1]))
    if any(np.array_equal(values, np.rint(values)) for values in (some, steps)):
        return exact
    with np.errstate(over="ignore", under="ignore"):
        single = some.astype(np.float32)
        if not np.array_equal(single, some):
            return exact
        if not (single.view(np.uint32) & 0xFFFF).any():
            return 2 * 2.0**-7
        return 2 * 2.0**-10 if np.array_equal(single.astype(np.float16), single) else SINGLE


def unit_rounding(x: np.ndarray) -> float:
    """Returns `rounding` as it holds for a single unit or row: never more than that of float32.

    The few steps that a half-precision value takes may be all that it says.
    """
    return min(rounding(x), SINGLE)


def unit_rows(x: np.ndarray, first: int = 0) -> np.ndarray:
    """Returns x: (n, d) with every row divided by its Euclidean norm; a zero row is an error.

    Args:
        x: the rows.
        first: number of the first row, for the message.
    """
    largest = np.maximum(x.max(axis=1), -x.min(axis=1))[:, None]
    if (largest == 0).any():
        row = first + int(np.flatnonzero(largest == 0)[0])
        raise MetricError(f"row {row} is zero, so it has no direction")
    if largest.max() > 1e100 or largest.min() < 1e-100:  # squares would overflow or vanish
        x = x / largest
    return x / np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]


def centered_rows(x: np.ndarray, first: int = 0) -> np.ndarray:
    """Returns x: (n, d) with the mean of every row subtracted; a constant row is an error.

    Constant is what varies by no more than the rounding of its values.

    Args:
        x: the rows.
        first: number of the first row, for the message.
    """
    moved = x - x.mean(axis=1, keepdims=True)
    largest = np.maximum(x.max(axis=1), -x.min(axis=1))
    spread = np.maximum(moved.max(axis=1), -moved.min(axis=1))
    flat = spread <= SINGLE * largest
    if flat.any():  # which rounding it is takes as long as all the rest, and seldom matters
        flat = spread <= unit_rounding(x) * largest
    if flat.any():
        row = first + int(np.flatnonzero(flat)[0])
        raise MetricError(f"row {row} is constant over the units, so its correlation is undefined")
    return moved


@dataclass(frozen=True)
class Preprocessing:
    """What is done to features before any metric; recorded in every similarity table."""

    center: bool = False
    """Subtract the mean of each unit over the samples (before the rows are normalised)."""
    row_normalize: bool = False
    """Divide each row by its Euclidean norm."""
    clip: float | None = None
    """Quantile of the absolute values to which larger ones are cut (done first)."""

    def __post_init__(self) -> None:
        if self.clip is not None and not 0 < self.clip < 1:
            raise ConfigError(f"clip is {self.clip}; it is a quantile between 0 and 1, or null")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the preprocessed copy of x: (n, d).

        Raises:
            MetricError: a zero row cannot be normalised, or clipping would leave nothing.
        """
        if self.clip is not None:
            x = clip_outliers(x, self.clip)
        if self.center:
            x = x - x.mean(axis=0)
        if self.row_normalize:
            x = unit_rows(x)
        return x

    def rows(self, x: np.ndarray) -> Rows:
        """Returns the preprocessed rows of x: (n, d), made when they are asked for."""
        rows = Rows(x if self.clip is None else clip_outliers(x, self.clip))
        if self.center:
            rows = rows.less(rows.means())
        return rows.then(unit_rows) if self.row_normalize else rows


def clip_outliers(x: np.ndarray, quantile: float) -> np.ndarray:
    """Returns x: (n, d) cut to [-t, t], t its ⌊quantile · nd⌋-th smallest absolute value."""
    sizes = np.abs(x).ravel()
    rank = max(int(quantile * sizes.size), 1)
    t = np.partition(sizes, rank - 1)[rank - 1]
    if t == 0:
        raise MetricError(f"clipping at quantile {quantile} leaves nothing: so many values are 0")
    return np.clip(x, -t, t)
