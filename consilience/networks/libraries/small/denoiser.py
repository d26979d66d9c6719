"""A network that predicts the noise in a picture (Ho et al. 2020), at one size throughout.

A convolution to `width` channels; `depth` residual convolutions of 3 x 3, each behind a group
normalisation, a shift that depends on the time, and SiLU; then SiLU, and a convolution to the
noise. The times enter by sines and cosines and a linear map. Features are mean and deviation over
positions of what enters the last convolution; they are layers `t10`, `t50`, … by the time.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from consilience.networks import NOISE, Task
from consilience.networks.classifier import Classifier, at_least_one, expect
from consilience.networks.maps import channels_last


class Block(nn.Module):
    """A residual convolution that is told the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.shift = nn.GroupNorm(1, width), nn.Linear(width, width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Returns (b, width, h, w) of maps x and times (b, width)."""
        return x + self.conv(silu(self.norm(x) + self.shift(time)[:, :, None, None]))


class Embedding(nn.Module):
    """From pictures with noise (b, channels, h, w) and times (b,) to maps (b, width, h, w)."""

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        waves = torch.exp(-math.log(1e4) * torch.arange(width - width // 2) / (width // 2 or 1))
        self.register_buffer("waves", waves, persistent=False)

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        """Returns (b, width, h, w)."""
        angles = times[:, None] * self.waves
        waves = torch.cat([angles.cos(), angles.sin()], 1)[:, : self.time[0].in_features]
        time, x = self.time(waves.to(x.dtype)), self.stem(x)
        for block in self.blocks:
            x = block(x, time)
        return silu(x)


def build(task: Task, *, width: int = 24, depth: int = 4) -> Classifier:
    """Returns the network of a task on pictures of one size."""
    at_least_one(width=width, depth=depth)
    expect(task, ("image",), NOISE)
    channels = task.shape[0]
    embedding = Embedding(channels, width, depth)
    return channels_last(Classifier(embedding, nn.Conv2d(width, channels, 3, padding=1)))
