"""Extractors of trained networks that read texts: by words or tokens, or byte by byte."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from consilience.datasets import Sample
from consilience.errors import DataError
from consilience.models import _weights
from consilience.models._network import NetworkExtractor
from consilience.models._pooling import pool_tokens
from consilience.models._texts import LOSS, POOLS, by_length, prediction_loss
from consilience.networks import Task
from consilience.networks.symbols import bytes_of, pad, reader_of
from consilience.registry import did_you_mean


@dataclass(frozen=True)
class Symbols:
    """One text for a network, and whether its end was cut off."""

    numbers: list[int]
    truncated: bool

    def __len__(self) -> int:
        return len(self.numbers)


class WordExtractor(NetworkExtractor):
    """A network on the words or tokens of texts, with the vocabulary that it was trained with.

    States of all symbols are pooled over those of the text, the class token among them; what is one
    vector for each text already stays.

    Args:
        task: of the network.
        pool: `mean`, `cls` (the first symbol) or `last`.
        **given: see `NetworkExtractor`.
    """

    inputs = "texts"
    remedy = "leave such texts out"

    def __init__(self, task: Task, pool: str, **given: Any) -> None:  # noqa: ANN401
        self._mask = torch.zeros(0)
        self._pool = pool
        super().__init__(pooling=self._pooled, **given)
        self._most, self._read = task.shape[0], reader_of(task)
        self.provenance |= {"truncated": "0", "pooling": pool, "transform": self._described()}

    def _described(self) -> str:
        return str(self._read)

    def preprocess(self, sample: Sample) -> Symbols:
        """Returns the symbols of a text; raises DataError if there is none."""
        if sample.text is None:
            raise DataError(f"{sample.origin}: sample {sample.id!r} holds no text")
        return self._symbols(sample, sample.text)

    def _symbols(self, sample: Sample, text: str) -> Symbols:
        found = Symbols(*self._read(text))
        if not found.numbers:
            raise DataError(f"{sample.origin}: the text of sample {sample.id!r} has no tokens")
        return found

    def size(self, symbols: Symbols) -> int:
        """Returns the number of symbols, by which texts are sorted into batches."""
        return len(symbols)

    def _batch(self, batch: Sequence[Symbols]) -> Tensor:
        lengths = torch.tensor(list(map(len, batch)))
        padded = pad([symbols.numbers for symbols in batch], self._read.padding)
        self._mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long().to(self._device)
        return padded.to(self._device)

    def _pooled(self, states: Tensor) -> Tensor:
        return pool_tokens(states, self._mask, (self._pool,)) if states.ndim == 3 else states

    def extract(self, batch: Sequence[Symbols]) -> dict[str, Tensor]:
        """Returns what `NetworkExtractor.extract` does; see `apart` there."""
        if self.apart and len(set(map(len, batch))) > 1:
            return by_length(self.extract, batch)
        found = super().extract(batch)
        cut = int(self.provenance["truncated"]) + sum(symbols.truncated for symbols in batch)
        self.provenance["truncated"] = str(cut)
        return found


class ByteExtractor(WordExtractor):
    """A network that predicts each byte of a text from those before it.

    Beside the layers it gives `loss`, see `consilience.models._texts.prediction_loss`.
    """

    def __init__(self, task: Task, pool: str, model: nn.Module, **given: Any) -> None:  # noqa: ANN401
        super().__init__(task, pool, model=model, **given)
        self._ids = torch.zeros(0)
        model.register_forward_hook(lambda _model, _inputs, scores: self._lose(scores))
        self.outputs = (LOSS,)

    def _described(self) -> str:
        return f"at most {self._most} bytes"

    def _symbols(self, sample: Sample, text: str) -> Symbols:
        found = list(bytes_of(text))
        if not found:
            raise DataError(f"{sample.origin}: the text of sample {sample.id!r} is empty")
        return Symbols(found[: self._most], len(found) > self._most)

    def _batch(self, batch: Sequence[Symbols]) -> Tensor:
        self._ids = super()._batch(batch)
        return self._ids

    def _lose(self, scores: Tensor) -> None:
        if LOSS in self.outputs:
            self._caught[LOSS] = prediction_loss(scores, self._ids, self._mask)

    def looks_ahead(self, text: Symbols) -> float:
        """Returns how far predictions move when only the byte behind them changes.

        That is the norm of the difference as a share of the norm of the scores before the last.
        """
        ids = pad([text.numbers, text.numbers])
        ids[1, -1] = (ids[0, -1] + 1) % 256
        with torch.inference_mode():
            one, other = self._model(ids.to(self._device))[:, :-1].double()
        return float((one - other).norm() / one.norm().clamp_min(1e-30))

    def drop_loss(self) -> None:
        """Leaves the loss out from now on."""
        self.outputs = ()


def read_pool(row: Mapping[str, Any]) -> str:
    """Returns the pooling that the column `pool` names (default `mean`).

    Raises:
        ModelError: texts have no such pooling.
    """
    pool = _weights.cell(row, "pool", "mean")
    if pool not in POOLS:
        _weights.fail(row, f"unknown pool {pool!r}{did_you_mean(pool, POOLS)}")
    return pool
