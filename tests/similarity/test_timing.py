"""What pairs cost: measured where they are computed, kept with them, and no part of a table."""

import time

import numpy as np
import pytest
from test_sharing import LCS, fill
from test_similarity import SPEC, make, make_features

from consilience.files import read_table
from consilience.metrics import get_metric
from consilience.similarity import Engine, task
from consilience.similarity.engine.timing import ItemTimes, in_equal_parts, timed, without_loading
from consilience.similarity.store import PairStore, read_seconds

KNN = {**SPEC, "metric": "mutual_knn", "parameters": {"k": 4}}


class Named:
    def __init__(self, name):
        self.hash = name


A, B, C = map(Named, "abc")


def busy(seconds):
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass
    return seconds


def test_a_thread_is_timed_by_its_own_work():
    assert timed(busy)(0.02) == (0.02, pytest.approx(0.02, abs=0.005))
    assert timed(time.sleep)(0.05)[1] < 0.01


def test_the_first_calls_are_not_blamed_for_loading():
    assert without_loading([0.9, 0.2, 0.1]) == [0.2, 0.2, 0.1]
    assert without_loading([0.9]) == [0.9] and without_loading([]) == []


def test_preparing_is_divided_among_the_pairs_of_an_item():
    """a is in two pairs, b in two, c in two: sums are those of all work."""
    times = ItemTimes([(A, B), (A, C), (B, C)], first=False)
    times.prepared(["a", "b", "c"], [(None, 2.0), (None, 4.0), (None, 6.0)])
    found = times.compared([("a", "b"), ("a", "c"), ("b", "c")], [1.0, 1.0, 5.0])
    assert found == {("a", "b"): 1 + 1 + 2, ("a", "c"): 1 + 1 + 3, ("b", "c"): 5 + 2 + 3}
    assert sum(found.values()) == 2 + 4 + 6 + 1 + 1 + 5
    assert in_equal_parts(6.0, [(A, B), (A, C)]) == {("a", "b"): 3.0, ("a", "c"): 3.0}


def seconds_of(table, store):
    found = read_table(table)
    known = read_seconds(store, found.attrs["store"])
    return found, known


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("spec", [SPEC, KNN], ids=lambda spec: spec["metric"])
def test_times_are_kept_with_the_pairs(tmp_path, monkeypatch, spec, tiled):
    monkeypatch.setattr(task, "TILED_SAMPLES", 1 if tiled else 2048)
    manifest, store = make_features(tmp_path / "f", "abcd"), tmp_path / "p.parquet"
    first = make(manifest, tmp_path / "t.parquet", store, spec)
    table, known = seconds_of(tmp_path / "t.parquet", store)
    assert len(known) == len(table) == 21 and all(value >= 0 for value in known.values())
    assert sum(known.values()) > 0 and "seconds" not in table
    make_features(tmp_path / "f", "abcde")
    make(manifest, tmp_path / "t.parquet", store, spec)
    _, later = seconds_of(tmp_path / "t.parquet", store)
    assert len(later) == 28 and known.items() <= later.items()
    make_features(tmp_path / "f", "abcd")
    assert make(manifest, tmp_path / "t.parquet", store, spec) == first


def test_slow_metrics_cost_what_they_take(tmp_path, monkeypatch):
    cls = type(get_metric("cka"))
    for name, taken in (("prepare", 0.03), ("compare", 0.01)):
        original = getattr(cls, name)

        def slow(self, *args, original=original, taken=taken):
            busy(taken)
            return original(self, *args)

        monkeypatch.setattr(cls, name, slow)
    store = tmp_path / "p.parquet"
    make(make_features(tmp_path / "f", "bcde"), tmp_path / "t.parquet", store,
         engine=Engine(threads=2))  # fmt: skip
    _, known = seconds_of(tmp_path / "t.parquet", store)
    assert sum(known.values()) == pytest.approx(4 * 0.03 + 10 * 0.01, rel=0.3)
    assert np.ptp(list(known.values())) < 0.02


def test_shared_lists_count_for_each_metric_in_parts(tmp_path, monkeypatch):
    cls = type(get_metric("mutual_knn"))
    original = cls.lists

    def slow(self, *args):
        busy(0.04)
        return original(self, *args)

    for name in ("mutual_knn", "lcs_knn"):
        monkeypatch.setattr(type(get_metric(name)), "lists", slow)
    manifest = make_features(tmp_path / "f", "bcd")
    _, stores = fill(manifest, tmp_path, {"knn": KNN, "lcs": LCS})
    for store in stores.values():
        spent = read_table(store)["seconds"].sum()
        assert spent == pytest.approx(3 * 0.04 / 2, rel=0.3)
    edit = {**LCS, "metric": "edit_knn"}  # its lists were kept: it counts a third of them
    _, stores = fill(manifest, tmp_path, {"knn": KNN, "lcs": LCS, "edit": edit})
    assert read_table(stores["edit"])["seconds"].sum() == pytest.approx(3 * 0.04 / 3, rel=0.4)


def test_a_store_that_is_not_there_knows_no_times(tmp_path):
    assert read_seconds(tmp_path / "no.parquet", "s") == {}
    (tmp_path / "odd.parquet").write_text("odd")
    assert read_seconds(tmp_path / "odd.parquet", "s") == {}
    assert PairStore(None, "s", "c").seconds == {}
