"""Text networks of transformers: built of a type, or fine-tuned from a folder."""

import huggingface_hub
import pytest
import torch
import transformers
from given import INPUT, extractor_of, spec, texts, train

from consilience.errors import ConfigError, DataError, ModelError
from consilience.files import file_digest
from consilience.models.trained import prefetch
from consilience.networks import Task, build
from consilience.networks.weights import read_header, read_trained

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 24}  # fmt: skip
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "cat",
    "dog",
    "owl",
    "a",
    "the",
    "some",
    "many",
]


def make_folder(folder, words=WORDS, seed=0, **sizes):
    """Writes a small BERT without a head, with its tokenizer."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(
        vocab_file=str(folder / "vocab.txt"), vocab={word: k for k, word in enumerate(words)}
    )
    tokenizer.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(words), max_position_embeddings=12, **{**SIZES, **sizes}
    )
    torch.manual_seed(seed)
    network = transformers.BertModel(config, add_pooling_layer=sizes.get("pooler", True))
    network.save_pretrained(folder)
    return network, tokenizer


def given(**changes):
    training = {"lr": 0.005, "steps": 60, "batch_size": 20}
    wanted = {"modality": "text", "training": training, "input": {**INPUT, "tokens": 10}, **changes}
    return spec("transformers:bert", wanted.pop("options", {}), **wanted)


def test_a_type_is_built_with_words_of_its_own_and_learns(tmp_path):
    paths = [train(tmp_path / k, texts(), given(options=SIZES)) for k in "ab"]
    assert file_digest(paths[0]) == file_digest(paths[1])
    header = read_header(paths[0])
    assert header["scores"]["train"]["loss"] < 0.3 * header["chance_loss"]
    assert "cat" in header["task"]["words"]
    assert_extracted(paths[0], lambda text: [2, *(3 + header["task"]["words"].index(w)
                                                  for w in text.split()[:10])])  # fmt: skip


def assert_extracted(path, read):
    """Compares what is extracted of a batch with the network's own answer to each text."""
    samples = list(texts())[:4]
    extractor, network = extractor_of(path, layers="all"), read_trained(path).network()
    assert extractor.layers == ("bert.encoder.layer.0", "bert.encoder.layer.1", "features")
    found = extractor.extract([extractor.preprocess(sample) for sample in samples])
    for row, sample in enumerate(samples):
        ids = torch.tensor([read(sample.text)])
        whole = transformers.BertForSequenceClassification(network.config).eval()
        whole.load_state_dict(network.state_dict())  # without the hooks that are tested
        with torch.no_grad():
            out = whole(ids, output_hidden_states=True)
            features = whole.bert(ids).pooler_output[0]
        assert torch.allclose(found["logits"][row], out.logits[0], atol=1e-5)
        assert torch.allclose(found["features"][row], features, atol=1e-5)
        for layer in (0, 1):
            state = out.hidden_states[layer + 1][0].mean(0)
            assert torch.allclose(found[f"bert.encoder.layer.{layer}"][row], state, atol=1e-5)
    assert extractor.unembedding.shape == (3, 16)


def test_fine_tuning_begins_at_the_folder_and_reads_by_its_tokenizer(tmp_path):
    network, tokenizer = make_folder(tmp_path / "folder")
    weights = {"weights": str(tmp_path / "folder")}
    still = {"training": {"lr": 1e-9, "steps": 1, "batch_size": 20}}
    path = train(tmp_path / "one", texts(), given(**weights, **still))
    state = read_trained(path).state
    for name, tensor in network.state_dict().items():
        assert torch.allclose(state[f"bert.{name}"], tensor, atol=1e-6)
    heads = [
        read_trained(train(tmp_path / f"seed{seed}", texts(), given(**weights, **still, seeds={
            "init": seed, "order": 1, "draw": 2, "noise": 3}))).state["classifier.weight"]
        for seed in (0, 1)
    ]  # fmt: skip
    assert torch.equal(heads[0], state["classifier.weight"])
    assert not torch.allclose(*heads)
    learnt = train(tmp_path / "many", texts(), given(**weights))
    header = read_header(learnt)
    assert header["scores"]["train"]["loss"] < 0.5 * header["chance_loss"]
    assert_extracted(learnt, lambda text: tokenizer(text, truncation=True, max_length=10).input_ids)


def test_what_does_not_fit_a_folder_is_refused(tmp_path):
    make_folder(tmp_path / "folder")
    task = Task("text", (10,), 3, len(WORDS), tokenizer=str(tmp_path / "folder"))
    with pytest.raises(ConfigError, match="is of type 'bert', not 'albert'"):
        build("transformers:albert", {}, task)
    with pytest.raises(ConfigError, match="no texts of 13 tokens"):
        build("transformers:bert", {}, Task("text", (13,), 3, len(WORDS), tokenizer=task.tokenizer))
    network = build("transformers:bert", {}, task)
    make_folder(tmp_path / "other", words=[*WORDS[:-1], "few"])
    with pytest.raises(ConfigError, match="another vocabulary"):
        network.parts.start(tmp_path / "other")
    make_folder(tmp_path / "short", num_hidden_layers=1)
    with pytest.raises(ConfigError, match=r"lacks 'bert.encoder.layer.1"):
        network.parts.start(tmp_path / "short")
    whole = {"weights": str(tmp_path / "folder"), "training": {"steps": 0, "batch_size": 20}}
    with pytest.raises(ModelError, match="it lacks classifier"):
        train(tmp_path / "none", texts(), given(**whole))
    with pytest.raises(DataError, match="no such file or folder"):
        train(tmp_path / "none", texts(), given(weights="DEFAULT"))
    tagged = spec("small:transformer", {}, modality="text", weights="DEFAULT")
    with pytest.raises(ModelError, match="no local file or folder"):
        train(tmp_path / "none", texts(), tagged)


def test_a_folder_is_no_start_of_other_networks(tmp_path):
    make_folder(tmp_path / "folder")
    wanted = spec("small:transformer", {}, modality="text", weights=str(tmp_path / "folder"))
    with pytest.raises(ModelError, match="is a folder"):
        train(tmp_path, texts(), wanted)


def test_a_repository_of_the_hub_is_a_folder(tmp_path, monkeypatch):
    make_folder(tmp_path / "folder")
    asked = []

    def fetched(repository, allow_patterns):
        asked.append(repository)
        assert "*.safetensors" in allow_patterns
        return str(tmp_path / "folder")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    few = {"training": {"lr": 0.005, "steps": 2, "batch_size": 20}}
    path = train(tmp_path / "hub", texts(), given(weights="hf-hub:lab/seed_0", **few))
    same = train(tmp_path / "local", texts(), given(weights=str(tmp_path / "folder"), **few))
    assert set(asked) == {"lab/seed_0"}
    assert read_header(path)["task"]["tokenizer"] == "hf-hub:lab/seed_0"
    one, other = (read_trained(p).state for p in (path, same))
    assert all(torch.equal(one[name], other[name]) for name in other)
    extractor = extractor_of(path)
    extractor.extract([extractor.preprocess(sample) for sample in list(texts())[:2]])
    asked.clear()
    prefetch({"model": "m", "source": "trained", "weights": "hf-hub:lab/seed_1"})
    assert set(asked) == {"lab/seed_1"}


def test_a_repository_that_was_never_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"hf-hub:lab/never was never fetched .*all_prefetch"):
        prefetch({"model": "m", "source": "trained", "weights": "hf-hub:lab/never"})
