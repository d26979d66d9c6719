"""What numbers in names tell: the order of layers, and that of blocks of rows of one matrix.

`features_0-512` holds the rows from 0 to before 512. `features_3` is the third or fourth block
(counted from 0 or 1), or the number is that of its first row, or of the rows up to its end.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from consilience.errors import FeaturesError
from consilience.files import natural_order

_ROWS = re.compile(r"features_(\d+)[-_](\d+)", re.ASCII)
_NUMBER = re.compile(r"features_(\d+)", re.ASCII)
_SIGNED = re.compile(r"((?<![0-9A-Za-z])-[0-9]+|[0-9]+)")


def layer_order(name: str) -> tuple[Any, ...]:
    """Returns the key that sorts layers by the numbers in their names.

    A number below zero counts from the end, as in a list of hidden states: `layer_0`, `layer_11`,
    `layer_-2`, `layer_-1`. A dash after a letter or a digit is no sign: `layer-1` before `layer-2`.
    """
    words = _SIGNED.split(name)  # words and numbers take turns
    return tuple(
        (word.startswith("-"), int(word)) if i % 2 else word for i, word in enumerate(words)
    ), name


def names_rows(name: str) -> bool:
    """Returns whether a name says which rows it holds: `features_0-512`."""
    return bool(_ROWS.fullmatch(name))


def is_block(name: str) -> bool:
    """Returns whether a name is that of a block: `features_0-512` or `features_3`."""
    return bool(_ROWS.fullmatch(name) or _NUMBER.fullmatch(name))


def in_order(rows: Mapping[str, int], place: str) -> list[str]:
    """Returns the names of blocks in the order of their rows.

    Args:
        rows: {name of a block: its number of rows}.
        place: the folder or file that holds them, for messages.

    Raises:
        FeaturesError: rows lack or are there twice, or a block has not the rows of its name.
    """
    names = sorted(rows, key=natural_order)
    other = [name for name in names if not is_block(name)]
    if other:
        raise FeaturesError(
            f"{place}: {other[0]!r} is called neither features_NUMBER nor features_START-END, so "
            "its place among the blocks of rows is unknown; rename it or move it away"
        )
    ranged = [name for name in names if names_rows(name)]
    if ranged and len(ranged) < len(names):
        plain = next(name for name in names if name not in ranged)
        raise FeaturesError(
            f"{place}: {ranged[0]!r} says which rows it holds and {plain!r} does not, so their "
            "order is unknown; move away what belongs to another matrix"
        )
    if ranged:
        names.sort(key=_range)
        _check_ranges(names, rows, place)
    else:
        _check_numbers(names, [rows[name] for name in names], place)
    return names


def listed(names: Sequence[str]) -> str:
    """Returns blocks in one line, for logs and provenance."""
    shown = [*names[:2], "…", names[-1]] if len(names) > 4 else names
    return f"{len(names)} in the order of their numbers: {', '.join(shown)}"


def _range(name: str) -> tuple[int, int]:
    found = _ROWS.fullmatch(name)
    assert found, name
    return int(found[1]), int(found[2])


def _check_ranges(names: Sequence[str], rows: Mapping[str, int], place: str) -> None:
    end, before = 0, ""
    for name in names:
        first, stop = _range(name)
        if stop - first != rows[name]:
            one = f" (features_{first}-{stop + 1})" if rows[name] == stop - first + 1 else ""
            raise FeaturesError(
                f"{place}: {name!r} has {rows[name]} rows, by its name {stop - first} (from "
                f"{first} to before {stop}); write it again, or rename it after its rows{one}"
            )
        if first > end:
            raise FeaturesError(
                f"{place}: the rows from {end} to before {first} are missing before {name!r}; "
                "complete the blocks"
            )
        if first < end:
            raise FeaturesError(
                f"{place}: {before!r} and {name!r} both hold the row {first}; move away what "
                "belongs to another matrix"
            )
        end, before = stop, name


def _check_numbers(names: Sequence[str], rows: Sequence[int], place: str) -> None:
    numbers = [int(name.removeprefix("features_")) for name in names]
    starts = [sum(rows[:i]) for i in range(len(rows))]
    ends = [start + own for start, own in zip(starts, rows, strict=True)]
    counts = [list(range(first, first + len(names))) for first in (0, 1)]
    if numbers in (*counts, starts, ends):
        return
    for name, after in pairwise(names):
        if int(name.removeprefix("features_")) == int(after.removeprefix("features_")):
            raise FeaturesError(
                f"{place}: {name!r} and {after!r} have the same number; move one away"
            )
    expected = range(numbers[0] if numbers[0] in (0, 1) else 0, numbers[-1])
    missing = next(number for number in expected if number not in numbers)
    raise FeaturesError(
        f"{place}: the blocks {names[0]!r} to {names[-1]!r} are not numbered without gaps (the "
        f"first one that lacks is number {missing}), nor by their rows; complete or rename them"
    )
