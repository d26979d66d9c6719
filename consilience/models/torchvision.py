"""Image models of torchvision, by name.

`weights` is blank or `DEFAULT` (the library's best), another of its tags (`IMAGENET1K_V1`), a local
state dict, or `random`. A `.pkl` file is read as the SqueezeNet 1.1 of the Caffe and Keras ports:
a table {layer: [kernel (h, w, in, out), bias (out)]}.

The column `layers` is blank or `last` for `pre_logits`: what enters the last linear or
convolutional layer of the network, averaged over positions. That is the pooled feature map of
ResNet, EfficientNet, DenseNet, ConvNeXt and SqueezeNet (its classifier is a convolution), the class
token of ViT and the second hidden layer of VGG's classifier; write `classifier.3` for VGG's before
its last non-linearity. `all` is `pre_logits` and what the network consists of: the blocks of a
transformer, the children of `features`, the stages of others. Else it is a comma list of module
names and patterns. The logits of a trained classifier come out beside the layers.

Preprocessing is the preset of the weights (of the model's first preset for local and random
weights); `input_size` scales its resize and crop alike. `transform` = `caffe` takes Caffe's: BGR,
0 to 255, channel means subtracted, no scaling.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from consilience import files
from consilience.errors import DataError, ModelError
from consilience.models import _weights
from consilience.models._download import fetch
from consilience.models._images import ImageExtractor, read_pooling, read_transform
from consilience.models._network import Head, Tap, children_of, find_taps
from consilience.models._selftest import tested
from consilience.models._state import State, fit_state, load_state
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

PACKAGES = ("torch", "torchvision", "pillow")
SQUEEZENET_FIRES = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))
"""Position in `features` of each fire module of SqueezeNet 1.1."""


def load(row: Mapping[str, Any], device: str = "cpu") -> ImageExtractor:
    """Returns the extractor of a row with source `torchvision`.

    Raises:
        ModelError: unknown name, tag, layer, pool or transform; weights that cannot be had or do
            not fit.
    """
    model, weights, trained = build(row, _weights.read_weights(row))
    return extractor(row, model, weights, device, trained_head=trained)


def build(
    row: Mapping[str, Any], weights: _weights.Weights
) -> tuple[nn.Module, _weights.Weights, bool]:
    """Returns the whole model of a row, where its weights are from, and if its head is trained."""
    name = check_name(row)
    if weights.seed is not None:
        with _weights.seeded(weights.seed, name):
            return bare(row), weights, False
    if weights.path is not None:
        with _weights.seeded("0", name):
            model = bare(row)
        state = _read_state(row, weights.path)
        return model, weights, fit_state(row, model, state, weights.path, heads(row, model))
    preset = _preset(row, weights.tag or "DEFAULT")
    return *_download(row, name, preset), True


def bare(row: Mapping[str, Any]) -> nn.Module:
    """Returns the architecture of a row without its weights."""
    name = check_name(row)
    if _weights.cell(row, "revision") and not _weights.cell(row, "weights").startswith(
        _weights.HUB
    ):
        _weights.fail(row, "torchvision has no revisions; name a tag in `weights`")
    return torchvision.models.get_model(name, weights=None, **_arguments(name)).eval()


def check_name(row: Mapping[str, Any]) -> str:
    """Returns the name of a row; raises ModelError if torchvision does not know it."""
    name = _weights.cell(row, "name")
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        hint = did_you_mean(name, known)
        _weights.fail(row, f"torchvision has no image classifier {name!r}{hint}")
    return name


def convert(_model: nn.Module, state: State) -> State:
    """Returns a published checkpoint as it is: torchvision's names are what others imitate."""
    return state


def extractor(
    row: Mapping[str, Any],
    model: nn.Module,
    weights: _weights.Weights,
    device: str,
    *,
    trained_head: bool,
) -> ImageExtractor:
    """Returns the extractor around a model of torchvision with its weights loaded."""
    name, last = _weights.cell(row, "name"), _last_map(row, model)[1]
    preset = _preset(row, weights.tag) if weights.tag else _first_preset(name)
    provenance = _weights.provenance(row, weights, model, PACKAGES)
    if weights.tag:
        provenance["weights"] = str(preset)
    found = ImageExtractor(
        model,
        find_taps(row, model, {"pre_logits": Tap(last, "input")}, lambda: blocks(row, model)),
        read_transform(row, lambda: _own_transform(row, preset)),
        # Swin keeps (b, h, w, d); ViT puts a class token first.
        read_pooling(row, channels_last=name.startswith("swin"), prefix=int(name[:4] == "vit_")),
        provenance,
        device,
        Head.of(model, last) if trained_head else None,
    )
    return tested(row, found)


