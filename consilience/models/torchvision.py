"""Image models of torchvision, by name.

`weights` is blank or `DEFAULT` (the library's best), another of its tags (`IMAGENET1K_V1`), a local
state dict, or `random`. A `.pkl` file is read as the SqueezeNet 1.1 of the Caffe and Keras ports:
a table {layer: [kernel (h, w, in, out), bias (out)]}.

A local file gets what the library sets for the published weights that it is (known by hash or file
name), or that `name` = `ARCHITECTURE/TAG` says it is made like, or for all of the architecture if
they agree: preprocessing, and in the network Inception's and GoogLeNet's change of the pictures
(`transform_input`). Else it is refused; the header says which settings were taken and why.

The column `layers` is blank or `last` for `pre_logits`: what enters the last linear or
convolutional layer of the network, averaged over positions. That is the pooled feature map of
ResNet, EfficientNet, DenseNet, ConvNeXt and SqueezeNet (its classifier is a convolution), the class
token of ViT and the second hidden layer of VGG's classifier; write `classifier.3` for VGG's before
its last non-linearity. `all` is `pre_logits` and what the network consists of: the blocks of a
transformer, the children of `features`, the stages of others. Else it is a comma list of module
names and patterns. The logits of a trained classifier come out beside the layers.

Preprocessing is the preset of the weights (of the model's first preset for random weights);
`input_size` scales its resize and crop alike, and the position embeddings of ViT. `transform` =
`caffe` takes Caffe's: BGR, 0 to 255, channel means subtracted, no scaling.
"""

import copy
import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from consilience import files
from consilience.errors import DataError, ModelError
from consilience.models import _weights
from consilience.models._architecture import filled
from consilience.models._caffe import SQUEEZENET_FIRES, read_caffe
from consilience.models._download import fetch
from consilience.models._images import ImageExtractor, read_pooling
from consilience.models._network import Head, Tap, children_of, find_taps
from consilience.models._published import Published, settle
from consilience.models._selftest import tested
from consilience.models._state import State, load_state
from consilience.models._transforms import read_transform
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

PACKAGES = ("torch", "torchvision", "pillow")
_PLACES = "encoder.pos_embedding"
__all__ = ["SQUEEZENET_FIRES", "extractor", "load", "read_caffe"]


def load(row: Mapping[str, Any], device: str = "cpu") -> ImageExtractor:
    """Returns the extractor of a row with source `torchvision`.

    Raises:
        ModelError: unknown name, tag, layer, pool or transform; weights that cannot be had or do
            not fit, or of which nobody can say how pictures are prepared for them.
    """
    model, weights, trained = build(row, _weights.read_weights(row))
    return extractor(row, model, weights, device, trained_head=trained)


def build(
    row: Mapping[str, Any], weights: _weights.Weights
) -> tuple[nn.Module, _weights.Weights, bool]:
    """Returns the whole model of a row, where its weights are from, and if its head is trained."""
    name, stated = _named(row)
    if weights.seed is not None:
        with _weights.seeded(weights.seed, name):
            return bare(row), replace(weights, like=stated), False
    if weights.path is not None:
        return filled(sys.modules[__name__], row, weights)
    if stated and weights.tag not in ("", stated):
        _weights.fail(row, f"name says {stated!r} and weights {weights.tag!r}; leave one of them")
    preset = _preset(row, stated or weights.tag or "DEFAULT")
    return *_download(row, name, preset), True


def bare(row: Mapping[str, Any], like: str = "") -> nn.Module:
    """Returns the architecture of a row, as made for the tag `like`, without its weights."""
    name = check_name(row)
    if _weights.cell(row, "revision") and not _weights.cell(row, "weights").startswith(
        _weights.HUB
    ):
        _weights.fail(row, "torchvision has no revisions; name a tag in `weights`")
    if like:
        return unfilled(name, _preset(row, like))
    return torchvision.models.get_model(name, weights=None, **_arguments(name)).eval()


def check_name(row: Mapping[str, Any]) -> str:
    """Returns the architecture of a row; raises ModelError if torchvision does not know it."""
    return _named(row)[0]


def _named(row: Mapping[str, Any]) -> tuple[str, str]:
    """Returns architecture and tag of a name `ARCHITECTURE` or `ARCHITECTURE/TAG`."""
    name, _, tag = _weights.cell(row, "name").partition("/")
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        hint = did_you_mean(name, known)
        _weights.fail(row, f"torchvision has no image classifier {name!r}{hint}")
    if tag:
        _preset({**row, "name": name}, tag)
    return name, tag


def settled(row: Mapping[str, Any], weights: _weights.Weights) -> _weights.Weights:
    """Returns the weights of a local file with the tag whose settings they get (see `settle`)."""
    name, stated = _named(row)
    published = [
        Published(preset.name, (preset.url,), _settings(row, preset))
        for preset in torchvision.models.get_model_weights(name)
    ]
    remedy = (
        f"`name` = {name}/TAG with the TAG that these weights are made like, or `transform` = "
        "imagenet if they were trained so"
    )
    return settle(row, weights, published, stated, remedy)


