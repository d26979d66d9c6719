"""Former names: read as what they are called now, told once, and never taken as missing."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from clones import ROOT
from test_bundle import MODELS, lab

from consilience import renames
from consilience.bundle import merge_bundles, open_bundle, write_bundle
from consilience.cli import main
from consilience.config import load_study
from consilience.config.shape import read_schema
from consilience.errors import ConfigError
from consilience.files import read_table, write_table
from consilience.metrics import METRICS, get_metric
from consilience.similarity import pairwise
from consilience.similarity.task import Task

TABLE = """\
models:
  lite_0: {now: lite0, since: 0.2.0}
  letters: {now: characters, since: 0.2.0}
datasets:
  handwritten: {now: digits, since: 0.2.0}
metrics:
  cka_unbiased: {now: cka_debiased, since: 0.2.0}
  cka_u: {now: cka_unbiased, since: 0.1.5}
registered:
  centered_kernel_alignment: {now: cka, since: 0.2.0}
parameters:
  cka.width: {now: sigma, since: 0.2.0}
columns:
  goal: {now: objective, since: 0.2.0}
  score: {now: value, since: 0.2.0}
"""
BASE = {"seed": 0, "models": ["lite0", "pixels"], "datasets": ["digits"]}
BASE |= {"metrics": ["cka_debiased"]}


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Returns a function that makes a text the table of renames."""

    def enter(text):
        path = tmp_path / "renames.yaml"
        path.write_text(text, encoding="utf8")
        monkeypatch.setattr(renames, "TABLE", path)
        renames._read.cache_clear()
        renames._warn.cache_clear()

    enter(TABLE)
    yield enter
    renames._read.cache_clear()
    renames._warn.cache_clear()


def warned(caplog):
    return [r.getMessage() for r in caplog.records if "is called" in r.getMessage()]


def write_rows(path, columns, *rows):
    path.write_text("\n".join("\t".join(cells) for cells in (columns, *rows)), encoding="utf8")
    return [str(path)]


def test_a_study_names_what_was_renamed(use, caplog):
    study = load_study({
        **BASE,
        "models": ["lite_0", "lite0", "pixels"],
        "datasets": ["handwritten"],
        "metrics": ["cka_u", "mutual_knn_k10"],
        "consistency": {"groups": ["goal"], "anchors": ["lite_0"], "sets": {
            "a": "goal == 'supervised'", "b": "model in ['lite_0', \"pixels\"]"}},
        "alignment": {"metrics": ["cka_unbiased"], "across": "goal"},
        "sensitivity": {"n": [10], "metrics": ["cka_unbiased"], "datasets": ["handwritten"]},
        "plots": {"group": "goal", "layers": [["lite_0", "pixels"], ["lite_0", "lite0"]]},
    })  # fmt: skip
    assert list(study.models) == ["lite0", "pixels"]
    assert list(study.datasets) == ["digits"]
    assert set(study.metrics) == {"cka_debiased", "mutual_knn_k10"}
    settings = study.settings
    assert settings["consistency"]["groups"] == ["objective"] == [settings["plots"]["group"]]
    assert settings["consistency"]["anchors"] == ["lite0"]
    assert settings["consistency"]["sets"] == {
        "a": "objective == 'supervised'", "b": "model in ['lite0', \"pixels\"]"}  # fmt: skip
    assert settings["alignment"]["metrics"] == ["cka_debiased"]
    assert settings["alignment"]["across"] == "objective"
    assert settings["sensitivity"]["metrics"] == ["cka_debiased"]
    assert settings["sensitivity"]["datasets"] == ["digits"]
    assert settings["plots"]["layers"] == [["lite0", "pixels"], ["lite0", "lite0"]]
    told = "the model 'lite_0' is called 'lite0' since 0.2.0; the former name still works"
    assert warned(caplog).count(told) == 1
    assert len(warned(caplog)) == 5


