"""Image towers of open_clip.

`name` is `ARCHITECTURE/TAG` (weights of the hub), `ARCHITECTURE` with `weights` a local checkpoint
or `random`, `hf-hub:OWNER/MODEL`, or `local-dir:FOLDER`. The column `layers` is blank for `visual`,
the embedding that is compared with texts (not normalised), or a comma list of modules of the tower.
"""

from collections.abc import Mapping
from typing import Any

import open_clip
from torch import Tensor, nn

from consilience.models import _weights
from consilience.models._images import ImageExtractor, Tap, find_taps, read_pooling
from consilience.registry import did_you_mean

HUB, FOLDER = "hf-hub:", "local-dir:"
PACKAGES = ("open_clip_torch", "timm", "torch", "torchvision", "pillow")


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


def load(row: Mapping[str, Any], device: str = "cpu") -> ImageExtractor:
    """Returns the extractor of a row with source `open_clip`.

    Raises:
        ModelError: unknown name, tag, layer or pool; weights that cannot be had or do not fit.
    """
    weights = _weights.read_weights(row)
    model, transform, weights = _create(row, weights)
    tower = ImageTower(model.to(device).eval())
    return ImageExtractor(
        tower,
        find_taps(row, tower.visual, {"visual": Tap(tower)}),
        transform,
        read_pooling(row, prefix=_prefix(tower.visual)),
        _weights.provenance(row, weights, tower, PACKAGES),
        device,
    )


def _prefix(visual: nn.Module) -> int:
    """Returns how many tokens of the tower stand for no position of the picture."""
    trunk = getattr(visual, "trunk", None)  # a network of timm
    return getattr(trunk, "num_prefix_tokens", int(hasattr(visual, "class_embedding")))


def _create(
    row: Mapping[str, Any], weights: _weights.Weights
) -> tuple[nn.Module, Any, _weights.Weights]:
    name, options = _weights.cell(row, "name"), _size_option(row)
    if name.startswith(FOLDER):
        folder = _weights.local_weights(
            row, name.removeprefix(FOLDER), _weights.cell(row, "sha256")
        )
        name = f"{FOLDER}{folder.path}"
        weights = weights if weights.seed is not None else folder
    if weights.seed is not None:
        architecture = name if name.startswith(FOLDER) else _architecture(row, name)[0]
        return *_untrained(row, architecture, weights.seed, options), weights
    if name.startswith(FOLDER):
        with _weights.local(row, name):
            return *open_clip.create_model_from_pretrained(name, **options), weights
    if name.startswith(HUB):
        with _weights.hub(row, name):
            return *open_clip.create_model_from_pretrained(name, **options), weights
    return *_by_architecture(row, name, weights, options), weights


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
) -> tuple[nn.Module, Any]:
    architecture, tag = _architecture(row, name)
    if weights.path is not None:
        with _weights.local(row, f"{weights.path} as {architecture}"):
            return open_clip.create_model_from_pretrained(
                architecture, str(weights.path), **options
            )
    tag = tag or weights.tag
    known = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in known:
        what = f"tag {tag!r}" if tag else "blank tag; write ARCHITECTURE/TAG"
        _weights.fail(row, f"{architecture!r} has no {what}{did_you_mean(tag, known)}")
    quick = needs_quick_gelu(architecture, tag)
    with _weights.hub(row, f"{architecture}/{tag}"):
        return open_clip.create_model_from_pretrained(
            architecture, tag, force_quick_gelu=quick, **options
        )


def needs_quick_gelu(architecture: str, tag: str) -> bool:
    """Returns whether weights were trained with a cheaper GELU; they fail silently without it."""
    return bool(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu"))


def _architecture(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    architecture, _, tag = name.partition("/")
    if architecture not in open_clip.list_models():
        hint = did_you_mean(architecture, open_clip.list_models())
        _weights.fail(row, f"open_clip has no model {architecture!r}{hint}")
    return architecture, tag


def _size_option(row: Mapping[str, Any]) -> dict[str, int]:
    size = _weights.input_size(row)
    return {"force_image_size": size} if size else {}
