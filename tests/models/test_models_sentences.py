"""Text models that say how their states become a vector, and networks that cannot read a text."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_models import CORPUS, Trap, save_text_model, texts
from transformers import (
    BertConfig,
    BertModel,
    CanineConfig,
    CanineModel,
    Data2VecTextConfig,
    Data2VecTextModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
    XGLMConfig,
    XGLMModel,
)

from consilience.errors import ModelError, is_out_of_memory
from consilience.models import _weights, load_model, reading
from consilience.models._pooling import pool_tokens

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
}
PACKAGE = "sentence_transformers.models"
SPECIALS = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def save(folder, model=None):
    torch.manual_seed(5)
    model = model or BertModel(BertConfig(**SMALL))
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    return save_text_model(folder, model, names, "[CLS] $A [SEP]", **SPECIALS)


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def declare(folder, *parts, **files):
    """Writes modules.json and the folders of its parts: (type, configuration, weights)."""
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{PACKAGE}.Transformer"}]
    for number, (kind, config, weights) in enumerate(parts, 1):
        path = f"{number}_{kind.rpartition('.')[2]}"
        name = kind if "." in kind else f"{PACKAGE}.{kind}"
        modules.append({"idx": number, "name": str(number), "path": path, "type": name})
        if config is not None:
            write(folder, f"{path}/config.json", config)
        if weights:
            save_file(weights, folder / path / "model.safetensors")
    write(folder, "modules.json", modules)
    for name, content in files.items():
        write(folder, f"{name}.json", content)


def pooling(**config):
    return ("Pooling", {"word_embedding_dimension": 16, **config}, None)


def of_mode(mode):
    return pooling(**{f"pooling_mode_{mode}": True})


NORMALIZE = ("Normalize", None, None)
MEAN = of_mode("mean_tokens")


@pytest.fixture
def row(tmp_path):
    return save(tmp_path)


def states(row, lines, limit=64, layer=-1):
    """Hidden states of each text alone, without padding, by the library itself."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(row["name"])
    model = BertModel.from_pretrained(row["name"]).eval()
    with torch.no_grad():
        return [
            model(
                **tokenizer(line, return_tensors="pt", truncation=True, max_length=limit),
                output_hidden_states=True,
            ).hidden_states[layer][0]
            for line in lines
        ]


def extract(row, lines=CORPUS, **cells):
    extractor = load_model({**row, **cells})
    found = extractor.extract([extractor.preprocess(text) for text in texts(*lines)])
    return extractor, found


def close(found, expected):
    torch.testing.assert_close(found, torch.stack(list(expected)), rtol=1e-5, atol=1e-6)


def weighted(x):
    places = torch.arange(1, len(x) + 1, dtype=x.dtype)
    return (x * places[:, None]).sum(0) / places.sum()


MODES = {
    "cls_token": lambda x: x[0],
    "max_tokens": lambda x: x.max(0).values,
    "mean_tokens": lambda x: x.mean(0),
    "mean_sqrt_len_tokens": lambda x: x.sum(0) / len(x) ** 0.5,
    "weightedmean_tokens": weighted,
    "lasttoken": lambda x: x[-1],
}


@pytest.mark.parametrize("mode", MODES)
def test_a_declared_pooling_is_that_of_each_text_alone(row, tmp_path, mode):
    declare(tmp_path, of_mode(mode))
    extractor, found = extract(row)
    assert extractor.layers == ("layer_2",)
    close(found["layer_2"], map(MODES[mode], states(row, CORPUS)))
    assert extractor.provenance["declared"].startswith("layer_2: ")


def test_several_poolings_stand_side_by_side_in_their_order(row, tmp_path):
    both = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}
    named = {"embedding_dimension": 16, "pooling_mode": ["mean", "cls"]}
    for config, order in (
        (both, ("cls_token", "mean_tokens")),
        (named, ("mean_tokens", "cls_token")),
    ):
        declare(tmp_path, pooling(**config))
        expected = [torch.cat([MODES[mode](x) for mode in order]) for x in states(row, CORPUS)]
        close(extract(row)[1]["layer_2"], expected)


