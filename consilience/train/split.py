"""Splits with a known overlap as files, so that all who need one read the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from consilience.alterations.splits import (
    Split,
    SplitRule,
    collapse_labels,
    deal_classes,
    deal_samples,
    read_split,
)
from consilience.errors import DataError
from consilience.files import write_table
from consilience.samples import Samples, read_samples


def make_splits(
    samples: str | Path, outs: Sequence[str | Path], splits: Sequence[Mapping[str, Any]]
) -> None:
    """Writes a file for each of several splits of one dataset; see `make_split`.

    Args:
        samples: samples/{dataset}.parquet.
        outs: the files to write.
        splits: for each of them the keyword arguments of `make_split`.
    """
    found = read_samples(samples)
    for out, facts in zip(outs, splits, strict=True):
        make_split(found, out, **facts)


def make_split(
    samples: str | Path | Samples,
    out: str | Path,
    *,
    dataset: str,
    rule: Mapping[str, Any],
    rows: str,
    seed: int,
) -> None:
    """Writes train/splits/{split}.parquet; its metadata say the rule and the overlap reached.

    Args:
        samples: samples/{dataset}.parquet, or what it holds.
        out: the file to write.
        dataset: its id.
        rule: see `consilience.alterations.splits`.
        rows: `train` or `all`, the samples that are dealt.
        seed: the study seed.

    Raises:
        DataError: samples without a class, or too few of them.
    """
    place = f"dataset {dataset!r}"
    found = samples if isinstance(samples, Samples) else read_samples(samples)
    table = found.table if rows == "all" else found.table[found.table["split"] == rows]
    if table["label"].isna().any():
        first = table["id"][table["label"].isna()].iloc[0]
        raise DataError(f"{place}: sample {first!r} has no class, by which a split deals")
    ids, labels = table["id"].tolist(), table["label"].to_numpy(np.int64)
    how = read_split(rule, place)
    try:
        split = _deal(ids, labels, found.classes, how, seed)
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    facts = {"dataset": dataset, "samples_hash": found.hash, "seed": seed, **split.facts}
    write_table(split.table, out, facts)


def _deal(
    ids: list[str], labels: np.ndarray, classes: tuple[str, ...], how: SplitRule, seed: int
) -> Split:
    if how.kind == "labels":
        return collapse_labels(ids, labels, classes, how)[0]
    if how.kind == "task":
        return deal_classes(ids, labels, len(classes), how, seed)
    return deal_samples(ids, labels, how, seed)
