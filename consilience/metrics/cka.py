"""Centred kernel alignment."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consilience.forms.kernels import (
    VANISHED,
    check_samples,
    check_sigma,
    check_varies,
    kernel_matrix,
    pair_vector,
    unit,
)
from consilience.forms.rows import Rows
from consilience.forms.tiles import TileForm, kernel_form
from consilience.metrics import Facts, InnerProductMetric, metric


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

    Kernels are k(x, x') = x·x' (`linear`), exp(-‖x - x'‖² / 2σ²) (`rbf`) or exp(-‖x - x'‖ / σ)
    (`laplace`, whose mass at short range needs no tuned width). `biased` centres
    rows and columns, K̃ = HKH (Kornblith et al. 2019). `debiased` centres after the diagonal is
    set to zero, K̃ᵢⱼ = Kᵢⱼ - rᵢ/(n-2) - rⱼ/(n-2) + s/((n-1)(n-2)) for i ≠ j and 0 on the
    diagonal, with row sums r and total s, so that independent features score 0 on average
    whatever their width (Song et al. 2012, Székely and Rizzo 2014). Debiased values may be
    negative; nothing is clipped and no constant is added to the denominator.

    Cost: n²d per model, n²/2 per pair; memory 4n² bytes per model.

    Args:
        kernel: `linear`, `rbf` or `laplace`.
        sigma: absolute width of the rbf or laplace kernel, or `median`: σ² is the lower median of
            the non-zero squared distances of each side on its own.
        estimator: `debiased` (needs n ≥ 4) or `biased`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(CKA()(x, x + np.roll(x, 1, axis=0)), 4)
        0.5784
    """

    kernel: Literal["linear", "rbf", "laplace"] = "linear"
    sigma: float | Literal["median"] = "median"
    estimator: Literal["biased", "debiased"] = "debiased"

    def check(self) -> None:
        """Raises ConfigError if sigma is not a positive number or `median`."""
        check_sigma(self.sigma, "cka")

    @property
    def facts(self) -> Facts:
        """The facts: a fixed width sees the scale; the biased value is never negative."""
        facts = self.class_facts
        if self.kernel != "linear" and self.sigma != "median":
            facts = replace(facts, invariant_to=facts.invariant_to - {"isotropic_scaling"})
        if self.estimator == "biased":
            facts = replace(facts, bounds=(0.0, 1.0))
        return replace(facts, of_units=self.kernel == "linear")

    @property
    def has_diagonal(self) -> bool:
        """Whether the diagonal of the centred kernel counts."""
        return self.estimator == "biased"

    @property
    def leaves_out(self) -> bool:
        """Whether pairs within a group are left out: as pairs of a sample with itself are."""
        return self.estimator == "debiased"

    def prepare(self, x: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
        """Returns the centred kernel of x: (n, d) as a unit vector over pairs of samples."""
        check_samples(x, self.estimator, "CKA", groups)
        check_varies(x)
        kernel = kernel_matrix(x, self.kernel, self.sigma)
        if self.estimator == "debiased":
            np.fill_diagonal(kernel, 0)
        reference = float(np.linalg.norm(kernel))
        reason = VANISHED
        if self.kernel != "linear":
            reason += f" at width sigma = {self.sigma} (too narrow or too wide for these features)"
        return unit(pair_vector(kernel, self.estimator, groups), reference, reason)

    @property
    def centring(self) -> str:
        """How the tiled pass centres entries: as the estimator does."""
        return self.estimator

    @property
    def base(self) -> str:
        """Linear kernels share their products, and so do kernels of distances of fixed width."""
        if self.kernel == "linear":
            return "linear"
        return "" if self.sigma == "median" else "distances"

    def tile_form(self, x: Rows) -> TileForm:
        """Returns the kernel of x: (n, d) for the tiled pass."""
        check_varies(x)
        return kernel_form(x, self.kernel, self.sigma)
