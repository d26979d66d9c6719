"""All pairs: values, order, reuse, interruption, failures."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from consilience.errors import ConfigError, FeaturesError, MetricError
from consilience.features import write_features, write_manifest
from consilience.files import read_table
from consilience.metrics import Metric, Preprocessing, get_metric, metric_code
from consilience.similarity import Engine, Task, make_similarity, pairwise, task

ROOT = Path(__file__).parents[2]
SPEC = {
    "metric": "cka",
    "parameters": {"kernel": "rbf", "sigma": 0.4},
    "preprocessing": {"row_normalize": True, "center": False},
    "layers": "all",
    "permutations": 0,
}


def make_features(folder, names="abcdef", n=50, samples_hash="s" * 64):
    """Writes features of several models, the first with three layers, and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in names:
        rng = np.random.default_rng(ord(name))
        layers = ["0", "3", "6"] if name == "a" else ["last"]
        features = {layer: rng.normal(size=(n, 8 + ord(name) % 5)) for layer in layers}
        features = {k: v.astype(np.float32) for k, v in features.items()}
        header = {"model": {"model": name}, "dataset": "d", "samples_hash": samples_hash}
        paths.append(folder / f"{name}.safetensors")
        write_features(paths[-1], features, header, [f"id{i}" for i in range(n)])
    write_manifest(paths, folder / "manifest.parquet")
    return folder / "manifest.parquet"


def make(manifest, out, store=None, spec=SPEC, **changes):
    make_similarity(manifest, out, dataset="d", metric_id="m", spec=spec, store=store, **changes)
    return out.read_bytes()


@pytest.fixture
def computed(monkeypatch):
    """Counts comparisons and preparations."""
    counts = {"compare": 0, "prepare": 0}
    for name in counts:
        cls = type(get_metric("cka")) if name == "prepare" else type(get_metric("cka")).__mro__[1]
        original = getattr(cls, name)

        def counted(self, *args, original=original, name=name):
            counts[name] += 1
            return original(self, *args)

        monkeypatch.setattr(cls, name, counted)
    return counts


def test_values_are_those_of_the_metric():
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(30, 5)) for name in "cab"}
    table = pairwise(get_metric("rsa"), x)
    assert [*zip(table.model_x, table.model_y, strict=True)] == [
        ("a", "a"), ("a", "b"), ("a", "c"), ("b", "b"), ("b", "c"), ("c", "c"),
    ]  # fmt: skip
    for row in table.itertuples():
        assert row.value == pytest.approx(get_metric("rsa")(x[row.model_x], x[row.model_y]))
    assert table.failure.isna().all()


def test_files_and_arrays_give_the_same(tmp_path):
    make_features(tmp_path, "ab")
    from_files = pairwise(get_metric("cka"), {m: tmp_path / f"{m}.safetensors" for m in "ab"})
    assert from_files[["layer_x", "layer_y"]].to_numpy().tolist() == [
        ["0", "0"], ["0", "3"], ["0", "6"], ["0", "last"], ["3", "3"], ["3", "6"], ["3", "last"],
        ["6", "6"], ["6", "last"], ["last", "last"],
    ]  # fmt: skip
    assert from_files.value.between(-1, 1 + 1e-12).all()


def test_asymmetric_metrics_have_both_orders():
    class Asymmetric(Metric):
        class_facts = type(get_metric("cka")).class_facts.__class__(
            **{**vars(get_metric("cka").facts), "symmetric": False}
        )

        def prepare(self, x):
            return x

        def compare(self, a, b):
            return float(a[0, 0] - 2 * b[0, 0])

    x = {"a": np.array([[1.0, 2], [3, 4]]), "b": np.array([[5.0, 2], [3, 4]])}
    table = pairwise(Asymmetric(), x)
    assert table.value.tolist() == [-1.0, -9.0, 3.0, -5.0]


def test_preprocessing_is_applied_in_order():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 6)) + 3
    y = rng.normal(size=(40, 4)) - 1
    metric = get_metric("mutual_knn", k=3, distance="inner_product")

    def prepared(a, center, normalize):
        a = a - a.mean(axis=0) if center else a
        return a / np.linalg.norm(a, axis=1, keepdims=True) if normalize else a

    for center in (False, True):
        for normalize in (False, True):
            settings = Preprocessing(center=center, row_normalize=normalize)
            found = pairwise(metric, {"x": x, "y": y}, preprocessing=settings).value[1]
            expected = metric(prepared(x, center, normalize), prepared(y, center, normalize))
            assert found == expected


@pytest.mark.parametrize("spec", [SPEC, {**SPEC, "metric": "mutual_knn", "parameters": {"k": 4}}])
def test_bytes_do_not_depend_on_threads_memory_order_or_history(tmp_path, spec):
    manifest = make_features(tmp_path / "f")
    store = tmp_path / "pairs.parquet"
    fresh = make(manifest, tmp_path / "fresh.parquet", spec=spec)
    assert make(manifest, tmp_path / "t.parquet", spec=spec, engine=Engine(threads=2)) == fresh
    small = Engine(threads=2, max_memory=1)
    assert make(manifest, tmp_path / "s.parquet", spec=spec, engine=small) == fresh
    for names in ("fb", "bcd", "abcdef"):  # models come and go
        manifest = make_features(tmp_path / "f", names)
        last = make(manifest, tmp_path / "i.parquet", store, spec=spec)
    assert last == fresh


