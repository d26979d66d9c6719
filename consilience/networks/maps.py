"""What networks on maps (channels, height, width) share."""

from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def size_after(size: int, kernel: int, stride: int, padding: int) -> int:
    """Returns the side of a map behind a convolution or pooling."""
    return (size + 2 * padding - kernel) // stride + 1


def channels_last(network: Network) -> Network:
    """Returns a network whose convolutions compute with channels innermost, which is faster."""
    return network.to(memory_format=torch.channels_last)


class MeanOverMap(nn.Module):
    """The mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns (b, d) of (b, d, h, w)."""
        return x.mean((2, 3))


class ConvNorm(nn.Sequential):
    """A convolution without bias and a batch normalisation.

    Args:
        inputs, outputs: channels.
        kernel: its side; padding keeps the size where the stride is 1.
        stride: of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        padding = (kernel - 1) // 2
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs))
