"""Power loss: what was not yet synced is gone. Files are old or new, and finished ones stay."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_bundle import MODELS, lab
from test_faults_features import IDS

from consilience.bundle import merge_bundles, write_bundle
from consilience.features import write_features
from consilience.files import atomic, write_table
from consilience.notes import keep, kept
from consilience.similarity.shelf import Shelf

REMOVED = "removed"


class Disk:
    """What a disk holds if the power goes: contents and names as they were when last synced.

    A name that was changed since may be there in its old or its new form, with what was synced of
    the content that it stands for.
    """

    def __init__(self, folder, monkeypatch):
        self.folder, self.contents, self.names = folder, {}, {}
        self.pending, self.crashes = [], []
        self._fsync, self._replace, self._rename = os.fsync, Path.replace, Path.rename
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(Path, "replace", lambda path, to: self.move(self._replace, path, to))
        monkeypatch.setattr(Path, "rename", lambda path, to: self.move(self._rename, path, to))

    def fsync(self, handle):
        self._fsync(handle)
        path = Path(f"/proc/self/fd/{handle}").resolve()
        if path.is_dir():
            self.pending = [(name, inode) for name, inode in self.pending if name.parent != path]
            self.names |= {one: one.stat().st_ino for one in path.iterdir()}
        else:
            self.contents[path.stat().st_ino] = path.read_bytes()
        self.crash()

    def move(self, how, path, to):
        before = self.names.get(Path(to), REMOVED)
        how(path, to)
        self.names[Path(to)] = Path(to).stat().st_ino
        self.pending.append((Path(to), before))
        self.crash()
        return Path(to)

    def crash(self):
        """Notes what may be found afterwards: each name with its old and its new content."""
        found = {}
        for name, inode in [*self.names.items(), *self.pending]:
            if not name.name.startswith(".") and not name.is_dir():
                content = REMOVED if inode == REMOVED else self.contents.get(inode, b"torn")
                found.setdefault(name, set()).add(content)
        self.crashes.append(found)

    def seen(self, path):
        return set().union(*(found.get(path, {REMOVED}) for found in self.crashes))


def table(folder, value):
    path = folder / "x.parquet"
    write_table(pd.DataFrame({"a": [value]}), path, {})
    return path


def features(folder, value):
    path = folder / "m.safetensors"
    header = {"model": {"model": "m"}, "dataset": "d", "samples_hash": "s"}
    write_features(path, {"l": np.full((40, 3), value) + np.eye(40, 3)}, header, IDS)
    return path


def text(folder, value):
    path = folder / "x.txt"
    with atomic(path) as temporary:
        temporary.write_text(str(value) * 10_000)
    return path


@pytest.mark.parametrize("write", [table, features, text])
def test_files_are_old_or_new_at_any_moment_and_stay(write, tmp_path, monkeypatch):
    disk = Disk(tmp_path, monkeypatch)
    path = write(tmp_path, 1.0)
    first = path.read_bytes()
    assert disk.seen(path) == {REMOVED, first}
    assert disk.crashes[-1][path] == {first}  # a finished job's file stays
    disk.crashes.clear()
    write(tmp_path, 2.0)
    second = path.read_bytes()
    assert first != second
    assert disk.seen(path) == {first, second}
    assert disk.crashes[-1][path] == {second}


@pytest.mark.parametrize("out", ["x.zip", "x"])
def test_bundles_and_merges_are_whole_or_absent(out, tmp_path, monkeypatch):
    results = lab(tmp_path / "lab", MODELS[:2])
    disk = Disk(tmp_path, monkeypatch)
    write_bundle(results, tmp_path / out)
    merge_bundles([tmp_path / out], tmp_path / "merged")
    files = [path for path in (tmp_path / out, *(tmp_path / "merged").rglob("*")) if path.is_file()]
    assert len(files) > 3
    for path in files:
        assert disk.contents[path.stat().st_ino] == path.read_bytes()
    assert not disk.pending


def test_without_syncing_the_disk_would_hold_torn_files(tmp_path, monkeypatch):
    """The test can fail."""
    disk = Disk(tmp_path, monkeypatch)
    with atomic(tmp_path / "x", durable=False) as temporary:
        temporary.write_text("x")
    assert disk.seen(tmp_path / "x") == {REMOVED, b"torn"}


def test_what_is_not_synced_is_looked_at_when_it_is_read(tmp_path):
    """Empty, cut or full of zeros, as a disk may give back what it never wrote."""
    shelf = Shelf(tmp_path / "shelf" / "k", 10**6)
    shelf.put("key", {"x": np.arange(1000.0)}, {})
    keep(tmp_path / "k.json", "k", 1)
    for path in (tmp_path / "shelf" / "k" / "key.safetensors", tmp_path / "k.json"):
        content = path.read_bytes()
        for torn in (b"", content[:-7], bytes(len(content)), content[:-7] + bytes(7)):
            path.write_bytes(torn)
            assert shelf.get("key") is None or path.suffix == ".json"
            assert kept(tmp_path / "k.json", "k") is None or path.suffix != ".json"
