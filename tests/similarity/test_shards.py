"""Pairs dealt to several jobs: the table of one job to the byte, whatever happens on the way."""

import itertools
import shutil
from collections import Counter

import pytest
from test_similarity import SPEC, make, make_features
from test_wanted import KNN, REGRESSION, SETS

from consilience.errors import DataError
from consilience.files import read_table
from consilience.metrics import get_metric
from consilience.similarity import Engine, Item, Task, make_shard, make_similarity, task
from consilience.similarity.engine.blocks import all_pairs
from consilience.similarity.shards import deal, folder_of

PROCRUSTES = {**SPEC, "metric": "procrustes", "parameters": {}}
DRAWN = {**PROCRUSTES, "permutations": 9}


def shard(manifest, folder, number, shards=4, spec=PROCRUSTES, **options):
    """Runs one job; returns its record and how many pairs it computed."""
    record = folder / f"{number}.parquet"
    make_shard(
        manifest, record, dataset="d", metric_id="m", spec=spec, shard=number, shards=shards,
        store=folder / "m.parquet", **options,
    )  # fmt: skip
    return record, int(read_table(record)["computed"].iloc[0])


def shard_all(manifest, folder, shards=4, **options):
    made = [shard(manifest, folder, n, shards, **options) for n in range(1, shards + 1)]
    return [record for record, _ in made], sum(count for _, count in made)


@pytest.fixture
def manifest(tmp_path):
    return make_features(tmp_path / "f", "abcdef")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "s").mkdir()
    return tmp_path / "s"


@pytest.mark.parametrize("metric", ["procrustes", "pwcca"])
@pytest.mark.parametrize(("count", "shards"), [(1, 2), (7, 4), (30, 10), (30, 1)])
def test_every_pair_is_in_one_shard(metric, count, shards):
    items = [Item(f"m{i}", "", (4, 2), f"{i * 7 % 31:03}", {}) for i in range(count)]
    work = Task(get_metric(metric))
    pairs = all_pairs(items, symmetric=work.metric.facts.symmetric)
    dealt = [deal(pairs, work, number, shards) for number in range(1, shards + 1)]
    keys = Counter((x.hash, y.hash) for own in dealt for x, y in own)
    assert set(keys.values()) == {1} and len(keys) == len(pairs)
    sizes = [len(own) for own in dealt]
    assert max(sizes) - min(sizes) <= 1
    if shards == 10:  # of 30 items, in blocks of 6
        assert max(len({i.hash for both in own for i in both}) for own in dealt) <= 4 * 6
    same = deal(pairs[::-1], work, 1, shards)
    assert [(x.hash, y.hash) for x, y in same] == [(x.hash, y.hash) for x, y in dealt[0]]


@pytest.mark.parametrize(
    ("spec", "pairs"),
    [(PROCRUSTES, None), (DRAWN, SETS), (REGRESSION, SETS), (KNN, None), (SPEC, None)],
    ids=["alone", "drawn", "ordered", "shelf", "tiled"],
)
def test_same_bytes_as_one_job(manifest, folder, tmp_path, monkeypatch, caplog, spec, pairs):
    monkeypatch.setattr(task, "TILED_SAMPLES", 1)
    alone = make(
        manifest, tmp_path / "one.parquet", tmp_path / "one_pairs.parquet", spec, pairs=pairs
    )
    records, count = shard_all(manifest, folder, spec=spec, pairs=pairs)
    caplog.set_level("INFO", logger="consilience")
    store = folder / "m.parquet"
    joined = make(manifest, tmp_path / "t.parquet", store, spec, shards=records, pairs=pairs)
    assert joined == alone
    assert f"{count} pairs: {count} reused, 0 to compute" in caplog.text
    assert "store of a shard" not in caplog.text
    assert not folder_of(store).exists()
    one, mine = (
        read_table(p).drop(columns="seconds") for p in (tmp_path / "one_pairs.parquet", store)
    )
    assert mine.equals(one)  # and what later runs find
    caplog.clear()
    assert make(manifest, tmp_path / "t.parquet", store, spec, pairs=pairs) == alone
    assert "0 to compute" in caplog.text


def test_one_more_model_and_another_run_compute_what_is_new(manifest, folder, tmp_path):
    records, count = shard_all(manifest, folder)
    assert count == 8 * 9 / 2
    make(manifest, tmp_path / "t.parquet", folder / "m.parquet", PROCRUSTES, shards=records)
    assert shard_all(manifest, folder)[1] == 0 and not folder_of(folder / "m.parquet").exists()
    more = make_features(tmp_path / "f", "abcdefg")
    assert shard_all(more, folder, shards=3)[1] == 9
    assert shard_all(more, folder, shards=5)[1] == 0  # in stores of the deal before


