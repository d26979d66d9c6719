"""The consistency tables of one metric, as the workflow makes them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from consilience.consistency.analysis import measure_set
from consilience.consistency.differences import differences_table, is_compared
from consilience.consistency.overlap import read_overlaps
from consilience.consistency.sheets import Data, Settings
from consilience.consistency.stimuli import read_halves
from consilience.consistency.tables import influence_table, main_table, means_table
from consilience.errors import DataError
from consilience.files import digest, read_table, table_digest, write_table
from consilience.layers import last_layers
from consilience.pairs.draws import Draws
from consilience.pairs.families import Clusters, read_clusters
from consilience.pairs.matrix import read_similarity
from consilience.pairs.relate import DEFAULT_METHODS, MIN_MODELS
from consilience.pairs.sets import model_sets

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Consistency:
    """The tables of one metric.

    Attributes:
        table: one row per dataset pair, model set and method.
        means: the mean over all dataset pairs, per model set and method.
        differences: between the groups of every grouping, per dataset pair and of the means.
        influence: what leaving out each model changes, per dataset pair and method.
    """

    table: pd.DataFrame
    means: pd.DataFrame
    differences: pd.DataFrame
    influence: pd.DataFrame


def consistency_tables(  # noqa: PLR0913
    tables: Mapping[str, pd.DataFrame],
    models: pd.DataFrame,
    *,
    groups: Sequence[str],
    sets: Mapping[str, Sequence[str]] | None = None,
    anchors: Sequence[str] = (),
    methods: Sequence[str] = DEFAULT_METHODS,
    bootstrap: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
    min_models: int = MIN_MODELS,
    layers: Mapping[str, str] | None = None,
    halves: Mapping[str, pd.DataFrame] | None = None,
    overlap: Mapping[tuple[str, str], float] | None = None,
    clusters: str | None = None,
    warn: Sequence[str] = (),
) -> Consistency:
    """Correlates the similarities of model pairs between every two datasets.

    For datasets d, e and model sets A, B: corr over {i, j}, i in A, j in B, i != j, of
    (s_d(i, j), s_e(i, j)) (Ciernik et al. 2025), over the models that both datasets have. Sets:
    all models (`all, all, all`), within and between the values of every grouping and the named
    sets, and anchors. Pairs whose similarity failed on either dataset are left out and counted in
    the status.

    `low, high` are the interval over models: models are resampled, not pairs, and the same ones
    on all datasets and in all sets (see `inference.interval`, `draws.Draws`); the p-value relabels
    models (see `inference.mantel`). With halves of the stimuli, `low_joint, high_joint` are the
    interval over models and stimuli, and `corrected` the consistency without the noise of the
    stimuli (see `stimuli`).

    With `clusters`, models of one family are no independent examples: the intervals leave out one
    family at a time, the p-value relabels by family, and the columns `…_between` hold what pairs of
    models of different families say alone (see `pairs.families`).

    Args:
        tables: {dataset: similarity table} of one metric (columns of `results/similarity`).
        models: metadata indexed by model id.
        groups: metadata columns to group by.
        sets: {name: ids of models}.
        anchors: ids of models to compare all others with.
        methods: `pearson`, `spearman`, `kendall`.
        bootstrap: number of resamples of the models; 0 for no interval.
        permutations: number of relabellings; 0 for no p-value.
        seed: study seed. A model is drawn by its id, so a row does not depend on what else is
            measured (but for the last digits: sums run over all datasets together).
        min_models: fewest models of a set within one group (at least 4); between two groups each
            needs 3.
        layers: {model: layer}, usually the last; a model with one layer needs no entry.
        halves: {dataset: table of `results/reliability`}.
        overlap: {(dataset_x, dataset_y): share of common stimuli}.
        clusters: the metadata column that says which models are of one family, with an empty cell
            for a family of its own; None or `none` to take models one by one.
        warn: metadata columns of which to say so where models cluster by them too.

    Returns:
        the tables. In `table`, dataset pairs and groups are in alphabetical order; where `value`
        is null, `status` says why; otherwise it starts with `ok`.

    Raises:
        ConfigError: an unknown grouping, anchor or method, or a number out of range.
        DataError: a table that is not the similarity of one metric, or an unknown model.
    """
    settings = Settings(tuple(methods), bootstrap, permutations, seed, min_models)
    read = {name: read_similarity(tables[name], name, layers) for name in sorted(tables)}
    known = sorted({model for s in read.values() for model in s.models})
    families = read_clusters(models, clusters, known)
    data = Data(
        _metric_of(tables),
        read,
        {name: read_halves(table, name, layers) for name, table in (halves or {}).items()},
        families,
        _others(models, warn, families, known) if bootstrap else (),
    )
    draws = Draws(seed, bootstrap, permutations, families)
    with threadpool_limits(1):  # sums split over threads would differ in the last bit
        results, means = [], []
        for chosen in model_sets(known, models, groups, sets, anchors):
            result = measure_set(data, chosen, settings, draws)
            means.append(means_table(data, [result], settings))
            if not is_compared(chosen):
                result.forget_draws()  # hundreds of sets of anchors would not fit into memory
            results.append(result)
        table = main_table(data, results, settings, overlap or {})
        logger.info(
            "%s: %d rows, %d without a value", data.metric, len(table), table["value"].isna().sum()
        )
        return Consistency(
            table,
            pd.concat(means, ignore_index=True),
            differences_table(data, results, settings),
            influence_table(data, results[0]),
        )


def _others(
    table: pd.DataFrame, columns: Sequence[str], used: Clusters, models: Sequence[str]
) -> list[Clusters]:
    """Returns the families by other columns than the one in use, where they are others."""
    found, seen = [], {tuple(used.codes(models))} if used else set()
    for column in columns:
        other = read_clusters(table, column, models)
        if other and (codes := tuple(other.codes(models))) not in seen:
            seen.add(codes)
            found.append(other)
    return found


def measure_consistency(
    tables: Mapping[str, pd.DataFrame],
    models: pd.DataFrame,
    **settings: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Returns the first of `consistency_tables`: a row per dataset pair, model set and method."""
    return consistency_tables(tables, models, **settings).table


