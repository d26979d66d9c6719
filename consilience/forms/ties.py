"""Neighbour lists with ties: rows that are equally near share the places that are left for them.

Where more rows are as near as the k-th neighbour than there are places, each of them is a neighbour
with the weight (places left) / (number tied), the chance to be taken if their order were random.
Rows strictly nearer have weight 1.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from consilience.forms.nearness import BLOCK_ENTRIES


class Ties(NamedTuple):
    """Which neighbours of lists (n, k) are equally near."""

    content: str
    """The hash of the features; empty once samples are permuted."""
    first: np.ndarray
    """(n, k) int32: the place, from 0, of the first one of those equally near as an entry."""
    border: np.ndarray
    """(n,) int32: number of the set of all rows equally near as the k-th neighbour; -1 where these
    find places among the k."""
    own: np.ndarray
    """(n,) whether the row itself is in its set; it is no neighbour of itself nevertheless."""
    starts: np.ndarray
    """(s + 1,) int64: where sets begin in `members`."""
    members: np.ndarray
    """int32: the rows of each set, sorted. Rows with the same set share it."""


class Neighbors(NamedTuple):
    """The k nearest neighbours of each of n rows."""

    lists: np.ndarray
    """(n, k) int32 row indexes from near to far; equally near ones in random order, seeded by the
    content of the features."""
    ties: Ties | None = None
    """None where no two of a row are equally near, up to the k-th and those as near as it."""


def bordered(a: Neighbors) -> bool:
    """Whether some row has more rows as near as its k-th neighbour than places."""
    return a.ties is not None and bool((a.ties.border >= 0).any())


def tied_share(a: Neighbors) -> float:
    """Returns the share of rows with more others as near as the k-th neighbour than places."""
    return float(np.mean(a.ties.border >= 0)) if a.ties else 0.0


def same_features(a: Neighbors, b: Neighbors) -> bool:
    """Whether lists with ties are of the same features, so that they take the same places."""
    return bool(a.ties and b.ties and a.ties.content and a.ties.content == b.ties.content)


def shortened(a: Neighbors, k: int) -> Neighbors:
    """Returns the lists of the k nearest, as if no more had been looked for."""
    n, width = a.lists.shape
    if k == width:
        return a
    lists = np.ascontiguousarray(a.lists[:, :k])
    if a.ties is None:
        return Neighbors(lists)
    first = np.ascontiguousarray(a.ties.first[:, :k])
    cut = a.ties.first[:, k] < k  # the next one is as near as the k-th
    last = first[:, -1]
    book = SetBook(a.ties)
    border = np.full(n, -1, dtype=np.int32)
    beyond = cut & (a.ties.border >= 0) & (a.ties.first[:, -1] == last)
    border[beyond] = a.ties.border[beyond]
    for row in np.flatnonzero(cut & ~beyond):
        group = a.lists[row, a.ties.first[row] == last[row]]
        border[row] = book.number(np.sort(group))
    if (border < 0).all() and (first == np.arange(k)).all():
        return Neighbors(lists)
    return Neighbors(lists, Ties(a.ties.content, first, border, a.ties.own & beyond, *book.sets()))


class SetBook:
    """Sets of rows, each kept once."""

    def __init__(self, ties: Ties | None = None) -> None:
        self._starts = [0] if ties is None else ties.starts.tolist()
        self._members = [] if ties is None else [ties.members]
        self._known: dict[bytes, int] = {}

    def number(self, members: np.ndarray) -> int:
        """Returns the number of a set of sorted int32 rows, which is added if it is new."""
        key = members.tobytes()
        if key not in self._known:
            self._known[key] = len(self._starts) - 1
            self._starts.append(self._starts[-1] + len(members))
            self._members.append(members)
        return self._known[key]

    def sets(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns where sets begin, and their members."""
        members = np.concatenate(self._members) if self._members else np.empty(0, dtype=np.int32)
        return np.array(self._starts, dtype=np.int64), members.astype(np.int32, copy=False)


