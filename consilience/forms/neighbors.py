"""Nearest neighbours of samples, shared by the metrics that compare them."""

from collections.abc import Iterator, Sequence

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.nearness import BLOCK_ENTRIES, Nearness, check_groups
from consilience.forms.settle import Candidates, Settling
from consilience.forms.ties import Neighbors

FAST_SAMPLES = 2048
"""From so many samples on, candidates are found in float32."""
CROWD = 8
"""More candidates than so many times k are not worth settling one by one."""


def ordered_neighbors(
    x: np.ndarray, k: int, distance: str = "cosine", *, groups: np.ndarray | None = None
) -> Neighbors:
    """Returns the k nearest other rows of each row of x: (n, d), from near to far, and their ties.

    Nearest is the largest cosine or inner product, or the smallest Euclidean distance. A row is
    never its own neighbour, nor is a row of its group.

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
        return fast_neighbors(x, k, distance, groups=groups)
    near = Nearness.of(x, distance, groups=groups)
    return Settling(x, near, k).fill(near.blocks()).neighbors()


def fast_neighbors(
    x: np.ndarray, k: int, distance: str, *, groups: np.ndarray | None = None
) -> Neighbors:
    """Returns `ordered_neighbors`, found in float32 and settled in float64.

    Where float32 leaves too many candidates, as when all rows point the same way, float64 does it
    all.
    """
    check_groups(groups, len(x), k)
    near = Nearness.of(x, distance, dtype=np.float32, groups=groups)
    found = FastSearch(near).candidates(k)
    if found is not None:
        settling = Settling(x, near, k)
        settling.take(found)
        return settling.neighbors()
    near = Nearness.of(x, distance, groups=groups)
    return Settling(x, near, k).fill(near.blocks()).neighbors()


def local_neighbors(
    x: np.ndarray,
    k: int,
    distance: str,
    *,
    own: bool = False,
    squared: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> tuple[Neighbors, np.ndarray]:
    """Returns `ordered_neighbors`, all found in float64, and how near they are (n, k).

    Args:
        x: the rows.
        k: number of neighbours.
        distance: `cosine`, `euclidean` or `inner_product`.
        own: whether a row may be its own neighbour.
        squared: (n, n) squared Euclidean distances, if they are known.
        groups: (n,) integers; rows of one group are no neighbours of each other.
    """
    check_groups(groups, len(x), k)
    near = Nearness.of(x, distance, groups=groups, own=own)
    settling = Settling(x, near, k).fill(near.blocks(squared))
    return settling.neighbors(), settling.values


class FastSearch:
    """Finds neighbours in float32 and settles them in float64: a third of the time, same lists.

    Products in float32 lie within a known bound of the exact ones. Panels of rows meet the rows
    from their own on, so that every product is computed once and serves both its rows. Of each
    panel only what can be among the nearest is kept: what is not below the k-th largest product so
    far, less twice the bound. Of these, only those are computed in float64 whose order float32
    cannot tell.
    """

    def __init__(self, nearness: Nearness) -> None:
        self.near, self.x32 = nearness, nearness.values
        norms = np.sqrt(nearness.squares)
        scale = norms * norms.max() + nearness.half.max()
        self.slack = 2 * (self.x32.shape[1] + 4) * 2.0**-24 * scale
        self.least = np.full(len(norms), -np.inf)

    def candidates(self, k: int) -> Candidates | None:
        """Returns what can be among the k nearest, by rows, from near to far; None if too many.

        Nearness is in float64 wherever float32 cannot tell the order.
        """
        n = len(self.x32)
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
        return self._settled(self._nearest(found, k))

    def _limit(self) -> np.ndarray:
        """Returns (n,) below which nothing is among the nearest of a row, nor ties with them."""
        return np.minimum(self.least, self.near.top) - self.slack

    def _nearest(self, found: Sequence[Candidates], k: int) -> Candidates:
        """Returns what can still be among the k nearest, by rows, each from near to far."""
        i, j, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = values >= self._limit()[i]
        i, j, values = i[kept], j[kept], values[kept]
        order = np.lexsort((-values, i))
        i, j, values = i[order], j[order], values[order]
        starts = np.searchsorted(i, np.arange(len(self.x32)))
        many = np.bincount(i, minlength=len(self.x32)) >= k
        self.least[many] = np.maximum(self.least[many], values[starts[many] + k - 1])
        kept = values >= self._limit()[i]
        return Candidates(i[kept], j[kept], values[kept])

    def _panel(self, start: int, stop: int, k: int, *, doubled: bool) -> Iterator[Candidates]:
        """Yields candidates (rows, neighbours, nearness) among some rows and all later ones."""
        block = self.x32[start:stop] @ self.x32[start:].T
        half, exclude = self.near.half.astype(np.float32), self.near.exclude_groups
        width, halved = stop - start, bool(half.any())
        later = block[:, width:]
        if later.size and (halved or doubled):
            later = np.ascontiguousarray(later.T)
            if halved:
                later -= half[start:stop]
            exclude(later, slice(stop, None), slice(start, stop))
            yield self._candidates(later, stop, start, k if doubled else 0)
        if halved:
            block -= half[start:]
        own = np.arange(width)
        block[own, own] = -np.inf
        exclude(block, slice(start, stop), slice(start, None))
        if later.size and not (halved or doubled):  # both sides of a product are as near
            yield self._of_columns(later, stop, start)
        yield self._candidates(block, start, start, k if start < len(self.x32) / 4 else 0)

    def _of_columns(self, block: np.ndarray, column: int, row: int) -> Candidates:
        """Returns what can be among the nearest of the columns: `_candidates` of the transpose."""
        least = self._limit()[column : column + block.shape[1]].astype(np.float32)
        places = np.flatnonzero(block >= np.nextafter(least, np.float32(-np.inf)))
        j, i = np.divmod(places, block.shape[1])
        return Candidates(i + column, j + row, block[j, i])

    def _candidates(self, block: np.ndarray, row: int, column: int, k: int) -> Candidates:
        """Returns what of a block, whose corner is (row, column), can be among the nearest.

        The least that can be is first raised to the block's own k-th nearest, if k is not 0.
        """
        height, width = block.shape
        rows = slice(row, row + height)
        if 0 < k <= width:
            nearest = np.partition(block, width - k, axis=1)[:, width - k]
            np.maximum(self.least[rows], nearest, out=self.least[rows])
        least = self._limit()[rows].astype(np.float32)
        places = np.flatnonzero(block >= np.nextafter(least, np.float32(-np.inf))[:, None])
        i, j = np.divmod(places, width)
        return Candidates(i + row, j + column, block.ravel()[places])

    def _settled(self, found: Candidates) -> Candidates:
        """Returns the candidates in order, with nearness in float64 where float32 is unsure."""
        i, j, values = found.i, found.j, found.values.astype(np.float64)
        close = (np.diff(values) >= -self.slack[i[1:]]) & (np.diff(i) == 0)
        unsure = np.append(close, False) | np.append(False, close)
        values[unsure] = self.near.exact(i[unsure], j[unsure])
        again = np.flatnonzero((np.bincount(i[unsure], minlength=len(self.x32)) > 0)[i])
        order = again[np.lexsort((j[again], -values[again], i[again]))]
        j[again], values[again] = j[order], values[order]
        return Candidates(i, j, values)


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
