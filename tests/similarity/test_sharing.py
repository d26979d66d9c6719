"""Metrics that share products or lists: the same values as alone, and nothing is made twice."""

import numpy as np
import pytest
from test_similarity import SPEC, make, make_features

from consilience.features import reading
from consilience.files import read_table
from consilience.metrics import get_metric
from consilience.similarity import Engine, make_shared, pairwise, pairwise_many, sharing_of, task
from consilience.similarity import items as items_module

NEAR = {
    "mutual": ("mutual_knn", {"k": 5}),
    "more": ("mutual_knn", {"k": 0.2}),
    "order": ("lcs_knn", {"k": 12}),
    "edits": ("edit_knn", {"k": 7}),
    "cycle": ("cycle_knn", {"k": 3}),
    "ranks": ("rank_knn", {"k": 5}),
    "euclidean": ("jaccard_knn", {"k": 5, "distance": "euclidean"}),
    "others": ("lcs_knn", {"k": 4, "distance": "euclidean"}),
    "too_many": ("lcs_knn", {"k": 60}),
    "kernel": ("cka", {}),
}
KNN = {**SPEC, "metric": "mutual_knn", "parameters": {"k": 4}}
LCS = {**SPEC, "metric": "lcs_knn", "parameters": {"k": 6}}


@pytest.mark.parametrize("n", [60, 2100])
@pytest.mark.parametrize("memory", [10**9, 1])
def test_metrics_of_shared_lists_have_the_values_they_have_alone(n, memory):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(n, 8))
    x = {name: common + rng.normal(size=(n, 8)) for name in "abc"}
    x["ties"] = np.round(x["a"])
    x["flat"] = np.ones((n, 3))
    metrics = {id_: get_metric(name, **given) for id_, (name, given) in NEAR.items()}
    tables = pairwise_many(metrics, x, engine=Engine(threads=2, max_memory=memory))
    for id_, metric in metrics.items():
        assert tables[id_].equals(pairwise(metric, x)), id_
    assert tables["mutual"]["value"].notna().any()
    assert tables["mutual"]["failure"].notna().any()
    assert (tables["too_many"]["value"].isna().all()) == (n == 60)


def test_what_shares_is_known_by_products_distance_layers_and_preprocessing():
    def spec(metric, layers="all", center=False, **parameters):
        before = {"row_normalize": True, "center": center}
        return {"metric": metric, "parameters": parameters, "preprocessing": before,
                "layers": layers, "permutations": 0}  # fmt: skip

    found = sharing_of(
        {
            "knn": spec("mutual_knn", k=3),
            "lcs": spec("lcs_knn", k=4),
            "last": spec("edit_knn", layers="last"),
            "far": spec("edit_knn", distance="euclidean"),
            "narrow": spec("cka", kernel="rbf", sigma=0.2),
            "wide": spec("cka", kernel="rbf", sigma=0.4),
            "median": spec("cka", kernel="rbf"),
            "linear": spec("cka"),
            "centred": spec("cka", center=True, estimator="biased"),
            "rsa": spec("rsa"),
        }
    )
    assert sorted(map(sorted, found.values())) == [["knn", "lcs"], ["narrow", "wide"]]
    assert {base.split("-")[0] for base in found} == {"neighbors_cosine", "distances"}


def fill(manifest, folder, specs, **options):
    stores = {id_: folder / f"{id_}.pairs.parquet" for id_ in specs}
    out = folder / "shared.parquet"
    make_shared(manifest, out, dataset="d", specs=specs, stores=stores, **options)
    table = read_table(out)
    return dict(zip(table["metric"], table["computed"], strict=True)), stores


@pytest.fixture
def read(monkeypatch):
    """Notes which layers are read."""
    seen = []

    def noted(path, layer, rows=None):
        seen.append(f"{path.stem}{layer}")
        return reading.read_layer(path, layer, rows)

    monkeypatch.setattr(items_module, "read_layer", noted)
    return seen


def test_tables_after_sharing_are_those_without_and_compute_nothing(tmp_path, read):
    manifest = make_features(tmp_path / "f", "abc")
    specs = {"knn": KNN, "lcs": LCS}
    computed, stores = fill(manifest, tmp_path, specs)
    assert computed == {"knn": 15, "lcs": 15}  # five layers
    assert len(read) == 5 + 3  # each once for both, and the last of each model to look for copies
    read.clear()
    together = {id_: make(manifest, tmp_path / "t", stores[id_], specs[id_]) for id_ in specs}
    assert read == []
    alone = {id_: make(manifest, tmp_path / "t", None, specs[id_]) for id_ in specs}
    assert together == alone


def test_one_more_model_or_metric_makes_itself_alone(tmp_path, read):
    specs = {"knn": KNN, "lcs": LCS}
    fill(make_features(tmp_path / "f", "bc"), tmp_path, specs)
    read.clear()
    manifest = make_features(tmp_path / "f", "bcd")
    assert fill(manifest, tmp_path, specs)[0] == {"knn": 3, "lcs": 3}
    assert read == ["dlast"]  # other lists were kept
    read.clear()
    edit = {**LCS, "metric": "edit_knn"}
    assert fill(manifest, tmp_path, specs | {"edit": edit})[0] == {"knn": 0, "lcs": 0, "edit": 6}
    assert read == []
    assert fill(manifest, tmp_path, specs)[0] == {"knn": 0, "lcs": 0}
    assert fill(manifest, tmp_path, specs, fresh=True)[0] == {"knn": 6, "lcs": 6}


def test_kernels_share_a_pass_where_there_are_samples_enough(tmp_path, monkeypatch):
    manifest = make_features(tmp_path / "f", "bcd")
    specs = {"a": SPEC, "b": {**SPEC, "parameters": {"kernel": "rbf", "sigma": 0.2}}}
    computed, _ = fill(manifest, tmp_path, specs)
    assert computed == {"a": 0, "b": 0}  # each does its own
    monkeypatch.setattr(task, "TILED_SAMPLES", 1)
    computed, stores = fill(manifest, tmp_path, specs)
    assert computed == {"a": 6, "b": 6}
    for id_, spec in specs.items():
        found = make(manifest, tmp_path / "t", stores[id_], spec)
        assert found == make(manifest, tmp_path / "t", None, spec)
