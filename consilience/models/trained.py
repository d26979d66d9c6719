"""Models that the workflow trained: see `consilience.train` and `config/recipes.yaml`.

Their rows are made from recipes and never written by hand. The weights file says what the network
is, and what it takes: vectors as they are, pictures resized to the size that it was trained at and
centred and scaled as there, texts cut to as many words or bytes as there. Words are those of the
vocabulary of the training texts, which the file holds.

The column `layers` is blank or `last` for `features`, what enters the head; `all` for the network's
blocks and `features`; or a comma list of module names and patterns. Where classes were learnt,
logits and the class vectors (`unembedding`, without bias) come out beside them; of what predicts
bytes, `loss` and the vectors of the bytes. Untrained networks give these too. What learnt noise has
the layers `t10`, `t50`, …, mean and deviation over positions at that time of the noise (blank: 10,
50, 100, 200, 400, 700), or `t_random`, each picture at a time of its own.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from consilience import files
from consilience.datasets import Sample
from consilience.errors import DataError
from consilience.models import _weights
from consilience.models._images import ImageExtractor, read_pooling
from consilience.models._network import Head, NetworkExtractor, Tap, find_taps
from consilience.models._selftest import tested
from consilience.models._state import load_state
from consilience.models._trained_graphs import NodeExtractor
from consilience.models._trained_noise import NoiseExtractor, read_times
from consilience.models._trained_texts import ByteExtractor, WordExtractor, read_pool
from consilience.networks import (
    CLASSES,
    NOISE,
    OF_PICTURES,
    TOKENS,
    Task,
    unembedding_of,
    versions_of,
)
from consilience.networks.hub import find_folder, is_repository
from consilience.networks.pictures import picture_bytes
from consilience.networks.weights import Trained, read_trained

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

FEATURES = "features"


class VectorExtractor(NetworkExtractor):
    """A network on vectors of one length.

    Args:
        length: of a vector.
        **given: see `NetworkExtractor`.
    """

    inputs = "vectors"
    remedy = "name a dataset of such vectors in the recipe's `runs_on`"

    def __init__(self, length: int, **given: Any) -> None:  # noqa: ANN401
        super().__init__(**given)
        self._length = length

    def preprocess(self, sample: Sample) -> Tensor:
        """Returns the vector (d,); raises DataError if there is none, or of another length."""
        if sample.vector is None:
            raise DataError(f"{sample.origin}: sample {sample.id!r} holds no vector")
        if sample.vector.shape != (self._length,):
            raise DataError(
                f"{sample.origin}: sample {sample.id!r} has {sample.vector.size} numbers and the "
                f"network takes {self._length}"
            )
        return torch.from_numpy(np.asarray(sample.vector, np.float32))

    def examples(self) -> tuple[Tensor, Tensor]:
        """Returns two inputs to test the network on."""
        one, two = torch.randn(2, self._length, generator=torch.Generator().manual_seed(0))
        return one, two


class TrainedTransform:
    """A picture as a network saw it in training: resized, with numbers centred and scaled."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._size, self._channels = given["size"], given["channels"]
        self._mean, self._deviation = given["mean"], given["deviation"]

    def __call__(self, image: "Image") -> Tensor:
        """Returns (channels, size, size)."""
        found = picture_bytes(image, self._size, self._channels).float()
        return (found / 255 - self._mean) / self._deviation

    def __repr__(self) -> str:
        return (
            f"TrainedTransform(size={self._size}, channels={self._channels}, mean={self._mean}, "
            f"deviation={self._deviation})"
        )


def load(row: Mapping[str, Any], device: str = "cpu") -> NetworkExtractor:
    """Returns the extractor of a row with source `trained`, whose `weights` is the file.

    Raises:
        ModelError: the file is not there or damaged, or of a modality that has no extractor.
    """
    path = files.locate(_weights.cell(row, "weights"))
    trained = read_trained(path)
    network = trained.network()
    task = Task.of(trained.header["task"])
    kind = (task.modality, task.objective)
    if kind not in _EXTRACTORS:
        _weights.fail(row, f"no extractor for networks of {kind[0]} that learnt {kind[1]}")
    packages = ("torch", *versions_of(trained.header["spec"]["architecture"]))
    given = {
        "provenance": _weights.provenance(row, _weights_of(path), network, packages),
        "device": device,
    }
    if task.objective != NOISE:
        given["taps"] = _taps(row, network)
    extractor = _EXTRACTORS[kind](row, trained, network, given)
    extractor.provenance.update(_provenance(trained))
    # Features of a node depend on its neighbours, as they are to.
    return extractor if task.modality == "graph" else tested(row, extractor)


def _weights_of(path: Path) -> _weights.Weights:
    return _weights.Weights(path=path, sha256=files.file_digest(path))


def _taps(row: Mapping[str, Any], network: nn.Module) -> dict[str, Tap]:
    special = {FEATURES: Tap(network.parts.head, "input")}
    return find_taps(row, network, special, lambda: network.parts.blocks)


def _head(network: nn.Module) -> Head:
    return Head(Tap(network), _class_vectors(network))


def _class_vectors(network: nn.Module) -> np.ndarray | None:
    found = unembedding_of(network.parts.head)
    return None if found is None else found.detach().float().cpu().numpy()


def _vectors(
    row: Mapping[str, Any], trained: Trained, network: nn.Module, given: dict[str, Any]
) -> NetworkExtractor:
    length = trained.header["task"]["shape"][0]
    head, pooling = _head(network), read_pooling(row)
    return VectorExtractor(length, model=network, head=head, pooling=pooling, **given)


