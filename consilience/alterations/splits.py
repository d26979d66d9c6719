"""Splits with a known overlap: which samples, classes or chunks of a text each of two sides has.

`overlap` a is the share of a side that the other one has, too. Two designs: by `pairs` every
overlap has a draw of its own; `nested`, one draw fixes side x once, and side y for overlap a is the
first of x's, and then the first of a reserve that x does not have. So the reference is the same at
all overlaps, and sides y of two overlaps have 1 − |a − a′| in common.

A `constrained` side has at most half of what there is, so that its size is the same at every
overlap; an `unconstrained` one as much as two sides with this overlap can have. Counts are exact
and rounded half to even, as Python's `round` does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from consilience.alterations.draws import order_ids
from consilience.errors import ConfigError, DataError
from consilience.registry import did_you_mean

KINDS = ("data", "task", "corpus", "labels")
DESIGNS = ("nested", "pairs")
MODES = ("constrained", "unconstrained")
CHUNKS = 80
"""Of a stream of text."""


@dataclass(frozen=True)
class SplitRule:
    """What a split is: all but the samples."""

    kind: str
    """`data`: samples of every class; `task`: classes, or corpora; `corpus`: chunks of a stream of
    text; `labels`: the same samples, with labels of one part of a class's name."""
    overlap: float = 0.0
    draw: int = 0
    """Another number gives another draw."""
    size: int = 0
    """Samples of a class on a side (`data`), or that a class has in all (`task`); 0: all."""
    mode: str = "constrained"
    design: str = "nested"
    parts: tuple[int, ...] = ()
    """Of `labels`: which parts of a class's name count, such as (0, 2); another word for side."""


@dataclass(frozen=True)
class Split:
    """Two sides, and what is true of them."""

    table: pd.DataFrame
    """`id`, `label`, `new_label` (Int32; absent where neither side has the sample), `side_x`,
    `side_y`; of chunks also `begin` and `end`."""
    facts: dict[str, Any]
    """The rule, and `overlap_reached`: what both sides share by what one has."""


def read_split(cells: Mapping[str, Any], place: str) -> SplitRule:
    """Returns the rule that a recipe states.

    Raises:
        ConfigError: an unknown key or a value that it cannot have.
    """
    known = [field.name for field in fields(SplitRule)]
    for key, value in cells.items():
        if key not in known:
            raise ConfigError(f"{place}: unknown key {key!r}{did_you_mean(str(key), known)}")
        if problem := _problem(key, value):
            raise ConfigError(f"{place}: {key} is {value!r}, and it is {problem}")
    if "kind" not in cells:
        raise ConfigError(f"{place}: no kind; write one of: {', '.join(KINDS)}")
    rule = SplitRule(**{**cells, "parts": tuple(cells.get("parts", ()))})
    if rule.mode == "unconstrained" and rule.design == "nested":
        raise ConfigError(
            f"{place}: an unconstrained side changes its size with the overlap, and nested ones "
            "share side x; write `design: pairs` or `mode: constrained`"
        )
    if rule.mode == "unconstrained" and rule.size:
        raise ConfigError(f"{place}: size is {rule.size} and mode unconstrained; leave out one")
    for key in ("overlap", "draw", "size"):
        if rule.kind == "labels" and getattr(rule, key):
            raise ConfigError(
                f"{place}: {key} is {getattr(rule, key)}, and sides of kind labels have all "
                "samples; leave it out"
            )
    if (rule.kind == "labels") != bool(rule.parts):
        raise ConfigError(f"{place}: parts go with kind labels, which needs them")
    return rule


def _problem(key: str, value: Any) -> str:  # noqa: ANN401
    """Returns what a value should be, or "" if it is that."""
    choices = {"kind": KINDS, "design": DESIGNS, "mode": MODES}
    if key in choices:
        return "" if value in choices[key] else f"one of: {', '.join(choices[key])}"
    if key == "overlap":
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        return "" if fits else "a number from 0 to 1"
    if key == "parts":
        fits = not isinstance(value, str) and all(_is_count(part) for part in value)
        return "" if fits else "a list of places in a class's name, from 0"
    return "" if _is_count(value) else "a whole number from 0"


