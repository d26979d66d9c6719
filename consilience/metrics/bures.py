"""Distances between kernel matrices of samples: Bures and affine-invariant Riemannian."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consilience.errors import MetricError
from consilience.metrics import Facts, Metric, metric
from consilience.metrics._nuclear import Scaled, with_copy
from consilience.metrics.procrustes import (
    UNIT_BOUNDS,
    RotationMetric,
    check_flags,
    check_number,
    reduced,
    scaled,
    without,
)

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

    def prepare(self, x: np.ndarray) -> Scaled:
        """Returns x: (n, d) centred and in at most n dimensions, of norm √n if scaled."""
        x, exponent = scaled(x, center=self.center, unit=self.scale)[:2]
        return Scaled(reduced(x) * np.sqrt(len(x)) if self.scale else reduced(x), exponent)

    def permuted(self, a: Scaled, order: np.ndarray) -> Scaled:
        """Returns the rows in the new order."""
        return Scaled(a.x[order], a.exponent)

    def compare(self, a: Scaled, b: Scaled) -> float:
        """Returns the distance from the eigenvalues of both kernels on their common space."""
        from scipy.linalg import LinAlgError, eigh  # noqa: PLC0415 - slow to import

        if _comes_later(a, b):
            a, b = b, a  # so that exchanged arguments give the same bits
        n, width = a.x.shape
        shift = 2 * (a.exponent - b.exponent) * np.log(2)
        floors = [self.ridge * np.vdot(side.x, side.x) / n for side in (a, b)]
        x, y = a.x, b.x
        if width + y.shape[1] < n:
            basis = np.linalg.qr(np.hstack([x, y]), mode="r")
            x, y = basis[:, :width], basis[:, width:]
        eye = np.eye(len(x))
        try:
            ratios = eigh(x @ x.T + floors[0] * eye, y @ y.T + floors[1] * eye, eigvals_only=True)
        except LinAlgError:
            ratios = np.zeros(1)
        if not (ratios > 0).all():
            raise MetricError(f"a kernel is singular up to rounding; raise ridge = {self.ridge}")
        total = np.sum((np.log(ratios) + shift) ** 2)
        total += (n - len(x)) * (np.log(floors[0] / floors[1]) + shift) ** 2
        return float(np.sqrt(total))

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of n samples in min(n, d) dimensions."""
        return 8 * n * min(n, d)


def _comes_later(a: Scaled, b: Scaled) -> bool:
    """Whether a follows b in some fixed order of prepared forms."""
    if a.x.shape != b.x.shape:
        return a.x.shape > b.x.shape
    different = np.flatnonzero(a.x.ravel() != b.x.ravel())[:1]
    return bool(different.size) and bool(a.x.ravel()[different[0]] > b.x.ravel()[different[0]])
