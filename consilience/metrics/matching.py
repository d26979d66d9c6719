"""Similarity after matching single units: correlation match, soft matching, permutations."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consilience.errors import ConfigError
from consilience.forms.kernels import check_varies
from consilience.forms.nuclear import Scaled
from consilience.forms.rows import unit_rounding
from consilience.forms.transport import best_match, transport_plan
from consilience.metrics import Facts, Metric, metric
from consilience.metrics.procrustes import (
    NEAR,
    check_angle,
    check_flags,
    common_scale,
    in_form,
    scaled,
    times_power,
    without,
)

MATCH_BOUNDS = {
    "distance": (0.0, 2.0),
    "angular": (0.0, float(np.pi)),
    "squared": (0.0, 4.0),
    "correlation": (-1.0, 1.0),
}
"""Bounds of each form for unit vectors that may not be rotated."""
PRECISION = 1e-8
"""Share of the least distance by which that of a transport plan may exceed it."""


def unit_columns(x: np.ndarray, *, center: bool = True) -> np.ndarray:
    """Returns x: (n, d) with every unit centred and of unit norm; a constant unit becomes zero.

    Constant is what varies by no more than the rounding of its values.

    Raises:
        MetricError: all units are constant.
    """
    check_varies(x)
    largest, least = np.abs(x).max(axis=0), unit_rounding(x)
    x = x / np.where(
        largest > 0, largest, 1
    )  # units may differ in size beyond the range of squares
    if center:
        dead = np.ptp(x, axis=0) <= least
        x -= x.mean(axis=0)
        x[:, dead] = 0
    norms = np.linalg.norm(x, axis=0)
    return x / np.where(norms > 0, norms, 1)


@metric(
    "permutation_procrustes",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=False,
    invariant_to={"permutation", "isotropic_scaling", "translation"},
    citation="williams2021",
)
@dataclass(frozen=True)
class PermutationProcrustes(Metric):
    """Procrustes distance with permutations only: min over permutations P of ‖XP - Y‖.

    The best match of units maximises the sum of their inner products (Hungarian algorithm); the
    narrower side is padded with zero units, so the units left over count in full. The default is
    ReSi's PermutationProcrustes; `center: true` with form `distance` (or `angular` and
    `scale: true`) gives the scores of netrep's PermutationMetric. The angle is the arc cosine of
    the matched inner product of features of unit norm, and exceeds π/2 if it is negative.

    Among models of one width this is a metric. Across widths the triangle inequality can fail
    (units v; -v; and the pair v/2, -v/2: 2 > 1.42 in units of ‖v‖), since a narrow model must match
    all its units with those of the other, hence the fact is_metric is false.

    Constant features are refused, although they have a distance where center is false.

    Cost: per pair n d d' and a match of d × d' (cubic in d at worst). Memory 8 n d bytes per model.

    Args:
        center: subtract the mean of each unit first.
        scale: divide by the Frobenius norm first.
        form: `distance`, `angular` (radians; needs scale) or `squared`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(PermutationProcrustes()(x, x + np.roll(x, 1, axis=0)), 4)
        4.9525
    """

    center: bool = False
    scale: bool = False
    form: Literal["distance", "angular", "squared"] = "distance"

    def check(self) -> None:
        """Raises ConfigError for an angle of features that are not scaled."""
        check_flags(self, "center", "scale")
        check_angle(self)

    @property
    def facts(self) -> Facts:
        """The facts: what is not removed first is seen."""
        facts = without(self.class_facts, center=self.center, scale=self.scale)
        return replace(facts, bounds=MATCH_BOUNDS[self.form]) if self.scale else facts

    def prepare(self, x: np.ndarray) -> Scaled:
        """Returns x: (n, d) centred and scaled as asked."""
        return scaled(x, center=self.center, unit=self.scale)

    def compare(self, a: Scaled, b: Scaled) -> float:
        """Returns the value of the best match, from residuals so that nothing cancels."""
        x, y, exponent = common_scale(a, b)
        rows, columns = best_match(x.T @ y)
        gap = np.sum((x[:, rows] - y[:, columns]) ** 2)
        rest_x, rest_y = np.delete(x, rows, axis=1), np.delete(y, columns, axis=1)
        gap = float(gap + np.vdot(rest_x, rest_x) + np.vdot(rest_y, rest_y))
        if self.scale:
            return min(MATCH_BOUNDS[self.form][1], in_form(gap, self.form))  # rounding only
        power = 2 * exponent if self.form == "squared" else exponent
        return times_power(in_form(gap, self.form), power)

    def permuted(self, a: Scaled, order: np.ndarray) -> Scaled:
        """Returns the rows in the new order."""
        return Scaled(a.x[order], a.exponent)


@metric(
    "hard_correlation_match",
    symmetric=True,
    bounds=(-1.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "isotropic_scaling", "translation"},
    citation="li2015",
)
@dataclass(frozen=True)
class HardCorrelationMatch(Metric):
    """Mean correlation of units matched one to one (Li et al. 2015).

    The match maximises the sum of signed Pearson correlations; the mean is over the min(d, d')
    matched pairs. A constant unit has correlation 0 with all others, as in ReSi, so the value of
    features with themselves is 1 only if every unit varies. Independent features score above 0,
    on average at most √(2 ln d / n) with d the larger width.

    Cost: n d per model, n d d' and a match of d × d' per pair; memory 8 n d bytes per model.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(HardCorrelationMatch()(x, x + np.roll(x, 1, axis=0)), 4)
        0.6986
    """

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns x: (n, d) with units centred and of unit norm."""
        return unit_columns(x)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the mean correlation of the matched units."""
        correlations = a.T @ b
        return float(np.clip(correlations[best_match(correlations)].mean(), -1, 1))


@metric(
    "soft_correlation_match",
    symmetric=True,
    bounds=(-1.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "isotropic_scaling", "translation"},
    citation="li2015",
)
@dataclass(frozen=True)
class SoftCorrelationMatch(Metric):
    """Mean correlation of each unit with its best partner on the other side (Li et al. 2015).

    Partners may be shared. The means over the units of either side are averaged, as in ReSi, so
    the value is symmetric. Correlations are signed; a constant unit has correlation 0 with all
    others. Independent features score above 0, on average at most √(2 ln d / n) with d the larger
    width, and come close to it.

    Cost: n d per model, n d d' per pair; memory 8 n d bytes per model.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(SoftCorrelationMatch()(x, x + np.roll(x, 1, axis=0)), 4)
        0.6986
    """

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns x: (n, d) with units centred and of unit norm."""
        return unit_columns(x)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the mean of both directions' mean largest correlations."""
        correlations = a.T @ b
        forth, back = correlations.max(axis=1).mean(), correlations.max(axis=0).mean()
        return float(np.clip((forth + back) / 2, -1, 1))


@metric(
    "soft_matching",
    symmetric=True,
    bounds=MATCH_BOUNDS["distance"],
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=True,
    invariant_to={"permutation", "isotropic_scaling", "translation"},
    citation="khosla2024",
)
@dataclass(frozen=True)
class SoftMatching(Metric):
    """Soft matching distance: optimal transport between units (Khosla and Williams 2024).

    Over transport plans P with row sums 1/d and column sums 1/d', the form `distance` is
    √(min Σ Pᵢⱼ ‖xᵢ - yⱼ‖²) and `correlation` is max Σ Pᵢⱼ xᵢ·yⱼ of the activity vectors xᵢ, yⱼ of
    single units. With d = d' it is the best one-to-one match: `permutation_procrustes` divided by
    √d. Other than padding, transport gives a metric across all widths. By default units are
    centred and of unit norm, so distance² = 2 - 2 correlation; a constant unit counts as a zero
    vector, so the correlation of features with themselves is 1 only if every unit varies.

    The plan is a vertex of all plans and proven by prices: its distance exceeds the least by no
    more than 10⁻⁸ of it. Where that fails, as at distance 0, the whole problem is solved: by
    assignment of copies where d and d' have a small common multiple (384 and 512 units: 0.3 s),
    else by linear programming with d d' unknowns (400 and 385 units: 5 s; 768 and 500: 30 s).

    Cost: n d per model; n d d' and the transport per pair (768 and 1,024 units: 0.15 s); memory
    8 n d bytes per model.

    Args:
        center: subtract the mean of each unit first.
        scale: divide each unit by its norm first (a zero unit stays zero).
        form: `distance`, or `correlation`, which needs center and scale.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(SoftMatching()(x, x + np.roll(x, 1, axis=0)), 4)
        0.7764
    """

    center: bool = True
    scale: bool = True
    form: Literal["distance", "correlation"] = "distance"

    def check(self) -> None:
        """Raises ConfigError for correlations of features that are not centred and scaled."""
        check_flags(self, "center", "scale")
        if self.form == "correlation" and not (self.center and self.scale):
            raise ConfigError(
                "metric 'soft_matching': form 'correlation' is of centred units of unit norm; "
                "set center: true and scale: true, or use form 'distance'"
            )

    @property
    def facts(self) -> Facts:
        """The facts: what is not removed first is seen; correlation is a similarity."""
        facts = without(self.class_facts, center=self.center, scale=self.scale)
        if self.form == "correlation":
            return replace(
                facts,
                bounds=MATCH_BOUNDS["correlation"],
                self_value=1.0,
                larger_is_more_similar=True,
                is_metric=False,
            )
        return facts if self.scale else replace(facts, bounds=(0.0, np.inf))

    def prepare(self, x: np.ndarray) -> Scaled:
        """Returns x: (n, d) with its units centred and scaled as asked."""
        if self.scale:
            return Scaled(unit_columns(x, center=self.center))
        return scaled(x, center=self.center)

    def compare(self, a: Scaled, b: Scaled) -> float:
        """Returns the value of the best transport plan."""
        if a.x.shape[1] > b.x.shape[1]:
            a, b = b, a  # so that exchanged arguments give the same bits
        x, y, exponent = common_scale(a, b)
        inner = x.T @ y
        norms = [np.einsum("ij,ij->j", side, side) for side in (x, y)]
        profit = 2 * inner - norms[0][:, None] - norms[1]
        rows, columns, shares = transport_plan(profit, lambda value: 2 * PRECISION * abs(value))
        if self.form == "correlation":
            return float(np.clip(np.dot(shares, inner[rows, columns]), -1, 1))
        sums = norms[0][rows] + norms[1][columns]
        gaps = sums - 2 * inner[rows, columns]
        for near in np.flatnonzero(gaps <= NEAR * sums):  # where the difference would cancel
            gaps[near] = np.sum((x[:, rows[near]] - y[:, columns[near]]) ** 2)
        distance = times_power(float(np.sqrt(np.dot(shares, gaps))), exponent)
        return min(2.0, distance) if self.scale else distance  # rounding only

    def permuted(self, a: Scaled, order: np.ndarray) -> Scaled:
        """Returns the rows in the new order."""
        return Scaled(a.x[order], a.exponent)
