"""Training data in memory: what a network takes, and the loss on a batch of it.

`open_data` makes of a dataset's samples what fits the modality and the objective of a recipe. All
of it is held in memory, pictures as bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from consilience.datasets import Sample
from consilience.errors import ConfigError, DataError
from consilience.networks import CLASSES, NOISE, TOKENS, Task, split_name
from consilience.networks.graphs import Graph
from consilience.networks.pictures import picture_bytes
from consilience.networks.symbols import BYTES
from consilience.train.graphs import Nodes
from consilience.train.labelled import Data, Labelled, Pictures
from consilience.train.noisy import Noisy
from consilience.train.texts import Texts, Windows


def vectors_of(samples: Sequence[Sample]) -> Tensor:
    """Returns (n, d) of samples that hold vectors.

    Raises:
        DataError: one holds none.
    """
    for sample in samples:
        if sample.vector is None:
            raise DataError(f"{sample.origin}: sample {sample.id!r} holds no vector")
    return torch.from_numpy(np.stack([sample.vector for sample in samples]))


def picture_of(sample: Sample, size: int, channels: int) -> Tensor:
    """Returns the picture of a sample as bytes (channels, size, size).

    Raises:
        DataError: there is none.
    """
    if sample.image is None:
        raise DataError(f"{sample.origin}: sample {sample.id!r} holds no picture")
    return picture_bytes(sample.image(), size, channels)


def labels_of(samples: Sequence[Sample], place: str) -> Tensor:
    """Returns the classes (n,) of samples.

    Raises:
        DataError: one has none.
    """
    for sample in samples:
        if sample.label is None:
            raise DataError(
                f"{place}: sample {sample.id!r} has no class to learn; train on a labelled dataset"
            )
    return torch.tensor([sample.label for sample in samples])


def texts_of(samples: Sequence[Sample]) -> list[str]:
    """Returns the texts of samples.

    Raises:
        DataError: one has none.
    """
    for sample in samples:
        if sample.text is None:
            raise DataError(f"{sample.origin}: sample {sample.id!r} holds no text")
    return [sample.text or "" for sample in samples]


def open_data(
    samples: Sequence[Sample],
    classes: int,
    spec: Mapping[str, Any],
    device: str = "cpu",
    like: Task | None = None,
    graph: Graph | None = None,
) -> Data:
    """Returns the data of samples, for the modality and objective of a spec.

    Args:
        samples: at least one.
        classes: of the dataset.
        spec: what is trained.
        device: where batches are to lie.
        like: the task of the training data, where these are others that a network is scored on: its
            vocabulary is theirs.
        graph: that samples are nodes of, where they are.

    Raises:
        ConfigError: nothing of that modality has such an objective.
        DataError: samples without what the modality needs, or without a class.
    """
    kind = (spec["modality"], spec["objective"])
    if kind not in _KINDS:
        known = "; ".join(f"{objective} of {modality}" for modality, objective in _KINDS)
        raise ConfigError(f"nothing learns {kind[1]} of {kind[0]}; what can be learnt: {known}")
    if spec["modality"] == "graph":
        return _nodes(samples, classes, spec, device, graph)
    return _KINDS[kind](samples, classes, spec, device, like)


def _labels(samples: Sequence[Sample], spec: Mapping[str, Any]) -> Tensor:
    return labels_of(samples, f"dataset {spec['dataset']!r}")


def _vectors(
    samples: Sequence[Sample], classes: int, spec: Mapping[str, Any], device: str, _: Task | None
) -> Data:
    return Labelled(vectors_of(samples), _labels(samples, spec), classes, "vector", device)


def _pictures(
    samples: Sequence[Sample], classes: int, spec: Mapping[str, Any], device: str, _: Task | None
) -> Data:
    labels, given = _labels(samples, spec), spec["input"]
    shares = {"mean": given["mean"], "deviation": given["deviation"]}
    return Pictures(_stacked(samples, given), labels, classes, "image", device, **shares)


def _stacked(samples: Sequence[Sample], given: Mapping[str, Any]) -> Tensor:
    size, channels = given["size"], given["channels"]
    return torch.stack([picture_of(sample, size, channels) for sample in samples])


def _noisy(
    samples: Sequence[Sample], _: int, spec: Mapping[str, Any], device: str, __: Task | None
) -> Data:
    given, ids = spec["input"], [sample.id for sample in samples]
    return Noisy(ids, _stacked(samples, given), given["mean"], given["deviation"], device)


def _texts(
    samples: Sequence[Sample], classes: int, spec: Mapping[str, Any], device: str, like: Task | None
) -> Data:
    given, texts = spec["input"], texts_of(samples)
    labels = _labels(samples, spec)
    if like is not None:
        return Texts(texts, labels, like, device)
    if split_name(spec["architecture"])[0] == "transformers" and spec["weights"]:
        task = Texts.task_of_folder(spec["weights"], classes, given["tokens"])
    else:
        task = Texts.task_of(texts, classes, given["tokens"], given["vocabulary"])
    return Texts(texts, labels, task, device)


def _bytes(
    samples: Sequence[Sample], _: int, spec: Mapping[str, Any], device: str, __: Task | None
) -> Data:
    task = Task("text", (spec["input"]["tokens"],), 0, BYTES, TOKENS)
    return Windows(texts_of(samples), task, device)


def _nodes(
    samples: Sequence[Sample],
    classes: int,
    spec: Mapping[str, Any],
    device: str,
    graph: Graph | None,
) -> Data:
    if graph is None or any(sample.node is None for sample in samples):
        raise DataError(f"dataset {spec['dataset']!r} has no graph that its samples are nodes of")
    nodes = torch.tensor([sample.node for sample in samples])
    return Nodes(graph, nodes, _labels(samples, spec), classes, device)


_KINDS: dict[tuple[str, str], Callable[..., Data]] = {
    ("vector", CLASSES): _vectors,
    ("image", CLASSES): _pictures,
    ("text", CLASSES): _texts,
    ("text", TOKENS): _bytes,
    ("graph", CLASSES): _nodes,
    ("image", NOISE): _noisy,
}
"""By modality and objective."""
