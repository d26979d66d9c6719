"""Representational similarity analysis."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from consilience.errors import MetricError
from consilience.forms.groups import Between
from consilience.forms.kernels import (
    check_units,
    check_varies,
    power_of_two_scale,
    unit,
    upper_triangle,
)
from consilience.forms.rows import Rows, centered_rows, unit_rounding
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

NEAR = 2.0**-6
"""Below this mean dissimilarity, 1 - cosine is not taken from products in float32."""
NEARER = 2.0**-20
"""Below this one, not from products in float64 either."""


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

    @property
    def leaves_out(self) -> bool:
        """Whether pairs within a group are left out: always."""
        return True

    def prepare(self, x: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
        """Returns the centred, unit RDM triangle (or its ranks) of x: (n, d).

        With groups (n,), pairs within one are 0 in it, or NaN for Kendall's tau.
        """
        check_units("RSA", 3, len(x), groups)
        check_varies(x)
        triangle = self._dissimilarities(x)
        if groups is None:
            return self._unit(triangle)
        between = Between(groups).upper()
        found = np.full(len(triangle), np.nan if self.comparison == "kendall" else 0.0)
        found[between] = self._unit(triangle[between])
        return found

    def _unit(self, triangle: np.ndarray) -> np.ndarray:
        """Returns dissimilarities, or their ranks, centred and of unit norm."""
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
        ranked = self.ranked
        if self.rdm in ("euclidean", "squared_euclidean"):
            # squares rank alike, but their steps would be too wide where most distances lie
            plain = ranked or self.rdm == "euclidean"
            apply = distance if plain else squared_distance
            form = distance_form(x.scaled(), apply, ranked=ranked)
        else:
            form = replace(self._cosine_form(x), ranked=ranked)
        if self.comparison == "cosine":
            if form.apply is None:
                form = replace(form, apply=one_minus if form.half is None else squared_distance)
            return form
        return form if ranked else less(form)

    def _directions(self, x: Rows) -> Rows:
        """Returns the rows of x: (n, d) of unit norm, centred before it for correlations."""
        x = x.scaled()
        return (x.then(centered_rows) if self.rdm == "correlation" else x).then(unit_rows)

    def _cosine_form(self, x: Rows) -> TileForm:
        """Returns the form of the cosines of the rows of x: (n, d), or of these less 1.

        The latter are minus half the squared distances of unit rows: where all rows point nearly
        the same way, little of a cosine near 1 would be left in float32. Some rows tell as a rule:
        only where these are near each other a pass over all of them is made.
        """
        unit_x = self._directions(x)
        if _some_dissimilarity(unit_x) > 2 * NEAR:
            return gram_form(unit_x)
        around = unit_x.less(unit_x.means())
        if _mean_dissimilarity(around, x) > NEAR:
            return gram_form(unit_x)
        return distance_form(around, None)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the inner product of two unit vectors, or Kendall's tau-a of two RDMs."""
        if self.comparison != "kendall":
            return super().compare(a, b)
        known = ~np.isnan(a)
        return _tau_a(a, b) if known.all() else _tau_a(a[known], b[known])

    def compare_all(
        self, forms_x: Sequence[np.ndarray], forms_y: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Returns the values of all pairs."""
        if self.comparison == "kendall":
            return Metric.compare_all(self, forms_x, forms_y)
        return super().compare_all(forms_x, forms_y)

    def _dissimilarities(self, x: np.ndarray) -> np.ndarray:
        """Returns the upper triangle of the RDM of x: (n, d)."""
        from scipy.spatial.distance import pdist  # noqa: PLC0415 - as above

        if self.rdm in ("euclidean", "squared_euclidean"):
            # by differences, not by a matrix product, so that equal distances come out equal
            x = power_of_two_scale(x)
            return pdist(x, "euclidean" if self.rdm == "euclidean" else "sqeuclidean")
        unit_x = self._directions(Rows(x)).take(slice(0, len(x)))
        around = Rows(unit_x - unit_x.mean(axis=0))
        if _mean_dissimilarity(around, Rows(x)) > NEARER:
            return 1 - upper_triangle(unit_x @ unit_x.T)
        return pdist(around.raw, "sqeuclidean") / 2


def _some_dissimilarity(unit_x: Rows) -> float:
    """Returns the mean of 1 - cosine over all pairs of some unit rows, evenly spread; 0: unknown.

    It is 1 less the squared norm of their mean.
    """
    try:
        some = unit_x.take(np.arange(0, len(unit_x), max(1, len(unit_x) // 512)))
    except MetricError:  # which names the row's place among some: a pass over all says it right
        return 0.0
    mean = some.mean(axis=0)
    return 1.0 - float(mean @ mean)


def _mean_dissimilarity(around: Rows, x: Rows) -> float:
    """Returns the mean of 1 - cosine over all pairs of rows, of unit rows minus their mean.

    Args:
        around: (n, d) these rows.
        x: (n, d) the features that they were made of.

    Raises:
        MetricError: all rows point the same way, as far as the rounding of x lets one tell.
    """
    squares = [np.einsum("ij,ij->i", block, block) for _, block in around.blocks()]
    squares = np.concatenate(squares)
    if squares.max() <= unit_rounding(x.take(slice(0, 64))) ** 2:
        raise MetricError("all rows point the same way up to rounding: no pair is less similar")
    return float(squares.mean())


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
