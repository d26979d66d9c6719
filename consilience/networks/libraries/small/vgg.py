"""A network of the form of VGG on pictures, with batch normalisation.

Six convolutions of 3 x 3, each with batch normalisation and ReLU, of w, w, 2w, 2w, 4w and 4w
channels (w is `width`) and strides 2, 1, 2, 1, 2, 1; the mean over positions; a linear map to
`dimension` features if that is not 0; and a head: linear (with or without `bias`), or with `labels`
(a width) a perceptron over the labels, as in `small:mlp`.
"""

from collections import OrderedDict

from torch import nn

from consilience.networks import Task
from consilience.networks.classifier import Classifier, at_least_one, expect, make_head, output_map
from consilience.networks.maps import ConvNorm, MeanOverMap, channels_last


def build(
    task: Task,
    *,
    width: int = 16,
    dimension: int = 0,
    bias: bool = True,
    labels: int = 0,
) -> Classifier:
    """Returns the network of a task on pictures of one size."""
    at_least_one(width=width)
    expect(task, ("image",))
    channels = task.shape[0]
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for layer, factor in enumerate((1, 1, 2, 2, 4, 4), 1):
        conv = ConvNorm(channels, factor * width, stride=1 + layer % 2)
        parts[f"block{layer}"] = nn.Sequential(conv, nn.ReLU())
        channels = factor * width
    parts["mean"] = MeanOverMap()
    parts["out"], dimension = output_map(channels, dimension)
    blocks = tuple(f"embedding.block{layer}" for layer in range(1, 7))
    head = make_head(task, dimension, bias=bias, labels=labels)
    return channels_last(Classifier(nn.Sequential(parts), head, blocks))
