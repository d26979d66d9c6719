"""Which forms are held when: never more than the memory has room for, and no pair left out."""

import itertools
import weakref
from dataclasses import dataclass

import pytest

from consilience.similarity import Engine
from consilience.similarity.engine.blocks import ByPairs, fill_by_pairs
from consilience.similarity.engine.held import Room, groups_of
from consilience.similarity.store import Outcome


@dataclass(frozen=True)
class Number:
    hash: str


NUMBERS = [Number(f"{i:02}") for i in range(23)]
TABLES = {
    "symmetric": list(itertools.combinations_with_replacement(NUMBERS, 2)),
    "ordered": list(itertools.product(NUMBERS, repeat=2)),
    "one new": [(NUMBERS[11], other) for other in NUMBERS],
    "steps": list(itertools.pairwise(NUMBERS)),
    "nothing": [],
}


@pytest.mark.parametrize("forms", [2, 3, 4, 5, 9, 22, 23, 100])
@pytest.mark.parametrize("table", TABLES)
def test_groups_hold_each_pair_once_and_no_more_forms_than_there_is_room(table, forms):
    groups = groups_of(TABLES[table], forms)
    assert sorted(pair for group in groups for pair in map(hashes, group.pairs)) == sorted(
        map(hashes, TABLES[table])
    )
    held = set()
    for group in groups:
        assert set(group.items) == {h for pair in map(hashes, group.pairs) for h in pair}
        held = held & (set(group.items) | group.kept) | set(group.items)
        assert len(held) <= forms


def hashes(pair):
    return pair[0].hash, pair[1].hash


def test_most_of_the_room_is_held_while_the_rest_passes_by():
    """Blocks of half the room each, all with all, would take 75 preparations."""
    count, held = 0, set()
    for group in groups_of(TABLES["symmetric"], 8):
        held &= set(group.items) | group.kept
        count += len(set(group.items) - held)
        held |= set(group.items)
    assert count == 50


@pytest.mark.parametrize(
    ("memory", "room"),
    [
        (1000, (80, 2)),  # 1000 less two threads' work of 100
        (300, (10, 2)),
        (150, (5, 1)),  # one thread less
        (5, (2, 1)),  # what two forms and one thread take, at the least
    ],
)
def test_what_preparing_takes_is_taken_off_the_room(memory, room):
    assert Room.of(memory, form=10, work=100, threads=2) == room
    assert Room.of(memory, form=10, work=0, threads=2).at_once == 2


class Form:
    """Something that can be counted."""


@pytest.mark.parametrize("threads", [1, 2])
def test_forms_go_when_they_are_not_needed(threads):
    """Also those that only a list or a variable of the loop knew."""
    alive, most = weakref.WeakSet(), []

    def prepare(_):
        alive.add(form := Form())
        most.append(len(alive))
        return form

    def compare(_, __):
        return Outcome(1.0)

    class Store:
        outcomes, seconds = {}, {}

        def write(self):
            pass

    pairs = TABLES["symmetric"]
    how = ByPairs(prepare, compare, lambda _: 10)
    fill_by_pairs(Store(), pairs, how, Engine(threads=threads, max_memory=80))
    assert len(Store.outcomes) == len(pairs)
    assert max(most) == 8
