"""Agreement of nearest neighbours beyond the size of the common set: order, cycles, distances."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.forms.kernels import check_varies, power_of_two_scale, upper_triangle
from consilience.forms.neighbors import check_k, checked_count, ordered_neighbors, ranks_in
from consilience.forms.sequences import common_lengths, edits
from consilience.forms.ties import Neighbors, bordered, relabelled, same_features, tied_share
from consilience.metrics import Facts, Metric, NeighborMetric, metric, unit_rows
from consilience.metrics._tied import mean_jaccard, share_reached

SHARE: dict[str, Any] = {
    "symmetric": True,
    "bounds": (0.0, 1.0),
    "self_value": 1.0,
    "larger_is_more_similar": True,
    "is_metric": False,
    "invariant_to": {"permutation", "orthogonal", "isotropic_scaling"},
}
"""Facts of a share of neighbours."""


@metric("cycle_knn", citation="huh2024", **{**SHARE, "symmetric": False, "self_value": None})
@dataclass(frozen=True)
class CycleKNN(NeighborMetric):
    """Share of samples i that are a neighbour, in x, of one of their neighbours in y.

    (1/n) |{i : i ∈ Nₖ(xⱼ) for some j ∈ Nₖ(yᵢ)}|, as in the code of Huh et al. (2024). It is not
    symmetric, and compared with itself a sample counts only if one of its neighbours has it as a
    neighbour too, so the value of x with x depends on x. Independent features score about
    1 - (1 - 1/n)^k², which is already 0.09 at n = 1000 and k = 10: use a small k. Where samples tie
    for the last places, the value is the mean over their random orders, drawn for every sample and
    side on its own.

    Cost: n²d per model, n k² per pair; memory 4 n k bytes per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        distance: `cosine`, `euclidean` or `inner_product`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(CycleKNN(k=3)(x, x + np.roll(x, 1, axis=0)), 4)
        0.625
    """

    def compare(self, a: Neighbors, b: Neighbors) -> float:
        """Returns the share of samples reached again by a step in b, then one in a."""
        return share_reached(a, b)


@metric("lcs_knn", citation="huh2024", **SHARE)
@dataclass(frozen=True)
class LCSKNN(NeighborMetric):
    """Mean length of the longest common subsequence of the neighbour lists, near to far.

    (1/n) Σᵢ LCS(Nₖ(xᵢ), Nₖ(yᵢ)), divided by k (`share`) or not (`length`, the values that the code
    of Huh et al. 2024 gives). Without ties it never exceeds mutual_knn, as order counts.
    Equally near samples stand in random order, with the content of the features as seed: drawn for
    each side on its own, and the same for the same features.

    Cost: n²d per model, n k² bytes per pair for k ≤ 16 (n k² / 64 words above); memory 4 n k bytes
    per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        distance: `cosine`, `euclidean` or `inner_product`.
        form: `share` (0 … 1) or `length` (0 … k, in neighbours).

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(LCSKNN(k=3)(x, x + np.roll(x, 1, axis=0)), 4)
        0.3333
    """

    form: Literal["share", "length"] = "share"

    @property
    def facts(self) -> Facts:
        """The facts: a length reaches up to k."""
        facts = super().facts
        return _of_length(facts, self.k, self_value=float(self.k)) if _raw(self) else facts

    def compare(self, a: Neighbors, b: Neighbors) -> float:
        """Returns the mean length, or its share of k."""
        lengths = common_lengths(a.lists, b.lists)
        return float(lengths.mean(dtype=float)) / (1 if _raw(self) else a.lists.shape[1])


@metric("edit_knn", citation="huh2024", **SHARE)
@dataclass(frozen=True)
class EditKNN(NeighborMetric):
    """Agreement of the neighbour lists by edit distance: 1 - (1/n) Σᵢ Lev(Nₖ(xᵢ), Nₖ(yᵢ)) / k.

    Lev is the Levenshtein distance: the least number of insertions, deletions and substitutions
    that turn one list, near to far, into the other. The value is `edit_distance_knn` in the code
    of Huh et al. (2024), which despite this name is a similarity; `length` gives the mean number
    of edits itself, a distance.
    Equally near samples stand in random order, with the content of the features as seed: drawn for
    each side on its own, and the same for the same features.

    Cost: n²d per model, n k² bytes per pair for k ≤ 16 (n k² / 64 words above); memory 4 n k bytes
    per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        distance: `cosine`, `euclidean` or `inner_product`.
        form: `share` (0 … 1) or `length` (0 … k, in edits; larger is less similar).

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(EditKNN(k=3)(x, x + np.roll(x, 1, axis=0)), 4)
        0.2083
    """

    form: Literal["share", "length"] = "share"

    @property
    def facts(self) -> Facts:
        """The facts: the number of edits is a metric on neighbour lists."""
        facts = super().facts
        if not _raw(self):
            return facts
        facts = replace(facts, larger_is_more_similar=False, is_metric=True)
        return _of_length(facts, self.k, self_value=0.0)

    def compare(self, a: Neighbors, b: Neighbors) -> float:
        """Returns the mean number of edits, or one minus its share of k."""
        mean = float(edits(a.lists, b.lists).mean(dtype=float))
        return mean if _raw(self) else 1 - mean / a.lists.shape[1]


def _raw(metric: LCSKNN | EditKNN) -> bool:
    return metric.form == "length"


def _of_length(facts: Facts, k: float, self_value: float) -> Facts:
    """Returns the facts of a length up to k; a share of the samples sets no bound by itself."""
    if k < 1:
        return replace(facts, bounds=(0.0, float("inf")), self_value=None if self_value else 0.0)
    return replace(facts, bounds=(0.0, float(k)), self_value=self_value)


@metric("jaccard_knn", citation="hryniowski2020", **SHARE)
@dataclass(frozen=True)
class JaccardKNN(NeighborMetric):
    """Mean Jaccard index of the neighbour sets: (1/n) Σᵢ |Nₖ(xᵢ) ∩ Nₖ(yᵢ)| / |Nₖ(xᵢ) ∪ Nₖ(yᵢ)|.

    Hryniowski and Wong (2020). `JaccardSimilarity` of ReSi, but that a sample is never its own
    neighbour here (there it may be if it has duplicates). Where samples tie for the last places,
    the value is the mean over their random orders, drawn for each side on its own; the same
    features score 1 with themselves. Independent features score about k / (2n - k).

    Cost: n²d per model, n k per pair; memory 4 n k bytes per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        distance: `cosine`, `euclidean` or `inner_product`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(JaccardKNN(k=3)(x, x + np.roll(x, 1, axis=0)), 3)
        0.394
    """

    def compare(self, a: Neighbors, b: Neighbors) -> float:
        """Returns the mean Jaccard index."""
        if bordered(a) or bordered(b):
            return 1.0 if same_features(a, b) else mean_jaccard(a, b)
        common = np.count_nonzero(ranks_in(a.lists, b.lists), axis=1)
        return float((common / (2 * a.lists.shape[1] - common)).mean())


@metric("rank_knn", citation="wang2022", **SHARE)
@dataclass(frozen=True)
class RankKNN(NeighborMetric):
    """Agreement of the ranks of common neighbours (Wang et al. 2022).

    (1/n) Σᵢ (1/Hₘ) Σⱼ 2 / ((1 + |r - s|) (r + s)) over the m common neighbours j of sample i, with
    the ranks r in Nₖ(xᵢ) and s in Nₖ(yᵢ) from 1, and Hₘ = 1 + 1/2 + … + 1/m; a sample without
    common neighbours adds 0. `RankSimilarity` of ReSi.
    Equally near samples stand in random order, with the content of the features as seed: drawn for
    each side on its own, and the same for the same features.

    Cost: n²d per model, n k per pair; memory 4 n k bytes per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        distance: `cosine`, `euclidean` or `inner_product`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(RankKNN(k=3)(x, x + np.roll(x, 1, axis=0)), 4)
        0.3169
    """

    def compare(self, a: Neighbors, b: Neighbors) -> float:
        """Returns the mean agreement of ranks."""
        k = a.lists.shape[1]
        ranks, others = np.arange(1, k + 1), ranks_in(a.lists, b.lists)
        # with |r - s| and r + s symmetric, and summed in order of a rank, not of a side
        terms = np.where(others > 0, 2 / ((1 + np.abs(ranks - others)) * (ranks + others)), 0)
        harmonic = np.concatenate([[1.0], np.cumsum(1 / ranks)])  # the first is never used: 0 / 1
        common = np.count_nonzero(others, axis=1)
        return float((terms.sum(axis=1) / harmonic[common]).mean())


class Neighborhoods(NamedTuple):
    """Neighbour lists and the cosines of all pairs."""

    lists: np.ndarray
    cosines: np.ndarray
    """Upper triangle, of the samples in the order in which they were prepared."""
    rows: np.ndarray
    """Where each sample stands in that order."""
    ties: float
    """Share of samples that have others as near as their k-th neighbour, without a place."""


@metric("second_order_cosine", citation="hamilton2016shift", **{**SHARE, "bounds": (-1.0, 1.0)})
@dataclass(frozen=True)
class SecondOrderCosine(Metric):
    """Mean cosine of the vectors of similarities to the neighbours in either space.

    For each sample i let U be the union of its k nearest neighbours by cosine in x and in y; the
    vectors hold the cosines of i with the members of U, in x and in y (Hamilton et al. 2016).
    `SecondOrderCosineSimilarity` of ReSi takes cosine distances instead, with which unrelated
    features in many dimensions score 0.95, as all distances are close to 1; this is `distance`.
    Samples that tie for the last places are drawn at random, with the content of the features as
    seed: for each side on its own, and the same for the same features.

    Cost: n²d per model, n k per pair; memory 4n² bytes per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        form: `similarity` or `distance`: what the vectors hold.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(SecondOrderCosine(k=3)(x, x + np.roll(x, 1, axis=0)), 4)
        0.2605
    """

    k: int | float = 10
    form: Literal["similarity", "distance"] = "similarity"

    def check(self) -> None:
        """Raises ConfigError if k is neither a count nor a share."""
        check_k(self.k, self.class_facts.name)

    @property
    def facts(self) -> Facts:
        """The facts: distances are never negative, so neither is their cosine."""
        facts = self.class_facts
        return replace(facts, bounds=(0.0, 1.0)) if self.form == "distance" else facts

    @property
    def leaves_out(self) -> bool:
        """Whether rows of one group are no neighbours of each other: always."""
        return True

    def prepare(self, x: np.ndarray, groups: np.ndarray | None = None) -> Neighborhoods:
        """Returns the neighbour lists of x: (n, d) and the cosines or their distances."""
        k = checked_count(self.k, len(x))
        check_varies(x)
        x = power_of_two_scale(x)
        found = ordered_neighbors(x, k, "cosine", groups=groups)
        x = unit_rows(x)
        cosines = upper_triangle(x @ x.T)
        if self.form == "distance":
            cosines = np.maximum(1 - cosines, 0)
        return Neighborhoods(found.lists, cosines, np.arange(len(x)), tied_share(found))

    def compare(self, a: Neighborhoods, b: Neighborhoods) -> float:
        """Returns the mean cosine over samples."""
        only_b = ranks_in(b.lists, a.lists) == 0
        x, y = (
            np.concatenate([_at(side, a.lists), _at(side, b.lists) * only_b], axis=1)
            for side in (a, b)
        )
        norms = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
        smallest = np.minimum(*norms)
        if smallest.min() <= 64 * np.finfo(float).eps:  # cosines are of order 1
            row = int(np.argmin(smallest))
            raise MetricError(
                f"all neighbours of row {row} have {self.form} 0, so the second-order cosine "
                "is undefined; leave such samples out or take another k"
            )
        value = float((np.einsum("ij,ij->i", x, y) / (norms[0] * norms[1])).mean())
        return min(max(value, -1.0), 1.0)  # rounding only: each term lies in [-1, 1]

    def permuted(self, a: Neighborhoods, order: np.ndarray) -> Neighborhoods:
        """Returns the lists of the permuted samples and where their cosines are."""
        return Neighborhoods(relabelled(a.lists, order), a.cosines, a.rows[order], a.ties)

    def ties(self, a: Neighborhoods) -> float:
        """Returns the share of samples with others as near as the k-th neighbour, beyond the k."""
        return a.ties

    def work_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of a matrix over all pairs of samples, and of copies of features."""
        return 10 * n * n + 24 * n * d

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of one float64 per unordered pair of samples."""
        return 4 * n * n


def _at(side: Neighborhoods, lists: np.ndarray) -> np.ndarray:
    """Returns the cosines (n, k) of each sample with those listed for it."""
    n = len(lists)
    x, y = side.rows[:, None], side.rows[lists]
    low, high = np.minimum(x, y), np.maximum(x, y)
    return side.cosines[low * (2 * n - low - 1) // 2 + high - low - 1]
