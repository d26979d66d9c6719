"""A network of the form of VGG on pictures, with batch normalisation.

Six convolutions of 3 x 3, each with batch normalisation and ReLU, of w, w, 2w, 2w, 4w and 4w
channels (w is `width`) and strides 2, 1, 2, 1, 2, 1; or with `stages` so many of stride 1 in each
stage, of w, 2w, 4w, 8w, 8w, … channels, and behind a stage the largest of 2 x 2 positions; the mean
over positions; a linear map to `dimension` features if that is not 0; and a head: linear (with or
without `bias`), or with `labels` (a width) a perceptron over the labels, as in `small:mlp`. With
`width` 64 and `stages` [1, 1, 2, 2, 2] its convolutions are those of VGG-11, with [2, 2, 4, 4, 4]
those of VGG-19 (Simonyan and Zisserman 2015).
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from torch import nn

from consilience.networks import Task
from consilience.networks.classifier import Classifier, at_least_one, expect, make_head, output_map
from consilience.networks.maps import ConvNorm, MeanOverMap, channels_last


def build(
    task: Task,
    *,
    width: int = 16,
    stages: Sequence[int] = (),
    dimension: int = 0,
    bias: bool = True,
    labels: int = 0,
) -> Classifier:
    """Returns the network of a task on pictures of one size."""
    at_least_one(width=width, stages=min(stages, default=1))
    expect(task, ("image",))
    channels = task.shape[0]
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for layer, (factor, stride, pooled) in enumerate(_layout(stages), 1):
        conv = ConvNorm(channels, factor * width, stride=stride)
        pool = [nn.MaxPool2d(2)] if pooled else []
        parts[f"block{layer}"] = nn.Sequential(conv, nn.ReLU(), *pool)
        channels = factor * width
    blocks = tuple(f"embedding.{name}" for name in parts)
    parts["mean"] = MeanOverMap()
    parts["out"], dimension = output_map(channels, dimension)
    head = make_head(task, dimension, bias=bias, labels=labels)
    return channels_last(Classifier(nn.Sequential(parts), head, blocks))


def _layout(stages: Sequence[int]) -> Iterator[tuple[int, int, bool]]:
    """Yields for each convolution its channels in widths, its stride, and whether a stage ends."""
    if not stages:
        yield from zip((1, 1, 2, 2, 4, 4), (2, 1, 2, 1, 2, 1), [False] * 6, strict=True)
    for stage, count in enumerate(stages):
        for layer in range(count):
            yield min(2**stage, 8), 1, layer == count - 1
