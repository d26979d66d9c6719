"""Text encoders and language models of transformers.

`name` is a hub id, a local folder or `package:NAME/folder`; `weights` is blank, such a folder too,
or `random` (the architecture and tokenizer of `name`, untrained). The column `layers` is `last`
(default), `all`, or a comma list of indexes of hidden states: 0 is the embedding of the tokens,
i the output of block i. `pool` is `mean` over the text's tokens (default), `cls` (the first) or
`last` (the last). Remote code is run only if `trust_remote_code` is `yes`.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils.logging import (
    disable_progress_bar,
    enable_progress_bar,
    is_progress_bar_enabled,
)

from consilience.datasets import Sample
from consilience.errors import DataError
from consilience.models import _weights
from consilience.registry import did_you_mean

PACKAGES = ("transformers", "tokenizers", "torch")
POOLS = ("mean", "cls", "last")
# Parts that encoders have but hidden states do not pass through.
_UNUSED = ("pooler", "lm_head", "cls.")


@dataclass(frozen=True)
class Tokens:
    """One text for the model: its inputs by name, and whether its end was cut off."""

    inputs: dict[str, list[int]]
    truncated: bool

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


class TextExtractor:
    """A text model that pools its hidden states over the tokens of each text.

    A text's features do not depend on the texts beside it: padding stands on the right (so that
    positions count from the text's start), is masked in attention and left out of the pooling.

    Args:
        model: the network; gives `hidden_states`.
        tokenizer: turns a text into the model's inputs.
        layers: indexes of hidden states by layer name.
        pool: `mean`, `cls` or `last`.
        provenance: what the source knows about the weights.
        device: where to compute.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,  # noqa: ANN401
        layers: Mapping[str, int],
        pool: str,
        provenance: Mapping[str, str],
        device: str,
    ) -> None:
        self._model = model.eval().to(device)
        self._tokenizer, self._indexes, self._pool, self._device = tokenizer, layers, pool, device
        self._limit = max_length(model.config, tokenizer)
        self.layers = tuple(layers)
        self.provenance = {
            **provenance,
            "transform": f"{type(tokenizer).__name__}, at most {self._limit} tokens",
            "pooling": pool,
            "truncated": "0",
        }

    def preprocess(self, sample: Sample) -> Tokens:
        """Returns the tokens of a text, cut at the model's maximum.

        Raises:
            DataError: the sample has no text, or the text has no tokens.
        """
        if sample.text is None:
            raise DataError(
                f"{sample.origin}: sample {sample.id!r} has no text; use an image model"
            )
        # Cut by hand: the tokenizer would not say that it did.
        whole = self._encode(sample.text)
        truncated = bool(self._limit) and len(whole["input_ids"]) > self._limit
        if truncated:
            whole = self._encode(sample.text, truncation=True, max_length=self._limit)
        if not whole["input_ids"]:
            raise DataError(f"{sample.origin}: the text of sample {sample.id!r} has no tokens")
        return Tokens(whole, truncated)

    def _encode(self, text: str, **options: Any) -> dict[str, list[int]]:  # noqa: ANN401
        encoded = self._tokenizer(text, verbose=False, **options)
        return {k: v for k, v in encoded.items() if k in ("input_ids", "token_type_ids")}

    def extract(self, batch: Sequence[Tokens]) -> dict[str, Tensor]:
        """Returns {layer: (b, d)} for b texts."""
        inputs, mask = self._pad(batch)
        with torch.inference_mode():
            states = self._model(
                **inputs, attention_mask=mask, output_hidden_states=True
            ).hidden_states
        found = {name: self._reduce(states[i], mask) for name, i in self._indexes.items()}
        cut = int(self.provenance["truncated"]) + sum(tokens.truncated for tokens in batch)
        self.provenance["truncated"] = str(cut)
        return found

    def _pad(self, batch: Sequence[Tokens]) -> tuple[dict[str, Tensor], Tensor]:
        width = max(len(tokens) for tokens in batch)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        padded = {key: torch.zeros_like(mask) for key in batch[0].inputs}
        padded["input_ids"] += self._tokenizer.pad_token_id or 0
        for row, tokens in enumerate(batch):
            mask[row, : len(tokens)] = 1
            for key, values in tokens.inputs.items():
                padded[key][row, : len(tokens)] = torch.tensor(values)
        return {k: v.to(self._device) for k, v in padded.items()}, mask.to(self._device)

    def _reduce(self, states: Tensor, mask: Tensor) -> Tensor:
        """Returns (b, d) from hidden states (b, tokens, d) and their mask (b, tokens)."""
        states, lengths = states.float(), mask.sum(1)
        if self._pool == "cls":
            return states[:, 0]
        if self._pool == "last":
            return states[torch.arange(len(states), device=states.device), lengths - 1]
        # `where`, not a product: a state behind the text may be NaN, and 0 · NaN is NaN.
        kept = torch.where(mask[:, :, None].bool(), states, 0.0)
        return kept.sum(1) / lengths[:, None]


