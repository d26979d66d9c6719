"""Correlations over model pairs, for many dataset pairs and many weightings of the models at once.

A weighting gives every model a count; a pair of models then counts the product of both. Whole
counts are exactly repeated models, so that one function serves the plain value (all counts one),
the values without one model (one count zero) and resampled models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

CHUNK = 2**20
"""Numbers in one block of scores (replicates x datasets x pairs): bounds memory."""
ROUNDING = 1e-12


@dataclass(frozen=True)
class Block:
    """Numbers of several datasets over the same model pairs, and the dataset pairs to correlate.

    Attributes:
        values: (d, p) finite numbers; a dataset with equal numbers correlates with nothing.
        first: (p,) position of each pair's first model.
        second: (p,) position of each pair's second model.
        sizes: numbers of models: (m,) for pairs within one set of models, (m, k) for pairs
            between two disjoint sets, whose models are numbered 0 .. m-1 and m .. m+k-1.
        left: (q,) the first dataset of each dataset pair.
        right: (q,) the second one.
        families: (m,) number of each model's family; None if models are the sample.
    """

    values: Floats
    first: Ints
    second: Ints
    sizes: tuple[int, ...]
    left: Ints
    right: Ints
    families: Ints | None = None

    def weights(self, counts: Floats) -> Floats:
        """Returns how often each pair counts: (b, p) from counts of models (m, b)."""
        by_replicate = np.ascontiguousarray(counts.T)
        return by_replicate[:, self.first] * by_replicate[:, self.second]


class Order:
    """The order of numbers, ties included: ranks them under many weightings."""

    def __init__(self, values: Floats) -> None:
        order = np.argsort(values, kind="stable")
        new = np.append(np.diff(values[order]) > 0, True)
        ends = np.flatnonzero(new) + 1
        tie = np.concatenate([[0], np.cumsum(new[:-1])])
        self.order = order
        self.starts = np.concatenate([[0], ends[:-1]])
        """Where each group of equal numbers starts in the order."""
        self._upper = np.empty_like(order)
        self._lower = np.empty_like(order)
        self._upper[order], self._lower[order] = ends[tie], self.starts[tie]

    def ranks(self, weights: Floats) -> Floats:
        """Returns (b, p) mid-ranks, less one half, when number k occurs weights[:, k] times.

        rank_k = sum of the weights of smaller numbers + half of those of equal ones; exact for
        whole weights. No correlation sees the half that the usual mid-rank has more.
        """
        sums = np.zeros((len(weights), weights.shape[1] + 1))
        np.cumsum(weights[:, self.order], axis=1, out=sums[:, 1:])
        ranked = sums[:, self._upper]
        ranked += sums[:, self._lower]
        ranked /= 2
        return ranked

    def tied(self, weights: Floats) -> Floats:
        """Returns (b,) the sum over groups of equal numbers of their squared weight."""
        groups = np.add.reduceat(weights[:, self.order], self.starts, axis=1)
        return np.einsum("bt,bt->b", groups, groups)


def ranks(values: Floats) -> Floats:
    """Returns the mid-ranks of `values`, less one half."""
    return Order(values).ranks(np.ones((1, len(values))))[0]


def scores(values: Floats, method: str) -> Floats:
    """Returns values (d, p) or their ranks with mean 0 and variance 1 where they vary."""
    if method == "spearman":
        values = np.stack([ranks(row) for row in values])
    return standard(values)


def standard(values: Floats) -> Floats:
    """Standardises the last axis; numbers that do not vary become zeros."""
    centred = values - values.mean(axis=-1, keepdims=True)
    size = np.abs(values).max(axis=-1, keepdims=True, initial=0)
    spread = centred.std(axis=-1, keepdims=True)
    varies = np.ptp(values, axis=-1, keepdims=True) > ROUNDING * size
    return np.where(varies, centred / np.where(varies, spread, 1), 0.0)


def correlations(block: Block, counts: Floats, method: str) -> Floats:
    """Returns the correlation of every dataset pair when models occur `counts` times.

    Args:
        block: the numbers.
        counts: (m, b) whole numbers, one column per replicate.
        method: `pearson`; `spearman`: mid-ranks are taken anew in every replicate; `kendall`:
            tau-b.

    Returns:
        (q, b) correlations; NaN where a replicate has no variance.
    """
    if method == "kendall":
        return _kendall(block, block.weights(counts))
    units = standard(block.values)
    orders = [Order(row) for row in block.values] if method == "spearman" else []
    parts = []
    for chunk in chunks(block.values.size, counts.shape[1]):
        weights = block.weights(counts[:, chunk])
        if orders:
            units = _rank_scores(orders, weights)
        parts.append(_pearson(units, weights, block.left, block.right))
    return np.concatenate(parts, axis=1)


def _rank_scores(orders: Sequence[Order], weights: Floats) -> Floats:
    """Returns (b, d, p) ranks of order one, so that no absolute size matters."""
    total = np.maximum(weights.sum(axis=1), 1)[:, None]
    ranked = np.empty((len(weights), len(orders), weights.shape[1]))
    for dataset, order in enumerate(orders):
        ranked[:, dataset] = order.ranks(weights) / total - 0.5
    return ranked


def _pearson(units: Floats, weights: Floats, left: Ints, right: Ints) -> Floats:
    """Returns (q, b) weighted Pearson correlations of units: (d, p) or (b, d, p)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        weighted = units * (weights / weights.sum(axis=1, keepdims=True))[:, None]
        mean = weighted.sum(axis=2)
        products = weighted @ np.swapaxes(units, -1, -2)
        products -= mean[:, :, None] * mean[:, None, :]
        variance = np.diagonal(products, axis1=1, axis2=2)
        x, y = variance[:, left], variance[:, right]
        r = products[:, left, right] / np.sqrt(x * y)
    return np.where((x > ROUNDING) & (y > ROUNDING), np.clip(r, -1, 1), np.nan).T