def test_queries_select_by_former_names(use):
    study = load_study({
        **BASE,
        "models": "collection == 'demo' and (model == 'lite_0' or goal == 'untrained') "
        "and modality == 'image'",
        "datasets": "dataset == 'handwritten'",
        "consistency": {"models": "goal != ''"},
    })  # fmt: skip
    assert "lite0" in study.models
    assert len(study.models) > 1
    assert list(study.datasets) == ["digits"]
    assert study.settings["consistency"]["models"] == "objective != ''"


def test_every_key_with_names_exists():
    """A key that is renamed or dropped cannot be overlooked here."""
    for place in (*renames.STUDY_KEYS, *renames.QUERIES):
        part = read_schema("study")
        for key in place.split("."):
            part = part["properties"][key]
    rows = {*read_schema("models")["properties"], *read_schema("datasets")["properties"]}
    header = (ROOT / "config" / "models.tsv").read_text(encoding="utf8").splitlines()[0]
    assert set(renames.CELLS) <= rows | set(header.split("\t")) | {"text_tower"}


def test_rows_refer_to_each_other_by_former_names(use, tmp_path):
    models = write_rows(tmp_path / "models.tsv",
        ("model", "source", "name", "modality", "text_tower", "goal"),
        ("net", "raw", "pixels", "image", "letters", "control"),
        ("characters", "raw", "characters", "text", "", "control"))  # fmt: skip
    datasets = write_rows(tmp_path / "datasets.tsv",
        ("dataset", "source", "name", "modality", "parent", "view"),
        ("digits", "packaged", "digits", "image", "", ""),
        ("few", "", "", "image", "handwritten", "n=20"))  # fmt: skip
    metrics = tmp_path / "metrics.yaml"
    metrics.write_text(
        "mine: {metric: centered_kernel_alignment, kernel: rbf, width: 0.4}\n", encoding="utf8"
    )
    catalogs = {"models": models, "datasets": datasets, "metrics": [str(metrics)]}
    study = load_study({**BASE, "models": ["net"], "datasets": ["few"], "metrics": ["mine"],
                        "catalogs": catalogs, "consistency": {"groups": ["goal"]}})  # fmt: skip
    assert study.models["net"]["text_tower"] == "characters"
    assert study.models["net"]["objective"] == "control"
    assert study.chains["few"] == ["few", "digits"]
    assert study.metrics["mine"]["metric"] == "cka"
    assert study.metrics["mine"]["parameters"] == {"kernel": "rbf", "sigma": 0.4}