def _pictures(
    row: Mapping[str, Any], trained: Trained, network: nn.Module, given: dict[str, Any]
) -> NetworkExtractor:
    transform = TrainedTransform(trained.header["spec"]["input"])
    parts = network.parts
    pooling = read_pooling(row, channels_last=parts.channels_last, prefix=parts.prefix)
    head = _head(network) if trained.header["task"]["objective"] == CLASSES else None
    extractor = ImageExtractor(
        transform=transform, model=network, head=head, pooling=pooling, **given
    )
    extractor.same_inputs = repr(transform)
    return extractor


def _words(
    row: Mapping[str, Any], trained: Trained, network: nn.Module, given: dict[str, Any]
) -> NetworkExtractor:
    task = Task.of(trained.header["task"])
    return WordExtractor(task, read_pool(row), model=network, head=_head(network), **given)


def _noise(
    row: Mapping[str, Any], trained: Trained, network: nn.Module, given: dict[str, Any]
) -> NetworkExtractor:
    transform = TrainedTransform(trained.header["spec"]["input"])
    return NoiseExtractor(read_times(row), transform, network, **given)


def _nodes(
    row: Mapping[str, Any], trained: Trained, network: nn.Module, given: dict[str, Any]
) -> NetworkExtractor:
    length = trained.header["task"]["shape"][0]
    return NodeExtractor(length, network, head=_head(network), **given)


def _bytes(
    row: Mapping[str, Any], trained: Trained, network: nn.Module, given: dict[str, Any]
) -> NetworkExtractor:
    extractor = ByteExtractor(Task.of(trained.header["task"]), read_pool(row), network, **given)
    extractor.unembedding = _class_vectors(network)
    return extractor


_EXTRACTORS: dict[tuple[str, str], Callable[..., NetworkExtractor]] = {
    ("vector", CLASSES): _vectors,
    ("image", CLASSES): _pictures,
    ("text", CLASSES): _words,
    ("text", TOKENS): _bytes,
    ("graph", CLASSES): _nodes,
    ("image", NOISE): _noise,
    **{("image", objective): _pictures for objective in OF_PICTURES},
}
"""By modality and objective."""


def _provenance(trained: Trained) -> dict[str, str]:
    """Returns what the header of features says of a training."""
    header = trained.header
    return {
        "status": header["status"],
        "seeds": files.canonical_json(header["spec"]["seeds"]),
        "scores": files.canonical_json(header["scores"]),
        "classes": files.canonical_json(header["classes"]),
    }


def fill(network: nn.Module, uri: str, keys: str, model: str, *, new_head: bool = False) -> None:
    """Loads weights that were trained elsewhere: all of them, by name.

    Args:
        network: to be filled.
        uri: a file of tensors, or a folder of the network's library; see `_weights.read_weights`
            and `find_folder`.
        keys: how its names become the network's, as in the column `keys` of models.tsv.
        model: its id, for messages.
        new_head: whether the head may stay as it was drawn, if there is none or one of another
            shape, as where other classes are to be learnt.

    Raises:
        ModelError: the file cannot be read without running code, or does not fit the network.
    """
    row = {"model": model, "weights": _local(uri), "keys": keys}
    state, head = _start_of(row, network)
    own = network.state_dict()
    if new_head and any(n not in state or state[n].shape != own[n].shape for n in head):
        state |= {name: own[name] for name in head}
        logger.info("model %r: %s has no head that fits, so it is new", model, uri)
    lacking = sorted(set(own) - set(state))
    others = sorted(set(state) - set(own))
    if lacking or others:
        _weights.fail(
            row,
            f"{uri} does not fit: it lacks {', '.join(lacking[:3]) or 'nothing'} and has besides "
            f"{', '.join(others[:3]) or 'nothing'}; say in `keys` how names become the network's",
        )
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            _weights.fail(
                row,
                f"{uri}: {name!r} has the shape {tuple(tensor.shape)}, the network "
                f"{tuple(own[name].shape)}; correct the options of the recipe",
            )
    network.load_state_dict(state)


def start_digest(uri: str, model: str) -> str:
    """Returns the SHA-256 of the weights that `fill` takes."""
    return _weights.read_weights({"model": model, "weights": _local(uri)}).sha256


def prefetch(row: Mapping[str, Any]) -> None:
    """Fetches the weights that a training starts from, which `row["weights"]` names."""
    start_digest(_weights.cell(row, "weights"), str(row.get("model", "")))


def _local(uri: str) -> str:
    return str(find_folder(uri)) if is_repository(uri) else uri


def _start_of(row: Mapping[str, Any], network: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the weights that a row names, and the names of tensors that may be new.

    Those are the head's, or all that a folder of the network's library may lack.
    """
    path = _weights.read_weights(row).path
    if path is None:
        _weights.fail(row, f"weights {row['weights']!r} is no local file or folder")
    if not path.is_dir():
        (head,) = (name for name, part in network.named_modules() if part is network.parts.head)
        names = [f"{head}.{name}" for name in network.parts.head.state_dict()]
        return dict(load_state(row, path)), names
    if network.parts.start is None or row["keys"]:
        _weights.fail(row, f"{path} is a folder, which this architecture, or `keys`, has no use of")
    found = network.parts.start(path)
    return found, [name for name in network.state_dict() if name not in found]
