"""Distances between kernel matrices of samples: Bures and affine-invariant Riemannian."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.forms.log_ratios import log_sums
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

PRECISION = 1e-6
"""To which a Riemannian distance is known, at least."""
MORE = 4
"""Nodes to take beside the first ones where these do not prove it."""
EPS = float(np.finfo(float).eps)
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

    Cost: n d² per model; per pair n d d' and some 20 to 30 determinants of d d' (d + d'/3), d ≤ d',
    more of them for a smaller ridge. Where these do not prove the distance to 10⁻⁶, as for sides
    that are nearly the same or n < d + d', an eigenvalue problem of min(n, d + d'). Memory
    8 n min(n, d) bytes.

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

    def prepare(self, x: np.ndarray) -> "Turned":
        """Returns x: (n, d) centred and in at most n dimensions, of norm √n if scaled.

        Turned to its principal axes if it is large and n ≥ d.
        """
        wide = x.shape[1] > len(x)
        x, exponent = scaled(x, center=self.center, unit=self.scale)[:2]
        x = reduced(x) * np.sqrt(len(x)) if self.scale else reduced(x)
        if x.size < LARGE or wide:
            return Turned(x, exponent)
        squares, axes = np.linalg.eigh(x.T @ x)
        return Turned(x @ axes, exponent, np.maximum(squares, 0))

    def permuted(self, a: "Turned", order: np.ndarray) -> "Turned":
        """Returns the rows in the new order."""
        return a._replace(x=a.x[order])

    def compare(self, a: "Turned", b: "Turned") -> float:
        """Returns the distance from the eigenvalues of both kernels on their common space."""
        if comes_later(a.x, b.x):
            a, b = b, a  # so that exchanged arguments give the same bits
        floors = [self.ridge * float(np.vdot(side.x, side.x)) / len(side.x) for side in (a, b)]
        shift = 2 * (a.exponent - b.exponent) * np.log(2)
        found = _by_determinants(a, b, floors, shift)
        if found is not None:
            return found
        ratios = _ratios(a.x, b.x, floors)
        if not (ratios > 0).all():
            raise MetricError(f"a kernel is singular up to rounding; raise ridge = {self.ridge}")
        total = np.sum((np.log(ratios) + shift) ** 2)
        total += (len(a.x) - len(ratios)) * (np.log(floors[0] / floors[1]) + shift) ** 2
        return float(np.sqrt(total))

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of n samples in min(n, d) dimensions."""
        return 8 * (n + 1) * min(n, d)


class Turned(NamedTuple):
    """Features x · 2**exponent, maybe on their principal axes."""

    x: np.ndarray
    """(n, d)."""
    exponent: int
    squares: np.ndarray | None = None
    """(d,) the eigenvalues of xᵀx, which is diagonal then."""


def _by_determinants(a: Turned, b: Turned, floors: list[float], shift: float) -> float | None:
    """Returns the distance, or None where it is not known to `PRECISION`."""
    n, units = len(a.x), a.x.shape[1] + b.x.shape[1]
    if a.squares is None or b.squares is None or units > n:
        return None
    first, second = floors
    cross = a.x.T @ b.x / np.sqrt(first * second)
    move = np.log(second / first) - shift  # of all eigenvalues
    for more in (0, MORE):
        found = log_sums(a.squares / first, b.squares / second, cross, more)
        if found is None:
            return None
        total = found.squares + 2 * move * found.total + n * move * move
        loss = found.loss + 8 * EPS * n * move * move
        if total > 0 and loss <= 2 * PRECISION * np.sqrt(total):
            return float(np.sqrt(total))
    return None


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
