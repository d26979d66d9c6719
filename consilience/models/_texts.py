"""Texts through a network: tokens, padding, pooling, and how well a language model predicts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from consilience.datasets import Sample
from consilience.errors import DataError, ModelError
from consilience.models import reading
from consilience.models._blocks import BlockStates
from consilience.models._pooling import pool_tokens
from consilience.models._sending import sent
from consilience.models._sentences import Declared, prompt_tokens
from consilience.models._weights import state_digest

POOLS = ("mean", "cls", "last")
"""What the column `pool` may say."""
EMBEDDING = "embedding"
"""The layer of a two-tower model that both towers share, and the vector of a model that declares
learned parts behind pooling."""
LOSS = "loss"
_INPUTS = ("input_ids", "token_type_ids")


@dataclass(frozen=True)
class Tokens:
    """One text for the model: its inputs by name, and whether its end was cut off."""

    inputs: dict[str, list[int]]
    truncated: bool

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


@dataclass(frozen=True)
class TextRules:
    """How texts become the inputs of a network, and its states one vector each."""

    pool: str = "mean"
    """`mean` over tokens, `cls` (the first token) or `last` (the last token)."""
    limit: int = 0
    """The most tokens of a text; longer ones are cut and counted. 0: none are cut."""
    width: int = 0
    """Pad every text to so many tokens and let them all be attended to, for networks that were
    trained so; 0: pad to the longest of the batch, and mask."""
    predicts: bool = False
    """Whether the network predicts each token from those before it, so that there is a loss."""
    declared: Declared = field(default_factory=Declared)
    """What the model itself says of pooling and prompt; where it says nothing, `pool` counts."""
    vector: str = ""
    """The layer that is the declared vector: the last state, pooled, and what follows that."""


class TextExtractor:
    """A text model that pools its hidden states over the tokens of each text.

    A text's features do not depend on the texts beside it: padding stands on the right, whatever
    side the tokenizer prefers, so that positions count from the text's start; it is masked in
    attention and left out of pooling and loss. With `apart` set, for networks that padding reaches
    all the same, only texts of one length go through the network together.

    Args:
        model: the network; gives `hidden_states`, and `logits` if it predicts tokens.
        tokenizer: turns a text into the model's inputs.
        layers: indexes of hidden states by layer name; None for the tower's embedding.
        rules: what is done to texts and states.
        provenance: what the source knows about the weights.
        device: where the inputs go; the network is there already.
        blocks: reads the states off the blocks, where the network's own list is not theirs.
    """

    inputs = "texts"

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,  # noqa: ANN401
        layers: Mapping[str, int | None],
        rules: TextRules,
        provenance: Mapping[str, str],
        device: str | torch.device,
        blocks: BlockStates | None = None,
    ) -> None:
        self._model, self._tokenizer, self._indexes = model.eval(), tokenizer, layers
        self._rules, self._device = rules, device
        self._blocks, self.apart = blocks, False
        self.layers = tuple(layers)
        self.outputs = (LOSS,) if rules.predicts else ()
        declared = rules.declared
        self._modes = declared.modes or (rules.pool,)
        self._after = declared.after and declared.after.to(device)
        unpooled = declared.prompt and not declared.prompt_pooled
        self._skip = prompt_tokens(tokenizer, declared.prompt) if unpooled else 0
        self.provenance = {**provenance, **_described(tokenizer, rules), "truncated": "0"}

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode."""
        return self._model

    def size(self, tokens: Tokens) -> int:
        """Returns the number of tokens, by which texts are sorted into batches."""
        return self._rules.width or len(tokens)

    def preprocess(self, sample: Sample) -> Tokens:
        """Returns the tokens of a text, cut at the limit.

        Raises:
            DataError: the sample has no text, or the text has no tokens.
        """
        if sample.text is None:
            raise DataError(
                f"{sample.origin}: sample {sample.id!r} has no text; use an image model"
            )
        # Cut by hand: the tokenizer would not say that it did.
        text, limit = self._rules.declared.prompt + sample.text, self._rules.limit
        whole = self._encode(text)
        truncated = bool(limit) and len(whole["input_ids"]) > limit
        if truncated:
            whole = self._encode(text, truncation=True, max_length=limit)
        if not whole["input_ids"]:
            raise DataError(f"{sample.origin}: the text of sample {sample.id!r} has no tokens")
        return Tokens(whole, truncated)

    def _encode(self, text: str, **options: Any) -> dict[str, list[int]]:  # noqa: ANN401
        encoded = self._tokenizer(text, verbose=False, **options)
        return {k: v for k, v in encoded.items() if k in _INPUTS}

    def extract(self, batch: Sequence[Tokens]) -> dict[str, Tensor]:
        """Returns {layer: (b, d)} for b texts, and `loss` (b, 2) if the network predicts tokens."""
        if self.apart and len({len(tokens) for tokens in batch}) > 1:
            return by_length(self.extract, batch)
        inputs, mask = self._pad(batch)
        with torch.inference_mode():
            out = self._run(inputs, mask)
            states = out.hidden_states if self._blocks is None else self._blocks.of(out)
            found = {name: self._layer(out, states, name, mask) for name in self._indexes}
            if LOSS in self.outputs:
                found[LOSS] = prediction_loss(out.logits, inputs["input_ids"], mask)
        cut = int(self.provenance["truncated"]) + sum(tokens.truncated for tokens in batch)
        self.provenance["truncated"] = str(cut)
        return found

    def _run(self, inputs: Mapping[str, Tensor], mask: Tensor) -> Any:  # noqa: ANN401
        attention = {} if self._rules.width else {"attention_mask": mask}
        with reading(
            f"texts of {mask.shape[1]} tokens", "set max_length to fewer, or leave such texts out"
        ):
            return self._model(**inputs, **attention, output_hidden_states=True)

    def looks_ahead(self, text: Tokens) -> float:
        """Returns how far predictions move when only a token behind them changes.

        That is the norm of the difference as a share of the norm of the scores (tokens − 1,
        vocabulary) before the last token. Where they move, a network sees what it is to predict.
        """
        inputs, mask = self._pad([text, text])
        ids = inputs["input_ids"]
        ids[1, len(text) - 1] = next((i for i in ids[0] if i != ids[0, len(text) - 1]), 0)
        with torch.inference_mode():
            one, other = self._run(inputs, mask).logits[:, : len(text) - 1].double()
        return float((one - other).norm() / one.norm().clamp_min(1e-30))

    def drop_loss(self) -> None:
        """Leaves the loss out from now on."""
        self.outputs = tuple(name for name in self.outputs if name != LOSS)

    def _pad(self, batch: Sequence[Tokens]) -> tuple[dict[str, Tensor], Tensor]:
        width = self._rules.width or max(len(tokens) for tokens in batch)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        padded = {key: torch.zeros_like(mask) for key in batch[0].inputs}
        padded["input_ids"] += self._tokenizer.pad_token_id or 0
        for row, tokens in enumerate(batch):
            mask[row, : len(tokens)] = 1
            for key, values in tokens.inputs.items():
                padded[key][row, : len(tokens)] = torch.tensor(values)
        return {k: sent(v, self._device) for k, v in padded.items()}, sent(mask, self._device)

    def _layer(self, out: Any, states: Sequence[Tensor], name: str, mask: Tensor) -> Tensor:  # noqa: ANN401
        """Returns (b, d) of a layer, from what a pass put out and its hidden states.

        Raises:
            ModelError: its states are not those of the tokens, as where networks join characters.
        """
        index = self._indexes[name]
        if index is None:
            return out.pooler_output
        state = states[index]
        if name == self._rules.vector:
            # behind a final norm that the list of states may lack
            state = getattr(out, "last_hidden_state", state)
        if state.shape[:2] != mask.shape:
            raise ModelError(
                f"layer {name!r} gives {state.shape[1]} states for {mask.shape[1]} tokens, and "
                "nothing says which of them belong to a text; choose another layer"
            )
        # Layers may lie on several devices.
        pooled = pool_tokens(state, mask.to(state.device), self._modes, self._skip)
        if name != self._rules.vector or self._after is None:
            return pooled
        with reading(
            f"vectors of width {pooled.shape[1]}", "correct modules.json, or write `pool`"
        ):
            return self._after(pooled.to(self._device))


