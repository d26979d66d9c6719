"""Language models in GGUF files, written by the description of the format."""

import struct

import numpy as np


def packed(x, kind):
    """Returns the bytes of x in a packing, and the values that they stand for."""
    if kind == 0:
        return x.astype("<f4").tobytes(), x
    if kind == 1:
        return x.astype("<f2").tobytes(), x.astype(np.float16).astype(np.float32)
    if kind == 30:
        bits = (x.astype("<f4").view("<u4") >> 16).astype("<u2")
        return bits.tobytes(), (bits.astype("<u4") << 16).view("<f4")
    out, values = b"", []
    for block in x.reshape(-1, 32):
        low, high = block.min(), block.max()
        if kind == 8:
            d = np.float16(abs(block).max() / 127)
            q = np.round(block / np.float32(d)).clip(-127, 127).astype(np.int8)
            out += d.tobytes() + q.tobytes()
            values.append(np.float32(d) * q)
            continue
        d = np.float16((high - low) / 15)
        m = np.float16(low) if kind == 3 else np.float16(0)
        q = np.round((block - low) / np.float32(d)).clip(0, 15).astype(np.uint8)
        out += d.tobytes() + (m.tobytes() if kind == 3 else b"")
        out += (q[:16] | q[16:] << 4).tobytes()
        values.append(np.float32(d) * (q.astype(np.float32) - (0 if kind == 3 else 8)) + m)
    return out, np.concatenate(values).reshape(x.shape)


def field(value):
    """Returns type and bytes of one setting."""
    if isinstance(value, str):
        return struct.pack("<I", 8) + text_field(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    kind = 8 if isinstance(value[0], str) else 5
    items = b"".join(text_field(v) if kind == 8 else struct.pack("<i", v) for v in value)
    return struct.pack("<IIQ", 9, kind, len(value)) + items


def text_field(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def write_gguf(path, settings, tensors):
    """Writes {name: (array, packing)}; returns the values that the file stands for."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(settings))
    for key, value in settings.items():
        head += text_field(key) + field(value)
    body, values = b"", {}
    for name, (x, kind) in tensors.items():
        head += text_field(name) + struct.pack("<I", x.ndim)
        head += struct.pack(f"<{x.ndim}Q", *x.shape[::-1]) + struct.pack("<IQ", kind, len(body))
        content, values[name] = packed(x.astype(np.float32), kind)
        body += content + bytes(-len(content) % 32)
    path.write_bytes(head + bytes(-len(head) % 32) + body)
    return values


VOCABULARY = [*"abcdefghijklmnopqrstuvwxyz", "Ġ", "ca", "cat", "Ġs", "<|end|>", "<|start|>"]
GGUF_SETTINGS = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 32,
    "llama.feed_forward_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 5000.0,
    "llama.context_length": 50,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": VOCABULARY,
    "tokenizer.ggml.token_type": [1] * 30 + [3, 3],
    "tokenizer.ggml.merges": ["c a", "ca t", "Ġ s"],
    "tokenizer.ggml.eos_token_id": 30,
}


def gguf_tensors(kind, *, tied=True):
    rng = np.random.default_rng(9)
    shapes = {"attn_q": 32, "attn_k": 16, "attn_v": 16, "attn_output": 32}
    tensors = {"token_embd.weight": (rng.normal(size=(32, 32)), kind)}
    for i in range(2):
        for name, rows in shapes.items():
            tensors[f"blk.{i}.{name}.weight"] = (rng.normal(size=(rows, 32)) / 3, kind)
        for name, shape in {"gate": (64, 32), "up": (64, 32), "down": (32, 64)}.items():
            tensors[f"blk.{i}.ffn_{name}.weight"] = (rng.normal(size=shape) / 3, kind)
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{i}.{name}.weight"] = (rng.uniform(0.5, 1.5, 32), 0)
    tensors["output_norm.weight"] = (rng.uniform(0.5, 1.5, 32), 0)
    if not tied:
        tensors["output.weight"] = (rng.normal(size=(32, 32)), kind)
    return tensors
