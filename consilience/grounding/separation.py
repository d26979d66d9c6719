"""Whether groups of models are told apart: average precision and conformity of their pairs.

A pair of models is inside a group, or across it: one model in it, one outside. Of each group the
pairs inside are to be closer than those across it (Klabunde et al. 2025, tests 3 to 5).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from math import factorial

import numpy as np

from consilience.pairs.correlations import Floats, Ints, chunks


@dataclass(frozen=True)
class Ordered:
    """Numbers from the largest to the smallest; equal ones enter together."""

    order: Ints
    ends: Ints
    """Where each block of equal numbers ends in the order."""

    @classmethod
    def of(cls, values: Floats) -> "Ordered":
        """Orders finite numbers (p,)."""
        order = np.argsort(-values, kind="stable")
        last = np.append(np.diff(values[order]) < 0, True)
        return cls(order, np.flatnonzero(last))

    def reached(self, weights: Floats) -> Floats:
        """Returns (b, t) the weight of (b, p) at or above each distinct number."""
        return np.cumsum(weights[:, self.order], axis=1)[:, self.ends]


def average_precision(ordered: Ordered, inside: Floats, cross: Floats) -> Floats:
    """Returns (b,) average precisions: sum over distinct t of (R_t - R_before) · precision_t.

    Args:
        ordered: the closeness of p pairs.
        inside: (b, p) weights of the pairs to be found.
        cross: (b, p) weights of all others.

    Returns:
        NaN where nothing is to be found.
    """
    found = ordered.reached(inside)
    seen = found + ordered.reached(cross)
    steps = np.diff(found, axis=1, prepend=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(seen > 0, found / seen, 0.0)
        return (steps * precision).sum(axis=1) / found[:, -1]


def conformity(ordered: Ordered, inside: Floats, cross: Floats) -> Floats:
    """Returns (b,) P(inside closer than across) + ½ P(equally close); arguments as above."""
    steps = np.diff(ordered.reached(inside), axis=1, prepend=0)
    above = ordered.reached(cross)
    equal = np.diff(above, axis=1, prepend=0)
    beaten = above[:, -1:] - above + equal / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return (steps * beaten).sum(axis=1) / (steps.sum(axis=1) * above[:, -1])


SCORES = {"auprc": average_precision, "conformity": conformity}


def chance_precision(positives: int, total: int) -> float:
    """Returns the mean average precision of P positives among M in random order, without ties.

    E[AP] = [(P - 1)(M - H_M) / (M - 1) + H_M] / M with H_M = 1 + 1/2 + … + 1/M: the positive at
    place i has precision 1/i from itself and, on average, (P - 1)/(M - 1) · (i - 1)/i from others.
    """
    if total == 1:
        return float(positives)
    harmonic = float((1 / np.arange(1, total + 1)).sum())
    return ((positives - 1) * (total - harmonic) / (total - 1) + harmonic) / total


def lift(value: float, chance: float) -> float:
    """Returns (value - chance) / (1 - chance): 0 for chance, 1 for the best."""
    return (value - chance) / (1 - chance)


@dataclass(frozen=True)
class Groups:
    """Models in groups and how close every two are.

    Attributes:
        closeness: (m, m) symmetric, larger is closer; NaN where a pair failed.
        group: (m,) the group of each model, 0 … G - 1.
        start: (m,) what its training started from; two models with equal numbers share it.
        drop: whether pairs across groups that share their start are left out.
    """

    closeness: Floats
    group: Ints
    start: Ints
    drop: bool = False

    @cached_property
    def pairs(self) -> tuple[Ints, Ints]:
        """The first and second model of every pair that counts, failed ones included."""
        first, second = np.triu_indices(len(self.group), 1)
        if self.drop:
            kept = ~(self._shared[first, second])
            first, second = first[kept], second[kept]
        return first, second

    @cached_property
    def _shared(self) -> np.ndarray:
        across = self.group[:, None] != self.group[None]
        return across & (self.start[:, None] == self.start[None])

    @property
    def matched(self) -> bool:
        """Whether models of different groups share a start, and no two of one group do."""
        same = self.start[:, None] == self.start[None]
        inside = (self.group[:, None] == self.group[None]) & ~np.eye(len(self.group), dtype=bool)
        return bool(self._shared.any() and not (same & inside).any())

    @property
    def sizes(self) -> tuple[int, ...]:
        """Models of each group."""
        return tuple(np.bincount(self.group).tolist())

    @cached_property
    def values(self) -> Floats:
        """(p,) closeness of the pairs."""
        return self.closeness[self.pairs]

    @cached_property
    def valid(self) -> np.ndarray:
        """(p,) whether a pair has a value."""
        return np.isfinite(self.values)

    def sides(self, labels: Ints) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields for each group which pairs are inside and which across it, (b, p) each.

        Args:
            labels: (b, m) the group of each model in each relabelling.
        """
        first, second = self.pairs
        x, y = labels[:, first], labels[:, second]
        for g in range(len(self.sizes)):
            one, other = x == g, y == g
            yield one & other, one ^ other

    def failed_share(self) -> float:
        """Returns the largest share of failed pairs of any side of any group."""
        shares = [
            1 - self.valid[side[0]].mean()
            for sides in self.sides(self.group[None])
            for side in sides
            if side.any()
        ]
        return max(shares, default=0.0)

    def chance(self, score: str) -> float:
        """Returns what a metric that knows nothing gets on average."""
        if score == "conformity":
            return 0.5
        found = []
        for inside, cross in self.sides(self.group[None]):
            positives = int((inside[0] & self.valid).sum())
            total = positives + int((cross[0] & self.valid).sum())
            found.append(chance_precision(positives, total) if total else np.nan)
        return float(np.mean(found))

    def score(self, score: str, counts: Floats | None = None, labels: Ints | None = None) -> Floats:
        """Returns (b,) means over groups of a score.

        Args:
            score: a key of `SCORES`.
            counts: (m, b) how often each model counts; a pair counts the product of both.
            labels: (b, m) groups of the models; by default as they are.

        Returns:
            NaN where a group has no pair inside or across it.
        """
        first, second = self.pairs
        keep = self.valid
        ordered = Ordered.of(self.values[keep])
        whole = np.ones((len(self.group), 1)) if counts is None else counts
        labels = self.group[None] if labels is None else labels
        parts = []
        for part in chunks(len(first), max(whole.shape[1], len(labels))):
            chosen = labels[part] if len(labels) > 1 else labels
            drawn = whole[:, part].T if whole.shape[1] > 1 else whole.T
            weights = drawn[:, first] * drawn[:, second]
            each = [
                SCORES[score](ordered, (inside * weights)[:, keep], (cross * weights)[:, keep])
                for inside, cross in self.sides(chosen)
            ]
            parts.append(np.mean(each, axis=0))
        return np.concatenate(parts)

    def only(self, groups: Sequence[int]) -> "Groups":
        """Returns the models of some groups, numbered anew."""
        kept = np.flatnonzero(np.isin(self.group, groups))
        place = {g: i for i, g in enumerate(groups)}
        return replace(
            self,
            closeness=self.closeness[np.ix_(kept, kept)],
            group=np.array([place[g] for g in self.group[kept].tolist()]),
            start=self.start[kept],
        )


