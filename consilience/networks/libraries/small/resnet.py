"""A residual network on small pictures, with batch normalisation (He et al. 2016).

A stem, which is a convolution of `stem` x `stem` to `width` channels, of stride 1 if `stem` is 3
and 2 if it is 4; a stage for every number in `blocks`, of so many blocks of `width`, 2 `width`, …
channels and half the side of the stage before; the mean over positions; a linear map with bias to
`dimension` features if that is not 0; and a head: linear (with or without `bias`), or with `labels`
(a width) a perceptron over the labels, as in `small:mlp`. The defaults are ResNet-18 for pictures
of 32 pixels; with `dimension` 2 its embedding has 11,169,858 weights. With `stem` 4, `blocks`
[1, 1, 1] and `width` 16 it is a network of 78 thousand. With `bottleneck` a block narrows to its
channels, convolves, and widens to four times as many: `blocks` [3, 4, 23, 3] are ResNet-101 then.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from consilience.errors import ConfigError
from consilience.networks import Task
from consilience.networks.classifier import Classifier, at_least_one, expect, make_head, output_map
from consilience.networks.maps import ConvNorm, MeanOverMap, channels_last


class Block(nn.Module):
    """Two convolutions and what goes past them, with ReLU behind their sum."""

    WIDER = 1

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one, self.two = ConvNorm(inputs, outputs, 3, stride), ConvNorm(outputs, outputs)
        alike = inputs == outputs and stride == 1
        self.past = nn.Identity() if alike else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (b, outputs, h / stride, w / stride)."""
        return (self.two(self.one(x).relu()) + self.past(x)).relu()


class Bottleneck(nn.Module):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1 and what goes past them, with ReLU behind the sum."""

    WIDER = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.WIDER * width
        self.one, self.two = ConvNorm(inputs, width, 1), ConvNorm(width, width, 3, stride)
        self.three = ConvNorm(width, outputs, 1)
        alike = inputs == outputs and stride == 1
        self.past = nn.Identity() if alike else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (b, 4 width, h / stride, w / stride)."""
        return (self.three(self.two(self.one(x).relu()).relu()) + self.past(x)).relu()


def build(
    task: Task,
    *,
    width: int = 64,
    blocks: Sequence[int] = (2, 2, 2, 2),
    stem: int = 3,
    bottleneck: bool = False,
    dimension: int = 0,
    bias: bool = True,
    labels: int = 0,
) -> Classifier:
    """Returns the network of a task on pictures of one size."""
    at_least_one(width=width, stages=len(blocks), blocks=min(blocks, default=1))
    expect(task, ("image",))
    if stem not in (3, 4):
        raise ConfigError(f"stem is {stem}; it is 3 or 4")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["stem"] = nn.Sequential(ConvNorm(task.shape[0], width, stem, stem - 2), nn.ReLU())
    channels = width
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            outputs = width * 2 ** (stage - 1)
            stride = 2 if stage > 1 and block == 0 else 1
            kind = Bottleneck if bottleneck else Block
            parts[f"block{stage}_{block + 1}"] = kind(channels, outputs, stride)
            channels = kind.WIDER * outputs
    names = tuple(f"embedding.{name}" for name in parts)
    parts["mean"] = MeanOverMap()
    parts["out"], dimension = output_map(channels, dimension)
    head = make_head(task, dimension, bias=bias, labels=labels)
    return channels_last(Classifier(nn.Sequential(parts), head, names))
