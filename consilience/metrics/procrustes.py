"""Distance after the best rotation: Procrustes and generalised shape metrics."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.bases import basis_by_gram
from consilience.forms.kernels import check_varies, power_of_two_scale
from consilience.forms.nuclear import Norm, Scaled, form_bytes, nuclear_norm, with_copy
from consilience.metrics import Facts, Metric, metric

EPS = float(np.finfo(float).eps)
NEAR = 1e-3
"""Share of |x|² + |y|² below which a squared distance is found from residuals, not differences."""
PRECISION = 1e-6
"""Share of the size of both sides to which a distance is known, at least."""
UNIT_BOUNDS = {
    "distance": (0.0, float(np.sqrt(2))),
    "angular": (0.0, float(np.pi / 2)),
    "squared": (0.0, 2.0),
    "similarity": (0.0, 1.0),
}
"""Bounds of each form where both sides have unit norm and may be rotated."""


def check_flags(metric: Metric, *names: str) -> None:
    """Raises ConfigError if one of the named parameters is not true or false."""
    for name in names:
        value = getattr(metric, name)
        if not isinstance(value, bool):
            raise ConfigError(
                f"metric {metric.class_facts.name!r}: {name} cannot be {value!r}; use true or false"
            )


def check_number(metric: Metric, name: str, low: float, high: float, words: str) -> None:
    """Raises ConfigError if the named parameter is not a number in [low, high]."""
    value = getattr(metric, name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise ConfigError(
            f"metric {metric.class_facts.name!r}: {name} cannot be {value!r}; use {words}"
        )


def scaled(x: np.ndarray, *, center: bool, unit: bool = False) -> Scaled:
    """Returns x: (n, d), centred over the samples and of unit Frobenius norm where asked.

    Raises:
        MetricError: the features are constant.
    """
    check_varies(x)
    exponent = int(np.frexp(np.abs(x).max())[1])
    x = power_of_two_scale(x)
    if center:
        x = x - x.mean(axis=0)
    return Scaled(x / np.linalg.norm(x)) if unit else Scaled(x, exponent)


def reduced(x: np.ndarray) -> np.ndarray:
    """Returns x: (n, d) rotated into its min(n, d) dimensions, which no Gram matrix can tell."""
    return np.linalg.qr(x.T, mode="r").T if x.shape[1] > len(x) else x


def common_scale(a: Scaled, b: Scaled) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns both sides over one power of two, and its exponent."""
    exponent = max(a.exponent, b.exponent)
    x, y = (side.x if side.exponent == exponent else _shifted(side, exponent) for side in (a, b))
    return x, y, exponent


def _shifted(side: Scaled, exponent: int) -> np.ndarray:
    return np.ldexp(side.x, side.exponent - exponent)


def times_power(value: float, exponent: int) -> float:
    """Returns value · 2**exponent.

    Raises:
        MetricError: it is larger than any float.
    """
    with np.errstate(over="ignore"):
        value = float(np.ldexp(value, exponent))
    if not np.isfinite(value):
        raise MetricError("the value is larger than any float; divide the features by a constant")
    return value


def rotation_gap(a: Scaled, b: Scaled, norm: Norm = nuclear_norm) -> tuple[float, int]:
    """Returns the minimum of ‖XQ - Y‖² over orthogonal Q for sides X: (n, d) and Y: (n, d').

    It is the first number returned times 4 to the power of the second. The narrower side is padded
    with zero columns, which is the same for any padding. The root of the number, over the size of
    the sides √((‖X‖² + ‖Y‖²)/2), is known to `PRECISION`; see `nuclear_norm`, or another `norm`.
    """
    exponent = max(a.exponent, b.exponent)
    shifts = [side.exponent - exponent for side in (a, b)]
    total = sum(
        float(np.ldexp(side.size, 2 * shift)) for side, shift in zip((a, b), shifts, strict=True)
    )
    power = int(sum(shifts))

    def gap(strength: float) -> float:
        return total - 2 * float(np.ldexp(strength, power))

    def allowed(strength: float) -> float:
        left = gap(strength)
        if left <= NEAR * total:  # found from residuals
            return np.inf
        return float(np.ldexp(PRECISION * np.sqrt(left * total / 2), -power))

    found = gap(norm(a, b, allowed))
    if found > NEAR * total:
        return found, exponent
    x, y, exponent = common_scale(a, b)
    return _residual(x, y), exponent


