"""Tries one architecture of timm: what we extract against timm's own list of intermediate maps.

Prints one JSON line. `python benchmarks/families.py` calls this for every architecture.

Usage: python benchmarks/families_timm.py NAME
"""

import json
import math
import sys

import timm
import torch
from families_common import LIMIT, Finding, far, picture_samples, stir
from torch import Tensor, nn

from consilience.errors import ConsilienceError
from consilience.models import load_model

SIZES = (None, 96, 128, 192)


def maps(network: nn.Module, name: str, images: Tensor) -> list[Tensor]:
    """Returns timm's own intermediate maps, each averaged over its positions: (b, d)."""
    with torch.inference_mode():
        if hasattr(network, "forward_intermediates"):
            found = network.forward_intermediates(
                images, intermediates_only=True, output_fmt="NCHW", norm=False
            )
        else:
            listed = timm.create_model(name, pretrained=False, features_only=True).eval()
            listed.load_state_dict(network.state_dict(), strict=False)
            found = listed(images)
    return [one.float().mean((2, 3)) for one in found]


def smallest(name: str) -> int | None:
    """Returns a picture size that is cheaper than the default, where the network takes any."""
    config = timm.get_pretrained_cfg(name)
    if config is None or config.fixed_input_size:
        return None
    least = config.min_input_size[1] if config.min_input_size else 96
    return max(96, least)


def try_one(name: str) -> Finding:
    """Returns whether all blocks of an architecture are extracted as timm gives them."""
    row = {"model": name, "source": "timm", "name": name, "modality": "image"}
    row |= {"weights": "random", "layers": "all", "pool": "mean"}
    if size := smallest(name):
        row["input_size"] = str(size)
    try:
        extractor = load_model(row)
        network = extractor._model
        stir(network)
        inputs = [extractor.preprocess(sample) for sample in picture_samples(2)]
        found = extractor.extract(inputs)
    except ConsilienceError as error:
        return Finding("refused", str(error))
    images = torch.stack(list(inputs))
    try:
        referee = maps(network, name, images)
    except Exception as error:  # a referee that fails says nothing of the product
        return Finding("failed", f"no referee: {type(error).__name__}: {error}"[:160])
    with torch.inference_mode():
        last = network.forward_head(network.forward_features(images), pre_logits=True)
    by_shape = extractor.look(inputs, lambda x: mean_by_shape(x, network))
    listed, shaped, wrong = 0, 0, []
    for layer, values in found.items():
        if layer == "pre_logits":
            if far(values, last) > LIMIT:
                wrong.append(f"{layer} {tuple(values.shape)} is not {tuple(last.shape)}")
        elif min(far(values, one) for one in referee) <= LIMIT:
            listed += 1
        elif by_shape[layer] is not None and far(values, by_shape[layer]) <= LIMIT:
            shaped += 1
        else:
            wrong.append(f"{layer} {tuple(values.shape)}")
    text = f"{len(found) - 1} blocks or stages: {listed} as timm lists them"
    text += f", {shaped} by their shape" if shaped else ""
    if wrong:
        return Finding("wrong", f"{text}; not found: {', '.join(wrong[:4])}")
    return Finding("right", text)


def mean_by_shape(x: Tensor, network: nn.Module) -> Tensor | None:
    """Returns the mean over positions of an activation, where its shape leaves no doubt.

    Pictures and maps are square: of (b, i, j, k) the two equal ones are positions. Of tokens
    (b, n, d) those that are no square number are one square number and the network's own count of
    class tokens and registers, or one where it has none.
    """
    if x.ndim == 4:
        _, first, middle, last = x.shape
        if (first == middle) == (middle == last):
            return None
        return x.float().mean((1, 2) if first == middle else (2, 3))
    if x.ndim != 3:
        return x if x.ndim == 2 else None
    tokens, special = x.shape[1], getattr(network, "num_prefix_tokens", 0) or 1
    square = math.isqrt(tokens) ** 2 == tokens
    if not square and math.isqrt(tokens - special) ** 2 != tokens - special:
        return None
    return x[:, 0 if square else special :].float().mean(1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(try_one(sys.argv[1]).__dict__))
