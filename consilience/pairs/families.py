"""Families: models so near to each other that they are no independent examples.

Sizes of one network, its seeds and its fine-tunes go together. Where they do, the sample is one of
families: they are left out as a whole, and relabelled as a whole.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from consilience.errors import ConfigError
from consilience.pairs.correlations import ROUNDING, Block, Floats, Ints, blocks_of, correlations
from consilience.pairs.inference import (
    Estimate,
    estimate,
    fisher,
    model_variance,
    relabellings,
)
from consilience.registry import did_you_mean

MIN_FAMILIES = 4
"""Fewest families for an interval."""
MIN_BETWEEN = 3
"""Fewest families on each side of a set between two groups."""
NONE = "none"
"""Instead of a column: models are taken one by one."""


@dataclass(frozen=True)
class Clusters:
    """Which models are of one family.

    Attributes:
        column: the metadata column that says so; `none` if each model stands for itself.
        families: {model: family}; a model that is not in it is a family of its own. A family of the
            column is called `column=value`, one of a single model without a value as the model.
    """

    column: str = NONE
    families: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.column != NONE

    def names(self, models: Sequence[str]) -> list[str]:
        """Returns the family of each model."""
        return [self.families.get(model, model) for model in models]

    def codes(self, models: Sequence[str]) -> Ints | None:
        """Returns (m,) numbers of families in alphabetical order; None if models stand alone."""
        if not self:
            return None
        return np.unique(self.names(models), return_inverse=True)[1].astype(np.intp)


def read_clusters(table: pd.DataFrame, column: str | None, models: Sequence[str]) -> Clusters:
    """Returns the families of models by a metadata column.

    Args:
        table: metadata, indexed by model id; an empty cell makes a family of its own.
        column: its name; None or `none` for no families.
        models: the models at hand; where no two are of one family, each stands for itself.

    Raises:
        ConfigError: there is no such column.
    """
    if column in (None, NONE):
        return Clusters()
    if column not in table.columns:
        raise ConfigError(
            f"consistency: clusters: the models table has no column {column!r}"
            f"{did_you_mean(column, map(str, table.columns))}"
        )
    cells = {model: table[column].get(model) for model in models}
    named = {m: f"{column}={v}" for m, v in cells.items() if not pd.isna(v) and str(v)}
    return Clusters(column, named) if len(set(named.values())) < len(named) else Clusters()


@dataclass(frozen=True)
class Units:
    """What is left out in turn: the models of one family on one side of a set.

    Attributes:
        counts: (m, k) zero for the models of the unit, one for all others.
        side: (k,) the side; one that is a single model (an anchor) has no unit.
        family: (k,) the number of the family.
        of: (m,) the unit of each model, -1 for none.
    """

    counts: Floats
    side: Ints
    family: Ints
    of: Ints

    @property
    def few(self) -> str:
        """Why there are too few families for an interval, or an empty string."""
        found = len(np.unique(self.family))
        by_side = np.bincount(self.side, minlength=1) if len(self.side) else np.zeros(1, int)
        by_side = by_side[by_side > 0]
        noun = "family" if found == 1 else "families"
        if found < MIN_FAMILIES:
            return f"no interval: {found} {noun}, at least {MIN_FAMILIES} are needed"
        if len(by_side) > 1 and by_side.min() < MIN_BETWEEN:
            both = " and ".join(map(str, by_side))
            return f"no interval: {both} families, at least {MIN_BETWEEN} are needed in each group"
        return ""


def nobody() -> Units:
    """Returns no units: models are the sample."""
    nothing = np.empty(0, dtype=np.intp)
    return Units(np.empty((0, 0)), nothing, nothing, nothing)


def units_of(families: Ints, sizes: tuple[int, ...]) -> Units:
    """Returns what is left out in turn of a set with these sides.

    Args:
        families: (m,) number of each model's family.
        sizes: numbers of models of the sides.
    """
    columns, sides, names = [], [], []
    of = np.full(len(families), -1, dtype=np.intp)
    for number, side in enumerate(blocks_of(sizes)):
        for family in np.unique(families[side]) if len(side) > 1 else ():
            members = side[families[side] == family]
            of[members] = len(columns)
            column = np.ones(len(families))
            column[members] = 0
            columns.append(column)
            sides.append(number)
            names.append(family)
    counts = np.array(columns).T if columns else np.ones((len(families), 0))
    return Units(counts, np.array(sides, dtype=np.intp), np.array(names, dtype=np.intp), of)


def family_deviations(left_out: Floats, units: Units) -> Floats:
    """Returns (q, k) deviations whose squares sum, on each side, to the jackknife variance.

    (z_-f - mean over families) sqrt((F - 1) / F); zero where z_-f is not defined.

    Args:
        left_out: (q, k) z without each unit.
        units: what was left out.
    """
    scaled = np.zeros_like(left_out)
    for side in np.unique(units.side):
        columns = units.side == side
        values = left_out[:, columns]
        present = np.isfinite(values)
        n = np.maximum(present.sum(axis=1, keepdims=True), 1)
        mean = np.where(present, values, 0).sum(axis=1, keepdims=True) / n
        scaled[:, columns] = np.where(present, values - mean, 0) * np.sqrt((n - 1) / n)
    return scaled


def by_family(values: Floats, units: Units) -> Floats:
    """Returns (q, f) sums over the sides of what belongs to one family."""
    names, place = np.unique(units.family, return_inverse=True)
    joined = np.zeros((len(values), len(names)))
    np.add.at(joined.T, place, values.T)
    return joined


def family_variance(left_out: Floats, units: Units) -> tuple[Floats, Floats]:
    """Returns (q,) variances of z over families and their degrees of freedom.

    Within one set (F - 1) / F times the sum over families of (z_-f - mean)^2, with F - 1 degrees of
    freedom: the jackknife that leaves out one family at a time. Between two sets the families of
    each side; what a family has on both sides moves together. Its degrees of freedom are those of
    Welch and Satterthwaite, and never more than the number of families less one. NaN where there
    are too few families.

    Args:
        left_out: (q, k) z without each unit; NaN where it is not defined.
        units: what was left out.
    """
    nothing = np.full(len(left_out), np.nan)
    if units.few:
        return nothing, np.ones(len(left_out))
    scaled = family_deviations(left_out, units)
    total = (by_family(scaled, units) ** 2).sum(axis=1)
    sides = [units.side == side for side in np.unique(units.side)]
    known = [np.isfinite(left_out[:, side]).sum(axis=1) for side in sides]
    each = sum(
        (scaled[:, side] ** 2).sum(axis=1) ** 2 / np.maximum(n - 1, 1)
        for side, n in zip(sides, known, strict=True)
    )
    freedom = np.where(each > 0, total**2 / np.where(each > 0, each, 1), 1.0)
    most = max(len(np.unique(units.family)) - 1, 1)
    return np.where(np.min(known, axis=0) > 1, total, np.nan), np.clip(freedom, 1.0, most)


def estimate_set(block: Block, method: str, draws: Floats) -> Estimate:
    """Returns what is known of the correlations of a block: by family, or by model without any.

    Args:
        block: finite numbers.
        method: `pearson`, `spearman` or `kendall`.
        draws: (m, b) resamples of the models, see `inference.estimate`; families need none: the
            interval by left-out families alone covers as well as one with the shape of a bootstrap
            of families, and the percentiles of that bootstrap do not (benchmarks/consistency.md).
    """
    if block.families is None:
        return estimate(block, method, draws)
    units = units_of(block.families, block.sizes)
    m = sum(block.sizes)
    counts = np.hstack([np.ones((m, 1)), 1 - np.eye(m), units.counts])
    r = correlations(block, counts, method)
    n_pairs = len(block.first)
    z = fisher(r, n_pairs, method)
    variance, freedom = family_variance(z[:, m + 1 :], units)
    variance = np.where(np.abs(r[:, 0]) > 1 - ROUNDING, 0.0, variance)
    nothing = np.empty((len(z), 0))
    return Estimate(
        r[:, 0], z[:, 0], z[:, 1 : m + 1], nothing, variance, freedom, nothing, z[:, m + 1 :]
    )


def estimate_between(block: Block, method: str) -> Estimate:
    """Returns what is known of the correlations over pairs of models of different families.

    Near-duplicates stay near-duplicates on every dataset; these pairs do not know of them.

    Args:
        block: finite numbers of pairs between families (see `between_families`).
        method: `pearson`, `spearman` or `kendall`.
    """
    units = units_of(block.families, block.sizes)
    counts = np.hstack([np.ones((sum(block.sizes), 1)), units.counts])
    r = correlations(block, counts, method)
    z = fisher(r, len(block.first), method)
    variance, freedom = family_variance(z[:, 1:], units)
    variance = np.where(np.abs(r[:, 0]) > 1 - ROUNDING, 0.0, variance)
    nothing = np.empty((len(z), 0))
    return Estimate(r[:, 0], z[:, 0], nothing, nothing, variance, freedom, nothing, z[:, 1:])


def between_families(block: Block) -> Block:
    """Returns the pairs of models of different families."""
    keep = block.families[block.first] != block.families[block.second]
    first, second = block.first[keep], block.second[keep]
    numbers = block.values[:, keep]  # noqa: PD011 - no frame
    return replace(block, values=numbers, first=first, second=second)


def variance_of(block: Block, left_out: Floats, influence: Floats) -> tuple[Floats, Floats]:
    """Returns variances and degrees of freedom, by family where the block has families.

    Args:
        block: the pairs.
        left_out: (q, k) z without each family, or without each model.
        influence: (q, p) derivatives by each pair's weight; not needed with families.
    """
    if block.families is None:
        return model_variance(block, left_out, influence)
    return family_variance(left_out, units_of(block.families, block.sizes))


def _kinds(families: Ints, sizes: tuple[int, ...]) -> Iterator[list[Ints]]:
    """Yields, for all families of equal size on every side, the positions (f, k) on each side."""
    sides = blocks_of(sizes)
    found: dict[tuple[int, ...], list[list[Ints]]] = {}
    for family in np.unique(families):
        members = [side[families[side] == family] for side in sides]
        found.setdefault(tuple(map(len, members)), []).append(members)
    for alike in found.values():
        yield [np.stack(side) for side in zip(*alike, strict=True)]


def family_relabellings(
    families: Ints | None,
    sizes: tuple[int, ...],
    permutations: int,
    generator: np.random.Generator,
) -> Ints:
    """Returns (m, 1 + permutations) labels of the models; the first column is the data.

    Families with equally many models are swapped as blocks and models are relabelled within their
    family, on each side by itself; a family with models on both sides is swapped on both at once.
    So what the models of a family share is kept, and p is uniform when the two datasets order
    families, and models within them, independently.

    Args:
        families: (m,) number of each model's family; None for models one by one.
        sizes: numbers of models of the sides.
        permutations: how many.
        generator: for the draws.
    """
    if families is None:
        return relabellings(sizes, permutations, generator)
    labels = np.empty((len(families), permutations), dtype=np.intp)
    for sides in _kinds(families, sizes):
        count = len(sides[0])
        order = generator.permuted(np.tile(np.arange(count), (permutations, 1)), axis=1)
        for places in sides:
            if places.shape[1]:
                shuffled = generator.permuted(places[order], axis=2)
                labels[places.ravel()] = shuffled.reshape(permutations, places.size).T
    return np.hstack([np.arange(len(families))[:, None], labels])


def arrangements(families: Ints | None, sizes: tuple[int, ...]) -> float:
    """Returns how many different relabellings there are; no p is below one divided by it."""
    codes = np.arange(sum(sizes)) if families is None else families
    total = 1
    for sides in _kinds(codes, sizes):
        total *= math.factorial(len(sides[0]))
        for places in sides:
            total *= math.factorial(places.shape[1]) ** len(places)
    return float(total) if total < 1e300 else math.inf
