"""Small networks of our own, one module each; its `build` says its options and their defaults."""

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from consilience.networks import Task


def build(name: str, options: Mapping[str, Any], task: Task) -> nn.Module:
    """Returns the network of a module here."""
    return importlib.import_module(f"{__name__}.{name}").build(task, **options)
