"""The class of the nearest neighbours: how well features tell classes apart without any fit."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from consilience.errors import ConfigError, DataError
from consilience.probe.logistic import check_features, check_labels
from consilience.probe.scores import measure

BLOCK = 2**22
"""Similarities held at a time."""


def knn(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    neighbors: Sequence[int],
    *,
    n_classes: int | None = None,
) -> pd.DataFrame:
    """Returns the accuracy of a vote among the k training rows nearest by cosine, one row per k.

    Every neighbour has one vote; of classes with equal votes the one whose nearest member is
    nearer wins. Equally near rows count in their order. A row of zeros has the cosine 0 with all.

    Args:
        features: (n, d), one row per sample.
        labels: (n,) integers, 0 <= label < n_classes.
        train: (n,) booleans; the other rows are the test split.
        neighbors: numbers k, at most the number of training rows.
        n_classes: number of classes; by default one more than the largest label.

    Returns:
        Columns `k, top1, top5, balanced_accuracy, n_train, n_test, n_classes, n_absent`, as in
        `probe`; `top5` ranks the classes by their votes.

    Raises:
        ConfigError: k is below 1 or above the number of training rows.
        DataError: labels are missing or out of range, or a split is empty.
        FeaturesError: features are not a finite matrix.
    """
    x, train = check_features(features), np.asarray(train, dtype=bool)
    labels = check_labels(labels, len(x), n_classes)
    n_classes = n_classes or int(labels.max()) + 1
    n_train, most = int(train.sum()), max(neighbors)
    if not 0 < n_train < len(x):
        raise DataError(
            f"{n_train} of {len(x)} rows are for training; neighbours need rows on both sides"
        )
    if min(neighbors) < 1 or most > n_train:
        raise ConfigError(
            f"probe: knn is {list(neighbors)} with {n_train} training rows; give numbers from 1 "
            "up to that"
        )
    nearest = labels[train][_nearest(_unit(x[~train]), _unit(x[train]), most)]
    facts = {"n_train": n_train, "n_test": len(nearest), "n_classes": n_classes}
    facts["n_absent"] = n_classes - len(np.unique(labels[train]))
    rows = [
        {"k": k, **measure(votes(nearest[:, :k], n_classes), labels[~train]), **facts}
        for k in neighbors
    ]
    return pd.DataFrame(rows)


def votes(classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Returns (n, C) the votes of neighbours (n, k), nearest first; ties go to the nearer class.

    A class without a vote has minus infinity. The part below one vote is smaller the farther the
    nearest member of the class is.
    """
    n, k = classes.shape
    found = np.full((n, n_classes), -np.inf)
    rows = np.arange(n)
    for place in range(k):
        column = classes[:, place]
        before = found[rows, column]
        first = np.isneginf(before)
        found[rows, column] = np.where(first, 1 - place / (k + 1), before + 1)
    return found


def _nearest(x: np.ndarray, known: np.ndarray, k: int) -> np.ndarray:
    """Returns (n, k) positions in `known` of the rows with the largest inner product."""
    found = np.empty((len(x), k), dtype=np.intp)
    step = max(1, BLOCK // len(known))
    with threadpool_limits(1):
        for start in range(0, len(x), step):
            block = -(x[start : start + step] @ known.T)
            found[start : start + step] = np.argsort(block, axis=1, kind="stable")[:, :k]
    return found


def _unit(x: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
