"""Moments of Σ aᵢⱼ b_π(i)π(j) over all permutations π, from sums of each side alone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from consilience.forms.dominance import Peaks, peaks_of
from consilience.forms.loops import LOOP_VERTICES, LOOP_WAYS, loop_meetings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MATRIX_CUBE_SAMPLES = 768
"""Third-order sums of a whole matrix are taken from so many of the samples, if there are more: they
cost their cube."""
TILE_CUBE_SAMPLES = 512
"""The same in the tiled pass, where the matrix is made for this alone."""


@dataclass(frozen=True)
class Moments:
    """Sums over a matrix (n, n) with an extra diagonal p (n,), off-diagonal mean removed."""

    n: int
    mean: float
    """The off-diagonal mean μ; the sums below are of a - μ, off the diagonal."""
    squares: float
    """Σ a²."""
    transposed: float
    """Σ aᵢⱼ aⱼᵢ."""
    rows: float
    """Σ r², r the row sums."""
    columns: float
    """Σ c², c the column sums."""
    crossed: float
    """Σ r c."""
    cubes: tuple[float, ...]
    """Sums over the ways in which three edges can meet, and then, with a diagonal, those in which
    edges and up to three loops can; empty: skewness taken as 0."""
    diagonal: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Σ p, Σ p², Σ p (r + c)."""
    peaks: Peaks = ()
    """What the samples that hold most of it hold, see `peaks_of`; empty: not known."""
    edge: float = 0.0
    """The largest |a|, as far as it lies in rows of large squares."""

    @classmethod
    def of_symmetric(cls, a: np.ndarray, diagonal: np.ndarray | None = None) -> "Moments":
        """Returns the sums of a symmetric matrix a: (n, n) whose diagonal is not used.

        `diagonal` (n,) holds p where the statistic also has a term Σ pᵢ q_π(i).
        """
        n = len(a)
        a = np.array(a, dtype=np.float64)
        np.fill_diagonal(a, 0)
        mean = a.sum() / (n * (n - 1))
        a -= mean
        np.fill_diagonal(a, 0)
        rows = a.sum(axis=1)
        squares = float(np.vdot(a, a))
        spread = float(rows @ rows)
        loops = (0.0, 0.0, 0.0)
        if diagonal is not None:
            loops = (float(diagonal.sum()), float(diagonal @ diagonal), float(2 * diagonal @ rows))
        peaks = peaks_of(np.einsum("ij,ij->i", a, a), rows, diagonal)
        cubes = _cubes(a, diagonal)
        edge = float(max(a.max(), -a.min()))
        return cls(n, mean, squares, squares, spread, spread, spread, cubes, loops, peaks, edge)

    @classmethod
    def of_lists(cls, neighbors: np.ndarray) -> "Moments":
        """Returns the sums of the indicator matrix of neighbour lists (n, k).

        Its third moment is that of its symmetric part, which holds most of it.
        """
        n, k = neighbors.shape
        mean = k / (n - 1)
        codes = neighbors + n * np.arange(n)[:, None]
        back = neighbors * n + np.arange(n)[:, None]
        mutual = np.isin(codes.ravel(), back.ravel(), assume_unique=True).sum()
        squares = n * k * (1 - mean)
        transposed = float(mutual) - 2 * mean * n * k + n * (n - 1) * mean**2
        columns = np.bincount(neighbors.ravel(), minlength=n) - k
        cubes = _list_cubes(neighbors, mean)
        # of the symmetric part: rows and columns each hold half of it
        peaks = peaks_of((2 * k + columns) / 4, columns / 2)
        ends = (0.0, float(columns @ columns), 0.0)
        return cls(n, mean, squares, transposed, *ends, cubes, peaks=peaks)

    def with_vertices(self) -> Iterator[tuple[float, int]]:
        """Yields the third-order sums, each with its number of distinct samples."""
        return zip(self.cubes, CUBE_VERTICES, strict=False)  # those with a diagonal come last

    def scaled(self, factor: float) -> "Moments":
        """Returns the sums of the matrix times a factor."""
        square, (p, p2, pr) = factor**2, self.diagonal
        return replace(
            self,
            mean=factor * self.mean,
            squares=square * self.squares,
            transposed=square * self.transposed,
            rows=square * self.rows,
            columns=square * self.columns,
            crossed=square * self.crossed,
            cubes=tuple(factor**3 * cube for cube in self.cubes),
            diagonal=(factor * p, square * p2, square * pr),
            peaks=tuple((square * a, factor * p, factor * r) for a, p, r in self.peaks),
            edge=abs(factor) * self.edge,
        )