def relabelled(lists: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns the neighbour lists (n, k) of the samples taken in `order`."""
    return _places(order, lists.dtype)[lists[order]]


def _places(order: np.ndarray, dtype: np.dtype) -> np.ndarray:
    place = np.empty(len(order), dtype=dtype)
    place[order] = np.arange(len(order))
    return place


def permuted(a: Neighbors, order: np.ndarray) -> Neighbors:
    """Returns the neighbours of the samples taken in `order`.

    They are no longer the same features as those of any side, unless nothing moves.
    """
    lists, ties = relabelled(a.lists, order), a.ties
    if ties is None:
        return Neighbors(lists)
    unmoved = bool((order == np.arange(len(order))).all())
    members = _places(order, ties.members.dtype)[ties.members]
    sets = np.repeat(np.arange(len(ties.starts) - 1), np.diff(ties.starts))
    members = members[np.lexsort((members, sets))]
    content = ties.content if unmoved else ""
    ends = ties.border[order], ties.own[order], ties.starts, members
    return Neighbors(lists, Ties(content, ties.first[order], *ends))


def arrays_of(a: Neighbors) -> dict[str, np.ndarray]:
    """Returns the arrays that neighbours consist of."""
    if a.ties is None:
        return {"lists": a.lists}
    content = np.frombuffer(a.ties.content.encode(), dtype=np.uint8)
    return {"lists": a.lists, **a.ties._asdict(), "content": content}


def of_arrays(arrays: dict[str, np.ndarray]) -> Neighbors:
    """Returns the neighbours that consist of these arrays."""
    ties = {name: array for name, array in arrays.items() if name in Ties._fields}
    if not ties:
        return Neighbors(arrays["lists"])
    content = ties.pop("content").tobytes().decode()
    return Neighbors(arrays["lists"], Ties(content, **ties))


def places_of(a: Neighbors) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each row how many rows are nearer than the tied ones, and how many these are.

    Where no ties reach beyond the k-th place, all k are nearer, and one is tied with itself.
    """
    n, k = a.lists.shape
    near, tied = np.full(n, k), np.ones(n, dtype=np.int64)
    if a.ties is not None:
        rows = np.flatnonzero(a.ties.border >= 0)
        near[rows] = a.ties.first[rows, -1]
        tied[rows] = np.diff(a.ties.starts)[a.ties.border[rows]] - a.ties.own[rows]
    return near, tied


def weights_of(a: Neighbors) -> np.ndarray:
    """Returns (n,) the weight of each row's tied neighbours; 0 where no ties reach beyond k."""
    near, tied = places_of(a)
    return (a.lists.shape[1] - near) / tied


class Lookup:
    """Finds which rows are neighbours of which."""

    def __init__(self, a: Neighbors) -> None:
        n = self.n = len(a.lists)
        self.near, _ = places_of(a)
        self.weights, self.ties = weights_of(a), a.ties
        nearer = np.arange(a.lists.shape[1]) < self.near[:, None]
        codes = a.lists + n * np.arange(n)[:, None]
        self._nearer = np.sort(codes[nearer])
        if a.ties is not None:
            sets = np.repeat(np.arange(len(a.ties.starts) - 1), np.diff(a.ties.starts))
            self._tied = sets * n + a.ties.members

    def nearer(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Whether j is nearer to i than what ties at the border."""
        return _found(self._nearer, i * np.int64(self.n) + j)

    def in_set(self, sets: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Whether j is in the set of that number; in set -1 there is none."""
        if self.ties is None:
            return np.zeros(np.broadcast_shapes(np.shape(sets), np.shape(j)), dtype=bool)
        return _found(self._tied, sets * np.int64(self.n) + j)

    def tied(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Whether j is among the rows tied at the border of i."""
        if self.ties is None:
            return self.in_set(i, j)
        return self.in_set(self.ties.border[i], j) & ~(self.ties.own[i] & (i == j))

    def __call__(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Returns the weight with which j is a neighbour of i."""
        return np.where(self.nearer(i, j), 1.0, self.tied(i, j) * self.weights[i])


def _found(codes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns which of `wanted` are among sorted codes."""
    if not len(codes):
        return np.zeros(wanted.shape, dtype=bool)
    return codes[np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)] == wanted


def tied_pairs(a: Neighbors) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows and, one by one, the neighbours that are tied at their border."""
    if a.ties is None:
        return
    ties, rows = a.ties, np.flatnonzero(a.ties.border >= 0)
    sizes = np.diff(ties.starts)[ties.border[rows]]
    for part in _batches(sizes):
        i = np.repeat(rows[part], sizes[part])
        j = expanded(ties, ties.border[rows[part]])
        kept = ~(ties.own[i] & (i == j))
        yield i[kept], j[kept]


def expanded(ties: Ties, sets: np.ndarray) -> np.ndarray:
    """Returns the members of sets, given by their numbers, one set after the other."""
    starts, sizes = ties.starts[sets], np.diff(ties.starts)[sets]
    ends = np.cumsum(sizes)
    return ties.members[np.repeat(starts - (ends - sizes), sizes) + np.arange(sizes.sum())]


def _batches(sizes: np.ndarray) -> Iterator[slice]:
    """Yields consecutive slices whose sizes sum to about `BLOCK_ENTRIES` at most."""
    number = (np.cumsum(sizes) - sizes) // BLOCK_ENTRIES
    bounds = np.append(np.flatnonzero(np.diff(number, prepend=-1)), len(sizes))
    for start, stop in itertools.pairwise(bounds):
        yield slice(start, stop)


class Shared(NamedTuple):
    """How many neighbours of each row both sides have, (n,) each."""

    near: np.ndarray
    """Nearer than ties at the border on both sides."""
    near_x: np.ndarray
    """Nearer in x, tied in y."""
    near_y: np.ndarray
    """Tied in x, nearer in y."""
    tied: np.ndarray
    """Tied on both sides."""


def shared_neighbors(a: Neighbors, b: Neighbors) -> Shared:
    """Returns how many neighbours both sides have.

    Cost: n k, and the members of the sets that meet: each two sets are compared once.
    """
    x, y = Lookup(a), Lookup(b)
    rows = np.arange(x.n)[:, None]
    of_x, of_y = (np.arange(s.lists.shape[1]) < t.near[:, None] for s, t in ((a, x), (b, y)))
    near = np.count_nonzero(of_x & y.nearer(rows, a.lists), axis=1)
    near_x = np.count_nonzero(of_x & y.tied(rows, a.lists), axis=1)
    near_y = np.count_nonzero(of_y & x.tied(rows, b.lists), axis=1)
    return Shared(near, near_x, near_y, _both_tied(a, b, y))


def _both_tied(a: Neighbors, b: Neighbors, y: Lookup) -> np.ndarray:
    found = np.zeros(y.n, dtype=np.int64)
    if a.ties is None or b.ties is None:
        return found
    rows = np.flatnonzero((a.ties.border >= 0) & (b.ties.border >= 0))
    if not len(rows):
        return found
    many = len(b.ties.starts)
    meetings = a.ties.border[rows] * np.int64(many) + b.ties.border[rows]
    meetings, place = np.unique(meetings, return_inverse=True)
    first, second = np.divmod(meetings, many)
    sizes = np.diff(a.ties.starts)[first]
    counts = np.zeros(len(meetings), dtype=np.int64)
    for part in _batches(sizes):
        number = np.repeat(np.arange(part.start, part.stop), sizes[part])
        both = y.in_set(second[number], expanded(a.ties, first[part]))
        counts += np.bincount(number[both], minlength=len(meetings))
    found[rows] = counts[place] - (a.ties.own[rows] & b.ties.own[rows])
    return found
