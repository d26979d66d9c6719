"""Agreement of nearest neighbours as sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from consilience.forms.moments import Moments
from consilience.forms.neighbors import checked_count
from consilience.forms.tied_moments import moments_with_ties
from consilience.forms.ties import (
    Neighbors,
    arrays_of,
    bordered,
    of_arrays,
    permuted,
    same_features,
    shared_neighbors,
    shortened,
    tied_share,
    weights_of,
)
from consilience.metrics import NeighborMetric, metric

SMALL_K = 24
"""Up to here, comparing all neighbours of a row with all is quicker than looking them up."""


class NeighborSets(NamedTuple):
    """The sets of the k nearest neighbours of n rows."""

    codes: np.ndarray
    """(nk,) row · n + neighbour, sorted."""
    n: int
    ties: Neighbors | None = None
    """The lists, if rows tie for their last places; the codes then hold some of the tied ones."""

    @classmethod
    def of(cls, a: Neighbors) -> "NeighborSets":
        """Returns the sets of lists."""
        lists = np.sort(a.lists, axis=1).astype(np.int64)
        return cls(_codes(lists), len(lists), a if bordered(a) else None)

    @property
    def neighbors(self) -> Neighbors:
        """The lists, in some order where they have no ties."""
        if self.ties:
            return self.ties
        return Neighbors((self.codes % self.n).reshape(self.n, -1).astype(np.int32))


@metric(
    "mutual_knn",
    symmetric=True,
    bounds=(0.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling"},
    citation="huh2024",
)
@dataclass(frozen=True)
class MutualKNN(NeighborMetric):
    """Mean share of common neighbours: (1/n) Σᵢ |Nₖ(xᵢ) ∩ Nₖ(yᵢ)| / k (Huh et al. 2024).

    Neighbours are the k other samples with the largest cosine or inner product, or the smallest
    Euclidean distance. Where more samples are as near as the k-th than there are places left, each
    of them counts (places left) / (number tied), and a common neighbour the product of both sides'
    weights: the mean over random orders of tied samples, drawn for each side on its own. The same
    features score 1 with themselves. Independent features score k / (n - 1) on average.

    Cost: n²d per model, n k log(n k) per pair; memory 8 n k bytes per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        distance: `cosine`, `euclidean` or `inner_product`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(MutualKNN(k=3)(x, x + np.roll(x, 1, axis=0)), 4)
        0.4583
    """

    def of_lists(self, lists: Neighbors) -> NeighborSets:
        """Returns the sets of the k nearest, of lists of as many or more."""
        return NeighborSets.of(shortened(lists, checked_count(self.k, len(lists.lists))))

    def compare(self, a: NeighborSets, b: NeighborSets) -> float:
        """Returns the share of neighbours that both sides have."""
        if a.ties or b.ties:
            return _with_ties(a.neighbors, b.neighbors)
        (codes, n, _), wanted = a, b.codes
        k = len(codes) // n
        if k <= SMALL_K:
            same = codes.reshape(n, k, 1) == wanted.reshape(n, 1, k)
            return float(np.count_nonzero(same) / len(codes))
        found = np.searchsorted(codes, wanted)
        found[found == len(codes)] = 0
        return float(np.count_nonzero(codes[found] == wanted) / len(codes))

    def compare_all(
        self, forms_x: Sequence[NeighborSets], forms_y: Sequence[NeighborSets]
    ) -> np.ndarray:
        """Returns the values of all pairs: a table of bits tells which of 16 models hold a code."""
        if any(form.ties for form in (*forms_x, *forms_y)):
            return super().compare_all(forms_x, forms_y)
        counts = np.empty((len(forms_x), len(forms_y)), dtype=np.int64)
        n = forms_x[0].n
        for start in range(0, len(forms_x), 16):
            group = forms_x[start : start + 16]
            holders = np.zeros(n * n, dtype=np.uint16)
            for bit, form in enumerate(group):
                holders[form.codes] |= np.uint16(1 << bit)
            for column, form in enumerate(forms_y):
                held = holders[form.codes]
                for bit in range(len(group)):
                    counts[start + bit, column] = np.count_nonzero(held & np.uint16(1 << bit))
        return counts / len(forms_x[0].codes)

    def ties(self, a: NeighborSets) -> float:
        """Returns the share of samples with others as near as the k-th neighbour, beyond the k."""
        return tied_share(a.ties) if a.ties else 0.0

    def pack(self, a: NeighborSets) -> dict[str, np.ndarray]:
        """Returns the sorted lists (n, k), a quarter of the bytes of codes, or lists with ties."""
        return arrays_of(a.neighbors)

    def unpack(self, arrays: dict[str, np.ndarray]) -> NeighborSets:
        """Returns the sets of these lists."""
        return NeighborSets.of(of_arrays(arrays))

    def permuted(self, a: NeighborSets, order: np.ndarray) -> NeighborSets:
        """Returns the sets of the permuted samples."""
        return NeighborSets.of(permuted(a.neighbors, order))

    @property
    def has_closed_form(self) -> bool:
        """Whether `moments` gives the null of the value: always."""
        return True

    def moments(self, a: NeighborSets) -> Moments:
        """Returns the sums over the matrix of the neighbours' weights, scaled by 1/√(nk)."""
        lists = a.neighbors.lists
        found = moments_with_ties(a.ties) if a.ties else Moments.of_lists(lists.astype(np.int64))
        return found.scaled(lists.size**-0.5)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns 8 bytes per neighbour; ties take more."""
        return 8 * n * self.neighbors_of(n)


def _with_ties(a: Neighbors, b: Neighbors) -> float:
    """Returns the mean share of common neighbours, each with the product of its weights."""
    if same_features(a, b):
        return 1.0
    shared, x, y = shared_neighbors(a, b), weights_of(a), weights_of(b)
    # a sum that does not depend on which side is which
    sums = shared.near + (shared.near_x * y + shared.near_y * x) + shared.tied * (x * y)
    return float(sums.sum() / a.lists.size)


def _codes(lists: np.ndarray) -> np.ndarray:
    """Returns row · n + neighbour for sorted neighbour lists (n, k), flat."""
    n = len(lists)
    return (lists + n * np.arange(n)[:, None]).ravel()
