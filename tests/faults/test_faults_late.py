"""Network file systems: files that cannot be reached for a moment are not called damaged.

In the place of what opens a file stands what such a file system answers: an error of the operating
system. Files that it shows late are waited for by Snakemake (`latency-wait`); those that are not
there are one sentence: see test_faults_absent.py.
"""

import errno
import gzip
import os
import re
import time
import zipfile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import safetensors
import torch
from PIL import Image

from consilience import leftovers
from consilience.bundle import open_bundle
from consilience.causes import published as causes
from consilience.cli import main
from consilience.datasets import open_dataset, pyg
from consilience.errors import StorageError, check_reached
from consilience.features import lock, read_header, write_features
from consilience.features.foreign import read_foreign
from consilience.files import atomic, read_table, write_table
from consilience.grounding.published import tables as grounding
from consilience.metrics import Preprocessing, get_metric
from consilience.networks.weights import read_trained, write_trained
from consilience.notes import keep, kept
from consilience.similarity.shelf import Shelf
from consilience.similarity.store import Outcome, PairStore

STALE = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
SAID = "cannot be reached: stale file handle; nothing is known of its content: look at the disk"


def fail(*_arguments, **_options):
    raise STALE


def fail_in_text(*_arguments, **_options):
    """As libraries that are no Python pass it on."""
    raise safetensors.SafetensorError(f"I/O error: Stale file handle (os error {errno.ESTALE})")


def test_a_table_that_cannot_be_reached_is_not_called_damaged(tmp_path, monkeypatch):
    write_table(pd.DataFrame({"x": [1]}), tmp_path / "x.parquet", {})
    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(StorageError, match=SAID):
        read_table(tmp_path / "x.parquet")


def test_a_pair_store_is_kept_where_it_cannot_be_reached(tmp_path, monkeypatch):
    """A new one in its place would lose hours of pairs."""
    path, given = tmp_path / "m.parquet", (get_metric("cka"), Preprocessing())
    store = PairStore.open(path, *given)
    store.outcomes["x", "y"] = Outcome(0.5)
    store.write()
    with monkeypatch.context() as patch:
        patch.setattr(pq, "ParquetFile", fail)
        with pytest.raises(StorageError, match=SAID):
            PairStore.open(path, *given)
    assert PairStore.open(path, *given).outcomes == {("x", "y"): Outcome(0.5)}


def test_a_shelf_and_small_caches_are_kept(tmp_path, monkeypatch):
    shelf = Shelf(tmp_path / "metric" / "forms", 1 << 20)
    shelf.put("form", {"x": np.ones(3)}, {})
    keep(tmp_path / "note.json", "key", 3)
    with monkeypatch.context() as patch:
        patch.setattr("consilience.similarity.shelf.safe_open", fail_in_text)
        patch.setattr(type(tmp_path), "read_text", fail)
        with pytest.raises(StorageError, match=SAID):
            shelf.get("form")
        with pytest.raises(StorageError, match=SAID):
            kept(tmp_path / "note.json", "key")
    assert shelf.get("form") is not None and kept(tmp_path / "note.json", "key") == 3


@pytest.mark.parametrize("how", [fail, fail_in_text])
def test_features_and_weights_that_cannot_be_reached(tmp_path, monkeypatch, how):
    features, weights = tmp_path / "m.safetensors", tmp_path / "w.safetensors"
    header = {"model": {"model": "m"}, "dataset": "d", "samples_hash": "s"}
    write_features(features, {"l": np.ones((3, 2))}, header, ["a", "b", "c"])
    write_trained(weights, {}, {"spec": {}, "task": {}})
    for module, read, path in (
        ("features.container", read_header, features),
        ("networks.weights", read_trained, weights),
    ):
        monkeypatch.setattr(f"consilience.{module}.safe_open", how)
        with pytest.raises(StorageError, match=SAID):
            read(path)


