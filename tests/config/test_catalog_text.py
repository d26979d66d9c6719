"""The language models of the catalogue, without their weights.

No weights and no hub are at hand here. What can be checked: the library knows the architecture
as a causal language model, and a network of the shape that the public model cards state has as many
weights as the catalogue says, which the depth and width of every one of its parts decide. The
shapes below are copied from the cards by hand. Not checked here: that the hub has the names, and
that its files have these shapes (loading refuses weights that do not fit their own config).
"""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from consilience.config import load_study
from consilience.models._texts import POOLS
from consilience.models.transformers import DTYPES, predicts_tokens


def bloom(width, depth, heads):
    return "bloom", dict(hidden_size=width, n_layer=depth, n_head=heads, vocab_size=250880)


def llama(width, depth, heads, inner, **other):
    shape = dict(hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads)
    return "llama", {**shape, "intermediate_size": inner, "vocab_size": 32000, **other}


def like_llama(kind, *shape, **other):
    return kind, llama(*shape, **other)[1]


GEMMA = {"head_dim": 256, "vocab_size": 256000, "tie_word_embeddings": True}
LLAMA3 = {"num_key_value_heads": 8, "vocab_size": 128256}
# (model type, what its card says), and the number of hidden states: embeddings and blocks
CARDS = {
    "bloomz-560m": (*bloom(1024, 24, 16), 25),
    "bloomz-1b1": (*bloom(1536, 24, 16), 25),
    "bloomz-1b7": (*bloom(2048, 24, 16), 25),
    "bloomz-3b": (*bloom(2560, 30, 32), 31),
    "bloomz-7b1": (*bloom(4096, 30, 32), 31),
    "open_llama_3b": (*llama(3200, 26, 32, 8640), 27),
    "open_llama_7b": (*llama(4096, 32, 32, 11008), 33),
    "open_llama_13b": (*llama(5120, 40, 40, 13824), 41),
    "llama-7b": (*llama(4096, 32, 32, 11008), 33),
    "llama-13b": (*llama(5120, 40, 40, 13824), 41),
    "llama-30b": (*llama(6656, 60, 52, 17920), 61),
    "llama-65b": (*llama(8192, 80, 64, 22016), 81),
    "OLMo-1B-hf": (
        *like_llama("olmo", 2048, 16, 16, 8192, vocab_size=50304, tie_word_embeddings=True),
        17,
    ),
    "OLMo-7B-hf": (*like_llama("olmo", 4096, 32, 32, 11008, vocab_size=50304), 33),
    "gemma-2b": (*like_llama("gemma", 2048, 18, 8, 16384, num_key_value_heads=1, **GEMMA), 19),
    "gemma-7b": (*like_llama("gemma", 3072, 28, 16, 24576, num_key_value_heads=16, **GEMMA), 29),
    "Mistral-7B-v0.1": (*like_llama("mistral", 4096, 32, 32, 14336, num_key_value_heads=8), 33),
    "Mixtral-8x7B-v0.1": (*like_llama("mixtral", 4096, 32, 32, 14336, num_key_value_heads=8), 33),
    "Meta-Llama-3-8B": (*llama(4096, 32, 32, 14336, **LLAMA3), 33),
    "Meta-Llama-3-70B": (*llama(8192, 80, 64, 28672, **LLAMA3), 81),
}
ROWS = load_study(
    {
        "seed": 0,
        "models": "modality == 'text' and source == 'transformers'",
        "datasets": ["movie_snippets"],
        "metrics": ["mutual_knn_k10"],
    }
).models
PLATONIC = [name for name, row in ROWS.items() if row["collection"] == "platonic"]


def test_every_language_model_of_the_study_has_a_card():
    assert sorted(PLATONIC) == sorted(CARDS)
    assert len({ROWS[name]["name"] for name in PLATONIC}) == 20


@pytest.mark.parametrize("name", CARDS)
def test_a_network_of_the_cards_shape_has_the_catalogues_size(name):
    kind, shape, states = CARDS[name]
    config = AutoConfig.for_model(kind, **shape)
    config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]]
    assert predicts_tokens(config)
    assert config.num_hidden_layers + 1 == states
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    weights = {id(weight): weight.numel() for weight in model.parameters()}
    assert sum(weights.values()) == int(ROWS[name]["parameters"])
    assert model.get_output_embeddings().weight.shape[1] == config.hidden_size


@pytest.mark.parametrize("name", ROWS)
def test_cells_that_decide_features_are_possible(name):
    row = ROWS[name]
    assert (row["pool"] or "mean") in POOLS
    assert (row["dtype"] or "float32") in DTYPES
    assert row["device_map"] in ("", "auto")


@pytest.mark.parametrize("name", PLATONIC)
def test_large_models_may_be_parted_among_gpus(name):
    row = ROWS[name]
    assert (row["layers"], row["pool"], row["dtype"]) == ("all", "mean", "bfloat16")
    assert (row["device_map"] == "auto") == (int(row["parameters"]) > 6e9)
    assert row["size"] == "xlarge"
