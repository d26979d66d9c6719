"""Small labelled samples, and models trained on them without a catalogue."""

import functools
import random
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
from PIL import Image

from consilience.datasets import Sample
from consilience.models import load_model
from consilience.networks.weights import read_header
from consilience.train import train_models
from consilience.train.altered import Stimuli
from consilience.train.inputs import open_data

INPUT = {"size": 12, "channels": 1, "mean": 0.5, "deviation": 0.25, "tokens": 8, "vocabulary": 50}


def pictures():
    """Returns pictures of three classes: a bright stripe at one of three places."""
    rng = np.random.default_rng(0)
    for k in range(60):
        values = rng.integers(0, 90, (12, 12)).astype(np.uint8)
        values[:, 4 * (k % 3) : 4 * (k % 3) + 4] += 120
        image = Image.fromarray(values).convert("RGB")
        yield Sample(
            f"p{k}", f"p{k}", label=k % 3, image=functools.partial(Image.Image.copy, image)
        )


def texts():
    """Returns texts of three classes, each of which has a word of its own at some place."""
    rng, kinds = random.Random(0), ("cat", "dog", "owl")
    for k in range(60):
        words = rng.choices(["a", "the", "some", "many", "few"], k=rng.randint(2, 9))
        words.insert(rng.randrange(3), kinds[k % 3])
        yield Sample(f"t{k}", f"t{k}", label=k % 3, text=" ".join(words))


def verses():
    """Returns texts of which each letter but the first follows from the one before it."""
    for k in range(20):
        yield Sample(f"v{k}", f"v{k}", text="abcdefgh"[k % 8 :] + "abcdefgh" * (1 + k % 3))


class Given:
    """Samples that are there already, where a job expects a dataset of the catalogue."""

    split = None

    def __init__(self, samples, graph=None):
        self.graph = graph
        self.found, self.row = list(samples), {"source": "synthetic"}
        table = {"split": np.array(["train"])}
        self.samples = SimpleNamespace(hash="0" * 64, classes=("a", "b", "c"), table=table)

    def of(self, model):
        return self

    @property
    def told(self):
        return {"samples": self.samples.hash}

    def data(self, split, spec, device, like=None):
        return open_data(Stimuli(self.found, 3, self.graph), spec, device, like)


def spec(architecture, options, **changes):
    """Returns what is trained, as a recipe's expansion gives it."""
    given = {
        "architecture": architecture,
        "options": options,
        "dataset": "given",
        "test": "",
        "split": "all",
        "modality": "image",
        "objective": "classes",
        "input": INPUT,
        "training": {"lr": 0.01, "steps": 80, "batch_size": 20},
        "weights": "",
        "keys": "",
        "alterations": {},
        "overlap": {},
        "seeds": {"init": 0, "order": 1, "draw": 2, "noise": 3, "study": 0},
    }
    return {**given, **changes}


def train(folder, samples, given, graph=None, **settings):
    """Returns the file of the weights of one model, trained on samples."""
    out = folder / "m.safetensors"
    train_models([{"m": given}], {"m": out}, Given(samples, graph), None, device="cpu", **settings)
    return out


def extractor_of(path, **cells):
    header = read_header(path)["spec"]
    row = {"model": "m", "source": "trained", "name": header["architecture"], "weights": str(path),
           "modality": header["modality"], **cells}  # fmt: skip
    return load_model(row)


def checkpoints(folder):
    """The times of what a training in a folder has kept of itself so far."""
    with suppress(FileNotFoundError):  # one that was removed meanwhile
        return [path.stat().st_mtime_ns for path in (folder / ".store").glob("*.checkpoint")]
    return []