def by_length(
    extract: Callable[[Sequence[Any]], Mapping[str, Tensor]], batch: Sequence[Any]
) -> dict[str, Tensor]:
    """Returns what `extract` makes of texts, from one pass for each length.

    Args:
        extract: gives {layer: (b, d)} of b texts.
        batch: texts of several lengths.
    """
    lengths = torch.tensor([len(tokens) for tokens in batch])
    places = [torch.nonzero(lengths == n)[:, 0] for n in lengths.unique()]
    parts = [extract([batch[i] for i in rows]) for rows in places]
    order = torch.argsort(torch.cat(places))
    return {
        name: torch.cat([part[name] for part in parts])[order.to(parts[0][name].device)]
        for name in parts[0]
    }


def _described(tokenizer: Any, rules: TextRules) -> dict[str, str]:  # noqa: ANN401
    """Returns what the header says of how texts become vectors."""
    cut = f"at most {rules.limit} tokens" if rules.limit else "whole texts"
    found = {
        "transform": f"{type(tokenizer).__name__}, {cut}, padded on the right",
        "pooling": rules.pool,
    }
    if not rules.declared.modes:
        return found
    found["pooling"] = "+".join(rules.declared.modes)
    found["declared"] = f"{rules.vector}: {rules.declared} (of modules.json)"
    if rules.declared.prompt:
        pooled = "" if rules.declared.prompt_pooled else ", left out of pooling"
        found["transform"] += f", behind {rules.declared.prompt!r}{pooled}"
    if rules.declared.learned:
        found["declared_sha256"] = state_digest(rules.declared.after)
    return found


