"""Agreement of nearest neighbours as sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from consilience.forms.kernels import check_varies, power_of_two_scale
from consilience.forms.moments import Moments
from consilience.forms.neighbors import (
    checked_count,
    nearest_neighbors,
    relabelled,
)
from consilience.metrics import NeighborMetric, metric

SMALL_K = 24
"""Up to here, comparing all neighbours of a row with all is quicker than looking them up."""


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
    Euclidean distance; ties go to the lower row. Independent features score k / (n - 1) on
    average.

    Cost: n²d per model, n k log(n k) per pair; memory 8 n k bytes per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        distance: `cosine`, `euclidean` or `inner_product`.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(MutualKNN(k=3)(x, x + np.roll(x, 1, axis=0)), 4)
        0.4583
    """

    def prepare(self, x: np.ndarray, groups: np.ndarray | None = None) -> tuple[np.ndarray, int]:
        """Returns the sorted codes (row · n + neighbour) of x: (n, d), and n."""
        n, k = len(x), checked_count(self.k, len(x))
        check_varies(x)
        neighbors = nearest_neighbors(power_of_two_scale(x), k, self.distance, groups=groups)
        return _codes(neighbors), n

    def of_lists(self, lists: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns the same for lists (n, k or more) from near to far."""
        n = len(lists)
        return _codes(np.sort(lists[:, : checked_count(self.k, n)], axis=1).astype(np.int64)), n

    def compare(self, a: tuple[np.ndarray, int], b: tuple[np.ndarray, int]) -> float:
        """Returns the share of codes that both sides have."""
        (codes, n), wanted = a, b[0]
        k = len(codes) // n
        if k <= SMALL_K:
            same = codes.reshape(n, k, 1) == wanted.reshape(n, 1, k)
            return float(np.count_nonzero(same) / len(codes))
        found = np.searchsorted(codes, wanted)
        found[found == len(codes)] = 0
        return float(np.count_nonzero(codes[found] == wanted) / len(codes))

    def compare_all(
        self, forms_x: Sequence[tuple[np.ndarray, int]], forms_y: Sequence[tuple[np.ndarray, int]]
    ) -> np.ndarray:
        """Returns the values of all pairs: a table of bits tells which of 16 models hold a code."""
        counts = np.empty((len(forms_x), len(forms_y)), dtype=np.int64)
        n = forms_x[0][1]
        for start in range(0, len(forms_x), 16):
            group = forms_x[start : start + 16]
            holders = np.zeros(n * n, dtype=np.uint16)
            for bit, (codes, _) in enumerate(group):
                holders[codes] |= np.uint16(1 << bit)
            for column, (codes, _) in enumerate(forms_y):
                held = holders[codes]
                for bit in range(len(group)):
                    counts[start + bit, column] = np.count_nonzero(held & np.uint16(1 << bit))
        return counts / len(forms_x[0][0])

    def pack(self, a: tuple[np.ndarray, int]) -> dict[str, np.ndarray]:
        """Returns the sorted lists (n, k), which hold the codes in a quarter of the bytes."""
        codes, n = a
        return {"lists": (codes % n).reshape(n, -1).astype(np.int32)}

    def unpack(self, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, int]:
        """Returns the codes of sorted lists, and n."""
        lists = arrays["lists"].astype(np.int64)
        return _codes(lists), len(lists)

    def permuted(self, a: tuple[np.ndarray, int], order: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns the codes of the permuted samples."""
        codes, n = a
        lists = relabelled((codes % n).reshape(n, -1), order)
        lists.sort(axis=1)
        return _codes(lists), n

    @property
    def has_closed_form(self) -> bool:
        """Whether `moments` gives the null of the value: always."""
        return True

    def moments(self, a: tuple[np.ndarray, int]) -> Moments:
        """Returns the sums over the indicator matrix of the neighbours, scaled by 1/√(nk)."""
        codes, n = a
        lists = (codes % n).reshape(n, -1)
        return Moments.of_lists(lists).scaled(lists.size**-0.5)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns 8 bytes per neighbour."""
        return 8 * n * self.neighbors_of(n)


def _codes(lists: np.ndarray) -> np.ndarray:
    """Returns row · n + neighbour for sorted neighbour lists (n, k), flat."""
    n = len(lists)
    return (lists + n * np.arange(n)[:, None]).ravel()
