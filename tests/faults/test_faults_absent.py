"""What is gone, and damaged stores: `verify` says so, though no rerun would see it."""

import shutil

import pandas as pd
import pytest
from test_faults_features import JOB, MODELS, write
from test_faults_tables import put, rewrite

from consilience.cli import main
from consilience.features import make_manifest
from consilience.features.verification import verify_results
from consilience.files import read_table, write_table
from consilience.samples import make_samples
from consilience.similarity import make_similarity

HEAD = ["metric", "dataset_x", "dataset_y"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of a study of one dataset and one metric, sound."""
    folder = tmp_path_factory.mktemp("whole") / "results"
    row = {"dataset": "d", "source": "packaged", "name": "shapes:40", "modality": "image"}
    samples = folder / "samples" / "d.parquet"
    make_samples(row, 0, samples)
    known = read_table(samples).attrs["hash"]
    paths = [write(folder, m, seed=k, samples_hash=known) for k, m in enumerate(MODELS)]
    manifest = folder / "features" / "d" / "manifest.parquet"
    make_manifest(paths, [samples], manifest)
    store = folder / "similarity" / "d" / ".pairs" / "m.parquet"
    make_similarity(manifest, folder / "similarity" / "d" / "m.parquet", **JOB, store=store)
    table = pd.DataFrame([["m", "d", "e"]], columns=HEAD)
    write_table(table, folder / "consistency" / "m.parquet", {})
    assert verify_results(folder).problems == []
    return folder


@pytest.fixture
def results(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "results")


GONE = {
    "samples": (["samples"], {"samples/d.parquet": "is not there, and tables of 'd' are"}),
    "manifest": (
        ["features/d/manifest.parquet"],
        {"features/d/manifest.parquet": "is not there, and tables of 'd' are"},
    ),
    "features": (
        ["features/d/m1.safetensors"],
        {"features/d/manifest.parquet": "lists m1.safetensors, which is not there"},
    ),
    "all features": (["features"], {"features/d/manifest.parquet": "is not there, and tables"}),
    "both": (
        ["samples", "features"],
        {"samples/d.parquet": "is not there", "features/d/manifest.parquet": "is not there"},
    ),
    "samples of features": (
        ["samples", "similarity", "consistency"],
        {"samples/d.parquet": "is not there, and features of 'd' are"},
    ),
    "similarities": (
        ["similarity"],
        {"consistency/m.parquet": "is made of similarities by 'm', and none of them is there"},
    ),
}


@pytest.mark.parametrize("what", GONE)
def test_what_is_gone_is_told(what, results, capsys):
    """Known: samples or manifest deleted, and `verify` said that all hashes agree."""
    names, expected = GONE[what]
    for name in names:
        path = results / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = {problem.file: problem.text for problem in verify_results(results).problems}
    assert set(found) == set(expected)
    assert all(text in found[file] for file, text in expected.items())
    assert main(["verify", str(results)]) == 1
    assert all(file in capsys.readouterr().err for file in list(expected)[:1])


@pytest.mark.parametrize("name", ["similarity/d/m.parquet", "similarity/d/.pairs/m.parquet"])
def test_an_edited_value_is_found_in_tables_and_stores(name, results):
    """Known: an edited similarity table, and `verify` said that all hashes agree."""
    values = read_table(results / name)["value"].tolist()
    rewrite(results / name, put("value", [values[0] + 0.1, *values[1:]]))
    found = {problem.file: problem.text for problem in verify_results(results).problems}
    assert list(found) == [name] and "was changed after it was written" in found[name]


def test_studies_that_share_features_have_manifests_of_their_own(results):
    """The folder that they share is whole without one."""
    mine = results / "mine" / "features" / "d"
    mine.mkdir(parents=True)
    (results / "features" / "d" / "manifest.parquet").rename(mine / "manifest.parquet")
    table = read_table(mine / "manifest.parquet")
    attrs, table.attrs = table.attrs, {}
    attrs["outputs"] = [{**o, "file": f"../../../features/d/{o['file']}"} for o in attrs["outputs"]]
    table["file"] = [f"../../../features/d/{name}" for name in table["file"]]
    write_table(table, mine / "manifest.parquet", attrs)
    shutil.move(results / "similarity", results / "mine" / "similarity")
    shutil.rmtree(results / "consistency")
    assert verify_results(results).problems == []
    assert verify_results(results / "mine").problems == []


def test_a_merged_folder_lacks_nothing(results):
    """Bundles carry tables alone."""
    for name in ("samples", "features"):
        shutil.rmtree(results / name)
    assert len(verify_results(results).problems) == 2
    (results / "merge.json").write_text("{}")
    assert verify_results(results).problems == []
