"""Bundles: written, checked, merged, and refused with the reason."""

import json
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
from synthetic import GROUPS, METRICS, _spec, plant, similarities, write_similarity

from consilience.bundle import merge_bundles, open_bundle, write_bundle
from consilience.cli import main
from consilience.errors import DataError
from consilience.files import read_table, write_table
from consilience.results import RESULT_FILES

CKA, REGRESSION = _spec(METRICS["cka"]), _spec(METRICS["linear_regression"])
MODELS = [f"m{k}" for k in range(6)]
PAIR = ["model_x", "layer_x", "model_y", "layer_y"]


def lab(folder, models, *, seed=0, spec=CKA, samples="s1", metadata="", weights="w"):
    """Writes the results of a lab: some of the models, on one dataset, by two metrics."""
    rows = {m: {"objective": GROUPS[k % 4]} for k, m in enumerate(MODELS)}
    features = plant(rows, 20, 2, np.random.default_rng(seed))
    chosen = {model: features[model] for model in models}
    for name, found in (("cka", spec), ("regression", REGRESSION)):
        write_similarity(
            folder / "similarity" / "digits" / f"{name}.parquet", chosen, found, samples
        )
    accuracy = pd.DataFrame(
        [{"dataset": "digits", "model": m, "layer": "layer_1", "accuracy": 0.5} for m in models]
    )
    write_table(accuracy, folder / "probe" / "accuracy.parquet", {})
    write_table(accuracy.head(0), folder / "consistency" / "cka.parquet", {})
    study = {
        "settings": {"seed": 0, "probe": {"seeds": [0]}},
        "models": {m: {"model": m, "weights": weights, "objective": metadata} for m in models},
        "datasets": {"digits": {"dataset": "digits"}},
        "metrics": {"cka": spec, "regression": REGRESSION},
        "labels": {"cka": "CKA", "regression": "regression"},
    }
    (folder / "explorer").mkdir()
    (folder / "explorer" / "study.json").write_text(json.dumps(study))
    return folder


@pytest.fixture
def labs(tmp_path):
    """Two labs that share one model, as bundles; and what one lab with all models would have."""
    for name, models in (("a", MODELS[:4]), ("b", MODELS[3:])):
        lab(tmp_path / name, models)
        write_bundle(tmp_path / name, tmp_path / f"{name}.zip")
    return tmp_path


@pytest.mark.parametrize("out", ["out.zip", "out"])
def test_bundle_holds_the_tables_and_nothing_else(labs, out):
    (labs / "a" / "features").mkdir()
    (labs / "a" / "features" / "x.safetensors").write_bytes(b"not ours")
    (labs / "a" / "similarity" / "digits" / ".pairs").mkdir()
    pair_store = labs / "a" / "similarity" / "digits" / ".pairs" / "cka.parquet"
    shutil.copy(labs / "a" / "similarity" / "digits" / "cka.parquet", pair_store)
    of_all = ["behavior/relation/cka.parquet", "consistency/differences/cka.parquet"]
    for name in of_all:
        (labs / "a" / name).parent.mkdir(parents=True)
        shutil.copy(labs / "a" / "consistency" / "cka.parquet", labs / "a" / name)
    write_bundle(labs / "a", labs / out)
    bundle = open_bundle(labs / out)
    assert sorted(bundle.files) == sorted([
        *of_all, "consistency/cka.parquet", "probe/accuracy.parquet",
        "similarity/digits/cka.parquet", "similarity/digits/regression.parquet",
    ])  # fmt: skip
    merge_bundles([labs / out, labs / "b.zip"], labs / "both")
    assert not {"behavior", "consistency"} & {path.name for path in (labs / "both").iterdir()}
    table = bundle.table("similarity/digits/cka.parquet")
    whole = read_table(labs / "a" / "similarity" / "digits" / "cka.parquet")
    pd.testing.assert_frame_equal(table, whole)
    assert table.attrs == whole.attrs
    assert bundle.digest() == open_bundle(labs / "a").digest()
    with pytest.raises(DataError, match="exists"):
        write_bundle(labs / "a", labs / out)


def test_bundle_has_the_same_bytes_twice(labs):
    write_bundle(labs / "a", labs / "again.zip")
    assert (labs / "again.zip").read_bytes() == (labs / "a.zip").read_bytes()