def _cubes(a: np.ndarray, p: np.ndarray | None) -> tuple[float, ...]:
    """Returns the sums over three edges of a hollow symmetric matrix a: (n, n) with sum 0.

    With a diagonal p (n,), those of edges and loops follow.

    Means over distinct samples have no bias in a part of them, so for many samples they are taken
    from evenly spaced ones.
    """
    chosen = cube_samples(len(a))
    if len(chosen) == len(a):
        return cubes_of_some(a, len(a), p)
    return cubes_of_some(a[np.ix_(chosen, chosen)], len(a), None if p is None else p[chosen])


def cube_samples(n: int) -> np.ndarray:
    """Returns those of n samples that third-order sums are taken from."""
    m = min(n, MATRIX_CUBE_SAMPLES)
    return np.linspace(0, n - 1, m).round().astype(int)


def cubes_of_some(a: np.ndarray, n: int, p: np.ndarray | None = None) -> tuple[float, ...]:
    """Returns the sums over three edges of n samples from some of them.

    Args:
        a: (m, m) the entries of m evenly spaced samples, a hollow symmetric matrix; if they are
            all, with sum 0.
        n: number of samples.
        p: (m,) their diagonal, or None.
    """
    m = len(a)
    if n > m:
        a = a - a.sum() / (m * (m - 1))
        np.fill_diagonal(a, 0)
    r, square = a.sum(axis=1), a * a
    q, triangle = square.sum(axis=1), float(np.vdot(a @ a, a))
    sums = _meetings(float(np.vdot(square, a)), r, q, r @ (a @ r), triangle)
    if p is not None:
        sums += loop_meetings(a, r, q, p - p.mean())
    shares = [tuples(n, v) / tuples(m, v) if n > m else 1.0 for v in CUBE_VERTICES]
    return tuple(share * cube for share, cube in zip(shares, sums, strict=False))


def tuples(n: int, vertices: int) -> float:
    """Returns the number of ordered choices of distinct samples."""
    return float(np.prod(n - np.arange(vertices), dtype=float))