def max_length(config: Any, tokenizer: Any) -> int:  # noqa: ANN401
    """Returns the most tokens the model takes; 0 if nothing states a limit."""
    positions = getattr(config, "max_position_embeddings", None) or getattr(
        config, "n_positions", None
    )
    limits = []
    if isinstance(positions, int) and positions > 0:
        # RoBERTa's family counts positions from behind the padding index.
        offset = config.pad_token_id + 1 if _counts_from_padding(config) else 0
        limits.append(positions - offset)
    if tokenizer.model_max_length < 10**9:  # larger numbers mean "unknown"
        limits.append(int(tokenizer.model_max_length))
    return min(limits, default=0)


def _counts_from_padding(config: Any) -> bool:  # noqa: ANN401
    kinds = ("roberta", "camembert", "xlm-roberta", "mpnet", "longformer", "esm")
    return any(kind in config.model_type for kind in kinds) and config.pad_token_id is not None


def load(row: Mapping[str, Any], device: str = "cpu") -> TextExtractor:
    """Returns the extractor of a row with source `transformers`.

    Raises:
        ModelError: unknown name, layer or pool; weights that cannot be had or do not fit.
    """
    pool = _weights.cell(row, "pool", "mean")
    if pool not in POOLS:
        _weights.fail(row, f"unknown pool {pool!r}{did_you_mean(pool, POOLS)}")
    weights, place = _place(row)
    access = _weights.local if Path(place).is_dir() else _weights.hub
    options = {"trust_remote_code": _weights.cell(row, "trust_remote_code") == "yes"}
    if access is _weights.hub and _weights.cell(row, "revision"):
        options["revision"] = _weights.cell(row, "revision")
    with access(row, place):
        config = AutoConfig.from_pretrained(place, **options)
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
    model = _build(row, weights, place, access, {**options, "config": config})
    provenance = _weights.provenance(row, weights, model, PACKAGES)
    provenance["revision"] = getattr(model.config, "_commit_hash", None) or provenance["revision"]
    return TextExtractor(model, tokenizer, _layers(row, model), pool, provenance, device)


def _place(row: Mapping[str, Any]) -> tuple[_weights.Weights, str]:
    """Returns the weights asked for, and the folder or hub id that config and tokenizer are in."""
    weights, name = _weights.read_weights(row), _weights.cell(row, "name")
    if weights.tag:
        _weights.fail(row, f"weights {weights.tag!r} is neither `random` nor a local folder")
    if weights.path is None and _looks_local(name):
        found = _weights.local_weights(row, name, _weights.cell(row, "sha256"))
        place = found.path
        weights = weights if weights.seed is not None else found
    else:
        place = weights.path
    if place is None:
        return weights, name
    if not place.is_dir():
        _weights.fail(row, f"{place} is a file; transformers needs the folder with config.json")
    return weights, str(place)


def _looks_local(name: str) -> bool:
    return name.startswith(("package:", "/", "./", "../", "~")) or Path(name).is_dir()


def _build(
    row: Mapping[str, Any],
    weights: _weights.Weights,
    place: str,
    access: Callable[..., AbstractContextManager[None]],
    options: Mapping[str, Any],
) -> nn.Module:
    """Returns the (encoder of the) model; parts absent from the weights are drawn from a seed."""
    seed = weights.seed or "0"
    with access(row, place), _weights.seeded(seed, _weights.cell(row, "name")), _quiet():
        if weights.seed is not None:
            remote = {"trust_remote_code": options["trust_remote_code"]}
            model = AutoModel.from_config(options["config"], **remote).float()
        else:
            model, report = AutoModel.from_pretrained(
                place, dtype=torch.float32, output_loading_info=True, **options
            )
            _check_report(row, place, report)
    return model.get_encoder() if model.config.is_encoder_decoder else model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the library's progress bars out of logs; a terminal still shows them."""
    silence = is_progress_bar_enabled() and not sys.stderr.isatty()
    if silence:
        disable_progress_bar()
    try:
        yield
    finally:
        if silence:
            enable_progress_bar()


def _check_report(row: Mapping[str, Any], place: str, report: Mapping[str, Any]) -> None:
    """Raises if weights were left at random values, which the library only warns about."""
    lost = sorted(str(k) for k in report.get("missing_keys", ()) if not _unused(str(k)))
    lost += sorted(str(k) for k in report.get("mismatched_keys", ()))
    if lost:
        _weights.fail(
            row,
            f"{place} lacks {len(lost)} weights of its own architecture ({', '.join(lost[:3])}); "
            "the file is damaged or belongs to another config.json",
        )


def _unused(key: str) -> bool:
    return any(part in key for part in _UNUSED)


def _layers(row: Mapping[str, Any], model: nn.Module) -> dict[str, int]:
    depth = _depth(row, model)
    names = _weights.names_in(row, "layers") or ["last"]
    if names == ["all"]:
        return {f"layer_{i}": i for i in range(depth + 1)}
    indexes = []
    for name in names:
        index = depth if name == "last" else int(name) if name.isdecimal() else -1
        if not 0 <= index <= depth:
            _weights.fail(row, f"no hidden state {name!r}; write 0 to {depth}, last or all")
        indexes.append(index)
    return {f"layer_{i}": i for i in sorted(set(indexes))}


def _depth(row: Mapping[str, Any], model: nn.Module) -> int:
    depth = getattr(model.config, "num_hidden_layers", None)
    if not isinstance(depth, int):
        _weights.fail(row, f"{type(model).__name__} does not say how many layers it has")
    return depth
