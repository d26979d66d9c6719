"""Some pairs of a table: which, the same values as among all, and nothing else is summed."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_similarity import SPEC, make, make_features

from consilience.files import read_table
from consilience.metrics import get_metric
from consilience.similarity import task
from consilience.similarity.engine import tiles
from consilience.similarity.engine.squares import squares_of
from consilience.similarity.engine.wanted import Wanted, pairs_of
from consilience.similarity.task import Item

ENDS = ["model_x", "layer_x", "model_y", "layer_y"]
REGRESSION = {**SPEC, "metric": "linear_regression", "parameters": {}}
KNN = {**SPEC, "metric": "mutual_knn", "parameters": {"k": 5}}
SETS = {"sets": [["a", "b", "c"], ["d", "e", "nobody"]], "layered": ["a"]}


def items(**layers):
    return [Item(model, layer, (4, 2), model + layer, {"features": None})
            for model, names in layers.items() for layer in names]  # fmt: skip


def names(pairs):
    return [tuple((item.model + item.layer) for item in pair) for pair in pairs]


def test_pairs_that_are_asked_for_by_hand():
    given = items(a="012", b="01", c="0", d="01")
    wanted = Wanted([["c", "a"], ["d", "a", "b"]], ["d", "c"])
    assert names(wanted.pairs(given, symmetric=True)) == [
        ("a2", "b1"), ("a2", "c0"), ("a2", "d1"), ("b1", "d1"), ("d0", "d1"),
    ]  # fmt: skip
    both = names(wanted.pairs(given, symmetric=False))
    assert len(both) == 10 and ("c0", "a2") in both
    assert len(pairs_of(given, None, symmetric=True)) == 8 * 9 / 2
    assert Wanted.of(None) is None and not Wanted().pairs(given, symmetric=True)


@pytest.mark.parametrize("spec", [SPEC, REGRESSION, KNN], ids=lambda spec: spec["metric"])
@pytest.mark.parametrize("tiled", [False, True])
def test_rows_are_those_of_all_pairs(tmp_path, monkeypatch, spec, tiled):
    monkeypatch.setattr(task, "TILED_SAMPLES", 1 if tiled else 2048)
    manifest = make_features(tmp_path / "f", "abcdef", n=520)
    make(manifest, tmp_path / "all.parquet", None, spec)
    make(manifest, tmp_path / "some.parquet", None, spec, pairs=SETS)
    every = read_table(tmp_path / "all.parquet").set_index(ENDS)
    some = read_table(tmp_path / "some.parquet")
    symmetric = get_metric(spec["metric"], **spec["parameters"]).facts.symmetric
    assert len(some) == (3 + 1 + 3) * (1 if symmetric else 2)  # self pairs are not asked for
    assert (some.attrs.pop("pairs"), every.attrs.pop("pairs")) == ("grounding", "all")
    assert some.attrs == every.attrs
    some = some.set_index(ENDS)
    assert some.equals(every.loc[some.index])


def test_all_after_some_computes_the_rest(tmp_path, caplog):
    manifest, store = make_features(tmp_path / "f"), tmp_path / "p.parquet"
    caplog.set_level("INFO", logger="consilience")
    some = make(manifest, tmp_path / "t.parquet", store, pairs=SETS)
    assert "7 pairs: 0 reused, 7 to compute" in caplog.text
    later = make(manifest, tmp_path / "u.parquet", store)
    assert "36 pairs: 7 reused, 29 to compute" in caplog.text
    assert later == make(manifest, tmp_path / "v.parquet")
    caplog.clear()
    assert make(manifest, tmp_path / "w.parquet", store, pairs=SETS) == some
    assert "7 pairs: 7 reused, 0 to compute" in caplog.text


def test_no_pair_at_all(tmp_path):
    manifest = make_features(tmp_path / "f", "bc")
    make(manifest, tmp_path / "t.parquet", pairs={"sets": [["b"]], "layered": ["c"]})
    table = read_table(tmp_path / "t.parquet")
    assert table.empty and table.attrs["layers"] == {"b": ["last"], "c": ["last"]}


# Squares of the tiled pass


def covered(squares):
    return {pair for own in squares for pair in itertools.product(own, repeat=2)}


def test_squares_hold_wanted_pairs_and_no_others():
    wanted = {*itertools.combinations(range(20), 2), *itertools.combinations(range(15, 40), 2)}
    wanted |= {(38, 39), (40, 40)}
    squares = squares_of(wanted, 41)
    both = wanted | {(j, i) for i, j in wanted} | {(i, i) for i in range(41)}
    assert covered(squares) == both and sorted(map(len, squares)) == [1, 20, 25]


def test_one_square_where_less_would_not_pay():
    new = [(i, 50) for i in range(51)]
    assert squares_of(new, 51) == [list(range(51))]
    every = itertools.combinations_with_replacement(range(30), 2)
    assert squares_of(every, 30) == [list(range(30))]


def test_products_do_not_depend_on_the_squares():
    """The same bits, of one model and of many, and 0 where nothing was asked for."""
    rng, n = np.random.default_rng(0), 700
    metric = get_metric("cka")
    forms = [task.Task(metric).tile_form(rng.normal(size=(n, 3 + m % 7)).astype(np.float32))
             for m in range(40)]  # fmt: skip
    models = [tiles.TileModel.of([form]) for form in forms]
    squares = [list(range(18)), list(range(12, 39)), [39]]
    with ThreadPoolExecutor(2) as pool:
        ((whole, sums),) = tiles.tiled_sums(n, models, pool)
        ((some, own),) = tiles.tiled_sums(n, models, pool, squares=squares)
    places = np.zeros((40, 40), dtype=bool)
    for square in squares:
        places[np.ix_(square, square)] = True
    assert np.array_equal(some[places], whole[places]) and not some[~places].any()
    for x, y in zip(sums, own, strict=True):
        assert np.array_equal(x.rows, y.rows) and x.squares == y.squares