def _residual(a: np.ndarray, b: np.ndarray) -> float:
    """Returns rotation_gap from the rotated features, where the difference of norms cancels.

    A product of features knows directions of small variance only to the square root of rounding,
    so these are aligned again among themselves.
    """
    gap = 0.0
    while a.shape[1] and b.shape[1]:
        u, strength, vt = np.linalg.svd(a.T @ b)
        a, b = a @ u, b @ vt.T
        if strength[0] == 0:
            break
        k = int(np.count_nonzero(strength > 1e-6 * strength[0]))
        gap += float(np.sum((a[:, :k] - b[:, :k]) ** 2))
        a, b = a[:, k:], b[:, k:]
    return gap + float(np.vdot(a, a) + np.vdot(b, b))


def in_form(gap: float, form: str) -> float:
    """Returns a squared distance of unit vectors as `distance`, `squared`, `angular` (radians).

    `similarity` is their inner product.
    """
    if form == "squared":
        return gap
    if form == "similarity":
        return 1 - gap / 2
    distance = float(np.sqrt(gap))
    # the arc sine of half the chord keeps the digits of small angles that an arc cosine loses
    return distance if form == "distance" else 2 * float(np.arcsin(min(1.0, distance / 2)))


@dataclass(frozen=True)
class RotationMetric(Metric):
    """A metric that is a function of the squared distance after the best rotation."""

    form: ClassVar[str]
    on_device: ClassVar[str] = "nuclear_norm"

    def compare(self, a: Scaled, b: Scaled, norm: Norm = nuclear_norm) -> float:
        """Returns the value in the wanted form."""
        gap, exponent = rotation_gap(a, b, norm)
        if not np.isfinite(self.facts.bounds[1]):
            power = 2 * exponent if self.form == "squared" else exponent
            return times_power(in_form(gap, self.form), power)
        low, high = UNIT_BOUNDS[self.form]
        return min(high, max(low, in_form(gap, self.form)))  # rounding only

    def permuted(self, a: Scaled, order: np.ndarray) -> Scaled:
        """Returns the rows in the new order."""
        return a.permuted(order)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of n samples in min(n, d) dimensions."""
        return form_bytes(n, min(n, d))


@metric(
    "procrustes",
    symmetric=True,
    bounds=UNIT_BOUNDS["distance"],
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=True,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="williams2021",
)
@dataclass(frozen=True)
class Procrustes(RotationMetric):
    r"""Orthogonal Procrustes distance: min over rotations Q of ‖XQ - Y‖ (Frobenius norm).

    Its square is ‖X‖² + ‖Y‖² - 2‖XᵀY‖⁎ with the nuclear norm; with X and Y of unit norm the
    angle arccos ‖XᵀY‖⁎ is the angular distance (Williams et al. 2021). Unequal widths are padded
    with zeros, which changes nothing. ReSi's names: OrthogonalProcrustesCenteredAndNormalized
    (the default), OrthogonalAngularShapeMetricCentered (form `angular`) and
    ProcrustesSizeAndShapeDistance (scale false). Near-identical sides are compared by residuals,
    so a self-distance is 0 to rounding, where the difference above leaves about 1e-8.

    `squared` violates the triangle inequality. Independent features come nearer to each other the
    larger d / n is, and reach a small distance when n < d: compare with permuted samples.
    Constant features are refused, although they have a distance where scale is false.

    Cost: n d min(n, d) per model (64 n d if n ≥ d); per pair n d d' in float32 and the eigenvalues
    of a d × d matrix, d ≤ d', at most n. Where that is not proven to give the distance to 10⁻⁶ of
    √((‖X‖² + ‖Y‖²)/2), float64 and all singular values. Memory: 12 n min(n, d) bytes per model.

    Args:
        center: subtract the mean of each unit first.
        scale: divide by the Frobenius norm first.
        form: `distance`, `angular` (radians; needs scale) or `squared`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(Procrustes()(x, x + np.roll(x, 1, axis=0)), 4)
        0.7498
    """

    center: bool = True
    scale: bool = True
    form: Literal["distance", "angular", "squared"] = "distance"

    def check(self) -> None:
        """Raises ConfigError for an angle of features that are not scaled."""
        check_flags(self, "center", "scale")
        check_angle(self)

    @property
    def facts(self) -> Facts:
        """The facts: what is not removed first is seen."""
        facts = without(self.class_facts, center=self.center, scale=self.scale)
        bounds = UNIT_BOUNDS[self.form] if self.scale else (0.0, np.inf)
        return replace(facts, bounds=bounds, is_metric=self.form != "squared")

    def prepare(self, x: np.ndarray) -> Scaled:
        """Returns x: (n, d) centred, scaled and in at most n dimensions."""
        x, exponent = scaled(x, center=self.center, unit=self.scale)[:2]
        return with_copy(reduced(x), exponent)


def check_angle(metric: Metric) -> None:
    """Raises ConfigError if an angle is wanted without dividing by the norms."""
    if metric.form == "angular" and not metric.scale:
        raise ConfigError(
            f"metric {metric.class_facts.name!r}: form 'angular' is an angle of features of unit "
            "norm; set scale: true, or use form 'distance'"
        )


def without(facts: Facts, *, center: bool, scale: bool) -> Facts:
    """Returns the facts less translation if not centred and isotropic_scaling if not scaled."""
    removed = {"translation": center, "isotropic_scaling": scale}
    kept = (name for name in facts.invariant_to if removed.get(name, True))
    return replace(facts, invariant_to=frozenset(kept))


@metric(
    "shape",
    symmetric=True,
    bounds=UNIT_BOUNDS["angular"],
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=True,
    invariant_to={"permutation", "orthogonal", "translation"},
    citation="williams2021",
)
@dataclass(frozen=True)
class Shape(RotationMetric):
    r"""Generalised shape metric: Procrustes after partial whitening (Williams et al. 2021).

    Features become φ(X) = X (αI + (1-α)(XᵀX)^(-1/2)), then the best rotation is taken; the value
    is the angle between φ(X)Q and φ(Y), or with φ multiplied by a number so that ‖φ(X)‖ = ‖X‖,
    their distance. α = 1 is Procrustes; α = 0 whitens, so the angle is the arc cosine of the sum
    of canonical correlations over √(r r') with ranks r, r'. Directions without variance, relative
    to the largest singular value, are left out rather than whitened.

    The formula adds the singular values of X to the number 1, so for 0 < α < 1 the result depends
    on the unit of measurement: with singular values of 100, α = 0.5 hardly whitens. `scale: true`
    divides X by the root mean square of its singular values first (and compares distances of unit
    norm), so that α means the same for all models. `scale: false` gives the values of netrep's
    LinearMetric, except its euclidean score for α < 1 where a side is rank-deficient or padded:
    there netrep counts variance that is not there, so that zero columns change the result.

    If n - 1 units or more are independent on both sides, whitened features span the same space
    and α = 0 gives the angle 0 whatever they are.

    Cost: singular vectors of n × d per model, n d min(n, d), if α < 1, or for α = 0 a basis of
    independent units at half of that; else as `procrustes`.

    Args:
        alpha: 1 for no whitening to 0 for full whitening.
        form: `angular` (radians) or `distance`.
        center: subtract the mean of each unit first.
        scale: whiten relative to the size of the features.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(Shape()(x, x + np.roll(x, 1, axis=0)), 4)
        0.7686
    """

    alpha: float = 1.0
    form: Literal["angular", "distance"] = "angular"
    center: bool = True
    scale: bool = False

    def check(self) -> None:
        """Raises ConfigError if alpha is not a number from 0 to 1."""
        check_flags(self, "center", "scale")
        check_number(self, "alpha", 0, 1, "a number from 0 to 1")

    @property
    def facts(self) -> Facts:
        """The facts: full whitening forgets all linear maps, partial whitening sees the scale."""
        facts = without(self.class_facts, center=self.center, scale=True)
        unit_free = self.form == "angular" or self.scale
        known = set(facts.invariant_to)
        if self.scale or (self.form == "angular" and self.alpha in (0, 1)):
            known |= {"isotropic_scaling"}
        if self.alpha == 0 and unit_free:
            known |= {"invertible_linear"}
        bounds = UNIT_BOUNDS[self.form] if unit_free else (0.0, np.inf)
        return replace(facts, invariant_to=frozenset(known), bounds=bounds)

    def prepare(self, x: np.ndarray) -> Scaled:
        """Returns the partially whitened x: (n, d) as (n, rank), up to a rotation."""
        given, shape = x, x.shape
        if self.alpha == 1:  # nothing is whitened
            unit = self.form == "angular" or self.scale
            x, exponent = scaled(x, center=self.center, unit=unit)[:2]
            return with_copy(reduced(x), exponent)
        x, exponent = scaled(x, center=self.center)[:2]
        if self.alpha == 0 and len(x) > 2 * shape[1]:
            found = basis_by_gram(x, given)
            if found is not None:
                unit = self.form == "angular" or self.scale
                size = 1.0 if unit else np.linalg.norm(x)
                basis = found[0] * (size / np.sqrt(shape[1]))
                return with_copy(basis, 0 if unit else exponent, turn=False)
        u, size, _ = np.linalg.svd(x, full_matrices=False)
        rank = int(np.count_nonzero(size > size[0] * max(shape) * EPS))
        u, size = u[:, :rank], size[:rank]
        one = np.sqrt(np.mean(size**2)) if self.scale else np.ldexp(1.0, -exponent)
        weights = self.alpha * size + (1 - self.alpha) * one
        weights /= weights.max()
        weights /= np.linalg.norm(weights)
        if self.form == "angular" or self.scale:
            return with_copy(u * weights)
        return with_copy(u * (weights * np.linalg.norm(size)), exponent)
