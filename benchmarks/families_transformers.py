"""Tries one architecture of transformers, tiny and with random weights.

Texts: layers against what the blocks put out, features alone and beside a longer text, twice, and
the loss against the library's own, if earlier predictions do not move with the last token.
Pictures: states against the feature maps of the library's backbone where there is one, else against
means over the axes that the shapes of square pictures tell.

Prints one JSON line. `python benchmarks/families.py` calls this for every architecture.

Usage: python benchmarks/families_transformers.py KIND NAME
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from families_common import LIMIT, Finding, far, picture_samples, stir
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers.models.auto import modeling_auto as auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from consilience.datasets import Sample
from consilience.errors import ConsilienceError
from consilience.models import load_model

WORDS = 60
TEXTS = ("b c d a", "a b c d e f g h i j k l m n o p q r s t u v w x y z a c")
SIDE, MOST_WEIGHTS = 96, 6e7
WIDTH, HEADS, DEPTH = 32, 4, 3
TINY: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "emb_dim", "dim"), WIDTH),
    **dict.fromkeys(("embedding_size", "word_embed_proj_dim", "rnn_hidden_size"), WIDTH),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), DEPTH),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), DEPTH),
    **dict.fromkeys(("num_encoder_layers", "num_decoder_layers"), DEPTH),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), HEADS),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_encoder_attention_heads", "num_decoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), HEADS),
    **dict.fromkeys(("head_dim", "d_kv", "d_head", "attention_head_size"), WIDTH // HEADS),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "d_inner", "n_inner"), 48),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_top_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 64),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"), 128),
    **dict.fromkeys(("image_size",), SIDE),
    **dict.fromkeys(("patch_size",), 16),
    **dict.fromkeys(("pad_token_id",), 0),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "decoder_start_token_id"), 1),
    **{"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4},
    **{"v_head_dim": 8, "projection_dim": 24, "rotary_dim": 4, "state_size": 8},
}
"""What makes a network small, for the settings that its config has."""
SPECIAL: dict[str, dict[str, Any]] = {
    "reformer": {"axial_pos_embds_dim": (8, 24), "axial_pos_shape": (8, 8), "is_decoder": True}
    | {"attn_layers": ["local", "lsh", "local"], "hidden_size": WIDTH},
    "xmod": {"default_language": "en_XX"},
    "mobilevitv2": {"patch_size": 2},
    "swin": {"window_size": 3},
    "donut-swin": {"window_size": 3},
    "funnel": {"block_sizes": [1, 1, 1], "num_decoder_layers": 1},
}
"""What single architectures need besides."""
SIDES = {"mobilenet_v2": 64}
"""Of pictures for networks with as many units as rows at the usual size."""
LEADING = {"yolos": 1}
"""Tokens before the positions, in networks that have others behind them."""
SEQUENCES = ("t5", "mt5", "umt5", "longt5", "switch_transformers", "bart", "mbart", "pegasus")
SEQUENCES += ("pegasus_x", "bigbird_pegasus", "led", "marian", "m2m_100", "plbart", "prophetnet")
SEQUENCES += ("blenderbot", "blenderbot-small", "mvp", "nllb-moe", "fsmt", "t5gemma")
CANINES = ("canine", "funnel", "clip", "siglip", "altclip", "chinese_clip", "clipseg", "align")
CANINES += ("metaclip_2", "owlvit", "blip", "splinter", "gte", "jina_embeddings_v3", "layoutlm")


def tiny(kind: str) -> Any:  # noqa: ANN401
    """Returns the config of an architecture with small settings."""
    return _tiny(CONFIG_MAPPING[kind], SPECIAL.get(kind, {}))


def _tiny(config: type, more: Mapping[str, Any]) -> Any:  # noqa: ANN401
    default = config()
    values = default.to_dict()
    known = set(values) | set(default.attribute_map)
    staged = {"depths", "hidden_sizes", "embed_dims", "embed_dim"} & known
    settings = {}
    for key, value in TINY.items():
        real = default.attribute_map.get(key, key)
        if key not in known or (real != key and real in TINY) or (staged and key != "image_size"):
            continue
        if isinstance(values.get(real), list | tuple) and key != "image_size":
            continue
        if key == "head_dim" and "qk_rope_head_dim" in known:  # made of two parts
            continue
        several = isinstance(values.get(real), list | tuple)
        settings[key] = [value] * len(values[real]) if several else value
    for key, inner in config.sub_configs.items():
        if hasattr(inner, "to_dict") and inner is not transformers.AutoConfig:
            settings[key] = _tiny(inner, more.get(key, {})).to_dict()
    settings |= {key: value for key, value in more.items() if key not in config.sub_configs}
    return config(**settings)


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Returns a tokenizer that makes one token of each word."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[EOS]", "[UNK]", *letters, *(f"w{i}" for i in range(WORDS - 29))]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]", model_max_length=64
    )


def save(kind: str, reader: Any, head: str) -> str:  # noqa: ANN401
    """Returns a folder with a tiny network of random weights and its tokenizer or processor."""
    folder = tempfile.mkdtemp()
    make = getattr(transformers, head)
    make = make.from_config if head.startswith("Auto") else make
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in make(tiny(kind)).parameters())
    if weights > MOST_WEIGHTS:
        raise ValueError(f"not made small by general settings: {weights / 1e6:.0f} M weights")
    torch.manual_seed(0)
    network = make(tiny(kind)).float().eval()
    stir(network)
    network.save_pretrained(folder)
    reader.save_pretrained(folder)
    return folder


def try_text(kind: str, head: str) -> Finding:
    """Returns what comes of a text network; `head` is AutoModel or the class to save it as."""
    with torch.no_grad():
        row = {"model": kind, "source": "transformers", "name": save(kind, tokenizer(), head)}
    row |= {"modality": "text", "layers": "all"}
    try:
        try:
            extractor = load_model(row)
        except ConsilienceError as error:
            if "write last" not in str(error):
                raise
            extractor = load_model({**row, "layers": "last"})
        short, long = (
            extractor.preprocess(Sample(id="t", origin="t", split="", text=text)) for text in TEXTS
        )
        alone = extractor.extract([short])
        checks = {
            "again": extractor.extract([short]),
            "beside": {name: x[:1] for name, x in extractor.extract([short, long]).items()},
        }
        found = extractor.extract([long])
    except ConsilienceError as error:
        return Finding("refused", str(error))
    wrong = [
        f"{layer} {what} by {far(x[layer], values):.1e}"
        for what, x in checks.items()
        for layer, values in alone.items()
        if far(x[layer], values) > LIMIT
    ]
    network = extractor.network
    network = getattr(network, "model", network) if "get_text" in str(type(network)) else network
    inputs, mask = extractor._pad([long])
    ids = torch.tensor([long.inputs["input_ids"]])
    placed, more = places(network, inputs, mask, found)
    wrong += more
    if "loss" in found:
        wrong += losses(network, ids, found["loss"][0])
    text = f"{len(extractor.layers)} states, {placed} compared with their blocks"
    text += ", loss" if "loss" in found else ""
    if not placed and extractor.layers != ("last",):
        wrong.append("no block was found")
    if extractor.layers == ("last",):
        text = "`last` only"
    return Finding("wrong" if wrong else "right", "; ".join([text, *wrong[:4]]))


def places(
    network: nn.Module, inputs: Mapping[str, Tensor], mask: Tensor, found: Mapping[str, Tensor]
) -> tuple[int, list[str]]:
    """Returns how many layers were compared with the outputs of their blocks, and what differs.

    Blocks are the calls of members of a list of modules, of which there are as many as states less
    one; the last state may be behind a norm.
    """
    lists = [m for m in network.modules() if isinstance(m, nn.ModuleList)]
    calls: dict[int, list[Tensor]] = {}
    hooks = []
    for holder in lists:
        for member in holder:

            def note(_m: nn.Module, _a: Any, out: Any, to: int = id(holder)) -> None:  # noqa: ANN401
                first = out if isinstance(out, Tensor) else next(iter(out), None)
                if isinstance(first, Tensor) and first.ndim == 3:
                    state = first if first.shape[1] == mask.shape[1] else first.transpose(0, 1)
                    kept = state[:, : int(mask.sum())].float().mean(1)
                    calls.setdefault(to, []).append(kept)

            hooks.append(member.register_forward_hook(note))
    with torch.inference_mode():
        network(**inputs, attention_mask=mask)
    for hook in hooks:
        hook.remove()
    names = [name for name in found if name.startswith("layer_") and name != "layer_0"]
    fitting = [c for c in calls.values() if len(c) == len(names)]
    best: list[str] = [] if fitting else ["no list with as many calls"]
    count = 0
    for one in fitting:
        off = [
            f"layer_{i} is not its block's ({far(found[f'layer_{i}'], one[i - 1]):.1e})"
            for i in range(1, len(names))
            if far(found[f"layer_{i}"], one[i - 1]) > LIMIT
        ]
        if not count or len(off) < len(best):
            best, count = off, len(names) - 1
    return count - len(best) if fitting else 0, best if names else []


def losses(network: nn.Module, ids: Tensor, loss: Tensor) -> list[str]:
    """Returns what is wrong with a loss: its value, its count, or that it sees the future."""
    other = ids.clone()
    other[0, -1] = 3
    with torch.inference_mode():
        logits = network(input_ids=ids).logits
        moved = far(network(input_ids=other).logits[:, :-1], logits[:, :-1])
    scores = torch.log_softmax(logits[0, :-1].double(), -1)
    wanted = -scores[torch.arange(len(scores)), ids[0, 1:]].sum()
    wrong = [f"earlier predictions move by {moved:.1e}"] if moved > LIMIT else []
    if far(loss[0], wanted) > LIMIT or int(loss[1]) != ids.shape[1] - 1:
        wrong.append(f"loss {loss.tolist()} for {float(wanted)}")
    return wrong


def try_image(kind: str) -> Finding:
    """Returns what comes of an image network."""
    side = SIDES.get(kind, SIDE)
    processor = transformers.ViTImageProcessor(size={"height": side, "width": side})
    with torch.no_grad():
        row = {"model": kind, "source": "transformers", "name": save(kind, processor, "AutoModel")}
    row |= {"modality": "image", "layers": "all,last", "pool": "mean"}
    try:
        try:
            extractor = load_model(row)
        except ConsilienceError as error:
            if "no hidden state" not in str(error):
                raise
            extractor = load_model({**row, "layers": "last"})
        inputs = [extractor.preprocess(sample) for sample in picture_samples(2)]
        found = extractor.extract(inputs)
        alone, again = extractor.extract(inputs[:1]), extractor.extract(inputs[:1])
    except ConsilienceError as error:
        return Finding("refused", str(error))
    wrong = [
        f"{layer} {what} by {far(x[layer], alone[layer]):.1e}"
        for what, x in (("again", again), ("beside", {k: v[:1] for k, v in found.items()}))
        for layer in alone
        if far(x[layer], alone[layer]) > LIMIT
    ]
    maps = backbone_maps(kind, row["name"], torch.stack(list(inputs)))
    leading = LEADING.get(kind)
    shaped = extractor.look(inputs, lambda x: mean_by_shape(x, leading))
    listed = 0
    for layer, values in found.items():
        if any(far(values, one) <= LIMIT for one in maps):
            listed += 1
        elif shaped[layer] is None or far(values, shaped[layer]) > LIMIT:
            wrong.append(f"{layer} {tuple(values.shape)} is not the mean over positions")
    text = f"{len(found)} states, {listed} as the backbone's maps, the others by shape"
    if not maps:
        text = f"{len(found)} states, by shape"
    return Finding("wrong" if wrong else "right", "; ".join([text, *wrong[:4]]))


def backbone_maps(kind: str, folder: str, images: Tensor) -> list[Tensor]:
    """Returns the means over positions of all maps of the library's backbone; none without one."""
    if kind not in auto.MODEL_FOR_BACKBONE_MAPPING_NAMES:
        return []
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        names = {"out_features": config.stage_names}
        if hasattr(config, "apply_layernorm"):
            names["apply_layernorm"] = False
        backbone = transformers.AutoBackbone.from_pretrained(folder, **names).eval()
        with torch.inference_mode():
            return [x.float().mean((2, 3)) for x in backbone(images).feature_maps]
    except Exception:  # a referee that fails says nothing of the product
        return []


