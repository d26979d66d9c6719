"""Agreement of nearest neighbours."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from consilience.errors import ConfigError, MetricError
from consilience.metrics import Facts, Metric, metric, unit_rows
from consilience.metrics._kernels import check_varies, near_center, power_of_two_scale
from consilience.metrics._moments import Moments

BLOCK_ENTRIES = 4_000_000
"""Similarities held at a time while neighbours are looked for."""


def nearest_neighbors(x: np.ndarray, k: int, distance: str = "cosine") -> np.ndarray:
    """Returns the k nearest other rows of each row of x: (n, d) as (n, k) sorted row indexes.

    Nearest is the largest cosine or inner product, or the smallest Euclidean distance; of equally
    near rows the one with the lower index is taken. A row is never its own neighbour.

    Raises:
        MetricError: a zero row has no cosine.
    """
    if distance == "cosine":
        x = unit_rows(x)
    elif distance == "euclidean":
        x = near_center(x)
    half_norms = np.einsum("ij,ij->i", x, x) / 2 if distance == "euclidean" else 0.0
    n = len(x)
    neighbors = np.empty((n, k), dtype=np.int64)
    step = max(1, BLOCK_ENTRIES // n)
    for start in range(0, n, step):
        nearness = x[start : start + step] @ x.T - half_norms
        rows = np.arange(len(nearness))
        nearness[rows, rows + start] = -np.inf
        neighbors[start : start + step] = _largest(nearness, k)
    return neighbors


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Returns the column indexes of the k largest values of each row, ties to lower indexes."""
    threshold = np.partition(values, -k, axis=1)[:, -k, None]
    above = values > threshold
    ties = values == threshold
    wanted = k - above.sum(axis=1, keepdims=True)
    chosen = above | (ties & (np.cumsum(ties, axis=1) <= wanted))
    return np.nonzero(chosen)[1].reshape(len(values), k)


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
class MutualKNN(Metric):
    """Mean share of common neighbours: (1/n) Σᵢ |Nₖ(xᵢ) ∩ Nₖ(yᵢ)| / k (Huh et al. 2024).

    Neighbours are the k other samples with the largest cosine or inner product, or the smallest
    Euclidean distance; ties go to the lower row. Independent features score k / (n - 1) on
    average.

    Cost: n²d per model, n k log(n k) per pair; memory 8 n k bytes per model.

    Args:
        k: number of neighbours, or a share of the samples if it lies between 0 and 1.
        distance: `cosine`, `euclidean` or `inner_product`.
    """

    k: int | float = 10
    distance: Literal["cosine", "euclidean", "inner_product"] = "cosine"

    def check(self) -> None:
        """Raises ConfigError if k is neither a count nor a share."""
        number = isinstance(self.k, int | float) and not isinstance(self.k, bool)
        if not number or not (0 < self.k < 1 or (self.k >= 1 and self.k == int(self.k))):
            raise ConfigError(
                f"metric 'mutual_knn': k cannot be {self.k!r}; use a whole number from 1, "
                "or a share of the samples between 0 and 1"
            )

    @property
    def facts(self) -> Facts:
        """The facts: Euclidean neighbours ignore translations as well."""
        facts = self.class_facts
        if self.distance == "euclidean":
            facts = replace(facts, invariant_to=facts.invariant_to | {"translation"})
        return facts

    def neighbors_of(self, n: int) -> int:
        """Returns k as a count for n samples."""
        return int(self.k) if self.k >= 1 else max(1, round(self.k * n))

    def prepare(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns the sorted codes (row · n + neighbour) of x: (n, d), and n."""
        n, k = len(x), self.neighbors_of(len(x))
        if k > n - 1:
            raise MetricError(f"k = {k} neighbours need at least {k + 1} samples, not {n}")
        check_varies(x)
        neighbors = nearest_neighbors(power_of_two_scale(x), k, self.distance)
        return (neighbors + n * np.arange(n)[:, None]).ravel(), n

    def compare(self, a: tuple[np.ndarray, int], b: tuple[np.ndarray, int]) -> float:
        """Returns the share of codes that both sides have."""
        codes, wanted = a[0], b[0]
        found = np.searchsorted(codes, wanted)
        found[found == len(codes)] = 0
        return float(np.count_nonzero(codes[found] == wanted) / len(codes))

    def permuted(self, a: tuple[np.ndarray, int], order: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns the codes of the permuted samples."""
        codes, n = a
        place = np.argsort(order)
        return np.sort(place[codes // n] * n + place[codes % n]), n

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
