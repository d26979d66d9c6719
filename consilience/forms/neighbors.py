"""Nearest neighbours of samples, shared by the metrics that compare them."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.kernels import near_center
from consilience.forms.rows import Rows, unit_rows

BLOCK_ENTRIES = 4_000_000
"""Similarities held at a time while neighbours are looked for."""
FAST_SAMPLES = 2048
"""From so many samples on, candidates are found in float32."""
CROWD = 8
"""More candidates than so many times k are not worth settling one by one."""


def nearest_neighbors(
    x: np.ndarray, k: int, distance: str = "cosine", *, groups: np.ndarray | None = None
) -> np.ndarray:
    """Returns the k nearest other rows of each row of x: (n, d) as (n, k) sorted row indexes.

    Nearest is the largest cosine or inner product, or the smallest Euclidean distance; of equally
    near rows the one with the lower index is taken. A row is never its own neighbour, nor is a row
    of its group.

    Args:
        x: the rows.
        k: number of neighbours.
        distance: `cosine`, `euclidean` or `inner_product`.
        groups: (n,) integers; rows of one group are no neighbours of each other.

    Raises:
        MetricError: a zero row has no cosine, or a row has less than k rows of other groups.
    """
    check_groups(groups, len(x), k)
    if len(x) >= FAST_SAMPLES:
        return np.sort(fast_neighbors(x, k, distance, groups=groups), axis=1).astype(np.int64)
    blocks = nearness_blocks(x, distance, groups=groups)
    return np.concatenate([_largest(block, k) for block in blocks])


def ordered_neighbors(
    x: np.ndarray, k: int, distance: str = "cosine", *, groups: np.ndarray | None = None
) -> np.ndarray:
    """Returns `nearest_neighbors` from near to far, int32; equally near ones by index."""
    check_groups(groups, len(x), k)
    if len(x) < FAST_SAMPLES:
        return ordered_lists(nearness_blocks(x, distance, groups=groups), len(x), k)[0]
    return fast_neighbors(x, k, distance, groups=groups)


def fast_neighbors(
    x: np.ndarray, k: int, distance: str, *, groups: np.ndarray | None = None
) -> np.ndarray:
    """Returns `ordered_neighbors`, found in float32 and settled in float64.

    Where float32 leaves too many candidates, as when all rows point the same way, float64 does it
    all.
    """
    check_groups(groups, len(x), k)
    rows = _placed_rows(x, distance)
    lists = FastSearch(rows, half_norms=distance == "euclidean", groups=groups).lists(k)
    if lists is not None:
        return lists
    return ordered_lists(nearness_blocks(x, distance, groups=groups), len(x), k)[0]


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


def exclude_groups(
    nearness: np.ndarray, groups: np.ndarray | None, rows: slice, columns: slice
) -> None:
    """Sets the nearness of some rows and columns to -inf where both are of one group."""
    if groups is not None:
        nearness[groups[rows, None] == groups[columns]] = -np.inf


Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, their neighbours, and how near these are."""


