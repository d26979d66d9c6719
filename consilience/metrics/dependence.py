"""Measures of dependence from centred kernels and distances: HSIC, RV, distance correlation."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consilience.forms.groups import Between
from consilience.forms.kernels import (
    VANISHED,
    check_samples,
    check_sigma,
    check_varies,
    kernel_matrix,
    pair_vector,
    power_of_two_scale,
    squared_distances,
    unit,
)
from consilience.forms.rows import Rows
from consilience.forms.tiles import TileForm, distance, distance_form, kernel_form, less_rows
from consilience.metrics import Facts, InnerProductMetric, metric


@metric(
    "hsic",
    symmetric=True,
    bounds=(-np.inf, np.inf),
    self_value=None,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="gretton2005",
)
@dataclass(frozen=True)
class HSIC(InnerProductMetric):
    """Hilbert–Schmidt independence criterion: the inner product of two centred kernels.

    `biased` is tr(KHLH) / (n - 1)² (Gretton et al. 2005); `debiased` the U-statistic of Song et
    al. (2012), ⟨K̃, L̃⟩ / (n (n - 3)) with kernels centred after their diagonal is set to zero,
    which is 0 on average for independent features. It is the numerator of CKA, in squared units
    of the kernels: values of different models do not compare, those of `cka` do.

    Cost: n²d per model, n²/2 per pair; memory 4n² bytes per model.

    Args:
        kernel: `rbf`, `laplace` or `linear`, as in `cka`.
        sigma: absolute width of the rbf or laplace kernel, or `median`.
        estimator: `debiased` (needs n ≥ 4) or `biased`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(HSIC()(x, x + np.roll(x, 1, axis=0)), 4)
        0.0215
    """

    kernel: Literal["linear", "rbf", "laplace"] = "rbf"
    sigma: float | Literal["median"] = "median"
    estimator: Literal["biased", "debiased"] = "debiased"

    def check(self) -> None:
        """Raises ConfigError if sigma is not a positive number or `median`."""
        check_sigma(self.sigma, "hsic")

    @property
    def facts(self) -> Facts:
        """The facts: a linear kernel and a fixed width see the scale."""
        facts = self.class_facts
        if self.kernel == "linear" or self.sigma != "median":
            facts = replace(facts, invariant_to=facts.invariant_to - {"isotropic_scaling"})
        if self.estimator == "biased":
            facts = replace(facts, bounds=(0.0, np.inf))
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
        """Returns the centred kernel of x: (n, d) as a vector, scaled for the mean over pairs."""
        check_samples(x, self.estimator, "HSIC", groups)
        check_varies(x)
        n = len(x)
        if self.kernel == "linear":
            x = x - x.mean(axis=0)
            kernel = x @ x.T
        else:
            kernel = kernel_matrix(x, self.kernel, self.sigma)
        vector = pair_vector(kernel, self.estimator, groups)
        del kernel  # twice as large as what is left of it
        count = (n - 1) ** 2 if self.estimator == "biased" else n * (n - 3)
        if self.leaves_out and groups is not None:
            count = Between(groups).freedom
        vector /= np.sqrt(count)
        return vector


@metric(
    "rv",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="robert1976",
    of_units=True,
)
@dataclass(frozen=True)
class RV(InnerProductMetric):
    """RV coefficient: tr(S_xy S_yx) / √(tr(S_xx²) tr(S_yy²)) with covariance matrices S.

    The same number as `cka` with a linear kernel and the biased estimator, under the name of
    multivariate statistics (Robert and Escoufier 1976). Like it, it grows with the width of the
    features: independent ones score far from 0 if d is not small beside n.

    Cost: n²d per model, n²/2 per pair; memory 4n² bytes per model.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(RV()(x, x + np.roll(x, 1, axis=0)), 4)
        0.6017
    """

    @property
    def has_diagonal(self) -> bool:
        """Whether the diagonal of the centred kernel counts: always."""
        return True

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns the centred Gram matrix of x: (n, d) as a unit vector over pairs of samples."""
        check_samples(x, "biased", "RV")
        check_varies(x)
        kernel = kernel_matrix(x, "linear")
        reference = float(np.linalg.norm(kernel))
        return unit(pair_vector(kernel, "biased"), reference, VANISHED)

    @property
    def centring(self) -> str:
        """How the tiled pass centres entries."""
        return "biased"

    def tile_form(self, x: Rows) -> TileForm:
        """Returns the Gram matrix of x: (n, d) for the tiled pass."""
        check_varies(x)
        return kernel_form(x, "linear", "median")


@metric(
    "distance_correlation",
    symmetric=True,
    bounds=(-1.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="szekely2007",
)
@dataclass(frozen=True)
class DistanceCorrelation(InnerProductMetric):
    """Distance correlation: agreement of double-centred matrices of Euclidean distances.

    `biased` is the correlation of Székely, Rizzo and Bakirov (2007), √(⟨A, B⟩ / (‖A‖ ‖B‖)), as
    ReSi ships it: for wide features it is near 1 whatever they are (0.75 for independent ones at
    n = 200, d = 64). `debiased` is the *squared* correlation with the bias removed (Székely and
    Rizzo 2013): 0 on average for independent features, negative at times, and so without a root.

    Cost: n²d per model, n²/2 per pair; memory 4n² bytes per model.

    Args:
        estimator: `debiased` (squared, needs n ≥ 4) or `biased`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(DistanceCorrelation()(x, x + np.roll(x, 1, axis=0)), 4)
        0.5625
    """

    estimator: Literal["biased", "debiased"] = "debiased"

    @property
    def facts(self) -> Facts:
        """The facts: the biased value is never negative."""
        if self.estimator == "biased":
            return replace(self.class_facts, bounds=(0.0, 1.0))
        return self.class_facts

    @property
    def has_diagonal(self) -> bool:
        """Whether the diagonal of the centred distances counts."""
        return self.estimator == "biased"

    @property
    def has_closed_form(self) -> bool:
        """Whether `moments` gives the null of the value: not that of a root."""
        return self.estimator == "debiased"

    @property
    def leaves_out(self) -> bool:
        """Whether pairs within a group are left out: as pairs of a sample with itself are."""
        return self.estimator == "debiased"

    def prepare(self, x: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
        """Returns the centred distances of x: (n, d) as a unit vector over pairs of samples."""
        check_samples(x, self.estimator, "distance correlation", groups)
        check_varies(x)
        distances = squared_distances(power_of_two_scale(x))
        np.sqrt(distances, out=distances)
        reference = float(np.linalg.norm(distances))
        return unit(pair_vector(distances, self.estimator, groups), reference, VANISHED)

    @property
    def centring(self) -> str:
        """How the tiled pass centres entries: the root of the biased value is not its business."""
        return "debiased" if self.estimator == "debiased" else ""

    def tile_form(self, x: Rows) -> TileForm:
        """Returns the distances of x: (n, d) for the tiled pass."""
        check_varies(x)
        return less_rows(distance_form(x.scaled(), distance))

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the inner product of two unit vectors, or its root if biased."""
        product = super().compare(a, b)
        return product if self.estimator == "debiased" else float(np.sqrt(max(product, 0.0)))

    def compare_all(self, forms_x: list[np.ndarray], forms_y: list[np.ndarray]) -> np.ndarray:
        """Returns the values of all pairs."""
        products = super().compare_all(forms_x, forms_y)
        return products if self.estimator == "debiased" else np.sqrt(np.maximum(products, 0.0))
