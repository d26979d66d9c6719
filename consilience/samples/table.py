"""The samples table of a dataset: what it holds, and how it is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience import files
from consilience.errors import DataError
from consilience.forms.groups import group_codes

COLUMNS = {
    "row": "int64",
    "id": "string",
    "split": "string",
    "label": "Int32",
    "text": "string",
    "parent_row": "Int64",
    "labels": "string",
}


@dataclass(frozen=True)
class Samples:
    """The chosen samples of one dataset."""

    table: pd.DataFrame
    """One line per sample, in the source's order; the columns are those of `COLUMNS`, and `group`
    where samples come in groups."""
    hash: str
    """SHA-256 over (id, split, label(s), text) of all lines: equal hashes, same stimuli. Groups do
    not count: features are those of the same stimuli, however these are grouped."""
    classes: tuple[str, ...]
    """Class names by label."""
    row: dict[str, Any]
    """The row of datasets.tsv."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """All that the file says beside the table; see `make_samples`."""

    @property
    def pin(self) -> dict[str, str]:
        """The cells with which the source is opened again: the revision that was drawn from."""
        return self.metadata.get("pin", {})

    @cached_property
    def groups(self) -> np.ndarray | None:
        """(n,) which samples are of one group, numbered; None: all are alone."""
        return group_codes(self.table["group"].to_numpy(object)) if "group" in self.table else None


def read_samples(path: str | Path) -> Samples:
    """Returns the samples written by `make_samples`.

    Raises:
        DataError: the file is damaged, or its table does not have the hash it was written with.
    """
    table = files.read_table(path)
    metadata, table.attrs = table.attrs, {}
    try:
        table = in_columns(table)
        found, expected = hash_samples(table), metadata["hash"]
        classes, row = tuple(metadata["classes"]), metadata["row"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a samples table ({error!r}); delete it and run snakemake again"
        ) from error
    if found != expected:
        raise DataError(
            f"{path}: the table has the hash {found}, its metadata say {expected}: it was changed "
            "after it was written; delete it and run snakemake again"
        )
    return Samples(table, found, classes, row, metadata)


def in_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the samples in the columns of a samples file: `group` is there if anywhere."""
    columns = COLUMNS | ({"group": "string"} if "group" in table else {})
    return table[list(columns)].astype(columns)


def read_chain(
    paths: str | Path | Sequence[str | Path],
) -> tuple[Samples, np.ndarray | None, Samples]:
    """Returns the samples of a view, their rows in the features of its source, and that source's.

    Args:
        paths: samples of the view, of its parent, … to those of a dataset with own features; one
            path is that of a dataset that is no view, which has None for rows.

    Raises:
        DataError: a file is damaged, or a view was made of other samples than its parent has now.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    chain = [read_samples(path) for path in paths]
    rows = None
    for (view, parent), path in zip(pairwise(chain), paths, strict=False):
        if view.metadata.get("parent_hash") != parent.hash:
            raise DataError(
                f"{path} is a view of other samples than {parent.row.get('dataset')!r} has now; "
                "delete it and run snakemake again"
            )
        step = view.table["parent_row"].to_numpy(np.int64)
        rows = step if rows is None else step[rows]
    return chain[0], rows, chain[-1]


def hash_samples(table: pd.DataFrame) -> str:
    """Returns the SHA-256 over (id, split, label or labels, text) of all lines, in order."""
    names = ["id", "split", "label", "text"]
    if "labels" in table and table["labels"].notna().any():
        names.append("labels")
    columns = (map(plain_cell, table[name]) for name in names)
    return files.digest([list(line) for line in zip(*columns, strict=True)])


def join_labels(labels: Sequence[int] | None) -> str | None:
    """Returns how several labels stand in the samples table: `3,7,19`, or None if there is one."""
    return None if labels is None else ",".join(map(str, labels))


def plain_cell(value: Any) -> str | int | None:  # noqa: ANN401
    """Returns a cell as JSON knows it."""
    if pd.isna(value):
        return None
    return value if isinstance(value, str) else int(value)
