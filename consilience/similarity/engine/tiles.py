"""One pass over all pairs of samples for all models at once.

Values that are inner products over pairs of samples need, of all models, only the products of
every two and the row sums of each. The pass walks the upper triangle of the sample × sample plane
in tiles; of each it makes one row per model and adds rows × rowsᵀ. Work for M models of D units
in all: n² D multiply-adds over two for the entries, n² M² over two for the products, fewer where
only some are wanted; memory: the features in float32, and one tile per model. Tiles and the lengths
of the sums depend on n alone, so a value does not depend on the other models, on threads or on
memory.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from consilience.forms.groups import Between
from consilience.forms.heavy import Heavy
from consilience.forms.tiles import BINS, TileForm, TileSums, write_entries
from consilience.forms.units import Units
from consilience.similarity.shelf import Steps, read_at

ROWS, COLUMNS = 512, 512
"""Samples of a tile: a megabyte per model; matrix products of fewer rows are slower."""
INNER = 16_384
"""Products summed in float32 before float64 takes over: longer sums lose digits."""
STRETCH = 64
"""Entries of a column summed in float32: one after the other, not in pairs as along a row."""
LEAST_OTHERS = 8
"""Rows that products of some models with all are made of: fewer are summed in another order."""

Tile = tuple[slice, slice]


class Known(NamedTuple):
    """What a pass of an earlier run found of a model."""

    rows: np.ndarray
    """(n,) row sums off the diagonal."""
    squares: float
    """Sum of the squared entries off the diagonal."""


def tiles(n: int) -> Iterator[Tile]:
    """Yields the tiles of the upper triangle; those on the diagonal hold entries below it too."""
    for top in range(0, n, ROWS):
        for left in range(top, n, COLUMNS):
            yield slice(top, min(top + ROWS, n)), slice(left, min(left + COLUMNS, n))


@dataclass(frozen=True)
class TileModel:
    """One model as the pass needs it, with one or more kernels."""

    write: "Writer"
    diagonals: tuple[np.ndarray | None, ...] = (None,)
    cubes: tuple[tuple[float, ...], ...] = ((),)
    """For each kernel."""
    heavies: tuple[Heavy | None, ...] = (None,)
    samples: tuple[Units | None, ...] = (None,)
    units: int = 0
    """Of the features, which a tile costs."""
    known: Known | None = None
    """Of a model with one kernel; None: the pass finds it."""

    @classmethod
    def of(cls, forms: Sequence[TileForm]) -> "TileModel":
        """Returns the model whose entries are made of features, tile by tile.

        Args:
            forms: of its kernels; they have the same rows, whose products are taken once.
        """
        diagonals, cubes = (form.diagonal for form in forms), (form.cubes for form in forms)
        heavies, samples = (form.heavy for form in forms), (form.units for form in forms)
        given = (tuple(part) for part in (diagonals, cubes, heavies, samples))
        return cls(partial(_write, forms), *given, units=forms[0].rows.shape[1])


def tiled_sums(
    n: int,
    models: Sequence[TileModel],
    pool: Executor,
    groups: np.ndarray | None = None,
    squares: Sequence[Sequence[int]] | None = None,
    new: Sequence[int] = (),
) -> list[tuple[np.ndarray, list[TileSums]]]:
    """Returns for each kernel Σ a b off the diagonal of every two models, and their sums.

    Args:
        n: number of samples.
        models: the M models, with K kernels each.
        pool: shares models, and then stretches of a tile; BLAS should run on one thread.
        groups: (n,) pairs within one count as 0; None: all pairs count.
        squares: sets of models, each model in one at least, whose products are wanted; others are
            given as 0. None: all products are.
        new: models of which each product is wanted, and no other one; all others are `known`.

    Returns:
        K times a matrix (M, M) and M sums.
    """
    kernels, count = len(models[0].cubes), len(models)
    padded = max(count, 2)  # BLAS sums a single row in another order
    parts = _parts(squares, new, count, kernels)
    rows = np.zeros((kernels, count, n))
    buffer = np.zeros((kernels, padded, ROWS * COLUMNS), dtype=np.float32)
    # the widest first, or one thread waits for the other at the end of each tile
    order = sorted(range(count), key=lambda m: -models[m].units)
    ordered = [models[m] for m in order]
    for m, model in enumerate(models):
        if model.known:
            rows[0, m] = model.known.rows
    for number, tile in enumerate(tiles(n)):
        within = None if groups is None else np.flatnonzero(Between(groups).same(*tile))
        list(pool.map(partial(_fill, number, tile, within, buffer, rows), order, ordered))
        for kernel in range(kernels):
            entries = buffer[kernel, :, : _size(tile)]
            chunks = [entries[:, i : i + INNER] for i in range(0, entries.shape[1], INNER)]
            for part in parts:
                for product in pool.map(part.product, chunks):
                    part.sums[kernel] += product
    products = _assembled(parts, count, kernels)
    products *= 2  # every pair of samples was met once
    return [
        (
            products[k],
            [
                TileSums(
                    rows[k, m],
                    model.known.squares if model.known else float(products[k, m, m]),
                    *(part[k] for part in (model.diagonals, model.cubes, model.heavies)),
                    model.samples[k],
                )
                for m, model in enumerate(models)
            ],
        )
        for k in range(kernels)
    ]


def tile_bytes(models: int, kernels: int = 1) -> int:
    """Returns the memory of one tile of so many models."""
    return 4 * ROWS * COLUMNS * models * kernels


class Part:
    """Products that are wanted of some rows of the buffer: with each other, or with others.

    Those with others have the bits that those with each other have: whether BLAS sums both in one
    order, which can depend on their shapes, is found for each length of a stretch.

    Args:
        rows: as an index; two at least, as of all of these, since BLAS sums a single row otherwise.
        others: None: with each other.
        sums: room for each kernel.
    """

    def __init__(self, rows: Any, others: np.ndarray | None, sums: np.ndarray) -> None:  # noqa: ANN401
        self.rows, self.others, self.sums = rows, others, sums
        self._alike: dict[int, bool] = {}

    def product(self, entries: np.ndarray) -> np.ndarray:
        """Returns the products of a stretch of entries."""
        rows, length = entries[self.rows], entries.shape[1]
        if self.others is None:
            return rows @ rows.T
        few = rows @ entries[self.others].T if self._alike.get(length, True) else None
        if length in self._alike and few is not None:
            return few
        whole = (rows @ rows.T)[:, self.others]
        if few is not None:
            self._alike[length] = np.array_equal(whole, few)
        return whole


def _parts(
    squares: Sequence[Sequence[int]] | None, new: Sequence[int], count: int, kernels: int
) -> list[Part]:
    """Returns what is multiplied with what, and room for the sums."""
    size = max(count, 2)
    if new:
        others = np.resize(new, max(len(new), LEAST_OTHERS))
        return [Part(slice(None), others, np.zeros((kernels, size, len(others))))]
    if squares is None or len(squares) == 1:
        return [Part(slice(None), None, np.zeros((kernels, size, size)))]
    places = [np.array(list(own) * (2 if len(own) == 1 else 1)) for own in squares]
    return [Part(own, None, np.zeros((kernels, len(own), len(own)))) for own in places]


def _assembled(parts: Sequence[Part], count: int, kernels: int) -> np.ndarray:
    """Returns the products (K, M, M) of all parts; 0 where none has a pair."""
    found = np.zeros((kernels, count, count))
    for part in parts:
        if part.others is not None:
            found[:, :, part.others] = part.sums[:, :count]
            found[:, part.others] = part.sums[:, :count].transpose(0, 2, 1)
        elif isinstance(part.rows, slice):
            return part.sums[:, :count, :count]
        else:
            found[(slice(None), *np.ix_(part.rows, part.rows))] = part.sums
    return found


def _size(tile: Tile) -> int:
    return (tile[0].stop - tile[0].start) * (tile[1].stop - tile[1].start)


Writer = Callable[[int, Tile, list[np.ndarray]], None]
"""Writes the entries of a tile, given with its number, into one block for each kernel."""


def _write(forms: Sequence[TileForm], number: int, tile: Tile, blocks: list[np.ndarray]) -> None:
    """Writes the entries of a tile; those on and below the diagonal are not meant."""
    rows, columns = tile
    parts = [(rows, columns)]
    if rows.start == columns.start and rows.stop - rows.start == ROWS:
        middle = rows.start + ROWS // 2  # a quarter of the tile is below the diagonal
        parts = [(slice(rows.start, middle), columns), (slice(middle, rows.stop),) * 2]
        for block in blocks:
            block[ROWS // 2 :, : ROWS // 2] = 0
    for i, j in parts:
        place = (
            slice(i.start - rows.start, i.stop - rows.start),
            slice(j.start - columns.start, j.stop - columns.start),
        )
        write_entries(forms, i, j, [block[place] for block in blocks])


def _fill(
    number: int,
    tile: Tile,
    within: np.ndarray | None,
    buffer: np.ndarray,
    rows: np.ndarray,
    m: int,
    model: TileModel,
) -> None:
    """Writes one model's tile into its rows of the buffer and adds to its row sums, if unknown.

    `within` are the places in the tile of pairs that do not count.
    """
    height, width = (s.stop - s.start for s in tile)
    blocks = [kernel[m, : height * width].reshape(height, width) for kernel in buffer]
    model.write(number, tile, blocks)
    for block, sums in zip(blocks, rows[:, m], strict=True):
        if within is not None:
            block.reshape(-1)[within] = 0
        if tile[0].start == tile[1].start:
            square = block[:, :height]
            square[_triangle(height)] = 0
        if model.known:
            continue
        sums[tile[0]] += block.sum(axis=1)
        for top in range(0, height, STRETCH):
            sums[tile[1]] += block[top : top + STRETCH].sum(axis=0)


@cache
def _triangle(size: int) -> np.ndarray:
    """Returns the places on and below the diagonal of a square."""
    return np.tri(size, dtype=bool)


class Ranks:
    """Ranks of a model's entries among all pairs of samples, as whole numbers of 16 bits.

    Ranks are counted: the range of the entries is cut into steps, and the values of one step share
    their mean rank. The range leaves out the thousandth part at either end, as some rows give it:
    its values tie, which moves a rank correlation by less than 1e-8, while a few outliers would
    leave too few steps to all others. Mean ranks are scaled to 0 .. 65,535 and rounded, which
    weakens a correlation by 2e-10 of itself.

    Args:
        steps: the ranks, tile after tile.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    @classmethod
    def of(cls, form: TileForm, steps: Steps, groups: np.ndarray | None = None) -> "Ranks":
        """Returns the ranks of a form, put into `steps`; with groups among pairs between them."""
        n = len(form.rows)
        counts = np.zeros(BINS, dtype=np.int64)

        def count() -> Iterator[np.ndarray]:
            low, high = entry_range(form)
            for tile in tiles(n):
                found = _steps(form, tile, low, np.float32((BINS - 1) / (high - low)))
                yield found
                counts[:] += np.bincount(found[_counted(tile, groups)].ravel(), minlength=BINS)

        steps.fill(count)
        middle = np.cumsum(counts) - counts / 2
        steps.look_up(np.rint(middle * ((BINS - 1) / counts.sum())).astype(np.uint16))
        return cls(steps)

    @classmethod
    def kept(cls, n: int, path: Path, checksum: str) -> "Ranks | None":
        """Returns the ranks of an earlier run, if they are there: see `Steps.sound`."""
        steps = Steps.kept(path, [_size(tile) for tile in tiles(n)], checksum)
        return cls(steps) if steps else None

    def __call__(self, number: int, tile: Tile, blocks: list[np.ndarray]) -> None:
        """Writes the ranks of a tile, less their middle."""
        (block,) = blocks
        ranks = self.steps[number].reshape(block.shape)
        for top in range(0, len(block), STRETCH):  # some rows at a time stay in the cache
            some = block[top : top + STRETCH]
            some[...] = ranks[top : top + STRETCH]  # a subtraction of two types takes longer
            some -= np.float32((BINS - 1) / 2)


