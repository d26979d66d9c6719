"""What killed jobs leave is removed, what others still write and what is the user's is not."""

import os
import shutil
import signal
import time

import pytest
from test_bundle import MODELS, lab

from consilience.bundle import open_bundle, write_bundle
from consilience.files import atomic, new_folder
from consilience.leftovers import delete_strays, maker


def killed(folder, make, *, wait=False):
    """Starts a process that is killed while it writes; returns it if it is to live on."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with make(folder):
            os.write(write, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(read, 1)
    if not wait:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return child


def file(folder):
    return atomic(folder / "table.parquet")


def whole(folder):
    return new_folder(folder / "merged")


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("make", [file, whole])
def test_strays_of_killed_jobs_are_removed_by_the_next(make, tmp_path):
    """Whatever it writes: a stray of a file that is made no more goes, too."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        killed(tmp_path / folder, make)
        assert len(hidden(tmp_path / folder)) == 1
    with atomic(tmp_path / "a" / "other.csv") as path:
        path.write_text("x")
    assert hidden(tmp_path / "a") == [] and len(hidden(tmp_path / "b")) == 1
    with new_folder(tmp_path / "b" / "new") as path:
        path.mkdir()
    assert hidden(tmp_path / "b") == []


def test_what_others_still_write_stays(tmp_path):
    child = killed(tmp_path, file, wait=True)
    try:
        delete_strays(tmp_path)
        assert len(hidden(tmp_path)) == 1
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_of_another_machine_age_decides(tmp_path):
    young, old = (tmp_path / f".x.parquet.0123abcd-{k}.abcdefgh.parquet" for k in range(2))
    mine = tmp_path / f".x.parquet.{maker()}.abcdefgh.parquet"
    for path in (young, old, mine):
        path.touch()
    os.utime(old, (0, 0))
    delete_strays(tmp_path)
    assert hidden(tmp_path) == sorted([young.name, mine.name])


def test_the_users_own_hidden_files_stay(tmp_path):
    names = [".bashrc", ".config.settings.json", ".x.parquet.abcdefgh.parquet", ".a-1.b",
             ".0123abcd-1.abcdefgh.parquet.keep.me", "x.0123abcd-1.abcdefgh.parquet"]  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    delete_strays(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_hidden_files_are_in_no_bundle(tmp_path):
    """Known: a stray of a killed job was packed, and the receiver refused the whole bundle."""
    results = lab(tmp_path / "lab", MODELS[:3])
    table = results / "similarity" / "digits" / "cka.parquet"
    for name in (".cka.parquet.ab12cd_x.parquet", ".cka.parquet.0123abcd-7.ab12cd_x.parquet"):
        shutil.copy(table, table.with_name(name))
        (table.parents[1] / name.removesuffix(".parquet")).mkdir()
        shutil.copy(table, table.parents[1] / name.removesuffix(".parquet") / "cka.parquet")
    for out in ("x.zip", "x"):
        write_bundle(results, tmp_path / out)
        assert not [name for name in open_bundle(tmp_path / out).files if "/." in name]
