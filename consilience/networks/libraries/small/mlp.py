"""A multilayer perceptron on vectors or on the pixels of pictures.

`depth` hidden layers of `width` units, then `dimension` features without bias, then a head: linear
scores of them (with or without `bias`), or with `labels` (a width) a second network over the
labels, whose values g(y) are the class vectors: p(y | x) is the softmax of f(x) · g(y) over y.
With `depth` 3, `dimension` 2 and `labels` equal to `width` it is the model family of Nielsen et al.
(2025); drawn under one seed of PyTorch, f first, its weights are theirs. `norm` and `labels_norm`
fix the lengths of f and g.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from consilience.errors import ConfigError
from consilience.networks import Task
from consilience.networks.classifier import Classifier, FixedNorm, LabelNetwork, linear_head

ACTIVATIONS = {"leaky_relu": nn.LeakyReLU, "relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class Perceptron(nn.Sequential):
    """Linear maps l1, l2, … with activations between them; the last one has no bias."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns (n, d) of inputs (n, …), flattened."""
        return super().forward(x.flatten(1))


def perceptron(
    inputs: int, width: int, depth: int, outputs: int, activation: str, norm: float
) -> Perceptron:
    """Returns a perceptron; `norm` 0 leaves the length of its outputs free."""
    if activation not in ACTIVATIONS:
        raise ConfigError(f"activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in range(1, depth + 1):
        parts[f"l{layer}"] = nn.Linear(inputs, width)
        parts[f"a{layer}"] = ACTIVATIONS[activation]()
        inputs = width
    parts[f"l{depth + 1}"] = nn.Linear(inputs, outputs, bias=False)
    if norm:
        parts["norm"] = FixedNorm(norm)
    return Perceptron(parts)


def build(  # noqa: PLR0913 - options
    task: Task,
    *,
    width: int = 128,
    depth: int = 3,
    dimension: int = 64,
    activation: str = "leaky_relu",
    bias: bool = True,
    labels: int = 0,
    norm: float = 0.0,
    labels_norm: float = 0.0,
) -> Classifier:
    """Returns the network of a task on inputs of one shape."""
    if min(width, depth, dimension) < 1:
        raise ConfigError("width, depth and dimension are at least 1")
    if task.modality not in ("vector", "image"):
        raise ConfigError(f"it takes vectors or pictures, not {task.modality}")
    inputs = int(torch.Size(task.shape).numel())
    embedding = perceptron(inputs, width, depth, dimension, activation, norm)
    if labels:  # drawn after the embedding, as published
        network = perceptron(task.classes - 1, labels, depth, dimension, activation, labels_norm)
        head: nn.Module = LabelNetwork(network, task.classes)
    else:
        head = linear_head(dimension, task, bias=bias)
    blocks = tuple(f"embedding.a{layer}" for layer in range(1, depth + 1))
    return Classifier(embedding, head, blocks)