def relabellings(groups: Groups, most: int, generator: np.random.Generator) -> Ints:
    """Returns (b, m) groups of the models: the data first, then other ways to deal them.

    Where models share starts across groups, only those with one start exchange their groups: each
    start keeps one model per group, as in the data.

    Args:
        groups: the data.
        most: so many are drawn; where there are no more, all are listed.
        generator: for the draw.
    """
    data = groups.group
    if groups.matched:
        parts = [np.flatnonzero(groups.start == start) for start in np.unique(groups.start)]
    else:
        parts = [np.arange(len(data))]
    if _count(groups.sizes, data, parts) <= most + 1:
        listed = [np.array(found) for found in _all(data, parts)]
        canonical = {tuple(_renamed(found, groups.sizes)): found for found in listed}
        canonical.pop(tuple(_renamed(data, groups.sizes)))
        return np.stack([data, *canonical.values()])
    drawn = np.tile(data, (most, 1))
    for part in parts:
        drawn[:, part] = generator.permuted(drawn[:, part], axis=1)
    return np.vstack([data[None], drawn])


def _count(sizes: Sequence[int], data: Ints, parts: Sequence[Ints]) -> int:
    """Returns how many relabellings differ, groups of one size being alike."""
    total = 1
    for part in parts:
        ways = factorial(len(part))
        for held in np.bincount(data[part]):
            ways //= factorial(held)
        total *= ways
    alike = 1
    for size in set(sizes):
        alike *= factorial(sizes.count(size))
    return max(total // alike, 1)


def _all(data: Ints, parts: Sequence[Ints]) -> Iterator[list[int]]:
    """Yields all ways to deal the labels of each part among its models."""
    if not parts:
        yield data.tolist()
        return
    for rest in _all(data, parts[1:]):
        for dealt in _deals(np.bincount(data[parts[0]]).tolist(), len(parts[0])):
            found = list(rest)
            for place, label in zip(parts[0].tolist(), dealt, strict=True):
                found[place] = label
            yield found


def _deals(held: list[int], places: int) -> Iterator[tuple[int, ...]]:
    if not held:
        yield ()
        return
    label = len(held) - 1
    for chosen in combinations(range(places), held[-1]):
        others = [place for place in range(places) if place not in chosen]
        for rest in _deals(held[:-1], len(others)):
            dealt = [label] * places
            for place, value in zip(others, rest, strict=True):
                dealt[place] = value
            yield tuple(dealt)


def _renamed(labels: Ints, sizes: Sequence[int]) -> list[int]:
    """Returns labels such that groups of one size are named in the order of their first models."""
    names: dict[int, int] = {}
    free = {size: [g for g, s in enumerate(sizes) if s == size] for size in set(sizes)}
    for label in labels.tolist():
        if label not in names:
            names[label] = free[sizes[label]].pop(0)
    return [names[label] for label in labels.tolist()]


def relabelled_p(groups: Groups, score: str, labels: Ints) -> float:
    """Returns the p-value against chance: how often relabelled models separate as well.

    (1 + number ≥ observed) / (K + 1) over K others; exact where these are all that there are.
    """
    found = groups.score(score, labels=labels)
    return float(np.mean(found >= found[0] - 1e-12))
