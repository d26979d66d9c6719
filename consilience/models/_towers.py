"""Image networks of the transformers library, as networks whose states have named places."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from consilience.models._images import Sequenced, Tap
from consilience.models._texts import EMBEDDING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


@dataclass(frozen=True)
class Processor:
    """The model's own preprocessing as a function of one picture."""

    processor: Any

    def __call__(self, picture: "Picture") -> Tensor:
        """Returns a (3, h, w) tensor."""
        return self.processor(images=picture, return_tensors="pt")["pixel_values"][0]

    def __repr__(self) -> str:
        settings = json.loads(self.processor.to_json_string())
        return json.dumps({key: settings[key] for key in sorted(settings)})


class ImageTower(nn.Module):
    """An image network, or the image side of a two-tower model.

    Every state passes through a place of its own: `layer_0` (what enters the first block),
    `layer_1` … (what leaves block 1 …), `last` (behind the final norm, where the network has one)
    and, with two towers, `embedding`.
    """

    def __init__(self, network: nn.Module, transform: Processor) -> None:
        super().__init__()
        self.network = network.eval()
        self.two_towers = hasattr(network, "get_image_features")
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        pictures = [Image.new("RGB", (64, 64), (127, 127, 127)), Image.fromarray(noise)]
        pair = torch.stack([transform(picture) for picture in pictures])
        with torch.inference_mode():
            states = self._states(pair)
        self.places = nn.ModuleDict({name: nn.Identity() for name in states})
        self.first = _sequenced(states.get("layer_0"))
        self.prefix = self._prefix(states["last"], pair[0])

    def forward(self, images: Tensor) -> None:
        """Leads every state through its place."""
        for name, state in self._states(images).items():
            self.places[name](state)

    def _states(self, images: Tensor) -> dict[str, Tensor]:
        run = self.network.get_image_features if self.two_towers else self.network
        options = {"output_hidden_states": True, "return_dict": True, **self._order(len(images))}
        out = run(images.to(self.network.dtype), **options)
        states = {f"layer_{i}": state for i, state in enumerate(out.hidden_states or ())}
        states["last"] = out.last_hidden_state
        if self.two_towers:
            states[EMBEDDING] = out.pooler_output
        return states

    def _order(self, count: int) -> dict[str, Tensor]:
        """Returns what keeps patches in their order where a network would shuffle them."""
        if "noise" not in inspect.signature(self.network.forward).parameters:
            return {}
        patches = self.network.get_input_embeddings().num_patches
        return {"noise": torch.arange(patches, dtype=torch.float32).expand(count, -1)}

    def _prefix(self, state: Tensor, picture: Tensor) -> int:
        """Returns how many leading tokens (class, registers) stand for no patch."""
        config = getattr(self.network.config, "vision_config", self.network.config)
        patch = getattr(config, "patch_size", None)
        if state.ndim != 3 or not isinstance(patch, int):
            return 0
        more = state.shape[1] - (picture.shape[1] // patch) * (picture.shape[2] // patch)
        return max(more, 0)

    @property
    def taps(self) -> Mapping[str, Tap]:
        """The places by name."""
        return {name: Tap(place) for name, place in self.places.items()}


def _sequenced(state: Tensor | None) -> Sequenced:
    """Returns which tokens of two pictures (2, tokens, d) before the first block are the same."""
    if state is None or state.ndim != 3:
        return Sequenced()
    one, other = state.float()
    same = (one - other).norm(dim=1) <= 1e-6 * one.norm(dim=1)
    return Sequenced(state.shape[1], tuple(torch.nonzero(same)[:, 0].tolist()))
