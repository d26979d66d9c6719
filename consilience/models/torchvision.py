"""Image models of torchvision, by name.

`weights` is blank or `DEFAULT` (the library's best), another of its tags (`IMAGENET1K_V1`), a local
state dict, or `random`. A `.pkl` file is read as the SqueezeNet 1.1 of the Caffe and Keras ports:
a table {layer: [kernel (h, w, in, out), bias (out)]}.

The column `layers` is a comma list of module names. Blank is `pre_logits`: what enters the last
linear or convolutional layer of the network, averaged over positions. That is the pooled feature
map of ResNet, EfficientNet, DenseNet, ConvNeXt and SqueezeNet (its classifier is a convolution),
the class token of ViT and the second hidden layer of VGG's classifier; write `classifier.3` for
VGG's before its last non-linearity.

Preprocessing is the preset of the weights (of the model's first preset for local and random
weights); `input_size` scales its resize and crop alike. `transform` = `caffe` takes Caffe's: BGR,
0 to 255, channel means subtracted, no scaling.
"""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms import functional

from consilience.errors import ModelError
from consilience.models import _weights
from consilience.models._images import ImageExtractor, Tap, find_taps, read_pooling
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

PACKAGES = ("torch", "torchvision", "pillow")
CAFFE_MEAN = (104.006, 116.669, 122.679)
"""Mean of ImageNet's training pictures in the order blue, green, red."""
SQUEEZENET_FIRES = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))
"""Position in `features` of each fire module of SqueezeNet 1.1."""


def load(row: Mapping[str, Any], device: str = "cpu") -> ImageExtractor:
    """Returns the extractor of a row with source `torchvision`.

    Raises:
        ModelError: unknown name, tag, layer, pool or transform; weights that cannot be had or do
            not fit.
    """
    weights = _weights.read_weights(row)
    model, preset = build(row, weights)
    name = _weights.cell(row, "name")
    provenance = _weights.provenance(row, weights, model, PACKAGES)
    if weights.seed is None and weights.path is None:
        provenance["weights"] = str(preset)
    return ImageExtractor(
        model,
        find_taps(row, model, {"pre_logits": Tap(_last_map(row, model), "input")}),
        _transform(row, preset),
        # Swin keeps (b, h, w, d); ViT puts a class token first.
        read_pooling(row, channels_last=name.startswith("swin"), prefix=int(name[:4] == "vit_")),
        provenance,
        device,
    )


def build(row: Mapping[str, Any], weights: _weights.Weights) -> tuple[nn.Module, Any]:
    """Returns the model of a row, classifier included, and the preset it is used with."""
    name = _weights.cell(row, "name")
    if name not in torchvision.models.list_models(module=torchvision.models):
        hint = did_you_mean(name, torchvision.models.list_models(module=torchvision.models))
        _weights.fail(row, f"torchvision has no image classifier {name!r}{hint}")
    presets = torchvision.models.get_model_weights(name)
    if weights.seed is not None or weights.path is not None:
        with _weights.seeded(weights.seed or "0", name):
            model = torchvision.models.get_model(name, weights=None, **_arguments(name))
        if weights.path is not None:
            _weights.fit_state(row, model, _read_state(row, weights.path), weights.path)
        return model.eval(), next(iter(presets))
    preset = _preset(row, presets, weights.tag or "DEFAULT")
    return _download(row, name, preset).eval(), preset


def _arguments(name: str) -> dict[str, Any]:
    # Only these two warn and draw slowly unless told how to begin.
    return {"init_weights": True} if name in ("googlenet", "inception_v3") else {}


def _preset(row: Mapping[str, Any], presets: Any, tag: str) -> Any:  # noqa: ANN401
    if tag not in presets.__members__:
        hint = did_you_mean(tag, presets.__members__)
        _weights.fail(row, f"{_weights.cell(row, 'name')!r} has no weights {tag!r}{hint}")
    return presets[tag]


def _download(row: Mapping[str, Any], name: str, preset: Any) -> nn.Module:  # noqa: ANN401
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(preset.url).name
    if not cached.exists() and not _weights.reachable(preset.url):
        _weights.fail(
            row,
            f"{preset} is not in {cached.parent} and its server cannot be reached; load it once "
            "on a machine with network, or set `weights` to a local file",
        )
    with _weights.local(row, str(preset)):
        return torchvision.models.get_model(name, weights=preset)


def _last_map(row: Mapping[str, Any], model: nn.Module) -> nn.Module:
    """Returns the last linear or convolutional layer in order of registration."""
    maps = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not maps:
        _weights.fail(row, "no linear layer was found; name the layers in the column `layers`")
    return maps[-1]


def _transform(row: Mapping[str, Any], preset: Any) -> Callable[["Image"], Tensor]:  # noqa: ANN401
    size, kind = _weights.input_size(row), _weights.cell(row, "transform")
    if kind == "caffe":
        return CaffeTransform(size or 224)
    if kind:
        _weights.fail(row, f"unknown transform {kind!r}; leave it blank or write caffe")
    if size is None:
        return preset.transforms()
    own = preset.transforms()
    resize = round(size * own.resize_size[0] / own.crop_size[0])
    return preset.transforms(crop_size=size, resize_size=resize)


class CaffeTransform:
    """Resizes the short side to 256/224 of `size`, crops the centre, and centres BGR values."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, image: "Image") -> Tensor:
        """Returns (3, size, size) in the order blue, green, red."""
        resized = functional.resize(image, round(self._size * 256 / 224), antialias=True)
        rgb = functional.pil_to_tensor(functional.center_crop(resized, self._size)).float()
        return rgb.flip(0) - torch.tensor(CAFFE_MEAN)[:, None, None]

    def __repr__(self) -> str:
        return f"CaffeTransform(size={self._size}, mean={CAFFE_MEAN}, order=BGR)"


def _read_state(row: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    return read_caffe(row, path) if path.suffix == ".pkl" else _weights.load_state(row, path)


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
