"""Transforms that a row can name instead of its model's own.

Apart from what all image networks share, so that those that the workflow trained, which have their
own, need not import torchvision: it takes as long as PyTorch itself.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import functional

from consilience.models import _weights
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's training pictures, red, green, blue in [0, 1]."""
CAFFE_MEAN = (104.006, 116.669, 122.679)
"""Mean of ImageNet's training pictures in the order blue, green, red."""


class CaffeTransform:
    """Resizes the short side to 256/224 of `size`, crops the centre, and centres BGR values."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, image: "Image") -> Tensor:
        """Returns (3, size, size) in the order blue, green, red."""
        resized = functional.resize(image, round(self._size * 256 / 224), antialias=True)
        rgb = functional.pil_to_tensor(functional.center_crop(resized, self._size)).float()
        return rgb.flip(0) - torch.tensor(CAFFE_MEAN)[:, None, None]

    def __repr__(self) -> str:
        return f"CaffeTransform(size={self._size}, mean={CAFFE_MEAN}, order=BGR)"


def imagenet_transform(size: int) -> Callable[["Image"], Tensor]:
    """Returns the usual evaluation transform: 256/224 of `size`, bilinear, centre crop."""
    return transforms.Compose(
        [
            transforms.Resize(round(size * 256 / 224)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


TRANSFORMS: dict[str, Callable[[int], Callable[["Image"], Tensor]]] = {
    "caffe": CaffeTransform,
    "imagenet": imagenet_transform,
}


def read_transform(
    row: Mapping[str, Any], own: Callable[[], Callable[["Image"], Tensor]], size: int = 224
) -> Callable[["Image"], Tensor]:
    """Returns the transform that the column `transform` names; blank: the model's own.

    Args:
        row: row of models.tsv.
        own: makes the model's own.
        size: of the pictures where `input_size` is blank, in pixels.

    Raises:
        ModelError: the name is unknown.
    """
    kind = _weights.cell(row, "transform")
    if not kind:
        return own()
    if kind not in TRANSFORMS:
        hint = did_you_mean(kind, TRANSFORMS)
        _weights.fail(row, f"unknown transform {kind!r}{hint}; blank is the model's own")
    return TRANSFORMS[kind](_weights.input_size(row) or size)
