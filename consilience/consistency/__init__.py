"""Consistency: does the similarity of models on one dataset carry over to another?

Take the similarity of every pair of models on dataset x and on dataset y: their correlation over
the pairs is the consistency of the two datasets, for all models and for groups of models. It comes
with an interval and a p-value that treat the models, not the pairs, as the sample.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from consilience.consistency.inference import (
    ROUNDING,
    PairSet,
    correlate,
    interval,
    leave_one_out,
    mantel,
    resample,
)
from consilience.consistency.sets import ModelSet, Similarity, model_sets, pair_set, read_similarity
from consilience.errors import ConfigError, DataError
from consilience.files import derive_seed, digest, file_digest, read_table, write_table
from consilience.registry import did_you_mean

__all__ = ["COLUMNS", "METHODS", "correlate_pairs", "make_consistency", "measure_consistency"]

logger = logging.getLogger(__name__)

METHODS = ("pearson", "spearman")
MIN_MODELS = 4
"""Fewest models within one group."""
MIN_BETWEEN = 3
"""Fewest models in each of two groups."""

COLUMNS = {
    "metric": "str",
    "dataset_x": "str",
    "dataset_y": "str",
    "grouping": "str",
    "group_x": "str",
    "group_y": "str",
    "method": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "p": "float64",
    "n_pairs": "int64",
    "n_models": "int64",
    "status": "str",
}


@dataclass(frozen=True)
class _Settings:
    methods: tuple[str, ...]
    bootstrap: int
    permutations: int
    seed: int
    min_models: int

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(
                    f"consistency: unknown method {method!r}{did_you_mean(method, METHODS)}"
                )
        for name, least in (("bootstrap", 0), ("permutations", 0), ("min_models", MIN_MODELS)):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"consistency: {name} is {value}; it must be at least {least}")


def measure_consistency(  # noqa: PLR0913
    tables: Mapping[str, pd.DataFrame],
    models: pd.DataFrame,
    *,
    groups: Sequence[str],
    methods: Sequence[str] = METHODS,
    bootstrap: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
    min_models: int = MIN_MODELS,
    layers: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Correlates the similarities of model pairs between every two datasets.

    For datasets d, e and model sets A, B: corr over {i, j}, i in A, j in B, i != j, of
    (s_d(i, j), s_e(i, j)) (Ciernik et al. 2025), over the models that both datasets have. Sets:
    all models (`all, all, all`), and within and between the values of every grouping. Pairs whose
    similarity failed on either dataset are left out and counted in the status.

    The interval resamples models, not pairs (see `inference.interval` for the choice among
    intervals); the p-value relabels models (see `inference.mantel`).

    Args:
        tables: {dataset: similarity table} of one metric (columns of `results/similarity`).
        models: metadata indexed by model id.
        groups: metadata columns to group by.
        methods: `pearson`, `spearman` or both.
        bootstrap: number of resamples of the models; 0 for no interval.
        permutations: number of relabellings; 0 for no p-value.
        seed: study seed. Every model set of every dataset pair has its own random numbers, so a
            row does not depend on what else is measured.
        min_models: fewest models of a set within one group (at least 4); between two groups each
            needs 3.
        layers: {model: layer}, usually the last; a model with one layer needs no entry.

    Returns:
        one row per dataset pair (in alphabetical order), model set and method, with the columns
        of `COLUMNS`. Where `value` is null, `status` says why; otherwise it starts with `ok`.

    Raises:
        ConfigError: an unknown grouping or method, or a number out of range.
        DataError: a table that is not the similarity of one metric, or an unknown model.
    """
    settings = _Settings(tuple(methods), bootstrap, permutations, seed, min_models)
    metric = _metric_of(tables)
    similarities = {name: read_similarity(tables[name], name, layers) for name in sorted(tables)}
    known = sorted({model for s in similarities.values() for model in s.models})
    sets = model_sets(known, models, groups)
    rows: list[dict[str, Any]] = []
    with threadpool_limits(1):  # sums split over threads would differ in the last bit
        for pair in combinations(similarities, 2):
            for chosen in sets:
                rows += _measure_set(similarities, pair, chosen, metric, settings)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    logger.info("%s: %d rows, %d without a value", metric, len(table), table["value"].isna().sum())
    return table


