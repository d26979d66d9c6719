"""Extraction under faults: kills, damaged shards, two jobs at once, full disks."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from consilience.errors import FeaturesError
from consilience.features import extract as extract_module
from consilience.features import lock as lock_module
from consilience.features import read_header
from consilience.features.extract import extract_features
from consilience.features.lock import sole_maker
from consilience.samples import make_samples

ROOT = Path(__file__).parents[2]
VIT = {"model": "vit", "source": "timm", "name": "test_vit", "weights": "random"}
VIT = {**VIT, "input_size": "48", "layers": "blocks.0,pre_logits"}
PIXELS = {"model": "pixels", "source": "raw", "name": "pixels", "input_size": "16"}
WORDS = {"model": "words", "source": "raw", "name": "characters"}

# Forks, so that PyTorch is loaded once and not once per kill.
DRIVER = """
import json, os, random, signal, sys, time
from pathlib import Path
from consilience.features import extract as module
from consilience.features.extract import extract_features
from consilience import models

class Sized:
    '''The trigram counts of texts, as a model whose inputs differ in size.'''
    outputs = ("loss",)
    def __init__(self, inner):
        self.inner, self.layers, self.provenance = inner, inner.layers, dict(inner.provenance)
        self.preprocess, self.provenance["truncated"] = inner.preprocess, "0"
    def size(self, x):
        return int((x > 0).sum())
    def extract(self, batch):
        found = self.inner.extract(batch)
        self.provenance["truncated"] = str(int(self.provenance["truncated"]) + len(batch))
        time.sleep(0.02)
        return {**found, "loss": found["characters"][:, :2] + 1}

load = models.load_model
module.load_model = lambda row, device: (
    load(row, device) if row["source"] == "timm" else Sized(load(row, device))
)
module.TOKENS = 24

def attempt(case, out, delay):
    child = os.fork()
    if child == 0:
        extract_features(*case[:3], out, batch_size=4, checkpoint=0.0, workers=case[3])
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]

cases, folder, kills = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
draw, report = random.Random(0), []
for case in cases:  # libraries are imported here, not in every child
    extract_features(*case[:3], folder / "warm" / "up.safetensors")
