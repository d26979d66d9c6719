"""Samples: which stimuli of a dataset every model sees, in which order, and for what.

The draw is by hash: a sample's priority is SHA-256(seed, dataset, id), so that what is drawn
depends neither on other datasets nor on the order in which a source lists its samples, and a larger
`cap` contains what a smaller one drew. Classes share the cap equally as far as they reach.
"""

import hashlib
import logging
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience import files
from consilience.datasets import Dataset, Sample, open_dataset
from consilience.errors import ConfigError, DataError

log = logging.getLogger(__name__)

COLUMNS = {
    "row": "int64",
    "id": "string",
    "split": "string",
    "label": "Int32",
    "text": "string",
    "parent_row": "Int64",
}
TEST_SHARE = Fraction(1, 4)
_SHOWN = 5
_REDRAW = "the data changed since the draw; restore them, or delete the samples table and run again"


@dataclass(frozen=True)
class Samples:
    """The chosen samples of one dataset."""

    table: pd.DataFrame
    """One line per sample, in the source's order; the columns are those of `COLUMNS`."""
    hash: str
    """SHA-256 over (id, split, label, text) of all lines: equal hashes, same stimuli."""
    classes: tuple[str, ...]
    """Class names by label."""
    row: dict[str, Any]
    """The row of datasets.tsv."""


@dataclass(frozen=True)
class _Draw:
    """What a dataset row asks for."""

    dataset: str
    seed: int
    modalities: frozenset[str]
    cap: int | None
    test_share: Fraction
    skip_corrupt: bool


