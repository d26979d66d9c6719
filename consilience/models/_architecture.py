"""A checkpoint of any origin in an architecture of timm or torchvision."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from torch import nn

from consilience.errors import ModelError
from consilience.models import _weights
from consilience.models._fit import Fit, fit_state
from consilience.models._images import ImageExtractor
from consilience.models._transforms import MEAN, STD

LIBRARIES = ("timm", "torchvision")


def is_architecture(row: Mapping[str, Any]) -> bool:
    """Returns whether `name` is `timm:NAME` or `torchvision:NAME`."""
    return _weights.cell(row, "name").partition(":")[0] in LIBRARIES


def fill(row: Mapping[str, Any], device: str, usual: str = "") -> ImageExtractor:
    """Returns the extractor of a row whose `name` is an architecture and `weights` a file.

    Layers, pooling and logits are those of the library's own source.

    Args:
        row: row of models.tsv.
        device: where to compute.
        usual: the transform where the column is blank; empty: the library's for such weights. If
            these are known to want other colours (mean, deviation) than ImageNet's, they get them.

    Raises:
        ModelError: an unknown name, layer or pool; weights that cannot be had or do not fit.
    """
    library, inner = _library(row)
    library.check_name(inner)
    weights = _weights.read_weights(row)
    if weights.seed is None and weights.path is None:
        _weights.fail(row, "`weights` must name a checkpoint: a file, https://… or hf-hub:…")
    if usual and not _weights.cell(row, "transform") and not _own_colours(library, inner, weights):
        inner["transform"] = usual
    model, weights, trained = library.build(inner, weights)
    return library.extractor(inner, model, weights, device, trained_head=trained)


def _own_colours(library: ModuleType, row: Mapping[str, Any], weights: _weights.Weights) -> bool:
    """Returns whether a file is known to want other colours than those of ImageNet."""
    if weights.path is None:
        return False
    try:
        found = library.settled(row, weights)
    except ModelError:  # nothing is known of it
        return False
    return found.known and library.colours(row, found.like) != (MEAN, STD)


def filled(
    library: ModuleType, row: Mapping[str, Any], weights: _weights.Weights
) -> tuple[nn.Module, _weights.Weights, bool]:
    """Returns a network filled from a local file, what is known of it, and if its head is trained.

    Args:
        library: the module of timm or torchvision, which says how its networks are made, how files
            are read and converted, and which of its published weights the file is like.
        row: row of models.tsv, with the library's own name.
        weights: of a local file.

    Raises:
        ModelError: the file is not known and its settings are not either, or it does not fit.
    """
    try:
        weights = library.settled(row, weights)
    except ModelError:
        _fitted(library, row, weights)  # that it does not fit at all is the better sentence
        raise
    model, fit = _fitted(library, row, weights)
    return model, replace(weights, notes={**weights.notes, **fit.notes}), fit.head


def _fitted(
    library: ModuleType, row: Mapping[str, Any], weights: _weights.Weights
) -> tuple[nn.Module, Fit]:
    with _weights.seeded("0", library.check_name(row)):
        model = library.bare(row, weights.like)
    state = library.read_state(row, weights.path, model)
    head = library.heads(row, model)
    return model, fit_state(row, model, state, weights.path, head, library.convert)


def _library(row: Mapping[str, Any]) -> tuple[ModuleType, dict[str, Any]]:
    library, _, name = _weights.cell(row, "name").partition(":")
    module = importlib.import_module(f"consilience.models.{library}")
    return module, {**row, "name": name}
