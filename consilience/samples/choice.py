"""Chooses the samples of a dataset, from its source or, for a view, from its parent's samples."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience import files
from consilience.datasets import Dataset, open_dataset
from consilience.errors import DataError
from consilience.samples.draw import cap_samples, parse_row, part_pool
from consilience.samples.groups import GROUP, describe_groups, drop_single, parse_group
from consilience.samples.listing import find_damaged, judge_damaged, list_samples
from consilience.samples.table import hash_samples, in_columns, read_samples
from consilience.samples.views import choose_view

log = logging.getLogger(__name__)


def make_samples(
    row: Mapping[str, Any], seed: int, out: str | Path, parent: str | Path | None = None
) -> None:
    """Draws the samples of a dataset and writes them to `out` (results/samples/{dataset}.parquet).

    The file's metadata: `row`, `seed`, `classes`, `hash`, `n` ({split: number}), `class_counts`
    ({split: [number by label]}), `pool` (whether the source had no splits of its own), `corrupt`
    (ids that were dropped, in the source's order), `pin` (see `Samples`), for a view
    `parent_hash`, and where samples come in groups `groups` (how many, and how large).

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
    table = in_columns(drop_single(table, parse_group(row)))
    if GROUP in table:
        notes["groups"] = describe_groups(table)
        log.info("dataset %s: %s", row.get("dataset"), notes["groups"]["text"])
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


def choose_samples(dataset: Dataset, row: Mapping[str, Any], seed: int) -> pd.DataFrame:
    """Returns the samples that a row asks for, with the columns of `COLUMNS`.

    `cap` holds for each split of the source, or for its one pool. Groups are kept whole (see
    `samples.groups`). Within a cap, classes get equal
    numbers (`share_equally`), drawn by priority. A pool is then parted into train and test
    (`share_test`); a derived dataset of one split is that split of the dataset that it is of, then
    one pool, as the view `split=` of it. If the source cannot vouch for its pictures, each chosen
    one is opened here, so that all models see the same samples; with `skip_corrupt: yes`, damaged
    ones are replaced by the next in priority and listed in `.attrs["corrupt"]`.

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
    chosen = part_pool(chosen, draw)
    if draw.only:
        chosen = chosen[chosen["split"] == draw.only]
        chosen = part_pool(chosen.assign(split=""), draw)
    table = _finish(chosen)
    table.attrs["pool"] = bool(draw.only) or bool((listed["split"] == "").all())
    table.attrs["corrupt"] = [id_ for id_ in listed["id"] if id_ in corrupt]
    log.info("dataset %s: %d of %d samples", draw.dataset, len(table), len(listed))
    return table


def _finish(chosen: pd.DataFrame) -> pd.DataFrame:
    """Returns the samples with all columns and their types."""
    table = chosen.reset_index(drop=True)
    table["label"] = table["label"].astype("Int32").mask(table["label"] < 0)
    table["row"] = np.arange(len(table))
    table["parent_row"] = pd.NA
    return in_columns(table)


def _class_counts(table: pd.DataFrame, n_classes: int) -> dict[str, list[int]]:
    labels = table["label"].dropna().astype(int)
    return {
        str(split): np.bincount(labels[table["split"] == split], minlength=n_classes).tolist()
        for split in sorted(set(table["split"]))
    }
