"""Image networks of timm, such as `timm:resnet18` (Wightman 2019): see its `list_models`.

Options are those of its `create_model`, such as `drop_path_rate`. A network that is built for one
size of pictures is built for `input.size`. Its features are what enters its classifier.
"""

from collections.abc import Mapping
from typing import Any

import timm
from torch import nn

from consilience.errors import ConfigError
from consilience.networks import Task
from consilience.networks.classifier import Parts, expect, tried
from consilience.registry import did_you_mean

PACKAGES = ("timm",)
REFUSED = (
    "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_filter_fn",
    "pretrained_strict", "checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit",
)  # fmt: skip
"""Options that are not free: those of `create_model` itself, which open files and addresses."""


def build(name: str, options: Mapping[str, Any], task: Task) -> nn.Module:
    """Returns the network of a name.

    Raises:
        ConfigError: timm has no such model or option, or its classifier is not one linear map, or
            it takes no pictures of the size.
    """
    expect(task, ("image",))
    if not timm.is_model(name):
        raise ConfigError(f"timm has no model {name!r}{did_you_mean(name, timm.list_models())}")
    channels, size, _ = task.shape
    config = timm.get_pretrained_cfg(name)
    sized = {"img_size": size} if config and config.fixed_input_size else {}
    given = {"num_classes": task.classes, "in_chans": channels, **sized, **options}
    network = timm.create_model(name, pretrained=False, **given)
    head = network.get_classifier()
    if not isinstance(head, nn.Linear):
        raise ConfigError("its classifier is not one linear map; name another network")
    network.parts = Parts(
        head,
        _stages(network),
        prefix=getattr(network, "num_prefix_tokens", 0),
        channels_last=str(getattr(network, "output_fmt", "")).upper().endswith("NHWC"),
    )
    return tried(network, task)


def _stages(network: nn.Module) -> tuple[str, ...]:
    """Returns the names of the modules that timm lists as the stages of a network."""
    listed = getattr(network, "feature_info", None) or []
    stages = listed if isinstance(listed, list) else listed.info
    known = {name for name, _ in network.named_modules() if name}
    return tuple(stage["module"] for stage in stages if stage["module"] in known)
