"""Metrics of several inputs: from a study's manifest to its table, and called by hand."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from consilience.config import load_study
from consilience.errors import ConfigError, FeaturesError, MetricError
from consilience.features import manifest as view_manifest
from consilience.features import read_layer, write_features, write_manifest
from consilience.files import read_table
from consilience.forms.inputs import INPUTS, Input, as_features
from consilience.metrics import METRICS, Facts, Metric, get_metric, metric
from consilience.plots.inputs import read_axis
from consilience.reliability import make_reliability
from consilience.similarity import Task, compare, make_similarity, pairwise, pairwise_many

N, D, CLASSES = 24, 5, 7
FACTS = {
    "symmetric": True,
    "bounds": (0.0, np.inf),
    "self_value": 0.0,
    "larger_is_more_similar": False,
    "is_metric": True,
    "invariant_to": set(),
    "citation": "nielsen2025",
}


@pytest.fixture
def registered(monkeypatch):
    """Registers metrics for the time of one test."""
    known = {name: METRICS[name] for name in METRICS}
    monkeypatch.setattr(METRICS, "_entries", known)

    def register(name, **facts):
        def enter(cls):
            metric(name, **{**FACTS, **facts})(dataclass(frozen=True)(cls))
            return cls

        return enter

    return register


@pytest.fixture
def residual(registered):
    """The metric `residual`: how far what features and unembedding say of logits differs."""

    @registered("residual", inputs=("features", "unembedding", "logits"))
    class Residual(Metric):
        def prepare(self, x, unembedding, logits):
            assert x.dtype == unembedding.dtype == logits.dtype == float
            return logits - x @ unembedding.T

        def compare(self, a, b):
            return float(np.abs(a - b).max())

    return get_metric("residual")


@pytest.fixture
def heads(registered):
    """The metric `heads`: of unembeddings alone."""

    @registered("heads", inputs=("unembedding",))
    class Heads(Metric):
        def prepare(self, unembedding):
            return unembedding @ unembedding.T

        def compare(self, a, b):
            return float(np.abs(a - b).max())

    return get_metric("heads")


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def tensors(seed, classes=CLASSES):
    """What one model has."""
    return {
        "features": draw(N, D, seed=seed),
        "unembedding": draw(classes, D, seed=seed),
        "logits": draw(N, classes, seed=seed),
    }


def write(folder, models, name="manifest"):
    """Writes features files, {model: tensors}, each with two layers, and the manifest."""
    folder.mkdir(exist_ok=True)
    for model, own in models.items():
        header = {"model": {"model": model}, "dataset": "d", "samples_hash": "s" * 64}
        layers = {"early": own["features"][:, :2], "late": own["features"]}
        outputs = {k: x for k, x in own.items() if k not in ("features", "unembedding")}
        write_features(
            folder / f"{model}.safetensors", layers, header, [f"id{i}" for i in range(N)],
            outputs=outputs, unembedding=own.get("unembedding"),
        )  # fmt: skip
    write_manifest(
        [folder / f"{model}.safetensors" for model in models], folder / f"{name}.parquet"
    )
    return folder / f"{name}.parquet"


def table_of(manifest, name, layers="last", **before):
    spec = {
        "metric": name,
        "parameters": {},
        "preprocessing": {"row_normalize": False, "center": False, **before},
        "layers": layers,
        "permutations": 0,
    }
    out = manifest.parent / "out" / f"{name}.parquet"
    store = manifest.parent / "out" / f"{name}_pairs.parquet"
    make_similarity(manifest, out, dataset="d", metric_id=name, spec=spec, store=store)
    return read_table(out)


def test_a_metric_of_three_inputs_goes_from_the_manifest_to_the_table(tmp_path, residual):
    models = {name: tensors(seed) for seed, name in enumerate("ab")}
    manifest = write(tmp_path / "f", models)
    table = table_of(manifest, "residual")
    assert table["layer_x"].tolist() == ["late"] * 3 and table["failure"].isna().all()
    a, b = ({k: x.astype(float) for k, x in models[m].items()} for m in "ab")
    expected = np.abs(
        (a["logits"] - a["features"] @ a["unembedding"].T)
        - (b["logits"] - b["features"] @ b["unembedding"].T)
    ).max()
    assert table["value"].tolist() == [0, expected, 0]
    assert residual(a, b) == expected
    assert pairwise(residual, {"a": a, "b": b})["value"].tolist() == [0, expected, 0]
    assert compare(Task(residual), a, b)["value"] == expected
    assert table.attrs["facts"]["inputs"] == ["features", "unembedding", "logits"]
    again = table_of(manifest, "residual")
    assert again.equals(table)


def test_preprocessing_is_of_the_features_alone(tmp_path, residual):
    models = {name: tensors(seed) for seed, name in enumerate("ab")}
    table = table_of(write(tmp_path / "f", models), "residual", row_normalize=True)
    sides = []
    for own in models.values():
        x = own["features"].astype(float)
        sides.append({**own, "features": x / np.linalg.norm(x, axis=1, keepdims=True)})
    assert table["value"].iloc[1] == pytest.approx(residual(*sides), rel=1e-12)


def test_each_input_is_part_of_what_a_pair_is_found_by(tmp_path, residual):
    models = {name: tensors(seed) for seed, name in enumerate("ab")}
    before = table_of(write(tmp_path / "f", models), "residual")["value"].iloc[1]
    for name in ("unembedding", "logits"):
        models["b"][name] = models["b"][name] + 1
        after = table_of(write(tmp_path / "f", models), "residual")["value"].iloc[1]
        assert after == residual(models["a"], models["b"]) != before
        before = after


def test_models_without_an_input_have_failures_that_say_so(tmp_path, residual):
    models = {name: tensors(seed) for seed, name in enumerate("abc")}
    del models["b"]["unembedding"]
    table = table_of(write(tmp_path / "f", models), "residual")
    failed = table[table["value"].isna()]
    assert {"b" in pair for pair in zip(failed["model_x"], failed["model_y"], strict=True)} == {
        True
    }
    assert set(failed["failure"]) == {"model 'b' has no unembedding, which the metric takes"}
    assert len(failed) == 3 and table["value"].notna().sum() == 3
    for own in models.values():
        own.pop("unembedding", None)
    with pytest.raises(
        FeaturesError, match="'residual' compares an unembedding, and 3 of 3 models"
    ):
        table_of(write(tmp_path / "g", models), "residual")


def test_unembeddings_alone_are_compared_whatever_the_samples(tmp_path, heads):
    models = {name: tensors(seed) for seed, name in enumerate("ab")}
    manifest = write(tmp_path / "f", models)
    table = table_of(manifest, "heads", layers="all")
    assert table["layer_x"].tolist() == ["unembedding"] * 3
    a, b = (models[m]["unembedding"].astype(float) for m in "ab")
    assert table["value"].iloc[1] == heads(a, b) == np.abs(a @ a.T - b @ b.T).max()
    assert table.attrs["n"] == N
    spec = {**table.attrs["spec"], "permutations": 0}
    make_reliability(
        manifest,
        tmp_path / "r.parquet",
        dataset="d",
        metric_id="heads",
        spec=spec,
        splits=1,
        seed=0,
    )
    halves = read_table(tmp_path / "r.parquet")
    assert set(halves["value"]) == set(table["value"]) and set(halves["n"]) == {N // 2}


def test_unembeddings_of_other_classes_do_not_compare(tmp_path, heads, residual):
    models = {"a": tensors(0), "b": tensors(1, classes=CLASSES + 1)}
    manifest = write(tmp_path / "f", models)
    message = (
        r"one side has an unembedding of [78] classes and the other of [78]: both must be over"
    )
    for name in ("heads", "residual"):
        table = table_of(manifest, name)
        assert table["value"].notna().tolist() == [True, False, True]
        assert re.match(message, table["failure"].iloc[1])
    with pytest.raises(MetricError, match=message):
        heads(models["a"]["unembedding"], models["b"]["unembedding"])


def test_a_view_has_the_unembedding_of_its_parent_and_its_rows_of_logits(tmp_path, residual, heads):
    models = {name: tensors(seed) for seed, name in enumerate("ab")}
    rows = [3, 1, 20, 8, 9]
    manifest = write(tmp_path / "f", models)
    whole = read_table(manifest)

    class View:
        hash, row, groups = "v" * 64, {"dataset": "d"}, None

    class Source:
        hash, row = "s" * 64, {"dataset": "d"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view_manifest, "read_chain", lambda samples: (View, np.array(rows), Source))
        view_manifest.make_manifest(
            [tmp_path / "f" / f"{m}.safetensors" for m in "ab"], ["v", "d"],
            tmp_path / "f" / "view.parquet",
        )  # fmt: skip
    view = read_table(tmp_path / "f" / "view.parquet")
    by = {(row["model"], row["output"]): row for row in view.attrs["outputs"]}
    of_whole = {(row["model"], row["output"]): row for row in whole.attrs["outputs"]}
    assert by["a", "unembedding"] == of_whole["a", "unembedding"]
    assert by["a", "logits"]["n"] == len(rows)
    table = table_of(tmp_path / "f" / "view.parquet", "residual")
    a, b = ({k: x if k == "unembedding" else x[rows] for k, x in models[m].items()} for m in "ab")
    assert table["value"].iloc[1] == residual(a, b)
    assert table_of(tmp_path / "f" / "view.parquet", "heads")["value"].iloc[1] == heads(
        a["unembedding"], b["unembedding"]
    )


def test_a_study_may_have_a_metric_of_unembeddings(residual, tmp_path):
    (tmp_path / "metrics.yaml").write_text("mine: {metric: residual}\n")
    study = load_study(
        {
            "seed": 0,
            "models": "modality == 'image'",
            "datasets": ["digits"],
            "metrics": ["mine"],
            "catalogs": {"metrics": [str(tmp_path / "metrics.yaml")]},
        }
    )
    assert study.metrics["mine"]["metric"] == "residual"
    assert study.labelled["mine"] is False


def test_a_new_input_is_one_entry_of_the_table(tmp_path, registered, monkeypatch):
    """`attention`, an output of the models: from files, from arrays, by hand and on halves."""
    monkeypatch.setitem(INPUTS, "attention", Input("attention", "output", as_features))

    @registered("watched", inputs=("features", "attention", "labels"))
    class Watched(Metric):
        def prepare(self, x, attention, labels):
            return attention.sum() + x.sum() + labels.sum()

        def compare(self, a, b):
            return abs(a - b)

    models = {}
    for seed, name in enumerate("ab"):
        models[name] = {"features": draw(N, D, seed=seed), "attention": draw(N, 3, seed=seed + 9)}
    write(tmp_path / "f", models)
    labels, metric = np.arange(N) % 3, get_metric("watched")
    value = metric(models["a"], models["b"], labels=labels)
    found = pairwise(metric, models, labels=labels)
    assert found["value"].iloc[1] == value
    paths = {name: tmp_path / "f" / f"{name}.safetensors" for name in "ab"}
    found = pairwise(metric, paths, labels=labels)
    assert found[(found.layer_x == "late") & (found.layer_y == "late")]["value"].iloc[1] == value
    with pytest.raises(FeaturesError, match=r"x is without attention: .* \{'features': …, 'att"):
        metric(models["a"]["features"], models["b"]["features"], labels=labels)


def test_files_offer_their_logits_to_metrics_of_logits(tmp_path):
    models = {name: tensors(seed) for seed, name in enumerate("ab")}
    write(tmp_path / "f", models)
    paths = {name: tmp_path / "f" / f"{name}.safetensors" for name in "ab"}
    table = pairwise(get_metric("jsd"), paths)
    assert set(table["layer_x"]) == {"logits"}
    expected = get_metric("jsd")(*(read_layer(path, "logits") for path in paths.values()))
    assert table["value"].iloc[1] == expected
    del models["b"]["logits"]
    write(tmp_path / "f", models)
    with pytest.raises(FeaturesError, match=r"b.safetensors has no output 'logits', which .*'jsd'"):
        pairwise(get_metric("jsd"), paths)


def test_metrics_of_different_inputs_are_computed_together(tmp_path):
    labels = np.arange(N) % CLASSES
    models = {name: tensors(seed) for seed, name in enumerate("ab")}
    write(tmp_path / "f", models)
    paths = {name: tmp_path / "f" / f"{name}.safetensors" for name in "ab"}
    metrics = {name: get_metric(name) for name in ("cka", "jsd", "error_consistency", "rv")}
    together = pairwise_many(metrics, paths, labels=labels)
    for name, one in metrics.items():
        pd.testing.assert_frame_equal(together[name], pairwise(one, paths, labels=labels))


def test_inputs_that_do_not_go_together_are_refused(residual):
    a, b = tensors(0), tensors(1)
    with pytest.raises(FeaturesError, match="x has features of 24 samples and logits of 23"):
        residual({**a, "logits": a["logits"][1:]}, b)
    with pytest.raises(FeaturesError, match="y holds 'loss' as well: the metric takes"):
        residual(a, {**b, "loss": b["logits"]})
    holed = a["unembedding"].copy()
    holed[2] = np.nan
    with pytest.raises(
        FeaturesError, match="unembedding of x holds NaN or infinity, first in row 2"
    ):
        residual({**a, "unembedding": holed}, b)
    with pytest.raises(FeaturesError, match=r"shape \(5,\); an unembedding is \(classes, units\)"):
        residual({**a, "unembedding": holed[0]}, b)
    with pytest.raises(
        ConfigError, match="'lables' is nothing that samples have; did you mean 'lab"
    ):
        get_metric("cka")(a["features"], b["features"], lables=np.arange(N))


def test_facts_with_unknown_inputs_are_refused():
    known = {k: v for k, v in vars(get_metric("cka").facts).items() if k != "inputs"}
    with pytest.raises(ConfigError, match="unknown input 'logit'; did you mean 'logits'"):
        Facts(**known, inputs=("features", "logit"))
    with pytest.raises(ConfigError, match=r"\('labels',\) takes nothing of a model"):
        Facts(**known, inputs=("labels",))


def test_tables_with_the_facts_of_earlier_versions_are_read():
    """They had `input` and `needs_labels`; what reads tables needs neither these nor `inputs`."""
    facts = get_metric("error_consistency").facts.as_dict()
    assert facts.pop("inputs") == ["logits", "labels"]
    table = pd.DataFrame()
    table.attrs["facts"] = {**facts, "input": "logits", "needs_labels": True}
    axis = read_axis({"digits": table}, "agreement")
    assert (axis.label, axis.bounds, axis.larger_is_more_similar) == ("agreement", (-1, 1), True)


def test_study_knows_which_metrics_take_what_samples_have():
    names = ["cka_debiased", "error_consistency"]
    query = "modality == 'image'"
    study = load_study({"seed": 0, "models": query, "datasets": query, "metrics": names})
    assert dict(study.labelled) == {"cka_debiased": False, "error_consistency": True}
