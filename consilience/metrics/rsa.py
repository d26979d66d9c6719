"""Representational similarity analysis."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from consilience.errors import MetricError
from consilience.forms.kernels import (
    check_varies,
    power_of_two_scale,
    unit,
    upper_triangle,
)
from consilience.forms.rows import Rows, centered_rows
from consilience.forms.tiles import (
    TileForm,
    distance,
    distance_form,
    gram_form,
    less,
    one_minus,
    squared_distance,
)
from consilience.metrics import Facts, InnerProductMetric, Metric, metric, unit_rows


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
    (`cosine`), their distance (`euclidean`) or its square (`squared_euclidean`). Its strict upper
    triangles are compared by Pearson, by Spearman with average ranks for ties, by Kendall's tau-a
    (concordant minus discordant pairs over all pairs, so ties count against both: with tied
    distances even a self pair is below 1; Nili et al. 2014) or by their cosine, which unlike
    Pearson keeps the origin of the dissimilarities (Kriegeskorte et al. 2008).

    Cost: n²d per model, and n² log n for ranks; n²/2 per pair, n² log n for Kendall; memory
    4n² bytes per model.

    Args:
        rdm: `correlation`, `cosine`, `euclidean` or `squared_euclidean`.
        comparison: `pearson`, `spearman`, `kendall` or `cosine`; the parameter `compare` of
            `get_metric`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(RSA()(x, x + np.roll(x, 1, axis=0)), 4)
        0.4074
    """

    rdm: Literal["correlation", "cosine", "euclidean", "squared_euclidean"] = "correlation"
    comparison: Literal["pearson", "spearman", "kendall", "cosine"] = field(
        default="spearman", metadata={"parameter": "compare"}
    )

    @property
    def facts(self) -> Facts:
        """The facts: correlation RDMs see rotations, Euclidean ones ignore translations."""
        extra = {"correlation": set(), "cosine": {"orthogonal"}}
        extra["euclidean"] = extra["squared_euclidean"] = {"orthogonal", "translation"}
        facts = self.class_facts
        facts = replace(facts, invariant_to=facts.invariant_to | extra[self.rdm])
        if self.comparison == "cosine":  # of entries that are never negative
            return replace(facts, bounds=(0.0, 1.0))
        # tied distances keep a self pair below 1
        return replace(facts, self_value=None) if self.comparison == "kendall" else facts

    @property
    def has_closed_form(self) -> bool:
        """Whether `moments` gives the null: Kendall's tau is no inner product over pairs."""
        return self.comparison != "kendall"

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
        if self.comparison == "kendall":
            return triangle
        if self.comparison != "cosine":
            triangle = triangle - triangle.mean()
        return unit(triangle, 0.0, "all pairs of samples are equally dissimilar")

    @property
    def centring(self) -> str:
        """How the tiled pass centres entries; it has no way to pair them for Kendall's tau."""
        return {"cosine": "none", "kendall": ""}.get(self.comparison, "pairs")

    @property
    def ranked(self) -> bool:
        """Whether the tiled pass takes ranks: for Spearman."""
        return self.comparison == "spearman"

    def tile_form(self, x: Rows) -> TileForm:
        """Returns the RDM of x: (n, d) for the tiled pass, or similarities that rank the same."""
        check_varies(x)
        x = x.scaled()
        ranked = self.ranked
        if self.rdm in ("euclidean", "squared_euclidean"):
            # squares rank alike, but their steps would be too wide where most distances lie
            plain = ranked or self.rdm == "euclidean"
            form = distance_form(x, distance if plain else squared_distance, ranked=ranked)
        else:
            x = x.then(centered_rows) if self.rdm == "correlation" else x
            form = gram_form(x.then(unit_rows), ranked=ranked)
        if self.comparison == "cosine":
            return form if form.apply else replace(form, apply=one_minus)
        return form if ranked else less(form)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the inner product of two unit vectors, or Kendall's tau-a of two RDMs."""
        return _tau_a(a, b) if self.comparison == "kendall" else super().compare(a, b)

    def compare_all(
        self, forms_x: Sequence[np.ndarray], forms_y: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Returns the values of all pairs."""
        if self.comparison == "kendall":
            return Metric.compare_all(self, forms_x, forms_y)
        return super().compare_all(forms_x, forms_y)

    def _dissimilarities(self, x: np.ndarray) -> np.ndarray:
        """Returns the upper triangle of the RDM of x: (n, d)."""
        if self.rdm in ("euclidean", "squared_euclidean"):
            from scipy.spatial.distance import pdist  # noqa: PLC0415 - as above

            # by differences, not by a matrix product, so that equal distances come out equal
            return pdist(x, "euclidean" if self.rdm == "euclidean" else "sqeuclidean")
        if self.rdm == "correlation":
            x = centered_rows(x)
        x = unit_rows(x)
        return 1 - upper_triangle(x @ x.T)


def _tau_a(a: np.ndarray, b: np.ndarray) -> float:
    """Returns (concordant - discordant) / all pairs of the entries of two vectors."""
    from scipy.stats import kendalltau  # noqa: PLC0415 - as above

    pairs = len(a) * (len(a) - 1) / 2
    untied = [pairs - _tied_pairs(side) for side in (a, b)]
    return float(
        kendalltau(a, b, method="asymptotic").statistic * np.sqrt(untied[0] * untied[1]) / pairs
    )


def _tied_pairs(values: np.ndarray) -> float:
    counts = np.unique(values, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1)).sum() / 2)
