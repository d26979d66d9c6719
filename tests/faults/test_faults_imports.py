"""K15: many small imports are read by one process, each file for its own sake alone."""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from consilience.errors import FeaturesError
from consilience.features import imports
from consilience.features.extract import extract_features
from consilience.features.reading import read_layer
from consilience.samples import make_samples

N = 24
DATASET = {"dataset": "d", "source": "synthetic", "name": f"blobs n={N} classes=3",
           "modality": "image"}  # fmt: skip


class Place:
    """A folder of features that are imported as the workflow does it."""

    def __init__(self, root):
        self.root, self.features = root, root / "features" / "d"
        self.samples = root / "samples.parquet"
        make_samples(DATASET, 0, self.samples)
        self.models = {}

    def add(self, *names, code="1"):
        for i, name in enumerate(names):
            x = np.random.default_rng([i, len(name)]).standard_normal((N, 3))
            np.save(self.root / f"{name}.npy", x.astype(np.float32))
            row = {"model": name, "source": "imported", "order": "samples", "modality": "image"}
            row |= {"name": str(self.root / "{model}.npy")}
            self.models[name] = {"row": row, "dtype": "float32", "autocast": "none", "code": code}

    def name(self, model):
        return f"{self.models[model]['code']}-{model}.safetensors"

    def want(self, model, caplog):
        """Makes one features file as its job does; returns which models were read for it."""
        out, folder = self.features / f"{model}.safetensors", self.features / ".imported"
        lying = folder / self.name(model)
        out.unlink(missing_ok=True)
        if lying.exists() and lying.stat().st_mtime_ns > self.samples.stat().st_mtime_ns:
            lying.replace(out)
            return []
        content = {
            "models": self.models, "dataset": {"row": DATASET, "code": "0"},
            "names": {one: self.name(one) for one in self.models}, "settings": {"batch_size": 8},
        }  # fmt: skip
        (self.root / "plan.json").write_text(json.dumps({"d": content}))
        caplog.clear()
        with caplog.at_level(logging.INFO):
            imports.import_together(self.root / "plan.json", "d", model, self.samples, folder, out)
        return sorted(r.args[0] for r in caplog.records if r.msg == "model %r is read")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_the_first_job_reads_all_and_the_others_move(place, caplog, tmp_path):
    place.add("a", "b", "c")
    assert place.want("b", caplog) == ["a", "b", "c"]
    assert place.want("a", caplog) == place.want("c", caplog) == []
    row = place.models["a"]["row"]
    extract_features(row, DATASET, place.samples, tmp_path / "alone", batch_size=8)
    made = (place.features / "a.safetensors").read_bytes()
    assert made == (tmp_path / "alone").read_bytes()
    assert [path.name for path in (place.features / ".imported").iterdir()] == [".lock"]


def test_only_what_lacks_is_read(place, caplog):
    place.add("a", "b")
    place.want("a", caplog), place.want("b", caplog)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in place.features.glob("*.safe*")}
    place.add("c")
    assert place.want("c", caplog) == ["c"]
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in before}
    (place.features / "a.safetensors").unlink()
    assert place.want("a", caplog) == ["a"]
    os.utime(place.features / "b.safetensors")  # as `snakemake --touch`
    place.add("d")
    assert place.want("d", caplog) == ["d"]


def test_what_is_made_otherwise_or_damaged_is_read_again(place, caplog):
    place.add("a", "b", "c")
    for model in "abc":
        place.want(model, caplog)
    place.add("a", code="2")
    (place.features / "c.safetensors").write_bytes(b"damaged")
    assert place.want("a", caplog) == ["a", "c"]
    assert (place.features / ".imported" / place.name("c")).exists()
    place.add("b", code="2")
    assert place.want("b", caplog) == ["b"]  # c lies in the folder
    os.utime(place.samples)  # newer than it: perhaps other samples
    assert place.want("c", caplog) == ["c"]
    (place.features / imports.NOTES).write_text("{")
    assert place.want("c", caplog) == ["a", "b", "c"]


def test_one_that_cannot_be_read_stops_itself_alone(place, caplog):
    place.add("a", "b", "c")
    (place.root / "b.npy").write_bytes(b"no array")
    assert place.want("a", caplog) == ["a", "c"]
    assert "model 'b' cannot be read" in caplog.text
    with pytest.raises(FeaturesError, match=r"model .b., dataset .d.: .*b.npy: cannot be read"):
        place.want("b", caplog)
    assert place.want("c", caplog) == [] and not (place.features / "b.safetensors").exists()
    place.add("b")
    assert place.want("b", caplog) == ["b"]
    x = np.load(place.root / "b.npy")
    assert np.array_equal(read_layer(place.features / "b.safetensors", "features"), x)


def test_several_at_once_read_each_file_once(place, caplog):
    names = [f"m{i}" for i in range(8)]
    place.add(*names)
    place.want(names[0], caplog)
    for name in names[1:]:
        (place.features / ".imported" / place.name(name)).unlink()
    (place.features / imports.NOTES).unlink()
    folder, read = place.features / ".imported", []

    def make(name):
        out = place.features / f"{name}.safetensors"
        imports.import_together(place.root / "plan.json", "d", name, place.samples, folder, out)

    caplog.clear()
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(4) as pool:
        list(pool.map(make, names))
    read = [r.args[0] for r in caplog.records if r.msg == "model %r is read"]
    assert sorted(read) == sorted(set(read)) and set(read) == set(names)
    assert all((place.features / f"{name}.safetensors").exists() for name in names)


def test_where_there_are_no_locks_each_reads_its_own(place, caplog, monkeypatch):
    def fail(*_):
        raise OSError("no locks")

    place.add("a", "b")
    monkeypatch.setattr(imports.fcntl, "flock", fail)
    assert place.want("b", caplog) == ["b"]
    assert place.want("a", caplog) == ["a"]
