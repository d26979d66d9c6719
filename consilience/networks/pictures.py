"""Pictures as networks of ours see them, in training and after it."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


def picture_bytes(image: "Image", size: int, channels: int) -> Tensor:
    """Returns a picture as bytes (channels, size, size): grey or RGB, resized if need be."""
    found = image.convert("L" if channels == 1 else "RGB")
    if found.size != (size, size):
        found = found.resize((size, size), Pillow.Resampling.BILINEAR)
    array = np.asarray(found, np.uint8)
    array = array[None] if channels == 1 else array.transpose(2, 0, 1)
    return torch.from_numpy(array.copy())