def mean_by_shape(x: Tensor, leading: int | None = None) -> Tensor | None:
    """Returns the mean over the positions of an activation of a square picture.

    Tokens beyond the largest possible number of positions stand for none; they lead, but for those
    behind the positions where `leading` says how many lead.
    """
    if x.ndim == 2:
        return x
    if x.ndim == 4:
        _, first, middle, last = x.shape
        if (first == middle) == (middle == last):
            return None
        return x.float().mean((1, 2) if first == middle else (2, 3))
    if x.ndim != 3:
        return None
    tokens = x.shape[1]
    grids = [(SIDE // step) ** 2 for step in (1, 2, 4, 8, 16, 32, 64)]
    fit = [grid for grid in grids if grid <= tokens]
    if leading is not None:
        return x[:, leading : leading + (SIDE // TINY["patch_size"]) ** 2].float().mean(1)
    return x[:, tokens - max(fit) :].float().mean(1) if fit else None


def text_heads() -> list[tuple[str, str]]:
    """Returns (architecture, class to save it as) of all networks of texts."""
    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masked = auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    others = {
        **auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
        **auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    }
    bare = dict.fromkeys([*masked, *others])
    heads = [(kind, "AutoModel") for kind in bare]
    return heads + [(kind, head) for kind, head in causal.items() if isinstance(head, str)]


def image_kinds() -> list[str]:
    """Returns the architectures of pictures, and those of pictures and texts."""
    names = [
        *auto.MODEL_FOR_IMAGE_MAPPING_NAMES,
        *auto.MODEL_FOR_BACKBONE_MAPPING_NAMES,
        *auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        *auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    ]
    return [kind for kind in dict.fromkeys(names) if kind in auto.MODEL_MAPPING_NAMES]


def try_one(kind: str, name: str, head: str = "AutoModel") -> Finding:
    """Returns what comes of an architecture of a kind, `text` or `image`."""
    return try_text(name, head) if kind == "text" else try_image(name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(try_one(*sys.argv[1:]).__dict__))
