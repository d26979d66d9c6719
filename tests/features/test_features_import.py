"""Features from other tools and to other tools."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from consilience.cli import main
from consilience.errors import FeaturesError, ModelError
from consilience.features import read_header, read_layer, write_features
from consilience.features.extract import extract_features
from consilience.features.foreign import read_foreign
from consilience.features.importing import import_features
from consilience.samples import make_samples, read_samples

N = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of pictures, its row, its samples table and features of them in two layers."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(N):
        path = folder / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (20 * number, 0, 0)).save(path)
    row = {"dataset": "d", "source": "folder", "name": str(folder / "pictures")}
    row["modality"] = "image"
    make_samples(row, 0, folder / "d.parquet")
    samples = read_samples(folder / "d.parquet")
    draw = np.random.default_rng(0)
    layers = {name: draw.normal(size=(N, d)).astype(np.float32) for name, d in (("a", 3), ("b", 2))}
    return row, folder / "d.parquet", samples.table, layers


@pytest.fixture
def bring(data, tmp_path):
    """Imports a file and returns {layer: matrix} of the features file, its header put aside."""
    _, samples, _, _ = data

    def run(path, **options):
        out = tmp_path / "out.safetensors"
        out.unlink(missing_ok=True)
        import_features(path, samples, "theirs", out, **options)
        run.header = read_header(out)
        return {name: read_layer(out, name) for name in run.header["layers"]}

    return run


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, x in wanted.items():
        np.testing.assert_array_equal(found[name], x)
        assert found[name].dtype == np.float32


# Formats with ids of their own, in another order than the samples


def shuffled(data):
    ids = data[2]["id"].to_numpy(str)
    order = np.random.default_rng(1).permutation(N)
    return ids[order], {name: x[order] for name, x in data[3].items()}


def as_npz(path, ids, layers):
    np.savez(path / "f.npz", ids=ids, **layers)
    return path / "f.npz"


def as_pt(path, ids, layers):
    tensors = {name: torch.from_numpy(x) for name, x in layers.items()}
    torch.save({"ids": ids.tolist(), **tensors}, path / "f.pt")
    return path / "f.pt"


def as_parquet(path, ids, layers):
    lists = {name: list(x) for name, x in layers.items()}
    pd.DataFrame({"id": ids, **lists}).to_parquet(path / "f.parquet")
    return path / "f.parquet"


def as_h5(path, ids, layers):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path / "f.h5", "w") as stream:
        stream["ids"] = ids.astype("S")
        for name, x in layers.items():
            stream[name] = x
    return path / "f.h5"


@pytest.mark.parametrize("write", [as_npz, as_pt, as_parquet, as_h5])
def test_rows_are_found_by_the_ids_in_the_file(data, bring, tmp_path, write):
    same(bring(write(tmp_path, *shuffled(data))), data[3])
    header = bring.header
    assert header["model"]["model"] == "theirs" and header["model"]["source"] == "imported"
    assert header["dataset"] == "d" and header["n"] == N
    assert header["samples_hash"] == read_samples(data[1]).hash
    assert len(header["provenance"]["weights_sha256"]) == 64


def test_ids_beside_the_file(data, bring, tmp_path):
    ids, layers = shuffled(data)
    np.save(tmp_path / "x.npy", layers["a"])
    (tmp_path / "ids.txt").write_bytes(("\ufeff" + "\r\n".join([*ids, "", ""])).encode())
    same(bring(tmp_path / "x.npy", ids_path=tmp_path / "ids.txt"), {"features": data[3]["a"]})


def test_plain_columns_are_one_layer(data, bring, tmp_path):
    ids, layers = shuffled(data)
    table = pd.DataFrame(layers["a"], columns=["u0", "u1", "u2"]).assign(id=ids)
    table.to_parquet(tmp_path / "x.parquet")
    same(bring(tmp_path / "x.parquet"), {"features": data[3]["a"]})


def test_a_larger_file_is_taken_in_part_only_if_that_is_said(data, bring, tmp_path):
    ids, layers = shuffled(data)
    more = {name: np.concatenate([x, x[:2] + 1]) for name, x in layers.items()}
    path = as_npz(tmp_path, np.array([*ids, "a/98.png", "a/99.png"]), more)
    with pytest.raises(FeaturesError, match=r"2 rows of unknown ids, first 'a/98.png'; .*subset"):
        bring(path)
    same(bring(path, order="subset"), data[3])


# Layouts of other tools


@pytest.mark.parametrize("kind", ["npy", "pt", "hdf5", "parts"])
def test_thingsvision(data, bring, tmp_path, kind):
    folder, (ids, layers) = tmp_path / "tv", shuffled(data)
    folder.mkdir()
    (folder / "file_names.txt").write_text("\n".join(f"/home/me/pictures/{i}" for i in ids))
    if kind == "npy":
        np.save(folder / "features.npy", layers["a"])
    elif kind == "pt":
        torch.save(torch.from_numpy(layers["a"]), folder / "features.pt")
    elif kind == "parts":
        for number, part in enumerate(np.array_split(layers["a"], 3), 1):
            np.save(folder / f"features_{number:02d}.npy", part)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(folder / "features.hdf5", "w") as stream:
            stream["features"] = layers["a"]
    same(bring(folder), {"features": data[3]["a"]})
    if kind == "npy":
        same(bring(folder / "features.npy"), {"features": data[3]["a"]})


def splits(folder, data, shift=0):
    """The layout of CLIP_benchmark and similarity_consistency."""
    folder.mkdir()
    table, x = data[2], data[3]["a"]
    for split in ("train", "test"):
        mine = (table["split"] == split).to_numpy()
        labels = torch.tensor(table["label"].to_numpy(np.int64)[mine]).roll(shift)
        torch.save(torch.from_numpy(x[mine]), folder / f"features_{split}.pt")
        torch.save(labels, folder / f"targets_{split}.pt")
    return folder


def test_clip_benchmark_and_similarity_consistency(data, bring, tmp_path):
    folder = splits(tmp_path / "cb", data)
    with pytest.raises(FeaturesError, match="does not say which row is which sample"):
        bring(folder)
    same(bring(folder, order="samples"), {"features": data[3]["a"]})
    with pytest.raises(FeaturesError, match="labels are not those of the samples, first row 0"):
        bring(splits(tmp_path / "rolled", data, shift=1), order="samples")
    (folder / "features_test.pt").unlink()
    with pytest.raises(FeaturesError, match=f"rows for {N} samples of the split train"):
        bring(folder, order="samples")


def test_platonic_rep(data, bring, tmp_path):
    feats = np.stack([data[3]["a"], data[3]["a"] + 1], axis=1)
    content = {"feats": torch.from_numpy(feats).bfloat16(), "num_params": 7, "bpb": 1.2}
    torch.save(content, tmp_path / "m_pool-avg.pt")
    found = bring(tmp_path / "m_pool-avg.pt", order="samples")
    rounded = torch.from_numpy(feats).bfloat16().float().numpy()
    same(found, {"layer_0": rounded[:, 0], "layer_1": rounded[:, 1]})


def test_a_features_file_proves_its_own_order(data, bring, tmp_path):
    header = {"model": {"model": "m"}, "dataset": "d"}
    ids = data[2]["id"].tolist()
    for samples_hash in (read_samples(data[1]).hash, "5" * 64):
        out = tmp_path / f"{samples_hash}.safetensors"
        write_features(out, data[3], {**header, "samples_hash": samples_hash}, ids)
    same(
        bring(tmp_path / f"{read_samples(data[1]).hash}.safetensors", layers=["b"]),
        {"b": data[3]["b"]},
    )
    with pytest.raises(FeaturesError, match="does not say which row"):
        bring(out)
    save_file({"x": data[3]["a"].astype(np.float16)}, tmp_path / "plain.safetensors")
    half = data[3]["a"].astype(np.float16).astype(np.float32)
    same(bring(tmp_path / "plain.safetensors", order="samples"), {"x": half})


# What is refused


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_nothing_is_executed(bring, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"feats": Evil()}, "evil.pt")
    np.save("evil.npy", np.array([Evil()] * N, dtype=object), allow_pickle=True)
    np.savez("evil.npz", x=np.array([Evil()] * N, dtype=object))
    Path("evil.pkl").write_bytes(pickle.dumps(Evil()))
    for name, message in (
        ("evil.pt", "can execute code and are refused"),
        ("evil.npy", "cannot be read"),
        ("evil.npz", "cannot be read"),
        ("evil.pkl", "pickles are refused"),
    ):
        with pytest.raises(FeaturesError, match=message):
            bring(name, order="samples")
    assert not Path("executed").exists()


def npy(change):
    def make(folder, data):
        np.save(folder / "x.npy", change(data[3]["a"].copy()))
        return folder / "x.npy"

    return make


def with_nan(x):
    x[3, 1] = np.nan
    return x


def npz(change):
    def make(folder, data):
        ids, layers = change(data[2]["id"].to_numpy(str).copy(), dict(data[3]))
        return as_npz(folder, ids, layers)

    return make


def renamed(ids, layers):
    ids[5] = "a/elsewhere.png"
    return ids, layers


def repeated(ids, layers):
    ids[5] = ids[4]
    return ids, layers


def shorter(ids, layers):
    return ids[:-1], layers


def uneven(ids, layers):
    return ids, {**layers, "b": layers["b"][:-1]}


def broken(name, content):
    def make(folder, _):
        (folder / name).write_bytes(content)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (npy(lambda x: x), {}, r"does not say which row is which sample; give the ids \(--ids"),
        (npy(lambda x: x[1:]), {"order": "samples"}, "11 rows for 12 samples; give ids"),
        (npy(lambda x: x[:, :, None]), {"order": "samples"}, r"shape \(12, 3, 1\), expected"),
        (npy(with_nan), {"order": "samples"}, "1 of 12 samples have values that are not finite"),
        (npy(lambda x: x.astype(str)), {"order": "samples"}, "are no numbers"),
        (npy(lambda x: x), {"order": "sampels"}, "did you mean 'samples'"),
        (npz(renamed), {}, "lacks 1 of 12 samples, first"),
        (npz(repeated), {}, "two rows have the id"),
        (npz(shorter), {}, "11 ids for 12 rows"),
        (npz(uneven), {}, "layer 'b' has 11 rows, others 12"),
        (npz(lambda i, x: (i, x)), {"layers": ["c"]}, "has no layer 'c'"),
        (broken("x.npy", b"\x93NUMPY"), {}, "cannot be read"),
        (broken("x.npz", b"PK"), {}, "cannot be read"),
        (broken("x.pt", b"?"), {}, "cannot be read"),
        (broken("x.parquet", b"PAR1"), {}, "cannot be read"),
        (broken("x.safetensors", b"12345678"), {}, "cannot be read"),
        (broken("x.csv", b""), {}, "cannot read .csv; use .npy"),
        (lambda folder, _: folder, {}, "holds neither features_train.pt"),
        (lambda folder, _: folder / "none.npy", {}, "no such file or folder"),
    ],
)
def test_bad_input_gets_one_clear_error(data, bring, tmp_path, make, options, message):
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(FeaturesError, match=message):
        bring(make(folder, data), **options)
    assert not (tmp_path / "out.safetensors").exists()


def test_hdf5_without_its_library(bring, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "x.h5").write_bytes(b"")
    with pytest.raises(FeaturesError, match=r"takes h5py; run pip install 'consilience\[hdf5\]'"):
        bring(tmp_path / "x.h5")


# As a model of a study


def test_the_source_imported(data, tmp_path):
    row, samples, _, layers = data
    ids, mixed = shuffled(data)
    as_npz(tmp_path, ids, mixed).rename(tmp_path / "d.npz")
    model = {"model": "theirs", "source": "imported", "modality": "image"}
    model |= {"name": str(tmp_path / "{dataset}.npz"), "layers": "a"}
    out = tmp_path / "features" / "theirs.safetensors"
    extract_features(model, row, samples, out)
    np.testing.assert_array_equal(read_layer(out, "a"), layers["a"])
    header = read_header(out)
    assert header["layers"] == ["a"] and header["model"] == model
    wanted = header["provenance"]["weights_sha256"]
    np.save(tmp_path / "x.npy", layers["a"])
    extract_features({**model, "sha256": wanted}, row, samples, out)
    for change, error, message in (
        ({"sha256": "5" * 64}, ModelError, "expected 5{64}"),
        ({"order": "ordered"}, ModelError, "unknown order 'ordered'"),
        ({"name": "{data}.npy"}, ModelError, r"may hold \{dataset\} and \{model\}"),
        ({"name": "none.npy"}, FeaturesError, "model 'theirs', dataset 'd': none.npy: no such"),
        (
            {"name": str(tmp_path / "x.npy"), "layers": ""},
            FeaturesError,
            "`samples` in the column order of the",
        ),
    ):
        with pytest.raises(error, match=message):
            extract_features({**model, **change}, row, samples, out)
    assert not list(out.parent.glob(".*"))


def test_values_that_do_not_fit_are_not_blamed_on_a_network(data, tmp_path):
    row, samples, _, layers = data
    model = {"model": "theirs", "source": "imported", "order": "samples", "modality": "image"}
    model |= {"name": str(tmp_path / "x.npy")}
    out = tmp_path / "features" / "theirs.safetensors"
    for factor, dtype, message in (
        (1e6, "float16", r"values that float16 cannot hold.*set features.dtype to float32$"),
        (1e300, "float32", r"12 of 12 rows of layer 'features' have values that float32 cannot"),
        (np.inf, "float32", r"not finite, first .*; correct them where they come from$"),
    ):
        np.save(tmp_path / "x.npy", layers["a"].astype(float) * factor)
        with pytest.raises(FeaturesError, match=message):
            extract_features(model, row, samples, out, dtype=dtype)


# The commands


def test_import_and_export_from_the_command_line(data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, samples, _, layers = data
    path = as_npz(tmp_path, *shuffled(data))
    command = [
        "import",
        str(path),
        "--samples",
        str(samples),
        "--model",
        "m",
        "-o",
        "f.safetensors",
    ]
    assert main(command) == 0
    for name in ("b.npy", "b.pt"):
        assert main(["export", "f.safetensors", "--layer", "b", "-o", name]) == 0
    assert "float32 (12, 2)" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load("b.npy"), layers["b"])
    back = torch.load("b.pt", weights_only=True)
    np.testing.assert_array_equal(back.numpy(), layers["b"])
    for arguments, message in (
        (["export", "f.safetensors", "--layer", "c", "-o", "c.npy"], "no layer 'c'"),
        (["export", "f.safetensors", "--layer", "b", "-o", "b.mat"], "write .npy or .pt"),
        ([*command[:2], "--samples", "none.parquet", *command[4:]], "none.parquet"),
        ([*command, "--ids", "none.txt"], "no such file of ids"),
    ):
        assert main(arguments) == 1
        shown = capsys.readouterr().err
        assert message in shown and len(shown.splitlines()) == 1


def test_commands_start_without_torch():
    code = "import sys, consilience.cli\nsys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_inspect(tmp_path, capsys):
    draw = np.random.default_rng(0)
    good, odd = draw.normal(size=(40, 6)), draw.normal(size=(40, 6))
    odd[:, 2] = 3.0  # a constant unit
    odd[7] = odd[9]
    odd[5] = 0
    odd[11] *= 1e4
    header = {"model": {"model": "m"}, "dataset": "d", "samples_hash": "5" * 64}
    header["provenance"] = {"weights": "random:0", "pooling": "mean"}
    path = tmp_path / "m.safetensors"
    layers = {"good": good.astype(np.float32), "odd": odd.astype(np.float32)}
    ids = [str(i) for i in range(40)]
    write_features(path, layers, header, ids, outputs={"logits": good[:, :2]})
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    one = found["tensors"]["good"]
    assert one["shape"] == [40, 6] and one["warnings"] == []
    x = layers["good"].astype(float)
    for key, value in (("mean", x.mean()), ("sd", x.std()), ("min", x.min()), ("max", x.max())):
        assert one[key] == pytest.approx(value, abs=1e-12)
    assert one["norm"]["median"] == pytest.approx(np.median(np.linalg.norm(x, axis=1)))
    variances = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    assert one["top_direction"] == pytest.approx(variances[0] / variances.sum())
    assert found["tensors"]["logits"]["warnings"] == []
    texts = " | ".join(found["warnings"])
    for text in (
        "odd: 1 row is zero",
        "odd: 1 row is the same as another row",
        "times as long as the median one",
        "odd: one direction holds 100% of the variance",
    ):
        assert text in texts
    assert "units are constant" not in texts  # row 5 is zero there too
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    for text in ("random:0", "40 x 6", "warning: odd: 1 row is zero", "logits"):
        assert text in shown
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(bytes(content))
    assert main(["inspect", str(path)]) == 0
    assert "the file is damaged" in capsys.readouterr().out


def test_inspect_sees_values_that_are_not_finite_and_constant_units(tmp_path, capsys):
    header = {"model": {"model": "m"}, "dataset": "d", "samples_hash": "5" * 64}
    path, x = tmp_path / "m.safetensors", np.ones((30, 2), np.float32)
    x[:, 1] = np.arange(30)
    write_features(path, {"x": x}, header, [str(i) for i in range(30)])
    content = path.read_bytes()
    path.write_bytes(content[:-4] + np.float32(np.nan).tobytes())
    assert main(["inspect", str(path), "--json"]) == 0
    texts = " | ".join(json.loads(capsys.readouterr().out)["warnings"])
    assert "1 row is not finite" in texts and "1 of 2 units are constant" in texts


# Ids of other kinds, and ids that speak against the order that is promised


def test_ids_that_contradict_the_order_are_refused(data, bring, tmp_path):
    _, _, table, layers = data
    ids = table["id"].tolist()
    np.savez(tmp_path / "x.npz", ids=[f"pictures/{name}" for name in ids[::-1]], a=layers["a"])
    told = rf"row 0 is '{ids[-1]}', where the sample is '{ids[0]}'; leave the order to the ids"
    with pytest.raises(FeaturesError, match=told):
        bring(tmp_path / "x.npz", order="samples")
    for own in (ids, [f"row {i}" for i in range(N)]):  # the same, or none of the samples'
        np.savez(tmp_path / "x.npz", ids=own, a=layers["a"])
        same(bring(tmp_path / "x.npz", order="samples"), {"a": layers["a"]})


def test_ids_of_numbers_and_of_one_column(tmp_path):
    np.savez(tmp_path / "x.npz", ids=np.array([["b"], ["a"]]), x=np.eye(2))
    assert read_foreign(tmp_path / "x.npz").pieces[0].ids == ("b", "a")
    torch.save({"ids": torch.tensor([4, 2]), "x": torch.eye(2)}, tmp_path / "x.pt")
    assert read_foreign(tmp_path / "x.pt").pieces[0].ids == ("4", "2")