def make_consistency(
    similarity_paths: Sequence[str | Path],
    models: pd.DataFrame,
    out: str | Path,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Writes `results/consistency/{metric}.parquet` from the similarity files of one metric.

    Args:
        similarity_paths: one similarity file per dataset; each model counts with its last layer.
        models: metadata indexed by the ids of the models that count.
        out: file to write; its metadata hold the settings and the hashes of all inputs.
        **settings: keyword arguments of `measure_consistency`.

    Raises:
        DataError: a file does not hold exactly one dataset, or two hold the same one.
    """
    tables: dict[str, pd.DataFrame] = {}
    hashes: dict[str, str] = {}
    for path in similarity_paths:
        table = read_table(path)
        names = table["dataset"].unique().tolist() if "dataset" in table else []
        if len(names) != 1 or names[0] in tables:
            raise DataError(
                f"{path} holds the datasets {names}; expected one that no other file holds"
            )
        tables[names[0]], hashes[names[0]] = _only(table, models.index), file_digest(path)
    layers = {
        model: layers[-1]
        for table in tables.values()
        for model, layers in table.attrs.get("layers", {}).items()
    }
    kept = {name: table for name, table in tables.items() if len(table)}
    for name in sorted(set(tables) - set(kept)):
        logger.info("dataset %s has none of the models that count here: left out", name)
    result = measure_consistency(kept, models, layers=layers, **settings)
    used = models[list(settings["groups"])].astype(str)
    metadata = {
        "settings": _plain(settings),
        "similarity": hashes,
        "models": digest(used.sort_index().to_dict("index")),
    }
    write_table(result, out, metadata)


def _only(table: pd.DataFrame, models: pd.Index) -> pd.DataFrame:
    """Returns the rows between the models that count, with the table's metadata."""
    kept = table[table["model_x"].isin(models) & table["model_y"].isin(models)]
    kept.attrs = table.attrs
    return kept


def _measure_set(
    similarities: Mapping[str, Similarity],
    pair: tuple[str, str],
    chosen: ModelSet,
    metric: str,
    settings: _Settings,
) -> list[dict[str, Any]]:
    """Returns one row per method for one dataset pair and model set."""
    pairs = pair_set(similarities[pair[0]], similarities[pair[1]], chosen)
    names = (metric, *pair, chosen.grouping, chosen.group_x, chosen.group_y)
    row = dict(zip(COLUMNS, names, strict=False))
    numbers = _correlate_pairs(pairs, pair, settings, derive_seed(settings.seed, *names))
    return [row | {"method": method} | numbers[method] for method in settings.methods]


def correlate_pairs(
    pairs: PairSet,
    names: tuple[str, str],
    *,
    methods: Sequence[str] = METHODS,
    bootstrap: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Correlates two numbers per model pair, models being the sample.

    Args:
        pairs: the numbers and the models of each pair.
        names: what x and y are, for the status.
        methods: `pearson`, `spearman` or both.
        bootstrap: number of resamples of the models; 0 for no interval.
        permutations: number of relabellings; 0 for no p-value.
        seed: seed of this set alone.

    Returns:
        {method: row} with the columns `value, low, high, p, n_pairs, n_models, status` of
        `measure_consistency`; those without a number are absent.
    """
    with threadpool_limits(1):
        settings = _Settings(tuple(methods), bootstrap, permutations, seed, MIN_MODELS)
        return _correlate_pairs(pairs, names, settings, seed)


def _correlate_pairs(
    pairs: PairSet, names: tuple[str, str], settings: _Settings, seed: int
) -> dict[str, dict[str, Any]]:
    n_pairs = int(pairs.valid.sum())
    row = {"n_pairs": n_pairs, "n_models": sum(pairs.sizes)}
    if obstacle := _obstacle(pairs, names, settings.min_models):
        return {method: row | {"status": obstacle} for method in settings.methods}
    failed = len(pairs.x) - n_pairs
    row["status"] = f"ok; {failed} failed pairs left out" if failed else "ok"
    methods, draws = settings.methods, settings.bootstrap
    for_resampling, for_relabelling = np.random.default_rng(seed).spawn(2)
    rows = {method: row | {"value": correlate(pairs, method)} for method in methods}
    if draws:
        left_out = leave_one_out(pairs, methods)
        resampled = resample(pairs, methods, draws, for_resampling)
        for method in methods:
            rows[method] |= _ends(interval(pairs, method, left_out[method], resampled[method]), row)
    if settings.permutations:
        for method, p in mantel(pairs, methods, settings.permutations, for_relabelling).items():
            rows[method]["p"] = p
    return rows


def _ends(found: tuple[float, float] | None, row: Mapping[str, Any]) -> dict[str, Any]:
    if found is None:
        return {"status": f"{row['status']}; no interval: resampling the models shows no spread"}
    return {"low": found[0], "high": found[1]}


def _obstacle(pairs: PairSet, datasets: tuple[str, str], min_models: int) -> str:
    """Returns why a set has no correlation, or an empty string."""
    complete = pairs.complete()
    least, where = (min_models, "") if len(pairs.sizes) == 1 else (MIN_BETWEEN, " in each group")
    for counts in (pairs.sizes, _models_with_a_pair(complete)):
        if min(counts) < least:
            found = " and ".join(map(str, counts))
            return (
                f"{found} model{'' if counts == (1,) else 's'}, {len(complete.x)} pairs: "
                f"at least {least} models are needed{where}"
            )
    for values, dataset in zip((complete.x, complete.y), datasets, strict=True):
        if np.ptp(values) <= ROUNDING * np.abs(values).max():
            return f"all {len(values)} values of {dataset} are equal"
    return ""


def _models_with_a_pair(pairs: PairSet) -> tuple[int, ...]:
    used = np.union1d(pairs.first, pairs.second)
    edges = np.cumsum([0, *pairs.sizes])
    return tuple(int(((used >= low) & (used < high)).sum()) for low, high in pairwise(edges))


def _metric_of(tables: Mapping[str, pd.DataFrame]) -> str:
    found = {str(name) for table in tables.values() for name in table["metric"].unique()}
    if len(found) != 1:
        raise DataError(
            f"expected similarity tables of one metric, found {', '.join(sorted(found)) or 'none'}"
        )
    return found.pop()


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings as JSON knows them: tuples become lists."""
    return {
        key: list(value) if isinstance(value, tuple | list) else value
        for key, value in settings.items()
    }