def test_only_the_last_layer_is_normalised_and_all_are_pooled_alike(row, tmp_path):
    declare(tmp_path, of_mode("cls_token"), NORMALIZE)
    extractor, found = extract(row, layers="all")
    assert extractor.layers == ("layer_0", "layer_1", "layer_2")
    close(found["layer_1"], [x[0] for x in states(row, CORPUS, layer=1)])
    close(found["layer_2"], [x[0] / x[0].norm() for x in states(row, CORPUS)])
    assert "layer_2: cls, then Normalize" in extractor.provenance["declared"]
    assert extractor.provenance["pooling"] == "cls"


def test_what_the_row_says_overrules_the_declaration(row, tmp_path):
    declare(tmp_path, of_mode("cls_token"), NORMALIZE, sentence_bert_config={"max_seq_length": 5})
    extractor, found = extract(row, pool="mean")
    close(found["layer_2"], [x.mean(0) for x in states(row, CORPUS, limit=5)])
    assert extractor.provenance["truncated"] == "3" and "declared" not in extractor.provenance
    extractor, found = extract(row, max_length="64")
    close(found["layer_2"], [x[0] / x[0].norm() for x in states(row, CORPUS)])
    assert extractor.provenance["truncated"] == "0"


def test_the_declared_length_stands_for_the_tokenizers(row, tmp_path):
    tokenizer = tmp_path / "tokenizer_config.json"
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "model_max_length": 4}))
    assert extract(row)[0].provenance["truncated"] == "3"
    declare(tmp_path, MEAN, sentence_bert_config={"max_seq_length": 7})
    extractor, found = extract(row)
    close(found["layer_2"], [x.mean(0) for x in states(row, CORPUS, limit=7)])
    assert extractor.provenance["truncated"] == "2"


def test_older_names_of_the_file_of_the_length_are_known(tmp_path):
    row = save(tmp_path, RobertaModel(RobertaConfig(**SMALL, pad_token_id=0)))
    declare(tmp_path, MEAN, sentence_roberta_config={"max_seq_length": 5})
    assert "at most 5 tokens" in extract(row)[0].provenance["transform"]


def dense(inner, outer, activation="torch.nn.modules.activation.Tanh", bias=True):
    generator = torch.Generator().manual_seed(outer)
    weights = {"linear.weight": torch.randn(outer, inner, generator=generator)}
    if bias:
        weights["linear.bias"] = torch.randn(outer, generator=generator)
    config = {"in_features": inner, "out_features": outer, "bias": bias}
    return ("Dense", {**config, "activation_function": activation}, weights)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("torch.nn.modules.activation.Tanh", torch.tanh),
        ("torch.nn.modules.activation.GELU", torch.nn.functional.gelu),
        ("torch.nn.modules.linear.Identity", lambda x: x),
    ],
)
def test_dense_layers_make_the_declared_vector(row, tmp_path, activation, function):
    part = dense(16, 6, activation)
    declare(tmp_path, MEAN, part, NORMALIZE)
    extractor, found = extract(row, layers="all,embedding")
    assert extractor.layers == ("layer_0", "layer_1", "layer_2", "embedding")
    pooled = [x.mean(0) for x in states(row, CORPUS)]
    close(found["layer_2"], pooled)
    weight, bias = part[2]["linear.weight"], part[2]["linear.bias"]
    vectors = [function(weight @ x + bias) for x in pooled]
    close(found["embedding"], [x / x.norm() for x in vectors])
    assert extract(row)[0].layers == ("embedding",)
    assert len(extractor.provenance["declared_sha256"]) == 64