def _list_cubes(neighbors: np.ndarray, mean: float) -> tuple[float, ...]:
    """Returns the sums over three edges of (A + Aᵀ) / 2 - mean for neighbour lists (n, k)."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import, and plans need no null

    n, k = neighbors.shape
    starts = np.arange(0, n * k + 1, k)
    return sparse_cubes(csr_array((np.ones(n * k), neighbors.ravel(), starts), shape=(n, n)), mean)


def sparse_cubes(lists: "csr_array", mean: float) -> tuple[float, ...]:
    """Returns the sums over three edges of (A + Aᵀ) / 2 - mean for a sparse matrix A (n, n)."""
    n = lists.shape[0]
    lists = lists / 2
    a = (lists + lists.T).tocsr()
    square = a.multiply(a).tocsr()
    rows, q = a.sum(axis=1), square.sum(axis=1)
    # sums of a - mean off the diagonal, from those of a
    r = rows - (n - 1) * mean
    total, triple = float(rows.sum()), float(square.multiply(a).sum())
    triple += -3 * mean * float(q.sum()) + 3 * mean**2 * total - mean**3 * n * (n - 1)
    triangle = float(a.multiply(a @ a).sum()) - 3 * mean * float(rows @ rows - q.sum())
    triangle += 3 * mean**2 * (n - 2) * total - mean**3 * n * (n - 1) * (n - 2)
    q = q - 2 * mean * rows + (n - 1) * mean**2
    return _meetings(triple, r, q, r @ (a @ r) + mean * (r @ r), triangle)


def _meetings(
    triple: float, r: np.ndarray, q: np.ndarray, rar: float, triangle: float
) -> tuple[float, ...]:
    """Returns Σ aaa over distinct vertices of each graph of three edges; a is hollow, with sum 0.

    In order: triple edge, double edge and a neighbour, double edge and another edge, triangle,
    path, star, path of two and another edge, three edges apart.

    Args:
        triple: Σ a³.
        r: row sums (n,).
        q: row sums of squares (n,).
        rar: rᵀ a r.
        triangle: tr a³.
    """
    rq, r3 = float(r @ q), float((r**3).sum())
    beside = rq - triple
    apart = -4 * rq + 2 * triple
    path = float(rar) - 2 * rq + triple - triangle
    star = r3 - 3 * rq + 2 * triple
    split = -4 * float(rar) - 2 * r3 + 10 * rq - 4 * triple + 2 * triangle
    known = 4 * triple + 24 * beside + 6 * apart + 8 * triangle + 24 * path + 8 * star + 12 * split
    return (triple, beside, apart, triangle, path, star, split, -known)


CUBE_WAYS = (4, 24, 6, 8, 24, 8, 12, 1, *LOOP_WAYS)
CUBE_VERTICES = (2, 3, 4, 3, 4, 4, 5, 6, *LOOP_VERTICES)


def null_moments(a: Moments, b: Moments) -> tuple[float, float, float]:
    """Returns mean, variance and skewness of Σ aᵢⱼ b_π(i)π(j) + Σ pᵢ q_π(i) over permutations π.

    Mean and variance are exact (Mantel 1967; with a diagonal, Kazi-Aoual et al. 1995). So is the
    third moment, up to the sample in `_cubes`.
    """
    n = a.n
    edges = n * (n - 1)
    mean = a.mean * b.mean * edges + a.diagonal[0] * b.diagonal[0] / n
    second = (a.squares * b.squares + a.transposed * b.transposed) / edges
    if n > 2:
        second += (
            (a.rows - a.squares) * (b.rows - b.squares)
            + (a.columns - a.squares) * (b.columns - b.squares)
            + 2 * (a.crossed - a.transposed) * (b.crossed - b.transposed)
        ) / (edges * (n - 2))
    if n > 3:
        second += _apart(a) * _apart(b) / (edges * (n - 2) * (n - 3))
    variance = second + _diagonal_variance(a, b)
    return mean, variance, _skewness(a, b, variance)


def _apart(m: Moments) -> float:
    return m.squares + m.transposed - m.rows - m.columns - 2 * m.crossed


def _diagonal_variance(a: Moments, b: Moments) -> float:
    """Returns Var(D) + 2 Cov(D, S) for the diagonal part D and the off-diagonal part S."""
    n = a.n
    (p1, p2, pr), (q1, q2, qs) = a.diagonal, b.diagonal
    variance = (p2 - p1 * p1 / n) * (q2 - q1 * q1 / n) / (n - 1)
    # Σ p r + Σ p c enter alike for symmetric matrices, the only ones with a diagonal
    covariance = pr * qs / (2 * n * (n - 1))
    if n > 2:
        covariance += pr * qs / (n * (n - 1) * (n - 2))
    return variance + 2 * covariance


def _skewness(a: Moments, b: Moments, variance: float) -> float:
    if not a.cubes or not b.cubes or variance <= 0:
        return 0.0
    third = 0.0
    # where one side has no diagonal, loops meet nothing
    for x, y, ways, vertices in zip(a.cubes, b.cubes, CUBE_WAYS, CUBE_VERTICES, strict=False):
        if a.n >= vertices:
            third += ways * x * y / tuples(a.n, vertices)
    return third / variance**1.5
