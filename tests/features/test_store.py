"""Features files beyond layers: outputs, rows, batches by size, and proof that nothing changed."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors import safe_open

from consilience.cli import main
from consilience.errors import DataError, FeaturesError
from consilience.features import (
    content_hash,
    read_header,
    read_layer,
    write_features,
    write_manifest,
)
from consilience.features import extract as extract_module
from consilience.features.batches import Chunk, make_batches, wanted_rows
from consilience.features.container import Entry, write_tensors
from consilience.features.extract import extract_features
from consilience.features.language import language_figures
from consilience.features.verification import verify_results
from consilience.features.versions import mixed_versions
from consilience.files import digest, read_table, write_table
from consilience.metrics import get_metric
from consilience.probe import make_probe
from consilience.reliability import halves_of, make_reliability
from consilience.samples import make_samples, read_samples
from consilience.sensitivity import Curves, draw_rows, make_sensitivity
from consilience.similarity import make_similarity, pairwise

ROOT = Path(__file__).parents[2]
HEADER = {"model": {"model": "a", "source": "raw"}, "dataset": "toy", "samples_hash": "5" * 64}
CLASSES = 12
NONE = {"row_normalize": False, "center": False}


def draw(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def names(n):
    return [f"s{i}" for i in range(n)]


# Outputs


def test_outputs_and_unembedding_stand_beside_the_layers(tmp_path):
    path = tmp_path / "a.safetensors"
    layers = {"x": draw(5, 4), "y": draw(5, 3, 1)}
    loss, head = np.array([[1e5, 70000.0]] * 5, np.float32), draw(7, 3, 2)
    options = {"outputs": {"loss": loss}, "unembedding": head, "dtype": "float16"}
    write_features(path, layers, HEADER, names(5), **options)
    header = read_header(path)
    assert (header["layers"], header["outputs"]) == (["x", "y"], ["loss", "unembedding"])
    assert header["shapes"]["unembedding"] == [7, 3] and header["dtype"] == "float16"
    np.testing.assert_array_equal(read_layer(path, "loss"), loss)  # too large for half precision
    assert read_layer(path, "unembedding").dtype == np.float16
    assert sorted(header["hashes"]) == ["loss", "unembedding", "x", "y"]
    with safe_open(path, "numpy") as stream:
        np.testing.assert_array_equal(stream.get_tensor("loss"), loss)
    # What reads layers does not see them.
    write_manifest([path], tmp_path / "manifest.parquet")
    manifest = read_table(tmp_path / "manifest.parquet")
    assert manifest["layer"].tolist() == ["x", "y"]
    assert [row["output"] for row in manifest.attrs["outputs"]] == ["loss", "unembedding"]
    assert set(pairwise(get_metric("cka"), {"a": path})["layer_x"]) == {"x", "y"}


def test_outputs_are_checked_as_layers_are(tmp_path):
    def write(**options):
        write_features(tmp_path / "a.safetensors", {"x": draw(5, 4)}, HEADER, names(5), **options)

    with pytest.raises(FeaturesError, match=r"output 'logits': features of shape \(4, 2\)"):
        write(outputs={"logits": draw(4, 2)})
    bad = draw(5, 2)
    bad[3] = np.inf
    with pytest.raises(FeaturesError, match=r"output 'logits': 1 of 5 samples .* first 's3'"):
        write(outputs={"logits": bad})
    for head in (bad, draw(5, 2)[0]):
        with pytest.raises(FeaturesError, match=r"the unembedding of shape .* is no finite matrix"):
            write(unembedding=head)
    assert list(tmp_path.iterdir()) == []


class Classifier:
    """Raw pixels, results by fixed random weights: an extractor with outputs."""

    layers, outputs = ("pixels",), ("logits",)

    def __init__(self, row):
        self.provenance = {"weights": "drawn"}
        self.unembedding = draw(CLASSES, 75, int(row["name"]))

    def preprocess(self, sample):
        small = sample.image().resize((5, 5))
        return torch.tensor(np.asarray(small, np.float32).ravel() / 255)

    def extract(self, batch):
        x = torch.stack(list(batch))
        return {"pixels": x, "logits": x @ torch.from_numpy(self.unembedding).T}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    row = {"dataset": "shapes", "source": "packaged", "name": "shapes:60"}
    row["modality"] = "image+text"
    path = tmp_path_factory.mktemp("samples") / "samples" / "shapes.parquet"
    make_samples(row, 0, path)
    return row, path


@pytest.fixture(scope="module")
def made(shapes):
    """A folder of results with two classifiers on one dataset, similarities and a probe."""
    folder = shapes[1].parents[1]
    load = extract_module.load_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            extract_module,
            "load_model",
            lambda row, device: Classifier(row) if row["source"] == "own" else load(row, device),
        )
        for seed in (0, 1):
            row = {"model": f"m{seed}", "source": "own", "name": str(seed)}
            extract_features(row, *shapes, folder / "features" / "shapes" / f"m{seed}.safetensors")
    manifest(folder)
    similarity(folder, "cka")
    similarity(folder, "jsd")
    probe = folder / "probe" / "shapes" / "m0.parquet"
    make_probe(folder / "features" / "shapes" / "m0.safetensors", shapes[1], probe)
    return folder


@pytest.fixture
def results(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "results"))


def manifest(folder):
    features = folder / "features" / "shapes"
    write_manifest(features.glob("*.safetensors"), features / "manifest.parquet")


def similarity(folder, metric, **options):
    out = folder / "similarity" / "shapes" / f"{metric}.parquet"
    spec = {"metric": metric, "parameters": {}, "layers": "all", "permutations": 0}
    spec["preprocessing"] = {"row_normalize": True, "center": False}
    make_similarity(
        folder / "features" / "shapes" / "manifest.parquet",
        out,
        dataset="shapes",
        metric_id=metric,
        spec=spec,
        **options,
    )
    return read_table(out)


def test_metrics_of_outputs_take_logits_as_they_are_and_labels_of_the_samples(results):
    paths = [results / "features" / "shapes" / f"m{seed}.safetensors" for seed in (0, 1)]
    pixels = read_layer(paths[0], "pixels")
    logits = [read_layer(path, "logits") for path in paths]
    np.testing.assert_allclose(logits[1], pixels @ draw(CLASSES, 75, 1).T, atol=1e-5)
    assert read_header(paths[0])["outputs"] == ["logits", "unembedding"]
    samples = results / "samples" / "shapes.parquet"
    for metric in ("jsd", "disagreement"):
        table = similarity(results, metric)
        assert set(table["layer_x"]) == {"logits"} and len(table) == 3
        assert table["value"].iloc[1] == pytest.approx(get_metric(metric)(*logits), abs=1e-12)
        assert 0 < table["value"].iloc[1] < 1
    assert table.attrs["spec"]["preprocessing"] == NONE
    labels = read_samples(samples).table["label"].to_numpy(int)
    table = similarity(results, "accuracy_difference", samples=samples)
    accuracies = [np.mean(x.argmax(axis=1) == labels) for x in logits]
    assert table["value"].iloc[1] == pytest.approx(abs(accuracies[0] - accuracies[1]), abs=1e-12)
    assert accuracies[0] != accuracies[1]


def test_halves_and_curves_of_outputs_are_of_logits_and_their_labels(results, tmp_path):
    samples, folder = results / "samples" / "shapes.parquet", results / "features" / "shapes"
    labels = read_samples(samples).table["label"].to_numpy(int)
    logits = [read_layer(folder / f"m{seed}.safetensors", "logits") for seed in (0, 1)]

    def gap(rows):
        accuracies = [np.mean(x[rows].argmax(axis=1) == labels[rows]) for x in logits]
        return pytest.approx(abs(accuracies[0] - accuracies[1]), abs=1e-12)

    given = {
        "dataset": "shapes",
        "metric_id": "gap",
        "spec": {"metric": "accuracy_difference", "parameters": {}, "preprocessing": NONE},
        "samples": samples,
        "seed": 0,
    }
    out = tmp_path / "out.parquet"
    make_reliability(folder / "manifest.parquet", out, splits=2, **given)
    table = read_table(out).query("model_x != model_y")
    halves = list(halves_of(len(labels), 2, seed=0, dataset="shapes"))
    assert set(table["layer_x"]) == {"logits"} and len(table) == 4
    for row in table.itertuples():
        assert row.value == gap(halves[row.split]["ab".index(row.half)])
    make_sensitivity(folder / "manifest.parquet", out, curves=Curves(n=(20,), draws=2), **given)
    table = read_table(out).query("model_x != model_y")
    assert set(table["layer_x"]) == {"logits"} and len(table) == 2
    for row in table.itertuples():
        assert row.value == gap(draw_rows(len(labels), 20, (0, "shapes"), row.draw))


def test_labels_are_asked_for_and_compared_with_the_samples(results, shapes, tmp_path):
    samples = results / "samples" / "shapes.parquet"
    with pytest.raises(DataError, match="needs labels: give the samples table"):
        similarity(results, "error_consistency")
    make_samples({**shapes[0], "name": "shapes:61"}, 0, tmp_path / "other.parquet")
    with pytest.raises(DataError, match="holds other samples than the features"):
        similarity(results, "error_consistency", samples=tmp_path / "other.parquet")
    assert samples.exists()


def test_models_without_logits_are_named(results, shapes):
    row = {"model": "words", "source": "raw", "name": "characters"}
    extract_features(row, *shapes, results / "features" / "shapes" / "words.safetensors")
    manifest(results)
    with pytest.raises(FeaturesError, match=r"'jsd' compares logits, and 1 of 3 .*: words; leave"):
        similarity(results, "jsd")
    assert set(similarity(results, "cka")["layer_x"]) == {"pixels", "characters"}


def test_a_probe_of_the_last_layer_is_not_one_of_an_output(results):
    assert set(read_table(results / "probe" / "shapes" / "m0.parquet")["layer"]) == {"pixels"}


# Language models


def test_loss_and_bits_per_byte():
    texts = ["abcd", "é", "x", "abcdefgh"]
    loss = np.array([[8 * math.log(2), 2], [4 * math.log(2), 4], [0, 0], [math.log(2), 1]])
    found = language_figures(loss, texts)
    assert found == {
        "loss": pytest.approx(math.log(2) * (4 + 1 + 1) / 3),
        "bits_per_byte": pytest.approx((8 / 4 + 4 / 2 + 1 / 8) / 3),  # é takes two bytes
        "texts": 3,
        "tokens": 7,
    }
    assert language_figures(loss[2:3], ["x"]) == {"texts": 0, "tokens": 0}


# Rows


def test_some_rows_of_a_layer(tmp_path):
    path, x = tmp_path / "a.safetensors", draw(9, 4)
    write_features(path, {"x": x, "y": x + 1}, HEADER, names(9))
    for rows in ([3, 1, 1, 8], np.array([], int), np.arange(9, dtype=np.uint8)):
        found = read_layer(path, "y", rows)
        np.testing.assert_array_equal(found, (x + 1)[np.asarray(rows, int)])
        assert type(found) is np.ndarray and found.flags.writeable
    for rows, message in (([9], "rows 0 to 8, not 9"), ([-1], "not -1"), ([0.5], "float64")):
        with pytest.raises(FeaturesError, match=message):
            read_layer(path, "x", rows)
    with pytest.raises(FeaturesError, match="no layer 'z'"):
        read_layer(path, "z", [1])


READ_ROWS = """
import resource, sys
import numpy as np
from consilience.features import read_header, read_layer, soundness
soundness._is_sound = lambda *_: True  # of 10 GB it takes some seconds
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n = int(sys.argv[2])
rows = np.random.default_rng(0).choice(n, 10_000, replace=False)
x = read_layer(sys.argv[1], "x", rows)
assert x.shape == (10_000, 2048) and x.dtype == np.float32
for row, place in ((7, 0), (n - 1, 1)):
    marked = read_layer(sys.argv[1], "x", [row])
    assert marked[0, 5] == row, marked
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024)
"""


def test_rows_of_a_file_of_ten_gigabytes_take_their_own_memory_only(tmp_path):
    n, d = 1_281_167, 2048  # ImageNet
    path = tmp_path / "a.safetensors"
    header = {"consilience": json.dumps({"hashes": {"x": "0" * 64}, "model": {}})}
    entry = {"dtype": "F32", "shape": [n, d], "data_offsets": [0, 4 * n * d]}
    head = json.dumps({"__metadata__": header, "x": entry})
    head += " " * (-len(head) % 8)
    with path.open("wb") as stream:
        stream.write(len(head).to_bytes(8, "little") + head.encode())
        for row in (7, n - 1):
            stream.seek(8 + len(head) + 4 * (row * d + 5))
            stream.write(np.float32(row).tobytes())
        stream.truncate(8 + len(head) + 4 * n * d)  # the rest is a hole
    assert path.stat().st_size > 10e9
    if path.stat().st_blocks * 512 > 1e8:
        pytest.skip("this file system keeps no holes")
    command = [sys.executable, "-c", READ_ROWS, str(path), str(n)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # The rows are 78 MB; the pages they lie on, which the kernel may take back, as much again.
    assert float(done.stdout) < 300, done.stdout


def test_a_file_is_written_as_it_is_filled(tmp_path):
    path = tmp_path / "x.safetensors"
    path.touch()
    entries = {"h": Entry(np.dtype("float16"), (3, 1)), "f": Entry(np.dtype("float32"), (3, 2))}

    def fill(tensors):
        tensors["h"][:] = 2
        tensors["f"][[2, 0, 1]] = np.arange(6).reshape(3, 2)

    write_tensors(path, entries, fill, lambda hashes: {"note": json.dumps(hashes)})
    with safe_open(path, "numpy") as stream:
        assert sorted(stream.keys()) == ["f", "h"]
        np.testing.assert_array_equal(stream.get_tensor("f"), [[2, 3], [4, 5], [0, 1]])
        np.testing.assert_array_equal(stream.get_tensor("h"), [[2]] * 3)


# Batches by size


def chunks(sizes, step=4):
    inputs = [("x", size) for size in sizes]
    return [Chunk(i // step, i, inputs[i : i + step]) for i in range(0, len(inputs), step)]


def test_batches_are_sorted_within_the_window_and_bounded_by_their_padded_size():
    sizes = np.random.default_rng(0).integers(1, 60, 50).tolist()
    batches = list(make_batches(chunks(sizes), lambda one: one[1], 128))
    order = np.concatenate([batch.rows for batch in batches])
    assert sorted(order) == list(range(50))  # everyone once
    assert [sizes[row] for row in order] == sorted(sizes, reverse=True)
    for batch in batches:
        assert [one[1] for one in batch.inputs] == [sizes[row] for row in batch.rows]
        assert batch.cost == max(one[1] for one in batch.inputs)
        assert len(batch.rows) == 1 or len(batch.rows) * batch.cost <= 128
    together = sum(batch.cost * len(batch.rows) for batch in batches)
    assert together < 1.1 * sum(sizes)  # little is padded
    assert [len(b.rows) for b in make_batches(chunks([500, 1]), lambda one: one[1], 128)] == [1, 1]


def test_inputs_of_one_size_are_batched_as_they_come():
    found = [batch.rows.tolist() for batch in make_batches(chunks([1] * 10), None, 0)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_missing_row_asks_for_its_window_only_where_sizes_matter(monkeypatch):
    monkeypatch.setattr("consilience.features.batches.WINDOW", 4)
    done = np.ones(10, dtype=bool)
    done[5] = False
    assert np.flatnonzero(wanted_rows(done, False)).tolist() == [5]
    assert np.flatnonzero(wanted_rows(done, True)).tolist() == [4, 5, 6, 7]


class Reader:
    """Texts of many lengths: features that a wrong order or a lost row would change."""

    layers = ("lengths",)

    def __init__(self):
        self.provenance, self.seen = {"weights": "none", "truncated": "0"}, []

    def preprocess(self, sample):
        return sample.text.split()

    def size(self, tokens):
        return len(tokens)

    def extract(self, batch):
        self.seen.append([len(tokens) for tokens in batch])
        return {"lengths": np.array([[len(t), sum(map(len, t))] for t in batch], np.float32)}


@pytest.mark.parametrize("workers", [0, 2])
def test_texts_go_by_length_and_come_back_in_order(tmp_path, shapes, monkeypatch, workers):
    reader = Reader()
    monkeypatch.setattr(extract_module, "load_model", lambda row, device: reader)
    monkeypatch.setattr(extract_module, "TOKENS", 3)
    out = tmp_path / "r.safetensors"
    row = {"model": "r", "source": "raw", "name": "characters"}
    extract_features(row, *shapes, out, batch_size=4, workers=workers)
    texts = read_samples(shapes[1]).table["text"]
    wanted = [[len(t.split()), len(t.replace(" ", ""))] for t in texts]
    np.testing.assert_array_equal(read_layer(out, "lengths"), wanted)
    assert max(len(b) * max(b) for b in reader.seen) <= 12
    assert reader.seen[0] == sorted(reader.seen[0], reverse=True)


# Verification


def test_sound_results_are_verified(results, capsys):
    (results / "features" / "shapes" / ".m9.shards").mkdir()  # what a run leaves is no result
    (results / "features" / "shapes" / ".m9.shards" / "x.safetensors").touch()
    assert main(["verify", str(results)]) == 0
    shown = capsys.readouterr()
    assert "all hashes agree" in shown.out and shown.err == ""
    assert "1 of samples, 3 of features, 2 of similarity, 1 of probe" in shown.out


@pytest.mark.parametrize(
    "name",
    [
        "samples/shapes.parquet",
        "features/shapes/m0.safetensors",
        "features/shapes/manifest.parquet",
        "similarity/shapes/cka.parquet",
        "probe/shapes/m0.parquet",
    ],
)
def test_a_flipped_byte_is_found_in_every_kind_of_file(results, name):
    path = results / name
    content, draws = path.read_bytes(), np.random.default_rng(0)
    whole = None if name.endswith("safetensors") else read_table(path)
    for place in draws.choice(len(content), 15, replace=False):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        found = {problem.file for problem in verify_results(results).problems}
        if name in found or "features/shapes/manifest.parquet" in found:
            continue
        # Parquet holds bytes that nobody reads, such as the name of the program that wrote it.
        assert whole is not None, place
        pd.testing.assert_frame_equal(read_table(path), whole)
        assert read_table(path).attrs == whole.attrs, place


def test_all_problems_are_listed_at_once(results, capsys):
    features = results / "features" / "shapes"
    x = {"pixels": draw(60, 75)}
    header = {**read_header(features / "m0.safetensors"), "samples_hash": "6" * 64}
    for key in ("n", "dtype", "layers", "outputs", "shapes", "hashes"):
        header.pop(key)
    write_features(features / "m0.safetensors", x, header, names(60))
    (features / "m1.safetensors").unlink()
    (results / "similarity" / "shapes" / "jsd.parquet").write_bytes(b"PAR1")
    assert main(["verify", str(results)]) == 1
    lines = capsys.readouterr().err.splitlines()
    texts = "\n".join(lines)
    for text in (
        "features/shapes/m0.safetensors: its features are of other samples",
        "features/shapes/manifest.parquet: lists m1.safetensors, which is not there",
        "similarity/shapes/jsd.parquet:",
    ):
        assert text in texts
    assert len(lines) == 3


def test_builds_of_one_version_are_not_mixed():
    def of(*versions):
        named = {f"m{i}": json.dumps({"torchvision": v}) for i, v in enumerate(versions)}
        return mixed_versions({m: {"provenance": {"libraries": text}} for m, text in named.items()})

    assert of("0.20.0+cpu", "0.20.0+cu121", "0.20.0") == []
    assert of("0.20.0+cpu", "0.21.0+cpu") == ["torchvision 0.20.0 (m0) and 0.21.0 (m1)"]


def test_mixed_versions_are_noted_and_are_no_problem(results, capsys, caplog):
    features = results / "features" / "shapes"
    for model, version in (("m0", "12.2.0"), ("m1", "13.0.0")):
        header = read_header(features / f"{model}.safetensors")
        x = {
            layer: read_layer(features / f"{model}.safetensors", layer)
            for layer in header["layers"]
        }
        for key in ("n", "dtype", "layers", "outputs", "shapes", "hashes"):
            header.pop(key)
        libraries = json.dumps({"pillow": version, "torch": "2.14.1"})
        header["provenance"] = {**header["provenance"], "libraries": libraries}
        write_features(features / f"{model}.safetensors", x, header, names(60))
    manifest(results)
    assert read_table(features / "manifest.parquet").attrs["mixed_versions"] == [
        "pillow 12.2.0 (m0) and 13.0.0 (m1)"
    ]
    similarity(results, "cka")
    assert caplog.text.count("features were made under different versions of what decides") == 1
    found = verify_results(results)
    assert [note.file for note in found.notes] == ["features/shapes/manifest.parquet"]
    main(["verify", str(results)])
    text = capsys.readouterr()
    assert "note: dataset 'shapes': features were made under different versions" in text.err
    assert "pillow 12.2.0 (m0) and 13.0.0 (m1)" in text.err


def test_features_made_again_are_told_from_similarities_of_the_old(results):
    features = results / "features" / "shapes"
    header = read_header(features / "m0.safetensors")
    for key in ("n", "dtype", "layers", "outputs", "shapes", "hashes"):
        header.pop(key)
    write_features(features / "m0.safetensors", {"pixels": draw(60, 75)}, header, names(60))
    found = {p.file: p.text for p in verify_results(results).problems}
    assert "what it says of 'm0'" in found["features/shapes/manifest.parquet"]
    manifest(results)
    found = {p.file: p.text for p in verify_results(results).problems}
    assert set(found) == {"similarity/shapes/cka.parquet", "similarity/shapes/jsd.parquet"}
    assert "1 layers have other features than then: m0 (pixels)" in str(found)


def test_a_manifest_of_some_rows_is_verified_too(results):
    features, view = results / "features" / "shapes", results / "features" / "some"
    table = read_table(features / "manifest.parquet")
    metadata, table.attrs = table.attrs, {}
    rows = np.arange(0, 60, 3)
    table["hash"] = [digest([one, content_hash(rows)]) for one in table["hash"]]
    table["file"] = [f"../shapes/{name}" for name in table["file"]]
    table = table.assign(n=len(rows), samples_hash="7" * 64)
    metadata |= {"dataset": "some", "samples_hash": "7" * 64, "rows": rows.tolist()}
    write_table(table, view / "manifest.parquet", metadata)
    shutil.copy(results / "samples" / "shapes.parquet", results / "samples" / "some.parquet")
    of_others = "samples/some.parquet"  # not those of the view, and told
    assert {p.file for p in verify_results(results).problems} == {of_others}
    table.loc[0, "hash"] = "8" * 64
    write_table(table, view / "manifest.parquet", metadata)
    found = {problem.file for problem in verify_results(results).problems}
    assert found == {of_others, "features/some/manifest.parquet"}


def test_a_study_says_what_must_be_there(results, tmp_path, capsys, monkeypatch):
    (tmp_path / "models.tsv").write_text(
        "model\tsource\tname\tmodality\nm0\traw\tpixels\timage\nm7\traw\tpixels\timage\n"
    )
    (tmp_path / "data.tsv").write_text(
        "dataset\tsource\tname\tmodality\nshapes\tpackaged\tshapes:60\timage\n"
    )
    study = {"models": ["m0", "m7"], "datasets": ["shapes"], "metrics": ["cka_debiased"]}
    study["catalogs"] = {
        "models": [str(tmp_path / "models.tsv")],
        "datasets": [str(tmp_path / "data.tsv")],
    }
    study["consistency"] = {"models": None, "groups": []}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    assert main(["verify", str(tmp_path / "study.yaml"), "--results", str(results)]) == 1
    shown = capsys.readouterr().err
    assert shown == "../features/shapes/m7.safetensors: is not there; run snakemake to make it\n"
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**study, "results": "out/mine"}))
    assert main(["verify", str(tmp_path / "study.yaml"), "--results", str(results)]) == 1
    assert f"{tmp_path}/out/mine: 1 problem" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "none.yaml")]) == 1
    assert "no such folder or study" in capsys.readouterr().err
