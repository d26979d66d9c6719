"""A checkpoint of any origin in an architecture of timm or torchvision."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from consilience.models import _weights
from consilience.models._images import ImageExtractor
from consilience.models._state import fit_state, load_state

LIBRARIES = ("timm", "torchvision")


def is_architecture(row: Mapping[str, Any]) -> bool:
    """Returns whether `name` is `timm:NAME` or `torchvision:NAME`."""
    return _weights.cell(row, "name").partition(":")[0] in LIBRARIES


def fill(row: Mapping[str, Any], device: str) -> ImageExtractor:
    """Returns the extractor of a row whose `name` is an architecture and `weights` a file.

    Layers, pooling and logits are those of the library's own source.

    Raises:
        ModelError: an unknown name, layer or pool; weights that cannot be had or do not fit.
    """
    library, inner = _library(row)
    library.check_name(inner)
    weights = _weights.read_weights(row)
    if weights.seed is None and weights.path is None:
        _weights.fail(row, "`weights` must name a checkpoint: a file, https://… or hf-hub:…")
    with _weights.seeded(weights.seed or "0", inner["name"]):
        model = library.bare(inner)
    trained = False
    if weights.path is not None:
        state = load_state(row, weights.path)
        head = library.heads(inner, model)
        trained = fit_state(row, model, state, weights.path, head, library.convert)
    return library.extractor(inner, model, weights, device, trained_head=trained)


def _library(row: Mapping[str, Any]) -> tuple[ModuleType, dict[str, Any]]:
    library, _, name = _weights.cell(row, "name").partition(":")
    module = importlib.import_module(f"consilience.models.{library}")
    return module, {**row, "name": name}
