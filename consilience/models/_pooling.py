"""How the states of a text's tokens become one vector."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def pool_tokens(states: Tensor, mask: Tensor, modes: Sequence[str], skip: int = 0) -> Tensor:
    """Returns (b, d · m) from hidden states, the results of m modes side by side.

    Args:
        states: (b, tokens, d); sums in half precision would lose digits, so they are float32.
        mask: (b, tokens) 1 for tokens of the text, which come first.
        modes: of `MODES`.
        skip: leading tokens that are left out, such as those of a prompt. Positions, by which
            `weightedmean` weighs, count from the start all the same.
    """
    kept = mask.bool() & (torch.arange(mask.shape[1], device=mask.device) >= skip)
    return torch.cat([MODES[mode](states.float(), kept) for mode in modes], 1)


def _mean(states: Tensor, kept: Tensor) -> Tensor:
    return _sum(states, kept) / _count(kept)


def _root_mean(states: Tensor, kept: Tensor) -> Tensor:
    return _sum(states, kept) / _count(kept).sqrt()


def _weighted_mean(states: Tensor, kept: Tensor) -> Tensor:
    weights = torch.arange(1, kept.shape[1] + 1, device=kept.device, dtype=states.dtype)
    weights = torch.where(kept, weights, 0)
    return _sum(states * weights[:, :, None], kept) / weights.sum(1, keepdim=True).clamp(min=1)


def _largest(states: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept[:, :, None], states, -torch.inf).max(1).values


def _first(states: Tensor, kept: Tensor) -> Tensor:
    return _at(states, kept.int().argmax(1))


def _last(states: Tensor, kept: Tensor) -> Tensor:
    places = torch.arange(kept.shape[1], device=kept.device)
    return _at(states, (places * kept).max(1).values)


def _at(states: Tensor, places: Tensor) -> Tensor:
    return states[torch.arange(len(states), device=states.device), places]


def _sum(states: Tensor, kept: Tensor) -> Tensor:
    # `where`, not a product: a state behind the text may be NaN, and 0 · NaN is NaN.
    return torch.where(kept[:, :, None], states, 0.0).sum(1)


def _count(kept: Tensor) -> Tensor:
    return kept.sum(1, keepdim=True).clamp(min=1)


MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "max": _largest,
    "mean": _mean,
    "mean_sqrt_len_tokens": _root_mean,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
    "last": _last,
}
"""By name, as sentence-transformers calls them, and `last` as the column `pool` does."""
