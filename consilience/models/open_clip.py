"""Towers of open_clip: pictures, or texts where `modality` is `text`.

`name` is `ARCHITECTURE/TAG` (weights of the hub, or with `weights` a local checkpoint of them),
`ARCHITECTURE` with `weights` a local checkpoint or `random`, `hf-hub:OWNER/MODEL`, or
`local-dir:FOLDER`. The column `layers` is blank or `last` for `visual` or `text`, the embedding
that is compared with the other modality (not normalised); `all` for the tower's blocks or stages
and the embedding; or a comma list of modules of the tower and patterns. `pool` of a text layer is
`mean` over the text's tokens, `cls` (the first) or `last` (the last of the text).

Weights that were trained with the cheaper QuickGELU (all of OpenAI's) get it: open_clip alone would
only warn and compute other features. A local checkpoint gets this and the preprocessing of the
published weights that it is (known by hash, file name or hub repository), that the TAG says it is
made like, or that all of the architecture have if they agree; else it is refused, and the TAG has
to be written. The header says which were taken and why.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import huggingface_hub
import open_clip
from torch import Tensor, nn

from consilience.errors import ModelError
from consilience.models import _weights
from consilience.models._clip_text import ClipTextExtractor, read_token_pooling
from consilience.models._download import fetch
from consilience.models._fit import check_size, resized_places
from consilience.models._images import ImageExtractor, read_pooling
from consilience.models._network import NetworkExtractor, Tap, children_of, find_taps
from consilience.models._published import Published, settle
from consilience.models._selftest import tested
from consilience.models._state import read_shapes
from consilience.models._transforms import read_transform
from consilience.models.timm import blocks as timm_blocks
from consilience.registry import did_you_mean

HUB, FOLDER = _weights.HUB, "local-dir:"
PACKAGES = ("open_clip_torch", "timm", "torch", "torchvision", "pillow")
# Safe formats first.
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_SCALES = ("logit_scale", "logit_bias")


class ImageTower(nn.Module):
    """The image half of a contrastive model, as a network with one input and one output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.visual = model.visual
        # In a tuple, so that the texts' half is not registered as a part of this module.
        self._whole = (model,)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the embeddings (b, d) of pictures (b, 3, h, w)."""
        return self._whole[0].encode_image(images, normalize=False)


class TextTower(nn.Module):
    """The text half of a contrastive model; older models keep its parts beside `visual`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        half = getattr(model, "text", model)
        for name, part in half.named_children():
            if name != "visual":
                self.add_module(name, part)
        for name, values in half.named_parameters(recurse=False):
            if name not in _SCALES:
                self.register_parameter(name, values)
        self._whole = (model,)

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns the embeddings (b, d) of texts (b, tokens)."""
        return self._whole[0].encode_text(tokens, normalize=False)


def load(row: Mapping[str, Any], device: str = "cpu") -> NetworkExtractor:
    """Returns the extractor of a row with source `open_clip`.

    Raises:
        ModelError: unknown name, tag, layer or pool; weights that cannot be had or do not fit.
    """
    name, weights = _place(row, _weights.read_weights(row))
    model, transform, weights = _create(row, name, weights)
    model = model.to(device).eval()
    if _weights.cell(row, "modality") == "text":
        return text_extractor(row, model, weights, device, name)
    return image_extractor(row, model, weights, device, transform)


def image_extractor(
    row: Mapping[str, Any],
    model: nn.Module,
    weights: _weights.Weights,
    device: str,
    transform: Any,  # noqa: ANN401
) -> ImageExtractor:
    """Returns the extractor around the image tower."""
    tower = ImageTower(model)
    found = ImageExtractor(
        tower,
        find_taps(row, tower.visual, {"visual": Tap(tower)}, lambda: _image_blocks(tower.visual)),
        read_transform(row, lambda: transform),
        read_pooling(row, prefix=_prefix(tower.visual)),
        _weights.provenance(row, weights, tower, PACKAGES),
        device,
    )
    return tested(row, found)


def text_extractor(
    row: Mapping[str, Any],
    model: nn.Module,
    weights: _weights.Weights,
    device: str,
    name: str,
) -> ClipTextExtractor:
    """Returns the extractor around the text tower."""
    tower = TextTower(model)
    with _weights.hub(row, name) if name.startswith(HUB) else _weights.local(row, name):
        tokenizer = open_clip.get_tokenizer(name.partition("/")[0] if _tagged(name) else name)
    found = ClipTextExtractor(
        tower,
        find_taps(row, tower, {"text": Tap(tower)}, lambda: _text_blocks(tower)),
        tokenizer,
        read_token_pooling(row, tokenizer),
        _weights.provenance(row, weights, tower, PACKAGES),
        device,
    )
    return tested(row, found)


def _prefix(visual: nn.Module) -> int:
    """Returns how many tokens of the tower stand for no position of the picture."""
    trunk = getattr(visual, "trunk", None)  # a network of timm
    return getattr(trunk, "num_prefix_tokens", int(hasattr(visual, "class_embedding")))


def _image_blocks(visual: nn.Module) -> list[str]:
    if hasattr(visual, "trunk"):
        return [f"trunk.{name}" for name in timm_blocks(visual.trunk)]
    found = children_of(visual, "transformer.resblocks")
    return found or [name for name, _ in visual.named_children() if name.startswith("layer")]


def _text_blocks(tower: nn.Module) -> list[str]:
    return children_of(
        tower, "transformer.resblocks", "transformer.encoder.layer", "transformer.encoder.block"
    )


def _tagged(name: str) -> bool:
    return not name.startswith((HUB, FOLDER))


def _place(row: Mapping[str, Any], weights: _weights.Weights) -> tuple[str, _weights.Weights]:
    """Returns the name as open_clip takes it; folders and pinned revisions become local paths."""
    name, revision = _weights.cell(row, "name"), _weights.cell(row, "revision")
    if name.startswith(HUB) and revision:
        repository = name.removeprefix(HUB)
        found = _weights.hub_file(row, repository, _FILES)
        with _weights.hub(row, f"{name}@{revision}"):
            folder = huggingface_hub.snapshot_download(
                repository, revision=revision, allow_patterns=["*.json", "*.txt", found.path.name]
            )
        return f"{FOLDER}{folder}", weights if weights.seed is not None else found
    if name.startswith(FOLDER):
        folder = _weights.local_weights(
            row, name.removeprefix(FOLDER), _weights.cell(row, "sha256")
        )
        return f"{FOLDER}{folder.path}", weights if weights.seed is not None else folder
    if _tagged(name):
        _architecture(row, name)
    return name, weights


def _create(
    row: Mapping[str, Any], name: str, weights: _weights.Weights
) -> tuple[nn.Module, Any, _weights.Weights]:
    options: dict[str, Any] = _size_option(row)
    if _tagged(name):
        return _by_architecture(row, name, weights, options)
    if weights.seed is not None:
        return *_untrained(row, name, weights.seed, options), weights
    access = _weights.hub if name.startswith(HUB) else _weights.local
    with access(row, name):
        model, transform = open_clip.create_model_from_pretrained(name, **options)
    if name.startswith(HUB):
        weights = _weights.cached_weights(name.removeprefix(HUB))
    return model, transform, weights


def _untrained(
    row: Mapping[str, Any], name: str, seed: str, options: Mapping[str, Any]
) -> tuple[nn.Module, Any]:
    with _weights.local(row, name), _weights.seeded(seed, _weights.cell(row, "name")):
        model, _, transform = open_clip.create_model_and_transforms(
            name, load_weights=False, pretrained_text=False, **options
        )
    return model, transform


def _by_architecture(
    row: Mapping[str, Any], name: str, weights: _weights.Weights, options: Mapping[str, Any]
) -> tuple[nn.Module, Any, _weights.Weights]:
    architecture, stated = _architecture(row, name)
    tag = stated or weights.tag
    if tag or (weights.path is None and weights.seed is None):
        known = open_clip.list_pretrained_tags_by_model(architecture)
        if tag not in known:
            what = f"tag {tag!r}" if tag else "blank tag; write ARCHITECTURE/TAG"
            _weights.fail(row, f"{architecture!r} has no {what}{did_you_mean(tag, known)}")
    if weights.path is not None:
        weights = settled(row, architecture, tag, weights)
        tag = weights.like
    if tag:
        options = {**options, **tag_options(architecture, tag)}
    if weights.seed is not None:
        return *_untrained(row, architecture, weights.seed, options), weights
    if weights.path is None:
        weights = _tag_weights(row, architecture, tag)
    with _weights.local(row, f"{weights.path} as {architecture}"):
        model, transform = open_clip.create_model_from_pretrained(
            architecture, str(weights.path), **options
        )
        shapes = read_shapes(weights.path)
    if resized := resized_places(shapes, model.state_dict()):
        check_size(row, resized, weights.path)
        weights = replace(weights, notes={**weights.notes, "interpolated": resized})
    return model, transform, weights


def settled(
    row: Mapping[str, Any], architecture: str, stated: str, weights: _weights.Weights
) -> _weights.Weights:
    """Returns the weights of a local file with the tag whose settings they get (see `settle`)."""
    published = [
        Published(tag, _places(architecture, tag), _settings(row, architecture, tag))
        for tag in open_clip.list_pretrained_tags_by_model(architecture)
    ]
    remedy = f"`name` = {architecture}/TAG with the TAG that these weights are made like"
    return settle(row, weights, published, stated, remedy)


def _places(architecture: str, tag: str) -> tuple[str, ...]:
    config = open_clip.get_pretrained_cfg(architecture, tag)
    repository = "/".join(config.get("hf_hub", "").split("/")[:2])
    return tuple(filter(None, (config.get("url"), repository)))


def _settings(row: Mapping[str, Any], architecture: str, tag: str) -> dict[str, Any]:
    """Returns what the library sets for published weights and the row does not."""
    options = tag_options(architecture, tag)
    quick = options.pop("force_quick_gelu")
    own = bool(open_clip.get_model_config(architecture).get("quick_gelu"))
    given = _weights.cell(row, "transform") or _weights.cell(row, "modality") == "text"
    return {"quick_gelu": quick or own, **({} if given else options)}


def tag_options(architecture: str, tag: str) -> dict[str, Any]:
    """Returns what weights need of the architecture and of the pictures, beside their values."""
    config = open_clip.get_pretrained_cfg(architecture, tag)
    picture = {
        "image_mean": config.get("mean"),
        "image_std": config.get("std"),
        "image_interpolation": config.get("interpolation"),
        "image_resize_mode": config.get("resize_mode"),
    }
    quick = {"force_quick_gelu": needs_quick_gelu(architecture, tag)}
    return {**quick, **{key: value for key, value in picture.items() if value is not None}}


def needs_quick_gelu(architecture: str, tag: str) -> bool:
    """Returns whether weights were trained with a cheaper GELU; they fail silently without it."""
    return bool(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu"))


def _tag_weights(row: Mapping[str, Any], architecture: str, tag: str) -> _weights.Weights:
    """Returns the weights file of a tag, from the hub in the row's revision or from the web."""
    config = open_clip.get_pretrained_cfg(architecture, tag)
    revision, wanted = _weights.cell(row, "revision"), _weights.cell(row, "sha256")
    if place := config.get("hf_hub"):
        repository, _, file = place.rpartition("/")
        names = [f"{file.rpartition('.')[0]}.safetensors", file] if file else _FILES
        return _weights.hub_file(row, repository, names, wanted)
    if revision:
        _weights.fail(row, f"{architecture}/{tag} is not on the hub: no revision {revision!r}")
    try:
        path = fetch(config["url"], digest=wanted)
    except ModelError as error:
        _weights.fail(row, str(error))
    return _weights.local_weights(row, str(path))


def _architecture(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    architecture, _, tag = name.partition("/")
    if architecture not in open_clip.list_models():
        hint = did_you_mean(architecture, open_clip.list_models())
        _weights.fail(row, f"open_clip has no model {architecture!r}{hint}")
    return architecture, tag


def _size_option(row: Mapping[str, Any]) -> dict[str, int]:
    size = _weights.input_size(row)
    return {"force_image_size": size} if size else {}
