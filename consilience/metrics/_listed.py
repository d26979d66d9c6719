"""Metrics on lists of nearest neighbours."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from consilience.forms.kernels import check_varies, power_of_two_scale
from consilience.forms.neighbors import check_k, checked_count, count_of, ordered_neighbors
from consilience.forms.ties import (
    Neighbors,
    arrays_of,
    of_arrays,
    permuted,
    shortened,
    tied_share,
)
from consilience.metrics._base import Facts, Metric


@dataclass(frozen=True)
class NeighborMetric(Metric):
    """A metric on the lists of the k nearest neighbours of each sample.

    Its prepared form is the (n, k) int32 row indexes from near to far with their ties, which all
    such metrics with the same k and distance share.

    Equally near rows share places: see `consilience.forms.ties`. Values are expectations over a
    random order of tied rows, both sides on their own, where the definition has one in closed form;
    else that order is drawn, with the content of the features as seed. The same features on both
    sides have the same order.
    """

    k: int | float = 10
    distance: Literal["cosine", "euclidean", "inner_product"] = "cosine"

    def check(self) -> None:
        """Raises ConfigError if k is neither a count nor a share."""
        check_k(self.k, self.class_facts.name)

    @property
    def facts(self) -> Facts:
        """The facts: Euclidean neighbours ignore translations as well."""
        facts = self.class_facts
        if self.distance == "euclidean":
            facts = replace(facts, invariant_to=facts.invariant_to | {"translation"})
        return facts

    def neighbors_of(self, n: int) -> int:
        """Returns k as a count for n samples."""
        return count_of(self.k, n)

    @property
    def base(self) -> str:
        """Metrics of neighbours by one distance share their lists, whatever their k."""
        return f"neighbors_{self.distance}"

    @property
    def leaves_out(self) -> bool:
        """Whether rows of one group are no neighbours of each other: always."""
        return True

    def prepare(self, x: np.ndarray, groups: np.ndarray | None = None) -> Any:  # noqa: ANN401
        """Returns what `of_lists` makes of the neighbour lists of x: (n, d)."""
        k = checked_count(self.k, len(x))
        return self.of_lists(self.lists(x, k, groups))

    def lists(self, x: np.ndarray, k: int, groups: np.ndarray | None = None) -> Neighbors:
        """Returns the k nearest neighbours of each row of x: (n, d), from near to far."""
        check_varies(x)
        return ordered_neighbors(power_of_two_scale(x), k, self.distance, groups=groups)

    def of_lists(self, lists: Neighbors) -> Any:  # noqa: ANN401
        """Returns the prepared form for the k nearest or more."""
        return shortened(lists, checked_count(self.k, len(lists.lists)))

    def ties(self, a: Any) -> float | None:  # noqa: ANN401
        """Returns the share of samples with others as near as the k-th neighbour, beyond the k."""
        return tied_share(a)

    def pack(self, a: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
        """Returns the lists and their ties."""
        return arrays_of(a)

    def unpack(self, arrays: dict[str, np.ndarray]) -> Any:  # noqa: ANN401
        """Returns the neighbours."""
        return of_arrays(arrays)

    @property
    def keeps_forms(self) -> bool:
        """Whether lists are kept between runs: they are small and cost all products."""
        return True

    def permuted(self, a: Any, order: np.ndarray) -> Any:  # noqa: ANN401
        """Returns the lists of the permuted samples."""
        return permuted(a, order)

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns 4 bytes per neighbour; ties take more."""
        return 4 * n * self.neighbors_of(n)
