"""Kernels in tiles: what the all-pairs pass needs of one model, and what it makes of its sums.

The pass (`consilience.similarity.engine.tiles`) walks blocks of the matrix over pairs of samples,
all models at once, in float32 with sums in float64; no matrix over all pairs of samples ever
exists.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from consilience.errors import MetricError
from consilience.forms.dominance import peaks_of
from consilience.forms.groups import Between
from consilience.forms.heavy import Heavy, heavy_energy
from consilience.forms.moments import TILE_CUBE_SAMPLES, Moments, tuples
from consilience.forms.rows import Rows
from consilience.forms.units import Units, UnitSample

BINS = 2**16
"""Ranks are counted in so many equal steps; values in one step count as tied (error below 1e-6)."""


@dataclass(frozen=True)
class TileForm:
    """One model in the pass: the entry of samples i, j is apply(xᵢ · xⱼ - hᵢ - hⱼ) - oᵢ - oⱼ."""

    rows: np.ndarray
    """x: (n, d) float32."""
    half: np.ndarray | None = None
    """h: (n,) float32 half squared norms, which make of products minus half the distances."""
    apply: Callable[[np.ndarray], None] | None = None
    """Turns them into entries, in place."""
    diagonal: np.ndarray | None = None
    """(n,) float64 entries of samples with themselves, where they count."""
    offsets: np.ndarray | None = None
    """o: (n,) float32."""
    ranked: bool = False
    """Whether entries are replaced by their ranks among all pairs."""
    cubes: tuple[float, ...] = ()
    """Third-order sums of the unit vector of a part of the samples, scaled up to all."""
    heavy: Heavy | None = None
    """The rows of the matrix that may hold most of it, see `heavy_rows`."""
    units: Units | None = None
    """The units of a linear kernel as a sample; None: too few, or another kernel."""

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return self.rows.nbytes

    def entries(
        self, rows: slice | np.ndarray, columns: slice | np.ndarray, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns the entries of some rows and columns, written into `out` if it is given."""
        block = self.products(rows, columns, out)
        self.finish(block, rows, columns)
        return block

    def products(
        self, rows: slice | np.ndarray, columns: slice | np.ndarray, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns what entries are made of: forms with the same `x` and `h` share it."""
        left, right = self.rows[rows], self.rows[columns]
        block = _library(left).matmul(left, right.T, out=out)
        if self.half is not None:
            block -= self.half[rows, None]
            block -= self.half[columns]
        return block

    def finish(
        self, block: np.ndarray, rows: slice | np.ndarray, columns: slice | np.ndarray
    ) -> None:
        """Turns products into entries, in place."""
        if self.apply is not None:
            self.apply(block)
        if self.offsets is not None:
            block -= self.offsets[rows, None]
            block -= self.offsets[columns]


def write_entries(
    forms: Sequence[TileForm], rows: slice, columns: slice, blocks: Sequence[Any]
) -> None:
    """Writes the entries of forms with the same `x` and `h`, whose products are made once.

    Args:
        forms: the K kernels of a model.
        rows: samples.
        columns: samples.
        blocks: K arrays or tensors, one for each form.
    """
    *others, last = blocks
    forms[-1].products(rows, columns, last)
    for form, block in zip(forms, others, strict=False):  # all but the last
        block[...] = last
        form.finish(block, rows, columns)
    forms[-1].finish(last, rows, columns)


@dataclass(frozen=True)
class TileSums:
    """Sums of one model over pairs of different samples, both orders: entries and squares."""

    rows: np.ndarray
    """(n,) float64 row sums off the diagonal."""
    squares: float
    diagonal: np.ndarray | None
    cubes: tuple[float, ...]
    heavy: Heavy | None = None
    units: Units | None = None


def gram_form(x: Rows, **more: object) -> TileForm:
    """Returns the form of the inner products of the rows of x: (n, d)."""
    return TileForm(x.float32()[0], **more)


def distance_form(x: Rows, apply: Callable[[np.ndarray], None] | None, **more: object) -> TileForm:
    """Returns the form whose entries are made of minus half the squared distances of the rows."""
    rows, squares = x.near_center().float32()
    return TileForm(rows, (squares / 2).astype(np.float32), apply, **more)


def _library(tile: Any) -> Any:  # noqa: ANN401
    """Returns NumPy, or PyTorch for its tensors: both call these functions alike."""
    return np if isinstance(tile, np.ndarray) else sys.modules["torch"]


def exponential(variance: float) -> Callable[[np.ndarray], None]:
    """Returns the map of -d²/2 to exp(-d² / 2σ²)."""

    def apply(tile: np.ndarray) -> None:
        tile *= float(1 / variance)
        _library(tile).clip(tile, None, 0, out=tile)
        _library(tile).exp(tile, out=tile)

    return apply


def laplacian(variance: float) -> Callable[[np.ndarray], None]:
    """Returns the map of -d²/2 to exp(-d / σ)."""

    def apply(tile: np.ndarray) -> None:
        distance(tile)
        tile *= float(-1 / np.sqrt(variance))
        _library(tile).exp(tile, out=tile)

    return apply


def one_minus(tile: np.ndarray) -> None:
    """Turns similarities s into dissimilarities 1 - s, in place."""
    tile *= -1
    tile += 1


def less(form: TileForm) -> TileForm:
    """Returns the form with its mean entry, as some rows give it, subtracted.

    Centring removes it anyway, but of a small difference of large sums little would be left.
    """
    n = len(form.rows)
    some = np.linspace(0, n - 1, min(n, 64)).round().astype(int)
    block = form.entries(some, slice(0, n))
    mean = float(
        (block.sum(dtype=float) - block[np.arange(len(some)), some].sum())
        / (block.size - len(some))
    )
    if abs(mean) < 0.1 * np.abs(block).max():
        return form
    inner = form.apply

    def apply(tile: np.ndarray) -> None:
        if inner is not None:
            inner(tile)
        tile -= mean

    diagonal = None if form.diagonal is None else form.diagonal - mean
    return replace(form, apply=apply, diagonal=diagonal)


def less_rows(form: TileForm) -> TileForm:
    """Returns the form with estimates of its row means subtracted from rows and columns.

    Centring of rows and columns removes them, and in distances of features with outliers they are
    most of what there is.
    """
    n = len(form.rows)
    some = np.linspace(0, n - 1, min(n, 64)).round().astype(int)
    block = form.entries(slice(0, n), some)
    means = block.mean(axis=1, dtype=float)
    return replace(form, offsets=(means - means.mean() / 2).astype(np.float32))


def median_variance(x: Rows) -> float:
    """Returns the lower median of the non-zero squared distances of the rows of x: (n, d)."""
    form = distance_form(x, squared_distance)
    n, step = len(x), 256
    found = np.empty(n * (n - 1) // 2, dtype=np.float32)
    end = 0
    for top in range(0, n, step):
        block = form.entries(slice(top, min(top + step, n)), slice(top, n))
        above = block[~np.tri(*block.shape, dtype=bool)]
        above = above[above > 0]
        found[end : end + len(above)] = above
        end += len(above)
    middle = (end - 1) // 2
    return float(np.partition(found[:end], middle)[middle])


def distance(tile: np.ndarray) -> None:
    """Turns -d²/2 into d, in place."""
    squared_distance(tile)
    _library(tile).sqrt(tile, out=tile)


def squared_distance(tile: np.ndarray) -> None:
    """Turns -d²/2 into d², in place."""
    tile *= -2
    _library(tile).clip(tile, 0, None, out=tile)


def kernel_form(x: Rows, kernel: str, sigma: float | str) -> TileForm:
    """Returns the form of `consilience.forms.kernels.kernel_matrix`."""
    if kernel == "linear":
        rows, squares = x.centered().float32()
        return TileForm(rows, diagonal=squares)
    if sigma == "median":
        x = x.scaled()
    variance = median_variance(x) if sigma == "median" else float(sigma) ** 2
    apply = laplacian(variance) if kernel == "laplace" else exponential(variance)
    return less(distance_form(x, apply, diagonal=np.ones(len(x))))


def cube_samples(n: int) -> np.ndarray:
    """Returns the samples from which third-order sums are taken."""
    return np.linspace(0, n - 1, min(n, TILE_CUBE_SAMPLES)).round().astype(int)


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


def debiased_moments(n: int, sums: TileSums, length: float) -> Moments:
    """Returns the null sums of a unit vector of U-centred entries: the same for all kernels."""
    back = sums.rows.sum() / ((n - 1) * (n - 2))
    energy, edge = heavy_energy(sums, length, sums.rows / (n - 2), back)
    peaks = peaks_of(energy, np.zeros(n))
    return Moments(n, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, sums.cubes, peaks=peaks, edge=edge)


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
    energy, edge = heavy_energy(sums, length, rows / n, rows.sum() / n**2 - mean * length)
    ends = (sums.cubes, loops, peaks_of(energy, r, p), edge)
    return Moments(n, mean, squares, squares, spread, spread, spread, *ends)


def pair_moments(n: int, sums: TileSums, length: float, *, centred: bool) -> Moments:
    """Returns the null sums of a unit vector of entries that are centred as a whole, or not."""
    mean = sums.rows.sum() / (n * (n - 1))
    r = (sums.rows - (n - 1) * mean) / length
    squares = centred_product(n, sums.squares, sums, sums) / length**2
    spread = float(r @ r)
    level = 0.0 if centred else mean / length
    energy, edge = heavy_energy(sums, length, np.zeros(n), -mean)
    ends = {"peaks": peaks_of(energy, r), "edge": edge}
    return Moments(n, level, squares, squares, spread, spread, spread, sums.cubes, **ends)


@dataclass(frozen=True)
class Centring:
    """How entries are centred, and so what products and nulls come of the sums."""

    product: Callable[[int, float, TileSums, TileSums], float]
    moments: Callable[[int, TileSums, float], Moments | None]
    """None where rows come in groups: the null is drawn."""

    def length(self, n: int, sums: TileSums) -> float:
        """Returns the norm of the centred entries.

        Raises:
            MetricError: only the rounding of float32 is left of it.
        """
        square = self.product(n, sums.squares, sums, sums)
        if not square > 1e-10 * sums.squares:
            raise MetricError("all pairs of samples are equally alike, as far as float32 can tell")
        return float(np.sqrt(square))


CENTRINGS = {
    "debiased": Centring(debiased_product, debiased_moments),
    "biased": Centring(biased_product, biased_moments),
    "pairs": Centring(centred_product, partial(pair_moments, centred=True)),
    "none": Centring(raw_product, partial(pair_moments, centred=False)),
}


def centring_of(name: str, groups: np.ndarray | None) -> Centring:
    """Returns a way to centre entries; with groups (n,) over pairs of different groups alone.

    Sums are then of these pairs. Debiased entries have row sums 0 over them (`Between.fit`).
    """
    if groups is None:
        return CENTRINGS[name]
    between = Between(groups)

    def debiased(n: int, product: float, a: TileSums, b: TileSums) -> float:
        return product - 2 * float(a.rows @ between.fit(b.rows))

    def pairs(n: int, product: float, a: TileSums, b: TileSums) -> float:
        return product - a.rows.sum() * b.rows.sum() / between.pairs

    products = {"debiased": debiased, "pairs": pairs, "none": raw_product}
    return Centring(products[name], lambda n, sums, length: None)


@dataclass(frozen=True)
class TileSide:
    """One side of a pair after the tiled pass: the sums of one model."""

    sums: TileSums
    length: float
    moments: Moments | None
    units: UnitSample | None = None

    @classmethod
    def of(cls, centring: Centring, n: int, sums: TileSums) -> "TileSide":
        """Returns the side that has these sums."""
        length = centring.length(n, sums)
        units = sums.units and sums.units.over(length)
        return cls(sums, length, centring.moments(n, sums, length), units)
