"""Image models of timm, by architecture name, hub name, local folder or local checkpoint.

The column `layers` is a comma list of module names; blank is `pre_logits`, the pooled features
that enter the classifier. The classifier itself is removed. Preprocessing is the model's own;
`input_size` changes its size only.
"""

from collections.abc import Callable, Mapping
from typing import Any

import timm
import timm.data
from torch import nn

from consilience.models import _weights
from consilience.models._images import ImageExtractor, Tap, find_taps, read_pooling
from consilience.registry import did_you_mean

HUB, FOLDER = "hf-hub:", "local-dir:"
PACKAGES = ("timm", "torch", "torchvision", "pillow")


def load(row: Mapping[str, Any], device: str = "cpu") -> ImageExtractor:
    """Returns the extractor of a row with source `timm`.

    Raises:
        ModelError: unknown name, layer or pool; weights that cannot be had or do not fit.
    """
    weights = _weights.read_weights(row)
    model = build(row, weights)
    model.reset_classifier(0)
    pooling = read_pooling(
        row,
        channels_last=str(getattr(model, "output_fmt", "")).upper().endswith("NHWC"),
        prefix=getattr(model, "num_prefix_tokens", 0),
    )
    return ImageExtractor(
        model,
        find_taps(row, model, {"pre_logits": Tap(model)}),
        _transform(row, model),
        pooling,
        _weights.provenance(row, weights, model, PACKAGES),
        device,
    )


def build(row: Mapping[str, Any], weights: _weights.Weights) -> nn.Module:
    """Returns the whole model of a row, classifier included, in evaluation mode."""
    name = _check_name(row)
    size = _fixed_size(row, name)
    if weights.tag:
        _weights.fail(row, f"weights {weights.tag!r}: write the tag as `name` {name}.{weights.tag}")
    if weights.seed is not None:
        with _weights.local(row, name), _weights.seeded(weights.seed, name):
            model = timm.create_model(name, pretrained=False, **size)
    elif weights.path is not None:
        with _weights.local(row, name):
            model = timm.create_model(name, pretrained=False, **size)
        state = _weights.load_state(row, weights.path)
        _weights.fit_state(row, model, state, weights.path, head=_head(model))
    else:
        access = _weights.local if name.startswith(FOLDER) else _weights.hub
        with access(row, name):
            model = timm.create_model(name, pretrained=True, **size)
    return model.eval()  # timm hands models out in training mode


def _check_name(row: Mapping[str, Any]) -> str:
    name, revision = _weights.cell(row, "name"), _weights.cell(row, "revision")
    if name.startswith(FOLDER):
        return FOLDER + str(_weights.local_weights(row, name.removeprefix(FOLDER)).path)
    if name.startswith(HUB):
        return f"{name}@{revision}" if revision else name
    if revision:
        _weights.fail(row, f"a revision needs a hub name; write `name` as {HUB}OWNER/{name}")
    if not timm.is_model(name.split(".")[0]):
        hint = did_you_mean(name, timm.list_models())
        _weights.fail(row, f"timm has no model {name!r}{hint}")
    return name


def _fixed_size(row: Mapping[str, Any], name: str) -> dict[str, int]:
    """Returns the argument that resizes models which are built for one input size."""
    size = _weights.input_size(row)
    if size is None or name.startswith((HUB, FOLDER)):
        return {}
    config = timm.get_pretrained_cfg(name)
    return {"img_size": size} if config and config.fixed_input_size else {}


def _head(model: nn.Module) -> tuple[str, ...]:
    names = model.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _transform(row: Mapping[str, Any], model: nn.Module) -> Callable[..., Any]:
    size = _weights.input_size(row)
    wanted = {"input_size": (3, size, size)} if size else {}
    config = timm.data.resolve_data_config(wanted, model=model)
    return timm.data.create_transform(**config, is_training=False)
