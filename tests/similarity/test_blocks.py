"""The loop over pairs: what is prepared when, what is kept, and what a killed run has."""

from dataclasses import dataclass
from typing import NamedTuple

import pytest

from consilience.errors import MetricError
from consilience.files import read_table
from consilience.metrics import Preprocessing, get_metric
from consilience.similarity import Engine
from consilience.similarity.engine.blocks import ByPairs, fill_by_pairs, missing_pairs
from consilience.similarity.store import PairStore, RowsStore


@dataclass(frozen=True)
class Number:
    hash: str
    value: int = 1


class Line(NamedTuple):
    name: str
    value: float | None = None


class LinesStore(RowsStore):
    row = Line
    types = {"name": "string", "value": "float64"}  # noqa: RUF012


NUMBERS = [Number(str(i), i) for i in range(5)]
PAIRS = [(x, y) for x in NUMBERS for y in NUMBERS if x.value <= y.value]


def opened(path, given=None, cls=LinesStore):
    return cls.open(path, get_metric("cka"), Preprocessing(), given)


def doubled(x, y):
    return [Line("sum", x + y), Line("product", x * y)]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("room", [0, 4, 100])
def test_memory_and_threads_change_how_often_is_prepared_and_no_outcome(threads, room):
    prepared = []
    how = ByPairs(lambda i: prepared.append(i) or i.value, doubled, lambda i: 1)
    store = opened(None)
    fill_by_pairs(store, PAIRS, how, Engine(threads=threads, max_memory=room))
    assert store.outcomes == {(x.hash, y.hash): doubled(x.value, y.value) for x, y in PAIRS}
    assert len(prepared) == 5 if room == 100 else len(prepared) > 5


def test_outcomes_of_several_rows_are_found_again_in_their_order(tmp_path):
    store = opened(tmp_path / "s.parquet")
    how = ByPairs(lambda i: i.value, doubled, lambda i: 1)
    fill_by_pairs(store, PAIRS[:4], how, Engine())
    again = opened(tmp_path / "s.parquet")
    assert again.outcomes == store.outcomes
    assert missing_pairs(again, PAIRS) == PAIRS[4:]
    other = opened(tmp_path / "s.parquet", {"seed": 1})
    assert not other.outcomes
    fill_by_pairs(other, PAIRS[:1], how, Engine())
    assert opened(tmp_path / "s.parquet").outcomes == store.outcomes  # kept beside the others
    assert len(read_table(tmp_path / "s.parquet")) == 2 * 5


def test_a_killed_run_has_what_was_written_last(tmp_path):
    calls = []

    def compare(x, y):
        calls.append((x, y))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return doubled(x, y)

    how = ByPairs(lambda i: i.value, compare, lambda i: 1, batch=1)
    with pytest.raises(KeyboardInterrupt):
        fill_by_pairs(opened(tmp_path / "s.parquet"), PAIRS, how, Engine(checkpoint=-1.0))
    assert len(opened(tmp_path / "s.parquet").outcomes) == 3


def test_what_cannot_be_prepared_reaches_the_comparison():
    def prepare(number):
        return MetricError("odd") if number.value % 2 else number.value

    def compare(x, y):
        return [Line("failed" if MetricError in (type(x), type(y)) else "fine")]

    store = opened(None)
    fill_by_pairs(store, PAIRS, ByPairs(prepare, compare, lambda i: 1), Engine())
    assert store.outcomes["0", "1"] == [Line("failed")]
    assert store.outcomes["0", "2"] == [Line("fine")]


def test_the_code_of_each_kind_of_outcome_is_its_own(tmp_path):
    class Other(LinesStore):
        made_by = (*LinesStore.made_by, "consilience.alignment.table")

    assert opened(None).code != opened(None, cls=Other).code
    assert opened(None).code == opened(None, cls=PairStore).code