def test_features_of_others_that_cannot_be_reached(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(StorageError, match=SAID):
        read_foreign(tmp_path / "x.npy")


def test_a_picture_that_cannot_be_reached_is_not_called_corrupt(tmp_path, monkeypatch):
    """Samples that are called so may be left out of a study."""
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "x.png")
    row = {"dataset": "d", "source": "folder", "name": str(tmp_path), "modality": "image"}
    (sample,) = open_dataset(row)
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(StorageError, match=SAID):
        sample.image()


def test_archives_and_tables_of_others_that_cannot_be_reached(tmp_path, monkeypatch):
    """Each has a sentence for what is damaged, which says to fetch or write it again."""
    table, bundle = tmp_path / "x.csv", tmp_path / "b.zip"
    table.write_text("seed,value\n0,1\n", encoding="utf8")
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("bundle.json", "{}")
    monkeypatch.setattr(pd, "read_csv", fail)
    monkeypatch.setattr(zipfile, "ZipFile", fail)
    for read, path in (
        (causes.read_published, table),
        (grounding.read_published, table),
        (open_bundle, bundle),
    ):
        with pytest.raises(StorageError, match=SAID):
            read(path)


def test_datasets_of_others_that_cannot_be_reached(tmp_path, monkeypatch):
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"x"))
    (tmp_path / "raw").mkdir()
    for name in pyg.RAW:
        (tmp_path / "raw" / name).touch()
    monkeypatch.setattr(gzip.GzipFile, "read", fail)
    monkeypatch.setattr(np, "load", fail)
    monkeypatch.setattr(torch, "load", fail)
    rows = [
        {"source": "idx", "name": f"fashion_mnist:{tmp_path}", "modality": "image"},
        {"source": "pyg", "name": f"Flickr:{tmp_path}", "modality": "graph"},
    ]
    for row in rows:
        with pytest.raises(StorageError, match=SAID):
            open_dataset({"dataset": "d", **row})
    (tmp_path / "processed").mkdir()
    (tmp_path / "processed" / "data.pt").touch()
    with pytest.raises(StorageError, match=SAID):
        open_dataset({"dataset": "d", **rows[1]})


def test_compare_says_what_cannot_be_reached(tmp_path, monkeypatch, capsys):
    """The ids beside features that were not reached were taken for none."""
    for name in ("x.npz", "y.npz"):
        np.savez(tmp_path / name, features=np.ones((3, 2)), ids=np.array(["a", "b", "c"]))
    monkeypatch.setattr(np, "load", fail)
    assert main(["compare", str(tmp_path / "x.npz"), str(tmp_path / "y.npz")]) == 1
    assert SAID in capsys.readouterr().err


def test_what_is_damaged_is_still_called_so():
    for error in (ValueError("no Parquet"), OSError("2 × bad"), OSError(errno.ENOENT, "x")):
        check_reached(error, "x")
    for number in (errno.EIO, errno.ETIMEDOUT, errno.EMFILE):
        with pytest.raises(StorageError, match=re.escape(os.strerror(number).lower())):
            check_reached(OSError(number, os.strerror(number)), "x")


# Clocks that jump


@pytest.mark.parametrize("ahead", [-86_400, 86_400])
def test_a_clock_that_was_set_makes_nobody_wait_without_end(tmp_path, monkeypatch, ahead):
    """A lock of another machine whose last sign of life is of tomorrow, or of yesterday."""
    monkeypatch.setattr(lock, "PATIENCE", 0.3)
    out = tmp_path / "m.safetensors"
    path = tmp_path / f".{out.name}.lock"
    path.write_text('{"pid": 1, "host": "another"}')
    os.utime(path, (time.time() + ahead,) * 2)
    start = time.monotonic()
    with lock.sole_maker(out):
        assert time.monotonic() - start < 5
    assert not path.exists()


@pytest.mark.parametrize("jump", [-(10**7), 10**7])
def test_no_file_of_a_living_maker_is_removed_whatever_the_clock_says(tmp_path, monkeypatch, jump):
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    with atomic(tmp_path / "x.json") as mine:
        leftovers._delete_strays.cache_clear()
        with atomic(tmp_path / "y.json") as other:
            other.write_text("{}")
        mine.write_text("{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json", "y.json"]