def test_layer_norms_residuals_and_pickled_tensors_too(row, tmp_path):
    kind, config, weights = dense(16, 6, bias=False)
    config["use_residual"] = True
    weights["residual.weight"] = torch.randn(6, 16)
    norm = {"norm.weight": torch.rand(6) + 1, "norm.bias": torch.rand(6)}
    declare(tmp_path, MEAN, (kind, config, None), ("LayerNorm", {"dimension": 6}, norm))
    torch.save(weights, tmp_path / "2_Dense" / "pytorch_model.bin")
    pooled = torch.stack([x.mean(0) for x in states(row, CORPUS)])
    dense_ = torch.tanh(pooled @ weights["linear.weight"].T) + pooled @ weights["residual.weight"].T
    expected = torch.nn.functional.layer_norm(dense_, (6,), norm["norm.weight"], norm["norm.bias"])
    close(extract(row)[1]["embedding"], expected)
    torch.save({"x": Trap(tmp_path / "sprung")}, tmp_path / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"2_Dense/pytorch_model.bin cannot be read as weights"):
        load_model(row)
    assert not (tmp_path / "sprung").exists()


def test_untrained_models_draw_what_is_learned(row, tmp_path):
    declare(tmp_path, of_mode("cls_token"), dense(16, 6))
    found = [extract(row, weights=w)[1]["embedding"] for w in ("", "random", "random", "random:1")]
    assert torch.equal(found[1], found[2])
    assert not torch.allclose(found[0], found[1]) and not torch.allclose(found[1], found[3])


def prompts(default):
    return {"prompts": {"query": "the market ", "doc": "one "}, "default_prompt_name": default}


def test_a_default_prompt_stands_before_every_text(row, tmp_path):
    declare(tmp_path, MEAN, config_sentence_transformers=prompts("query"))
    extractor, found = extract(row)
    close(found["layer_2"], [x.mean(0) for x in states(row, [f"the market {t}" for t in CORPUS])])
    assert "behind 'the market '" in extractor.provenance["transform"]
    declare(tmp_path, MEAN, config_sentence_transformers=prompts(None))
    close(extract(row)[1]["layer_2"], [x.mean(0) for x in states(row, CORPUS)])
    declare(tmp_path, MEAN, config_sentence_transformers=prompts("absent"))
    with pytest.raises(ModelError, match="has no prompt 'absent', which is its default"):
        load_model(row)


def test_a_prompt_may_be_left_out_of_pooling(row, tmp_path):
    modes = ["cls", "mean", "weightedmean", "lasttoken"]
    part = pooling(pooling_mode=modes, include_prompt=False)
    declare(tmp_path, part, config_sentence_transformers=prompts("query"))
    expected = []
    for x in states(row, [f"the market {t}" for t in CORPUS]):
        own, places = x[3:], torch.arange(4, len(x) + 1, dtype=x.dtype)  # [CLS] the market
        mean = (own * places[:, None]).sum(0) / places.sum()
        expected.append(torch.cat([own[0], own.mean(0), mean, own[-1]]))
    close(extract(row)[1]["layer_2"], expected)


def test_texts_are_put_in_lower_case_if_the_model_says_so(row, tmp_path):
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "normalizer": None}))
    declare(tmp_path, MEAN)
    shouted = [line.upper() for line in CORPUS]
    plain = extract(row, CORPUS)[1]["layer_2"]
    assert not torch.allclose(extract(row, shouted)[1]["layer_2"], plain)
    declare(tmp_path, MEAN, sentence_bert_config={"do_lower_case": True})
    torch.testing.assert_close(extract(row, shouted)[1]["layer_2"], plain)


@pytest.mark.parametrize(
    ("parts", "files", "message"),
    [
        ([of_mode("cls_token"), ("CNN", {}, None)], {}, r"has the part 2_CNN \(CNN\)"),
        ([("WordWeights", {}, None), MEAN], {}, "one Pooling must follow the network"),
        ([("mine.Pooler", {}, None)], {}, "'mine.Pooler', which is code of the repository"),
        ([pooling(pooling_mode="median")], {}, "the pooling 'median', which is unknown"),
        (
            [pooling(word_embedding_dimension=8)],
            {},
            "pools states of width 8, the network's have 16",
        ),
        ([MEAN, dense(16, 6, "mine.Cube")], {}, "activation mine.Cube, which is none of torch.nn"),
        ([MEAN, ("Dense", dense(16, 6)[1], None)], {}, "2_Dense has none of model.safetensors"),
        (
            [MEAN, (*dense(16, 6)[:2], dense(16, 4)[2])],
            {},
            "does not hold the weights that 2_Dense",
        ),
        (
            [MEAN, ("Dense", {**dense(16, 6)[1], "module_input_name": "token_embeddings"}, None)],
            {},
            "works on token_embeddings",
        ),
        ([("Pooling", None, None)], {}, "1_Pooling/config.json, which modules.json names, is not"),
        ([MEAN], {"sentence_bert_config": {"transformer_task": "fill-mask"}}, "the task fill-mask"),
        ([], {"modules": {"0": "Transformer"}}, "is no list of parts"),
    ],
)
def test_what_cannot_be_applied_is_refused(row, tmp_path, parts, files, message):
    declare(tmp_path, *parts, **files)
    with pytest.raises(ModelError, match=message):
        load_model(row)
    if "modules" not in files:
        assert extract(row, pool="cls")[0].layers == ("layer_2",)