def test_metrics_by_former_names(use, tmp_path, capsys, caplog):
    metric = get_metric("centered_kernel_alignment", kernel="rbf", width=0.4)
    assert metric == get_metric("cka", kernel="rbf", sigma=0.4)
    assert any("registered metric 'centered_kernel_alignment'" in text for text in warned(caplog))
    assert any("parameter 'cka.width' is called 'sigma'" in text for text in warned(caplog))
    x = np.random.default_rng(0).normal(size=(2, 20, 4))
    for name, one in zip("ab", x, strict=True):
        np.save(tmp_path / f"{name}.npy", one)
    values = []
    for name in ("cka_unbiased", "cka_debiased"):
        files = [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
        assert main(["compare", *files, "--metric", name, "--json"]) == 0
        values.append(json.loads(capsys.readouterr().out)["value"])
    assert values[0] == values[1]
    with pytest.raises(ConfigError, match="no parameter 'widths'"):
        get_metric("cka", widths=1)


def test_columns_of_results(use, tmp_path, caplog):
    write_table(pd.DataFrame({"score": [1.0], "n": [2]}), tmp_path / "a.parquet", {"k": 1})
    table = read_table(tmp_path / "a.parquet")
    assert list(table.columns) == ["value", "n"]
    assert table.attrs == {"k": 1}
    assert warned(caplog) == ["the column 'score' is called 'value' since 0.2.0; "
                              "the former name still works"]  # fmt: skip
    both = pd.DataFrame({"score": [1.0], "value": [2.0]})
    write_table(both, tmp_path / "b.parquet", {})
    assert list(read_table(tmp_path / "b.parquet").columns) == ["score", "value"]


@pytest.mark.parametrize(
    "old",
    ["handwritten/.pairs/cka_debiased", "digits/.pairs/cka_u", "handwritten/.pairs/cka_unbiased"],
)
def test_pair_stores_are_found(use, tmp_path, caplog, old):
    x = dict(zip("abc", np.random.default_rng(1).normal(size=(3, 20, 4)), strict=True))
    task = Task(get_metric("cka"))
    path = tmp_path / f"{old}.parquet"
    store = task.open_store(path)
    table = pairwise(task.metric, x, store=store)
    store.write()
    (path.with_suffix("") / "shelf").mkdir(parents=True)
    new = tmp_path / "digits" / ".pairs" / "cka_debiased.parquet"
    found = task.open_store(new)
    assert len(found.outcomes) == 6
    assert pairwise(task.metric, x, store=found).equals(table)
    assert (new.with_suffix("") / "shelf").is_dir()
    assert not path.exists()
    assert "is taken over" in caplog.text
    other = tmp_path / "digits" / ".pairs" / "knn.parquet"
    assert not task.open_store(other).outcomes


def test_a_present_store_is_not_replaced(use, tmp_path):
    old, new = (tmp_path / "digits" / f"{name}.parquet" for name in ("cka_u", "cka_debiased"))
    for path, content in ((old, "old"), (new, "new")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    renames.adopt_store(new)
    assert (old.read_text(), new.read_text()) == ("old", "new")


BUNDLE = """\
models:
  m0: {now: first, since: 0.2.0}
datasets:
  digits: {now: figures, since: 0.2.0}
metrics:
  regression: {now: linear, since: 0.2.0}
columns:
  objective: {now: aim, since: 0.2.0}
"""


def test_bundles_are_read_in_present_names(use, tmp_path, caplog):
    lab(tmp_path / "a", MODELS[:4], metadata="ssl")
    write_bundle(tmp_path / "a", tmp_path / "a.zip")
    before = open_bundle(tmp_path / "a.zip")
    old = before.table("similarity/digits/regression.parquet")
    assert before.digest() == open_bundle(tmp_path / "a").digest()
    use(BUNDLE)
    for name in ("a.zip", "a"):
        bundle = open_bundle(tmp_path / name)
        assert "similarity/figures/linear.parquet" in bundle.files
        assert not [name for name in bundle.files if "digits" in name or "regression" in name]
        row = {"model": "first", "weights": "w", "aim": "ssl"}
        assert bundle.study["models"]["first"] == row
        assert set(bundle.study["metrics"]) == {"cka", "linear"}
        assert bundle.study["labels"]["linear"] == "regression"
        table = bundle.table("similarity/figures/linear.parquet")
        assert set(table["model_x"]) == {"first", "m1", "m2", "m3"}
        assert set(table.attrs["layers"]) == {"first", "m1", "m2", "m3"}
        assert table["value"].equals(old["value"])
    assert len(warned(caplog)) == 4


def test_a_folder_used_before_and_after_a_rename(use, tmp_path, caplog):
    folder = lab(tmp_path / "a", MODELS[:4])
    similarity = folder / "similarity" / "digits"
    table = read_table(similarity / "regression.parquet")
    table["metric"] = "linear"
    write_table(table.head(3), similarity / "linear.parquet", table.attrs)
    use("metrics:\n  regression: {now: linear, since: 0.2.0}\n")
    write_bundle(folder, tmp_path / "a.zip")
    for path in (folder, tmp_path / "a.zip"):
        bundle = open_bundle(path)
        assert sorted(n for n in bundle.files if "digits" in n) == [
            "similarity/digits/cka.parquet", "similarity/digits/linear.parquet"]  # fmt: skip
        assert len(bundle.table("similarity/digits/linear.parquet")) == 3
    assert "similarity/digits/regression.parquet is left out" in caplog.text


def test_bundles_from_before_and_after_a_rename_are_merged(use, tmp_path):
    lab(tmp_path / "a", MODELS[:4])
    write_bundle(tmp_path / "a", tmp_path / "a.zip")
    use(BUNDLE)
    merge_bundles([tmp_path / "a.zip"], tmp_path / "present")  # as after the rename
    lab(tmp_path / "b", MODELS[:1] + MODELS[3:])
    merge_bundles([tmp_path / "present", tmp_path / "b"], tmp_path / "all")
    found = read_table(tmp_path / "all" / "similarity" / "figures" / "cka.parquet")
    assert set(found["model_x"]) == {"first", *MODELS[1:]}
    assert not found.duplicated(["model_x", "layer_x", "model_y", "layer_y"]).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models:\n  a: {now: b, since: 1}\n  b: {now: c, since: 1}\n  c: {now: a, since: 1}\n",
         "renames.yaml line 2: 'a' leads back to 'a'"),
        ("models:\n  a: {now: a, since: 1}\n", "line 2: 'a' leads back"),
        ("models:\n\n  a: {now: b, since: 1}\n  a: {now: c, since: 1}\n", "line 4: 'a' stands tw"),
        ("models:\n  a: b\n", "line 2"),
        ("models:\n  a: {now: b}\n", r"line 2: 'a' must be \{now: PRESENT, since: VERSION\}"),
        ("layers:\n  a: {now: b, since: 1}\n", "unknown kind 'layers'; known: models"),
        ("models: [a]\n", "line 1: expected"),
        ("models: {a: {\n", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_table_that_makes_no_sense_is_refused(use, text, message):
    use(text)
    with pytest.raises(ConfigError, match=message):
        renames.present("models", "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models:\n  lite0: {now: lite1, since: 1}\n",
         "renames.yaml line 2 (lite0): the model 'lite0' is a former name of 'lite1' and exists"),
        ("models:\n  lite_0: {now: lite00, since: 1}\n",
         "renames.yaml line 2 (lite_0): there is no model 'lite00'; correct `now`"),
        ("datasets:\n  x: {now: digit, since: 1}\n", "line 2 (x): there is no dataset 'digit'"),
        ("metrics:\n  rv: {now: cka_biased, since: 1}\n", "line 2 (rv): the metric 'rv' is a"),
        ("registered:\n  x: {now: ckaa, since: 1}\n", "there is no registered metric 'ckaa'"),
        ("columns:\n  modality: {now: kind, since: 1}\n", "the column 'modality' is a former"),
    ],
)  # fmt: skip
def test_lines_that_contradict_what_exists(use, text, message):
    use(text)
    with pytest.raises(ConfigError) as error:
        load_study(BASE)
    assert message in str(error.value)


