"""Representational similarity analysis."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from consilience.errors import MetricError
from consilience.metrics import Facts, InnerProductMetric, metric, unit_rows
from consilience.metrics._kernels import (
    check_varies,
    power_of_two_scale,
    unit,
    upper_triangle,
)


@metric(
    "rsa",
    symmetric=True,
    bounds=(-1.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "isotropic_scaling"},
    citation="kriegeskorte2008",
)
@dataclass(frozen=True)
class RSA(InnerProductMetric):
    """Correlation of two representational dissimilarity matrices (RDMs) over pairs of samples.

    The RDM holds 1 - Pearson correlation of two rows (`correlation`), 1 - their cosine
    (`cosine`) or their distance (`euclidean`). Its strict upper triangles are correlated by
    Pearson or by Spearman with average ranks for ties (Kriegeskorte et al. 2008).

    Cost: n²d per model, and n² log n for ranks; n²/2 per pair; memory 4n² bytes per model.

    Args:
        rdm: `correlation`, `cosine` or `euclidean`.
        comparison: `pearson` or `spearman`; the parameter `compare` of `get_metric`.
    """

    rdm: Literal["correlation", "cosine", "euclidean"] = "correlation"
    comparison: Literal["pearson", "spearman"] = field(
        default="spearman", metadata={"parameter": "compare"}
    )

    @property
    def facts(self) -> Facts:
        """The facts: correlation RDMs see rotations, Euclidean ones ignore translations."""
        extra = {"correlation": set(), "cosine": {"orthogonal"}}
        extra["euclidean"] = {"orthogonal", "translation"}
        facts = self.class_facts
        return replace(facts, invariant_to=facts.invariant_to | extra[self.rdm])

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns the centred, unit RDM triangle (or its ranks) of x: (n, d)."""
        if len(x) < 3:
            raise MetricError(f"RSA needs at least 3 samples, not {len(x)}")
        check_varies(x)
        triangle = self._dissimilarities(power_of_two_scale(x))
        spread = triangle.max() - triangle.min()
        if not spread > 1e-14 * np.abs(triangle).max():
            raise MetricError("all pairs of samples are equally dissimilar")
        if self.comparison == "spearman":
            from scipy.stats import rankdata  # noqa: PLC0415 - slow to import, and plans need no rank

            triangle = rankdata(triangle)
        triangle = triangle - triangle.mean()
        return unit(triangle, 0.0, "all pairs of samples are equally dissimilar")

    def _dissimilarities(self, x: np.ndarray) -> np.ndarray:
        """Returns the upper triangle of the RDM of x: (n, d)."""
        if self.rdm == "euclidean":
            from scipy.spatial.distance import pdist  # noqa: PLC0415 - as above

            # by differences, not by a matrix product, so that equal distances come out equal
            return pdist(x)
        if self.rdm == "correlation":
            x = _centered_rows(x)
        x = unit_rows(x)
        return 1 - upper_triangle(x @ x.T)


def _centered_rows(x: np.ndarray) -> np.ndarray:
    moved = x - x.mean(axis=1, keepdims=True)
    largest = np.abs(x).max(axis=1)
    flat = np.abs(moved).max(axis=1) <= 64 * np.finfo(float).eps * largest
    if flat.any():
        row = int(np.flatnonzero(flat)[0])
        raise MetricError(f"row {row} is constant over the units, so its correlation is undefined")
    return moved
