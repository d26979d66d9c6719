"""The extractor of networks that learnt the noise in pictures: their features at some times."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from consilience.datasets import Sample
from consilience.models import _weights, reading
from consilience.models._images import picture
from consilience.models._network import NetworkExtractor, Tap
from consilience.networks.noise import STEPS, TIMES, add_noise, noise_of

if TYPE_CHECKING:
    from PIL.Image import Image

RANDOM = "t_random"
"""The layer where every sample is seen at a time of its own, drawn from its id."""
_STATE = "state"


class Noise(NamedTuple):
    """A picture, the noise that its id gives, and a time that it gives too."""

    picture: Tensor
    noise: Tensor
    time: int


class NoiseExtractor(NetworkExtractor):
    """A network that sees every picture with the same noise at each time.

    Features are mean and deviation over positions, (b, 2 · channels), of what enters the head.

    Args:
        layers: `t10` for time 10, and so on; or `RANDOM`.
        transform: makes of a picture what the network was trained on.
        model: the network.
        **given: see `NetworkExtractor`.
    """

    inputs = "pictures"

    def __init__(
        self,
        layers: Sequence[str],
        transform: Callable[["Image"], Tensor],
        model: nn.Module,
        **given: Any,  # noqa: ANN401
    ) -> None:
        taps = {_STATE: Tap(model.parts.head, "input")}
        super().__init__(model=model, taps=taps, pooling=moments, **given)
        self.layers, self._transform = tuple(layers), transform
        self.provenance |= {"transform": repr(transform), "pooling": "mean and deviation"}

    def preprocess(self, sample: Sample) -> Noise:
        """Returns a picture and its noise; raises DataError if there is none."""
        found = self._transform(picture(sample))
        return Noise(found, *noise_of(sample.id, tuple(found.shape)))

    def extract(self, batch: Sequence[Noise]) -> dict[str, Tensor]:
        """Returns {layer: (b, d)} for b pictures, from one pass for each layer."""
        pictures, noise = (
            torch.stack(part).to(self._device)
            for part in zip(*((one.picture, one.noise) for one in batch), strict=True)
        )
        found = {}
        for layer in self.layers:
            drawn = [one.time for one in batch]
            given = drawn if layer == RANDOM else [int(layer[1:])] * len(batch)
            times = torch.tensor(given, device=self._device)
            self._caught.clear()
            with torch.inference_mode(), reading("such pictures", self.remedy):
                self._model(add_noise(pictures, noise, times), times)
            found[layer] = self._caught.pop(_STATE)
        return found


def moments(maps: Tensor) -> Tensor:
    """Returns mean and deviation (without correction) over positions, (b, 2 d) of (b, d, h, w)."""
    flat = maps.float().flatten(2)
    return torch.cat([flat.mean(2), flat.std(2, correction=0)], 1)


def read_times(row: Mapping[str, Any]) -> list[str]:
    """Returns the layers that the column `layers` names; blank or `all`: those of `TIMES`.

    Raises:
        ModelError: one is no time.
    """
    usual = [f"t{time}" for time in TIMES]
    found: list[str] = []
    for name in _weights.names_in(row, "layers") or ["all"]:
        time = re.fullmatch(r"t(\d+)", name)
        if name in ("all", "last"):
            found += usual if name == "all" else usual[-1:]
        elif name == RANDOM or (time and int(time[1]) < STEPS):
            found.append(name)
        else:
            _weights.fail(
                row,
                f"no layer {name!r}: a network that learnt noise has t0 to t{STEPS - 1} and "
                f"{RANDOM}",
            )
    return list(dict.fromkeys(found))
