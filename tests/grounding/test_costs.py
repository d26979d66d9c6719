"""The table of costs: seconds by hand from stores, and what is said of how they were measured."""

import numpy as np
import pandas as pd
import pytest

from consilience.files import read_table, write_table
from consilience.grounding import COSTS, make_costs
from consilience.results import RESULT_FILES


def put(folder, dataset, metric, pairs, seconds, *, spec="s", **facts):
    """Writes a similarity table of pairs of hashes, and a store that knows some of their times."""
    table = pd.DataFrame(pairs, columns=["hash_x", "hash_y"]).assign(value=0.5)
    path = folder / dataset / f"{metric}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path, {"store": spec, "tiled": False, "shares": False, **facts})
    rows = [(s, *key, value) for s, key, value in seconds]
    store = pd.DataFrame(rows, columns=["spec", "hash_x", "hash_y", "seconds"])
    write_table(store, folder / dataset / f"{metric}.store.parquet", {})
    return path


@pytest.fixture
def costs(tmp_path):
    one = [("s", ("a", "b"), 1.0), ("s", ("c", "a"), 3.0), ("other", ("b", "c"), 99.0)]
    paths = [
        put(tmp_path, "d", "m", [("a", "b"), ("a", "c"), ("b", "c")], one),
        put(tmp_path, "e", "m", [("x", "y")], [("s", ("x", "y"), 8.0)], tiled=True),
        put(tmp_path, "d", "k", [("a", "b")], [("s", ("a", "b"), 0.5)], shares=True),
        put(tmp_path, "e", "k", [("x", "y")], [("s", ("x", "y"), np.nan)]),
    ]
    make_costs(
        paths, tmp_path / "costs.parquet", store=f"{tmp_path}/{{dataset}}/{{metric}}.store.parquet",
        domains={"d": ["image"], "e": ["text"]}, sharers={"k": 3, "m": 2},
    )  # fmt: skip
    return read_table(tmp_path / "costs.parquet").set_index(["metric", "domain"])


def test_columns_are_explained(costs):
    assert [*costs.index.names, *costs.columns] == COSTS
    assert list(RESULT_FILES["grounding_costs"].columns) == COSTS


def test_seconds_are_means_over_timed_pairs(costs):
    """Either order of a pair is found; pairs of other parameters or without a time do not count."""
    assert costs.loc[("m", "image"), "seconds"] == 2
    assert costs.loc[("m", "all"), "seconds"] == pytest.approx((1 + 3 + 8) / 3)
    assert costs.loc[("m", "all"), ["total", "n_pairs", "n_timed"]].tolist() == [12, 4, 3]
    assert np.isnan(costs.loc[("k", "text"), "seconds"])
    assert costs.loc[("k", "text"), ["n_pairs", "n_timed"]].tolist() == [1, 0]


def test_how_it_was_measured(costs):
    assert costs["measured"].to_dict() == {
        ("m", "all"): "call, pass", ("m", "image"): "call", ("m", "text"): "pass",
        ("k", "all"): "call", ("k", "image"): "call", ("k", "text"): "",
    }  # fmt: skip
    shared = costs["shared_by"]
    assert (shared["m", "all"], shared["k", "all"], shared["k", "text"]) == (1, 3, 1)
