"""What the image sources share: pooling, and the extractor around a network."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from consilience.datasets import Sample
from consilience.errors import DataError, ModelError
from consilience.models import _weights
from consilience.models._layouts import (
    Trace,
    grids_of,
    kind_of,
    special_count,
    traced,
    units_first,
)
from consilience.models._network import Head, NetworkExtractor, Tap
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

POOLS = ("mean", "cls", "flatten")
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
    special: tuple[int, ...] = ()
    """Places of such tokens, where they do not all lead; then `prefix` is 0."""
    units_first: bool = False
    """Whether 3-d activations are (b, d, tokens) rather than (b, tokens, d)."""

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
        if self.units_first:
            activation = activation.mT
        if self.how == "cls":
            return activation[:, 0]
        if self.special:
            places = [i for i in range(activation.shape[1]) if i not in self.special]
            return activation[:, places].float().mean(1)
        skip = self.prefix if activation.shape[1] > self.prefix else 0
        return activation[:, skip:].float().mean(1)

    def fitted(self, seen: "Seen", trace: Trace, first: "Sequenced") -> "Pooling":
        """Returns the pooling for a layer, with the layout that the calls before it tell.

        Args:
            seen: the layer's activation.
            trace: what was called in the pass that it is of.
            first: tokens of the first layer, where it is known which stand for no position.

        Raises:
            ModelError: it cannot be told how many tokens stand for no position.
        """
        shape, calls = seen.shape, trace.calls[: seen.calls]
        if self.how != "mean" or len(shape) not in (3, 4):
            return self
        if len(shape) == 4:
            last = trace.channels_last(seen.kind, shape, calls, declared=self.channels_last)
            return replace(self, channels_last=last)
        if units_first(shape, calls):
            return replace(self, units_first=True, prefix=0)
        tokens, special = shape[1], len(first.special) if first.tokens else self.prefix
        if first.tokens == tokens:
            return replace(self, special=first.special, prefix=0)
        count = special_count(tokens, grids_of(calls), special)
        if count is None or (count and first.tokens and first.special != tuple(range(special))):
            raise ModelError(
                f"{tokens} tokens, and it cannot be told which of them stand for no position; set "
                "pool to cls or flatten, or name other layers"
            )
        return replace(self, prefix=count)


@dataclass(frozen=True)
class Seen:
    """A layer's activation in one pass."""

    kind: type
    """Of the module that it is of."""
    shape: tuple[int, ...]
    calls: int
    """How many maps were called before it."""


@dataclass(frozen=True)
class Sequenced:
    """What is known of the tokens that enter the first block of a network."""

    tokens: int = 0
    """How many; 0: nothing is known."""
    special: tuple[int, ...] = ()
    """Places of those that do not depend on the picture."""


def read_pooling(row: Mapping[str, Any], **layout: Any) -> Pooling:  # noqa: ANN401
    """Returns the pooling that the column `pool` names (default `mean`).

    Raises:
        ModelError: the name is unknown.
    """
    how = _weights.cell(row, "pool", "mean")
    if how not in POOLS:
        _weights.fail(row, f"unknown pool {how!r}{did_you_mean(how, POOLS)}")
    return Pooling(how, **layout)


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
        first: what is known of the tokens that enter the first block.
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
        first: Sequenced | None = None,
    ) -> None:
        # Channels last makes convolutions on a CPU 1.2 to 2.2 times faster; 3-d ones refuse it.
        flat = device == "cpu" and all(weight.ndim < 5 for weight in model.parameters())
        self._format = torch.channels_last if flat else torch.contiguous_format
        model = model.to(memory_format=self._format)
        described = {
            "transform": _ADDRESS.sub("", " ".join(repr(transform).split())),
            "pooling": pooling.how,
        }
        super().__init__(model, taps, pooling, {**provenance, **described}, device, head)
        self._transform, self._first = transform, first or Sequenced()

    def preprocess(self, sample: Sample) -> Tensor:
        """Returns the picture as a (3, h, w) tensor; raises DataError if there is none."""
        return self._transform(picture(sample))

    def _batch(self, batch: Sequence[Tensor]) -> Tensor:
        return super()._batch(batch).to(memory_format=self._format)

    def lay_out(self, memory_format: torch.memory_format) -> None:
        """Keeps weights and pictures in another order in memory, if no convolution is 3-d."""
        if all(weight.ndim < 5 for weight in self._model.parameters()):
            self._format = memory_format
            self._model.to(memory_format=memory_format)

    def fit_layouts(self, batch: Sequence[Tensor]) -> None:
        """Finds for every layer which axis holds units and which tokens stand for no position.

        Cost: one forward pass of the batch.

        Raises:
            ModelError: it cannot be told for a layer.
        """
        with traced(self._model) as trace:
            seen = self.look(batch, lambda x: (tuple(x.shape), len(trace.calls)))
        for name in self.layers:
            place = Seen(kind_of(self.taps[name].module), *seen[name])
            try:
                self._poolings[name] = self._pooling.fitted(place, trace, self._first)
            except ModelError as error:
                raise ModelError(f"layer {name!r}: {error}") from None
