"""Neighbour lists and ranks kept between runs: one more model, and nothing else is made again."""

import numpy as np
import pandas as pd
import pytest

from consilience.features import content_hash
from consilience.metrics import get_metric
from consilience.similarity import Engine, Item, Task, similarity_table, task
from consilience.similarity.engine import tiles

METRICS = [
    ("mutual_knn", {"k": 5}),
    ("lcs_knn", {"k": 5}),
    ("cknna", {"k": 5}),
    ("rsa", {"compare": "spearman"}),
]


@pytest.fixture(autouse=True)
def always_tiled(monkeypatch):
    monkeypatch.setattr(task, "TILED_SAMPLES", 1)


def make_items(names, loaded, *, n=150):
    """Items of seeded features that note in `loaded` whose features are asked for."""
    items = []
    for name in names:
        x = np.random.default_rng(ord(name)).normal(size=(n, 12)).astype(np.float32)

        def load(name=name, x=x):
            loaded.append(name)
            return x

        items.append(Item(name, "layer", x.shape, content_hash(x), {"features": load}))
    return items


def table(metric, names, store=None, *, loaded=None, fresh=False, **options):
    work = Task(metric, null="closed_form" if metric.has_closed_form else None)
    items = make_items(names, [] if loaded is None else loaded)
    opened = work.open_store(store, fresh=fresh)
    return similarity_table(work, items, Engine(threads=2, **options), opened)


@pytest.mark.parametrize(("name", "parameters"), METRICS)
def test_one_more_model_makes_itself_alone(name, parameters, tmp_path):
    metric, store, loaded = get_metric(name, **parameters), tmp_path / "m.parquet", []
    table(metric, "abc", store)
    found = table(metric, "abcd", store, loaded=loaded)
    assert loaded == ["d"]
    pd.testing.assert_frame_equal(found, table(metric, "abcd"), check_exact=True)


@pytest.mark.parametrize(("name", "parameters"), [METRICS[0], METRICS[3]])
def test_what_is_damaged_is_made_again(name, parameters, tmp_path):
    metric, store = get_metric(name, **parameters), tmp_path / "m.parquet"
    for pattern in ("*.safetensors", "*.steps"):
        table(metric, "abc", store)
        for path in (tmp_path / "m").rglob(pattern):
            content = bytearray(path.read_bytes())
            content[-3] ^= 1
            path.write_bytes(content)
            break
        else:
            continue
        loaded = []
        found = table(metric, "abcd", store, loaded=loaded)
        assert sorted(loaded)[-1] == "d"
        assert len(loaded) == 2
        pd.testing.assert_frame_equal(found, table(metric, "abcd"), check_exact=True)
        table(metric, "abc", store, fresh=True)


def test_only_what_fits_is_kept(tmp_path):
    metric, store = get_metric("rsa"), tmp_path / "m.parquet"
    for shelf, kept in ((0, 0), (100_000, 2)):  # 150 x 150 ranks of 2 bytes
        found = table(metric, "abc", store, fresh=True, shelf=shelf)
        assert len(list(tmp_path.rglob("*.steps"))) == kept
        pd.testing.assert_frame_equal(found, table(metric, "abc"), check_exact=True)


def test_other_parameters_and_fresh_runs_start_anew(tmp_path):
    store = tmp_path / "m.parquet"
    table(get_metric("mutual_knn", k=5), "ab", store)
    loaded = []
    table(get_metric("mutual_knn", k=6), "ab", store, loaded=loaded)
    assert sorted(loaded) == ["a", "b"]
    assert len(list((tmp_path / "m").iterdir())) == 1
    loaded.clear()
    table(get_metric("mutual_knn", k=6), "ab", store, loaded=loaded, fresh=True)
    assert sorted(loaded) == ["a", "b"]


def test_memory_does_not_change_ranks(tmp_path):
    metric = get_metric("rsa")
    plain = table(metric, "abc")
    tight = table(metric, "abc", max_memory=1, scratch=str(tmp_path))
    pd.testing.assert_frame_equal(plain, tight, check_exact=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("alike", [True, False])
def test_one_of_many_new_models_multiplies_itself_alone(alike, tmp_path, monkeypatch):
    """With all others, or, where BLAS sums that in another order, all with all once more."""
    metric, names, asked = get_metric("rsa"), "abcdefghij", []
    parts = tiles._parts

    class Other(tiles.Part):
        def product(self, entries):
            if self.others is not None and not alike:
                self._alike[entries.shape[1]] = False
            return super().product(entries)

    def noted(squares, new, count, kernels):
        asked.append(list(new))
        return parts(squares, new, count, kernels)

    monkeypatch.setattr(tiles, "_parts", noted)
    monkeypatch.setattr(tiles, "Part", Other)
    whole, store = table(metric, names), tmp_path / "m.parquet"
    table(metric, names[:-1], store)
    found = table(metric, names, store)
    assert [len(new) for new in asked] == [0, 0, 1]
    pd.testing.assert_frame_equal(found, whole, check_exact=True)


@pytest.mark.parametrize("count", [2, 9, 30])
@pytest.mark.parametrize("length", [1, 7, 300, 16_384])
def test_few_rows_have_the_products_of_all(count, length):
    """Whatever BLAS does with stretches of that length and so many rows, to the last bit."""
    rng = np.random.default_rng(0)
    part = tiles.Part(slice(None), np.array([1] * tiles.LEAST_OTHERS), np.zeros(0))
    for _ in range(3):
        entries = rng.normal(size=(count, length)).astype(np.float32)
        assert np.array_equal(part.product(entries)[:, 0], (entries @ entries.T)[:, 1])


def test_pairs_of_known_models_are_found_again(tmp_path):
    """A store that was lost, beside a shelf that was not: no new model, and all pairs wanted."""
    metric, store, loaded = get_metric("rsa"), tmp_path / "m.parquet", []
    whole = table(metric, "abcdefgh", store)
    store.unlink()
    found = table(metric, "abcdefgh", store, loaded=loaded)
    assert loaded == []
    pd.testing.assert_frame_equal(found, whole, check_exact=True)


def test_what_the_shelf_does_not_hold_is_told(tmp_path, caplog):
    caplog.set_level("INFO", logger="consilience")
    table(get_metric("rsa"), "abc", tmp_path / "m.parquet", shelf=100_000)
    assert "the ranks of 1 of 3 models are not kept" in caplog.text
    assert "similarity.shelf_mb: 1 would hold all" in caplog.text
