"""Behavior: do models that are similar also answer alike?

For every pair of models and dataset: the gap in probe accuracy and, where both models have logits
of their own, how far their answers differ. Then, over the pairs of models, how that goes together
with their similarity, with the intervals and p-values of `consilience.pairs`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.features import read_listed, read_manifest
from consilience.files import derive_seed, read_table, table_digest, write_table
from consilience.layers import last_layers
from consilience.metrics import get_metric
from consilience.pairs.families import Clusters, read_clusters
from consilience.pairs.matrix import Similarity, read_similarity
from consilience.pairs.relate import FURTHER, correlate_pairs
from consilience.pairs.sets import ALL, ModelSet, pair_set
from consilience.places import check_columns, check_table
from consilience.probe import LINEAR, LOGITS, has_logits, parse_columns, read_labels, restrict
from consilience.samples import Samples, read_samples
from consilience.similarity import pairwise

logger = logging.getLogger(__name__)

GAP = "accuracy_gap"
MEASURES = (GAP, "disagreement", "jsd", "error_consistency")
"""`accuracy_gap` is of the linear probes, the others of the models' own logits."""
COLUMNS = ["dataset", "measure", "model_x", "model_y", "value"]
RELATION = {
    "metric": "str",
    "dataset": "str",
    "domain": "str",
    "measure": "str",
    "method": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "p": "float64",
    "n_pairs": "int64",
    "n_models": "int64",
    "status": "str",
    **FURTHER,
}


@dataclass(frozen=True)
class _Answers:
    """Logits of some models over the same samples and classes, and what is true."""

    logits: Mapping[str, np.ndarray]
    labels: np.ndarray | None


def accuracy_gaps(accuracy: Mapping[str, float]) -> Iterator[tuple[str, str, str, float]]:
    """Yields (measure, model, model, |difference of their accuracies|) for every pair."""
    for x, y in combinations(sorted(accuracy), 2):
        yield GAP, x, y, abs(accuracy[x] - accuracy[y])


def answers_apart(
    logits: Mapping[str, np.ndarray], labels: np.ndarray | None = None
) -> Iterator[tuple[str, str, str, float]]:
    """Yields (measure, model, model, value) of the measures of logits, for every pair.

    A value that is not defined, such as that of models with other numbers of classes, or the error
    consistency of two models without errors, is missing.

    Args:
        logits: {model: (n, C)}.
        labels: (n,) true classes, for error consistency; without them it is left out.
    """
    for measure in MEASURES[1:] if len(logits) > 1 else ():
        metric = get_metric(measure)
        if metric.facts.shared and labels is None:
            continue
        table = pairwise(metric, logits, labels=labels)
        for row in table[table["model_x"] != table["model_y"]].itertuples():
            yield measure, row.model_x, row.model_y, row.value


def make_behavior(
    probe_paths: Sequence[str | Path],
    manifest: str | Path,
    samples_path: str | Path,
    out: str | Path,
    *,
    dataset: str,
    logit_columns: str = "",
) -> None:
    """Writes results/behavior/{dataset}.parquet: how far every two models differ in what they do.

    Logits count on the test rows. Where `logit_columns` says which of them are the classes of the
    dataset, those alone count and are also compared with the truth; else all of them count, and
    error consistency is left out.

    Args:
        probe_paths: results/probe/{dataset}/{model}.parquet of the dataset's models.
        manifest: the dataset's features manifest; features files lie beside it.
        samples_path: results/samples/{dataset}.parquet.
        out: the table to write, with the columns of `COLUMNS`, one row per unordered pair.
        dataset: id of the dataset.
        logit_columns: the dataset's cell of that name, see `consilience.probe.parse_columns`.

    Raises:
        DataError: the manifest is of other samples, or a probe of another dataset.
    """
    rows = list(accuracy_gaps(_accuracies(probe_paths, dataset)))
    answers = _answers(Path(manifest), read_samples(samples_path), logit_columns)
    rows += answers_apart(answers.logits, answers.labels)
    table = pd.DataFrame(rows, columns=COLUMNS[1:]).astype({"value": "float64"})
    table.insert(0, "dataset", dataset)
    write_table(table, out, {"logits": sorted(answers.logits)})


def _accuracies(paths: Sequence[str | Path], dataset: str) -> dict[str, float]:
    """Returns the accuracy of each model's linear probe, mean over seeds, last layer."""
    found = {}
    for path in paths:
        table = read_table(path)
        check_table(path, table, dataset=dataset)
        linear = table[table["kind"] == LINEAR]
        if len(linear):
            ((model, layer),) = last_layers(linear).items()
            if model in found:
                raise DataError(
                    f"{path} and another one are both of model {model!r}; delete them and run "
                    "snakemake again"
                )
            found[str(model)] = float(linear.loc[linear["layer"] == layer, "top1"].mean())
    return found


def _answers(manifest: Path, samples: Samples, logit_columns: str) -> _Answers:
    labels, train = read_labels(samples)
    test, columns = ~train, parse_columns(logit_columns)
    listed = read_manifest(manifest, samples)
    logits = {}
    for row in listed.drop_duplicates("model").to_dict("records"):
        path = manifest.parent / row["file"]
        if has_logits(path, columns.outputs if columns else None):
            found = read_listed(manifest, listed, row["model"], LOGITS)
            whole = restrict(found, columns, len(samples.classes)) if columns else found
            logits[row["model"]] = whole[test]
    return _Answers(logits, labels[test] if columns else None)