def prediction_loss(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Returns (b, 2): the summed negative log-likelihood in nats, and how many tokens it is of.

    Args:
        logits: (b, tokens, vocabulary); those at one token predict the next.
        ids: (b, tokens) the tokens.
        mask: (b, tokens) 1 for tokens of the text, which come first.

    The first token of a text is not predicted, so a text of one token has the sum 0 over 0 tokens.
    """
    rows = []
    for scores, tokens, length in zip(logits, ids.to(logits.device), mask.sum(1), strict=True):
        count = int(length) - 1
        scores, wanted = scores[:count].float(), tokens[1 : count + 1]  # noqa: PLW2901
        surprise = torch.logsumexp(scores, 1) - scores.gather(1, wanted[:, None])[:, 0]
        total = surprise.double().sum()
        rows.append(torch.stack([total, torch.full_like(total, count)]))
    return torch.stack(rows).float()


def text_limit(
    network: nn.Module,
    tokenizer: Any,  # noqa: ANN401
    wanted: int = 0,
    declared: int = 0,
) -> int:
    """Returns the most tokens of a text; 0 if unlimited.

    That is what the row has `wanted`, the tokenizer's limit or the one that the model has
    `declared` in its place, and what the network's positions allow: the least of them.
    """
    config = network.config
    positions = getattr(config, "max_position_embeddings", None) or getattr(
        config, "n_positions", None
    )
    limits = [wanted] if wanted else []
    if isinstance(positions, int) and positions > 0:
        limits.append(_places(network, positions))
    if declared:
        limits.append(declared)
    elif tokenizer.model_max_length < 10**9:  # larger numbers mean "unknown"
        limits.append(int(tokenizer.model_max_length))
    return min(limits, default=0)


def _places(network: nn.Module, positions: int) -> int:
    """Returns how many tokens a network of so many positions has places for.

    RoBERTa's family counts from behind the padding index, which its table of positions has then.
    """
    for name, module in network.named_modules():
        padding = getattr(module, "padding_idx", None)
        table = getattr(module, "weight", getattr(module, "weights", None))
        if padding is not None and table is not None and "position" in name.rpartition(".")[2]:
            return min(positions, len(table) - padding - 1)
    return positions


class TextTower(nn.Module):
    """The text side of a two-tower model, called like a text encoder.

    Its `pooler_output` is the embedding that both towers share.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.config = model, model.config.text_config

    def forward(self, **inputs: Any) -> Any:  # noqa: ANN401
        """Returns the text side's states and its embedding."""
        return self.model.get_text_features(**inputs, return_dict=True)
