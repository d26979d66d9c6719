"""Consistency matched for accuracy: similarities less what follows from how good two models are.

Better models may be more alike, and more alike in the same way on every dataset, whatever they
learnt. So for each dataset d and each pair {i, j} of all models the similarity s is replaced by the
residual of the least-squares fit

    s_d(i, j) = β₀ + β₁ (a_i + a_j) / 2 + β₂ |a_i - a_j| + e_d(i, j),

where a is a model's accuracy, one number for all datasets: the mean over those that are probed. The
fit is over all pairs, not within groups: what tells two architectures of one objective apart stays
in e unless it goes along with accuracy everywhere. Consistency of e is then measured as that of s.
Nothing is left out, as a caliper would where groups do not overlap in accuracy; what is bought with
that is the linear form. Intervals take β as known.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.consistency import consistency_tables
from consilience.errors import DataError
from consilience.files import digest, read_table, table_digest, write_table
from consilience.layers import last_layers
from consilience.pairs.matrix import Similarity, read_similarity

logger = logging.getLogger(__name__)

LAYER = "last"
"""Of all residuals, where a similarity table has a layer."""


def mean_accuracy(table: pd.DataFrame, models: Sequence[str]) -> dict[str, float]:
    """Returns the mean accuracy of linear probes over datasets, by model.

    Args:
        table: rows of results/probe/accuracy.
        models: whose; every one must be probed on the same datasets.

    Raises:
        DataError: one has no accuracy on a dataset on which another one has one.
    """
    kept = table[(table["kind"] == "linear") & table["model"].isin(models)]
    wide = kept.pivot_table(index="model", columns="dataset", values="accuracy")
    wide = wide.reindex(index=list(models))
    if wide.empty or wide.shape[1] == 0 or wide.isna().any(axis=None):
        lacking = wide.index[wide.isna().any(axis=1)] if wide.shape[1] else wide.index
        raise DataError(
            f"model {lacking[0]!r} has no linear probe on a dataset on which others have one, so "
            "none can be matched for accuracy; set probe.datasets to some on which all models run"
        )
    return wide.mean(axis=1).to_dict()


def match_accuracy(given: Similarity, accuracy: Mapping[str, float]) -> tuple[np.ndarray, float]:
    """Returns the residuals of similarities on mean and gap of accuracy, and the share explained.

    Args:
        given: of m models; NaN where a pair failed.
        accuracy: by model.

    Returns:
        (m, m) symmetric residuals, NaN as given and on the diagonal; and R² of the fit.

    Raises:
        DataError: fewer than four pairs, or all similarities equal.
    """
    i, j = np.triu_indices(len(given.models), 1)
    values = given.matrix[i, j]
    known = np.isfinite(values)
    i, j, values = i[known], j[known], values[known]
    if len(values) < 4 or np.ptp(values) == 0:
        raise DataError(
            f"{len(values)} pairs of models, of which no two differ: nothing can be matched; "
            "select more models, or leave the block `factors` out"
        )
    a = np.array([accuracy[model] for model in given.models])
    design = np.column_stack([np.ones(len(values)), (a[i] + a[j]) / 2, np.abs(a[i] - a[j])])
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    residuals = values - fitted
    found = np.full(given.matrix.shape, np.nan)
    found[i, j] = found[j, i] = residuals
    centred = values - values.mean()
    return found, float(1 - residuals @ residuals / (centred @ centred))


def residual_table(given: Similarity, residuals: np.ndarray, metric: str) -> pd.DataFrame:
    """Returns residuals as a similarity table has values, a row per pair of models."""
    i, j = np.triu_indices(len(given.models), 1)
    names = np.array(given.models, object)
    columns = {"metric": metric, "model_x": names[i], "layer_x": LAYER,
               "model_y": names[j], "layer_y": LAYER, "value": residuals[i, j]}  # fmt: skip
    return pd.DataFrame(columns)


def read_tables(
    paths: Sequence[str | Path], models: Sequence[str]
) -> tuple[str, dict[str, Similarity], dict[str, str]]:
    """Returns the metric, {dataset: similarities of the last layers}, {dataset: hash of its file}.

    Args:
        paths: one similarity file per dataset, of one metric.
        models: that count.
    """
    found, hashes, metrics = {}, {}, set()
    for path in paths:
        table = read_table(path)
        kept = table[table["model_x"].isin(models) & table["model_y"].isin(models)]
        if kept.empty:
            continue
        (dataset,) = table["dataset"].unique()
        if dataset in found:
            raise DataError(f"{path} is of dataset {dataset!r}, as another one; give one of them")
        metrics |= set(table["metric"].unique())
        found[str(dataset)] = read_similarity(kept, dataset, last_layers(table))
        hashes[str(dataset)] = table_digest(path)
    if len(metrics) != 1:
        said = ", ".join(sorted(metrics)) or "none"
        raise DataError(f"expected similarities of one metric among the models, found {said}")
    return metrics.pop(), found, hashes


def make_matched(
    similarity: Sequence[str | Path],
    accuracy: str | Path,
    models: pd.DataFrame,
    outs: Mapping[str, str | Path],
    **settings: Any,  # noqa: ANN401
) -> None:
    """Writes consistency matched for accuracy: means over dataset pairs, and differences.

    Args:
        similarity: one similarity file per dataset, of one metric.
        accuracy: results/probe/accuracy.
        models: metadata by id, of those that count.
        outs: files of `means` and `differences`.
        **settings: of `consistency_tables`.

    Raises:
        DataError: a model without an accuracy; see `match_accuracy`.
    """
    metric, given, hashes = read_tables(similarity, list(models.index))
    known = sorted({model for one in given.values() for model in one.models})
    accurate = mean_accuracy(read_table(accuracy), known)
    tables = {}
    for dataset, one in given.items():
        residuals, share = match_accuracy(one, accurate)
        logger.info("%s, %s: accuracy explains %.3f of the variance", metric, dataset, share)
        tables[dataset] = residual_table(one, residuals, metric)
    result = consistency_tables(tables, models.loc[known], permutations=0, **settings)
    metadata = {
        "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()},
        "similarity": hashes,
        "accuracy": table_digest(accuracy),
        "models": digest(models.astype(str).sort_index().to_dict("index")),
    }
    for name, out in outs.items():
        write_table(getattr(result, name), out, metadata)
