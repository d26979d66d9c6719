"""Cosines of samples after the best rotation."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.forms.kernels import check_varies, power_of_two_scale
from consilience.forms.nuclear import (
    EPS,
    LARGE,
    NARROW,
    PROBES,
    Scaled,
    form_bytes,
    nuclear_norm,
    probes,
    with_copy,
)
from consilience.metrics import Metric, metric, unit_rows
from consilience.metrics.procrustes import reduced

PRECISION = 1e-6
"""To which the mean is known, at least."""
EVEN = 2e-7
"""Share by which lengths of rows may differ to count as one: more than float32 rounds them by."""
TINY = 1e-140
"""Length of a row, beside a largest entry of about 1, below which its square may be 0."""
SAFE = 1e-9
"""Ratio of the extreme eigenvalues of a Gram matrix from which on a rotation is taken from it."""


class Side(NamedTuple):
    """One side of a pair."""

    x: np.ndarray
    """(n, d) the features; if they are large and even, with rows of length 1, and rotated."""
    rows: np.ndarray | None = None
    """x with rows of unit length, in float32, if x is large."""
    sketch: np.ndarray | None = None
    """(n, PROBES) x times normal random numbers, then."""
    inverse: np.ndarray | None = None
    """(n,) 1 over the length of rows of x, 0 for zero rows, then."""
    even: bool = False
    """Whether x is large and its rows are of one length, up to a share of `EVEN`."""


@metric(
    "aligned_cosine",
    symmetric=True,
    bounds=(-1.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling"},
    citation="hamilton2016",
)
@dataclass(frozen=True)
class AlignedCosine(Metric):
    """Mean cosine of each sample with itself after the best rotation: mean of cos(xᵢQ, yᵢ).

    Q minimises ‖XQ - Y‖ over rotations; nothing is centred (Hamilton et al. 2016; ReSi's
    AlignedCosineSimilarity). Where directions of X and Y have no covariance at all, every rotation
    of them is equally good and ReSi's value depends on the solver; here they add nothing, which
    keeps the value unique, symmetric and free of the choice of axes. Otherwise both agree.
    Independent features score above 0, more so the larger d / n is.

    Cost: n d min(n, d) per model if n < d; per pair that of `procrustes` where all rows are of one
    length, as where features are divided by them; else 2 n d d', half of it in float32, and the
    eigenvectors of a d × d matrix, d ≤ d', at most n. Where that is not proven to give the value
    to 10⁻⁶, float64 and singular vectors. Memory: 12 n min(n, d) bytes per model.

    Args:
        zero_rows: `refuse`: a zero row is an error; `skip`: samples that are zero on either side
            are left out of the mean, as ReSi does.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(AlignedCosine()(x, x + np.roll(x, 1, axis=0)), 4)
        0.673
    """

    zero_rows: Literal["refuse", "skip"] = "refuse"
    on_device: ClassVar[str] = "aligned"

    def prepare(self, x: np.ndarray) -> Side:
        """Returns x: (n, d) scaled and in at most n dimensions, and its unit rows if large."""
        check_varies(x)
        if self.zero_rows == "refuse":
            unit_rows(x)
        x = reduced(power_of_two_scale(x))
        if x.size < LARGE:
            return Side(x)
        sizes = np.linalg.norm(x, axis=1)
        if (x.any(axis=1) & (sizes < TINY)).any():  # squares leave the range
            return Side(x)
        inverse = np.divide(1, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        length = np.linalg.norm(sizes) / np.sqrt(len(x))
        even = bool((np.abs(sizes - length) <= EVEN * length).all())
        if even:
            side = with_copy(x / length)
            return Side(side.x, side.single, side.sketch, inverse * length, even)
        rows = (x * inverse[:, None]).astype(np.float32)
        return Side(x, rows, x @ probes(x.shape[1]), inverse)

    def permuted(self, a: Side, order: np.ndarray) -> Side:
        """Returns the rows in the new order."""
        if a.rows is None:
            return Side(a.x[order])
        return Side(*(part[order] for part in a[:-1]), a.even)

    def compare(self, a: Side, b: Side, aligned: float | None = None) -> float:
        """Returns the mean cosine over the samples that have a direction on both sides."""
        if aligned is not None:
            return float(np.clip(aligned, -1, 1))
        if a.x.shape[1] > b.x.shape[1]:
            a, b = b, a
        if a.even and b.even:
            return _mean_of_even(a, b)
        kept = a.x.any(axis=1) & b.x.any(axis=1)
        if not kept.any():
            raise MetricError("every sample is zero on one side or the other; nothing to compare")
        cross = a.x.T @ b.x
        found = None
        if a.rows is not None and b.rows is not None and len(cross) > NARROW:
            found = _sum_of_cosines(a, b, cross, PRECISION * kept.sum())
        if found is not None:
            return float(np.clip(found / kept.sum(), -1, 1))
        u, strength, vt = np.linalg.svd(cross, full_matrices=False)
        found = strength > strength[0] * max(len(u), vt.shape[1]) * EPS
        x = unit_rows(a.x[kept]) @ u[:, found]
        cosines = np.einsum("ij,ij->i", x, unit_rows(b.x[kept]) @ vt[found].T)
        return float(np.clip(cosines.mean(), -1, 1))

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of n samples in min(n, d) dimensions, and of their unit rows."""
        return form_bytes(n, min(n, d))


def _mean_of_even(a: Side, b: Side) -> float:
    """Returns the mean cosine of sides whose rows are all of length 1, to `EVEN`.

    Then it is the mean of inner products, and their sum after the best rotation the nuclear norm of
    XᵀY; a cosine differs from its inner product by no more than both lengths do from 1.
    """
    allowed = (PRECISION - 2 * EVEN) * len(a.x)
    sides = (Scaled(side.x, 0, side.rows, side.sketch) for side in (a, b))
    return min(1.0, nuclear_norm(*sides, lambda _: allowed) / len(a.x))


def _sum_of_cosines(a: Side, b: Side, cross: np.ndarray, allowed: float) -> float | None:
    """Returns the sum of cos(xᵢQ, yᵢ), or None where more than `allowed` may be lost.

    It is ⟨Q, D⟩ with the product D of unit rows. Of D' in float32, ⟨Q, D' - D⟩ is at most
    √r ‖D' - D‖, as in `nuclear_norm`; Q = G^(-½) XᵀY of the Gram matrix G of XᵀY: (r, d') is
    orthogonal to 10⁻⁷ where no singular value is below 3 · 10⁻⁵ of the largest, and what it may
    miss of that lies in the weakest directions.
    """
    squares, vectors = np.linalg.eigh(cross @ cross.T)
    if not squares[0] > SAFE * squares[-1]:
        return None
    products = (a.rows.T @ b.rows).astype(float)
    lost = a.x.T @ ((a.inverse * b.inverse)[:, None] * b.sketch) - products @ probes(cross.shape[1])
    if 1.25 * np.linalg.norm(lost) * np.sqrt(len(cross) / PROBES) > allowed:
        return None
    turned = vectors.T @ cross / np.sqrt(squares)[:, None]
    return float(np.vdot(turned, vectors.T @ products))