@pytest.mark.parametrize("metric, spec", [("cka", CKA), ("regression", REGRESSION)])
def test_merge_is_the_whole_study_without_the_pairs_across_labs(labs, metric, spec):
    merged = merge_bundles([labs / "a.zip", labs / "b.zip"], labs / "all")
    found = read_table(labs / "all" / "similarity" / "digits" / f"{metric}.parquet")
    lab(labs / "whole", MODELS)
    whole = read_table(labs / "whole" / "similarity" / "digits" / f"{metric}.parquet")
    inside = [whole["model_x"].isin(part) & whole["model_y"].isin(part)
              for part in (MODELS[:4], MODELS[3:])]  # fmt: skip
    expected = whole[inside[0] | inside[1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)
    assert found.attrs["layers"] == whole.attrs["layers"]
    assert found.attrs["absent_pairs"] == 3 * 2  # three models here, two there, one in both
    said = json.loads((labs / "all" / "merge.json").read_text())
    assert [source["path"] for source in said["sources"]] == ["a.zip", "b.zip"]
    assert said["notes"] == merged.notes
    assert any("6 pairs of models that no bundle compared" in note for note in merged.notes)
    assert any("consistency" in note for note in merged.notes)
    assert not (labs / "all" / "consistency").exists()


def test_merge_goes_on(labs):
    """A merged folder is a results folder: it can be bundled and merged again."""
    merge_bundles([labs / "a.zip", labs / "b"], labs / "all")
    write_bundle(labs / "all", labs / "all.zip")
    merge_bundles([labs / "all.zip", labs / "a"], labs / "more")
    name = "similarity/digits/cka.parquet"
    pd.testing.assert_frame_equal(read_table(labs / "more" / name), read_table(labs / "all" / name))
    assert len(read_table(labs / "more" / "probe" / "accuracy.parquet")) == len(MODELS)


@pytest.mark.parametrize(
    "other, reason",
    [
        ({"seed": 1}, "model 'm3', layer 'layer_0' has other features"),
        ({"samples": "s2"}, "other samples in"),
        ({"spec": CKA | {"parameters": {"kernel": "rbf"}}}, "metric 'cka'"),
        ({"weights": "v"}, "model 'm3': weights is 'w' in one bundle and 'v' in another"),
    ],
)
def test_contradictions_are_refused_with_the_reason(labs, other, reason):
    lab(labs / "other", MODELS[3:], **other)
    with pytest.raises(DataError, match=reason):
        merge_bundles([labs / "a.zip", labs / "other"], labs / "all")
    assert not (labs / "all").exists()


def test_all_contradictions_are_said_at_once(labs):
    lab(labs / "other", MODELS[3:], seed=1, samples="s2", weights="v")
    path = labs / "other" / "probe" / "accuracy.parquet"
    write_table(read_table(path).assign(accuracy=0.75), path, {})
    with pytest.raises(DataError) as error:
        merge_bundles([labs / "a.zip", labs / "other"], labs / "all")
    for reason in ("other features", "other samples", "weights is", "in the column accuracy"):
        assert reason in str(error.value)


def test_other_code_is_refused_and_other_metadata_noted(labs):
    lab(labs / "other", MODELS[3:], metadata="ssl")
    merged = merge_bundles([labs / "a.zip", labs / "other"], labs / "all")
    assert any("objective is '' in one bundle and 'ssl' in another" in n for n in merged.notes)
    path = labs / "other" / "similarity" / "digits" / "cka.parquet"
    table = read_table(path)
    write_table(table, path, table.attrs | {"code": "f" * 64})
    with pytest.raises(DataError, match="metric 'cka': other code"):
        merge_bundles([labs / "a.zip", labs / "other"], labs / "again")


def test_other_groups_of_samples_are_refused(labs):
    lab(labs / "other", MODELS[3:])
    path = labs / "other" / "similarity" / "digits" / "cka.parquet"
    table = read_table(path)
    write_table(table, path, table.attrs | {"groups": {"hash": "g" * 64, "n": 9, "rows": "apart"}})
    with pytest.raises(DataError, match=r"cka\.parquet': other groups of samples"):
        merge_bundles([labs / "a.zip", labs / "other"], labs / "all")


def test_agreement_is_asked_for_across_tables(labs):
    """Two labs with one dataset but other metrics must still have the same samples."""
    lab(labs / "other", MODELS[4:], samples="s2")
    (labs / "other" / "similarity" / "digits" / "cka.parquet").unlink()
    (labs / "a" / "similarity" / "digits" / "regression.parquet").unlink()
    with pytest.raises(DataError, match="dataset 'digits': other samples in"):
        merge_bundles([labs / "a", labs / "other"], labs / "all")


def test_tables_without_what_they_need_are_refused(labs):
    path = labs / "b" / "similarity" / "digits" / "cka.parquet"
    table = read_table(path)
    write_table(table.drop(columns="layer_x"), path, table.attrs)
    with pytest.raises(DataError, match="has no column layer_x"):
        merge_bundles([labs / "a", labs / "b"], labs / "all")
    write_table(table, path, {})
    with pytest.raises(DataError, match="does not say which layers"):
        merge_bundles([labs / "a", labs / "b"], labs / "all")


def rezip(source, out, change):
    """Copies a zip with other entries: {name: bytes} in, {name: bytes} out."""
    with zipfile.ZipFile(source) as archive:
        entries = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(out, "w") as archive:
        for info, content in change({info.filename: c for info, c in entries.items()}).items():
            archive.writestr(info, content)
    return out


def with_manifest(entries, **changes):
    manifest = json.loads(entries["manifest.json"])
    return entries | {"manifest.json": json.dumps(manifest | changes).encode()}


def escaping(entries):
    manifest = json.loads(entries["manifest.json"])
    files = manifest["files"]
    files["similarity/../x.parquet"] = next(iter(files.values()))
    changed = with_manifest(entries, files=files)
    return changed | {"similarity/../x.parquet": entries["similarity/digits/cka.parquet"]}


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda e: e | {"probe/accuracy.parquet": b"PAR1"}, "not those that"),
        (lambda e: e | {"../../evil.parquet": b"x"}, "'../../evil.parquet' is not in the manifest"),
        (lambda e: e | {"/tmp/evil.py": b"x"}, "is not in the manifest"),
        (escaping, "no path of a bundle"),
        (lambda e: {k: v for k, v in e.items() if "cka" not in k}, "is missing"),
        (lambda e: {k: v for k, v in e.items() if k != "manifest.json"}, "no readable manifest"),
        (lambda e: with_manifest(e, schema=99), "schema version 99"),
        (lambda e: with_manifest(e, format="other"), "is not that of a consilience bundle"),
        (lambda e: with_manifest(e, files=[]), "lacks files or study"),
        (lambda e: with_manifest(e, study={}), "lacks files or study"),
    ],
)
def test_damaged_or_hostile_bundles_are_refused(labs, change, reason):
    bad = rezip(labs / "a.zip", labs / "bad.zip", change)
    before = sorted(labs.rglob("*"))
    with pytest.raises(DataError, match=reason):
        merge_bundles([bad, labs / "b.zip"], labs / "all")
    assert sorted(labs.rglob("*")) == before


