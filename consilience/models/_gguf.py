"""Language models in GGUF files: one file with settings, vocabulary and (packed) weights.

Read with NumPy alone; nothing in the file is executed. Weights are unpacked to float32, so that a
model has the values that its packed form stands for.
"""

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

from consilience.models import _weights

_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_SPECIAL = 3
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

    def text(self) -> str:
        size = self.take("Q")
        self.at += size
        return bytes(self.data[self.at - size : self.at]).decode("utf8")

    def value(self, kind: int) -> Any:  # noqa: ANN401
        if kind == _TEXT:
            return self.text()
        if kind != _LIST:
            return self.take(_SCALARS[kind])
        inner = self.take("I")
        return [self.value(inner) for _ in range(self.take("Q"))]


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the settings of a GGUF file, and its tensors by name, unpacked to float32.

    Raises:
        ValueError: the file is not GGUF, or a tensor is packed in a way that is not known here.
    """
    reader = _Reader(np.memmap(path, np.uint8, "r"))
    if bytes(reader.data[:4]) != b"GGUF":
        raise ValueError("not a GGUF file")
    reader.at = 4
    version, tensors, entries = reader.take("I"), reader.take("Q"), reader.take("Q")
    if version not in (2, 3):
        raise ValueError(f"GGUF version {version}; 2 and 3 are known")
    settings = {}
    for _ in range(entries):
        key = reader.text()
        settings[key] = reader.value(reader.take("I"))
    heads = []
    for _ in range(tensors):
        name = reader.text()
        shape = [reader.take("Q") for _ in range(reader.take("I"))][::-1]
        heads.append((name, shape, reader.take("I"), reader.take("Q")))
    step = settings.get("general.alignment", 32)
    start = -(-reader.at // step) * step
    return settings, {
        name: _unpack(reader.data, name, shape, kind, start + offset)
        for name, shape, kind, offset in heads
    }


def _unpack(data: np.ndarray, name: str, shape: list[int], kind: int, start: int) -> np.ndarray:
    if kind not in _PACKINGS:
        known = ", ".join(map(str, _PACKINGS))
        raise ValueError(f"tensor {name!r} is packed as type {kind}; known types: {known}")
    values, size, unpack = _PACKINGS[kind]
    blocks = int(np.prod(shape)) // values
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
    except (ValueError, KeyError, struct.error) as error:
        _weights.fail(row, f"{path} cannot be read: {error}; use safetensors, or another GGUF file")
    kinds = (settings.get("general.architecture"), settings.get("tokenizer.ggml.model"))
    if kinds != ("llama", "gpt2") or settings.get("tokenizer.ggml.pre") not in _PRE:
        _refuse(row, path, settings)
    config = _config(settings, tied="output.weight" not in tensors)
    if seed is not None:
        with _weights.seeded(seed, _weights.cell(row, "name")):
            return LlamaForCausalLM(config), _tokenizer(settings)
    return _filled(row, path, config, _state(tensors, config)), _tokenizer(settings)


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
