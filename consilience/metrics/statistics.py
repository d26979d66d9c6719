"""Differences of one number that describes each representation by itself.

Rows are taken as they are: where a definition asks for unit rows, the study's preprocessing
(`row_normalize`) makes them. The value does not depend on which sample meets which.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.groups import Between
from consilience.forms.kernels import check_units, power_of_two_scale, squared_distances
from consilience.forms.rows import unit_rounding
from consilience.metrics import Metric, metric, unit_rows

DIFFERENCE: dict[str, Any] = {
    "symmetric": True,
    "bounds": (0.0, np.inf),
    "self_value": 0.0,
    "larger_is_more_similar": False,
    "is_metric": False,
    "paired": False,
}
"""Facts of an absolute difference of two statistics; 0 also for unlike features, so no metric."""


class StatisticDifference(Metric):
    """A metric whose prepared form is one number per model."""

    def compare(self, a: float, b: float) -> float:
        """Returns the absolute difference of two statistics."""
        return abs(a - b)

    def permuted(self, a: float, order: np.ndarray) -> float:
        """Returns a: no statistic depends on the order of the samples."""
        return a

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of one number."""
        return 8


@metric(
    "magnitude_difference",
    invariant_to={"permutation", "orthogonal"},
    citation="wang2022",
    **DIFFERENCE,
)
@dataclass(frozen=True)
class MagnitudeDifference(StatisticDifference):
    """Difference of the lengths of the mean rows: |‖x̄‖ - ‖ȳ‖| (Wang et al. 2022).

    In units of the features. Constant features have a magnitude as well; features centred over the
    samples all have magnitude 0. `MagnitudeDifference` of ReSi.

    Cost: n d per model; memory 8 bytes per model.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(MagnitudeDifference()(x, x + np.roll(x, 1, axis=0)), 4)
        0.3005
    """

    def prepare(self, x: np.ndarray) -> float:
        """Returns the length of the mean row of x: (n, d)."""
        # scaled by a power of two, so that squares neither overflow nor underflow
        exponent = int(np.frexp(np.abs(x).max())[1])
        mean = power_of_two_scale(x).mean(axis=0)
        return float(np.ldexp(np.linalg.norm(mean), exponent))


@metric(
    "concentricity_difference",
    invariant_to={"permutation", "orthogonal", "isotropic_scaling"},
    citation="wang2022",
    **{**DIFFERENCE, "bounds": (0.0, 2.0)},
)
@dataclass(frozen=True)
class ConcentricityDifference(StatisticDifference):
    """Difference of the mean cosines with the mean row (Wang et al. 2022).

    |(1/n) Σᵢ cos(xᵢ, x̄) - (1/n) Σᵢ cos(yᵢ, ȳ)|. Undefined where a row or the mean row is zero, so
    for features centred over the samples. `ConcentricityDifference` of ReSi, which counts the
    cosine of a zero row as 0.

    Cost: n d per model; memory 8 bytes per model.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(ConcentricityDifference()(x, x + np.roll(x, 1, axis=0)), 4)
        0.0625
    """

    def prepare(self, x: np.ndarray) -> float:
        """Returns the mean cosine of the rows of x: (n, d) with their mean."""
        least, x = unit_rounding(x), power_of_two_scale(x)
        mean = x.mean(axis=0)
        if not np.abs(mean).max() > least * np.abs(x).max():
            raise MetricError(
                "the mean row is zero up to rounding, so it has no direction; do not centre the "
                "features for this metric"
            )
        return float((unit_rows(x) @ unit_rows(mean[None])[0]).mean())


@metric(
    "uniformity_difference",
    invariant_to={"permutation", "orthogonal", "translation"},
    citation="wang2020uniformity",
    **DIFFERENCE,
)
@dataclass(frozen=True)
class UniformityDifference(StatisticDifference):
    """Difference of the uniformities ln E exp(-t ‖xᵢ - xⱼ‖²) (Wang and Isola 2020).

    The mean is over pairs of different samples (`debiased`), as in the definition, which is over
    independent draws. `biased` also counts each sample with itself, as `UniformityDifference` of
    ReSi does: then ln(1/n) is the least value, next to which other terms vanish as soon as rows
    are far apart; ReSi gives exactly 0 there, while here the small difference is kept as far as
    float64 reaches (about 1e-308). Sums are taken in logarithms, so nothing underflows otherwise.

    Wang and Isola define it for rows of length 1; they are not normalised here.

    Cost: n²d per model; memory 8 bytes per model, 16n² bytes while preparing.

    Args:
        t: width of the Gaussian potential, per squared unit of the features.
        estimator: `debiased` or `biased`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(UniformityDifference()(x, x + np.roll(x, 1, axis=0)), 4)
        0.5693
    """

    t: float = 2.0
    estimator: Literal["biased", "debiased"] = "debiased"

    def check(self) -> None:
        """Raises ConfigError if t is not a positive number."""
        number = isinstance(self.t, int | float) and not isinstance(self.t, bool)
        if not number or not 0 < self.t < np.inf:
            raise ConfigError(
                f"metric 'uniformity_difference': t cannot be {self.t!r}; use a number above 0"
            )

    @property
    def leaves_out(self) -> bool:
        """Whether pairs within a group are left out: as pairs of a sample with itself are."""
        return self.estimator == "debiased"

    def prepare(self, x: np.ndarray, groups: np.ndarray | None = None) -> float:
        """Returns ln((1/n) Σ exp(-t ‖xᵢ - xⱼ‖²)) over i ≠ j of x: (n, d), of other groups.

        Raises:
            MetricError: one sample, or distances whose squares overflow.
        """
        n = len(x)
        check_units("uniformity", 2, n, groups)
        with np.errstate(over="ignore", invalid="ignore"):
            exponents = squared_distances(x)
            exponents *= -self.t
        np.fill_diagonal(exponents, -np.inf)
        if groups is not None:
            exponents[Between(groups).same(slice(0, n), slice(0, n))] = -np.inf
        largest = exponents.max()
        if not np.isfinite(largest):
            raise MetricError("squared distances overflow; scale the features to moderate size")
        exponents -= largest
        return float(largest + np.log(np.exp(exponents, out=exponents).sum() / n))

    def compare(self, a: float, b: float) -> float:
        """Returns the absolute difference of uniformities."""
        low, high = min(a, b), max(a, b)
        if self.estimator == "debiased":
            return high - low
        # |ln((1 + exp a) / n) - ln((1 + exp b) / n)| without 1 + tiny
        return float(np.log1p(np.exp(high) * -np.expm1(low - high) / (1 + np.exp(low))))
