"""Distances between kernel matrices of samples: Bures and affine-invariant Riemannian."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.forms.bases import basis_by_gram
from consilience.forms.nuclear import LARGE, Scaled, comes_later, with_copy
from consilience.metrics import Facts, Metric, metric
from consilience.metrics.procrustes import (
    UNIT_BOUNDS,
    RotationMetric,
    check_flags,
    check_number,
    reduced,
    scaled,
    without,
)

SAFE_RIDGE = 1e-4
"""Ridge from which on kernels of large features are taken apart."""
SAFE_ANGLE = 1e-3
"""Sine of the angle between two spans from which on they are taken to share no direction."""
TINY, HUGE = float(np.finfo(float).tiny), float(np.finfo(float).max)


@metric(
    "nbs",
    symmetric=True,
    bounds=UNIT_BOUNDS["similarity"],
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="tang2020",
)
@dataclass(frozen=True)
class NBS(RotationMetric):
    r"""Normalised Bures similarity of centred Gram matrices K = XXᵀ, L = YYᵀ (Tang et al. 2020).

    The fidelity tr (K^½ L K^½)^½ over √(tr K tr L). It equals ‖XᵀY‖⁎ / (‖X‖ ‖Y‖), the cosine of
    the angle of `procrustes` (Harvey et al. 2023): `angular` is its arc cosine and `distance`
    √(2 - 2 NBS), the values of `procrustes` with the same form. It is rsatoolbox's `bures` on
    squared Euclidean dissimilarities. No matrix square root is taken, so no digits are lost.
    Independent features score well above 0, near 1 when n < d: compare with permuted samples.

    Cost and memory: as `procrustes`.

    Args:
        center: subtract the mean of each unit first.
        form: `similarity`, `angular` (radians) or `distance`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(NBS()(x, x + np.roll(x, 1, axis=0)), 4)
        0.7189
    """

    center: bool = True
    form: Literal["similarity", "angular", "distance"] = "similarity"

    def check(self) -> None:
        """Raises ConfigError if center is not true or false."""
        check_flags(self, "center")

    @property
    def facts(self) -> Facts:
        """The facts: the angle and the distance are metrics."""
        facts = without(self.class_facts, center=self.center, scale=True)
        if self.form == "similarity":
            return facts
        return replace(
            facts,
            bounds=UNIT_BOUNDS[self.form],
            self_value=0.0,
            larger_is_more_similar=False,
            is_metric=True,
        )

    def prepare(self, x: np.ndarray) -> Scaled:
        """Returns x: (n, d) centred, of unit norm and in at most n dimensions."""
        return with_copy(reduced(scaled(x, center=self.center, unit=True).x))


@metric(
    "bures",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=True,
    invariant_to={"permutation", "orthogonal", "translation"},
    citation="harvey2023",
)
@dataclass(frozen=True)
class Bures(RotationMetric):
    r"""Bures distance between centred kernels per unit, K = XXᵀ/d and L = YYᵀ/d'.

    √(tr K + tr L - 2 tr (K^½ L K^½)^½), which equals the Procrustes distance between X/√d and
    Y/√d' (Harvey et al. 2023); dividing by the number of units makes models of different widths
    comparable. The form `squared` is what rsatoolbox calls `bures_metric` (on squared Euclidean
    dissimilarities per channel): without the root it violates the triangle inequality.

    Cost and memory: as `procrustes`.

    Args:
        center: subtract the mean of each unit first.
        form: `distance` or `squared`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(Bures()(x, x + np.roll(x, 1, axis=0)), 4)
        2.751
    """

    center: bool = True
    form: Literal["distance", "squared"] = "distance"

    def check(self) -> None:
        """Raises ConfigError if center is not true or false."""
        check_flags(self, "center")

    @property
    def facts(self) -> Facts:
        """The facts: the square is not a metric."""
        facts = without(self.class_facts, center=self.center, scale=True)
        return replace(facts, is_metric=self.form == "distance")

    def prepare(self, x: np.ndarray) -> Scaled:
        """Returns x: (n, d) over √d, centred and in at most n dimensions."""
        d = x.shape[1]
        x, exponent = scaled(x, center=self.center)[:2]
        return with_copy(reduced(x) / np.sqrt(d), exponent)


@metric(
    "riemannian",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=True,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="shahbazi2021",
)
@dataclass(frozen=True)
class Riemannian(Metric):
    r"""Affine-invariant Riemannian distance between kernel matrices (Shahbazi et al. 2021).

    √(Σ log² λᵢ) over the eigenvalues of K⁻¹L, where K = XXᵀ + ridge · t I, L alike, and t is the
    mean eigenvalue tr XXᵀ / n: kernels of n samples in fewer than n dimensions have no inverse
    without a ridge. With `scale` each kernel is divided by t first; without it, features times c
    are at distance √n log c² from themselves. The value grows as √n and, for a small ridge, is
    decided by the directions without variance: compare values of one n and one ridge only.

    Cost: nothing per model if n ≥ d; per pair m³ with m = min(n, d + d'), as all directions
    outside the features of both sides have one known eigenvalue. Memory 8 n min(n, d) bytes.

    Args:
        ridge: added to the kernel's eigenvalues, as a multiple of their mean; above 0.
        center: subtract the mean of each unit first.
        scale: divide each kernel by its mean eigenvalue.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(Riemannian()(x, x + np.roll(x, 1, axis=0)), 4)
        7.6576
    """

    ridge: float = 0.1
    center: bool = True
    scale: bool = True

    def check(self) -> None:
        """Raises ConfigError if the ridge is not a number above 0."""
        check_flags(self, "center", "scale")
        check_number(self, "ridge", TINY, HUGE, "a number above 0")

    @property
    def facts(self) -> Facts:
        """The facts: what is not removed first is seen."""
        return without(self.class_facts, center=self.center, scale=self.scale)

    def prepare(self, x: np.ndarray) -> "Scaled | Split":
        """Returns x: (n, d) centred and in at most n dimensions, of norm √n if scaled.

        Split into a basis and coordinates if it is large and all its units are independent.
        """
        given = x
        x, exponent = scaled(x, center=self.center, unit=self.scale)[:2]
        x = reduced(x) * np.sqrt(len(x)) if self.scale else reduced(x)
        if x.size >= LARGE and len(x) > 2 * x.shape[1] and self.ridge >= SAFE_RIDGE:
            found = basis_by_gram(x, given)
            if found is not None:
                return Split.of(*found, exponent, self.ridge)
        return Scaled(x, exponent)

    def permuted(self, a: "Scaled | Split", order: np.ndarray) -> "Scaled | Split":
        """Returns the rows in the new order."""
        return a._replace(basis=a.basis[order]) if isinstance(a, Split) else a.permuted(order)

    def compare(self, a: "Scaled | Split", b: "Scaled | Split") -> float:
        """Returns the distance from the eigenvalues of both kernels on their common space."""
        if comes_later(a[0], b[0]):
            a, b = b, a  # so that exchanged arguments give the same bits
        n = len(a[0])
        shift = 2 * (a.exponent - b.exponent) * np.log(2)
        ratios = _split_ratios(a, b) if isinstance(a, Split) and isinstance(b, Split) else None
        floors = [
            side.floor if isinstance(side, Split) else self.ridge * side.size / n for side in (a, b)
        ]
        if ratios is None:
            ratios = _ratios(a.x, b.x, floors)
        if not (ratios > 0).all():
            raise MetricError(f"a kernel is singular up to rounding; raise ridge = {self.ridge}")
        total = np.sum((np.log(ratios) + shift) ** 2)
        total += (n - len(ratios)) * (np.log(floors[0] / floors[1]) + shift) ** 2
        return float(np.sqrt(total))

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of n samples in min(n, d) dimensions, and of their coordinates."""
        d = min(n, d)
        return 8 * n * d + 16 * d * d


class Split(NamedTuple):
    """Features QR · 2**exponent with orthonormal Q, and the ridge of their kernel."""

    basis: np.ndarray
    """Q: (n, d)."""
    coordinates: np.ndarray
    """R: (d, d)."""
    whitener: np.ndarray
    """F⁻¹: (d, d) for the Cholesky factor F of RRᵀ + floor."""
    floor: float
    exponent: int

    @classmethod
    def of(cls, basis: np.ndarray, coordinates: np.ndarray, exponent: int, ridge: float) -> "Split":
        """Returns the split features with the inverse of their kernel's factor."""
        floor = float(ridge * np.vdot(coordinates, coordinates) / len(basis))
        kernel = coordinates @ coordinates.T + floor * np.eye(len(coordinates))
        return cls(basis, coordinates, np.linalg.inv(np.linalg.cholesky(kernel)), floor, exponent)

    @property
    def x(self) -> np.ndarray:
        """The features, over the power of two."""
        return self.basis @ self.coordinates


def _split_ratios(a: Split, b: Split) -> np.ndarray | None:
    """Returns `_ratios` of split features; None where their spans nearly share a direction.

    In the basis [Q, P] of both spans, with Q' = QW + PLᵀ, the one kernel is blockwise diagonal and
    its inverse factor known; the other is R' in coordinates [W; Lᵀ]. So one product of samples and
    one symmetric eigenproblem are left.
    """
    width, other = a.basis.shape[1], b.basis.shape[1]
    if width + other >= len(a.basis):
        return None
    shared = a.basis.T @ b.basis
    try:
        lower = np.linalg.cholesky(np.eye(other) - shared.T @ shared)
    except np.linalg.LinAlgError:
        return None
    if np.diagonal(lower).min() < SAFE_ANGLE:
        return None
    rows = np.vstack(
        [
            a.whitener @ (shared @ b.coordinates),
            lower.T @ b.coordinates / np.sqrt(a.floor),
        ]
    )
    kernel = rows @ rows.T
    kernel[:width, :width] += b.floor * (a.whitener @ a.whitener.T)
    outside = np.arange(width, width + other)
    kernel[outside, outside] += b.floor / a.floor
    ratios = np.linalg.eigvalsh(kernel)
    return 1 / ratios if ratios[0] > 0 else np.zeros(1)


def _ratios(x: np.ndarray, y: np.ndarray, floors: list[float]) -> np.ndarray:
    """Returns the eigenvalues of K relative to L, of features x: (n, d) and y: (n, d').

    There are n, or d + d' if that is less: all others are the ratio of the floors.
    """
    from scipy.linalg import LinAlgError, eigh  # noqa: PLC0415 - slow to import

    n, width = x.shape
    if width + y.shape[1] < n:
        basis = np.linalg.qr(np.hstack([x, y]), mode="r")
        x, y = basis[:, :width], basis[:, width:]
    eye = np.eye(len(x))
    try:
        return eigh(x @ x.T + floors[0] * eye, y @ y.T + floors[1] * eye, eigvals_only=True)
    except LinAlgError:
        return np.zeros(1)