for number, case in enumerate(cases):
    began = time.monotonic()
    assert attempt(case, folder / f"{number}.safetensors", None) == 0
    seconds, killed, kept, turn = time.monotonic() - began, 0, 0, 0
    while killed < kills // len(cases):
        out = folder / f"{number}-{turn}.safetensors"
        if attempt(case, out, draw.uniform(0, 1.1 * seconds)) == signal.SIGKILL:
            killed += 1
            kept += bool(list(folder.glob(f".{out.stem}.shards/*")))
        else:
            turn += 1
    assert attempt(case, folder / f"{number}-{turn}.safetensors", None) == 0
    report.append((killed, kept))
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    row = {"dataset": "shapes", "source": "packaged", "name": "shapes:150"}
    row["modality"] = "image+text"
    path = tmp_path_factory.mktemp("samples") / "shapes.parquet"
    make_samples(row, 0, path)
    return row, path


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_twenty_one_kills_change_no_byte(tmp_path, shapes):
    row, samples = shapes
    cases = [(VIT, 0), (WORDS, 0), (VIT, 1)]
    cases = json.dumps([(model, row, str(samples), workers) for model, workers in cases])
    command = [sys.executable, "-c", DRIVER, cases, str(tmp_path), "21"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [killed for killed, _ in report] == [7, 7, 7]
    assert sum(kept for _, kept in report) >= 3  # kills that left finished shards behind
    for number in range(3):
        files = sorted(tmp_path.glob(f"{number}*.safetensors"))
        assert len(files) > 1
        assert len({path.read_bytes() for path in files}) == 1, files
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    assert read_header(tmp_path / "1.safetensors")["truncated"] == 150  # counted once each
    assert leftovers(tmp_path) == []


@pytest.fixture
def stopped(tmp_path, shapes, monkeypatch):
    """An extraction that stopped before its end, and the bytes it should have had."""
    row, samples = shapes
    options = {"batch_size": 10, "checkpoint": 0.0}
    extract_features(PIXELS, row, samples, tmp_path / "whole.safetensors", **options)
    out = tmp_path / "pixels.safetensors"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(extract_module, "write_filled", stop)
        with pytest.raises(KeyboardInterrupt):
            extract_features(PIXELS, row, samples, out, **options)
    shards = sorted((tmp_path / ".pixels.shards").iterdir())
    assert len(shards) == 15 and not out.exists()

    def resume(**changed):
        extract_features(PIXELS, row, samples, out, **{**options, **changed})

    return resume, out, shards, (tmp_path / "whole.safetensors").read_bytes()


def test_nothing_is_computed_twice(stopped, caplog):
    resume, out, shards, whole = stopped
    for path in (shards[3], shards[7]):
        path.unlink()
    with caplog.at_level(logging.INFO):
        resume()
    assert "130 of 150 samples are there" in caplog.text and " 20 samples in" in caplog.text
    assert out.read_bytes() == whole
    assert leftovers(out.parent) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign"])
def test_a_damaged_shard_is_made_again(stopped, caplog, damage):
    resume, out, shards, whole = stopped
    content = bytearray(shards[4].read_bytes())
    if damage == "flipped":
        content[-5] ^= 1
    half = bytes(content[: len(content) // 2])
    wrong = {"truncated": half, "flipped": bytes(content), "empty": b"", "foreign": b"x" * 99}
    shards[4].write_bytes(wrong[damage])
    with caplog.at_level(logging.INFO):
        resume()
    assert f"the shard {shards[4].name} is made again" in caplog.text
    assert " 10 samples in" in caplog.text
    assert out.read_bytes() == whole
    assert leftovers(out.parent) == []


def test_shards_of_other_settings_are_deleted(stopped, caplog):
    resume, out, _, whole = stopped
    with caplog.at_level(logging.INFO):
        resume(dtype="float16")
    assert "15 shards of other settings deleted" in caplog.text
    assert " 150 samples in" in caplog.text
    assert read_header(out)["dtype"] == "float16" and out.read_bytes() != whole
    assert leftovers(out.parent) == []


# Two jobs

HOLD = """
import sys, time
from consilience.features.lock import sole_maker
with sole_maker(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_job_for_one_file_is_told_who_makes_it(tmp_path, shapes):
    out = tmp_path / "pixels.safetensors"
    command = [sys.executable, "-c", HOLD, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            who = rf"process {holder.pid} on {socket.gethostname()}"
            with pytest.raises(FeaturesError, match=rf"another job \({who}\); wait for it"):
                extract_features(PIXELS, *shapes, out)
        finally:
            holder.kill()
    assert not out.exists() and leftovers(tmp_path) == [".pixels.safetensors.lock"]
    extract_features(PIXELS, *shapes, out)  # a dead one is no obstacle
    assert out.exists() and leftovers(tmp_path) == []


def test_a_holder_on_another_machine_has_to_show_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "PATIENCE", 5.0)
    out, path = tmp_path / "x.safetensors", tmp_path / ".x.safetensors.lock"
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    alive = threading.Timer(0.3, os.utime, [path, (time.time(), time.time() + 1)])
    alive.start()
    with pytest.raises(FeaturesError, match="process 1 on elsewhere"), sole_maker(out):
        pass
    alive.join()
    monkeypatch.setattr(lock_module, "PATIENCE", 1.2)
    began = time.monotonic()
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with sole_maker(out):
        assert time.monotonic() - began > 1.1
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_a_holder_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "HEARTBEAT", 0.05)
    path = tmp_path / ".x.safetensors.lock"
    with sole_maker(tmp_path / "x.safetensors"):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime > 1


# Full disks


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_error_and_the_next_run_goes_on(tmp_path, small_disk, shapes, caplog):
    row, samples = shapes
    options = {"batch_size": 10, "checkpoint": 0.0}
    extract_features(PIXELS, row, samples, tmp_path / "whole.safetensors", **options)
    assert (tmp_path / "whole.safetensors").stat().st_size > 400_000
    out = small_disk / "pixels.safetensors"
    with pytest.raises(
        FeaturesError, match=r"cannot be written: no space left on device; make room .* shard"
    ):
        extract_features(PIXELS, row, samples, out, **options)
    assert leftovers(small_disk) == [".pixels.shards"] and not out.exists()
    shards = list((small_disk / ".pixels.shards").iterdir())
    assert len(shards) > 5 and all(path.name[0] != "." for path in shards)
    with suppress(OSError), (small_disk / "rest").open("wb", buffering=0) as rest:
        while rest.write(bytes(4096)):  # not even a lock fits then
            pass
    with pytest.raises(FeaturesError, match="no space left on device"):
        extract_features(PIXELS, row, samples, out, **options)
    (small_disk / "rest").unlink()
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    with caplog.at_level(logging.INFO):
        extract_features(PIXELS, row, samples, out, **options)
    assert f"{10 * len(shards)} of 150 samples are there" in caplog.text
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert leftovers(small_disk) == []


LIMITED = """
import json, resource, sys
from consilience.errors import FeaturesError
from consilience.features.extract import extract_features
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    extract_features(*map(json.loads, sys.argv[1:3]), *sys.argv[3:], checkpoint=0.0, batch_size=10)
except FeaturesError as error:
    print(error)
"""


def test_a_limit_of_file_sizes_is_one_error_and_the_next_run_goes_on(tmp_path, shapes):
    row, samples = shapes
    out = tmp_path / "pixels.safetensors"
    command = [sys.executable, "-c", LIMITED, json.dumps(PIXELS), json.dumps(row)]
    command += [str(samples), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "cannot be written: file too large" in done.stdout
    assert not out.exists() and leftovers(tmp_path) == [".pixels.shards"]
    extract_features(PIXELS, row, samples, out, checkpoint=0.0, batch_size=10)
    assert out.exists() and leftovers(tmp_path) == []