def test_a_catalogue_of_ones_own_need_not_hold_all_that_was_renamed(use, tmp_path):
    rows = write_rows(tmp_path / "m.tsv", ("model", "source", "name", "modality"),
                      ("mine", "raw", "pixels", "image"))  # fmt: skip
    study = load_study({**BASE, "models": ["mine"], "catalogs": {"models": rows}})
    assert list(study.models) == ["mine"]
    with pytest.raises(ConfigError, match="'lite0' is not in the catalogue"):
        load_study({**BASE, "models": ["lite_0"], "catalogs": {"models": rows}})


def test_the_table_of_the_project_is_sound():
    """With every study of the project and the registered metrics; parameters and columns too."""
    table = renames._read(ROOT / "config" / "renames.yaml")
    load_study({**BASE})
    for name, rename in table.get("parameters", {}).items():
        metric, _, parameter = name.partition(".")
        assert rename.now in METRICS[metric]().parameters, f"line {rename.line}"
        assert parameter not in METRICS[metric]().parameters, f"line {rename.line}"
    for name in ("models", "datasets"):
        lines = (ROOT / "config" / f"{name}.tsv").read_text(encoding="utf8").splitlines()
        assert not set(lines[0].split("\t")) & set(table.get("columns", {}))
    text = (ROOT / "config" / "renames.yaml").read_text(encoding="utf8")
    assert set(yaml.safe_load(text) or {}) <= set(renames.KINDS)
