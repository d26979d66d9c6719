"""Texts for the towers of open_clip: tokens of one width, and pooling that leaves padding out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from consilience.datasets import Sample
from consilience.errors import DataError, ModelError
from consilience.models import _weights
from consilience.models._network import NetworkExtractor, Tap
from consilience.registry import did_you_mean

POOLS = ("mean", "cls", "last")


class TokenPooling:
    """How activations (b, tokens, d) become (b, d), by the tokens of the batch at hand.

    Args:
        how: `mean` over a text's tokens, `cls` (the first), or `last`.
        padding: the token that fills texts up.
    """

    def __init__(self, how: str, padding: int) -> None:
        self.how, self.padding = how, padding
        self._kept = torch.zeros(0)

    def watch(self, tokens: Tensor) -> None:
        """Takes the tokens (b, tokens) of the batch that comes next."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        # Up to the last token that is no padding: the number may also stand inside a text.
        last = (places * (tokens != self.padding)).max(1).values
        self._kept = places <= last[:, None]

    def __call__(self, activation: Tensor) -> Tensor:
        """Returns (b, d) from (b, d) or (b, tokens, d).

        Raises:
            ModelError: the activation has another shape.
        """
        if activation.ndim == 2:
            return activation
        if activation.ndim != 3 or activation.shape[:2] != self._kept.shape:
            raise ModelError(f"pool {self.how!r} cannot reduce shape {tuple(activation.shape)}")
        if self.how == "cls":
            return activation[:, 0]
        lengths = self._kept.sum(1)
        if self.how == "last":
            return activation[torch.arange(len(activation), device=activation.device), lengths - 1]
        return (
            torch.where(self._kept[:, :, None], activation.float(), 0.0).sum(1) / lengths[:, None]
        )


def read_token_pooling(row: Mapping[str, Any], tokenizer: Any) -> TokenPooling:  # noqa: ANN401
    """Returns the pooling that the column `pool` names (default `mean`).

    Raises:
        ModelError: the name is unknown, or not for texts.
    """
    how = _weights.cell(row, "pool", "mean")
    if how not in POOLS:
        _weights.fail(row, f"unknown pool {how!r} for texts{did_you_mean(how, POOLS)}")
    inner = getattr(tokenizer, "tokenizer", None)  # of transformers; open_clip's own fills with 0
    return TokenPooling(how, getattr(inner, "pad_token_id", None) or 0)


@dataclass(frozen=True)
class TextTokens:
    """One text as the tower takes it, and whether its end was cut off."""

    ids: Tensor
    truncated: bool


class ClipTextExtractor(NetworkExtractor):
    """A text tower with taps (see `NetworkExtractor`); texts are cut at the tower's width.

    Args:
        model: the tower; it is set to evaluation mode on `device`.
        taps: the places to read, by layer name, from input to output.
        tokenizer: turns texts into tokens, filled up to one width.
        pooling: reduces activations to (b, d).
        provenance: what the source knows about the weights.
        device: where to compute.
    """

    inputs = "texts"
    remedy = "the tower and its tokenizer do not belong together; correct `name`"

    def __init__(
        self,
        model: nn.Module,
        taps: Mapping[str, Tap],
        tokenizer: Callable[..., Tensor],
        pooling: TokenPooling,
        provenance: Mapping[str, str],
        device: str,
    ) -> None:
        self._tokenizer, self._tokens = tokenizer, pooling
        described = {
            "transform": f"{type(tokenizer).__name__}, at most {tokenizer.context_length} tokens",
            "pooling": pooling.how,
            "truncated": "0",
        }
        super().__init__(model, taps, pooling, {**provenance, **described}, device)

    def preprocess(self, sample: Sample) -> TextTokens:
        """Returns the tokens of a text; raises DataError if there is none."""
        if sample.text is None:
            raise DataError(
                f"{sample.origin}: sample {sample.id!r} has no text; use an image model"
            )
        ids = self._tokenizer([sample.text])[0]
        truncated = False
        if ids[-1] != self._tokens.padding:  # full: would it be longer with more room?
            room = len(sample.text.encode()) + len(ids)
            wide = self._tokenizer([sample.text], context_length=room)[0]
            truncated = bool((wide[len(ids) :] != self._tokens.padding).any())
        return TextTokens(ids, truncated)

    def _batch(self, batch: Sequence[TextTokens]) -> Tensor:
        tokens = super()._batch([text.ids for text in batch])
        self._tokens.watch(tokens)
        return tokens

    def extract(self, batch: Sequence[TextTokens]) -> dict[str, Tensor]:
        """Returns {layer: (b, d)} for b texts; cut ones are counted in the provenance."""
        found = super().extract(batch)
        cut = int(self.provenance["truncated"]) + sum(text.truncated for text in batch)
        self.provenance["truncated"] = str(cut)
        return found