def make_consistency(
    similarity_paths: Sequence[str | Path],
    models: pd.DataFrame,
    outs: Mapping[str, str | Path],
    *,
    reliability_paths: Sequence[str | Path] = (),
    samples_paths: Sequence[str | Path] = (),
    **settings: Any,  # noqa: ANN401
) -> None:
    """Writes the consistency tables of one metric from its similarity files.

    Args:
        similarity_paths: one similarity file per dataset; each model counts with its last layer.
        models: metadata indexed by the ids of the models that count.
        outs: {name of a table of `Consistency`: file to write}; their metadata hold the settings
            and the hashes of all inputs.
        reliability_paths: one file of similarities on halves per dataset, or none.
        samples_paths: one samples table per dataset, for what datasets have in common.
        **settings: keyword arguments of `consistency_tables`.

    Raises:
        DataError: a file does not hold exactly one dataset, or two hold the same one.
    """
    tables = _by_dataset(similarity_paths, models.index)
    halves = _by_dataset(reliability_paths, models.index)
    layers: dict[str, str] = {}
    for table in tables.values():
        layers |= last_layers(table)
    kept = {name: table for name, table in tables.items() if len(table)}
    for name in sorted(set(tables) - set(kept)):
        logger.info("dataset %s has none of the models that count here: left out", name)
    result = consistency_tables(
        kept,
        models,
        layers=layers,
        halves={name: halves[name] for name in kept if name in halves},
        overlap=read_overlaps(samples_paths),
        **settings,
    )
    columns = [*settings["groups"], settings.get("clusters"), *settings.get("warn", ())]
    used = models[[c for c in dict.fromkeys(columns) if c in models]].astype(str)
    metadata = {
        "metric": _metric_of(tables),
        "settings": _plain(settings),
        "similarity": {name: table.attrs["file"] for name, table in tables.items()},
        "reliability": {name: table.attrs["file"] for name, table in halves.items()},
        "models": digest(used.sort_index().to_dict("index")),
    }
    for name, out in outs.items():
        write_table(getattr(result, name), out, metadata)


def _by_dataset(paths: Sequence[str | Path], models: pd.Index) -> dict[str, pd.DataFrame]:
    """Returns the rows of each file between the models that count, with its metadata and hash."""
    tables: dict[str, pd.DataFrame] = {}
    for path in paths:
        table = read_table(path)
        names = table["dataset"].unique().tolist() if "dataset" in table else []
        if len(names) != 1 or names[0] in tables:
            raise DataError(
                f"{path} holds the datasets {names}; expected one that no other file holds"
            )
        kept = table[table["model_x"].isin(models) & table["model_y"].isin(models)]
        kept.attrs = table.attrs | {"file": table_digest(path)}
        tables[names[0]] = kept
    return tables


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
