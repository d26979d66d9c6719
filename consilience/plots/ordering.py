"""Where models stand: one order of all of them, and places on a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.matrix import Similarity, read_similarity
from consilience.plots.style import MetricAxis

if TYPE_CHECKING:
    pass

STEPS = 300
LEAST = 3
"""Fewest models that a map shows."""


def read_all(
    tables: Mapping[str, pd.DataFrame], layers: Mapping[str, str] | None
) -> dict[str, Similarity]:
    """Returns one similarity per model pair for every dataset, in the order given."""
    if not tables:
        raise DataError("there is no similarity table to draw")
    return {name: read_similarity(table, name, layers) for name, table in tables.items()}


def model_order(similarities: Mapping[str, Similarity], axis: MetricAxis) -> list[str]:
    """Returns all models in one order: average linkage of their mean distance over the datasets.

    A pair that no dataset has counts as far apart as the farthest pair.
    """
    models = sorted({model for s in similarities.values() for model in s.models})
    if len(models) < 3:
        return models
    with np.errstate(invalid="ignore"):
        stack = np.array([spread_out(s, models) for s in similarities.values()])
        present = np.isfinite(stack)
        mean = np.where(present, stack, 0).sum(axis=0) / present.sum(axis=0)
    distances = axis.distances(mean)
    distances = np.where(np.isfinite(distances), distances, np.nanmax(distances))
    np.fill_diagonal(distances, 0.0)
    from scipy.cluster.hierarchy import leaves_list, linkage  # noqa: PLC0415 - slow to import
    from scipy.spatial.distance import squareform  # noqa: PLC0415 - as above

    tree = linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    return [models[position] for position in leaves_list(tree)]


def spread_out(similarity: Similarity, models: Sequence[str]) -> np.ndarray:
    """Returns the matrix over `models`, NaN where the dataset lacks one."""
    rows = pd.Index(models).get_indexer(list(similarity.models))
    full = np.full((len(models), len(models)), np.nan)
    full[np.ix_(rows, rows)] = similarity.matrix
    return full


def embed(distances: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns points (m, 2) whose distances follow `distances` (m, m), and their stress-1.

    Majorisation of the weighted squared error (de Leeuw 1977); failed pairs (NaN) weigh nothing.
    """
    weights = np.isfinite(distances) & ~np.eye(len(distances), dtype=bool)
    filled = np.where(weights, distances, np.nanmean(np.where(weights, distances, np.nan)))
    np.fill_diagonal(filled, 0.0)
    points = _classical(filled)
    laplacian = np.diag(weights.sum(axis=1)) - weights.astype(float)
    inverse = np.linalg.pinv(laplacian, rcond=1e-10, hermitian=True)  # a shift costs nothing
    for _ in range(STEPS):
        apart = _apart(points)
        ratio = np.divide(filled, apart, out=np.zeros_like(apart), where=weights & (apart > 0))
        points = inverse @ ((np.diag(ratio.sum(axis=1)) - ratio) @ points)
    error = ((_apart(points) - filled)[weights] ** 2).sum()
    size = (_apart(points)[weights] ** 2).sum()
    return points, float(np.sqrt(error / size)) if size > 0 else 0.0


def _classical(distances: np.ndarray) -> np.ndarray:
    """Returns the classical scaling in two dimensions; the largest entry of an axis is positive."""
    centred = distances**2
    centred = centred - centred.mean(axis=0) - centred.mean(axis=1)[:, None] + centred.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    points = vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0.0))
    largest = points[np.abs(points).argmax(axis=0), [0, 1]]
    return points * np.where(largest < 0, -1.0, 1.0)


def _apart(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def align(part: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    """Turns, mirrors and shifts a map onto the first, by the models that both have."""
    common = part.index.intersection(first.index)
    if len(common) < 2:
        return part
    here, there = part.loc[common].to_numpy(), first.loc[common].to_numpy()
    u, _, vt = np.linalg.svd((here - here.mean(axis=0)).T @ (there - there.mean(axis=0)))
    moved = (part.to_numpy() - here.mean(axis=0)) @ (u @ vt) + there.mean(axis=0)
    return pd.DataFrame(moved, columns=part.columns, index=part.index)
