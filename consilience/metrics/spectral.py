"""Distances and overlaps of the subspaces that features span over the samples."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.forms.kernels import (
    check_varies,
    power_of_two_scale,
    ranked_svd,
    twice_centered,
)
from consilience.metrics import Facts, Metric, metric

Side = tuple[np.ndarray, int]
Smoother = tuple[np.ndarray, np.ndarray]


@metric(
    "eigenspace_overlap",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "invertible_linear"},
    citation="may2019",
)
@dataclass(frozen=True)
class EigenspaceOverlap(Metric):
    """Eigenspace overlap score, ‖UᵀU'‖² / max(r, r') for left singular vectors U: (n, r), U'.

    Features are not centred. May et al. (2019) divide by the larger number of units; for
    linearly independent units that is the larger rank. The two part with dead or repeated units
    and with n < d, where only the rank makes features fully overlap with themselves; ReSi divides
    by the number of units, which `norm="units"` does too. Ranks are numpy's: singular values
    above s₁ max(n, d) ε.

    Independent features score min(r, r') / n on average. The value is 1 whatever the features
    if both ranks are n. Features with the same vector for all samples are refused, although
    their span is defined.

    Cost: n d min(n, d) per model, n r r' per pair; memory 8 n r bytes per model.

    Args:
        norm: `rank` or `units`, the larger of which divides.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(EigenspaceOverlap()(x, x + np.roll(x, 1, axis=0)), 4)
        0.5191
    """

    norm: Literal["rank", "units"] = "rank"

    @property
    def facts(self) -> Facts:
        """The facts: beside the number of units, deficient features do not match themselves."""
        self_value = 1.0 if self.norm == "rank" else None
        return replace(self.class_facts, self_value=self_value)

    def prepare(self, x: np.ndarray) -> Side:
        """Returns the left singular vectors (n, r) of x: (n, d) and the number that divides."""
        check_varies(x)
        u = ranked_svd(power_of_two_scale(x), "compare", x)[0]
        return u, u.shape[1] if self.norm == "rank" else x.shape[1]

    def compare(self, a: Side, b: Side) -> float:
        """Returns the overlap; at most 1, so that anything above is rounding."""
        overlap = a[0].T @ b[0]
        return min(1.0, float(np.vdot(overlap, overlap)) / max(a[1], b[1]))

    def permuted(self, a: Side, order: np.ndarray) -> Side:
        """Returns the form of the permuted samples."""
        return a[0][order], a[1]

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of the left singular vectors."""
        return 8 * n * min(n, d)


@metric(
    "gulp",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=True,
    invariant_to={
        "permutation",
        "orthogonal",
        "isotropic_scaling",
        "translation",
        "invertible_linear",
    },
    citation="boixadsera2022",
)
@dataclass(frozen=True)
class GULP(Metric):
    r"""GULP distance: how far ridge regressions on the two sides predict apart, for any task.

    d² = tr(S_α⁻¹SS_α⁻¹S) + tr(S'_α⁻¹S'S'_α⁻¹S') - 2 tr(S_α⁻¹CS'_α⁻¹Cᵀ) with the covariances S,
    S', C of features that are centred and scaled to a mean squared norm of 1, and S_α = S + αI
    (Boix-Adsera et al. 2022, whose λ is α). Equally d = ‖H - H'‖, the Frobenius distance of the
    smoothing matrices H = Σᵢ gᵢ uᵢuᵢᵀ, gᵢ = pᵢ / (pᵢ + α), over the left singular vectors uᵢ and
    shares pᵢ of variance; it is computed from this form, so that nearly equal features lose
    nothing to cancellation. With α = 0, d² = r + r' - 2 Σ ρᵢ² for the numerical ranks r, r' and
    canonical correlations ρᵢ, which is 0 whatever the features if both ranks are n - 1.

    ReSi ships d² and inverts every eigenvalue above 0, so that features of deficient rank give
    noise, even below 0; here directions beyond the numerical rank do not count.

    Cost: n d min(n, d) per model, n r r' per pair (some four times it if they nearly agree);
    memory 8 n r bytes per model.

    Args:
        form: `root`, the metric distance d, or `squared`, d² as ReSi ships it.
        alpha: ridge weight in units of the total variance of each side, from 0.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(GULP()(x, x + np.roll(x, 1, axis=0)), 4)
        1.7695
    """

    form: Literal["root", "squared"] = "root"
    alpha: float = 0.0

    def check(self) -> None:
        """Raises ConfigError if alpha is not a number from 0."""
        number = isinstance(self.alpha, int | float) and not isinstance(self.alpha, bool)
        if not number or not 0 <= self.alpha < np.inf:
            raise ConfigError(f"metric 'gulp': alpha cannot be {self.alpha!r}; use a number from 0")

    @property
    def facts(self) -> Facts:
        """The facts: ridge sees the spectrum, and a squared distance breaks the triangle."""
        lost = {"invertible_linear"} if self.alpha > 0 else set()
        facts = self.class_facts
        return replace(facts, is_metric=self.form == "root", invariant_to=facts.invariant_to - lost)

    def prepare(self, x: np.ndarray) -> Smoother:
        """Returns the left singular vectors (n, r) of the centred x: (n, d), and g: (r,)."""
        if len(x) < 3:
            raise MetricError(f"GULP needs at least 3 samples, not {len(x)}")
        check_varies(x)
        u, s, _ = ranked_svd(twice_centered(x), "compare", x)
        shares = (s / np.linalg.norm(s)) ** 2
        return u, shares / (shares + self.alpha)

    def compare(self, a: Smoother, b: Smoother) -> float:
        """Returns the distance of the smoothing matrices, or its square."""
        (u, g), (v, h) = a, b
        overlap = u.T @ v
        whole = float(g @ g + h @ h)
        squared = whole - 2 * float(g @ np.square(overlap) @ h)
        if squared < 1e-3 * whole:  # cancellation would cost more than three digits
            squared = _squared_distance(a, b, overlap)
        return squared if self.form == "squared" else float(np.sqrt(squared))

    def permuted(self, a: Smoother, order: np.ndarray) -> Smoother:
        """Returns the form of the permuted samples; the spectrum stays."""
        return a[0][order], a[1]

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of the left singular vectors and the spectrum."""
        return 8 * (n + 1) * min(n, d)


def _squared_distance(a: Smoother, b: Smoother, overlap: np.ndarray) -> float:
    """Returns ‖H - H'‖² as a sum of squares: inside the span of a, across it, and outside."""
    (u, g), (v, h) = a, b
    inside = np.diag(g) - (overlap * h) @ overlap.T
    residue = v - u @ overlap
    across = (residue * h) @ overlap.T
    outside = residue.T @ residue
    return float(np.vdot(inside, inside) + 2 * np.vdot(across, across) + h @ np.square(outside) @ h)