def _kendall(block: Block, weights: Floats) -> Floats:
    """Returns (q, b) weighted tau-b.

    The sum of w_k w_l sign(x_k - x_l) sign(y_k - y_l) is a product of matrices; all numbers in it
    are whole and below 2^24, so float32 holds them exactly.
    """
    total = weights.sum(axis=1) ** 2
    untied = [total - Order(row).tied(weights) for row in block.values]
    columns = weights.T.astype(np.float32)
    found = np.empty((len(block.left), len(weights)))
    for pair, (x, y) in enumerate(zip(block.left, block.right, strict=True)):
        above = np.zeros(len(weights))
        for rows, signs in _concordance(block.values[x], block.values[y]):
            above += np.einsum("kb,kb->b", weights.T[rows], signs @ columns)
        with np.errstate(invalid="ignore", divide="ignore"):
            tau = above / np.sqrt(untied[x] * untied[y])
        found[pair] = np.where((untied[x] > 0) & (untied[y] > 0), np.clip(tau, -1, 1), np.nan)
    return found


def _concordance(x: Floats, y: Floats) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yields rows of the signs of (x_k - x_l) (y_k - y_l), a part at a time."""
    places = [np.searchsorted(np.unique(v), v).astype(np.float32) for v in (x, y)]
    for rows in chunks(len(x), len(x), 2**22):
        a, b = (np.sign(place[rows, None] - place[None]) for place in places)
        yield rows, a * b


def influences(block: Block, method: str) -> Floats:
    """Returns (q, p) derivatives of p z with respect to each pair's weight; their mean is zero.

    z is Fisher's artanh(r). For standardised u, v: u v - r (u^2 + v^2) / 2, divided by 1 - r^2;
    for ranks also the effect of a pair on the ranks of all others.
    """
    if method == "kendall":
        return np.stack(
            [
                _kendall_influence(block.values[x], block.values[y])
                for x, y in zip(block.left, block.right, strict=True)
            ]
        )
    units = scores(block.values, method)
    u, v = units[block.left], units[block.right]
    r = np.clip((u * v).mean(axis=1, keepdims=True), -1 + ROUNDING, 1 - ROUNDING)
    slope = u * v - r / 2 * (u**2 + v**2)
    if method == "spearman":
        for side, other in ((block.left, v - r * u), (block.right, u - r * v)):
            for dataset in np.unique(side):
                rows = side == dataset
                order = Order(block.values[dataset])
                spread = ranks(block.values[dataset]).std() or 1.0
                slope[rows] -= order.ranks(other[rows]) / spread
    return (slope - slope.mean(axis=1, keepdims=True)) / (1 - r**2)


def _kendall_influence(x: Floats, y: Floats) -> Floats:
    """Returns (p,) derivatives of p artanh(tau-b) with respect to each pair's weight."""
    ones = np.ones((1, len(x)))
    both = np.concatenate([signs.sum(axis=1) for _, signs in _concordance(x, y)])
    untied = []
    for values in (x, y):
        order = Order(values)
        sizes = np.diff(np.append(order.starts, len(values)))
        position = np.empty(len(values), dtype=np.intp)
        position[order.order] = np.repeat(np.arange(len(sizes)), sizes)
        each = len(values) - sizes[position]
        untied.append((each, len(values) ** 2 - order.tied(ones)[0]))
    (a, in_x), (b, in_y) = untied
    if not (in_x and in_y):
        return np.zeros(len(x))
    tau = np.clip(both.sum() / np.sqrt(in_x * in_y), -1 + ROUNDING, 1 - ROUNDING)
    slope = 2 * both / np.sqrt(in_x * in_y) - tau * (a / in_x + b / in_y)
    return len(x) * slope / (1 - tau**2)


def blocks_of(sizes: tuple[int, ...]) -> list[Ints]:
    """Returns the positions of the models of each side."""
    edges = np.cumsum([0, *sizes])
    return [np.arange(low, high) for low, high in pairwise(edges)]


def chunks(rows: int, columns: int, size: int | None = None) -> Iterator[slice]:
    """Yields slices of the columns, so that each has about `size` numbers."""
    step = max(1, (size or CHUNK) // max(rows, 1))
    return (slice(start, start + step) for start in range(0, columns, step))