def _arguments(name: str) -> dict[str, Any]:
    # Only these two warn and draw slowly unless told how to begin.
    return {"init_weights": True} if name in ("googlenet", "inception_v3") else {}


def _first_preset(name: str) -> Any:  # noqa: ANN401
    return next(iter(torchvision.models.get_model_weights(name)))


def _preset(row: Mapping[str, Any], tag: str) -> Any:  # noqa: ANN401
    name = _weights.cell(row, "name")
    presets = torchvision.models.get_model_weights(name)
    if tag not in presets.__members__:
        hint = did_you_mean(tag, presets.__members__)
        _weights.fail(row, f"{name!r} has no weights {tag!r}{hint}")
    return presets[tag]


def _download(
    row: Mapping[str, Any],
    name: str,
    preset: Any,  # noqa: ANN401
) -> tuple[nn.Module, _weights.Weights]:
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(preset.url).name
    digits = re.search(r"-([0-9a-f]{8,})\.", path.name)  # the first of its hash
    try:
        fetch(preset.url, path, digits[1] if digits else "")
        found = files.locate(str(path), _weights.cell(row, "sha256"))
    except (DataError, ModelError) as error:
        _weights.fail(row, f"{preset}: {error}")
    with _weights.local(row, str(preset)):
        model = torchvision.models.get_model(name, weights=preset).eval()
    return model, _weights.Weights(tag=preset.name, sha256=files.file_digest(found))


def heads(row: Mapping[str, Any], model: nn.Module) -> tuple[str, ...]:
    """Returns the name of the module that classifies."""
    return (_last_map(row, model)[0],)


def _last_map(row: Mapping[str, Any], model: nn.Module) -> tuple[str, nn.Module]:
    """Returns the last linear or convolutional layer in order of registration, and its name."""
    maps = [pair for pair in model.named_modules() if isinstance(pair[1], nn.Linear | nn.Conv2d)]
    if not maps:
        _weights.fail(row, "no linear layer was found; name the layers in the column `layers`")
    return maps[-1]


def blocks(row: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Returns the names of a network's blocks or stages."""
    found = children_of(model, "encoder.layers", "features", "trunk_output", "blocks", "layers")
    head = heads(row, model)[0]
    parts = [name for name, part in model.named_children() if next(part.children(), None)]
    return found or [n for n in parts if "aux" not in n.lower() and not head.startswith(n)]


def _own_transform(row: Mapping[str, Any], preset: Any) -> Callable[["Image"], Tensor]:  # noqa: ANN401
    size, own = _weights.input_size(row), preset.transforms()
    if size is None:
        return own
    resize = round(size * own.resize_size[0] / own.crop_size[0])
    return preset.transforms(crop_size=size, resize_size=resize)


def _read_state(row: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    return read_caffe(row, path) if path.suffix == ".pkl" else load_state(row, path)


def read_caffe(row: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Returns the state dict of SqueezeNet 1.1 from a table {layer: [kernel, bias]}.

    Raises:
        ModelError: the file is damaged, holds anything but arrays, or other layers.
    """
    try:
        with path.open("rb") as stream:
            table = _ArrayUnpickler(stream, encoding="latin1").load()
    except ModelError:
        raise
    except Exception as error:
        _weights.fail(row, f"{path} cannot be read as a table of arrays: {error}")
    state: dict[str, Tensor] = {}
    try:
        for layer, (kernel, bias) in table.items():
            target = _squeezenet_name(layer)
            # Keras keeps (h, w, in, out), PyTorch (out, in, h, w).
            state[f"{target}.weight"] = torch.from_numpy(
                np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), np.float32)
            )
            state[f"{target}.bias"] = torch.from_numpy(np.ascontiguousarray(bias, np.float32))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        _weights.fail(row, f"{path} does not hold the layers of SqueezeNet 1.1 ({error})")
    return state


def _squeezenet_name(layer: str) -> str:
    if layer in ("conv1", "conv10"):
        return {"conv1": "features.0", "conv10": "classifier.1"}[layer]
    fire, part = layer.split("/")
    part = "squeeze" if part == "squeeze1x1" else part
    return f"features.{SQUEEZENET_FIRES[int(fire.removeprefix('fire'))]}.{part}"


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays and nothing else: no other name in the file is looked up."""

    _ALLOWED = frozenset(
        [("numpy", "ndarray"), ("numpy", "dtype")]
        + [(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")]
    )

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        """Returns one of the three allowed names; raises ModelError for any other."""
        if (module, name) not in self._ALLOWED:
            raise ModelError(f"the weights file asks for {module}.{name}; only arrays are allowed")
        # NumPy 2 renamed the module; the old name would warn.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
