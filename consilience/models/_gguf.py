"""Language models in GGUF files: one file with settings, vocabulary and (packed) weights.

Read with NumPy alone; nothing in the file is executed. Weights are unpacked to float32, so that a
model has the values that its packed form stands for.
"""

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from consilience.errors import RefusedError
from consilience.limits import hold
from consilience.limits.networks import check_config
from consilience.limits.reading import regular
from consilience.models import _weights

_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_SPECIAL = 3
_AXES = 4
_PRE = ("smollm",)
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _halves(block: np.ndarray) -> np.ndarray:
    """Returns (blocks, 32) numbers of 4 bits: the low halves of 16 bytes, then the high ones."""
    return np.concatenate([block & 15, block >> 4], axis=1).astype(np.float32)


def _float16(block: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(block).view("<f2").astype(np.float32)


def _bfloat16(block: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(block).view("<u2").astype(np.uint32) << 16).view(np.float32)


def _signed_bytes(block: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(block).view(np.int8).astype(np.float32)


_NEEDED = {
    "tokenizer.ggml.tokens": list,
    "tokenizer.ggml.merges": list,
    "tokenizer.ggml.token_type": list,
    "tokenizer.ggml.eos_token_id": int,
    "llama.attention.head_count": int,
    "llama.embedding_length": int,
    "llama.feed_forward_length": int,
    "llama.block_count": int,
    "llama.context_length": int,
    "llama.attention.layer_norm_rms_epsilon": float,
}
"""Settings that there must be, and of which kind."""


# For each packing: values per block, bytes per block, and how (blocks, bytes) become values.
_PACKINGS: dict[int, tuple[int, int, Callable[[np.ndarray], np.ndarray]]] = {
    0: (1, 4, lambda b: b.view("<f4")),
    1: (1, 2, _float16),
    2: (32, 18, lambda b: _float16(b[:, :2]) * (_halves(b[:, 2:]) - 8)),
    3: (32, 20, lambda b: _float16(b[:, :2]) * _halves(b[:, 4:]) + _float16(b[:, 2:4])),
    8: (32, 34, lambda b: _float16(b[:, :2]) * _signed_bytes(b[:, 2:])),
    30: (1, 2, _bfloat16),
}


@dataclass
class _Reader:
    """Walks through the head of a file."""

    data: np.memmap
    at: int = 0

    def take(self, form: str) -> Any:  # noqa: ANN401
        value = struct.unpack_from(f"<{form}", self.data, self.at)[0]
        self.at += struct.calcsize(f"<{form}")
        return value

    def count(self, what: str) -> int:
        """Returns a number of things that follow, each of which takes a byte or more."""
        found, left = self.take("Q"), len(self.data) - self.at
        if found > left:
            raise ValueError(f"it declares {found:,} {what} and has {left:,} bytes left")
        return found

    def text(self) -> str:
        size = self.count("bytes of a text")
        self.at += size
        return bytes(self.data[self.at - size : self.at]).decode("utf8")

    def value(self, kind: int, depth: int = 1) -> Any:  # noqa: ANN401
        if kind == _TEXT:
            return self.text()
        if kind in _SCALARS:
            return self.take(_SCALARS[kind])
        if kind != _LIST:
            raise ValueError(f"a setting is of the type {kind}, which there is not")
        hold("depth", depth, "it", "lists in one another, or more")
        inner, count = self.take("I"), self.count("entries of a list")
        hold("entries", count, "it", "entries of a list")
        return [self.value(inner, depth + 1) for _ in range(count)]


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the settings of a GGUF file, and its tensors by name, unpacked to float32.

    Raises:
        ValueError: the file is not GGUF, or a tensor is packed in a way that is not known here.
        RefusedError: it nests or counts more than the limits.
    """
    reader = _Reader(np.memmap(regular(path), np.uint8, "r"))
    if bytes(reader.data[:4]) != b"GGUF":
        raise ValueError("not a GGUF file")
    reader.at = 4
    version = reader.take("I")
    if version not in (2, 3):
        raise ValueError(f"GGUF version {version}; 2 and 3 are known")
    tensors, entries = reader.count("tensors"), reader.count("settings")
    settings: dict[str, Any] = {}
    for _ in range(entries):
        key = reader.text()
        if key in settings:
            raise ValueError(f"the setting {key!r} is there twice")
        settings[key] = reader.value(reader.take("I"))
    heads: dict[str, tuple[list[int], int, int]] = {}
    for _ in range(tensors):
        name = reader.text()
        if (axes := reader.take("I")) > _AXES or name in heads:
            raise ValueError(f"tensor {name!r} has {axes} axes, or is there twice")
        shape = [reader.take("Q") for _ in range(axes)][::-1]
        heads[name] = shape, reader.take("I"), reader.take("Q")
    step = settings.get("general.alignment", 32)
    if not isinstance(step, int) or not 1 <= step <= 1 << 20:
        raise ValueError(f"general.alignment is {str(step)[:20]!r}, no number of bytes")
    start = -(-reader.at // step) * step
    return settings, {
        name: _unpack(reader.data, name, shape, kind, start + offset)
        for name, (shape, kind, offset) in heads.items()
    }


def _unpack(data: np.ndarray, name: str, shape: list[int], kind: int, start: int) -> np.ndarray:
    if kind not in _PACKINGS:
        known = ", ".join(map(str, _PACKINGS))
        raise ValueError(f"tensor {name!r} is packed as type {kind}; known types: {known}")
    values, size, unpack = _PACKINGS[kind]
    blocks = math.prod(shape) // values
    packed = data[start : start + blocks * size]
    if len(packed) < blocks * size:
        raise ValueError(f"the file ends inside tensor {name!r}")
    return unpack(packed.reshape(blocks, size)).reshape(shape)


def load(
    row: Mapping[str, Any], path: Path, seed: str | None = None
) -> tuple[nn.Module, PreTrainedTokenizerFast]:
    """Returns the language model and the tokenizer of a GGUF file.

    Args:
        row: row of models.tsv.
        path: the file.
        seed: draw the weights from it instead of reading them.

    Raises:
        ModelError: the file is damaged or of another kind than Llama's with a byte-level tokenizer.
    """
    try:
        settings, tensors = read_gguf(path)
    except (ValueError, KeyError, struct.error, RefusedError) as error:
        _weights.fail(row, f"{path} cannot be read: {error}; use safetensors, or another GGUF file")
    kinds = (settings.get("general.architecture"), settings.get("tokenizer.ggml.model"))
    if kinds != ("llama", "gpt2") or settings.get("tokenizer.ggml.pre") not in _PRE:
        _refuse(row, path, settings)
    _check_settings(row, path, settings)
    with _weights.local(row, str(path)):
        config = _config(settings, tied="output.weight" not in tensors)
        if seed is not None:
            with _weights.seeded(seed, _weights.cell(row, "name")):
                return LlamaForCausalLM(config), _tokenizer(settings)
        return _filled(row, path, config, _state(tensors, config)), _tokenizer(settings)


def _check_settings(row: Mapping[str, Any], path: Path, settings: Mapping[str, Any]) -> None:
    """Raises ModelError unless all settings are there that network and tokenizer need."""
    for key, kind in _NEEDED.items():
        found = settings.get(key)
        of_texts = kind is not list or key.endswith("type") or _are(found, str)
        if not isinstance(found, kind) or not of_texts:
            what = "lacks the setting" if found is None else "has another kind of value as"
            _weights.fail(row, f"{path} {what} {key}; use safetensors, or another GGUF file")
    place = f"model {row.get('model', '')!r}: {path}"
    check_config({key: one for key, one in settings.items() if isinstance(one, int)}, place)


def _are(found: Any, kind: type) -> bool:  # noqa: ANN401
    return isinstance(found, list) and all(isinstance(one, kind) for one in found)


def _filled(
    row: Mapping[str, Any], path: Path, config: LlamaConfig, state: dict[str, torch.Tensor]
) -> nn.Module:
    """Returns the network with the weights of a file, all of them or none."""
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        _weights.fail(row, f"{path} does not fit its own settings: {' '.join(str(error).split())}")
    model.tie_weights()
    # What a file does not hold but the network computes for itself: the angles of positions.
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config)
    return model


def _refuse(row: Mapping[str, Any], path: Path, settings: Mapping[str, Any]) -> NoReturn:
    found = [settings.get(f"{key}") for key in ("general.architecture", "tokenizer.ggml.pre")]
    _weights.fail(
        row,
        f"{path} holds a model {found[0]!r} with a tokenizer {found[1]!r}; of GGUF files only "
        f"'llama' with {', '.join(_PRE)} is read: use the model's safetensors",
    )


def _config(settings: Mapping[str, Any], *, tied: bool) -> LlamaConfig:
    def get(key: str, default: Any = None) -> Any:  # noqa: ANN401
        return settings.get(f"llama.{key}", default)

    heads = get("attention.head_count")
    return LlamaConfig(
        vocab_size=len(settings["tokenizer.ggml.tokens"]),
        hidden_size=get("embedding_length"),
        intermediate_size=get("feed_forward_length"),
        num_hidden_layers=get("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=get("attention.head_count_kv", heads),
        max_position_embeddings=get("context_length"),
        rms_norm_eps=get("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": get("rope.freq_base", 10000.0)},
        tie_word_embeddings=tied,
        architectures=["LlamaForCausalLM"],
    )


def _state(tensors: Mapping[str, np.ndarray], config: LlamaConfig) -> dict[str, torch.Tensor]:
    """Returns the tensors under the library's names."""
    state = {}
    for name, packed in tensors.items():
        *block, part, end = name.split(".")
        x = packed
        if part in ("attn_q", "attn_k"):
            heads = config.num_attention_heads if part == "attn_q" else config.num_key_value_heads
            # GGUF interleaves the two halves that position angles turn.
            x = x.reshape(heads, x.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(x.shape)
        names = _BLOCK if block else _TOP
        place = f"model.layers.{block[1]}." if block else ""
        # an unknown part keeps its name: the check of what fits then names it
        state[f"{place}{names.get(part, part)}.{end}"] = torch.from_numpy(np.array(x, np.float32))
    return state


def _tokenizer(settings: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    tokens = settings["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in settings["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = settings["tokenizer.ggml.token_type"]
    special = [t for t, kind in zip(tokens, kinds, strict=True) if kind == _SPECIAL]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    end = settings["tokenizer.ggml.eos_token_id"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=tokens[end])
