"""What the image sources share: pooling, transforms, and the extractor around a network."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import functional

from consilience.datasets import Sample
from consilience.errors import DataError, ModelError
from consilience.models import _weights
from consilience.models._network import Head, NetworkExtractor, Tap
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

POOLS = ("mean", "cls", "flatten")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's training pictures, red, green, blue in [0, 1]."""
CAFFE_MEAN = (104.006, 116.669, 122.679)
"""Mean of ImageNet's training pictures in the order blue, green, red."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def picture(sample: Sample) -> "Image":
    """Returns the sample's image as RGB.

    Raises:
        DataError: the sample has none.
    """
    if sample.image is None:
        raise DataError(f"{sample.origin}: sample {sample.id!r} has no image; choose a text model")
    return sample.image()


@dataclass(frozen=True)
class Pooling:
    """How an activation of more than two dimensions becomes (b, d)."""

    how: str = "mean"
    """`mean` over positions, `cls` (the first token), or `flatten`."""
    channels_last: bool = False
    """Whether 4-d activations are (b, h, w, d) rather than (b, d, h, w)."""
    prefix: int = 0
    """Leading tokens (class, registers) that stand for no position and are left out of the mean."""

    def __call__(self, activation: Tensor) -> Tensor:
        """Returns (b, d) from (b, d), (b, tokens, d), (b, d, h, w) or (b, h, w, d).

        Raises:
            ModelError: the activation has another shape, or no tokens to choose one from.
        """
        if activation.ndim == 2:
            return activation
        if self.how == "flatten" and activation.ndim > 2:
            return activation.flatten(1)
        if activation.ndim == 3:
            return self._tokens(activation)
        if self.how == "mean" and activation.ndim == 4:
            return activation.float().mean((1, 2) if self.channels_last else (2, 3))
        raise ModelError(f"pool {self.how!r} cannot reduce shape {tuple(activation.shape)}")

    def _tokens(self, activation: Tensor) -> Tensor:
        if self.how == "cls":
            return activation[:, 0]
        skip = self.prefix if activation.shape[1] > self.prefix else 0
        return activation[:, skip:].float().mean(1)


def read_pooling(row: Mapping[str, Any], **layout: Any) -> Pooling:  # noqa: ANN401
    """Returns the pooling that the column `pool` names (default `mean`).

    Raises:
        ModelError: the name is unknown.
    """
    how = _weights.cell(row, "pool", "mean")
    if how not in POOLS:
        _weights.fail(row, f"unknown pool {how!r}{did_you_mean(how, POOLS)}")
    return Pooling(how, **layout)


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


class ImageExtractor(NetworkExtractor):
    """An image network with taps (see `NetworkExtractor`).

    Args:
        model: the network; it is set to evaluation mode on `device`.
        taps: the places to read, by layer name, from input to output.
        transform: turns an RGB picture into a (3, h, w) tensor.
        pooling: reduces activations to (b, d).
        provenance: what the source knows about the weights.
        device: where to compute.
        head: the trained classifier, if there is one.
    """

    inputs = "pictures"

    def __init__(
        self,
        model: nn.Module,
        taps: Mapping[str, Tap],
        transform: Callable[["Image"], Tensor],
        pooling: Pooling,
        provenance: Mapping[str, str],
        device: str,
        head: Head | None = None,
    ) -> None:
        # Channels last makes convolutions on a CPU 1.2 to 2.2 times faster.
        self._format = torch.channels_last if device == "cpu" else torch.contiguous_format
        model = model.to(memory_format=self._format)
        described = {
            "transform": _ADDRESS.sub("", " ".join(repr(transform).split())),
            "pooling": pooling.how,
        }
        super().__init__(model, taps, pooling, {**provenance, **described}, device, head)
        self._transform = transform

    def preprocess(self, sample: Sample) -> Tensor:
        """Returns the picture as a (3, h, w) tensor; raises DataError if there is none."""
        return self._transform(picture(sample))

    def _batch(self, batch: Sequence[Tensor]) -> Tensor:
        return super()._batch(batch).to(memory_format=self._format)
