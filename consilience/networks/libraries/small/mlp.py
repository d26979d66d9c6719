"""A multilayer perceptron on vectors or on the pixels of pictures.

`depth` hidden layers of `width` units, then `dimension` features without bias, then a head: linear
scores of them (with or without `bias`), or with `labels` (a width) a second network over the
labels, whose values g(y) are the class vectors: p(y | x) is the softmax of f(x) · g(y) over y.
With `depth` 3, `dimension` 2 and `labels` equal to `width` it is the model family of Nielsen et al.
(2025); drawn under one seed of PyTorch, f first, its weights are theirs. `norm` and `labels_norm`
fix the lengths of f and g.
"""

import torch

from consilience.networks import Task
from consilience.networks.classifier import Classifier, at_least_one, expect, make_head
from consilience.networks.perceptron import perceptron


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
    at_least_one(width=width, depth=depth, dimension=dimension)
    expect(task, ("vector", "image"))
    inputs = int(torch.Size(task.shape).numel())
    embedding = perceptron(inputs, width, depth, dimension, activation, norm)
    # Drawn after the embedding, as published.
    head = make_head(
        task,
        dimension,
        bias=bias,
        labels=labels,
        depth=depth,
        activation=activation,
        norm=labels_norm,
    )
    blocks = tuple(f"embedding.a{layer}" for layer in range(1, depth + 1))
    return Classifier(embedding, head, blocks)