def _counted(tile: Tile, groups: np.ndarray | None) -> Any:  # noqa: ANN401
    """Returns which entries of a tile are pairs that count, as an index."""
    on_diagonal = tile[0].start == tile[1].start
    if groups is None and not on_diagonal:
        return slice(None)
    found = np.ones([part.stop - part.start for part in tile], dtype=bool)
    if on_diagonal:
        found[np.tri(*found.shape, dtype=bool)] = False
    if groups is not None:
        found &= ~Between(groups).same(*tile)
    return found


def rank_bytes(n: int) -> int:
    """Returns the size of one model's ranks."""
    return 2 * sum(_size(tile) for tile in tiles(n))


def _steps(form: TileForm, tile: Tile, low: np.float32, scale: np.float32) -> np.ndarray:
    block = form.entries(*tile)
    block -= low
    block *= scale
    np.clip(block, 0, BINS - 1, out=block)
    return block.astype(np.uint16)


def entry_range(form: TileForm) -> tuple[np.float32, np.float32]:
    """Returns where the steps of ranks begin and end, as some rows tell."""
    n = len(form.rows)
    rows, columns = (np.linspace(0, n - 1, min(n, m)).round().astype(int) for m in (256, 1024))
    block = form.entries(rows, columns)
    low, high = np.quantile(block[rows[:, None] != columns], [0.001, 0.999])
    margin = 0.01 * (high - low) or 1.0
    return np.float32(low - margin), np.float32(high + margin)


class OnDisk:
    """A float32 matrix in a scratch file, of which rows are read when asked for."""

    def __init__(self, x: np.ndarray, path: Path) -> None:
        self.shape = x.shape
        self._path = path
        x.tofile(path)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Returns some rows: a slice with start and stop."""
        width = 4 * self.shape[1]
        read = read_at(self._path, width * rows.start, width * (rows.stop - rows.start))
        return np.frombuffer(read, np.float32).reshape(-1, self.shape[1])


def spill(forms: Sequence[TileForm], path: Path) -> list[TileForm]:
    """Returns the forms with their features in a scratch file, for studies beyond the memory."""
    rows = OnDisk(forms[0].rows, path)
    return [replace(form, rows=rows) for form in forms]
