"""The command `consilience compare`."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from consilience.cli import main
from consilience.errors import FeaturesError
from consilience.features import write_features
from consilience.features.activations import reduce_pair
from consilience.metrics import Preprocessing, get_metric
from consilience.networks.weights import write_trained
from consilience.similarity import pairwise, pairwise_many


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 12))
    y = x @ rng.normal(size=(12, 8)) + rng.normal(size=(60, 8))
    np.save(tmp_path / "a.npy", x)
    save_file({"early": y, "late": y[:, :5].copy()}, tmp_path / "b.safetensors")
    np.savez(tmp_path / "c.npz", only=y)
    return tmp_path, x, y


CKA = ("--metric", "cka")
"""The metric of features as they are; a variant is that of a study, which divides rows first."""


def run(capsys, *arguments):
    status = main(["compare", *map(str, arguments)])
    return status, capsys.readouterr()


def test_value_and_null_of_two_files(files, capsys):
    folder, x, y = files
    arguments = [folder / "a.npy", f"{folder / 'b.safetensors'}:early", "--json"]
    for name, before in (("cka", {}), ("cka_debiased", {"row_normalize": True})):
        status, shown = run(capsys, *arguments, "--metric", name, "--null")
        found = json.loads(shown.out)
        assert status == 0
        table = pairwise(
            get_metric("cka"), {"x": x, "y": y}, null="closed_form",
            preprocessing=Preprocessing(**before),
        )  # fmt: skip
        row = table[(table.model_x == "x") & (table.model_y == "y")].iloc[0]
        for key in ("value", "null_mean", "null_sd", "z", "p", "calibrated"):
            assert found[key] == row[key], (name, key)
        assert found["row_normalize"] == bool(before)
    plain = json.loads(run(capsys, *arguments, "--set", "row_normalize=false")[1].out)
    assert plain["value"] == get_metric("cka")(x, y)


def test_text_says_all(files, capsys):
    folder, x, y = files
    arguments = [folder / "a.npy", folder / "c.npz", "--metric", "rsa", "--set", "rdm=cosine"]
    status, shown = run(capsys, *arguments, "--null", "--permutations", 99, "--center")
    assert status == 0
    value = get_metric("rsa", rdm="cosine")(x - x.mean(0), y - y.mean(0))
    for part in (
        "rdm=cosine",
        "units centred",
        f"{value:.6g}",
        "monte carlo",
        "0.01",
        "calibrated",
    ):
        assert part in shown.out


def test_what_is_not_told_is_explained(files, capsys):
    """Features with as many units as samples, of which CCA says the same whatever they are."""
    folder, _, _ = files
    rng = np.random.default_rng(3)
    for name in ("wide_x", "wide_y"):
        np.save(folder / f"{name}.npy", rng.normal(size=(20, 30)))
    arguments = [folder / "wide_x.npy", folder / "wide_y.npy", "--metric", "cca", "--null"]
    shown = run(capsys, *arguments, "--permutations", 19)[1].out
    assert "calibrated  undefined" in shown and "note        no z: permuting" in shown
    found = json.loads(run(capsys, *arguments, "--permutations", 19, "--json")[1].out)
    assert found["calibrated"] is None and "no calibrated: chance" in found["note"]
    found = json.loads(run(capsys, folder / "a.npy", folder / "c.npz", "--null", "--json")[1].out)
    assert found["note"] is None


@pytest.mark.parametrize("form", ["txt", "npy"])
def test_groups_of_samples_are_taken_from_a_file(files, capsys, form):
    folder, x, y = files
    groups = np.repeat(np.arange(20), 3)
    if form == "npy":
        np.save(folder / "g.npy", groups)
    else:
        (folder / "g.txt").write_text("".join(f"picture {g}\n" for g in groups))
    arguments = [folder / "a.npy", folder / "c.npz", "--groups", folder / f"g.{form}"]
    arguments += CKA
    found = json.loads(run(capsys, *arguments, "--null", "--json")[1].out)
    assert found["value"] == get_metric("cka")(x, y, groups=groups)
    assert found["groups"] == "20 groups of 3 samples" and found["null"] == "monte_carlo"
    assert "groups      20 groups of 3 samples" in run(capsys, *arguments)[1].out
    mean = [*arguments, "--set", "group_rows=mean", "--null", "--json"]
    found = json.loads(run(capsys, *mean)[1].out)
    means = [side.reshape(20, 3, -1).mean(axis=1) for side in (x, y)]
    assert found["value"] == pytest.approx(get_metric("cka")(*means), abs=1e-12)
    assert found["null"] == "closed_form"
    np.save(folder / "g.npy", groups[1:])
    arguments[3] = folder / "g.npy"
    assert "groups have shape (59,) for 60 samples" in run(capsys, *arguments)[1].err


def test_variants_bring_their_preprocessing(files, capsys):
    folder, x, y = files
    arguments = [folder / "a.npy", folder / "c.npz", "--metric", "cka_rbf_0.4", "--row-normalize"]
    found = json.loads(run(capsys, *arguments, "--json")[1].out)
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y)]
    assert found["value"] == pytest.approx(
        get_metric("cka", kernel="rbf", sigma=0.4)(*unit), abs=1e-9
    )


def test_maps_are_reduced(tmp_path, capsys):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4, 6, 6)), rng.normal(size=(30, 5, 3, 3))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    files = [tmp_path / "x.npy", tmp_path / "y.npy"]
    assert "consilience.features.activations" in run(capsys, *files)[1].err
    found = json.loads(run(capsys, *files, "--reduce", "spatial", "--json", *CKA)[1].out)
    assert found["value"] == get_metric("cka")(*reduce_pair(x, y, "spatial"))
    assert (found["reduction"], found["seed"], found["x"]["shape"]) == ("spatial", 0, [30, 4, 6, 6])
    table = pairwise(get_metric("cka"), {"x": x, "y": y}, reduction="mean")
    assert table.attrs == {"reduction": "mean"}
    assert table["value"].iloc[1] == get_metric("cka")(x.mean((2, 3)), y.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.parquet", lambda p: pd.DataFrame({"a": [1]}).to_parquet(p), "Parquet table: pandas"),
        ("a.npy", lambda p: np.save(p, np.ones(3)), "array of NumPy: `consilience import` makes"),
        ("a.npz", lambda p: np.savez(p, a=np.ones(3)), "zip archive, such as .npz or .pt"),
        ("a", lambda p: p.mkdir(), "a folder; name the file"),
    ],
)
def test_inspect_of_another_format_does_not_say_to_delete_it(
    tmp_path, capsys, name, write, message
):
    write(tmp_path / name)
    assert main(["inspect", str(tmp_path / name)]) == 1
    text = capsys.readouterr().err
    assert f"{name} is no features file but " in text and message in text
    assert "delete" not in text


def test_of_a_features_file_the_layer_is_taken_and_outputs_where_they_are_named(tmp_path, capsys):
    rng = np.random.default_rng(2)
    pairs, ids = {}, [f"s{i}" for i in range(30)]
    for name in "ab":
        x, logits = (rng.normal(size=(30, d)).astype("float32") for d in (6, 4))
        header = {"model": {"model": name}, "dataset": "d", "samples_hash": "s"}
        path = tmp_path / f"{name}.safetensors"
        write_features(path, {"late": x}, header, ids, outputs={"logits": logits})
        pairs[path] = {"late": x, "logits": logits}
    for layer, ending in (("late", ""), ("logits", ":logits")):
        found = json.loads(
            run(capsys, *(f"{path}{ending}" for path in pairs), "--json", *CKA)[1].out
        )
        expected = get_metric("cka")(*(own[layer].astype(float) for own in pairs.values()))
        assert found["value"] == pytest.approx(expected, abs=1e-12)


def test_a_metric_takes_of_a_features_file_what_it_compares(tmp_path, capsys):
    rng = np.random.default_rng(2)
    given, ids, paths = (
        [],
        [f"s{i}" for i in range(30)],
        [tmp_path / f"{n}.safetensors" for n in "ab"],
    )
    for path in paths:
        f, g = (rng.normal(size=(n, 2)).astype("float32") for n in (30, 5))
        given.append({"features": f, "unembedding": g, "logits": f @ g.T})
        header = {"model": {"model": path.stem}, "dataset": "d", "samples_hash": "s"}
        write_features(path, {"late": f}, header, ids, outputs={"logits": f @ g.T}, unembedding=g)
    for name, inputs in (
        ("kl", ["logits"]),
        ("d_llv", ["logits"]),
        ("identifiable_svd", ["features", "unembedding", "logits"]),
        ("cka", ["features"]),
    ):
        metric = get_metric(name)
        prepared = (metric.prepare(*(own[key].astype(float) for key in inputs)) for own in given)
        found = json.loads(run(capsys, *map(str, paths), "--metric", name, "--json")[1].out)
        assert found["value"] == pytest.approx(metric.compare(*prepared), rel=1e-6), name
    header = {"model": {"model": "bare"}, "dataset": "d", "samples_hash": "s"}
    write_features(tmp_path / "bare.safetensors", {"late": given[0]["features"]}, header, ids)
    code, said = run(capsys, *[str(tmp_path / "bare.safetensors")] * 2, "--metric", "kl")
    assert code == 1 and "bare.safetensors holds no logits, which the metric compares" in said.err


@pytest.mark.parametrize("command", ["inspect", "compare"])
def test_trained_weights_are_no_features(tmp_path, capsys, command):
    path = tmp_path / "w.safetensors"
    write_trained(path, {"weight": torch.ones(3, 2)}, {"spec": {}, "task": {}})
    assert main([command, *[str(path)] * (1 + (command == "compare"))]) == 1
    assert "w.safetensors is no features file: its header names no lay" in capsys.readouterr().err


def features_file(path, x, dataset, samples_hash):
    header = {"model": {"model": path.stem}, "dataset": dataset, "samples_hash": samples_hash}
    write_features(path, {"late": x}, header, [f"s{i}" for i in range(len(x))])
    return path


def test_features_of_other_stimuli_are_refused(tmp_path, capsys):
    rng = np.random.default_rng(3)
    x = [rng.normal(size=(30, 6)).astype("float32") for _ in range(3)]
    one = features_file(tmp_path / "one.safetensors", x[0], "cats", "a" * 64)
    same = features_file(tmp_path / "same.safetensors", x[1], "cats", "a" * 64)
    other = features_file(tmp_path / "other.safetensors", x[2], "dogs", "b" * 64)
    said = "only features of the same samples in the same order compare"
    for name in (other, f"{other}:late"):
        status, shown = run(capsys, one, name, "--null")
        assert (status, shown.out) == (1, "")
        assert said in shown.err and len(shown.err.splitlines()) == 1
        for part in ("'cats'", "'dogs'", "aaaaaaaaaaaa", "bbbbbbbbbbbb"):
            assert part in shown.err
    with pytest.raises(FeaturesError, match=f"model 'other' is of dataset 'dogs'.*{said}"):
        pairwise(get_metric("cka"), {"one": one, "other": other, "same": same})
    with pytest.raises(FeaturesError, match=said):
        pairwise_many({"cka": get_metric("cka")}, {"one": one, "other": other})
    assert pairwise(get_metric("cka"), {"one": one, "same": same, "array": x[2]}).shape[0] == 6


def test_dataset_and_samples_are_told(tmp_path, capsys):
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=(30, 6)).astype("float32") for _ in range(2))
    one = features_file(tmp_path / "one.safetensors", x, "cats", "a" * 64)
    same = features_file(tmp_path / "same.safetensors", y, "cats", "a" * 64)
    np.save(tmp_path / "array.npy", y)
    assert "samples     30 of dataset 'cats'\n" in run(capsys, one, same)[1].out
    shown = run(capsys, one, tmp_path / "array.npy")[1].out
    assert "30 of dataset 'cats'; " in shown
    assert "array.npy cannot tell of which: rows are taken in order" in shown
    found = json.loads(run(capsys, one, tmp_path / "array.npy", "--json")[1].out)
    assert (found["n"], found["x"]["dataset"], found["y"]["dataset"]) == (30, "cats", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.npy", "nothing.npy"], "nothing.npy: no such file"),
        (["a.npy", "b.safetensors"], "holds 2 layers; name one: b.safetensors:early, b.saf"),
        (["a.npy", "b.safetensors:erly"], "no layer 'erly'; did you mean 'early'?"),
        (["a.npy", "c.npz", "--metric", "ckaa"], "unknown metric 'ckaa'; did you mean 'cka'?"),
        (["a.npy", "c.npz", "--set", "kernel"], "'kernel' is not NAME=VALUE"),
        (["a.npy", "d.pt"], "pickles are refused"),
        (["a.npy", "broken.npy"], "cannot be read"),
        (["a.npy", "objects.npy"], "cannot be read"),
        (["a.npy", "short.npy"], "only features of the same samples compare"),
    ],
)
def test_mistakes_are_one_line(files, capsys, monkeypatch, arguments, message):
    folder, x, _ = files
    monkeypatch.chdir(folder)
    (folder / "d.pt").write_bytes(b"")
    (folder / "broken.npy").write_bytes(b"\x93NUMPY")
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(folder / "short.npy", x[1:])
    status, shown = run(capsys, *arguments)
    assert status == 1
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1


# Files and options that people have


def test_ids_of_other_samples_or_in_another_order_are_refused(files, capsys):
    folder, x, y = files
    ids = np.array([f"{i}.png" for i in range(len(x))])
    np.savez(folder / "x.npz", embeddings=x, ids=ids, labels=np.arange(len(x)))
    np.savez(folder / "y.npz", embeddings=y, file_names=ids[::-1])
    status, shown = run(capsys, folder / "x.npz", folder / "y.npz")
    assert status
    assert "row 0 is '0.png' in the one and '59.png' in the other" in shown.err
    np.savez(folder / "y.npz", embeddings=y, file_names=ids)
    status, shown = run(capsys, folder / "x.npz", folder / "y.npz", "--json", *CKA)
    assert status == 0
    assert json.loads(shown.out)["value"] == get_metric("cka")(x, y)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--null", "--permutations", "0"], "--permutations 0: a null takes 2 or more"),
        (["--null", "--permutations", "-5"], "--permutations -5: a null takes"),
        (["--set", "k=[1"], "--set 'k=[1': the value cannot be read"),
        (["--labels", "nosuch.npy"], "nosuch.npy: no such file"),
    ],
)
def test_options_that_cannot_be_meant(files, capsys, options, told):
    folder, _, _ = files
    status, shown = run(capsys, folder / "a.npy", folder / "c.npz", *options)
    assert status
    assert told in shown.err


def test_a_torn_archive_is_told(files, capsys):
    folder, _, _ = files
    torn = folder / "torn.npz"
    torn.write_bytes((folder / "c.npz").read_bytes()[:500])
    status, shown = run(capsys, folder / "a.npy", torn)
    assert status
    assert "torn.npz: cannot be read" in shown.err


def test_nothing_is_not_verified(tmp_path, capsys):
    assert main(["verify", str(tmp_path)])
    assert "holds no results; name a folder" in capsys.readouterr().err
