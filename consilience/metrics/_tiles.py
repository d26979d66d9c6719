"""Kernels in tiles: what the all-pairs pass needs of one model, and what it makes of its sums.

The pass (`consilience.similarity.tiles`) walks blocks of the matrix over pairs of samples, all
models at once, in float32 with sums in float64; no matrix over all pairs of samples ever exists.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from consilience.errors import MetricError
from consilience.metrics._kernels import near_center
from consilience.metrics._moments import CUBE_SAMPLES, Moments, tuples

BINS = 2**16
"""Ranks are counted in so many equal steps; values in one step count as tied (error below 1e-6)."""


@dataclass(frozen=True)
class TileForm:
    """One model in the pass: the entry of samples i, j is apply(left[i] · right[j])."""

    left: np.ndarray
    """(n, w) float32."""
    right: np.ndarray
    """(n, w) float32; the same array as `left` where the entry is their inner product."""
    apply: Callable[[np.ndarray], None] | None = None
    """Turns products into entries, in place."""
    diagonal: np.ndarray | None = None
    """(n,) float64 entries of samples with themselves, where they count."""
    ranked: bool = False
    """Whether entries are replaced by their ranks among all pairs."""
    cubes: tuple[float, ...] = ()
    """Third-order sums of the unit vector of a part of the samples, scaled up to all."""


@dataclass(frozen=True)
class TileSums:
    """Sums of one model over pairs of different samples, both orders: entries and squares."""

    rows: np.ndarray
    """(n,) float64 row sums off the diagonal."""
    squares: float
    diagonal: np.ndarray | None
    cubes: tuple[float, ...]


def gram_form(x: np.ndarray, **more: object) -> TileForm:
    """Returns the form whose entries are the inner products of the rows of x: (n, d)."""
    rows = np.ascontiguousarray(x, dtype=np.float32)
    return TileForm(rows, rows, **more)


def distance_form(x: np.ndarray, apply: Callable[[np.ndarray], None], **more: object) -> TileForm:
    """Returns the form whose products are minus half the squared distances of the rows of x."""
    x = near_center(x)
    half = -0.5 * np.einsum("ij,ij->i", x, x)[:, None]
    one = np.ones_like(half)
    left = np.concatenate([x, half, one], axis=1).astype(np.float32)
    right = np.concatenate([x, one, half], axis=1).astype(np.float32)
    return TileForm(left, right, apply, **more)


def exponential(scale: float) -> Callable[[np.ndarray], None]:
    """Returns the map of -d²/2 to exp(-d² / 2σ²), scale = 1/σ²."""

    def apply(tile: np.ndarray) -> None:
        tile *= np.float32(scale)
        np.minimum(tile, 0, out=tile)
        np.exp(tile, out=tile)

    return apply


def laplacian(scale: float) -> Callable[[np.ndarray], None]:
    """Returns the map of -d²/2 to exp(-d / σ), scale = 1/σ."""

    def apply(tile: np.ndarray) -> None:
        distance(tile)
        tile *= np.float32(-scale)
        np.exp(tile, out=tile)

    return apply


def distance(tile: np.ndarray) -> None:
    """Turns -d²/2 into d, in place."""
    tile *= -2
    np.maximum(tile, 0, out=tile)
    np.sqrt(tile, out=tile)


def squared_distance(tile: np.ndarray) -> None:
    """Turns -d²/2 into d², in place."""
    tile *= -2
    np.maximum(tile, 0, out=tile)


def part(n: int) -> np.ndarray:
    """Returns the samples from which third-order sums are taken."""
    return np.linspace(0, n - 1, min(n, CUBE_SAMPLES)).round().astype(int)


def scaled_cubes(moments: Moments, n: int) -> tuple[float, ...]:
    """Returns the third-order sums of a unit vector over n samples from those over m of them."""
    m = moments.n
    shrink = (m * (m - 1) / (n * (n - 1))) ** 1.5  # entries of a unit vector get smaller
    return tuple(shrink * c * tuples(n, v) / tuples(m, v) for c, v in moments.with_vertices())


def debiased_product(n: int, product: float, a: TileSums, b: TileSums) -> float:
    """Returns ⟨Ã, B̃⟩ of U-centred matrices from Σ a b off the diagonal."""
    total = a.rows.sum() * b.rows.sum() / ((n - 1) * (n - 2))
    return product + total - 2 * float(a.rows @ b.rows) / (n - 2)


def biased_product(n: int, product: float, a: TileSums, b: TileSums) -> float:
    """Returns ⟨HAH, HBH⟩ from Σ a b off the diagonal and the diagonals."""
    rows_a, rows_b = a.rows + a.diagonal, b.rows + b.diagonal
    product += float(a.diagonal @ b.diagonal)
    return product - 2 * float(rows_a @ rows_b) / n + rows_a.sum() * rows_b.sum() / n**2


def centred_product(n: int, product: float, a: TileSums, b: TileSums) -> float:
    """Returns Σ (a - ā)(b - b̄) off the diagonal."""
    return product - a.rows.sum() * b.rows.sum() / (n * (n - 1))


def raw_product(n: int, product: float, a: TileSums, b: TileSums) -> float:
    """Returns Σ a b off the diagonal."""
    return product


Product = Callable[[int, float, TileSums, TileSums], float]


def norm(n: int, sums: TileSums, product: Product, reason: str) -> float:
    """Returns the norm of the centred entries.

    Raises:
        MetricError: with `reason`, if only the rounding of float32 is left of it.
    """
    square = product(n, sums.squares, sums, sums)
    if not square > 1e-11 * sums.squares:
        raise MetricError(reason)
    return float(np.sqrt(square))


def debiased_moments(n: int, sums: TileSums) -> Moments:
    """Returns the null sums of a unit vector of U-centred entries: the same for all kernels."""
    return Moments(n, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, sums.cubes)


def biased_moments(n: int, sums: TileSums, length: float) -> Moments:
    """Returns the null sums of a unit vector of entries with centred rows and columns."""
    rows = sums.rows + sums.diagonal
    p = (sums.diagonal - 2 * rows / n + rows.sum() / n**2) / length
    # rows of the whole sum to 0: what the diagonal lacks stands off it
    mean = -p.sum() / (n * (n - 1))
    r = -p - (n - 1) * mean
    squares = 1 - float(p @ p) - n * (n - 1) * mean**2
    spread = float(r @ r)
    loops = (float(p.sum()), float(p @ p), float(2 * p @ r))
    return Moments(n, mean, squares, squares, spread, spread, spread, sums.cubes, loops)


def pair_moments(n: int, sums: TileSums, length: float, *, centred: bool) -> Moments:
    """Returns the null sums of a unit vector of entries that are centred as a whole, or not."""
    mean = sums.rows.sum() / (n * (n - 1))
    r = (sums.rows - (n - 1) * mean) / length
    squares = centred_product(n, sums.squares, sums, sums) / length**2
    spread = float(r @ r)
    level = 0.0 if centred else mean / length
    return Moments(n, level, squares, squares, spread, spread, spread, sums.cubes)
