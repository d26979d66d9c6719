"""Units as a sample: what an inner product of linear kernels would be with more units.

The kernel of a model is the mean of those of its units, K = Σ x_p x_pᵀ / d: of d units drawn from
many it estimates theirs. ⟨K, L⟩ of two models is a mean over pairs of units and has no bias, but
⟨K, K⟩ holds each unit with itself too, and these terms more units would make vanish. They make
norms too large and normalised similarities too small, the more so the fewer units there are.
Without them all three are U-statistics over units, for the stimuli as they are.

The spread over units comes from leaving out one unit at a time: its part of ⟨K, L⟩, r, and of
⟨K, K⟩, A, both as deviations from the mean. What the parts of two units do together is of the
second order, and decides where two populations are alike: there r = v A, and one unit changes
nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from consilience.forms.rows import Rows

LEAST = 32
"""Units of either side below which nothing is said: the correction is mostly noise there."""
SOME, LOUDEST = 64, 8
"""Units of a model by which the spread is told, if it has more; of these the loudest."""
ENTRIES = 2**17
"""Entries of a block of features."""
LEVEL = 0.95


@dataclass(frozen=True)
class Units:
    """What is kept of a model's units, in the scale of its features."""

    width: int
    """d, the number of units."""
    alone: float
    """Σ ⟨k_p, k_p⟩ over all units, of their centred kernels."""
    some: np.ndarray
    """(n, m) float32: m of the units, centred."""
    own: np.ndarray
    """(m,) the mean of ⟨k_p, k_q⟩ over all other units q, for each of these."""
    pairs: np.ndarray
    """(m, m) ⟨k_p, k_q⟩ of these units; the diagonal is not used."""
    weights: np.ndarray
    """(m,) the share of all units that each of these stands for; their sum is 1."""
    diagonal: bool
    """Whether the diagonal of centred kernels counts."""

    def over(self, length: float, square: float = 1.0) -> "UnitSample":
        """Returns the sample of a kernel that is divided by its `length`.

        Args:
            length: what the centred kernel of all units is divided by.
            square: its squared norm after that.
        """
        d, scale = self.width, (self.width / length) ** 2
        apart = (square - self.alone / length**2) * d / (d - 1) if d > 1 else 0.0
        some = self.some * np.float32(np.sqrt(d / length))
        given = (self.own * scale, self.pairs * scale, self.weights)
        return UnitSample(d, apart, some, *given, diagonal=self.diagonal)


@dataclass(frozen=True)
class UnitSample:
    """One model's units as a sample; kernels are means over units over a common length."""

    width: int
    apart: float
    """⟨K, K⟩ without its bias: over pairs of different units."""
    some: np.ndarray
    own: np.ndarray
    pairs: np.ndarray
    weights: np.ndarray
    diagonal: bool

    @cached_property
    def squares(self) -> np.ndarray:
        """(n, m) the squares of `some`."""
        return self.some**2

    @cached_property
    def levels(self) -> np.ndarray:
        """(n,) float32 the means of the squares over these units."""
        return self.squares @ self.weights.astype(np.float32)

    @cached_property
    def energies(self) -> np.ndarray:
        """(m,) Σ x² of these units."""
        return self.squares.sum(axis=0, dtype=np.float64)

    @cached_property
    def weight(self) -> float:
        """One over the number of units that would tell as much if all had the same weight."""
        return float(self.weights @ self.weights)

    @cached_property
    def parts(self) -> np.ndarray:
        """A: (m,) what each unit's mean product with the others has above the mean, over it."""
        return (self.own - self.weights @ self.own) / self.apart

    @cached_property
    def joint(self) -> tuple[float, np.ndarray, float]:
        """‖e‖², e A, Aᵀ e A: e (m, m) what two units share, over the mean, that is of neither."""
        alone = self.own / self.apart
        rest = _hollow(self.pairs / self.apart - alone[:, None] - alone + 1)
        met = rest @ (self.weights * self.parts)
        square = float(self.weights @ (rest * rest) @ self.weights)
        return square, met, float((self.weights * self.parts) @ met)

    def is_same(self, other: "UnitSample") -> bool:
        """Returns whether both are the same units, and not two draws."""
        alike = (self.width, self.apart) == (other.width, other.apart)
        return alike and np.array_equal(self.some, other.some)