def test_only_new_pairs_are_computed(tmp_path, computed):
    store, out = tmp_path / "pairs.parquet", tmp_path / "out.parquet"

    def pairs_computed(names, **changes):
        computed.update(compare=0, prepare=0)
        make(make_features(tmp_path / "f", names), out, store, **changes)
        return computed["compare"]

    assert pairs_computed("bcd") == 6
    assert computed["prepare"] == 3
    assert pairs_computed("bcd") == 0
    assert computed["prepare"] == 0
    assert pairs_computed("bcde") == 4  # with each of the others and with itself
    assert pairs_computed("bde") == 0  # one removed
    assert pairs_computed("bcde") == 0  # and back
    assert pairs_computed("edcb") == 0  # in another order
    other = {**SPEC, "parameters": {"kernel": "rbf", "sigma": 0.6}}
    assert pairs_computed("bcde", spec=other) == 10  # another parameter
    assert pairs_computed("bcde") == 0  # and back
    assert pairs_computed("bcde", fresh=True) == 10
    store.unlink()
    assert pairs_computed("bcde") == 10


def test_an_edit_of_the_metric_computes_all_pairs(tmp_path, computed, monkeypatch):
    store, out = tmp_path / "pairs.parquet", tmp_path / "out.parquet"
    manifest = make_features(tmp_path / "f", "bcd")
    make(manifest, out, store)
    monkeypatch.setattr("consilience.similarity.store.metric_code", lambda metric: "edited")
    computed.update(compare=0)
    make(manifest, out, store)
    assert computed["compare"] == 6


@pytest.mark.parametrize(("name", "kind"), [("cka", "torch-cpu"), ("mutual_knn", "cpu")])
def test_a_store_filled_on_a_device_gives_a_cpu_run_nothing(
    tmp_path, name, kind, monkeypatch, caplog
):
    """Known to have been wrong. Metrics that no device computes are the same everywhere."""
    monkeypatch.setattr(task, "TILED_SAMPLES", 1)
    caplog.set_level("INFO")
    manifest, store = make_features(tmp_path / "f", "bcd"), tmp_path / "pairs.parquet"
    spec, there = {**SPEC, "metric": name, "parameters": {}}, Engine(device="cpu:0")
    fresh = make(manifest, tmp_path / "fresh.parquet", spec=spec)
    first = make(manifest, tmp_path / "there.parquet", store, spec=spec, engine=there)
    assert read_table(tmp_path / "there.parquet").attrs["device"] == kind
    new = 6 if kind == "torch-cpu" else 0
    for engine, expected, count in (
        (Engine(), fresh, new),
        (there, first, 0),
        (Engine(), fresh, 0),
    ):
        caplog.clear()
        assert make(manifest, tmp_path / "out.parquet", store, spec=spec, engine=engine) == expected
        assert f"6 pairs: {6 - count} reused, {count} to compute" in caplog.text
    assert read_table(tmp_path / "out.parquet").attrs["device"] == "cpu"
    assert (first == fresh) == (kind == "cpu")


def test_a_store_is_of_one_kind_of_device(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "TILED_SAMPLES", 1)
    metric, x = get_metric("cka"), {"a": np.eye(9, 4), "b": np.eye(9, 3)}
    store = Task(metric).open_store(tmp_path / "pairs.parquet")
    with pytest.raises(ConfigError, match=r"on 'cpu', .* on 'torch-cpu'; open it with device="):
        pairwise(metric, x, store=store, engine=Engine(device="cpu:0"))
    assert Task(metric).device_kind("cuda:1", 9) == "cuda"
    assert Task(metric, null="monte_carlo").device_kind("cuda:1", 9) == "cpu"  # not tiled


def test_metric_code_sees_its_module_only(tmp_path):
    codes = {name: metric_code(get_metric(name)) for name in ("cka", "rsa", "mutual_knn")}
    assert len(set(codes.values())) == 3


def test_changed_features_are_compared_anew(tmp_path, computed):
    store, out = tmp_path / "pairs.parquet", tmp_path / "out.parquet"
    make(make_features(tmp_path / "f", "bcd"), out, store)
    x = {"b": np.eye(50, 8, dtype=np.float32) + 1}
    header = {"model": {"model": "b"}, "dataset": "d", "samples_hash": "s" * 64}
    write_features(tmp_path / "f" / "b.safetensors", x, header, [f"id{i}" for i in range(50)])
    paths = [tmp_path / "f" / f"{m}.safetensors" for m in "bcd"]
    write_manifest(paths, tmp_path / "f" / "manifest.parquet")
    computed.update(compare=0)
    make(tmp_path / "f" / "manifest.parquet", out, store)
    assert computed["compare"] == 3


