"""From rows that may be among the nearest to neighbour lists, with their ties."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from consilience.forms.nearness import Nearness
from consilience.forms.ties import Neighbors, SetBook, Ties

CANDIDATES = 500_000
"""Candidates that are settled at a time where ties make many of them."""


class Candidates(NamedTuple):
    """Rows, their neighbours, and how near these are."""

    i: np.ndarray
    j: np.ndarray
    values: np.ndarray


def content_of(x: np.ndarray) -> str:
    """Returns the hash of features (n, d), by which a side knows itself."""
    found = hashlib.blake2b(repr(x.shape).encode(), digest_size=16)
    found.update(np.ascontiguousarray(x + 0.0).data)  # -0 is 0
    return found.hexdigest()


@dataclass
class Settling:
    """Lists that are filled row by row.

    Neighbours are in one order from near to far. Those equally near are ordered at random, by a
    number that depends on the content of the features, the row and the neighbour, so that two sides
    break ties independently, and the same features in the same way, whatever k and however many
    rows are held at a time.

    Args:
        x: the features that lists are of; their content is taken if there are ties.
        nearness: of their rows.
        k: number of neighbours.
    """

    x: np.ndarray
    nearness: Nearness
    k: int
    _content: str = ""
    _book: SetBook = field(default_factory=SetBook)

    def __post_init__(self) -> None:
        n = len(self.x)
        self.lists = np.empty((n, self.k), dtype=np.int32)
        self.values = np.empty((n, self.k))
        self._first: np.ndarray | None = None
        self._border, self._own = np.full(n, -1, dtype=np.int32), np.zeros(n, dtype=bool)

    def fill(self, blocks: Iterable[np.ndarray]) -> "Settling":
        """Takes consecutive blocks of rows of the nearness (n, n); returns itself."""
        tolerance, start = self.nearness.row_tolerance(), 0
        for block in blocks:
            rows = slice(start, start + len(block))
            least = np.partition(block, -self.k, axis=1)[:, -self.k]
            least = np.minimum(least, self.nearness.top[rows]) - tolerance[rows]
            chosen = block >= least[:, None]
            crowded = np.count_nonzero(chosen) > max(CANDIDATES, 2 * self.k * len(block))
            step = max(1, CANDIDATES // len(self.x)) if crowded else len(block)
            for first in range(0, len(block), step):
                part = slice(first, first + step)
                places = np.flatnonzero(chosen[part])
                i, j = np.divmod(places, block.shape[1])
                values = block[part].ravel()[places]
                self.take(_from_near(Candidates(i + start + first, j, values), self.k))
            start = rows.stop
        return self

    def take(self, found: Candidates) -> None:
        """Takes rows with all their candidates, k at least, from near to far.

        Args:
            found: by rows; where values are closer than `Nearness.tolerance` they are of float64.
        """
        values = np.minimum(found.values, self.nearness.top[found.i])
        i, j = found.i, found.j
        starts = np.flatnonzero(np.diff(i, prepend=-1))
        chosen = starts[:, None] + np.arange(self.k)
        drops = np.append(np.inf, values[:-1] - values[1:])
        tolerance = self.nearness.tolerance(i, j)
        tied = drops <= np.maximum(tolerance, np.roll(tolerance, 1))
        tied[starts] = False
        rows = i[starts]
        if tied.any():
            j, begins = self._shuffled(Candidates(i, j, values), tied)
            if self._first is None:
                self._first = np.tile(np.arange(self.k, dtype=np.int32), (len(self.x), 1))
            self._first[rows] = begins[chosen] - starts[:, None]
            self._mark_borders(Candidates(i, j, values), starts, begins)
        self.lists[rows] = j[chosen]
        self.values[rows] = found.values[chosen]

    def _shuffled(self, found: Candidates, tied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns neighbours, the equally near ones in random order, and where these begin."""
        self._content = self._content or content_of(self.x)
        number = np.cumsum(~tied) - 1
        begins = np.flatnonzero(~tied)[number]
        mixed = np.flatnonzero(tied | np.append(tied[1:], False))
        i, j = found.i[mixed].astype(np.uint64), found.j[mixed].astype(np.uint64)
        seed = np.uint64(int(self._content[:16], 16))
        keys = _mixed(_mixed(i + seed) + j)
        neighbors = found.j.copy()
        neighbors[mixed] = found.j[mixed][np.lexsort((keys, number[mixed]))]
        return neighbors, begins

    def _mark_borders(self, found: Candidates, starts: np.ndarray, begins: np.ndarray) -> None:
        """Notes the rows tied at the k-th place of those rows where they are more than places."""
        last = starts + self.k - 1
        ends = np.append(starts[1:], len(found.i))
        beyond = (last + 1 < ends) & (begins[np.minimum(last + 1, len(begins) - 1)] == begins[last])
        heads = begins[last[beyond]]
        # the next group, or the next row, begins where this one ends
        groups = np.append(np.unique(begins), len(begins))
        tails = groups[np.searchsorted(groups, heads, side="right")]
        rows = found.i[starts[beyond]]
        own = self._tied_with_itself(rows, found.values[heads], found.values[tails - 1])
        self._own[rows] = own
        for row, head, tail, itself in zip(rows, heads, tails, own, strict=True):
            members = found.j[head:tail]
            members = np.sort(np.append(members, row) if itself else members)
            self._border[row] = self._book.number(members.astype(np.int32))

    def _tied_with_itself(self, rows: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        """Whether rows, were they neighbours of themselves, would tie at the border.

        They are then put into the set, which so is the same for all that are alike.
        """
        near = self.nearness
        if near.own or near.groups is not None:
            return np.zeros(len(rows), dtype=bool)
        itself = np.minimum(near.squares - near.half, near.top)[rows]
        tolerance = near.tolerance(rows, rows)
        return (itself <= high + tolerance) & (itself >= low - tolerance)

    def neighbors(self) -> Neighbors:
        """Returns the lists of all rows."""
        if self._first is None:
            return Neighbors(self.lists)
        alone = (self._first == np.arange(self.k)).all() and (self._border < 0).all()
        if alone:  # ties only beyond the k-th place
            return Neighbors(self.lists)
        own = self._own
        return Neighbors(
            self.lists, Ties(self._content, self._first, self._border, own, *self._book.sets())
        )


def _from_near(found: Candidates, k: int) -> Candidates:
    """Returns candidates by rows, each from near to far; equally near ones by index."""
    i, j, values = found
    if len(i) == k * (int(i[-1]) - int(i[0]) + 1):  # as a rule, each row has its k
        order = np.argsort(-values.reshape(-1, k), axis=1, kind="stable")
        order = (order + k * np.arange(len(order))[:, None]).ravel()
    else:
        order = np.lexsort((-values, i))
    return Candidates(i[order], j[order], values[order])


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Returns 64 bits that look random for each number (SplitMix64)."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
