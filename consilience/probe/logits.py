"""A model's own classifier on datasets of some of its classes, such as the variants of ImageNet."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from consilience.errors import ConfigError, FeaturesError
from consilience.features import read_header
from consilience.probe.logistic import check_labels
from consilience.probe.scores import measure

log = logging.getLogger(__name__)

LOGITS = "logits"
"""The tensor of a features file that holds the model's own classifier, and the kind of its row."""


class Columns(NamedTuple):
    """Which logits stand for the classes of a dataset."""

    outputs: int
    """How many logits a model must have."""
    places: np.ndarray
    """(C,) the column of each class."""


def parse_columns(cell: str) -> Columns | None:
    """Returns what a cell of the dataset column `logit_columns` says; None if it is empty.

    `1000: 0-999` are all of 1,000 logits in their order; `1000: 6, 11, 13-15` five of them.

    Raises:
        ConfigError: the cell has another form, or names a column twice or one that is not there.
    """
    if not cell:
        return None
    outputs, _, listed = cell.partition(":")
    try:
        parts = [part.split("-") for part in listed.split(",")]
        places = np.concatenate([np.arange(int(p[0]), int(p[-1]) + 1) for p in parts])
        columns = Columns(int(outputs), places)
    except ValueError as error:
        raise ConfigError(
            f"logit_columns is {cell!r}; write the number of logits and the columns of the "
            "classes, such as `1000: 0-999` or `1000: 6, 11, 13-15`"
        ) from error
    twice = len(set(places.tolist())) < len(places)
    if twice or not len(places) or places.max() >= columns.outputs:
        raise ConfigError(
            f"logit_columns is {cell!r}; every class has a column of its own, below the number of "
            "logits"
        )
    return columns


def restrict(logits: np.ndarray, columns: Columns, n_classes: int) -> np.ndarray:
    """Returns the logits (n, C) of a dataset's classes, in the order of its labels.

    Raises:
        ConfigError: there are not as many columns as classes.
        FeaturesError: the model has another number of logits.
    """
    if len(columns.places) != n_classes:
        raise ConfigError(
            f"logit_columns names {len(columns.places)} columns for {n_classes} classes; name one "
            "per class, in the order of the labels"
        )
    if logits.ndim != 2 or logits.shape[1] != columns.outputs:
        raise FeaturesError(
            f"logits have the shape {logits.shape}; (samples, {columns.outputs}) is needed"
        )
    return logits[:, columns.places]


def restricted_accuracy(
    logits: np.ndarray, labels: np.ndarray, test: np.ndarray, columns: Columns, n_classes: int
) -> dict[str, float]:
    """Returns the accuracy of the largest logit among those of the dataset's classes.

    Args:
        logits: (n, outputs) of the model's own classifier.
        labels: (n,) classes of the dataset.
        test: (n,) booleans, the rows that count.
        columns: the logits that stand for these classes.
        n_classes: number of classes of the dataset.
    """
    labels = check_labels(labels, len(logits), n_classes)
    return measure(restrict(logits, columns, n_classes)[test], labels[test])


def has_logits(path: str | Path, outputs: int | None = None) -> bool:
    """Returns whether a features file holds logits, and as many as asked for."""
    shape = read_header(path)["shapes"].get(LOGITS)
    if shape and outputs is not None and shape[1] != outputs:
        log.info("%s has %d logits, not %d: left out", path, shape[1], outputs)
        return False
    return shape is not None
