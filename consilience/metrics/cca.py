"""Canonical correlation analysis: plain, of the leading components, and projection weighted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.bases import column_basis, leading_directions
from consilience.forms.kernels import (
    check_varies,
    power_of_two_scale,
    ranked_svd,
    twice_centered,
)
from consilience.forms.nuclear import (
    Norm,
    Scaled,
    comes_later,
    form_bytes,
    left_vectors,
    nuclear_norm,
    singular_vectors,
    with_copy,
)
from consilience.forms.rows import unit_rounding
from consilience.metrics import Facts, Metric, metric

PRECISION = 1e-6
"""To which a mean of canonical correlations is known, at least."""
Side = tuple[np.ndarray, np.ndarray]
Vectors = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Returns left singular vectors and singular values of the product of two bases."""


@metric(
    "cca",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={
        "permutation",
        "orthogonal",
        "isotropic_scaling",
        "translation",
        "invertible_linear",
    },
    citation="hotelling1936",
)
@dataclass(frozen=True)
class CCA(Metric):
    r"""Mean canonical correlation, Σ ρᵢ / min(r, r'), or R²_CCA, Σ ρᵢ² / min(r, r').

    The ρᵢ are the singular values of UᵀU', where U and U' are the left singular vectors of the
    centred features and r, r' their numerical ranks (Hotelling 1936). Kornblith et al. (2019)
    divide by the smaller number of units; ranks are the same for independent units, and dead or
    repeated units change nothing here. Yanai's GCD would divide by √(r r') instead.

    The value is 1 whatever the features if either rank is n - 1, as with n ≤ d: with few samples
    take `svcca`. Independent features score about r' / (n - 1) in the mean of squares, r ≤ r'.
    A unit that combines others only up to single precision counts as a direction of its own.

    Cost: n d min(n, d) per model; n r r' per pair, in float32 for `mean`, and r² r', r ≤ r'; memory
    12 n r bytes per model. The mean is proven to 10⁻⁶ for each pair, or taken the slower way.

    Args:
        form: `mean` or `mean_squared`, of the canonical correlations.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(CCA()(x, x + np.roll(x, 1, axis=0)), 4)
        0.6725
    """

    form: Literal["mean", "mean_squared"] = "mean"

    @property
    def on_device(self) -> str:
        """What a device makes of two forms for the mean."""
        return "nuclear_norm" if self.form == "mean" else ""

    def prepare(self, x: np.ndarray) -> Scaled:
        """Returns an orthonormal basis (n, r) of what the centred x: (n, d) spans."""
        return with_copy(column_basis(_centered(x), "correlate", x)[0], turn=False)

    def compare(self, a: Scaled, b: Scaled, norm: Norm = nuclear_norm) -> float:
        """Returns the mean of the canonical correlations or of their squares."""
        if self.form == "mean":
            return _mean_correlation(a, b, norm)
        overlap = a.x.T @ b.x
        # at most 1, so that anything above is rounding
        return min(1.0, float(np.vdot(overlap, overlap)) / min(overlap.shape))

    def permuted(self, a: Scaled, order: np.ndarray) -> Scaled:
        """Returns the rows in the new order."""
        return a.permuted(order)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of the basis."""
        return form_bytes(n, min(n, d))


@metric(
    "svcca",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="raghu2017",
)
@dataclass(frozen=True)
class SVCCA(Metric):
    """Mean canonical correlation of the leading principal components of both sides.

    Each side keeps its first k principal components; the value is Σ ρᵢ / min(k, k') over the
    singular values ρᵢ of UₖᵀU'ₖ' (Raghu et al. 2017). By default k is the smallest number that
    explains 99 % of the variance. The SVD is exact: platonic-rep's own values
    (`components=10, standardize=True`) come from a randomised SVD that has not converged and
    lie up to 0.15 lower. ReSi compares the *share* of variance with 0.99 times the *total*
    variance, which leaves k = 1 for almost all features and makes the value depend on their
    scale; `variance_rule="total"` does the same.

    Cost: n d min(n, d) per model, n k k' per pair; memory 12 n k bytes per model.

    Args:
        variance: share of the variance that the kept components explain, above 0 and at most 1.
        components: keep this many components instead, or all if there are fewer.
        standardize: divide each unit by its standard deviation first; constant units become 0.
        variance_rule: `share`, or `total` for the rule that ReSi ships.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(SVCCA()(x, x + np.roll(x, 1, axis=0)), 4)
        0.6725
    """

    variance: float = 0.99
    components: int | None = None
    standardize: bool = False
    variance_rule: Literal["share", "total"] = "share"
    on_device: ClassVar[str] = "nuclear_norm"

    def check(self) -> None:
        """Raises ConfigError if the number of components is not well described."""
        number = isinstance(self.variance, int | float) and not isinstance(self.variance, bool)
        if not number or not 0 < self.variance <= 1:
            raise ConfigError(
                f"metric 'svcca': variance cannot be {self.variance!r}; use a share of the "
                "variance, above 0 and at most 1"
            )
        whole = isinstance(self.components, int) and not isinstance(self.components, bool)
        if self.components is not None and (not whole or self.components < 1):
            raise ConfigError(
                f"metric 'svcca': components cannot be {self.components!r}; use a whole number "
                "from 1, or leave it out to keep a share of the variance"
            )
        if not isinstance(self.standardize, bool):
            raise ConfigError(
                f"metric 'svcca': standardize cannot be {self.standardize!r}; use true or false"
            )
        if self.components is not None and self.variance_rule == "total":
            raise ConfigError(
                "metric 'svcca': variance_rule 'total' chooses the number of components; leave "
                "one of variance_rule and components out"
            )

    @property
    def facts(self) -> Facts:
        """The facts: standard units depend on the axes, the total variance on the scale."""
        lost = {"orthogonal"} if self.standardize else set()
        if self.variance_rule == "total" and not self.standardize:
            lost = {"isotropic_scaling"}
        facts = self.class_facts
        return replace(facts, invariant_to=facts.invariant_to - lost)

    def prepare(self, x: np.ndarray) -> Scaled:
        """Returns the k leading left singular vectors (n, k) of the centred x: (n, d)."""
        moved = _centered(x)
        exponent = int(np.frexp(np.abs(x).max())[1])
        if self.standardize:
            moved, exponent = _standardized(x, moved), 0
        kept = partial(self._kept, exponent=exponent)
        return with_copy(leading_directions(moved, "correlate", x, kept), turn=False)

    def _kept(self, squares: np.ndarray, exponent: int) -> int:
        """Returns k for the squared singular values of features divided by 2 ** exponent."""
        if self.components is not None:
            return min(self.components, len(squares))
        shares = np.cumsum(squares)
        total = shares[-1]
        shares = shares / total
        wanted = self.variance
        if self.variance_rule == "total":
            with np.errstate(over="ignore", under="ignore"):
                wanted = self.variance * np.ldexp(total, 2 * exponent)
        return int(np.argmax(shares >= wanted)) + 1  # no such share: 1, as ReSi ships it

    def permuted(self, a: Scaled, order: np.ndarray) -> Scaled:
        """Returns the rows in the new order."""
        return a.permuted(order)

    def compare(self, a: Scaled, b: Scaled, norm: Norm = nuclear_norm) -> float:
        """Returns the mean of the canonical correlations."""
        return _mean_correlation(a, b, norm)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of as many singular vectors as there can be."""
        return form_bytes(n, min(n, d, self.components or d))


@metric(
    "pwcca",
    symmetric=False,
    bounds=(0.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "isotropic_scaling", "translation"},
    citation="morcos2018",
)
@dataclass(frozen=True)
class PWCCA(Metric):
    """Projection weighted canonical correlation, Σ αᵢ ρᵢ / Σ αᵢ with weights from x.

    αᵢ = Σⱼ |⟨hᵢ, xⱼ⟩| over the centred units xⱼ of the first side, where hᵢ is its i-th canonical
    variate, orthonormal over the samples, and i runs over the min(r, r') pairs of variates
    (Morcos et al. 2018). Hence the value is that of the first side, whatever the widths, and
    the second side may be changed by any invertible linear map. Where canonical correlations are
    tied, as those at 1 when r + r' ≥ n, the variates among them are turned to the principal axes
    of x, so that the value does not depend on the solver. It is 1 if either rank is n - 1.

    The code of SVCCA's authors, which ReSi ships, takes directions without the inverse square
    root of the covariance, adds the mean of unit i to direction i, orthonormalises them in turn
    and weighs them by uncentred units; `form="resi"` does the same. It needs independent units
    on both sides, n > d and d ≤ d', and depends on the order and the means of the units of x
    and, through them, on the signs that LAPACK gives singular vectors.

    Cost: n d min(n, d) per model; n r r' + r² d per pair in either order, of which both together
    take hardly more than one; memory 8 (n + d) r bytes per model.

    Args:
        form: `morcos`, the definition, or `resi`, what ReSi ships.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(PWCCA()(x, x + np.roll(x, 1, axis=0)), 4)
        0.6915
    """

    form: Literal["morcos", "resi"] = "morcos"
    on_device: ClassVar[str] = "left_vectors"

    @property
    def facts(self) -> Facts:
        """The facts: the shipped form sees the order and the means of the units."""
        if self.form == "morcos":
            return self.class_facts
        return replace(self.class_facts, invariant_to=frozenset({"isotropic_scaling"}))

    def prepare(self, x: np.ndarray) -> Side:
        """Returns an orthonormal basis (n, r) and the units in its coordinates (r, d).

        For the form `resi`: the whitened features (n, d) and the scaled features (n, d).
        """
        if self.form == "morcos":
            return column_basis(_centered(x), "correlate", x)
        u, s, vt = ranked_svd(_centered(x), "correlate", x)
        n, d = x.shape
        if len(s) < d:
            raise MetricError(
                f"pwcca of the form 'resi' needs linearly independent units: {d} units over {n} "
                f"samples have rank {len(s)}; use the form 'morcos'"
            )
        return u @ vt, power_of_two_scale(x)

    def compare(self, a: Side, b: Side, vectors: Vectors | None = None) -> float:
        """Returns the mean canonical correlation, weighted by the units of the first side."""
        if self.form == "resi":
            return _shipped(a, b, vectors)
        if vectors is not None:
            return _weighted(*vectors(a[0], b[0]), a)
        if comes_later(a[0], b[0]):
            found = singular_vectors(b[0].T @ a[0])
            return _weighted(found.wide, found.sizes, a)
        found = singular_vectors(a[0].T @ b[0])
        return _weighted(found.narrow, found.sizes, a)

    @property
    def shares_orders(self) -> bool:
        """Both orders come from the same singular vectors."""
        return self.form == "morcos"

    def compare_both(self, a: Side, b: Side) -> tuple[float, float]:
        """Returns the values weighted by the units of a, and of b."""
        if comes_later(a[0], b[0]):
            return self.compare_both(b, a)[::-1]
        found = singular_vectors(a[0].T @ b[0])
        return _weighted(found.narrow, found.sizes, a), _weighted(found.wide, found.sizes, b)

    def permuted(self, a: Side, order: np.ndarray) -> Side:
        """Returns the form of the permuted samples; units in their coordinates stay."""
        return a[0][order], a[1] if self.form == "morcos" else a[1][order]

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of the left singular vectors and of the units."""
        return 16 * n * d if self.form == "resi" else 8 * (n + d) * min(n, d)


def _centered(x: np.ndarray) -> np.ndarray:
    """Returns x: (n, d), scaled by a power of two, minus its column means."""
    if len(x) < 3:
        raise MetricError(f"canonical correlations need at least 3 samples, not {len(x)}")
    check_varies(x)
    return twice_centered(x)


def _standardized(x: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Returns the centred units `moved` of x: (n, d) over their standard deviations, √n below 1."""
    spread = x.max(axis=0) - x.min(axis=0)
    varies = spread > unit_rounding(x) * np.abs(x).max(axis=0)
    moved = moved[:, varies]
    moved = moved / np.abs(moved).max(axis=0)  # first, so that squares do not underflow
    return moved / np.linalg.norm(moved, axis=0)


def _mean_correlation(a: Scaled, b: Scaled, norm: Norm) -> float:
    """Returns the mean singular value of UᵀU' to 10⁻⁶, of which more than 1 is rounding."""
    count = min(a.x.shape[1], b.x.shape[1])
    return min(1.0, norm(a, b, lambda _: PRECISION * count) / count)


def _untied(loadings: np.ndarray, correlations: np.ndarray, tolerance: float) -> np.ndarray:
    """Returns loadings: (c, d) with variates of tied correlations turned to principal axes."""
    edges = np.flatnonzero(-np.diff(correlations) > tolerance) + 1
    for group in np.split(np.arange(len(correlations)), edges):
        if len(group) > 1:
            _, s, vt = np.linalg.svd(loadings[group], full_matrices=False)
            loadings[group] = s[:, None] * vt
    return loadings


def _weighted(turn: np.ndarray, correlations: np.ndarray, side: Side) -> float:
    """Returns the mean canonical correlation, weighted by the units of a side.

    Args:
        turn: (r, c) the variates in the side's basis.
        correlations: (c,) of the variates.
        side: the side.
    """
    tolerance = len(side[0]) * np.finfo(float).eps
    weights = np.abs(_untied(turn.T @ side[1], correlations, tolerance)).sum(axis=1)
    return _mean(correlations, weights)


def _shipped(a: Side, b: Side, vectors: Vectors | None) -> float:
    """Returns the value as ReSi ships it."""
    if a[0].shape[1] > b[0].shape[1]:
        raise MetricError(
            f"pwcca of the form 'resi' is not defined for {a[0].shape[1]} units against "
            f"{b[0].shape[1]}: the first side must not be wider; use the form 'morcos'"
        )
    found = vectors(a[0], b[0]) if vectors else left_vectors(a[0].T @ b[0])
    return _mean(found[1], _shipped_weights(a[1], found[0]))


def _mean(correlations: np.ndarray, weights: np.ndarray) -> float:
    """Returns the weighted mean, of which more than 1 is rounding."""
    return min(1.0, float(np.dot(weights, correlations) / weights.sum()))


def _shipped_weights(x: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Returns ReSi's weights of the directions turn: (d, d) for features x: (n, d)."""
    mean = x.mean(axis=0)
    directions, _ = np.linalg.qr((x - mean) @ turn + mean)
    return np.abs(directions.T @ x).sum(axis=1)
