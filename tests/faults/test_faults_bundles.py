"""Bundles whose tables are no tables, or contradict: refused with sentences, nothing written."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from test_bundle import MODELS, lab, rezip

from consilience.bundle import merge_bundles, open_bundle, write_bundle
from consilience.bundle.merge import _differ
from consilience.cli import main
from consilience.errors import DataError
from consilience.files import read_table, write_table

CKA, ACCURACY = "similarity/digits/cka.parquet", "probe/accuracy.parquet"


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labs")
    for name, models in (("a", MODELS[:3]), ("b", MODELS[1:4])):
        lab(folder / name, models)
        write_bundle(folder / name, folder / f"{name}.zip")
    return folder


def forge(labs, out, *, table=None, attrs=None, name=CKA, study=None):
    """Writes a bundle with another table or study, whose hashes agree."""

    def change(entries):
        manifest = json.loads(entries["manifest.json"])
        known = read_table(labs / "a" / name)
        path = out.with_suffix(".parquet")
        write_table(
            known if table is None else table(known), path, known.attrs if attrs is None else attrs
        )
        content = path.read_bytes()
        path.unlink()
        digest = hashlib.sha256(content).hexdigest()
        manifest["files"][name] = {"sha256": digest, "bytes": len(content)}
        if study:
            study(manifest["study"])
        return entries | {name: content, "manifest.json": json.dumps(manifest).encode()}

    return rezip(labs / "a.zip", out, change)


def put(column, value, row=0):
    def change(table):
        cells = table[column].astype(object)
        cells.iloc[row] = value
        return table.assign(**{column: cells.infer_objects()})

    return change


def whole(column, value):
    return lambda table: table.assign(**{column: [value] * len(table)})


TABLES = {
    "infinite": (put("value", np.inf), "the column value is infinite in m0 layer_0 m0 layer_0"),
    "text": (whole("value", "x"), "the column value holds cells that are no numbers"),
    "lists": (whole("value", [1.0]), "the column value holds cells that are no numbers"),
    "flags": (whole("value", True), "the column value holds cells that are no numbers"),
    "out of bounds": (put("value", 1.5), "the column value is not from -1 to 1 in m0"),
    "huge": (put("value", 1e308), "the column value is not from -1 to 1"),
    "missing": (put("value", None), "no value, and no reason for it, in m0"),
    "all missing": (whole("value", np.nan), r"no value, and no reason .* 21 rows .* and 18 more"),
    "p": (whole("p", 1.1), "the column p is not from 0 to 1"),
    "no column": (lambda t: t.drop(columns="value"), "has no column value"),
    "no hash": (lambda t: t.drop(columns="hash_x"), "has no column hash_x"),
    "a column more": (whole("extra", 1), "has the column extra, which no table of its kind has"),
    "models of numbers": (whole("model_x", 3), "model_x holds cells that are no texts"),
    "models of lists": (whole("model_x", ["a"]), "not a readable table|no texts"),
    "a row twice": (lambda t: pd.concat([t, t.head(1)]), "has a row twice"),
    "another dataset": (whole("dataset", "other"), "holds another dataset than its name says"),
    "another metric": (whole("metric", "other"), "holds another metric than its name says"),
    "a layer not listed": (put("layer_x", "z"), r"has layers that it does not list: m0 \(z\)"),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("order", [1, -1])
def test_a_table_that_is_none_is_refused_on_opening(kind, order, labs, tmp_path):
    """Alone, and in whichever place beside a sound one."""
    change, sentence = TABLES[kind]
    bad = forge(labs, tmp_path / "bad.zip", table=change)
    with pytest.raises(DataError, match=sentence):
        open_bundle(bad)
    with pytest.raises(DataError, match=sentence):
        merge_bundles([bad, labs / "b.zip"][::order], tmp_path / "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


METADATA = {
    "layers that are none": ({"layers": 3}, "does not say which layers its models have"),
    "layers of numbers": ({"layers": {m: 2 for m in MODELS}}, "does not say which layers its"),
    "layers of no names": ({"layers": {m: [1] for m in MODELS}}, "does not say which layers its"),
    "layers twice": ({"layers": {m: ["a", "a"] for m in MODELS}}, "does not say which layers its"),
    "too few models": (
        {"layers": {"m0": ["layer_0", "layer_1"]}},
        "does not say which layers these models have: m1, m2",
    ),
    "a spec that is none": ({"spec": 3}, "whose spec are no names with values"),
    "facts that are none": ({"facts": ["x"]}, "whose facts are no names with values"),
    "bounds that are none": ({"facts": {"bounds": "x"}}, ""),
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_that_are_none_are_refused_on_opening(kind, labs, tmp_path):
    other, sentence = METADATA[kind]
    attrs = read_table(labs / "a" / CKA).attrs | other
    bad = forge(labs, tmp_path / "bad.zip", attrs=attrs)
    if not sentence:
        assert open_bundle(bad).table(CKA).attrs == attrs
        return
    with pytest.raises(DataError, match=sentence):
        open_bundle(bad)


def absent(what, name):
    return lambda study: study[what].pop(name)


def instead(what, value):
    return lambda study: study.update({what: value})


STUDIES = {
    "a dataset": (
        absent("datasets", "digits"),
        "is of a dataset that the study does not name",
    ),
    "a metric": (
        absent("metrics", "cka"),
        "is of a metric that the study does not name",
    ),
    "labels": (instead("labels", {"cka": 3, "regression": "r"}), "labels are not what they should"),
    "no labels": (instead("labels", {"cka": None}), "study's labels are not what they should be"),
    "metrics": (instead("metrics", {"cka": 1, "regression": {}}), "metrics are not what they sho"),
    "cells": (instead("models", {"m0": {"model": ["m0"]}}), "models have cells that are of the"),
    "a model": (absent("models", "m1"), "is of a model that the study does not name: m1"),
    "no metric": (instead("metrics", {"cka": {}}), "metrics do not say which metric they are"),
    "ids": (instead("models", {"../m0": {"model": "../m0"}}), "study's models: '../m0' is no id"),
    "an id of a device": (instead("datasets", {"nul": {}}), "Windows keeps this name for a device"),
    "no settings": (instead("settings", 3), "manifest.json lacks files or study"),
}


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_that_is_none_is_refused(kind, labs, tmp_path, capsys):
    change, sentence = STUDIES[kind]
    bad = forge(labs, tmp_path / "bad.zip", study=change)
    assert main(["merge", str(bad), "-o", str(tmp_path / "merged"), "--page"]) == 1
    assert sentence in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_a_page_that_cannot_be_made_leaves_no_folder(labs, tmp_path, monkeypatch, capsys):
    def fail(_folder):
        raise DataError("no page")

    monkeypatch.setattr("consilience.cli.bundle._page", fail)
    assert main(["merge", str(labs / "a.zip"), "-o", str(tmp_path / "merged"), "--page"]) == 1
    assert "no page" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("value", 0.5), ("note", "x"), ("ties", 0.5), ("null_mean", None), ("z", 1e9)],
)
def test_whatever_is_not_equal_contradicts(column, value, labs, tmp_path):
    """In columns of numbers and of texts, and where one of the two lacks a value."""
    results = lab(tmp_path / "other", MODELS[1:4])
    table = read_table(results / CKA)
    write_table(put(column, value, row=1)(table), results / CKA, table.attrs)
    with pytest.raises(DataError, match=rf"m1 layer_0 .*: other values in the column {column}"):
        merge_bundles([labs / "a", results], tmp_path / "merged")
    near = table.assign(value=table["value"] * (1 - 1e-9))
    write_table(near, results / CKA, table.attrs)
    merge_bundles([labs / "a", results], tmp_path / "merged")


def test_what_differs():
    x = pd.Series([1.0, 1.0, np.inf, -np.inf, np.inf, np.nan, np.nan, 1e6, 0.0])
    y = pd.Series([1.0 + 1e-7, 1.1, np.inf, np.inf, 1e300, np.nan, 0.0, 1e6 + 0.5, 2e-6])
    assert _differ(x, y).tolist() == [False, True, False, True, True, False, True, False, True]
    x, y = pd.Series(["a", "a", None, None, 1, [1]]), pd.Series(["a", "b", "a", None, "1", [1]])
    assert _differ(x, y).tolist() == [False, True, True, False, True, False]
    lists = [np.array([1.0, np.inf]), np.array([1.0]), np.array([1.0]), np.array(["a"])]
    others = [np.array([1 + 1e-8, np.inf]), np.array([1.1]), np.array([1.0, 2.0]), np.array(["a"])]
    x, y = (pd.Series(cells, dtype=object) for cells in (lists, others))
    assert _differ(x, y).tolist() == [False, True, True, False]
    assert _differ(pd.Series([1.0, 2.0]), pd.Series(["1.0", "x"])).tolist() == [True, True]


def test_what_would_be_refused_is_not_handed_on(tmp_path):
    results = lab(tmp_path / "x", MODELS[:3])
    table = read_table(results / ACCURACY)
    write_table(table.assign(accuracy=np.inf), results / ACCURACY, {})
    with pytest.raises(DataError, match=r"cannot be handed on; .*\n .*accuracy is infinite in"):
        write_bundle(results, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()