def _is_count(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def side_size(n: int, overlap: float, mode: str) -> int:
    """Returns how many of n things a side has, N.

    Constrained ⌊n / 2⌋; unconstrained the largest N with 2 N − round(a N) ≤ n.
    """
    if mode == "constrained":
        return n // 2
    return max(size for size in range(n + 1) if 2 * size - round(overlap * size) <= n)


def deal(order: np.ndarray, size: int, overlap: float, design: str) -> tuple[np.ndarray, ...]:
    """Returns the (N,) things of side x and of side y, of things in a drawn order.

    Of N = size, the first o = round(a N) are shared; x has N − o more. y's others are, by `pairs`,
    the N − o that follow; nested, the first N − o of the reserve, which begins after the N of x.
    These are the same: what differs between the designs is whether the order is one draw.
    """
    shared = round(overlap * size)
    x = order[:size]
    start = size
    return x, np.concatenate([order[:shared], order[start : start + size - shared]])


def _purpose(rule: SplitRule, seed: int) -> tuple[str | int, ...]:
    own = (repr(float(rule.overlap)),) if rule.design == "pairs" else ()
    return ("split", seed, rule.kind, rule.draw, *own)


def deal_samples(ids: Sequence[str], labels: np.ndarray, rule: SplitRule, seed: int) -> Split:
    """Returns a split of kind `data`: each class gives every side as many samples.

    Of a class with n samples a side has N = `size`, or ⌊n / 2⌋ where that is 0 (unconstrained: the
    largest that fits), of which round(a N) are shared. Labels stay.

    Args:
        ids: of the n samples.
        labels: (n,) their labels.
        rule: overlap, draw, size, mode and design.
        seed: the study seed.

    Raises:
        DataError: a class has fewer than 2 · size samples, or fewer than two.
    """
    labels = np.asarray(labels, np.int64)
    order = order_ids(ids, *_purpose(rule, seed))
    sides = np.zeros((2, len(labels)), bool)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        size = rule.size or side_size(len(own), rule.overlap, rule.mode)
        if not size or (2 * size > len(own) and rule.mode == "constrained"):
            raise DataError(
                f"a split with {size or 1} samples of a class on each side, of which none need be "
                f"shared, takes {2 * (size or 1)} of each; class {label} has {len(own)}"
            )
        for side, rows in zip(sides, deal(own, size, rule.overlap, rule.design), strict=True):
            side[rows] = True
    return _split(ids, labels, np.where(sides.any(0), labels, -1), sides, rule)


def deal_classes(
    ids: Sequence[str], labels: np.ndarray, classes: int, rule: SplitRule, seed: int
) -> Split:
    """Returns a split of kind `task`: each side has some classes, with all their samples.

    k = ⌊C / 2⌋ classes on a side (unconstrained: the most that fit), of which round(a k) are
    shared. They are numbered anew from 0 to k − 1 on each side, the shared ones first and with the
    same number on both. With `size`, each class has its first so many samples, by their ids, on
    whichever side it is. Corpora of text are dealt alike, with the number of the corpus as label.

    Args:
        ids: of the n samples.
        labels: (n,) their labels, 0 to classes − 1.
        classes: how many there are, C.
        rule: overlap, draw, size, mode and design.
        seed: the study seed.

    Raises:
        DataError: fewer than two classes, or a class with fewer than `size` samples.
    """
    if classes < 2:
        raise DataError(f"a split by classes needs two or more; there are {classes}")
    labels = np.asarray(labels, np.int64)
    purpose = _purpose(rule, seed)
    order = order_ids([str(label) for label in range(classes)], *purpose)
    dealt = deal(order, side_size(classes, rule.overlap, rule.mode), rule.overlap, rule.design)
    new = np.full(classes, -1)
    for numbers in dealt:
        new[numbers] = np.arange(len(numbers))
    taken = _first_of_class(ids, labels, classes, rule, ("split", seed, "size", rule.draw))
    sides = np.stack([np.isin(labels, numbers) & taken for numbers in dealt])
    split = _split(ids, labels, np.where(sides.any(0), new[labels], -1), sides, rule)
    shared = len(np.intersect1d(*dealt)) / len(dealt[0])
    return Split(split.table, split.facts | {"overlap_reached": shared})


def _first_of_class(
    ids: Sequence[str],
    labels: np.ndarray,
    classes: int,
    rule: SplitRule,
    purpose: tuple[str | int, ...],
) -> np.ndarray:
    """Returns (n,) whether a sample is among the first `size` of its class."""
    if not rule.size:
        return np.ones(len(labels), bool)
    order = order_ids(ids, *purpose)
    taken = np.zeros(len(labels), bool)
    for label in range(classes):
        own = order[labels[order] == label][: rule.size]
        if len(own) < rule.size:
            raise DataError(f"size is {rule.size} and class {label} has {len(own)} samples")
        taken[own] = True
    return taken


def deal_chunks(length: int, window: int, rule: SplitRule, seed: int) -> Split:
    """Returns a split of kind `corpus`: a stream in 80 chunks of one length, which are dealt.

    A chunk has max(window, ⌊length / 80⌋) tokens, so that a short stream has fewer of them; what is
    left at the end belongs to none. Each side has half of the chunks, N = 40 of 80 (unconstrained:
    the most that fit), of which round(a N) are shared. Ids are `chunk/00` and so on, and windows
    are to lie between `begin` and `end` of one chunk.

    Args:
        length: tokens of the stream.
        window: tokens that are read together.
        rule: overlap, draw, mode and design.
        seed: the study seed.

    Raises:
        DataError: the stream has fewer than two chunks.
    """
    tokens = max(window, length // CHUNKS)
    count = min(CHUNKS, length // tokens if tokens else 0)
    if count < 2:
        raise DataError(
            f"a stream of {length} tokens has {count} chunks of a window of {window}, and a split "
            "takes two; write a smaller window, or a longer text"
        )
    ids = [f"chunk/{number:02d}" for number in range(count)]
    size = side_size(count, rule.overlap, rule.mode)
    sides = np.zeros((2, count), bool)
    order = order_ids(ids, *_purpose(rule, seed))
    for side, rows in zip(sides, deal(order, size, rule.overlap, rule.design), strict=True):
        side[rows] = True
    none = np.full(count, -1)
    split = _split(ids, none, none, sides, rule)
    begin = tokens * np.arange(count)
    return Split(split.table.assign(begin=begin, end=begin + tokens), split.facts)


def collapse_labels(
    ids: Sequence[str], labels: np.ndarray, classes: Sequence[str], rule: SplitRule
) -> tuple[Split, tuple[str, ...]]:
    """Returns a split of kind `labels`, with the same samples on both sides, and its classes.

    A class's name has parts with `_` between, such as `square_7_red`. The new classes are those
    that differ in the parts `rule.parts`, in alphabetical order, numbered from 0: with (0,) three
    squares of other colours are one class. Models of two such splits differ in what they were
    asked, not in what they saw.

    Args:
        ids: of the n samples.
        labels: (n,) their labels.
        classes: names by label, all of as many parts.
        rule: parts.

    Raises:
        DataError: a name has fewer parts.
    """
    for name in classes:
        if name.count("_") < max(rule.parts):
            raise DataError(
                f"the class {name!r} has {name.count('_') + 1} parts, and part {max(rule.parts)} "
                "(counted from 0) is asked for; name other parts"
            )
    names = ["_".join(name.split("_")[part] for part in rule.parts) for name in classes]
    new = {name: number for number, name in enumerate(sorted(set(names)))}
    labels = np.asarray(labels, np.int64)
    numbers = np.array([new[name] for name in names], np.int64)
    split = _split(ids, labels, numbers[labels], np.ones((2, len(labels)), bool), rule)
    return split, tuple(new)


def _split(
    ids: Sequence[str], labels: np.ndarray, new: np.ndarray, sides: np.ndarray, rule: SplitRule
) -> Split:
    """Returns the table and the facts of two sides: (2, n) booleans."""
    table = pd.DataFrame({"id": pd.array(list(ids), "string"), "label": labels, "new_label": new})
    for column in ("label", "new_label"):
        table[column] = table[column].astype("Int32").mask(table[column] < 0)
    table = table.assign(side_x=sides[0], side_y=sides[1])
    n_x, n_y = (int(side.sum()) for side in sides)
    shared = int(sides.all(axis=0).sum())
    facts = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(rule).items()}
    return Split(table, facts | {"n_x": n_x, "n_y": n_y, "overlap_reached": shared / max(n_x, 1)})