def test_links_and_other_files_are_refused(labs):
    write_bundle(labs / "a", labs / "folder")
    table = labs / "folder" / "probe" / "accuracy.parquet"
    table.unlink()
    table.symlink_to(labs / "a" / "probe" / "accuracy.parquet")
    with pytest.raises(DataError, match="is a link"):
        open_bundle(labs / "folder")
    (labs / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        open_bundle(labs / "text.zip")
    with pytest.raises(DataError, match="no such bundle"):
        open_bundle(labs / "nothing")
    with pytest.raises(DataError, match=r"has no explorer/study\.json"):
        write_bundle(labs / "a" / "probe", labs / "x.zip")


def test_a_merge_names_the_devices_of_all(labs):
    """Labs whose values were computed on other devices agree as far as their values do."""
    name = "similarity/digits/cka.parquet"
    for lab_, device in (("a", "cuda"), ("b", "cpu")):
        table = read_table(labs / lab_ / name)
        write_table(table, labs / lab_ / name, table.attrs | {"device": device})
    merge_bundles([labs / "a", labs / "b"], labs / "all")
    assert read_table(labs / "all" / name).attrs["device"] == "cpu, cuda"


def test_tables_that_are_no_tables_are_refused(labs):
    path = labs / "b" / "similarity" / "digits" / "cka.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="is not a readable table"):
        merge_bundles([labs / "a", labs / "b"], labs / "all")


def test_commands(labs, capsys):
    assert main(["bundle", str(labs / "a"), "-o", str(labs / "c.zip")]) == 0
    assert "4 tables" in capsys.readouterr().out
    paths = [str(labs / name) for name in ("c.zip", "b.zip")]
    assert main(["merge", *paths, "-o", str(labs / "all"), "--page"]) == 0
    shown = capsys.readouterr().out
    assert "note: similarity/digits/cka.parquet: 6 pairs" in shown
    assert "m5" in (labs / "all" / "explorer" / "index.html").read_text(encoding="utf8")
    assert main(["merge", *paths, "-o", str(labs / "all")]) == 1
    assert "choose another name" in capsys.readouterr().err


def test_values_of_a_merge_are_those_of_the_library(labs):
    merge_bundles([labs / "a.zip"], labs / "one")
    table = read_table(labs / "one" / "similarity" / "digits" / "cka.parquet")
    rows = {m: {"objective": GROUPS[k % 4]} for k, m in enumerate(MODELS)}
    features = plant(rows, 20, 2, np.random.default_rng(0))
    fresh = similarities({m: features[m] for m in MODELS[:4]}, CKA)
    pd.testing.assert_series_equal(table["value"], fresh["value"])


def alignments(folder, models, *, value=0.5, spec=CKA):
    """Writes what a study like `platonic` adds: alignment, and the stability of curves."""
    rows = [
        {"dataset": "digits", "metric": "cka", "model_x": x, "model_y": y, "group_x": "image",
         "group_y": "text", "reduction": reduction, "layer_x": "a", "layer_y": "b", "n": 20,
         "value": value, "null_mean": 0.0, "null_sd": 0.1, "z": 5.0, "p": 0.05,
         "calibrated": 0.5, "failure": None}
        for y in models[1:] for x in models[:1] for reduction in ("max", "mean", "held_out")
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(RESULT_FILES["alignment"].columns))
    facts = {"spec": spec, "samples_hash": "s1", "layers": {m: ["a", "b"] for m in models}}
    write_table(table, folder / "alignment" / "digits" / "cka.parquet", facts)
    stability = pd.DataFrame(columns=list(RESULT_FILES["stability"].columns))
    write_table(stability, folder / "sensitivity" / "stability.parquet", {"bound": 0.95})
    return table


def test_alignment_is_handed_on_and_comes_back(labs):
    """Known to have been wrong: a bundle left out the main table of such a study, silently."""
    alignments(labs / "a", MODELS[:4])
    write_bundle(labs / "a", labs / "with.zip")
    names = {"alignment/digits/cka.parquet", "sensitivity/stability.parquet"}
    assert names <= set(open_bundle(labs / "with.zip").files)
    merge_bundles([labs / "with.zip"], labs / "again")
    path = "alignment/digits/cka.parquet"
    assert (labs / "again" / path).read_bytes() == (labs / "a" / path).read_bytes()


def test_alignments_of_two_labs_are_united(labs):
    first, second = alignments(labs / "a", MODELS[:4]), alignments(labs / "b", MODELS[3:])
    write_bundle(labs / "a", labs / "x.zip")
    write_bundle(labs / "b", labs / "y.zip")
    merge_bundles([labs / "x.zip", labs / "y.zip"], labs / "both")
    united = read_table(labs / "both" / "alignment" / "digits" / "cka.parquet")
    assert len(united) == len(first) + len(second)
    assert list(united.attrs["layers"]) == MODELS
    assert not (labs / "both" / "sensitivity").exists()  # of a whole set of models
    shutil.rmtree(labs / "b")
    lab(labs / "b", MODELS[:3])
    alignments(labs / "b", MODELS[:3], value=0.6)
    write_bundle(labs / "b", labs / "z.zip")
    with pytest.raises(DataError, match=r"alignment/digits/cka.parquet: m0 m1 .*: other values"):
        merge_bundles([labs / "x.zip", labs / "z.zip"], labs / "refused")
    other = {**CKA, "permutations": 7}
    alignments(labs / "b", MODELS[3:], spec=other)
    with pytest.raises(DataError, match="metric 'cka': another specification"):
        merge_bundles([labs / "x.zip", labs / "b"], labs / "refused")


def test_what_a_study_selects_no_more_is_not_handed_on(labs):
    """A table that lies there since the study had another metric."""
    similarity = labs / "a" / "similarity" / "digits"
    shutil.copy(similarity / "cka.parquet", similarity / "old.parquet")
    bundle = write_bundle(labs / "a", labs / "new.zip")
    assert "similarity/digits/cka.parquet" in bundle.files
    assert "similarity/digits/old.parquet" not in bundle.files