def test_what_a_killed_job_saved_is_not_computed_again(manifest, folder, monkeypatch):
    compare = type(get_metric("procrustes")).compare
    calls = itertools.count()

    def killed(self, a, b):
        if next(calls) == 20:
            raise KeyboardInterrupt
        return compare(self, a, b)

    monkeypatch.setattr(type(get_metric("procrustes")), "compare", killed)
    with pytest.raises(KeyboardInterrupt):
        shard(manifest, folder, 1, shards=1, engine=Engine(checkpoint=0))
    monkeypatch.undo()
    assert not (folder / "1.parquet").exists()
    assert shard(manifest, folder, 1, shards=1)[1] == 36 - 16  # it saves every 16


def spoil(folder, what):
    stores = folder_of(folder / "m.parquet")
    first, second = stores / "1.parquet", stores / "2.parquet"
    if what == "lost":
        first.unlink()
    elif what == "damaged":
        first.write_bytes(first.read_bytes()[:-9])
    elif what == "twice":
        shutil.copy(second, first)
    else:
        first.rename(stores / "x"), second.rename(first), (stores / "x").rename(second)


@pytest.mark.parametrize(
    ("what", "left"), [("lost", 9), ("damaged", 9), ("twice", 9), ("exchanged", 0)]
)
def test_stores_that_are_not_what_they_were(manifest, folder, tmp_path, caplog, what, left):
    """Outcomes are found by what they are of: what is missing is computed, and said."""
    alone = make(manifest, tmp_path / "one.parquet", None, PROCRUSTES)
    records, _ = shard_all(manifest, folder)
    spoil(folder, what)
    store = folder / "m.parquet"
    assert make(manifest, tmp_path / "t.parquet", store, PROCRUSTES, shards=records) == alone
    assert (f"{left} of 36 pairs are in no store of a shard" in caplog.text) == (left > 0)


def test_a_store_of_another_metric_gives_nothing(manifest, folder, tmp_path, caplog):
    other = {**SPEC, "metric": "aligned_cosine", "parameters": {}}
    records, _ = shard_all(manifest, folder)
    (tmp_path / "o").mkdir()
    shard_all(manifest, tmp_path / "o", spec=other)
    for number in range(1, 5):
        path = folder_of(tmp_path / "o" / "m.parquet") / f"{number}.parquet"
        shutil.copy(path, folder_of(folder / "m.parquet") / path.name)
    alone = make(manifest, tmp_path / "one.parquet", None, PROCRUSTES)
    store = folder / "m.parquet"
    assert make(manifest, tmp_path / "t.parquet", store, PROCRUSTES, shards=records) == alone
    assert "36 of 36 pairs are in no store of a shard" in caplog.text


@pytest.mark.parametrize("what", ["exchanged", "of another number", "of another metric"])
def test_records_of_other_shards_are_refused(manifest, folder, tmp_path, what):
    records, _ = shard_all(manifest, folder)
    reason = r"is of shard 1 of 4, and would be taken for shard 2 of 4.*delete it"
    if what == "exchanged":
        records[0], records[1] = records[1], records[0]
        reason = r"is of shard 2 of 4, and would be taken for shard 1 of 4.*delete it"
    elif what == "of another number":
        records[1] = shard(manifest, folder, 2, shards=3)[0]
        reason = reason.replace("shard 1 of 4, and", "shard 2 of 3, and")
    metric = "other" if what == "of another metric" else "m"
    reason = "is of metric 'm', and would be taken for that of 'other'" if metric != "m" else reason
    with pytest.raises(DataError, match=reason):
        make_similarity(
            manifest, tmp_path / "t.parquet", dataset="d", metric_id=metric, spec=PROCRUSTES,
            store=folder / "m.parquet", shards=records,
        )  # fmt: skip


def test_a_fresh_table_takes_fresh_shards_alone(manifest, folder, tmp_path, caplog):
    def table(**options):
        caplog.clear()
        return make(manifest, tmp_path / "t.parquet", folder / "m.parquet", PROCRUSTES, **options)

    records, _ = shard_all(manifest, folder)
    first = table(shards=records)
    assert shard_all(manifest, folder)[1] == 0
    records, count = shard_all(manifest, folder, fresh=True)
    assert count == 36
    assert table(shards=records, fresh=True) == first and not caplog.text
    shard_all(manifest, folder, fresh=True)
    records[0], count = shard(manifest, folder, 1)  # by itself: it finds what is known
    assert count == 0
    assert table(shards=records, fresh=True) == first
    assert "9 of 36 pairs are in no store of a shard" in caplog.text
    assert "or not made with `fresh`" in caplog.text