def test_a_damaged_declaration_names_its_file(row, tmp_path):
    (tmp_path / "modules.json").write_text("[{")
    with pytest.raises(ModelError, match=r"modules\.json cannot be read"):
        load_model(row)


def test_encoders_that_were_saved_without_their_decoder_are_loaded(tmp_path):
    config = T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2)
    torch.manual_seed(0)
    model = T5EncoderModel(config).eval()
    row = save(tmp_path, model)
    declare(tmp_path, MEAN, dense(16, 6, "torch.nn.modules.linear.Identity", bias=False))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(row["name"])
    with torch.no_grad():
        pooled = [model(**tokenizer(line, return_tensors="pt"))[0][0].mean(0) for line in CORPUS]
    weight = dense(16, 6)[2]["linear.weight"]
    close(extract(row)[1]["embedding"], [weight @ x for x in pooled])


# The hub's cache, whose files are asked for by name


def finder(monkeypatch, cached, fetched, **options):
    hub = _weights.huggingface_hub

    def fetch(repository, name, revision):
        if isinstance(fetched.get(name), Exception):
            raise fetched[name]
        return fetched[name]

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda _r, name, revision: cached.get(name))
    monkeypatch.setattr(hub, "hf_hub_download", fetch)
    return _weights.hub_finder({"model": "m"}, "some/where", "c", **options)


def test_files_of_the_hub_are_absent_only_if_somebody_says_so(monkeypatch):
    silent = _weights.LocalEntryNotFoundError("no answer")
    gone = _weights.EntryNotFoundError("404")
    cached = {"here": "/x/here", "known_absent": object()}
    fetched = {"there": "/x/there", "absent": gone, "unknown": silent}
    find = finder(monkeypatch, cached, fetched, strict=True)
    assert str(find("here")) == "/x/here" and str(find("there")) == "/x/there"
    assert find("known_absent") is None and find("absent") is None
    with pytest.raises(ModelError, match=r"tells whether some/where has unknown.*or write `pool`"):
        find("unknown")
    assert finder(monkeypatch, cached, fetched, strict=False)("unknown") is None


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository in the hub's cache, without a network."""
    root = tmp_path / "hub" / "models--some--text"
    folder = root / "snapshots" / ("c" * 40)
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("c" * 40)
    save(folder)
    monkeypatch.setattr(_weights.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(_weights.constants, "HF_HUB_OFFLINE", True)
    return folder


def test_models_of_the_hub_declare_their_vector_too(repository):
    row = {"model": "t", "source": "transformers", "name": "some/text", "modality": "text"}
    for name in ("sentence_bert_config", "config_sentence_transformers"):
        write(repository, f"{name}.json", {})
    declare(repository, of_mode("cls_token"), ("Normalize", {}, None))
    expected = [x[0] / x[0].norm() for x in states({"name": str(repository)}, CORPUS)]
    close(extract(row)[1]["layer_2"], expected)


def test_a_cache_that_says_nothing_of_pooling_is_not_enough(repository):
    row = {"model": "t", "source": "transformers", "name": "some/text", "modality": "text"}
    with pytest.raises(ModelError, match=r"whether some/text has modules\.json.*or write `pool`"):
        load_model(row)
    assert extract(row, pool="mean")[0].layers == ("layer_2",)
    absent = repository.parents[1] / ".no_exist" / ("c" * 40)
    absent.mkdir(parents=True)
    (absent / "modules.json").write_text("")
    found = extract(row)[1]["layer_2"]
    close(found, [x.mean(0) for x in states({"name": str(repository)}, CORPUS)])


# Networks that cannot read what they are given


def test_positions_behind_the_padding_are_told_by_the_network(tmp_path):
    model = Data2VecTextModel(
        Data2VecTextConfig(**{**SMALL, "max_position_embeddings": 12}, pad_token_id=1)
    )
    names = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]
    row = save_text_model(tmp_path, model, names, "[CLS] $A [SEP]", **SPECIALS)
    extractor, found = extract(row, [" ".join(CORPUS)])
    assert "at most 10 tokens" in extractor.provenance["transform"]
    assert torch.isfinite(found["layer_2"]).all()


