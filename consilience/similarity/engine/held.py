"""Which prepared forms are held when, so that a table stays within the memory it was given.

Beside the forms there is what preparing one takes on its way, for every thread that prepares. What
is left of the memory holds so many forms. If not those of all items, most of the room is for a
block of items and the rest for a few of the others at a time, which pass by: of M items, H held,
between M² / 2 H and M² / 1.5 H are prepared.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

Pairs = list[tuple[Any, Any]]


def give_back() -> None:
    """Returns freed memory to the system, of which glibc keeps some for every thread.

    Arrays of up to 32 MB are of that kind; where the C library is another one, nothing happens.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return


class Room(NamedTuple):
    """What the memory allows."""

    forms: int
    """That are held together, two at least."""
    at_once: int
    """Items that are prepared at a time, one at least."""

    @classmethod
    def of(cls, memory: int, form: int, work: int, threads: int) -> "Room":
        """Returns the room of so many bytes.

        Args:
            memory: that all of it may take.
            form: bytes of the largest prepared form.
            work: bytes that preparing takes on its way, at most.
            threads: that could prepare at a time.
        """
        most = (memory - 2 * form) // work if work else threads
        at_once = int(max(1, min(threads, most)))
        return cls(int(max(2, (memory - at_once * work) // form)), at_once)


class Group(NamedTuple):
    """Pairs that are compared while the same forms are held."""

    pairs: Pairs
    items: dict[str, Any]
    """Those of the pairs, by hash."""
    kept: set[str]
    """Hashes of what is held for groups that come after it."""


def groups_of(missing: Sequence[tuple[Any, Any]], forms: int, threads: int = 1) -> list[Group]:
    """Returns all pairs in groups, of which each holds at most so many forms.

    Args:
        missing: the pairs.
        forms: that there is room for.
        threads: to which those that pass by at a time give work.
    """
    items = {item.hash: item for pair in missing for item in pair}
    if len(items) <= forms:
        return [Group(list(missing), items, set())]
    passing = max(1, min(forms // 4, max(4, threads)))
    size = forms - passing
    place = {key: number for number, key in enumerate(items)}
    found: dict[tuple[int, int], Pairs] = {}
    for x, y in missing:
        low, high = sorted((place[x.hash], place[y.hash]))
        # the last ones pass first: the next block then begins with what is still held
        later = 0 if high // size == low // size else len(items) - high // passing
        found.setdefault((low // size, later), []).append((x, y))
    groups: list[Group] = []
    needed: dict[int, set[str]] = {}
    for block, later in sorted(found, reverse=True):
        pairs = found[block, later]
        own = {item.hash: item for pair in pairs for item in pair}
        after = needed.setdefault(block, set())
        groups.append(Group(pairs, own, set(after)))
        after.update(key for key in own if place[key] // size == block)
    return groups[::-1]
