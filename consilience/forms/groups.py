"""Groups: rows that are not independent stimuli, such as captions of one picture or copies of it.

A group is what is drawn, split and permuted as a whole. Everywhere groups are (n,) whole numbers,
one for each row, or None where no two rows are of one group: then all is as if there were none.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from consilience.errors import FeaturesError

GroupRows = Literal["apart", "within", "mean"]
"""What rows of one group are to each other: pairs of them are left out, or count, or one row, their
mean, stands for all."""


def group_codes(values: Any, n: int | None = None) -> np.ndarray | None:  # noqa: ANN401
    """Returns the groups (n,) of rows, numbered as they first appear; None if all are single.

    Args:
        values: (n,) names or numbers; a row without one (None, NaN) is a group of its own. None:
            there are no groups.
        n: number of rows, if it is known.

    Raises:
        FeaturesError: not one for each row.
    """
    if values is None:
        return None
    series = pd.Series(np.asarray(values, dtype=object) if np.ndim(values) == 1 else [values])
    if np.ndim(values) != 1 or (n is not None and len(series) != n):
        given = f"have shape {np.shape(values)}"
        raise FeaturesError(f"groups {given} for {n or 'some'} samples; give one for each")
    codes = pd.factorize(series)[0].astype(np.int64)
    alone = codes < 0
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    codes = pd.factorize(codes)[0].astype(np.int64)
    return None if len(codes) == 0 or codes.max() == len(codes) - 1 else codes


def subset(groups: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Returns the groups of some rows, numbered anew."""
    return None if groups is None else group_codes(groups[rows])


def unit_count(groups: np.ndarray | None, n: int) -> int:
    """Returns how many stimuli n rows are: the number of groups."""
    return n if groups is None else int(groups.max()) + 1


def fingerprint(groups: np.ndarray) -> str:
    """Returns the SHA-256 of which rows are of one group."""
    return hashlib.sha256(np.ascontiguousarray(groups, dtype="<i8").tobytes()).hexdigest()


def describe(groups: np.ndarray) -> str:
    """Returns how many groups there are and how large, in words: `200 groups of 5 samples`."""
    sizes = np.bincount(groups)
    smallest, largest = int(sizes.min()), int(sizes.max())
    span = str(largest) if smallest == largest else f"{smallest} to {largest}"
    return f"{len(sizes)} groups of {span} samples"


def rows_by_group(groups: np.ndarray) -> list[np.ndarray]:
    """Returns for each group its rows, in order."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.cumsum(np.bincount(groups))[:-1])


def means_of(x: Any, groups: np.ndarray) -> np.ndarray:  # noqa: ANN401
    """Returns the means of the rows of x: (n, …) over each group, in float64; float32 stays it."""
    if hasattr(x, "detach"):  # a torch tensor, without importing torch
        x = x.detach().cpu().numpy()
    x, sizes = np.asarray(x), np.bincount(groups)
    starts = np.cumsum(sizes) - sizes
    rows = x[np.argsort(groups, kind="stable")]
    sums = np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
    means = sums / sizes.reshape(-1, *[1] * (x.ndim - 1))
    return means.astype(np.float32) if x.dtype == np.float32 else means


def whole_groups(groups: np.ndarray | None, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the rows of the chosen groups, in order; without groups the chosen rows."""
    if groups is None:
        return np.sort(np.asarray(chosen))
    return np.flatnonzero(np.isin(groups, chosen))


def block_order(groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Returns a random order (n,) of the rows in which groups of one size change places as blocks.

    Rows keep their places within the group, so that the first caption meets a first caption.
    """
    rows, sizes = rows_by_group(groups), np.bincount(groups)
    order = np.arange(len(groups))
    for size in np.unique(sizes):
        blocks = np.stack([rows[group] for group in np.flatnonzero(sizes == size)])
        order[blocks] = blocks[generator.permutation(len(blocks))]
    return order


def arrangements(groups: np.ndarray) -> float:
    """Returns how many different orders `block_order` can give; infinity beyond 1e300."""
    alike = np.bincount(np.bincount(groups))
    logarithm = sum(math.lgamma(count + 1) for count in alike[1:].tolist())
    return math.inf if logarithm > 690 else round(math.exp(logarithm))


@dataclass(frozen=True)
class Between:
    """The pairs of rows of different groups, and additive terms aᵢ + aⱼ over them."""

    groups: np.ndarray

    @cached_property
    def _sizes(self) -> np.ndarray:
        return np.bincount(self.groups).astype(float)

    @cached_property
    def partners(self) -> np.ndarray:
        """(n,) number of rows of other groups."""
        return len(self.groups) - self._sizes[self.groups]

    @cached_property
    def pairs(self) -> float:
        """Number of ordered pairs."""
        return float(self.partners.sum())

    @cached_property
    def freedom(self) -> float:
        """Number of ordered pairs less 2n: n(n - 3) where all groups are single."""
        return self.pairs - 2 * len(self.groups)

    def fit(self, sums: np.ndarray) -> np.ndarray:
        """Returns the a: (n,) for which K - aᵢ - aⱼ has row sums 0 over the pairs.

        It is the least-squares fit of additive terms to a symmetric K, of which only the row sums
        r over the pairs matter. With Σₕ = Σ_{j∈h} aⱼ and A = Σⱼ aⱼ, row i of a group h of s rows
        says rᵢ = (n - s) aᵢ + A - Σₕ; summed over the group, Rₕ = (n - 2s) Σₕ + s A. So Σₕ
        follows from A, A from Σ Σₕ = A, and aᵢ from both: n steps in all. Three groups or more
        determine it; where one holds half of all rows, its own equation gives A.

        Args:
            sums: (n,) row sums over the pairs.
        """
        n, sizes = len(self.groups), self._sizes
        of_groups = np.bincount(self.groups, weights=sums)
        rest = n - 2 * sizes
        half = np.flatnonzero(rest == 0)
        divided = np.where(rest == 0, 1, rest)
        shares = sizes / divided
        if len(half):
            total = of_groups[half[0]] / sizes[half[0]]
        else:
            total = (of_groups / divided).sum(axis=0) / (1 + shares.sum())
        own = of_groups / divided - shares * total
        if len(half):
            own[half[0]] = 0
            own[half[0]] = total - own.sum(axis=0)
        return (sums - total + own[self.groups]) / self.partners

    def same(self, rows: slice | np.ndarray, columns: slice | np.ndarray) -> np.ndarray:
        """Returns whether a row and a column of a block are of one group."""
        return self.groups[rows][:, None] == self.groups[columns]

    def upper(self) -> np.ndarray:
        """Returns which entries above the diagonal, row by row, are of different groups."""
        n = len(self.groups)
        return ~self.same(slice(0, n), slice(0, n))[~np.tri(n, dtype=bool)]
