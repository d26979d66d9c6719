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
from consilience.networks import (
    CLASSES,
    IMAGE_TEXT,
    NOISE,
    OF_PICTURES,
    ROTATION,
    TOKENS,
    Task,
    split_name,
)
from consilience.networks.pictures import picture_bytes
from consilience.networks.symbols import BYTES
from consilience.train.altered import Stimuli
from consilience.train.graphs import Nodes
from consilience.train.labelled import Data, Labelled, Pictures
from consilience.train.noisy import Noisy
from consilience.train.objectives import KINDS, ImageText
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
    given: Stimuli, spec: Mapping[str, Any], device: str = "cpu", like: Task | None = None
) -> Data:
    """Returns the data of samples, for the modality and objective of a spec.

    Args:
        given: at least one sample.
        spec: what is trained.
        device: where batches are to lie.
        like: the task of the training data, where these are others that a network is scored on: its
            vocabulary is theirs.

    Raises:
        ConfigError: nothing of that modality has such an objective.
        DataError: samples without what the modality needs, or without a class.
    """
    kind = (spec["modality"], spec["objective"])
    if kind not in _KINDS:
        known = "; ".join(f"{objective} of {modality}" for modality, objective in _KINDS)
        raise ConfigError(f"nothing learns {kind[1]} of {kind[0]}; what can be learnt: {known}")
    return _KINDS[kind](given, spec, device, like)


def _labels(given: Stimuli, spec: Mapping[str, Any]) -> Tensor:
    return labels_of(given.samples, f"dataset {spec['dataset']!r}")


def _vectors(given: Stimuli, spec: Mapping[str, Any], device: str, _: Task | None) -> Data:
    vectors = vectors_of(given.samples)
    return Labelled(vectors, _labels(given, spec), given.classes, "vector", device)


def _pictures(given: Stimuli, spec: Mapping[str, Any], device: str, _: Task | None) -> Data:
    labels, pictures = _labels(given, spec), _stacked(given, spec["input"])
    shares = {key: spec["input"][key] for key in ("mean", "deviation")}
    return Pictures(pictures, labels, given.classes, "image", device, vary=given.vary, **shares)


def _stacked(given: Stimuli, how: Mapping[str, Any]) -> Tensor:
    key = how["size"], how["channels"]
    if key not in given.pictures:
        given.pictures[key] = torch.stack([picture_of(one, *key) for one in given.samples])
    return given.pictures[key]


def _noisy(given: Stimuli, spec: Mapping[str, Any], device: str, _: Task | None) -> Data:
    how, ids = spec["input"], [sample.id for sample in given.samples]
    return Noisy(ids, _stacked(given, how), how["mean"], how["deviation"], device)


def _unlabelled(given: Stimuli, spec: Mapping[str, Any], device: str, like: Task | None) -> Data:
    if spec["objective"] == ROTATION:
        _check_square(given.samples)
    how, ids = spec["input"], [sample.id for sample in given.samples]
    basis = (ids, _stacked(given, how), spec, device)
    if spec["objective"] != IMAGE_TEXT:
        return KINDS[spec["objective"]](*basis)
    words = {key: how[key] for key in ("tokens", "vocabulary")}
    return ImageText(*basis, texts=_sayings(given, spec), like=like, **words)


def _check_square(samples: Sequence[Sample]) -> None:
    for sample in samples:
        wide, high = sample.image().size if sample.image else (0, 0)
        if wide != high:
            raise DataError(
                f"{sample.origin}: sample {sample.id!r} has {wide} x {high} pixels, and a picture "
                "that is no square tells its turn by its shape; crop it, or set another objective"
            )


def _sayings(given: Stimuli, spec: Mapping[str, Any]) -> list[str]:
    """Returns a text for each sample: its own, or one that names its class."""
    how, place = spec["objective_options"], f"dataset {spec['dataset']!r}"
    if how["texts"] == "captions":
        return texts_of(given.samples)
    named = [" ".join(name.replace("_", " ").split()) for name in given.names]
    if not all(named) or len(set(named)) < max(len(named), 2):
        raise DataError(
            f"{place} has no two classes with a name each, and image_text learns from names; name "
            "another dataset, or set objective_options.texts to captions"
        )
    template = how["template"]
    return [template.replace("{name}", named[k]) for k in _labels(given, spec).tolist()]


def _texts(given: Stimuli, spec: Mapping[str, Any], device: str, like: Task | None) -> Data:
    how, texts = spec["input"], texts_of(given.samples)
    labels = _labels(given, spec)
    if like is not None:
        return Texts(texts, labels, like, device)
    if split_name(spec["architecture"])[0] == "transformers" and spec["weights"]:
        task = Texts.task_of_folder(spec["weights"], given.classes, how["tokens"])
    else:
        task = Texts.task_of(texts, given.classes, how["tokens"], how["vocabulary"])
    return Texts(texts, labels, task, device)


def _bytes(given: Stimuli, spec: Mapping[str, Any], device: str, _: Task | None) -> Data:
    task = Task("text", (spec["input"]["tokens"],), 0, BYTES, TOKENS)
    return Windows(texts_of(given.samples), task, device)


def _nodes(given: Stimuli, spec: Mapping[str, Any], device: str, _: Task | None) -> Data:
    if given.graph is None or any(sample.node is None for sample in given.samples):
        raise DataError(f"dataset {spec['dataset']!r} has no graph that its samples are nodes of")
    nodes = torch.tensor([sample.node for sample in given.samples])
    labels = _labels(given, spec)
    return Nodes(given.graph, nodes, labels, given.classes, device, given.vary)


_KINDS: dict[tuple[str, str], Callable[..., Data]] = {
    ("vector", CLASSES): _vectors,
    ("image", CLASSES): _pictures,
    ("text", CLASSES): _texts,
    ("text", TOKENS): _bytes,
    ("graph", CLASSES): _nodes,
    ("image", NOISE): _noisy,
    **{("image", objective): _unlabelled for objective in OF_PICTURES},
}
"""By modality and objective."""
