"""Image models of timm, by architecture name, hub name, local folder or local checkpoint.

The column `layers` is blank or `last` for `pre_logits`, the pooled features that enter the
classifier; `all` for the children of `blocks`, else what timm lists as the stages of the network,
and `pre_logits`; or a comma list of module names and patterns. The logits of a trained classifier
that is one linear layer come out beside the layers; an untrained one says nothing that its input
does not, and is removed. Preprocessing is the model's own; `input_size` changes its size only.

A local checkpoint gets the preprocessing (size, crop, interpolation, mean, deviation) of the
published weights that it is (known by hash, file name or hub repository), or that the tag in `name`
says it is made like (`resnet50.tv_in1k`), or of all that are published for the architecture if they
agree. Else it is refused; the header says which were taken and why.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import timm.data
from timm.models import PretrainedCfg, get_arch_pretrained_cfgs
from torch import nn

from consilience.models import _weights
from consilience.models._architecture import filled
from consilience.models._images import ImageExtractor, read_pooling
from consilience.models._network import Head, Tap, children_of, find_taps, members
from consilience.models._published import Published, settle
from consilience.models._selftest import tested
from consilience.models._state import State, load_state
from consilience.models._transforms import read_transform
from consilience.registry import did_you_mean

HUB, FOLDER = _weights.HUB, "local-dir:"
PACKAGES = ("timm", "torch", "torchvision", "pillow")


def load(row: Mapping[str, Any], device: str = "cpu") -> ImageExtractor:
    """Returns the extractor of a row with source `timm`.

    Raises:
        ModelError: unknown name, layer or pool; weights that cannot be had or do not fit.
    """
    model, weights, trained = build(row, _weights.read_weights(row))
    return extractor(row, model, weights, device, trained_head=trained)


def build(
    row: Mapping[str, Any], weights: _weights.Weights
) -> tuple[nn.Module, _weights.Weights, bool]:
    """Returns the whole model of a row, where its weights are from, and if its head is trained."""
    name = check_name(row)
    if weights.tag:
        _weights.fail(row, f"weights {weights.tag!r}: write the tag as `name` {name}.{weights.tag}")
    if weights.seed is not None:
        with _weights.seeded(weights.seed, name):
            return bare(row), weights, False
    if weights.path is not None:
        return filled(sys.modules[__name__], row, weights)
    return *_pretrained(row, name), True


def settled(row: Mapping[str, Any], weights: _weights.Weights) -> _weights.Weights:
    """Returns the weights of a local file with the tag whose settings they get (see `settle`)."""
    name, _, stated = check_name(row).partition(".")
    if name.startswith((HUB, FOLDER)):
        return weights  # the folder's own config.json says all
    published = [
        Published(key.partition(".")[2], _places(config), _settings(row, config))
        for key, config in get_arch_pretrained_cfgs(name).items()
        if config.has_weights
    ]
    remedy = (
        f"`name` = {name}.TAG with the TAG that these weights are made like, or `transform` = "
        "imagenet if they were trained so"
    )
    return settle(row, weights, published, stated, remedy)


def _places(config: PretrainedCfg) -> tuple[str, ...]:
    addresses = [config.url] if isinstance(config.url, str) else config.url or ()
    return tuple(filter(None, (*addresses, config.hf_hub_id)))


def colours(row: Mapping[str, Any], like: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation of pictures for published weights."""
    config = timm.get_pretrained_cfg(f"{check_name(row).partition('.')[0]}.{like}")
    return tuple(config.mean), tuple(config.std)


def _settings(row: Mapping[str, Any], config: PretrainedCfg) -> dict[str, Any]:
    """Returns what the library sets for published weights and the row does not."""
    sized = "" if _weights.input_size(row) else "input_size"
    pictures = ("interpolation", "crop_pct", "crop_mode", "mean", "std")
    if _weights.cell(row, "transform"):
        names = [sized] if config.fixed_input_size else []
    else:
        names = [sized, *pictures]
    return {name: getattr(config, name) for name in names if name}


def read_state(row: Mapping[str, Any], path: Path, _model: nn.Module) -> State:
    """Returns the tensors of a file."""
    return load_state(row, path)


def bare(row: Mapping[str, Any], like: str = "") -> nn.Module:
    """Returns the architecture of a row, as made for the tag `like`, without its weights."""
    name = check_name(row)
    if like:
        name = f"{name.partition('.')[0]}.{like}"
    if _weights.cell(row, "revision") and not _weights.cell(row, "weights").startswith(HUB):
        _weights.fail(row, f"a revision needs weights of a hub, such as `name` = {HUB}OWNER/MODEL")
    with _weights.local(row, name):
        return timm.create_model(name, pretrained=False, **_fixed_size(row, name)).eval()


