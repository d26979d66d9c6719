"""Samples: which stimuli of a dataset every model sees, in which order, and for what.

The draw is by hash: a sample's priority is SHA-256(seed, dataset, id), so that what is drawn
depends neither on other datasets nor on the order in which a source lists its samples, and a larger
`cap` contains what a smaller one drew. Classes share the cap equally as far as they reach.

A sample has one label, none, or several (`labels`, as `3,7,19`); a dataset with several is drawn
like one without and is not probed.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience import files
from consilience.datasets import Dataset, Sample, open_dataset
from consilience.errors import DataError
from consilience.samples.draw import cap_samples, parse_row, part_pool, share_equally, share_test
from consilience.samples.listing import (
    find_damaged,
    join_labels,
    judge_damaged,
    list_samples,
)
from consilience.samples.views import choose_view

log = logging.getLogger(__name__)

COLUMNS = {
    "row": "int64",
    "id": "string",
    "split": "string",
    "label": "Int32",
    "text": "string",
    "parent_row": "Int64",
    "labels": "string",
}
_REDRAW = "the data changed since the draw; restore them, or delete the samples table and run again"


@dataclass(frozen=True)
class Samples:
    """The chosen samples of one dataset."""

    table: pd.DataFrame
    """One line per sample, in the source's order; the columns are those of `COLUMNS`."""
    hash: str
    """SHA-256 over (id, split, label(s), text) of all lines: equal hashes, same stimuli."""
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


def make_samples(
    row: Mapping[str, Any], seed: int, out: str | Path, parent: str | Path | None = None
) -> None:
    """Draws the samples of a dataset and writes them to `out` (results/samples/{dataset}.parquet).

    The file's metadata: `row`, `seed`, `classes`, `hash`, `n` ({split: number}), `class_counts`
    ({split: [number by label]}), `pool` (whether the source had no splits of its own), `corrupt`
    (ids that were dropped, in the source's order), `pin` (see `Samples`), and for a view
    `parent_hash`.

    Args:
        row: row of datasets.tsv.
        seed: the study seed.
        out: the file to write.
        parent: the samples of the parent, where the row is a view.

    Raises:
        ConfigError: a cell of the row cannot be used.
        DataError: the dataset is missing, empty, damaged or inconsistent; nothing is written.
    """
    if str(row.get("parent") or ""):
        table, classes, notes = choose_view(row, seed, read_samples(parent))
    else:
        dataset = open_dataset(row)
        table = choose_samples(dataset, row, seed)
        classes, notes = dataset.classes, {"pin": dict(getattr(dataset, "pin", {})), **table.attrs}
    table = table[list(COLUMNS)].astype(COLUMNS)
    metadata = {
        "row": dict(row),
        "seed": seed,
        "classes": list(classes),
        "hash": hash_samples(table),
        "n": table["split"].value_counts().sort_index().to_dict(),
        "class_counts": _class_counts(table, len(classes)),
        **notes,
    }
    files.write_table(table, out, metadata)


def read_samples(path: str | Path) -> Samples:
    """Returns the samples written by `make_samples`.

    Raises:
        DataError: the file is damaged, or its table does not have the hash it was written with.
    """
    table = files.read_table(path)
    metadata, table.attrs = table.attrs, {}
    try:
        table = table[list(COLUMNS)].astype(COLUMNS)
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


