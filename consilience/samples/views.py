"""Views: samples of another dataset, chosen or labelled anew, whose features are that dataset's.

The column `view` says how, as `key=value` with blanks between; what is given is done in this order:

- `split=train` or `split=test`: only this split, from then on one pool
- `classes=FILE`: new labels by a table with the columns `label` (number) or `class` (name), `to`
  (blank or absent: left out) and perhaps `split` (the line holds for this split only); new classes
  are numbered as they first appear
- `k=100`: so many classes, drawn
- `per_class=10`: so many samples of each class
- `half=a` or `half=b`: two halves without a common sample, drawn by the samples' ids
- `n=500`: so many samples, whatever their class; a larger n contains a smaller one's

`seed=1` gives another draw (default 0). As with `cap`, which comes last, numbers hold for each
split of the source, or for its one pool. Groups are the parent's, unless the view's own column
`group` says otherwise, and are kept whole: `per_class` and `n` are then as many samples at most,
and `half` is half of the groups.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from consilience import files
from consilience.errors import ConfigError, DataError
from consilience.limits.reading import read_text
from consilience.registry import did_you_mean
from consilience.samples.draw import (
    HALVES,
    Draw,
    cap_samples,
    parse_row,
    part_pool,
    priority,
    read_derived,
    take_per_class,
    take_rows,
)
from consilience.samples.groups import GROUP, add_groups, keep_whole, samples_of, units_of

if TYPE_CHECKING:
    from consilience.samples.table import Samples


@dataclass(frozen=True)
class View:
    """The parsed column `view`; what is empty or 0 is not done."""

    split: str = ""
    classes: str = ""
    k: int = 0
    per_class: int = 0
    half: str = ""
    n: int = 0
    seed: int = 0


_FORMS = {
    "split": "train|test",
    "classes": r"\S+",
    "k": r"[1-9]\d*",
    "per_class": r"[1-9]\d*",
    "half": "|".join(HALVES),
    "n": r"[1-9]\d*",
    "seed": r"\d+",
}


def parse_view(row: Mapping[str, Any]) -> View:
    """Returns what the column `view` says.

    Raises:
        ConfigError: an unknown key, one given twice, or a value that it cannot have.
    """
    cell = str(row.get("view") or "")
    found: dict[str, str] = {}
    for part in cell.split():
        key, _, value = part.partition("=")
        problem = ""
        if key not in _FORMS:
            problem = f"unknown key {key!r}{did_you_mean(key, _FORMS)}"
        elif key in found:
            problem = f"{key!r} is given twice"
        elif not re.fullmatch(_FORMS[key], value):
            problem = f"{part!r} does not have the form {key}={_FORMS[key]}"
        if problem:
            raise ConfigError(f"dataset {row.get('dataset')!r}, column view ({cell!r}): {problem}")
        found[key] = value
    numbers = {field.name for field in fields(View) if field.type is int}
    return View(**{key: int(v) if key in numbers else v for key, v in found.items()})


def choose_view(
    row: Mapping[str, Any], seed: int, parent: "Samples"
) -> tuple[pd.DataFrame, tuple[str, ...], dict[str, Any]]:
    """Returns the samples, classes and metadata of a view.

    Rows keep the parent's order, and priorities are those of the parent: views of one parent with
    one `seed` are nested, and a cap alone takes what it would take in the parent itself.

    Raises:
        ConfigError: a cell of the row cannot be used.
        DataError: the parent has no labels where they are needed, or nothing is left.
    """
    view = parse_view(row)
    derived = read_derived(parent.row)
    of = derived.of if derived else str(parent.row["dataset"])
    draw = replace(parse_row(row, seed), dataset=str(parent.row["dataset"]), of=of)
    table = parent.table.assign(
        parent_row=parent.table["row"], label=parent.table["label"].fillna(-1).astype(int)
    )
    if draw.group.kind:
        table = keep_whole(add_groups(table, draw.group, None, draw.modalities), draw.group)
    pool, classes = bool(parent.metadata.get("pool")), parent.classes
    if view.split:
        table, pool = table[table["split"] == view.split], True
    if view.classes or view.k or view.per_class:
        _need_labels(table, row)
    if view.classes:
        table, classes = _relabel(table, read_classes(view.classes, classes))
    if view.k:
        table, classes = _keep_classes(table, classes, view, draw)
    table = cap_samples(_draw_from(table, view, draw, pool), draw, pool)
    if table.empty:
        raise DataError(f"dataset {row['dataset']!r}: the view {row.get('view')!r} holds no sample")
    share = str(row.get("test_share") or "")
    if share and not pool:
        raise ConfigError(
            f"dataset {row['dataset']!r}, column test_share: the samples of {row['parent']!r} have "
            "splits of their own, which a view keeps; leave it blank or choose one by split="
        )
    if share or view.split:
        table = part_pool(table.assign(split=""), draw)
    table = table.assign(row=np.arange(len(table)))
    table["label"] = table["label"].astype("Int32").mask(table["label"] < 0)
    notes = {"pool": pool, "corrupt": [], "parent_hash": parent.hash}
    return table.reset_index(drop=True), classes, notes


def _need_labels(table: pd.DataFrame, row: Mapping[str, Any]) -> None:
    if (table["label"] < 0).any():
        raise DataError(
            f"dataset {row['dataset']!r}: the samples of {row['parent']!r} have no label each, so "
            f"the view {row['view']!r} cannot choose by class"
        )


def read_classes(name: str, classes: tuple[str, ...]) -> dict[tuple[str, int], str]:
    """Returns {(split or "" for all, label): name of the new class} of a class table.

    Raises:
        ConfigError: the file is absent, lacks a column, or names a class that is not there, is
            there twice, or has a line already.
    """
    path = files.find(name)
    if not path.is_file():
        raise ConfigError(f"{name}: no such table of classes; correct the column view")
    text = read_text(path)
    lines = [line.split("\t") for line in files.lines_of(text)]
    header, new = [cell.strip() for cell in (lines or [[]])[0]], {}
    if "to" not in header or not {"label", "class"} & set(header):
        raise ConfigError(
            f"{name}: its columns are {header}; it needs `to` and `label` or `class`, separated by "
            "one tab"
        )
    if twice := [column for column in header if header.count(column) > 1]:
        raise ConfigError(f"{name}: the column {twice[0]!r} is there twice; remove one")
    for number, cells in enumerate(lines[1:], start=2):
        if cells == [""]:
            continue
        if len(cells) != len(header):
            raise ConfigError(
                f"{name} line {number}: {len(cells)} cells for {len(header)} columns; cells are "
                "separated by one tab, blank ones too"
            )
        line = dict(zip(header, map(str.strip, cells), strict=True))
        label, split = _label(line, classes, f"{name} line {number}"), line.get("split", "")
        if split not in ("", "train", "test"):
            raise ConfigError(
                f"{name} line {number}: the split {split!r} is neither train nor test"
            )
        if (split, label) in new:
            raise ConfigError(f"{name} line {number}: the class {label} has a line already")
        new[split, label] = line.get("to", "")
    return new


def _label(line: Mapping[str, str], classes: tuple[str, ...], place: str) -> int:
    """Returns the number of the class that a line is about."""
    if "label" in line:
        text = line["label"]
        if not text.isdecimal() or int(text) >= len(classes):
            raise ConfigError(f"{place}: the label {text!r} is not from 0 to {len(classes) - 1}")
        return int(text)
    name = line["class"]
    if classes.count(name) != 1:
        problem = "is there twice; use the column `label`" if name in classes else "is not there"
        raise ConfigError(f"{place}: the class {name!r} {problem}{did_you_mean(name, classes)}")
    return classes.index(name)


def _relabel(
    table: pd.DataFrame, new: Mapping[tuple[str, int], str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    classes = tuple(dict.fromkeys(name for name in new.values() if name))
    number = {name: index for index, name in enumerate(classes)}
    label = [
        number.get(new.get((split, label)) or new.get(("", label), ""), -1)
        for split, label in zip(table["split"], table["label"], strict=True)
    ]
    table = table.assign(label=label)
    return table[table["label"] >= 0], classes


def _keep_classes(
    table: pd.DataFrame, classes: tuple[str, ...], view: View, draw: Draw
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    present = sorted(set(table["label"]))
    if view.k > len(present):
        raise DataError(f"dataset {draw.dataset!r} has {len(present)} classes, not {view.k}")
    purpose = f"view {view.seed} class"
    kept = sorted(sorted(present, key=lambda label: priority(draw, purpose, label))[: view.k])
    table = table[table["label"].isin(kept)]
    return table.assign(label=table["label"].map({c: i for i, c in enumerate(kept)})), tuple(
        classes[label] for label in kept
    )


def _draw_from(table: pd.DataFrame, view: View, draw: Draw, pool: bool) -> pd.DataFrame:
    """Returns what `per_class`, `half` and `n` leave of each split, or of the pool."""

    def lowest(part: pd.DataFrame, purpose: str) -> pd.Series:
        """Returns the rank of each sample in priority."""
        order = [priority(draw, f"view {view.seed} {purpose}", id_) for id_ in part["id"]]
        rank = np.argsort(sorted(range(len(part)), key=order.__getitem__))
        return pd.Series(rank, part.index)

    def half(part: pd.DataFrame) -> pd.Series:
        """Returns whether a sample is in the half: drawn by its id, unlike those of `halve`."""
        units = units_of(part)
        in_first = lowest(units, "half") < (len(units) + 1) // 2
        in_first = samples_of(part, units, in_first)
        return in_first if view.half == HALVES[0] else ~in_first

    def first(part: pd.DataFrame) -> pd.Series:
        """Returns whether a sample is among the first n in priority; groups are kept whole."""
        if GROUP in part:
            return take_rows(part, view.n, draw, f"view {view.seed} n", f"n={view.n}")
        return lowest(part, "n") < view.n

    purpose = f"view {view.seed} per_class"
    steps: list[tuple[Any, Callable[[pd.DataFrame], pd.Series]]] = [
        (view.per_class, lambda part: take_per_class(part, view.per_class, draw, purpose)),
        (view.half, half),
        (view.n, first),
    ]
    for _, keep in (step for step in steps if step[0]):
        by = np.zeros(len(table), int) if pool else table["split"]
        kept = [part[keep(part)] for _, part in table.groupby(by)]
        table = pd.concat(kept).sort_index() if kept else table
    return table
