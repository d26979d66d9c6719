"""Damaged features: whoever reads a layer says so, in every step and whatever the time stamp."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from consilience.alignment import make_alignment
from consilience.cli import main
from consilience.errors import FeaturesError, StorageError
from consilience.features import read_layer, read_listed, soundness, write_features, write_manifest
from consilience.features.container import read_entries
from consilience.features.foreign import read_foreign
from consilience.files import read_table
from consilience.reliability import make_reliability
from consilience.sensitivity import Curves, make_sensitivity
from consilience.similarity import make_shared, make_similarity
from consilience.sums import check_sum

SPEC = {
    "metric": "cka",
    "parameters": {},
    "preprocessing": {"center": False, "row_normalize": False},
    "layers": "all",
    "permutations": 0,
}
MODELS = ["m0", "m1", "m2"]
IDS = [f"s{k:02}" for k in range(40)]
JOB = {"dataset": "d", "metric_id": "m", "spec": SPEC}


def write(folder, model="m0", *, dataset="d", seed=0, samples_hash="s"):
    """Writes features of one model: a layer and logits."""
    rng = np.random.default_rng(seed)
    path = folder / "features" / dataset / f"{model}.safetensors"
    layers = {"early": rng.normal(size=(40, 6)), "late": rng.normal(size=(40, 5))}
    header = {"model": {"model": model}, "dataset": dataset, "samples_hash": samples_hash}
    write_features(path, layers, header, IDS, outputs={"logits": rng.normal(size=(40, 3))})
    return path


@pytest.fixture
def features(tmp_path):
    """The features of three models of one dataset, and their manifest."""
    paths = [write(tmp_path, model, seed=k) for k, model in enumerate(MODELS)]
    write_manifest(paths, paths[0].parent / "manifest.parquet")
    return paths


def flip(path, name="late", *, place=17):
    """Flips the lowest bit of one number of a tensor, and keeps the time stamp."""
    entry, before = read_entries(path)[0][name], path.stat()
    with path.open("r+b") as stream:
        stream.seek(entry.offset + 4 * place)
        (byte,) = stream.read(1)
        stream.seek(entry.offset + 4 * place)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


READERS = {
    "similarity": lambda manifest, out: make_similarity(manifest, out, **JOB),
    "shared": lambda manifest, out: make_shared(
        manifest,
        out,
        dataset="d",
        specs={k: SPEC | {"metric": "mutual_knn", "parameters": {"k": k}} for k in (3, 5)},
        stores={k: out.parent / f"{k}.parquet" for k in (3, 5)},
    ),
    "alignment": lambda manifest, out: make_alignment(
        manifest, out, groups={}, permutations=0, seed=0, **JOB
    ),
    "reliability": lambda manifest, out: make_reliability(manifest, out, splits=1, seed=0, **JOB),
    "sensitivity": lambda manifest, out: make_sensitivity(
        manifest, out, curves=Curves(n=(20, 40), draws=1), **JOB
    ),
    "listed": lambda manifest, _: read_listed(manifest, read_table(manifest), "m1", "late"),
    "listed rows": lambda m, _: read_listed(m, read_table(m), "m1", "late", [3, 1]),
    "layer": lambda manifest, _: read_layer(manifest.parent / "m1.safetensors", "late"),
    "rows": lambda manifest, _: read_layer(manifest.parent / "m1.safetensors", "late", [0]),
    "foreign": lambda manifest, _: read_foreign(manifest.parent / "m1.safetensors"),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_a_layer_finds_one_flipped_bit(features, tmp_path, reader):
    manifest = features[0].parent / "manifest.parquet"
    out = tmp_path / "out" / "table.parquet"
    flip(features[1])
    with pytest.raises(FeaturesError, match=r"m1\.safetensors: the content of 'late' .* delete m1"):
        READERS[reader](manifest, out)
    assert not out.exists()


def test_the_command_finds_it_too(features, capsys):
    flip(features[1])
    paths = [f"{path}:late" for path in features[:2]]
    assert main(["compare", *paths, "--metric", "cka"]) == 1
    assert "content of 'late' has not the hash" in capsys.readouterr().err


def test_a_file_that_was_good_before_is_looked_at_again(features):
    """Also by one process, and with the old time stamp; of rows and of the whole."""
    os.utime(features[0], ns=(0, 0))
    for rows in ([1], None):
        read_layer(features[0], "late", rows)
    flip(features[0])
    for rows in ([1], None):
        with pytest.raises(FeaturesError, match="has not the hash"):
            read_layer(features[0], "late", rows)
    read_layer(features[0], "early")  # tensors are judged one by one


def test_rows_of_a_large_file_are_paid_for_once(features, monkeypatch):
    """The rest of a layer is hashed once for each state of its file, not once for each job."""
    monkeypatch.setattr(soundness, "SETTLED", -1)
    read_layer(features[0], "late", [1])
    note = features[0].parent / ".sound" / "m0.safetensors.json"
    soundness._known.clear()  # as another process
    monkeypatch.setattr(soundness, "_is_sound", lambda *_: pytest.fail("read again"))
    read_layer(features[0], "late", [2])
    soundness._known.clear()
    monkeypatch.setattr(soundness, "_is_sound", lambda *_: False)
    for damaged in (b"", b"[]", b"\xff", json.dumps({"state": [], "tensors": 3}).encode()):
        note.write_bytes(damaged)  # a note that is no note counts for nothing
        with pytest.raises(FeaturesError, match="has not the hash"):
            read_layer(features[0], "late", [2])
    note.unlink()
    flip(features[0])
    monkeypatch.undo()
    with pytest.raises(FeaturesError, match="has not the hash"):
        read_layer(features[0], "late", [2])


def test_a_folder_that_is_only_read_costs_time_only(features, monkeypatch):
    """Where nothing can be noted beside a file, its rows are read all the same."""

    def full(*_):
        raise StorageError("no right to write")

    monkeypatch.setattr(soundness, "SETTLED", -1)
    monkeypatch.setattr(soundness, "keep", full)
    assert read_layer(features[0], "late", [3, 1]).shape == (2, 5)


def test_sound_features_of_another_model_are_not_those_of_the_manifest(features, tmp_path):
    """They have the hash of their own header, and not that under which values would be kept."""
    manifest = features[0].parent / "manifest.parquet"
    write(tmp_path / "other", "m1", seed=9).replace(features[1])
    for reader in ("similarity", "listed", "alignment"):
        with pytest.raises(FeaturesError, match=r"other features of .* than .*manifest\.parquet"):
            READERS[reader](manifest, tmp_path / "x.parquet")


def test_files_of_earlier_versions_are_held_to_their_hashes(features):
    content = features[0].read_bytes()
    assert content.count(b"sums") == 1
    features[0].write_bytes(content.replace(b"sums", b"sumz"))
    for rows in ([1], None):
        assert len(read_layer(features[0], "late", rows)) in (1, 40)
    flip(features[0])
    for rows in ([1], None):
        with pytest.raises(FeaturesError, match="content of 'late' has not the hash"):
            read_layer(features[0], "late", rows)


def test_sums_know_values_places_types_and_shapes():
    """Every flipped bit, every two words and blocks that change places; two ways to come by it."""
    x = np.random.default_rng(0).normal(size=(700, 400)).astype(np.float32)  # over one block
    known = {check_sum(x)}
    words = x.reshape(-1).view(np.uint64)
    for one, other in ((0, 1), (3, 515), (511, 512), (5, 139_999), (131_071, 131_072)):
        swapped = words.copy()
        swapped[[one, other]] = swapped[[other, one]]
        known.add(check_sum(swapped.view(np.float32).reshape(x.shape)))
    for start, size in ((0, 512), (512, 512), (0, 64), (1000, 7)):
        swapped = words.copy()
        swapped[start : start + size], swapped[start + size : start + 2 * size] = (
            words[start + size : start + 2 * size], words[start : start + size],
        )  # fmt: skip
        known.add(check_sum(swapped.view(np.float32).reshape(x.shape)))
    for byte in (0, 4095, 4096, (1 << 20) - 1, 1 << 20, x.nbytes - 1):
        for bit in range(8):
            flipped = x.copy()
            flipped.reshape(-1).view(np.uint8)[byte] ^= 1 << bit
            known.add(check_sum(flipped))
    known |= {check_sum(x.reshape(400, 700)), check_sum(x.view(np.int32)), check_sum(x[:-1])}
    assert len(known) == 1 + 5 + 4 + 6 * 8 + 3
    assert check_sum(np.asfortranarray(x)) == check_sum(x)


def test_a_header_without_hashes_is_refused(tmp_path):
    path = write(tmp_path)
    content = Path(path).read_bytes()
    path.write_bytes(content.replace(b"hashes", b"hushes"))
    with pytest.raises(FeaturesError, match="its header has no hash of 'late'"):
        read_layer(path, "late")


def test_imported_features_are_to_be_imported_again(tmp_path):
    path = tmp_path / "m0.safetensors"
    model = {"model": "m0", "source": "imported", "name": "x.npy"}
    header = {"model": model, "dataset": "d", "samples_hash": "s"}
    write_features(path, {"late": np.eye(40)}, header, IDS)
    flip(path)
    with pytest.raises(FeaturesError, match="if `consilience import` made it, import it again"):
        read_layer(path, "late")


def test_a_header_of_any_length_is_no_pickle(tmp_path):
    """Its first byte may be that with which pickles begin."""
    for length in range(300):
        path = tmp_path / "a.safetensors"
        header = {"model": {"model": "m"}, "dataset": "d", "samples_hash": "s", "x": "x" * length}
        write_features(path, {"late": np.eye(2)}, header, IDS[:2])
        if path.read_bytes()[0] == 0x80:
            break
    content = path.read_bytes()
    assert content[0] == 0x80
    for size in (4, 8, 9, 200, -1):
        path.write_bytes(content[:size])
        with pytest.raises(FeaturesError, match=r"cannot be read .*snakemake again"):
            read_layer(path, "late")
    path.write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(FeaturesError, match="is no features file but a pickle"):
        read_layer(path, "late")