def units_of(x: np.ndarray, *, diagonal: bool) -> Units:
    """Returns what is kept of the units of centred features.

    Args:
        x: (n, d) float32 with column means 0.
        diagonal: whether the diagonal of centred kernels counts.

    Cost: n d m.
    """
    n, d = x.shape
    second, fourth, norms = np.zeros(d), np.zeros(d), np.zeros(n)
    for rows, block in _blocks(x):
        squares = block * block
        second += squares.sum(axis=0)
        norms[rows] = squares.sum(axis=1)
        fourth += np.einsum("ij,ij->j", squares, squares)
    alone = _inner(n, second**2, fourth, second * second, diagonal=diagonal)
    chosen, weights = spread_units(second)
    some, of_some = x[:, chosen], second[chosen]
    products = np.zeros((d, len(chosen)))
    for rows, block in _blocks(x):
        products += block.T @ some[rows]
    energies = some.astype(np.float64) ** 2
    every = _inner(
        *(n, np.einsum("ij,ij->j", products, products), norms @ energies),
        second.sum() * of_some,
        diagonal=diagonal,
    )
    pairs = _inner(
        *(n, products[chosen] ** 2, energies.T @ energies, np.outer(of_some, of_some)),
        diagonal=diagonal,
    )
    own = (every - alone[chosen]) / max(d - 1, 1)
    return Units(d, float(alone.sum()), some, own, pairs, weights, diagonal)


