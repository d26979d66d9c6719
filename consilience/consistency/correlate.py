"""The correlation of any two numbers per pair of models, with models as the sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from consilience.consistency.analysis import (
    DEFAULT_METHODS,
    MIN_MODELS,
    NO_SPREAD,
    Settings,
    too_few,
)
from consilience.pairs.correlations import ROUNDING
from consilience.pairs.inference import (
    PairSet,
    estimate,
    interval,
    mantel,
    mantel_incomplete,
    relabellings,
    resample_counts,
)


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
        {method: row} with the columns `value, low, high, p, n_pairs, n_models, status` of
        `consistency_tables`; those without a number are absent.
    """
    Settings(tuple(methods), bootstrap, permutations, seed, MIN_MODELS)
    block = pairs.block()
    n_pairs, failed = len(block.first), len(pairs.x) - len(block.first)
    row: dict[str, Any] = {"n_pairs": n_pairs, "n_models": sum(pairs.sizes)}
    obstacle = too_few(block.first, block.second, pairs.sizes, MIN_MODELS, anchor=False)
    for values, name in zip(block.values, names, strict=True):
        if not obstacle and np.ptp(values) <= ROUNDING * np.abs(values).max():
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
