"""What a probe predicts, and from which samples it learns."""

import numpy as np

from consilience.errors import DataError
from consilience.samples import Samples


def read_labels(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels (n,) and whether each row is for training (n,).

    Raises:
        DataError: samples without labels, or a split that is neither train nor test.
    """
    dataset, table = samples.row["dataset"], samples.table
    missing = int(table["label"].isna().sum())
    if table["labels"].notna().any():
        raise DataError(
            f"dataset {dataset!r} has several labels per sample, and a probe predicts one; write "
            "`no` into its column labels, or take it out of the study"
        )
    if missing:
        raise DataError(
            f"dataset {dataset!r}: {missing} of {len(table)} samples have no label, so there is "
            "nothing to probe; take it out of the datasets that the study probes"
        )
    other = sorted(set(table["split"]) - {"train", "test"})
    if other:
        raise DataError(
            f"dataset {dataset!r}: unknown splits {other}; a probe needs train and test"
        )
    train = (table["split"] == "train").to_numpy()
    if samples.groups is not None:
        _check_apart(samples.groups, train, dataset)
    return table["label"].to_numpy(np.int64), train


def _check_apart(groups: np.ndarray, train: np.ndarray, dataset: str) -> None:
    """Raises DataError if a group has samples in both splits."""
    if both := np.intersect1d(groups[train], groups[~train]).size:
        raise DataError(
            f"dataset {dataset!r}: {both} groups have samples in train and in test, so a probe "
            "would be tested on what it learnt from; delete the samples table and run snakemake "
            "again"
        )
