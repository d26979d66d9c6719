"""Nuclear norms of cross products in less than half of the time, with bounds that are checked.

A cross product of float32 copies takes half of the time of one of float64, and the eigenvalues of
its smaller Gram matrix a sixth of the time of its singular values. What each loses is bounded for
the pair at hand; where that is more than the caller allows, the slower way is taken.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

EPS = float(np.finfo(float).eps)
LARGE = 2**18
"""From so many entries on, a side keeps a float32 copy."""
NARROW = 64
"""Up to so many units on one side, all singular values are found."""
STRONG = 32
"""Units on both sides whose products are of float64."""
PROBES = 8
"""Random vectors by which the error of a float32 product is told."""


class Scaled(NamedTuple):
    """Features x · 2**exponent, so that squares of x stay in range."""

    x: np.ndarray
    exponent: int = 0
    single: np.ndarray | None = None
    """x in float32, of large x."""
    sketch: np.ndarray | None = None
    """(n, PROBES) x times normal random numbers, then."""

    square: float | None = None
    """‖x‖², then."""

    def permuted(self, order: np.ndarray) -> "Scaled":
        """Returns the rows in the new order."""
        if self.single is None:
            return Scaled(self.x[order], self.exponent)
        return self._replace(x=self.x[order], single=self.single[order], sketch=self.sketch[order])

    @property
    def size(self) -> float:
        """‖x‖²."""
        return float(np.vdot(self.x, self.x)) if self.square is None else self.square


def with_copy(x: np.ndarray, exponent: int = 0, *, turn: bool = True) -> Scaled:
    """Returns x: (n, d), with a float32 copy if it is large.

    Args:
        x: the features.
        exponent: see `Scaled`.
        turn: whether large x is overwritten by x rotated so that its first units are its strongest
            directions, by which the products of others lose less.
    """
    if x.size < LARGE:
        return Scaled(x, exponent)
    x = _turned(x) if turn and min(x.shape) > 2 * STRONG else x
    square = float(np.vdot(x, x))
    return Scaled(x, exponent, x.astype(np.float32), x @ probes(x.shape[1]), square)


def form_bytes(n: int, d: int) -> int:
    """Returns the bytes of a side of n samples and d units with its copy."""
    return 8 * n * d if n * d < LARGE else (12 * d + 8 * PROBES) * n


def _turned(x: np.ndarray) -> np.ndarray:
    """Returns x: (n, d), overwritten, times a rotation to its strongest directions first.

    They are found by two steps of subspace iteration and need not be exact.
    """
    single = x.astype(np.float32)
    block = np.random.default_rng(0).standard_normal((x.shape[1], STRONG), dtype=np.float32)
    for _ in range(2):
        block = np.linalg.qr(single.T @ (single @ block))[0]
    vectors, factors = np.linalg.qr(block.astype(float), mode="raw")
    vectors = np.tril(vectors.T, -1)
    vectors[np.diag_indices(STRONG)] = 1
    # the product of the reflections I - τvvᵀ is I - VTVᵀ (Schreiber and Van Loan 1989)
    inverse = np.triu(vectors.T @ vectors, 1) + np.diag(1 / factors)
    shares = np.linalg.solve(inverse.T, (x @ vectors).T).T
    for start in range(0, len(x), 512):
        x[start : start + 512] -= shares[start : start + 512] @ vectors.T
    return x


@cache
def probes(d: int) -> np.ndarray:
    """Returns (d, PROBES) normal random numbers, the same for every d."""
    return np.random.default_rng(d).standard_normal((d, PROBES))


Norm = Callable[[Scaled, Scaled, Callable[[float], float]], float]
"""A function like `nuclear_norm`."""


def nuclear_norm(a: Scaled, b: Scaled, allowed: Callable[[float], float]) -> float:
    """Returns the sum of the singular values of XᵀY for sides X: (n, d) and Y: (n, d').

    Exponents are not looked at. Small sides are taken as they are. For large ones:

    - C' = XᵀY from float32 copies. With E = C' - XᵀY, sums of singular values differ by at most
      √r ‖E‖ (Frobenius norm, r = min(d, d')), and ‖E‖² is the mean of ‖Eω‖² over normal vectors
      ω, of which 8 are taken, with products in float64. The sum is far from that bound unless E
      has one strength in all directions, and then the mean is sharp.
    - Eigenvalues λ of CCᵀ, known to δ = 2√r ε λ₁; a root is then known to √(λ+δ) - √(λ-δ).

    Args:
        a: one side.
        b: the other.
        allowed: takes a value and returns the error that it may have.
    """
    if a.x.shape[1] > b.x.shape[1]:
        a, b = b, a
    plain = a.single is None or b.single is None
    if plain or a.x.shape[1] <= NARROW:
        return _singular_sum(a.x.T @ b.x)
    cross = (a.single.T @ b.single).astype(float)
    cross[:STRONG, :STRONG] = a.x[:, :STRONG].T @ b.x[:, :STRONG]
    slack = _product_error(a, b, cross)
    value, loss = _gram_sum(cross)
    if slack + loss <= allowed(value):
        return value
    if slack > allowed(value) / 2:
        cross = a.x.T @ b.x
        value, loss = _gram_sum(cross)
        if loss <= allowed(value):
            return value
    return _singular_sum(cross)


def _product_error(a: Scaled, b: Scaled, cross: np.ndarray) -> float:
    """Returns a bound of the difference of nuclear norms of the cross product and the true one."""
    missed = a.x.T @ b.sketch - cross @ probes(b.x.shape[1])
    return 1.25 * float(np.linalg.norm(missed)) * np.sqrt(len(cross) / PROBES)


def _gram_sum(cross: np.ndarray) -> tuple[float, float]:
    """Returns the sum of singular values of cross: (d, d'), d ≤ d', and a bound of its error."""
    squares = np.maximum(np.linalg.eigvalsh(cross @ cross.T), 0)
    unsure = 2 * np.sqrt(len(cross)) * EPS * squares[-1]
    loss = np.sqrt(squares + unsure) - np.sqrt(np.maximum(squares - unsure, 0))
    return float(np.sqrt(squares).sum()), float(loss.sum())


def _singular_sum(cross: np.ndarray) -> float:
    return float(np.linalg.svd(cross, compute_uv=False).sum())


class Vectors(NamedTuple):
    """Singular vectors of a matrix (d, d') with d ≤ d'."""

    cross: np.ndarray
    sizes: np.ndarray
    """(d,) singular values, falling."""
    narrow: np.ndarray
    """(d, d) left ones."""
    found: np.ndarray | None
    """(d', d) right ones, if they are known."""

    @property
    def wide(self) -> np.ndarray:
        """The right ones (d', d)."""
        return self.cross.T @ (self.narrow / self.sizes) if self.found is None else self.found


def singular_vectors(cross: np.ndarray) -> Vectors:
    """Returns the singular vectors of cross: (d, d') with d ≤ d'.

    From the smaller Gram matrix, at half of the time, where no singular value is below 10⁻⁴ of the
    largest: vectors are then orthonormal to 10⁻⁸, and turned among neighbours by as much as if the
    product had been rounded to 10⁻¹².
    """
    if len(cross) > NARROW:
        squares, vectors = np.linalg.eigh(cross @ cross.T)
        squares, vectors = squares[::-1], vectors[:, ::-1]
        if squares[-1] > 1e-8 * squares[0]:
            return Vectors(cross, np.sqrt(squares), vectors, None)
    u, sizes, vt = np.linalg.svd(cross, full_matrices=False)
    return Vectors(cross, sizes, u, vt.T)


def left_vectors(cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the left singular vectors (d, r) and singular values of (d, d'), r the smaller."""
    if len(cross) <= cross.shape[1]:
        found = singular_vectors(cross)
        return found.narrow, found.sizes
    found = singular_vectors(cross.T)
    return found.wide, found.sizes


def comes_later(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether x: (n, d) follows y: (n, d') in a fixed order of features: by width, then by content.

    So that exchanged arguments give the same bits.
    """
    if x.shape != y.shape:
        return x.shape > y.shape
    for start in range(0, len(x), 64):
        a, b = (side[start : start + 64].ravel() for side in (x, y))
        different = np.flatnonzero(a != b)[:1]
        if different.size:
            return bool(a[different[0]] > b[different[0]])
    return False