class FastSearch:
    """Finds neighbours in float32 and settles them in float64: a third of the time, same lists.

    Products in float32 lie within a known bound of the exact ones. Panels of rows meet the rows
    from their own on, so that every product is computed once and serves both its rows. Of each
    panel only what can be among the nearest is kept: what is not below the k-th largest product so
    far, less twice the bound. Of these, only those are computed in float64 whose order float32
    cannot tell.
    """

    def __init__(self, x: Rows, *, half_norms: bool, groups: np.ndarray | None = None) -> None:
        self.x, self.groups = x, groups
        self.x32, squares = x.float32()
        self.half = squares / 2 if half_norms else np.zeros(len(x))
        largest = np.sqrt(squares.max())
        scale = np.sqrt(squares) * largest + self.half.max()
        self.slack = 2 * (x.shape[1] + 4) * 2.0**-24 * scale
        self.least = np.full(len(x), -np.inf)

    def lists(self, k: int) -> np.ndarray | None:
        """Returns the neighbours (n, k) from near to far, ties to lower indexes; None if too many.

        Args:
            k: number of neighbours.
        """
        n = len(self.x)
        step = max(2 * k, BLOCK_ENTRIES // n)
        found: list[Candidates] = []
        for number, start in enumerate(range(0, n, step)):
            # of rows met since the least was raised a k-th share per row gets past it: it is raised
            # when as many have been met again
            doubled = number & (number + 1) == 0
            found.extend(self._panel(start, min(start + step, n), k, doubled=doubled))
            if sum(len(part[0]) for part in found) > CROWD * k * n:
                found = [self._nearest(found, k)]
                if len(found[0][0]) > CROWD * k * n:
                    return None
        return self._settle(*self._nearest(found, k), k)

    def _nearest(self, found: Sequence[Candidates], k: int) -> Candidates:
        """Returns what can still be among the k nearest, by rows, each from near to far."""
        i, j, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = values >= self.least[i] - self.slack[i]
        i, j, values = i[kept], j[kept], values[kept]
        order = np.lexsort((-values, i))
        i, j, values = i[order], j[order], values[order]
        starts = np.searchsorted(i, np.arange(len(self.x)))
        many = np.bincount(i, minlength=len(self.x)) >= k
        self.least[many] = np.maximum(self.least[many], values[starts[many] + k - 1])
        kept = values >= self.least[i] - self.slack[i]
        return i[kept], j[kept], values[kept]

    def _panel(self, start: int, stop: int, k: int, *, doubled: bool) -> Iterator[Candidates]:
        """Yields candidates (rows, neighbours, nearness) among some rows and all later ones."""
        block = self.x32[start:stop] @ self.x32[start:].T
        half, groups = self.half.astype(np.float32), self.groups
        later = np.ascontiguousarray(block[:, stop - start :].T)
        if later.size:
            later -= half[start:stop]
            exclude_groups(later, groups, slice(stop, None), slice(start, stop))
            yield self._candidates(later, stop, start, k if doubled else 0)
        block -= half[start:]
        own = np.arange(stop - start)
        block[own, own] = -np.inf
        exclude_groups(block, groups, slice(start, stop), slice(start, None))
        yield self._candidates(block, start, start, k if start < len(self.x) / 4 else 0)

    def _candidates(self, block: np.ndarray, row: int, column: int, k: int) -> Candidates:
        """Returns what of a block, whose corner is (row, column), can be among the nearest.

        The least that can be is first raised to the block's own k-th nearest, if k is not 0.
        """
        height, width = block.shape
        rows = slice(row, row + height)
        if 0 < k <= width:
            nearest = np.partition(block, width - k, axis=1)[:, width - k]
            np.maximum(self.least[rows], nearest, out=self.least[rows])
        least = (self.least[rows] - self.slack[rows]).astype(np.float32)
        places = np.flatnonzero(block >= np.nextafter(least, np.float32(-np.inf))[:, None])
        i, j = np.divmod(places, width)
        return i + row, j + column, block.ravel()[places]

    def _settle(self, i: np.ndarray, j: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
        """Returns for every row i the k columns j of the largest values, from near to far.

        Args:
            i: rows, sorted.
            j: columns.
            values: nearness in float32, of each row from near to far.
            k: number of columns.
        """
        values = values.astype(np.float64)
        close = (np.diff(values) >= -self.slack[i[1:]]) & (np.diff(i) == 0)
        unsure = np.append(close, False) | np.append(False, close)
        values[unsure] = self._exact(i[unsure], j[unsure])
        again = np.flatnonzero((np.bincount(i[unsure], minlength=len(self.x)) > 0)[i])
        order = np.lexsort((j[again], -values[again], i[again]))
        j[again] = j[again][order]
        starts = np.flatnonzero(np.diff(i, prepend=-1))  # rows begin at these places
        return j[starts[:, None] + np.arange(k)].astype(np.int32)

    def _exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Returns the nearness of pairs of rows in float64."""
        return row_products(self.x, i, j) - self.half[j]


def row_products(x: Rows, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Returns the inner products of the rows i and j, in float64."""
    step = max(1, BLOCK_ENTRIES // x.shape[1] // 4)
    found = np.empty(len(i))
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        np.einsum("ij,ij->i", x.take(i[part]), x.take(j[part]), out=found[part])
    return found


def ordered_lists(blocks: Iterable[np.ndarray], n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k columns of largest nearness of n rows (n, k), from near to far, and its values.

    Args:
        blocks: consecutive rows of the nearness (n, n).
        n: number of rows in all.
        k: number of columns wanted per row.
    """
    lists, values = np.empty((n, k), dtype=np.int32), np.empty((n, k))
    start = 0
    for block in blocks:
        rows = slice(start, start + len(block))
        chosen = _largest(block, k)
        nearness = np.take_along_axis(block, chosen, axis=1)
        order = np.argsort(-nearness, axis=1, kind="stable")
        lists[rows] = np.take_along_axis(chosen, order, axis=1)
        values[rows] = np.take_along_axis(nearness, order, axis=1)
        start = rows.stop
    return lists, values


def nearness_blocks(
    x: np.ndarray, distance: str, *, own: bool = False, groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yields blocks of rows of the nearness (n, n) of the rows of x: (n, d).

    The diagonal is -inf, so that no row is its own neighbour, unless `own`; so is the nearness of
    other rows of one group.
    """
    x = _placed(x, distance)
    half_norms = np.einsum("ij,ij->i", x, x) / 2 if distance == "euclidean" else 0.0
    step = max(1, BLOCK_ENTRIES // len(x))
    for start in range(0, len(x), step):
        nearness = x[start : start + step] @ x.T - half_norms
        rows = np.arange(len(nearness))
        itself = nearness[rows, rows + start] if own else -np.inf
        exclude_groups(nearness, groups, slice(start, start + step), slice(None))
        nearness[rows, rows + start] = itself
        yield nearness


def _placed(x: np.ndarray, distance: str) -> np.ndarray:
    """Returns x: (n, d) such that inner products, for `euclidean` less norms, tell the nearness."""
    if distance == "cosine":
        return unit_rows(x)
    return near_center(x) if distance == "euclidean" else x


def _placed_rows(x: np.ndarray, distance: str) -> Rows:
    """Returns the same, made when it is asked for."""
    if distance == "cosine":
        return Rows(x).then(unit_rows)
    return Rows(x).near_center() if distance == "euclidean" else Rows(x)


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Returns the column indexes of the k largest values of each row, ties to lower indexes."""
    threshold = np.partition(values, -k, axis=1)[:, -k, None]
    chosen = values >= threshold
    crowded = np.flatnonzero(chosen.sum(axis=1) > k)  # more ties than places
    if len(crowded):
        ties = values[crowded] == threshold[crowded]
        wanted = k - (chosen[crowded] & ~ties).sum(axis=1, keepdims=True)
        chosen[crowded] &= ~ties | (np.cumsum(ties, axis=1) <= wanted)
    return np.nonzero(chosen)[1].reshape(len(values), k)


def ranks_in(lists: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the place 1 … k of each entry of `lists` (n, k) in the same row of `others`, or 0.

    Both hold different row indexes below n in each row. Time goes with n k: a table of n columns
    is filled and wiped at the listed places only.
    """
    n = len(lists)
    places = np.arange(1, others.shape[1] + 1, dtype=np.int32)
    found = np.empty(lists.shape, dtype=np.int32)
    step = max(1, BLOCK_ENTRIES // n)
    table = np.zeros((min(step, n), n), dtype=np.int32)
    for start in range(0, n, step):
        wanted, listed = lists[start : start + step], others[start : start + step]
        rows = np.arange(len(wanted))[:, None]
        table[rows, listed] = places
        found[start : start + step] = table[rows, wanted]
        table[rows, listed] = 0
    return found


def relabelled(lists: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns the neighbour lists (n, k) of the samples taken in `order`."""
    place = np.empty(len(order), dtype=lists.dtype)
    place[order] = np.arange(len(order))
    return place[lists[order]]


def check_k(k: float, metric: str) -> None:
    """Raises ConfigError if k is neither a count nor a share."""
    number = isinstance(k, int | float) and not isinstance(k, bool)
    if not number or not (0 < k < 1 or (k >= 1 and k == k // 1 and k < np.inf)):
        raise ConfigError(
            f"metric {metric!r}: k cannot be {k!r}; use a whole number from 1, "
            "or a share of the samples between 0 and 1"
        )


def count_of(k: float, n: int) -> int:
    """Returns k, a count or a share, as a count for n samples."""
    return int(k) if k >= 1 else max(1, round(k * n))


def checked_count(k: float, n: int, *, own: bool = False) -> int:
    """Returns `count_of`; an error if n samples do not have so many neighbours.

    Args:
        k: number or share of neighbours.
        n: number of samples.
        own: whether a sample may be its own neighbour.
    """
    count = count_of(k, n)
    least = count if own else count + 1
    if n < least:
        raise MetricError(f"k = {count} neighbours need at least {least} samples, not {n}")
    return count
