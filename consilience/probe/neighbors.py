"""The class of the nearest neighbours: how well features tell classes apart without any fit."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from consilience.errors import ConfigError, DataError
from consilience.forms.nearness import SAME_DIRECTION
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
    nearer wins, and of those with equally near ones the lower class. Where more rows are as near as
    the k-th than there are places left, each of them has the vote (places left) / (number tied), so
    the order of the rows plays no part. A row of zeros has the cosine 0 with all.

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
    voters = _voters(_unit(x[~train]), _unit(x[train]), labels[train], most)
    facts = {"n_train": n_train, "n_test": len(x) - n_train, "n_classes": n_classes}
    facts["n_absent"] = n_classes - len(np.unique(labels[train]))
    rows = [
        {"k": k, **measure(votes(voters, k, facts["n_test"], n_classes), labels[~train]), **facts}
        for k in neighbors
    ]
    return pd.DataFrame(rows)


class Voters(NamedTuple):
    """Training rows that can be among the nearest of test rows, one entry for each meeting."""

    row: np.ndarray
    """The test row."""
    label: np.ndarray
    """The class of the training row."""
    first: np.ndarray
    """Place, from 0, of the first one of those as near as this."""
    tied: np.ndarray
    """How many are as near."""


def votes(voters: Voters, k: int, n: int, n_classes: int) -> np.ndarray:
    """Returns (n, C) scores in the order of the votes of the k nearest; ties go to nearer classes.

    A score is k times the votes, in units of 1 / (number tied at the k-th place), less the place of
    the nearest member of the class. A class without a vote has minus infinity.
    """
    inside = voters.first < k
    row, label, first, tied = (part[inside] for part in voters)
    shared = first + tied > k
    share, places = np.ones(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    share[row[shared]], places[row[shared]] = tied[shared], k - first[shared]
    code = row * n_classes + label
    whole = np.bincount(code[~shared], minlength=n * n_classes).reshape(n, n_classes)
    part = np.bincount(code[shared], minlength=n * n_classes).reshape(n, n_classes)
    counted = whole * share[:, None] + part * places[:, None]
    nearest = np.full(n * n_classes, k)
    np.minimum.at(nearest, code, first)
    scores = counted * k - nearest.reshape(n, n_classes)
    return np.where(counted > 0, scores, -np.inf)


def _voters(x: np.ndarray, known: np.ndarray, labels: np.ndarray, k: int) -> Voters:
    """Returns those of the known rows that are among the k nearest of rows of x, by cosine.

    Cosines that differ by no more than their rounding, or by that of float32 where they are 1, are
    equal.
    """
    found = []
    step = max(1, BLOCK // len(known))
    rounding = 4 * (4 + np.sqrt(x.shape[1])) * 2.0**-53
    with threadpool_limits(1):
        for start in range(0, len(x), step):
            block = np.minimum(x[start : start + step] @ known.T, 1 - SAME_DIRECTION)
            least = np.partition(block, -k, axis=1)[:, -k, None] - rounding
            places = np.flatnonzero(block >= least)
            row, column = np.divmod(places, len(known))
            cosine = block.ravel()[places]
            order = np.lexsort((-cosine, row))
            row, label = row[order], labels[column[order]]
            found.append(Voters(row + start, label, *_tied(row, cosine[order], rounding)))
    return Voters(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _tied(row: np.ndarray, cosine: np.ndarray, rounding: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns at which place of its row each entry's ties begin, and how many these are.

    Args:
        row: of each entry, sorted.
        cosine: of each entry, falling within a row.
        rounding: up to which two are equal.
    """
    new = np.diff(row, prepend=-1) > 0
    begins = new | (np.diff(cosine, prepend=np.inf) < -rounding)
    number = np.cumsum(begins) - 1
    heads = np.flatnonzero(begins)
    rows = np.flatnonzero(new)[np.cumsum(new) - 1]
    return heads[number] - rows, np.bincount(number)[number]


def _unit(x: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
