"""Graph networks of PyTorch Geometric (Fey and Lenssen 2019): GCN, GraphSAGE and GAT.

They tell the classes of nodes and see the whole graph at once. Options are those of the library's
models, such as `hidden_channels` (64), `num_layers` (3, of which the last gives the scores),
`dropout`, `norm`, `act`, `heads`. The features are what enters the last layer, and `convs.0`, …
what the layers before it put out; scores take neighbours in, so that there are no class vectors.

The library is an extra: `pip install --no-deps -r envs/graph.txt`.
"""

import warnings
from collections.abc import Mapping
from typing import Any

from torch import nn

from consilience.errors import ConfigError
from consilience.networks import Task
from consilience.networks.classifier import Parts, expect
from consilience.networks.graphs import Prepared, neighbours, normalized
from consilience.registry import did_you_mean

PACKAGES = ("torch-geometric",)
DEFAULTS = {"hidden_channels": 64, "num_layers": 3}
NAMES = ("GAT", "GCN", "GraphSAGE")
OURS = ("in_channels", "out_channels", "normalize", "cached", "jk")
"""Options that are not free: what follows from data, and what is done outside of the layers."""


def build(name: str, options: Mapping[str, Any], task: Task) -> nn.Module:
    """Returns the network of a name.

    Raises:
        ConfigError: there is no such network or option, or the library is not installed.
    """
    if name not in NAMES:
        raise ConfigError(f"there is no graph network {name!r}{did_you_mean(name, NAMES)}")
    expect(task, ("graph",))
    for option in OURS:
        if option in options:
            raise ConfigError(f"the option {option!r} is not free; leave it out")
    given = {**DEFAULTS, **options}
    if given["num_layers"] < 2 or task.classes < 2:
        raise ConfigError("it has at least two layers, and two classes to tell apart")
    if name == "GCN":
        given["normalize"] = False  # it is done once, for all layers and steps
    kind = getattr(_models(), name)
    network = kind(task.shape[0], out_channels=task.classes, **given)
    network.register_forward_pre_hook(_prepared(name))
    inner = range(given["num_layers"] - 1)
    network.parts = Parts(network.convs[-1], tuple(f"convs.{layer}" for layer in inner))
    return network


def _models() -> Any:  # noqa: ANN401
    """Returns the library's module of models, imported only now: it takes seconds, and may lack."""
    try:
        with warnings.catch_warnings(action="ignore"):
            from torch_geometric.nn import models  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"torch-geometric cannot be imported ({error}); install it: "
            "pip install --no-deps -r envs/graph.txt"
        ) from error
    return models


def _prepared(name: str) -> Prepared:
    """Returns what the layers of a network compute fastest with."""
    if name == "GCN":
        return Prepared(normalized, dense=False)
    if name == "GraphSAGE":
        return Prepared(neighbours, dense=True)
    return Prepared(None, dense=False)