def units_of_vector(x: np.ndarray, vector: np.ndarray, *, diagonal: bool) -> UnitSample:
    """Returns the units of features x: (n, d) as a sample, beside the vector made of them.

    Args:
        x: features.
        vector: their centred linear kernel as `consilience.forms.kernels.pair_vector` gives it,
            times a number that its largest entry tells.
        diagonal: whether the vector ends with the diagonal.
    """
    centred = Rows(x).centered()
    single, norms = centred.float32()
    n = len(x)
    largest = int(np.argmax(np.abs(vector[: n * (n - 1) // 2])))
    ends = np.cumsum(np.arange(n - 1, 0, -1))
    i = int(np.searchsorted(ends, largest, side="right"))
    j = int(largest - ends[i] + n)
    entry = float(np.dot(*centred.take(np.array([i, j]))))
    if not diagonal:  # row sums off the diagonal are its entries, as columns have mean 0
        entry += (norms[i] + norms[j]) / (n - 2) - norms.sum() / ((n - 1) * (n - 2))
    length = abs(np.sqrt(2) * entry / vector[largest])
    return units_of(single, diagonal=diagonal).over(float(length), float(vector @ vector))


def spread_units(second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns up to `SOME` of d units, and the share of all that each stands for.

    The loudest stand for themselves; others are evenly spaced in the order of Σ x².

    Args:
        second: (d,) Σ x² of each.
    """
    order, d = np.argsort(second, kind="stable"), len(second)
    if d <= SOME:
        return order, np.full(d, 1 / d)
    others, rest = SOME - LOUDEST, d - LOUDEST
    places = ((np.arange(others) + 0.5) * rest / others).astype(int)
    weights = np.full(SOME, 1 / d)
    weights[:others] = rest / (others * d)
    return order[np.append(places, np.arange(rest, d))], weights


class OverUnits(NamedTuple):
    """A value as infinitely many units would give it, with a 95 % interval over units."""

    value: float
    low: float
    high: float


def over_units(value: float, a: UnitSample, b: UnitSample, *, normalised: bool) -> OverUnits | None:
    """Returns a value without its bias in units, with its interval; None: nothing can be said.

    v = ⟨K, L⟩ / √(⟨K, K⟩' ⟨L, L⟩'), ' over pairs of different units, less the bias of the quotient,
    which is of the order of 1/d and which leaving out one unit tells.

    Args:
        value: ⟨K, L⟩ as it is.
        a: units of one side.
        b: units of the other, drawn independently of them, or the same.
        normalised: whether the value is that of kernels over their norms.

    Cost: n m².
    """
    if min(a.width, b.width) < LEAST or (normalised and min(a.apart, b.apart) <= 0):
        return None
    if a.is_same(b):
        return OverUnits(1.0, 1.0, 1.0) if normalised else _of_one(a)
    room = float(np.sqrt(a.apart * b.apart)) if normalised else 1.0
    v, products = value / room, _products(a, b)
    products /= np.float32(room)
    light_a, light_b = (side.weights.astype(np.float32) for side in (a, b))
    rows, columns = (products @ light_b).astype(float), (light_a @ products).astype(float)
    mean = float(a.weights @ rows)
    margins = [(rows, np.ones(len(columns))), (np.ones(len(rows)), columns - mean)]
    rows, columns = rows - mean, columns - mean
    if normalised:
        margins += [(a.parts, columns - v * b.parts), (rows, b.parts)]
    rest = _less(products, margins)
    rest *= rest
    rest /= np.float32((1 - a.weight) * (1 - b.weight))
    of_a, of_b = (light_a @ rest).astype(float), (rest @ light_b).astype(float)
    spread = _Spread()
    spread.second += float(of_a @ b.weights) / (a.width * b.width)
    for side, parts, noise in (
        (a, rows, float(of_a @ b.weights**2)),
        (b, columns, float(a.weights**2 @ of_b)),
    ):
        spread.add(side, parts, noise, v if normalised else None)
    return spread.around(v)


class _Spread:
    """Sums up the spread over the units of both sides."""

    def __init__(self) -> None:
        self.bias = self.first = self.second = self.doubt = 0.0
        self.whole = True
        """Whether all units of both sides take part."""

    def add(self, side: UnitSample, parts: np.ndarray, noise: float, v: float | None) -> None:
        """Adds the units of one side.

        Args:
            side: the units.
            parts: r: (m,) what each adds to the value, above the mean.
            noise: variance of that for the units of the other side by which it is told.
            v: the value, if kernels are over their norms.
        """
        d, weights = side.width, side.weights
        self.whole &= d == len(weights)
        if v is not None:
            together = _together(side, parts, v)
            self.second += 2 * together / d**2
            noise += 4 * together / (d - 1)
            left = np.maximum(1 - 2 * side.parts / (d - 2), 1 / d)
            without = (v - parts / (d - 1)) / np.sqrt(left)
            middle = float(weights @ without)
            self.bias += (d - 1) * (middle - v)
            parts = (d - 1) * (middle - without)
        squares = parts * parts
        total = float(weights @ squares)
        self.first += (total / (1 - side.weight) - noise) / d
        if total > 0:
            heavy = float(weights @ squares**2) / total**2
            self.doubt += (total / (1 - side.weight) / d) ** 2 * (heavy - 1) * side.weight

    def around(self, v: float) -> OverUnits:
        """Returns the value and its interval, of a t with freedom as the spread is known.

        Leaving out one unit at a time counts once what units do alone, and twice what they do in
        pairs: of that sum the variance is all or half, or between. Of some of the units alone the
        sum is too uncertain to be a bound.
        """
        from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, and plans need none

        value = v - self.bias
        least = self.first / 2 if self.whole else 0.0
        variance = max(self.second + max(self.first, least), 0.0)
        freedom = 2 * variance**2 / self.doubt if self.doubt > 0 else np.inf
        freedom = min(max(freedom, FREEDOM), 1e6)
        half = np.sqrt(variance) * stdtrit(freedom, (1 + LEVEL) / 2)
        return OverUnits(float(value), float(value - half), float(value + half))


FREEDOM = 4.0
"""Degrees of freedom that an interval has at least."""


def _together(side: UnitSample, parts: np.ndarray, v: float) -> float:
    """Returns the mean of (v (3 A_p A_q - e_pq) - r_p A_q - A_p r_q)² / 4 over pairs of units.

    It is what two units of one side do together, of the second order of the quotient.
    """
    own, w, (rest, of_own, own_own) = side.parts, side.weights, side.joint
    a2, mixed, d = w * own * own, w * own * parts, side.width
    aa, ar, rr = float(a2.sum()), float(mixed.sum()), float(w @ parts**2)
    squares = 9 * (aa**2 - float(a2 @ a2)) + rest - 6 * own_own
    both = 2 * (aa * rr + ar**2) - 4 * float(mixed @ mixed)
    crossed = 6 * (ar * aa - float(mixed @ a2)) - 2 * float((w * parts) @ of_own)
    pairs = (1 - side.weight) * (d - 3) / (d - 1)  # e of all d units has lost both its margins
    return max(v * v * squares + both - 2 * v * crossed, 0.0) / (4 * pairs)


def _of_one(a: UnitSample) -> OverUnits:
    """Returns the squared norm of one model's kernel, over pairs of different units."""
    spread = _Spread()
    spread.add(a, 2 * a.apart * a.parts, 0.0, None)
    return spread.around(a.apart)


def _products(a: UnitSample, b: UnitSample) -> np.ndarray:
    """Returns the inner products of the kernels of some units of both sides.

    What the diagonal takes of them is right on average over each row and each column.
    """
    products = a.some.T @ b.some
    products *= products
    if a.diagonal:
        return products
    n, taken = len(a.some), len(a.some) / (len(a.some) - 2)
    rows, columns = a.squares.T @ b.levels, b.squares.T @ a.levels
    margins = [
        (taken * (rows - a.weights @ rows), np.ones(len(columns))),
        (np.ones(len(rows)), taken * columns),
        (a.energies / (1 - n), b.energies / (n - 2)),
    ]
    return _less(products, margins)


def _less(products: np.ndarray, margins: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Returns products (m, k) less Σ x yᵀ over pairs x: (m,), y: (k,), in place."""
    left, right = (np.array(side, dtype=np.float32) for side in zip(*margins, strict=True))
    products -= left.T @ right
    return products


def _inner(
    n: int, squared: np.ndarray, fourth: np.ndarray, seconds: np.ndarray, *, diagonal: bool
) -> np.ndarray:
    """Returns ⟨k, l⟩ for the centred kernels k = x xᵀ and l = y yᵀ of centred units x and y.

    With the diagonal it is (x·y)². Without, Σᵢ≠ⱼ xᵢxⱼyᵢyⱼ = (x·y)² - Σ x²y², row sums are -xᵢ² and
    -yᵢ², and centring takes 2 Σ x²y² / (n-2) and gives back Σ x² Σ y² / ((n-1) (n-2)).

    Args:
        n: samples.
        squared: (x·y)².
        fourth: Σ x² y².
        seconds: Σ x² · Σ y².
        diagonal: whether the diagonal counts.
    """
    if diagonal:
        return squared
    return squared - fourth * (n / (n - 2)) + seconds / ((n - 1) * (n - 2))


def _hollow(matrix: np.ndarray) -> np.ndarray:
    """Returns the matrix with a diagonal of 0, in place where it can be written."""
    np.fill_diagonal(matrix, 0)
    return matrix


def _blocks(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields the rows of x: (n, d), some at a time, with their place."""
    step = max(1, ENTRIES // x.shape[1])
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        yield rows, x[rows]
