"""Centred kernel alignment."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.metrics import Facts, InnerProductMetric, metric
from consilience.metrics._kernels import (
    centered,
    check_varies,
    power_of_two_scale,
    squared_distances,
    unit,
    upper_triangle,
)


@metric(
    "cka",
    symmetric=True,
    bounds=(-1.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="kornblith2019",
)
@dataclass(frozen=True)
class CKA(InnerProductMetric):
    r"""Centred kernel alignment: ⟨K̃, L̃⟩ / (‖K̃‖ ‖L̃‖) over centred kernel matrices K̃, L̃.

    Kernels are k(x, x') = x·x' (`linear`) or exp(-‖x - x'‖² / 2σ²) (`rbf`). `biased` centres
    rows and columns, K̃ = HKH (Kornblith et al. 2019). `debiased` centres after the diagonal is
    set to zero, K̃ᵢⱼ = Kᵢⱼ - rᵢ/(n-2) - rⱼ/(n-2) + s/((n-1)(n-2)) for i ≠ j and 0 on the
    diagonal, with row sums r and total s, so that independent features score 0 on average
    whatever their width (Song et al. 2012, Székely and Rizzo 2014). Debiased values may be
    negative; nothing is clipped and no constant is added to the denominator.

    Cost: n²d per model, n²/2 per pair; memory 4n² bytes per model.

    Args:
        kernel: `linear` or `rbf`.
        sigma: absolute width of the rbf kernel, or `median`: σ² is the lower median of the
            non-zero squared distances of each side on its own.
        estimator: `debiased` (needs n ≥ 4) or `biased`.
    """

    kernel: Literal["linear", "rbf"] = "linear"
    sigma: float | Literal["median"] = "median"
    estimator: Literal["biased", "debiased"] = "debiased"

    def check(self) -> None:
        """Raises ConfigError if sigma is not a positive number or `median`."""
        if self.sigma == "median":
            return
        number = isinstance(self.sigma, int | float) and not isinstance(self.sigma, bool)
        if not number or not 0 < self.sigma < np.inf:
            raise ConfigError(
                f"metric 'cka': sigma cannot be {self.sigma!r}; use a number above 0 or 'median'"
            )

    @property
    def facts(self) -> Facts:
        """The facts: a fixed width sees the scale; the biased value is never negative."""
        facts = self.class_facts
        if self.kernel == "rbf" and self.sigma != "median":
            facts = replace(facts, invariant_to=facts.invariant_to - {"isotropic_scaling"})
        if self.estimator == "biased":
            facts = replace(facts, bounds=(0.0, 1.0))
        return facts

    @property
    def has_diagonal(self) -> bool:
        """Whether the diagonal of the centred kernel counts."""
        return self.estimator == "biased"

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns the centred kernel of x: (n, d) as a unit vector over pairs of samples."""
        least = 4 if self.estimator == "debiased" else 2
        if len(x) < least:
            raise MetricError(f"{self.estimator} CKA needs at least {least} samples, not {len(x)}")
        kernel = self._kernel(x)
        diagonal = np.diagonal(kernel).copy()
        if self.estimator == "debiased":
            np.fill_diagonal(kernel, 0)
            diagonal[:] = 0
        reference = float(np.linalg.norm(kernel))
        vector = self._centre(kernel)
        reason = "the centred kernel vanishes: all pairs of samples are equally alike"
        if self.kernel == "rbf":
            reason += f" at width sigma = {self.sigma} (too narrow or too wide for these features)"
        return unit(vector, reference, reason)

    def _kernel(self, x: np.ndarray) -> np.ndarray:
        check_varies(x)
        if self.kernel == "linear":
            x = centered(x)
            return x @ x.T
        if self.sigma == "median":
            x = power_of_two_scale(x)
        distances = squared_distances(x)
        distances *= -0.5 / self._variance(distances)
        return np.exp(distances, out=distances)

    def _variance(self, distances: np.ndarray) -> float:
        if self.sigma != "median":
            return float(self.sigma) ** 2
        positive = upper_triangle(distances)
        positive = positive[positive > 0]
        middle = (len(positive) - 1) // 2
        return float(np.partition(positive, middle)[middle])

    def _centre(self, kernel: np.ndarray) -> np.ndarray:
        n = len(kernel)
        sums = kernel.sum(axis=1)
        if self.estimator == "debiased":
            shift = sums / (n - 2) - sums.sum() / (2 * (n - 1) * (n - 2))
        else:
            shift = sums / n - sums.sum() / (2 * n * n)
        kernel -= shift[:, None]
        kernel -= shift[None, :]
        pairs = np.sqrt(2) * upper_triangle(kernel)  # each unordered pair stands for two entries
        if self.estimator == "debiased":
            return pairs
        return np.concatenate([pairs, np.diagonal(kernel)])
