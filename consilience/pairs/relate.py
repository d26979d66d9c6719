"""How two numbers per pair of models go together, the models being the sample."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from consilience.errors import ConfigError
from consilience.pairs.correlations import ROUNDING, Block, Floats, Ints
from consilience.pairs.families import (
    Clusters,
    arrangements,
    between_families,
    estimate_between,
    estimate_set,
    family_relabellings,
    nobody,
    units_of,
)
from consilience.pairs.inference import (
    Estimate,
    PairSet,
    interval,
    mantel,
    mantel_incomplete,
    resample_counts,
)
from consilience.pairs.remarks import disagreement, outliers
from consilience.registry import did_you_mean

METHODS = ("pearson", "spearman", "kendall")
DEFAULT_METHODS = METHODS[:2]
MIN_MODELS = 4
"""Fewest models within one group, and beside an anchor."""
MIN_BETWEEN = 3
"""Fewest models in each of two groups."""
LEAST = {"bootstrap": 0, "permutations": 0, "min_models": MIN_MODELS}
LEAST_PAIRS = 6
"""Fewest pairs of models of different families for a value of their own."""
NO_SPREAD = "no interval: resampling the models shows no spread"
FURTHER = {
    "clusters": "str",
    "n_families": "int64",
    "value_between": "float64",
    "low_between": "float64",
    "high_between": "float64",
    "p_between": "float64",
    "n_pairs_between": "float64",
    "arrangements": "float64",
    "p_least": "float64",
    "outlier": "str",
    "value_without": "float64",
}
"""Columns about families and outliers, and what they hold."""


def check_settings(where: str, methods: Sequence[str], **counts: int) -> None:
    """Raises ConfigError at an unknown method, or at a count out of range.

    Args:
        where: what the settings are of, for the message.
        methods: names of correlations.
        counts: `bootstrap`, `permutations`, `min_models`.
    """
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"{where}: unknown method {method!r}{did_you_mean(method, METHODS)}")
    for name, count in counts.items():
        if count < LEAST[name]:
            raise ConfigError(f"{where}: {name} is {count}; it must be at least {LEAST[name]}")


def correlate_pairs(
    pairs: PairSet,
    names: tuple[str, str],
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    bootstrap: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
    models: Sequence[str] = (),
    clusters: Clusters | None = None,
) -> dict[str, dict[str, Any]]:
    """Correlates two numbers per model pair, models being the sample, or families of them.

    Args:
        pairs: the numbers and the models of each pair.
        names: what x and y are, for the status.
        methods: `pearson`, `spearman`, `kendall`.
        bootstrap: number of resamples of the models; 0 for no interval.
        permutations: number of relabellings; 0 for no p-value.
        seed: seed of this set alone.
        models: (m,) ids of the models, for the columns of `FURTHER`; without them, none of these.
        clusters: which models are of one family.

    Returns:
        {method: row} with `value, low, high, p, n_pairs, n_models, status`; those without a number
        are absent, and where `value` is, `status` says why.

    Raises:
        ConfigError: an unknown method, or a number out of range.
    """
    check_settings("correlation", methods, bootstrap=bootstrap, permutations=permutations)
    clusters = clusters or Clusters()
    pairs = replace(pairs, families=clusters.codes(models) if models else None)
    block = pairs.block()
    n_pairs, failed = len(block.first), len(pairs.x) - len(block.first)
    row: dict[str, Any] = {"n_pairs": n_pairs, "n_models": sum(pairs.sizes)}
    if models:
        row |= further(pairs.sizes, pairs.families, clusters, permutations)
    obstacle = too_few(block.first, block.second, pairs.sizes, MIN_MODELS, anchor=False)
    for values, name in zip(block.values, names, strict=True):
        if not obstacle and not varies(values):
            obstacle = f"all {n_pairs} values of {name} are equal"
    if obstacle:
        return {method: row | {"status": obstacle} for method in methods}
    row["status"] = f"ok; {failed} failed pairs left out" if failed else "ok"
    for_resampling, for_relabelling = np.random.default_rng(seed).spawn(2)
    with threadpool_limits(1):
        replicates = bootstrap if pairs.families is None else 0
        counts = resample_counts(pairs.sizes, replicates, for_resampling)
        labels = family_relabellings(pairs.families, pairs.sizes, permutations, for_relabelling)
        one = _One(pairs, block, tuple(models), clusters, counts, labels, bootstrap > 0)
        return {method: row | one.measure(method, row["status"]) for method in methods}


def further(
    sizes: tuple[int, ...], families: Ints | None, clusters: Clusters, permutations: int
) -> dict[str, Any]:
    """Returns the cells of a row that depend on nothing but its models.

    Args:
        sizes: numbers of models of the sides.
        families: (m,) number of each model's family, None for models one by one.
        clusters: which column they are of.
        permutations: number of relabellings.
    """
    ways = arrangements(families, sizes)
    count = sum(sizes) if families is None else len(np.unique(families))
    least = max(1 / (permutations + 1), 1 / ways) if permutations else np.nan
    return {"clusters": clusters.column, "n_families": count, "arrangements": ways,
            "p_least": least}  # fmt: skip


@dataclass(frozen=True)
class _One:
    """One set of pairs, with what is drawn for it."""

    pairs: PairSet
    block: Block
    models: tuple[str, ...]
    clusters: Clusters
    counts: Floats
    labels: Ints
    intervals: bool

    def measure(self, method: str, status: str) -> dict[str, Any]:
        """Returns the cells of a method."""
        found = estimate_set(self.block, method, self.counts)
        row = self._numbers(self.pairs, self.block, found, method)
        obstacle, units, names = "", nobody(), []
        if self.block.families is not None:
            units = units_of(self.block.families, self.block.sizes)
            labels = np.unique(self.clusters.names(self.models))
            obstacle, names = units.few, [labels[k] for k in units.family]
        if self.intervals and "low" not in row:
            status = f"{status}; {obstacle or NO_SPREAD}"
        if self.models and self.intervals:
            (who,) = outliers(found, self.models, self.block.sizes, (units, names))
            least = further(self.block.sizes, self.block.families, self.clusters,
                            self.labels.shape[1] - 1)["p_least"]  # fmt: skip
            ends = [row.get(name, np.nan) for name in ("p", "low", "high")]
            status += disagreement(*ends, least, who)
            row |= {"outlier": who.name, "value_without": who.value}
        if self.block.families is not None:
            row |= self._between(method)
        return row | {"status": status}

    def _numbers(
        self, pairs: PairSet, block: Block, found: Estimate, method: str
    ) -> dict[str, Any]:
        """Returns value, interval and p; an interval that is not there is absent."""
        row = {"value": float(found.value[0])}
        if self.intervals:
            low, high = interval(found.z, found.drawn, found.variance, found.freedom)
            if not np.isnan(low[0]):
                row |= {"low": float(np.tanh(low[0])), "high": float(np.tanh(high[0]))}
        if self.labels.shape[1] > 1:
            complete = len(block.first) == len(pairs.x)
            p = mantel(block, method, self.labels)[0] if complete else mantel_incomplete(
                pairs, method, self.labels
            )  # fmt: skip
            row["p"] = float(p)
        return row

    def _between(self, method: str) -> dict[str, Any]:
        """Returns the cells of the pairs of models of different families."""
        block = between_families(self.block)
        cells: dict[str, Any] = {"n_pairs_between": len(block.first)}
        if len(block.first) < LEAST_PAIRS or not all(map(varies, block.values)):
            return cells
        pairs = self.pairs
        keep = pairs.families[pairs.first] != pairs.families[pairs.second]
        kept = (side[keep] for side in (pairs.x, pairs.y, pairs.first, pairs.second))
        pairs = PairSet(*kept, pairs.sizes, pairs.families)
        found = self._numbers(pairs, block, estimate_between(block, method), method)
        return cells | {f"{name}_between": number for name, number in found.items()}


def varies(values: Floats) -> bool:
    """Returns whether numbers differ by more than rounding; without any they do not."""
    return len(values) > 0 and bool(np.ptp(values) > ROUNDING * np.abs(values).max())


def too_few(
    first: np.ndarray, second: np.ndarray, sizes: tuple[int, ...], min_models: int, anchor: bool
) -> str:
    """Returns why a set has too few models, or an empty string.

    Args:
        first: (p,) position of each complete pair's first model.
        second: (p,) position of its second model.
        sizes: numbers of models, as in `PairSet`.
        min_models: fewest within one set, or beside an anchor.
        anchor: whether the first side is one model that all others are compared with.
    """
    used = np.union1d(first, second)
    edges = np.cumsum([0, *sizes])
    paired = tuple(int(((used >= low) & (used < high)).sum()) for low, high in pairwise(edges))
    for counts in (sizes, paired):
        found = " and ".join(map(str, counts))
        head = f"{found} model{'' if counts == (1,) else 's'}, {len(first)} pairs: at least"
        if anchor:
            if counts[0] < 1 or counts[1] < min_models:
                return f"{head} {min_models} models are needed beside the anchor"
        elif len(sizes) == 1 and counts[0] < min_models:
            return f"{head} {min_models} models are needed"
        elif len(sizes) == 2 and min(counts) < MIN_BETWEEN:
            return f"{head} {MIN_BETWEEN} models are needed in each group"
    return ""
