"""How two numbers per pair of models go together, the models being the sample."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from consilience.errors import ConfigError
from consilience.pairs.correlations import ROUNDING, Floats
from consilience.pairs.inference import (
    PairSet,
    estimate,
    interval,
    mantel,
    mantel_incomplete,
    relabellings,
    resample_counts,
)
from consilience.registry import did_you_mean

METHODS = ("pearson", "spearman", "kendall")
DEFAULT_METHODS = METHODS[:2]
MIN_MODELS = 4
"""Fewest models within one group, and beside an anchor."""
MIN_BETWEEN = 3
"""Fewest models in each of two groups."""
LEAST = {"bootstrap": 0, "permutations": 0, "min_models": MIN_MODELS}
NO_SPREAD = "no interval: resampling the models shows no spread"


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
) -> dict[str, dict[str, Any]]:
    """Correlates two numbers per model pair, models being the sample.

    Args:
        pairs: the numbers and the models of each pair.
        names: what x and y are, for the status.
        methods: `pearson`, `spearman`, `kendall`.
        bootstrap: number of resamples of the models; 0 for no interval.
        permutations: number of relabellings; 0 for no p-value.
        seed: seed of this set alone.

    Returns:
        {method: row} with `value, low, high, p, n_pairs, n_models, status`; those without a number
        are absent, and where `value` is, `status` says why.

    Raises:
        ConfigError: an unknown method, or a number out of range.
    """
    check_settings("correlation", methods, bootstrap=bootstrap, permutations=permutations)
    block = pairs.block()
    n_pairs, failed = len(block.first), len(pairs.x) - len(block.first)
    row: dict[str, Any] = {"n_pairs": n_pairs, "n_models": sum(pairs.sizes)}
    obstacle = too_few(block.first, block.second, pairs.sizes, MIN_MODELS, anchor=False)
    for values, name in zip(block.values, names, strict=True):
        if not obstacle and not varies(values):
            obstacle = f"all {n_pairs} values of {name} are equal"
    if obstacle:
        return {method: row | {"status": obstacle} for method in methods}
    row["status"] = f"ok; {failed} failed pairs left out" if failed else "ok"
    for_resampling, for_relabelling = np.random.default_rng(seed).spawn(2)
    rows: dict[str, dict[str, Any]] = {}
    with threadpool_limits(1):
        counts = resample_counts(pairs.sizes, bootstrap, for_resampling)
        labels = relabellings(pairs.sizes, permutations, for_relabelling)
        for method in methods:
            found = estimate(block, method, counts)
            rows[method] = row | {"value": float(found.value[0])}
            if bootstrap:
                low, high = interval(found.z, found.drawn, found.variance, found.freedom)
                rows[method] |= _ends(float(np.tanh(low[0])), float(np.tanh(high[0])), row)
            if permutations:
                complete = not failed
                p = mantel(block, method, labels)[0] if complete else mantel_incomplete(
                    pairs, method, labels
                )  # fmt: skip
                rows[method]["p"] = float(p)
    return rows


def _ends(low: float, high: float, row: Mapping[str, Any]) -> dict[str, Any]:
    if np.isnan(low):
        return {"status": f"{row['status']}; {NO_SPREAD}"}
    return {"low": low, "high": high}


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
