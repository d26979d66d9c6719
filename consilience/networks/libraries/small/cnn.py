"""A plain convolutional network on pictures.

`depth` convolutions of 3 x 3 with stride 2 and ReLU, of `width`, 2 `width`, 4 `width`, … channels,
then one linear map with ReLU to `dimension` features, and a head: linear (with or without `bias`),
or with `labels` (a width) a perceptron over the labels, as in `small:mlp`.
"""

from collections import OrderedDict

from torch import nn

from consilience.networks import Task
from consilience.networks.classifier import Classifier, at_least_one, expect, make_head
from consilience.networks.maps import channels_last, size_after


def build(
    task: Task,
    *,
    width: int = 16,
    depth: int = 3,
    dimension: int = 64,
    bias: bool = True,
    labels: int = 0,
) -> Classifier:
    """Returns the network of a task on pictures of one size."""
    at_least_one(width=width, depth=depth, dimension=dimension)
    expect(task, ("image",))
    channels, size = task.shape[0], task.shape[1]
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in range(1, depth + 1):
        parts[f"c{layer}"] = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        parts[f"a{layer}"] = nn.ReLU()
        channels, width, size = width, 2 * width, size_after(size, 3, 2, 1)
    parts["flat"] = nn.Flatten()
    parts["l"] = nn.Linear(channels * size * size, dimension)
    parts["a"] = nn.ReLU()
    blocks = tuple(f"embedding.a{layer}" for layer in range(1, depth + 1))
    head = make_head(task, dimension, bias=bias, labels=labels)
    return channels_last(Classifier(nn.Sequential(parts), head, blocks))