def make_samples(row: Mapping[str, Any], seed: int, out: str | Path) -> None:
    """Draws the samples of a dataset and writes them to `out` (results/samples/{dataset}.parquet).

    The file's metadata: `row`, `seed`, `classes`, `hash`, `n` ({split: number}), `class_counts`
    ({split: [number by label]}) and `corrupt` (ids that were dropped, in the source's order).

    Raises:
        ConfigError: a cell of the row cannot be used.
        DataError: the dataset is missing, empty, damaged or inconsistent; nothing is written.
    """
    dataset = open_dataset(row)
    table = choose_samples(dataset, row, seed)
    metadata = {
        "row": dict(row),
        "seed": seed,
        "classes": list(dataset.classes),
        "hash": hash_samples(table),
        "n": table["split"].value_counts().sort_index().to_dict(),
        "class_counts": _class_counts(table, len(dataset.classes)),
        "corrupt": table.attrs["corrupt"],
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
    return Samples(table, found, classes, row)


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
    draw = _parse(row, seed)
    listed = _list(dataset, draw)
    try_pictures = "image" in draw.modalities and not dataset.verified
    tried: set[str] = set()
    corrupt: set[str] = set()
    while True:
        chosen = _cap(listed[~listed["id"].isin(corrupt)], draw)
        if not try_pictures or tried.issuperset(chosen["id"]):
            break
        damaged = _find_damaged(dataset, set(chosen["id"]) - tried)
        tried.update(chosen["id"])
        corrupt.update(damaged)
        _judge_damaged(damaged, draw, n_chosen=len(chosen))
    if chosen.empty:
        raise DataError(f"dataset {draw.dataset!r}: all {len(listed)} pictures are damaged")
    table = _finish(_part(chosen, draw))
    table.attrs["corrupt"] = [id_ for id_ in listed["id"] if id_ in corrupt]
    log.info("dataset %s: %d of %d samples", draw.dataset, len(table), len(listed))
    return table


def iterate(dataset: Dataset, samples: Samples) -> Iterator[tuple[int, Sample]]:
    """Yields (row, sample) for the chosen samples in their order, in one pass over the source.

    Raises:
        DataError: a chosen sample is missing, comes in another order, or has another label or
            text than when it was drawn.
    """
    columns = (samples.table[name] for name in ("row", "id", "label", "text"))
    wanted = list(zip(*columns, strict=True))
    ids = set(samples.table["id"])
    name, done = samples.row.get("dataset"), 0
    for sample in dataset:
        if done == len(wanted):
            return
        if sample.id not in ids:
            continue
        row, *expected = map(_plain, wanted[done])
        if (found := [sample.id, sample.label, sample.text]) != expected:
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
    """Returns the SHA-256 over (id, split, label, text) of all lines, in order."""
    columns = (map(_plain, table[name]) for name in ("id", "split", "label", "text"))
    return files.digest([list(line) for line in zip(*columns, strict=True)])


def share_equally(sizes: Sequence[int], cap: int) -> list[int]:
    """Returns how many samples each class gives so that they sum to min(cap, Σ sizes).

    Water-filling: every class gives min(size, level) for the highest level that fits; what is left
    goes, one each, to the first classes that have more. A larger cap takes no less from any class.

    Args:
        sizes: Number of samples of each class, (C,).
        cap: Number of samples wanted.
    """
    if cap >= sum(sizes):
        return list(sizes)
    levels = range(max(sizes) + 1)
    level = bisect_right(levels, cap, key=lambda level: sum(min(n, level) for n in sizes)) - 1
    quotas = [min(n, level) for n in sizes]
    rest = cap - sum(quotas)
    larger = [i for i, n in enumerate(sizes) if n > level]
    for i in larger[:rest]:
        quotas[i] += 1
    return quotas


def share_test(sizes: Sequence[int], share: Fraction) -> list[int]:
    """Returns how many samples of each class go to test: share × Σ sizes in all, rounded half up.

    Each class gives its share rounded down; the largest remainders give one more, ties going to
    the first. Every class of two or more has a sample on both sides, which takes precedence over
    the total; a class of one stays in train.

    Args:
        sizes: Number of samples of each class, (C,).
        share: Share of test, 0 ≤ share < 1; 0 means no test samples at all.
    """
    n = np.asarray(sizes, dtype=np.int64)
    if not share:
        return [0] * len(n)
    up, down = share.numerator, share.denominator
    low, high = (n >= 2).astype(np.int64), np.maximum(n - 1, 0)
    quotas = np.clip(n * up // down, low, high)
    total = (2 * int(n.sum()) * up + down) // (2 * down)
    while quotas.sum() != total:
        step = 1 if quotas.sum() < total else -1
        free = quotas < high if step > 0 else quotas > low
        if not free.any():
            break
        # Integers instead of fractions of floats: 0.29 × 100 is 29.
        owed = np.where(free, step * (n * up - quotas * down), np.iinfo(np.int64).min)
        quotas[owed.argmax()] += step
    return quotas.tolist()


def _parse(row: Mapping[str, Any], seed: int) -> _Draw:
    cells = {key: str(value).strip() for key, value in row.items() if value is not None}
    dataset = cells["dataset"]

    def refuse(column: str, allowed: str) -> ConfigError:
        found = cells[column]
        return ConfigError(f"dataset {dataset!r}, column {column}: {found!r} is not {allowed}")

    cap, share, skip = (cells.get(name, "") for name in ("cap", "test_share", "skip_corrupt"))
    if cap and (not cap.isdecimal() or int(cap) < 1):
        raise refuse("cap", "a whole number from 1, or blank")
    if share and not (re.fullmatch(r"\d*\.?\d+", share) and Fraction(share) < 1):
        raise refuse("test_share", "a number from 0 to below 1, or blank")
    if skip not in ("", "yes", "no"):
        raise refuse("skip_corrupt", "yes, no or blank")
    return _Draw(
        dataset=dataset,
        seed=seed,
        modalities=frozenset(cells["modality"].split("+")),
        cap=int(cap) if cap else None,
        test_share=Fraction(share) if share else TEST_SHARE,
        skip_corrupt=skip == "yes",
    )


def _list(dataset: Dataset, draw: _Draw) -> pd.DataFrame:
    """Returns `id, split, label, text` of all samples of the source, in its order; label −1: none.

    Pictures are not opened.
    """
    origins: dict[str, str] = {}
    lines = []
    for sample in dataset:
        if sample.id in origins:
            raise DataError(
                f"dataset {draw.dataset!r}: two samples have the id {sample.id!r} "
                f"({origins[sample.id]} and {sample.origin}); rename one of them"
            )
        origins[sample.id] = sample.origin
        _check(sample, dataset.classes, draw)
        label = -1 if sample.label is None else sample.label
        lines.append((sample.id, sample.split, label, sample.text))
    listed = pd.DataFrame(lines, columns=["id", "split", "label", "text"])
    if listed.empty:
        raise DataError(f"dataset {draw.dataset!r} holds no samples; check its row and its files")
    for column, blank in (("label", -1), ("split", "")):
        if 0 < (n := int((listed[column] == blank).sum())) < len(listed):
            raise DataError(
                f"dataset {draw.dataset!r}: {n} of {len(listed)} samples have no {column}; "
                "all must have one, or none"
            )
    return listed


def _check(sample: Sample, classes: Sequence[str], draw: _Draw) -> None:
    """Raises DataError if a sample is not what the dataset says."""
    problem = None
    if sample.label is not None and not 0 <= sample.label < len(classes):
        problem = (
            f"its label {sample.label} is not among the {len(classes)} classes (counted from 0); "
            "correct the label or the list of class names"
        )
    elif sample.split not in ("", "train", "test"):
        problem = f"its split {sample.split!r} is neither train nor test"
    elif "image" in draw.modalities and sample.image is None:
        problem = "it has no picture; correct the column modality or the data"
    elif "text" in draw.modalities and not sample.text:
        problem = "it has no text; correct the column modality or the data"
    if problem:
        place = f"dataset {draw.dataset!r}, sample {sample.id!r} ({sample.origin})"
        raise DataError(f"{place}: {problem}")


def _priority(draw: _Draw, purpose: str, item: str | int) -> bytes:
    """Returns what things are sorted by when some are drawn: the same for no two purposes."""
    text = files.canonical_json([str(draw.seed), draw.dataset, purpose, str(item)])
    return hashlib.sha256(text.encode()).digest()


def _quotas(table: pd.DataFrame, draw: _Draw, purpose: str, share: Any) -> dict[int, int]:  # noqa: ANN401
    """Returns {label: share(sizes)}, the classes in the order of their priority."""
    sizes = Counter(table["label"].tolist())
    labels = sorted(sizes, key=lambda label: _priority(draw, f"{purpose} class", label))
    return dict(zip(labels, share([sizes[label] for label in labels]), strict=True))


def _first(table: pd.DataFrame, quotas: Mapping[int, int], draw: _Draw, purpose: str) -> pd.Series:
    """Returns whether a sample is among the first quotas[label] of its class in priority."""
    priority = pd.Series([_priority(draw, purpose, i) for i in table["id"]], table.index)
    order = table.assign(priority=priority).sort_values("priority", kind="stable")
    rank = order.groupby("label").cumcount().reindex(table.index)
    return rank < table["label"].map(quotas)


def _cap(listed: pd.DataFrame, draw: _Draw) -> pd.DataFrame:
    """Returns at most `cap` samples of each split, in the source's order."""
    if draw.cap is None:
        return listed
    keep = pd.Series(False, index=listed.index)
    for _, part in listed.groupby("split"):
        quotas = _quotas(part, draw, "cap", lambda sizes: share_equally(sizes, draw.cap))
        keep[part.index] = _first(part, quotas, draw, "cap")
    return listed[keep]


def _part(chosen: pd.DataFrame, draw: _Draw) -> pd.DataFrame:
    """Returns the samples with the split `train` or `test`; what the source says is kept."""
    if (chosen["split"] != "").all():
        return chosen
    quotas = _quotas(chosen, draw, "test", lambda sizes: share_test(sizes, draw.test_share))
    test = _first(chosen, quotas, draw, "test")
    return chosen.assign(split=np.where(test, "test", "train"))


def _find_damaged(dataset: Dataset, ids: Collection[str]) -> dict[str, str]:
    """Returns {id: problem} for those of the given samples whose picture cannot be opened."""
    damaged = {}
    for sample in dataset:
        if sample.id in ids and sample.image is not None:
            try:
                sample.image()
            except DataError as error:
                damaged[sample.id] = str(error)
    return damaged


def _judge_damaged(damaged: Mapping[str, str], draw: _Draw, n_chosen: int) -> None:
    """Logs damaged pictures if they may be skipped; raises DataError otherwise."""
    for id_, problem in damaged.items():
        log.warning("dataset %s: sample %s is damaged: %s", draw.dataset, id_, problem)
    if not damaged or draw.skip_corrupt:
        return
    shown = "".join(f"\n  {id_}: {problem}" for id_, problem in list(damaged.items())[:_SHOWN])
    raise DataError(
        f"dataset {draw.dataset!r}: {len(damaged)} of {n_chosen} chosen pictures cannot be opened; "
        "restore them, or write `yes` into the column skip_corrupt to replace them by others. "
        f"The first are:{shown}"
    )


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