def relate(  # noqa: PLR0913
    similarity: pd.DataFrame,
    behavior: pd.DataFrame,
    *,
    layers: Mapping[str, str] | None = None,
    domain: str = "",
    methods: Sequence[str] = ("pearson", "spearman"),
    bootstrap: int = 1000,
    permutations: int = 999,
    seed: int = 0,
    clusters: Clusters | None = None,
) -> pd.DataFrame:
    """Correlates the similarity of model pairs on a dataset with how far their behavior differs.

    The sign is that of the raw values: a similarity that grows as models agree has a negative
    correlation with gaps. Interval and p-value take models for the sample, as for consistency.

    Args:
        similarity: table of one metric on one dataset.
        behavior: table of the same dataset.
        layers: {model: layer}, usually the last; a model with one layer needs no entry.
        domain: what the dataset shows, for the summary.
        methods: `pearson`, `spearman` or both.
        bootstrap: resamples of the models for the interval.
        permutations: relabellings of the models for the p-value.
        seed: study seed.
        clusters: which models are of one family; then these are the sample, as for consistency.

    Returns:
        One row per measure and method with the columns of `RELATION`; where `value` is missing,
        `status` says why.
    """
    dataset, metric = (str(similarity[column].iloc[0]) for column in ("dataset", "metric"))
    ours = read_similarity(similarity, dataset, layers)
    rows = []
    for measure in behavior["measure"].unique():
        theirs = _matrix(behavior[behavior["measure"] == measure])
        names = {"metric": metric, "dataset": dataset, "domain": domain, "measure": measure}
        common = tuple(sorted(set(ours.models) & set(theirs.models)))
        found = correlate_pairs(
            pair_set(ours, theirs, ModelSet(ALL, ALL, ALL, (common,))),
            ("the similarity", f"the measure {measure}"),
            methods=methods,
            bootstrap=bootstrap,
            permutations=permutations,
            seed=derive_seed(seed, "behavior", metric, dataset, measure),
            models=common,
            clusters=clusters,
        )
        rows += [{**names, "method": method, **row} for method, row in found.items()]
    table = pd.DataFrame(rows, columns=list(RELATION)).fillna({"outlier": ""}).astype(RELATION)
    failed = table[table["value"].isna()]
    for row in failed.itertuples():
        logger.info("%s, %s: %s", row.dataset, row.measure, row.status)
    return table


def _matrix(behavior: pd.DataFrame) -> Similarity:
    """Returns the values of one measure as a symmetric matrix."""
    models = sorted({*behavior["model_x"], *behavior["model_y"]})
    place, matrix = pd.Index(models), np.full((len(models), len(models)), np.nan)
    i, j = (place.get_indexer(behavior[column]) for column in ("model_x", "model_y"))
    matrix[i, j] = matrix[j, i] = behavior["value"]
    return Similarity(tuple(models), matrix)


def summarize(relation: pd.DataFrame) -> pd.DataFrame:
    """Returns the relation by domain: mean, spread and range over its datasets.

    The same models stand behind all datasets, so `sd` is a description, not a standard error. The
    domain `all` holds every dataset; datasets without a domain count there alone.
    """
    known = relation[relation["value"].notna()]
    named = known[known["domain"] != ""]
    both = pd.concat([named, known.assign(domain=ALL)], ignore_index=True)
    by = both.groupby(["metric", "domain", "measure", "method"], sort=True)["value"]
    table = by.agg(mean="mean", sd="std", lowest="min", highest="max", n_datasets="size")
    return table.reset_index()


def make_relation(
    similarity_paths: Sequence[str | Path],
    behavior_paths: Sequence[str | Path],
    out: str | Path,
    summary: str | Path,
    *,
    domains: Mapping[str, str],
    models: pd.DataFrame | None = None,
    clusters: str | None = None,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Writes results/behavior/relation/{metric}.parquet and its summary by domain.

    Args:
        similarity_paths: similarity tables of one metric, one per dataset.
        behavior_paths: behavior tables of the same datasets, in the same order.
        out: the table of `relate`, all datasets together.
        summary: the table of `summarize`.
        domains: {dataset: domain}.
        models: metadata of the models, for the column of their families.
        clusters: that column; None or `none` to take models one by one.
        **settings: keyword arguments of `relate`.

    Raises:
        DataError: two tables are of different datasets.
    """
    tables = []
    for ours, theirs in zip(similarity_paths, behavior_paths, strict=True):
        similarity, behavior = read_table(ours), read_table(theirs)
        check_columns(theirs, behavior, "behavior")
        names = {*similarity["dataset"].unique(), *behavior["dataset"].unique()}
        if len(names) > 1 or not len(similarity):
            raise DataError(f"{ours} and {theirs} are not of one dataset: {sorted(names)}")
        here = sorted({*similarity["model_x"], *similarity["model_y"]})
        families = Clusters() if models is None else read_clusters(models, clusters, here)
        how = {"layers": last_layers(similarity), "domain": domains.get(names.pop(), "")}
        tables.append(relate(similarity, behavior, clusters=families, **how, **settings))
    table = pd.concat(tables, ignore_index=True)
    hashes = {str(Path(path).parent.name): table_digest(path) for path in similarity_paths}
    metadata = {"settings": {k: v for k, v in settings.items() if k != "methods"}}
    write_table(table, out, metadata | {"similarity": hashes})
    write_table(summarize(table), summary, metadata)
