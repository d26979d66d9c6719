"""Files in the place of others: of another dataset, model or metric than their place says."""

import shutil

import numpy as np
import pandas as pd
import pytest
from test_faults_features import JOB, MODELS, READERS, SPEC, write

from consilience.behavior import make_behavior, make_relation
from consilience.errors import ConsilienceError, DataError
from consilience.features import make_manifest, read_header, write_manifest
from consilience.files import read_table, write_table
from consilience.probe import make_accuracy, make_probe
from consilience.results import RESULT_FILES, place_of
from consilience.samples import make_samples
from consilience.similarity import make_similarity

WRONG = "is of {} .*, and would be taken for that of .*; delete it and run snakemake again"


def probe(folder, dataset, model, *, place=None):
    path = folder / "probe" / dataset / f"{place or model}.parquet"
    rows = [{"dataset": dataset, "model": model, "layer": "l", "kind": "linear", "k": None,
             "seed": seed, "top1": 0.5, "balanced_accuracy": 0.5, "top5": 1.0}
            for seed in range(2)]  # fmt: skip
    write_table(pd.DataFrame(rows), path, {})
    return path


@pytest.mark.parametrize(
    "name", [n for n, f in RESULT_FILES.items() if f.is_table and not f.hidden and f.wildcards]
)
def test_every_table_is_held_to_its_place(name, tmp_path):
    """Whatever the path says of dataset, model or metric, the table says too."""
    file = RESULT_FILES[name]
    ids = {kind: f"a_{kind}" for kind in file.wildcards}
    right = tmp_path / file.pattern.format(**ids)
    kinds = [kind for kind in ids if kind in ("dataset", "model", "metric")]
    said = {k: "model_x" if (name, k) == ("transfer", "model") else k for k in kinds}
    columns = {said[k]: [ids[k]] for k in kinds if said[k] in file.columns} or {"x": [1]}
    own = {k: ids[k] for k in kinds if said[k] not in file.columns}
    facts = {"row": own} if name == "samples" else own
    write_table(pd.DataFrame(columns), right, facts)
    assert set(own) <= {"dataset"} and (not own or name in ("samples", "manifest"))
    assert place_of(right) == (name, {kind: ids[kind] for kind in kinds})
    assert len(read_table(right)) == 1
    for kind in kinds:
        wrong = tmp_path / file.pattern.format(**{**ids, kind: "other"})
        wrong.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(right, wrong)
        with pytest.raises(DataError, match=WRONG.format(kind)):
            read_table(wrong)


def test_elsewhere_a_table_may_be_of_anything(tmp_path):
    for name in ("x.parquet", "similarity/x.parquet", "similarity/d/.pairs/m.parquet",
                 "samples/.d.parquet.c0ffee.parquet"):  # fmt: skip
        write_table(pd.DataFrame({"dataset": ["e"], "metric": ["k"]}), tmp_path / name, {})
        assert len(read_table(tmp_path / name)) == 1
    assert place_of("x.parquet") == place_of("/") == ("", {})


@pytest.mark.parametrize("reader", ["similarity", "shared", "alignment", "reliability"])
def test_a_manifest_of_another_dataset_is_not_taken(reader, tmp_path):
    """Also where its place says nothing: the job says what it is for."""
    paths = [write(tmp_path, m, dataset="e", seed=k) for k, m in enumerate(MODELS)]
    manifest = paths[0].parent / "manifest.parquet"
    write_manifest(paths, manifest)
    with pytest.raises(DataError, match=r"is of dataset 'e', and would be taken for that of 'd'"):
        READERS[reader](manifest, tmp_path / "x.parquet")
    place = tmp_path / "features" / "d" / "manifest.parquet"
    place.parent.mkdir()
    shutil.copy(manifest, place)
    with pytest.raises(DataError, match="is of dataset 'e'"):
        make_similarity(place, tmp_path / "x.parquet", **JOB)
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize(("model", "dataset"), [("m1", "d"), ("m0", "e")])
def test_features_of_another_model_or_dataset_are_not_taken(model, dataset, tmp_path):
    """With the same samples hash, as pictures in another style have."""
    place = write(tmp_path, "m0")
    shutil.copy(write(tmp_path, model, dataset=dataset, seed=9), place)
    with pytest.raises(DataError, match=r"m0\.safetensors is of .* would be taken for that of"):
        read_header(place)
    with pytest.raises(DataError, match="would be taken for that of"):
        write_manifest([place], tmp_path / "manifest.parquet")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    row = {"dataset": "shapes", "source": "packaged", "name": "shapes:40", "modality": "image"}
    path = tmp_path_factory.mktemp("samples") / "shapes.parquet"
    make_samples(row, 0, path)
    return path, read_table(path).attrs["hash"]


