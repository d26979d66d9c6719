"""How universal single dimensions of models are: how well other models' features predict them.

A dimension is a principal direction of a model's features: the k-th left singular vector u of the
centred (n, d) matrix. Another model predicts it by least squares from its own leading directions
and a constant, fitted on one half of the samples and judged on the other, and the other way round:
R² = 1 - Σ (u - û)² / Σ (u - ū)² over all samples, û made by the half that a sample is not of, ū
the mean of that half. Where nothing can be predicted it is somewhat below 0.

`value` is the mean over cells (models with the same levels of all factors, which differ in their
seeds) other than the model's own, of the mean over the models of a cell; `value_within` that over
the other models of its own cell, which says how far any model could get.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from consilience.alterations.draws import order_ids
from consilience.errors import DataError
from consilience.features import read_listed, read_manifest
from consilience.files import write_table
from consilience.layers import last_layers
from consilience.samples import read_samples

logger = logging.getLogger(__name__)

DIMENSIONS = {
    "dataset": "str",
    "model": "str",
    "dimension": "int64",
    "share": "float64",
    "value": "float64",
    "value_within": "float64",
    "n_models": "int64",
}
"""Columns of the table, with their types."""
_LEAST = 1e-6
"""A direction counts if its singular value is more than this share of the largest."""


def directions(features: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the leading left singular vectors of centred features, and their shares of variance.

    Args:
        features: (n, d).
        most: how many, at the most.

    Returns:
        (n, k) vectors of length 1, (k,) shares; none if all samples are equal.
    """
    centred = features.astype(float) - features.mean(axis=0, dtype=float)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    kept = (values > _LEAST * values[0]) & (values > 0)
    share = values**2 / max(float((values**2).sum()), np.finfo(float).tiny)
    return left[:, kept][:, :most], share[kept][:most]


def predicted(targets: np.ndarray, predictors: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Returns how well columns are predicted, R² on samples that the fit did not see.

    Args:
        targets: (n, k).
        predictors: (n, p), p well below n / 2.
        half: (n,) whether a sample is in the first half.

    Returns:
        (k,); at most 1.
    """
    design = np.column_stack([np.ones(len(targets)), predictors])
    left = np.zeros(targets.shape[1])
    total = np.zeros(targets.shape[1])
    for fit, judge in ((half, ~half), (~half, half)):
        weights = np.linalg.lstsq(design[fit], targets[fit], rcond=None)[0]
        left += ((targets[judge] - design[judge] @ weights) ** 2).sum(axis=0)
        total += ((targets[judge] - targets[fit].mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - left / total


def universality(
    features: Mapping[str, np.ndarray],
    cells: Mapping[str, str],
    half: np.ndarray,
    *,
    dimensions: int = 10,
    predictors: int = 20,
) -> pd.DataFrame:
    """Returns how universal the leading dimensions of every model are.

    Args:
        features: {model: (n, d)}, of the same samples.
        cells: {model: its cell}.
        half: (n,) whether a sample is in the first half.
        dimensions: of each model, counted from 1.
        predictors: leading directions of another model that predict.

    Returns:
        rows with the columns of `DIMENSIONS` but `dataset`.

    Raises:
        DataError: fewer samples than three times `predictors` in a half, or fewer than two cells.

    Cost: m² fits of (n / 2, `predictors`) to (n / 2, m `dimensions`) for m models, in m steps.
    """
    least = min(int(half.sum()), int((~half).sum()))
    if least < 3 * predictors:
        raise DataError(
            f"{least} samples in a half are too few to predict from {predictors} directions; set "
            "factors.predictors to a third of that at most, or leave the dataset out"
        )
    if len(set(cells.values())) < 2:
        raise DataError(
            "all models have the same levels of all factors, so there is no other kind to predict "
            "dimensions from; name other columns in factors.columns"
        )
    names = sorted(features)
    own = {name: directions(features[name], max(dimensions, predictors)) for name in names}
    lengths = [min(own[name][0].shape[1], dimensions) for name in names]
    targets = np.hstack([own[name][0][:, :k] for name, k in zip(names, lengths, strict=True)])
    found = np.array([predicted(targets, own[name][0][:, :predictors], half) for name in names])
    kinds = np.array([cells[name] for name in names])
    rows, ends = [], np.cumsum([0, *lengths])
    for m, name in enumerate(names):
        mine = found[:, ends[m] : ends[m + 1]]
        others = [mine[kinds == cell].mean(axis=0) for cell in np.unique(kinds[kinds != kinds[m]])]
        twins = (kinds == kinds[m]) & (np.arange(len(names)) != m)
        within = mine[twins].mean(axis=0) if twins.any() else np.full(lengths[m], np.nan)
        value = np.mean(others, axis=0)
        rows += [
            {"model": name, "dimension": k + 1, "share": own[name][1][k], "value": value[k],
             "value_within": within[k], "n_models": int((kinds != kinds[m]).sum())}
            for k in range(lengths[m])
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=[c for c in DIMENSIONS if c != "dataset"])


def make_dimensions(
    manifest: str | Path,
    samples: str | Path,
    out: str | Path,
    *,
    dataset: str,
    models: Mapping[str, Mapping[str, str]],
    columns: Sequence[str],
    dimensions: int,
    predictors: int,
) -> None:
    """Writes factors/dimensions/{dataset}.parquet.

    Args:
        manifest: of the features of the dataset.
        samples: of the dataset.
        out: the file to write.
        dataset: its id.
        models: metadata by id, of those that count.
        columns: the factors; models that agree in all are of one cell.
        dimensions: see `universality`.
        predictors: see there.

    Raises:
        DataError: too few samples, or models of one kind only.
    """
    found = read_samples(samples)
    table = read_manifest(Path(manifest), found)
    table = table[table["model"].isin(models)]
    layers = last_layers(table)
    chosen = [row for row in table.itertuples() if layers[row.model] == row.layer]
    features = {row.model: read_listed(manifest, table, row.model, row.layer) for row in chosen}
    half = np.zeros(len(found.table), bool)
    half[order_ids(found.table["id"].tolist(), "universality")[: len(half) // 2]] = True
    cells = {m: " ".join(str(models[m].get(c, "")) for c in columns) for m in features}
    made = universality(features, cells, half, dimensions=dimensions, predictors=predictors)
    logger.info("%s: %d dimensions of %d models", dataset, len(made), len(features))
    whole = made.assign(dataset=dataset)[list(DIMENSIONS)].astype(DIMENSIONS)
    facts = {"samples_hash": found.hash, "columns": list(columns), "predictors": predictors,
             "features": dict(zip(table["model"], table["hash"], strict=True))}  # fmt: skip
    write_table(whole, out, facts)
