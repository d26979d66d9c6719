"""Image networks of torchvision, such as `torchvision:resnet18`: see its list of classifiers.

Options are those of the network's builder, such as `dropout`. They take pictures of three channels;
ViT is built for `input.size`. The features are what enters its last linear map or convolution.
"""

from collections.abc import Mapping
from typing import Any

import torchvision
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from consilience.errors import ConfigError
from consilience.networks import Task
from consilience.networks.classifier import Parts, expect, tried
from consilience.registry import did_you_mean

PACKAGES = ("torchvision",)
REFUSED = ("weights", "progress")
"""Options that are not free, as they fetch files."""
STAGES = ("encoder.layers", "features", "trunk_output", "blocks", "layers")
"""Modules whose children are the blocks of a network."""
_OWN = {"aux_logits": False, "init_weights": True}
_AUXILIARY = ("googlenet", "inception_v3")


def build(name: str, options: Mapping[str, Any], task: Task) -> nn.Module:
    """Returns the network of a name.

    Raises:
        ConfigError: torchvision has no such classifier or option, or it takes no such pictures.
    """
    expect(task, ("image",))
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ConfigError(
            f"torchvision has no image classifier {name!r}{did_you_mean(name, known)}"
        )
    if task.shape[0] != 3:
        raise ConfigError("networks of torchvision take three channels; set input.channels to 3")
    given = {"num_classes": task.classes, **(_OWN if name in _AUXILIARY else {}), **options}
    if name.startswith("vit_"):
        given = {"image_size": task.shape[1], **given}
    network = torchvision.models.get_model(name, weights=None, **given)
    head = [part for part in network.modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]
    network.parts = Parts(
        head,
        _blocks(network),
        prefix=int(isinstance(network, VisionTransformer)),
        channels_last=isinstance(network, SwinTransformer),
    )
    return tried(network, task)


def _blocks(network: nn.Module) -> tuple[str, ...]:
    """Returns the names of a network's blocks, or of its parts that have parts."""
    modules = dict(network.named_modules())
    for stage in STAGES:
        if stage in modules and (inner := [name for name, _ in modules[stage].named_children()]):
            return tuple(f"{stage}.{name}" for name in inner)
    return tuple(n for n, part in network.named_children() if next(part.children(), None))