def test_a_probe_and_a_manifest_look_whose_features_they_read(tmp_path, shapes):
    samples, samples_hash = shapes
    other = write(tmp_path, dataset="lines", samples_hash=samples_hash)
    other = other.replace(tmp_path / "m0.safetensors")  # a place that says nothing
    with pytest.raises(DataError, match=r"of dataset 'lines'.* 'shapes'"):
        make_probe(other, samples, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"of dataset 'lines'.* 'shapes'"):
        make_manifest([other], [samples], tmp_path / "x.parquet")
    mine = write(tmp_path, "m1", dataset="shapes", samples_hash=samples_hash)
    with pytest.raises(DataError, match=r"of dataset 'lines'.* 'shapes'"):
        write_manifest([mine, other], tmp_path / "x.parquet")


def test_summaries_look_who_is_who(tmp_path):
    """Known: a copied probe table, and the accuracies of a study lacked a model."""
    paths = [probe(tmp_path, "d", model) for model in ("m0", "m1")]
    make_accuracy(paths, tmp_path / "x.parquet")
    assert read_table(tmp_path / "x.parquet")["model"].tolist() == ["m0", "m1"]
    shutil.copy(paths[1], paths[0])
    with pytest.raises(DataError, match=r"m0\.parquet is of model 'm1'"):
        make_accuracy(paths, tmp_path / "y.parquet")
    twins = [shutil.copy(paths[1], tmp_path / f"{k}.parquet") for k in range(2)]
    with pytest.raises(DataError, match=r"are both of model 'm1' on 'd'"):
        make_accuracy(twins, tmp_path / "y.parquet")
    with pytest.raises(DataError, match=r"both of model 'm1'"):
        make_behavior(twins, "", "", tmp_path / "y.parquet", dataset="d")
    with pytest.raises(DataError, match=r"of dataset 'd'.* 'e'"):
        make_behavior(twins[:1], "", "", tmp_path / "y.parquet", dataset="e")


def test_a_similarity_table_of_another_metric_is_not_taken(tmp_path):
    paths = [write(tmp_path, m, seed=k) for k, m in enumerate(MODELS)]
    manifest = paths[0].parent / "manifest.parquet"
    write_manifest(paths, manifest)
    out = tmp_path / "similarity" / "d" / "m.parquet"
    make_similarity(manifest, out, dataset="d", metric_id="m", spec=SPEC)
    other = shutil.copy(out, out.with_name("k.parquet"))
    assert np.isfinite(read_table(out)["value"]).all()
    with pytest.raises(ConsilienceError, match=r"of metric 'm'.* 'k'"):
        read_table(other)


def test_a_table_of_another_kind_is_no_table_of_behavior(tmp_path):
    similarity = pd.DataFrame({"dataset": ["d"], "model_x": ["a"], "model_y": ["b"]})
    write_table(similarity, tmp_path / "similarity.parquet", {})
    write_table(similarity, tmp_path / "relation.parquet", {})
    paths = [[tmp_path / name] for name in ("similarity.parquet", "relation.parquet")]
    with pytest.raises(DataError, match=r"relation\.parquet has no column 'measure'"):
        make_relation(*paths, tmp_path / "out.parquet", tmp_path / "summary.parquet", domains={})


@pytest.mark.parametrize("name", [n for n, f in RESULT_FILES.items() if f.is_table])
def test_a_table_of_another_kind_is_not_taken(name, tmp_path):
    """Whatever it is of: what it was written as stands in it."""
    ids = {kind: "a" for file in RESULT_FILES.values() for kind in file.wildcards}
    mine, table = tmp_path / RESULT_FILES[name].pattern.format(**ids), pd.DataFrame({"x": [1]})
    for other, file in RESULT_FILES.items():
        if file.is_table and not file.hidden and other != name:
            theirs = tmp_path / file.pattern.format(**ids)
            write_table(table, theirs, {})
            mine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(theirs, mine)
            if place_of(mine) != place_of(theirs) and not RESULT_FILES[name].hidden:
                with pytest.raises(DataError, match=rf"{mine.name} is a table of {other}, and"):
                    read_table(mine)
    write_table(table, mine, {})
    assert len(read_table(mine)) == 1