def colours(row: Mapping[str, Any], like: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation of pictures for published weights."""
    own = _preset(row, like).transforms()
    return tuple(own.mean), tuple(own.std)


def _settings(row: Mapping[str, Any], preset: Any) -> dict[str, Any]:  # noqa: ANN401
    """Returns what the library sets for published weights and the row does not."""
    name = check_name(row)
    try:
        with torch.device("meta"):
            network = unfilled(name, preset)
    except NotImplementedError:  # RegNet computes its widths by tensors
        network = unfilled(name, preset)
    found = {key: value for key, value in vars(network).items() if isinstance(value, bool)}
    if not _weights.cell(row, "transform"):
        own = preset.transforms()
        resize, crop = own.resize_size[0], own.crop_size[0]
        found |= {"resize": round(resize / crop, 4), "interpolation": own.interpolation.value}
        found |= {"mean": own.mean, "std": own.std}
        if not _weights.cell(row, "input_size"):
            found |= {"resize": resize, "crop": crop}
    return found


def convert(model: nn.Module, state: State) -> State:
    """Returns a published checkpoint with the names of today, as torchvision reads older ones."""
    trial = copy.deepcopy(model)
    rename = getattr(sys.modules[type(model).__module__], "_load_state_dict", None)
    try:
        if rename:
            rename(trial, _Held(state), progress=False)
        else:
            trial.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError):
        return state  # of another architecture: the caller says what does not fit
    return trial.state_dict()


@dataclass(frozen=True)
class _Held:
    """Weights that are there already, where torchvision expects some of its own."""

    state: State

    def get_state_dict(self, **_options: Any) -> dict[str, Tensor]:  # noqa: ANN401
        return dict(self.state)


def extractor(
    row: Mapping[str, Any],
    model: nn.Module,
    weights: _weights.Weights,
    device: str,
    *,
    trained_head: bool,
) -> ImageExtractor:
    """Returns the extractor around a model of torchvision with its weights loaded."""
    last = _last_map(row, model)[1]
    preset = _preset(row, tag) if (tag := weights.tag or weights.like) else _first_preset(row)
    _fit_size(row, model)
    provenance = _weights.provenance(row, weights, model, PACKAGES)
    if weights.tag:
        provenance["weights"] = str(preset)
    found = ImageExtractor(
        model,
        find_taps(row, model, {"pre_logits": Tap(last, "input")}, lambda: blocks(row, model)),
        read_transform(row, lambda: _own_transform(row, preset), _size_of(model)),
        # Swin keeps (b, h, w, d); ViT puts a class token first.
        read_pooling(
            row,
            channels_last=isinstance(model, SwinTransformer),
            prefix=int(isinstance(model, VisionTransformer)),
        ),
        provenance,
        device,
        Head.of(model, last) if trained_head else None,
    )
    return tested(row, found)


def _size_of(model: nn.Module) -> int:
    return model.image_size if isinstance(model, VisionTransformer) else 224


def _fit_size(row: Mapping[str, Any], model: nn.Module) -> None:
    """Gives ViT the row's input size: its position embeddings are interpolated, as of the library.

    Raises:
        ModelError: the size is no multiple of the patches.
    """
    size = _weights.input_size(row)
    if not isinstance(model, VisionTransformer) or size in (None, model.image_size):
        return
    if size % model.patch_size:
        _weights.fail(
            row, f"input_size is {size}, no multiple of the patches of {model.patch_size}"
        )
    places = OrderedDict({_PLACES: model.encoder.pos_embedding.detach()})
    places = interpolate_embeddings(size, model.patch_size, places)
    model.encoder.pos_embedding = nn.Parameter(places[_PLACES])
    model.image_size = size


def unfilled(name: str, preset: Any) -> nn.Module:  # noqa: ANN401
    """Returns the network as the library builds it for published weights, without them.

    Its builders set some things for named weights only, such as `transform_input`; so the builder
    is run, and what it would fetch and fill in is left out.
    """
    kind, load_state_dict = type(preset), nn.Module.load_state_dict
    kind.get_state_dict = lambda *_, **__: {}
    nn.Module.load_state_dict = lambda *_, **__: None
    try:
        with warnings.catch_warnings(action="ignore"):
            return torchvision.models.get_model(name, weights=preset).eval()
    finally:
        nn.Module.load_state_dict = load_state_dict
        del kind.get_state_dict


def _arguments(name: str) -> dict[str, Any]:
    # Only these two warn and draw slowly unless told how to begin.
    return {"init_weights": True} if name in ("googlenet", "inception_v3") else {}


def _first_preset(row: Mapping[str, Any]) -> Any:  # noqa: ANN401
    return next(iter(torchvision.models.get_model_weights(check_name(row))))


def _preset(row: Mapping[str, Any], tag: str) -> Any:  # noqa: ANN401
    name = _weights.cell(row, "name").partition("/")[0]
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


def read_state(row: Mapping[str, Any], path: Path, model: nn.Module) -> State:
    """Returns the tensors of a file, and takes parts from the model that only serve training.

    Auxiliary classifiers, which no features pass through, may stand in one of both only.
    """
    if path.suffix == ".pkl":
        return read_caffe(row, path)
    state = load_state(row, path)
    for name in [name for name, _ in model.named_children() if "aux" in name.lower()]:
        if not any(key.startswith(f"{name}.") for key in state):
            setattr(model, name, None)
            model.aux_logits = False
    absent = [f"{name}." for name, part in model._modules.items() if part is None]
    for key in [key for key in state if key.startswith(tuple(absent))]:
        del state[key]
    return state