def _pretrained(row: Mapping[str, Any], name: str) -> tuple[nn.Module, _weights.Weights]:
    options: dict[str, Any] = _fixed_size(row, name)
    if name.startswith(FOLDER):
        weights = _weights.local_weights(
            row, name.removeprefix(FOLDER), _weights.cell(row, "sha256")
        )
        with _weights.local(row, name):
            return timm.create_model(name, pretrained=True, **options).eval(), weights
    revision = _weights.cell(row, "revision")
    repository = name.removeprefix(HUB)
    if not name.startswith(HUB):
        config = timm.get_pretrained_cfg(name)
        repository = config.hf_hub_id if config else None
        if revision and not repository:
            _weights.fail(row, f"{name} is not on the hub, so it has no revision {revision!r}")
        if revision:
            options["pretrained_cfg_overlay"] = {"hf_hub_id": f"{repository}@{revision}"}
    elif revision:
        name = f"{name}@{revision}"
    with _weights.hub(row, name):
        model = timm.create_model(name, pretrained=True, **options)  # in training mode
    found = _weights.cached_weights(repository, revision) if repository else _weights.Weights()
    wanted = _weights.cell(row, "sha256")
    if wanted and found.sha256 != wanted:
        _weights.fail(row, f"the SHA-256 of {name} is {found.sha256}, expected {wanted}")
    return model.eval(), found


def check_name(row: Mapping[str, Any]) -> str:
    """Returns the name of a row as timm takes it; raises ModelError if timm does not know it."""
    name = _weights.cell(row, "name")
    if name.startswith(FOLDER):
        return FOLDER + str(_weights.local_weights(row, name.removeprefix(FOLDER)).path)
    if not name.startswith(HUB) and not timm.is_model(name.split(".")[0]):
        hint = did_you_mean(name, timm.list_models())
        _weights.fail(row, f"timm has no model {name!r}{hint}")
    return name


def _fixed_size(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the argument that resizes models which are built for one input size."""
    size = _weights.input_size(row)
    if size is None or name.startswith((HUB, FOLDER)):
        return {}
    config = timm.get_pretrained_cfg(name)
    return {"img_size": size} if config and config.fixed_input_size else {}


def heads(_row: Mapping[str, Any], model: nn.Module) -> tuple[str, ...]:
    """Returns the names of the modules that classify."""
    names = model.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def convert(model: nn.Module, state: State) -> State:
    """Returns a published checkpoint with the names and shapes of timm, as timm converts it."""
    own = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        return own(dict(state), model) if own else state
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError, AssertionError):
        return state  # of another architecture: the caller says what does not fit


def extractor(
    row: Mapping[str, Any],
    model: nn.Module,
    weights: _weights.Weights,
    device: str,
    *,
    trained_head: bool,
) -> ImageExtractor:
    """Returns the extractor around a model of timm with its weights loaded."""
    head = _head(model) if trained_head else None
    if head is None:
        model.reset_classifier(0)
        last = Tap(model)
    else:
        last = Tap(model.get_classifier(), "input")
    pooling = read_pooling(
        row,
        channels_last=str(getattr(model, "output_fmt", "")).upper().endswith("NHWC"),
        prefix=getattr(model, "num_prefix_tokens", 0),
    )
    found = ImageExtractor(
        model,
        find_taps(row, model, {"pre_logits": last}, lambda: blocks(model)),
        read_transform(row, lambda: _own_transform(row, model), _fixed_side(model)),
        pooling,
        _weights.provenance(row, weights, model, PACKAGES),
        device,
        head,
    )
    return tested(row, found, widths(model))


def _head(model: nn.Module) -> Head | None:
    """Returns the classifier if it is one linear map; some models have two, or none."""
    classifier = model.get_classifier()
    if not isinstance(classifier, nn.Linear):
        return None
    return Head.of(model, classifier)


def _listed(model: nn.Module) -> list[dict[str, Any]]:
    """Returns what timm lists as the stages of a network, each with its module and width."""
    listed = getattr(model, "feature_info", None) or []
    return listed if isinstance(listed, list) else listed.info


def widths(model: nn.Module) -> dict[str, int]:
    """Returns the units of those modules whose output timm lists as a stage."""
    return {
        name: stage["num_chs"]
        for stage in _listed(model)
        if "hook_type" not in stage
        for name in [stage["module"]]
    }


def blocks(model: nn.Module) -> list[str]:
    """Returns the names of a network's blocks or stages."""
    stages = [stage["module"] for stage in _listed(model)]
    known = {name for name, _ in model.named_modules()}
    # timm's list may name other modules, and the network itself
    stages = [stage for stage in stages if stage] if known.issuperset(stages) else []
    found = children_of(model, "blocks") or members(model, stages)
    return found or children_of(model, "stages", "layers")


def _fixed_side(model: nn.Module) -> int:
    """Returns the size of pictures that a network is built for; 224 if it takes any."""
    config = model.pretrained_cfg
    return config["input_size"][-1] if config.get("fixed_input_size") else 224


def _own_transform(row: Mapping[str, Any], model: nn.Module) -> Callable[..., Any]:
    size = _weights.input_size(row)
    wanted = {"input_size": (3, size, size)} if size else {}
    config = timm.data.resolve_data_config(wanted, model=model)
    return timm.data.create_transform(**config, is_training=False)
