"""K10: a full disk, a folder that may not be written to, and memory that runs out: one sentence."""

import errno
import os
import subprocess
import sys

import pytest
import torch
from clones import ROOT
from safetensors import SafetensorError

from consilience import cli, files
from consilience.bundle.archive import new_folder
from consilience.errors import ConsilienceError, DataError, StorageError, explain, number_of

FULL = "x cannot be written: no space left on device; make room and run again"


def fail(number, path="x"):
    raise OSError(number, os.strerror(number), str(path))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_one_sentence_and_nothing_is_left(tmp_path, number):
    (tmp_path / "x").write_text("before")
    with (
        pytest.raises(StorageError, match=r"x cannot be written: .*; make room and run again$"),
        files.atomic(tmp_path / "x") as temporary,
    ):
        temporary.write_text("half")
        fail(number, temporary)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "before"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
@pytest.mark.parametrize("name", ["mkdir", "open", "replace"])
def test_folders_that_may_not_be_written_to(tmp_path, monkeypatch, number, name):
    monkeypatch.setattr(os, name, lambda *_, **__: fail(number))
    with (
        pytest.raises(StorageError, match=r"x cannot be written: .*(, and run again|make room)"),
        files.atomic(tmp_path / "new" / "x"),
    ):
        pass
    assert not list(tmp_path.rglob("*x*"))


def test_what_is_met_inside_and_is_not_about_the_file_is_left_alone(tmp_path):
    with pytest.raises(PermissionError), files.atomic(tmp_path / "x"):
        fail(errno.EACCES, "/an/input")
    with pytest.raises(DataError, match="other"), files.atomic(tmp_path / "x"):
        raise DataError("other")


def test_libraries_that_hide_the_number(tmp_path):
    error = SafetensorError("Error while serializing: I/O error: No space left (os error 28)")
    assert number_of(error) == errno.ENOSPC and number_of(ValueError("x")) == 0
    with pytest.raises(StorageError, match=FULL), files.atomic(tmp_path / "x"):
        raise error


LIMITED = """
import resource, sys
import numpy as np, pandas as pd
from consilience import files
from consilience.errors import StorageError
from safetensors.numpy import save_file
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
x = np.random.default_rng(0).random((100_000, 1))
def table(): files.write_table(pd.DataFrame(x, columns=["x"]), "t.parquet", {})
def tensors():
    with files.atomic("t.safetensors") as path: save_file({"x": x}, path)
def text():
    with files.atomic("t.html") as path: path.write_text("x" * 10**6)
for write in (table, tensors, text):
    try:
        write()
        print("written")
    except StorageError as error:
        print(error)
"""


def test_what_the_system_says_of_a_real_limit(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all("cannot be written: file too large" in one for one in lines)
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_does_not_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "mkdir", lambda *_, **__: fail(errno.ENOSPC))
    with pytest.raises(StorageError, match="make room"), new_folder(tmp_path / "b"):
        pass


# The outermost layer


STEP = """
import logging, sys
from consilience.logs import log_to
log_to(sys.argv[1])
logging.getLogger("x").info("at work")
{}
"""


def run_step(log, code):
    """Runs a step as a script does; returns its exit status and standard error."""
    done = subprocess.run(
        [sys.executable, "-c", STEP.format(code), str(log)], cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise MemoryError", "memory runs out in the job of"),
        ("import numpy; numpy.ones((10**8, 10**6))", "Unable to allocate"),
        ('raise RuntimeError("can\'t allocate memory: 3 bytes")', "can't allocate memory"),
        ("raise OSError(28, 'No space left on device')", "cannot be written: no space left"),
        ("open('/proc/1/mem2/x')", "/proc/1/mem2/x: no such file or directory, met in the job of"),
    ],
)
def test_the_last_words_of_a_step(tmp_path, code, said):
    log = tmp_path / "logs" / "similarity" / "d" / "cka.log"
    log.parent.mkdir(parents=True)
    status, _ = run_step(log, code)
    last = log.read_text().splitlines()[-1]
    assert status == 1 and last.startswith("error: ") and said in last
    assert "at work" in log.read_text() and "Traceback" not in log.read_text()
    if "memory" in last:
        assert "lower similarity.max_memory_mb, or give the job more memory" in last


def test_a_mistake_of_ours_keeps_its_traceback(tmp_path):
    run_step(tmp_path / "x.log", "1 / 0")
    assert "Traceback" in (tmp_path / "x.log").read_text()


@pytest.mark.parametrize("log", ["/dev/full", "/no/such/folder/x.log"])
def test_a_log_that_cannot_be_written(log):
    status, said = run_step(log, "raise MemoryError")
    assert status == 1 and "the log cannot be written" in said
    assert "error: memory runs out in the job of" in said and "Traceback" not in said


def test_commands_end_with_one_line(tmp_path, capsys, monkeypatch):
    def run_out(*_):
        raise MemoryError("Unable to allocate 3 TiB")

    monkeypatch.setattr("consilience.cli.compare._read", run_out)
    assert cli.main(["compare", "x.npy", "y.npy"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("consilience: memory runs out in this command (Unable") and "\n" in said
    assert len(said.splitlines()) == 1


def test_what_is_explained():
    assert explain(ValueError("x"), "a", "b") == ""
    assert explain(ConsilienceError("x"), "a", "b") == "x"
    assert explain(torch.OutOfMemoryError("CUDA out of memory"), "a", "do b").endswith("; do b")