def choose_samples(dataset: Dataset, row: Mapping[str, Any], seed: int) -> pd.DataFrame:
    """Returns the samples that a row asks for, with the columns of `COLUMNS`.

    `cap` holds for each split of the source, or for its one pool. Within it, classes get equal
    numbers (`share_equally`), drawn by priority. A pool is then parted into train and test
    (`share_test`). If the source cannot vouch for its pictures, each chosen one is opened here, so
    that all models see the same samples; with `skip_corrupt: yes`, damaged ones are replaced by
    the next in priority and listed in `.attrs["corrupt"]`.

    Raises:
        ConfigError: a cell of the row cannot be used.
        DataError: no samples, repeated ids, labels outside the classes, no picture or text where
            the modality says so, or damaged pictures that may not be skipped.
    """
    draw = parse_row(row, seed)
    listed = list_samples(dataset, draw)
    try_pictures = "image" in draw.modalities and not dataset.verified
    tried: set[str] = set()
    corrupt: set[str] = set()
    while True:
        chosen = cap_samples(listed[~listed["id"].isin(corrupt)], draw)
        if not try_pictures or tried.issuperset(chosen["id"]):
            break
        damaged = find_damaged(dataset, set(chosen["id"]) - tried)
        tried.update(chosen["id"])
        corrupt.update(damaged)
        judge_damaged(damaged, draw, n_chosen=len(chosen))
    if chosen.empty:
        raise DataError(f"dataset {draw.dataset!r}: all {len(listed)} pictures are damaged")
    table = _finish(part_pool(chosen, draw))
    table.attrs["pool"] = bool((listed["split"] == "").all())
    table.attrs["corrupt"] = [id_ for id_ in listed["id"] if id_ in corrupt]
    log.info("dataset %s: %d of %d samples", draw.dataset, len(table), len(listed))
    return table


def iterate(dataset: Dataset, samples: Samples) -> Iterator[tuple[int, Sample]]:
    """Yields (row, sample) for the chosen samples in their order, in one pass over the source.

    Raises:
        DataError: a chosen sample is missing, comes in another order, or has another label or
            text than when it was drawn.
    """
    columns = (samples.table[name] for name in ("row", "id", "label", "text", "labels"))
    wanted = list(zip(*columns, strict=True))
    ids = set(samples.table["id"])
    name, done = samples.row.get("dataset"), 0
    for sample in dataset:
        if done == len(wanted):
            return
        if sample.id not in ids:
            continue
        row, *expected = map(_plain, wanted[done])
        found = [sample.id, sample.label, sample.text, join_labels(sample.labels)]
        if found != expected:
            raise DataError(
                f"dataset {name!r}: expected the sample (id, label, text) {expected} in row {row}, "
                f"but the source yields {found} ({sample.origin}): {_REDRAW}"
            )
        done += 1
        yield row, sample
    if done < len(wanted):
        raise DataError(
            f"dataset {name!r}: {len(wanted) - done} of {len(wanted)} samples are missing or out "
            f"of order, from {wanted[done][1]!r} on: {_REDRAW}"
        )


def hash_samples(table: pd.DataFrame) -> str:
    """Returns the SHA-256 over (id, split, label or labels, text) of all lines, in order."""
    names = ["id", "split", "label", "text"]
    if "labels" in table and table["labels"].notna().any():
        names.append("labels")
    columns = (map(_plain, table[name]) for name in names)
    return files.digest([list(line) for line in zip(*columns, strict=True)])


def _finish(chosen: pd.DataFrame) -> pd.DataFrame:
    """Returns the samples with all columns and their types."""
    table = chosen.reset_index(drop=True)
    table["label"] = table["label"].astype("Int32").mask(table["label"] < 0)
    table["row"] = np.arange(len(table))
    table["parent_row"] = pd.NA
    return table[list(COLUMNS)].astype(COLUMNS)


def _class_counts(table: pd.DataFrame, n_classes: int) -> dict[str, list[int]]:
    labels = table["label"].fillna(-1).astype(int)
    return {
        str(split): [int((part == label).sum()) for label in range(n_classes)]
        for split, part in labels.groupby(table["split"])
    }


def _plain(value: Any) -> str | int | None:  # noqa: ANN401
    """Returns a cell as JSON knows it."""
    if pd.isna(value):
        return None
    return value if isinstance(value, str) else int(value)


__all__ = [
    "COLUMNS",
    "Samples",
    "choose_samples",
    "hash_samples",
    "iterate",
    "make_samples",
    "read_chain",
    "read_samples",
    "share_equally",
    "share_test",
]