def test_tables_with_places_to_spare_do_not_cut_texts(tmp_path):
    config = XGLMConfig(
        vocab_size=40, d_model=16, ffn_dim=24, num_layers=2, attention_heads=2, pad_token_id=1,
        max_position_embeddings=12,
    )  # fmt: skip
    names = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]
    row = save_text_model(tmp_path, XGLMModel(config), names, "[CLS] $A [SEP]", **SPECIALS)
    extractor, _ = extract(row, [" ".join(CORPUS)])
    assert "at most 12 tokens" in extractor.provenance["transform"]


@pytest.fixture
def canine(tmp_path):
    config = {k: v for k, v in SMALL.items() if k != "vocab_size"}
    config["initializer_range"] = 0.02
    return save(tmp_path, CanineModel(CanineConfig(**config, downsampling_rate=2)))


def test_the_last_layer_is_the_last_state_that_came(canine):
    extractor, found = extract(canine)
    model = CanineModel.from_pretrained(canine["name"]).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(canine["name"])
    ids = tokenizer(CORPUS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model(input_ids=ids, output_hidden_states=True)
    assert extractor.layers == ("last",)  # its states are not those of its blocks
    alone = extract(canine, CORPUS[:1])[1][extractor.layers[0]]
    torch.testing.assert_close(alone[0], out.last_hidden_state[0].mean(0), rtol=1e-4, atol=1e-5)
    assert found[extractor.layers[0]].shape == (3, 16)


@pytest.mark.parametrize("line", ["a", CORPUS[2]])
def test_states_of_joined_characters_are_refused(canine, line):
    with pytest.raises(ModelError, match=r"no hidden state '3': \d+ hidden states that are not"):
        extract(canine, [line], layers="3")


def test_failures_of_a_network_are_one_sentence_and_memory_is_not_hidden():
    sentence = r"read 3 texts \(IndexError: index 9\); set max_length"
    with pytest.raises(ModelError, match=sentence), reading("3 texts", "set max_length"):
        raise IndexError("index 9\nmore")
    for error in (MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("CUDA out of memory")):
        assert is_out_of_memory(error)
        with pytest.raises(type(error)), reading("x", "y"):
            raise error


# Weights for which a configuration has no place


def test_blocks_and_adapters_that_a_configuration_leaves_out_are_refused(row, tmp_path):
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    more = {
        "encoder.layer.0.attention.self.query.lora_A.weight": torch.zeros(2, 16),
        "encoder.layer.2.output.dense.bias": torch.zeros(16),
    }
    for name, tensor in more.items():
        save_file({**state, name: tensor}, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=rf"no place \({name}\)"):
            load_model(row)
    beside = {"cls.predictions.bias": torch.zeros(40), "embeddings.old_ids": torch.zeros(3)}
    save_file({**state, **beside}, path, metadata={"format": "pt"})
    assert extract(row)[0].layers == ("layer_2",)


def test_pooling_by_a_mask_ignores_what_stands_behind_the_text():
    x = torch.randn(2, 4, 3)
    x[0, 2:] = torch.nan
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    for mode in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", "last"):
        found = pool_tokens(x, mask, [mode])
        alone = pool_tokens(x[:1, :2], mask[:1, :2], [mode])
        torch.testing.assert_close(found[:1], alone)
        assert torch.isfinite(found).all()
