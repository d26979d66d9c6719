"""What the tries of families share."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from consilience.datasets import Sample

LIMIT = 1e-4
"""Of the norm of a difference, as a share of the norm: what rounding may do."""


@dataclass(frozen=True)
class Finding:
    """What came of one architecture."""

    result: str
    text: str


def far(x: Tensor, y: Tensor) -> float:
    """Returns ‖x − y‖ / ‖y‖; infinity for other shapes."""
    if x.shape != y.shape:
        return float("inf")
    return float((x.double() - y.double()).norm() / y.double().norm().clamp_min(1e-30))


def stir(network: nn.Module, seed: int = 0) -> None:
    """Moves gains and offsets away from 1, 0 and 1e-6, where blocks look alike."""
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim <= 1:
                weight.add_(0.3 * torch.rand(weight.shape, generator=drawn))


def picture_samples(count: int) -> list[Sample]:
    """Returns pictures of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (count, 256, 256, 3), np.uint8)
    made = [Image.fromarray(values) for values in noise]
    return [
        Sample(id=str(i), origin=f"noise {i}", image=lambda image=image: image)
        for i, image in enumerate(made)
    ]
