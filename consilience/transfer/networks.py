"""Networks as an attack sees them, and the pictures that they are attacked with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from consilience.alterations.draws import order_ids
from consilience.datasets import open_dataset
from consilience.errors import DataError, ModelError
from consilience.networks import CLASSES, Task
from consilience.networks.pictures import picture_bytes
from consilience.networks.weights import read_trained
from consilience.samples import iterate, read_samples

CHUNK = 128
"""Pictures in a pass."""


@dataclass(frozen=True)
class Network:
    """A trained classifier of pictures.

    Args:
        id: of the model.
        network: in evaluation mode, of pictures that are centred and scaled.
        classes: names in the order of its scores.
        shape: (channels, side) of the pictures that it takes.
        mean: of values in [0, 1], which is taken off.
        deviation: what they are divided by.
        learnt: the dataset that it learnt from.
    """

    id: str
    network: nn.Module
    classes: tuple[str, ...]
    shape: tuple[int, int]
    mean: float = 0.0
    deviation: float = 1.0
    learnt: str = ""

    def scores(self, pixels: Tensor) -> Tensor:
        """Returns scores (n, classes) of pictures in [0, 1]."""
        return self.network((pixels - self.mean) / self.deviation)

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """Returns for each class of a dataset, by name, its number here; −1: it has none."""
        own = {name: number for number, name in enumerate(self.classes)}
        return np.array([own.get(name, -1) for name in names], np.int64)

    @torch.no_grad()
    def answers(self, pixels: Tensor) -> np.ndarray:
        """Returns the (n,) classes that it gives pictures in [0, 1]."""
        parts = [self.scores(part).argmax(1) for part in pixels.split(CHUNK)]
        return torch.cat(parts).cpu().numpy()


def read_network(path: str | Path, model: str, device: str = "cpu", learnt: str = "") -> Network:
    """Returns the network of a file of trained weights; `learnt`: see `read_trained`.

    Raises:
        ModelError: it does not tell classes of pictures, or the file is damaged, or another's.
    """
    trained = read_trained(path, learnt)
    task, spec = Task.of(trained.header["task"]), trained.header["spec"]
    if (task.modality, task.objective) != ("image", CLASSES):
        raise ModelError(
            f"model {model!r} learnt {task.objective} of {task.modality}, and an attack takes "
            "classifiers of pictures; leave it out of the study, or `causes.transfer`"
        )
    how = spec["input"]
    return Network(
        model,
        trained.network().requires_grad_(False).to(device),
        tuple(trained.header["classes"]),
        (how["channels"], how["size"]),
        how["mean"],
        how["deviation"],
        spec["dataset"],
    )


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures of a dataset, as bytes of one shape.

    Args:
        ids: of n samples.
        labels: (n,) their classes, as the dataset numbers them.
        names: of these classes.
        pixels: (n, channels, side, side) in [0, 1].
    """

    ids: list[str]
    labels: np.ndarray
    names: tuple[str, ...]
    pixels: Tensor


def read_pictures(
    row: Mapping[str, Any],
    samples_path: str | Path,
    shape: tuple[int, int],
    *,
    count: int,
    seed: int,
    learnt: bool,
    device: str = "cpu",
) -> Pictures:
    """Returns pictures of a dataset that are drawn by their ids.

    They are the same for all models; where any learnt from the dataset, those of its split `test`.

    Args:
        row: of the dataset.
        samples_path: results/samples/{dataset}.parquet.
        shape: (channels, side) in which they are wanted.
        count: the most of them.
        seed: of the study.
        learnt: whether models learnt from the dataset.
        device: where they are to lie.

    Raises:
        DataError: there are no labels, or models learnt from all of the samples.
    """
    samples, place = read_samples(samples_path), f"dataset {row['dataset']!r}"
    table = samples.table
    held_out = (table["split"] == "test").to_numpy(bool)
    if learnt and not held_out.any():
        raise DataError(
            f"{place}: the models learnt from it and it has no split `test`, so that no success of "
            "an attack would mean anything; name another dataset as `test` of the recipe, or set "
            "`test_share`"
        )
    if table["label"].isna().any():
        raise DataError(f"{place}: it has samples without a class, which none can be led away from")
    rows = np.flatnonzero(held_out) if learnt else np.arange(len(table))
    ids = table["id"].to_numpy(object)
    rows = np.sort(rows[order_ids(ids[rows].tolist(), "transfer", seed)[:count]])
    wanted, found = set(rows.tolist()), {}
    for position, sample in iterate(open_dataset({**row, **samples.pin}), samples):
        if position in wanted:
            if sample.image is None:
                raise DataError(f"{place}: sample {sample.id!r} holds no picture")
            found[position] = picture_bytes(sample.image(), shape[1], shape[0])
    pixels = torch.stack([found[position] for position in rows.tolist()]).to(device).float() / 255
    labels = table["label"].to_numpy()[rows].astype(np.int64)
    return Pictures(ids[rows].tolist(), labels, tuple(samples.classes), pixels)
