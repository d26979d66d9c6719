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

from consilience.errors import ModelError
from consilience.models._blocks import begin_behind, recorded
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

    Every state passes through a place of its own: `layer_0` (what enters the first block or stage,
    where the network lists it), `layer_1` … (what leaves block 1 …), `last` (behind the final norm,
    where the network has one) and, with two towers, `embedding`.
    """

    def __init__(self, network: nn.Module, transform: Processor) -> None:
        super().__init__()
        self.network = network.eval()
        self.two_towers = hasattr(network, "get_image_features")
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        pictures = [Image.new("RGB", (64, 64), (127, 127, 127)), Image.fromarray(noise)]
        pair = torch.stack([transform(picture) for picture in pictures])
        self._start = 0
        with recorded(self.network) as stacks, torch.inference_mode():
            states = self._states(pair)
        listed = [state for name, state in states.items() if name.startswith("layer_")]
        if listed and begin_behind(listed, stacks, _stages(self.network)):
            self._start = 1
            states = {f"layer_{i}": state for i, state in enumerate(listed, 1)} | {
                name: state for name, state in states.items() if not name.startswith("layer_")
            }
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
        kind, last = type(self.network).__name__, getattr(out, "last_hidden_state", None)
        if hasattr(out, "encoder_last_hidden_state"):
            raise ModelError(
                f"{kind} is an encoder with a decoder, whose states stand for objects and not for "
                "places of the picture; only encoders of pictures can be extracted"
            )
        if last is None:
            raise ModelError(f"{kind} gives no last_hidden_state, so it cannot be extracted")
        hidden = getattr(out, "hidden_states", None) or ()
        states = {f"layer_{i}": state for i, state in enumerate(hidden, self._start)}
        states["last"] = last
        if self.two_towers:
            states[EMBEDDING] = out.pooler_output
        return states

    def _order(self, count: int) -> dict[str, Tensor]:
        """Returns what keeps patches in their order where a network would shuffle them."""
        if "noise" not in inspect.signature(self.network.forward).parameters:
            return {}
        patches = getattr(self.network.get_input_embeddings(), "num_patches", 0)
        if not patches:
            return {}
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


def _stages(network: nn.Module) -> int:
    """Returns the number of stages that a network says to have; 0 if it says nothing."""
    config = getattr(network.config, "vision_config", network.config)
    depths = getattr(config, "depths", None)
    return len(depths) if isinstance(depths, list | tuple) else 0