def test_failed_pairs_are_recorded_with_the_reason(tmp_path, caplog):
    rng = np.random.default_rng(0)
    x = {
        "good": rng.normal(size=(20, 4)),
        "flat": np.ones((20, 4)),
        "well": rng.normal(size=(20, 4)),
    }
    table = pairwise(get_metric("cka"), x).set_index(["model_x", "model_y"])
    failed = table[table.value.isna()]
    assert {"flat" in pair for pair in failed.index} == {True}
    assert len(failed) == 3
    assert failed.failure.str.contains("constant").all()
    assert "model flat, layer features: the features are constant" in caplog.text
    assert table.value[table.failure.isna()].notna().all()


def test_failures_are_kept_in_the_store(tmp_path):
    metric = get_metric("cka")
    x = {"flat": np.ones((20, 4)), "good": np.random.default_rng(0).normal(size=(20, 4))}
    path = tmp_path / "pairs.parquet"
    first = pairwise(metric, x, store=Task(metric).open_store(path))
    again = Task(metric).open_store(path)
    assert len(again.outcomes) == 3
    assert pairwise(metric, x, store=again).equals(first)


def test_features_of_other_samples_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(FeaturesError, match="'b' has features of 11 samples, model 'a' of 10"):
        pairwise(get_metric("cka"), {"a": rng.normal(size=(10, 3)), "b": rng.normal(size=(11, 3))})


def test_nan_features_stop_with_the_model_named(tmp_path):
    x = {"a": np.ones((10, 3)), "b": np.full((10, 3), np.nan)}
    with pytest.raises(FeaturesError, match="features of model 'b' holds NaN or infinity"):
        pairwise(get_metric("cka"), x)


def test_missing_features_file(tmp_path):
    manifest = make_features(tmp_path / "f", "ab")
    (tmp_path / "f" / "b.safetensors").unlink()
    with pytest.raises(FeaturesError, match=r"b\.safetensors"):
        make(manifest, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_damaged_store_is_started_anew(tmp_path, caplog):
    manifest = make_features(tmp_path / "f", "ab")
    fresh = make(manifest, tmp_path / "fresh.parquet")
    store = tmp_path / "pairs.parquet"
    store.write_bytes(b"PAR1 not really")
    assert make(manifest, tmp_path / "out.parquet", store) == fresh
    assert "started anew" in caplog.text


def test_table_says_what_made_it(tmp_path):
    manifest = make_features(tmp_path / "f", "ab")
    make(manifest, tmp_path / "out.parquet")
    table = read_table(tmp_path / "out.parquet")
    assert list(table.columns) == [
        "dataset", "metric", "model_x", "layer_x", "model_y", "layer_y",
        "value", "null_mean", "null_sd", "z", "p", "calibrated",
        "value_units", "low_units", "high_units", "ties", "failure", "note",
        "hash_x", "hash_y",
    ]  # fmt: skip
    assert table.attrs["spec"] == SPEC
    assert table.attrs["layers"] == {"a": ["0", "3", "6"], "b": ["last"]}
    assert table.attrs["n"] == 50
    assert table.attrs["facts"]["name"] == "cka"


SLOW_RUN = """
import sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from consilience.metrics import InnerProductMetric
from consilience.similarity import Engine, make_similarity
from test_similarity import SPEC
compare = InnerProductMetric.compare
def slow(self, a, b):
    time.sleep(0.05)
    return compare(self, a, b)
InnerProductMetric.compare = slow
make_similarity({manifest!r}, {out!r}, dataset="d", metric_id="m", spec=SPEC, store={store!r},
                engine=Engine(checkpoint=0.001))
"""


def test_a_killed_job_goes_on_from_its_checkpoint(tmp_path, computed):
    """Killed without warning in the middle: the table is absent, finished pairs are not redone."""
    manifest = make_features(tmp_path / "f", "abcdefghij")
    out, store = tmp_path / "out.parquet", tmp_path / "pairs.parquet"
    code = SLOW_RUN.format(
        root=str(ROOT),
        tests=str(ROOT / "tests" / "similarity"),
        manifest=str(manifest),
        out=str(out),
        store=str(store),
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not store.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    computed.update(compare=0)
    resumed = make(manifest, out, store)
    total = 12 * 13 // 2
    assert 0 < computed["compare"] < total
    assert resumed == make(manifest, tmp_path / "fresh.parquet")


def test_metric_errors_of_a_pair_are_recorded():
    class Picky(Metric):
        class_facts = get_metric("cka").class_facts

        def prepare(self, x):
            return x

        def compare(self, a, b):
            if a is not b:
                raise MetricError("these two do not compare")
            return float("nan")

    x = {"a": np.eye(4), "b": np.eye(4) + 1}
    assert pairwise(Picky(), x).failure.tolist() == [
        "the metric gave nan", "these two do not compare", "the metric gave nan",
    ]  # fmt: skip
