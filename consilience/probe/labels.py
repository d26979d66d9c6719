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
    return table["label"].to_numpy(np.int64), (table["split"] == "train").to_numpy()
