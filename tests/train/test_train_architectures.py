"""Networks of our own: each learns, trains to the same bytes, and is extracted as it was scored."""

import functools
import multiprocessing
import os
import random
import signal
from collections import Counter

import numpy as np
import pytest
import torch
import torchvision
from given import INPUT, extractor_of, pictures, texts, verses
from given import spec as given_spec
from given import train as train_given

from consilience.datasets import Sample
from consilience.errors import ConfigError, DataError, ModelError
from consilience.files import file_digest
from consilience.networks import Task, build
from consilience.networks.symbols import Words, find_vocabulary, split_words
from consilience.networks.weights import read_header, read_trained
from consilience.train.altered import Stimuli
from consilience.train.inputs import open_data

PICTURES = {
    "small:cnn": {"width": 4, "depth": 2, "dimension": 6},
    "small:vgg": {"width": 4},
    "small:resnet": {"width": 4, "blocks": [1, 1], "stem": 4, "dimension": 3, "labels": 16},
    "small:vit": {"patch": 4, "width": 8, "depth": 2, "heads": 2, "dropout": 0.1},
}
TEXTS = {"small:transformer": {"width": 8, "depth": 2, "heads": 2}}
BYTES = {"small:gpt": {"width": 16, "depth": 2, "heads": 2}}
ALL = {**PICTURES, **TEXTS, **BYTES}


def samples_of(architecture):
    kinds = ((PICTURES, pictures), (TEXTS, texts), (BYTES, verses))
    return list(next(make() for known, make in kinds if architecture in known))


def spec(architecture, **changes):
    given = {
        "modality": "image" if architecture in PICTURES else "text",
        "objective": "tokens" if architecture in BYTES else "classes",
        **changes,
    }
    return given_spec(architecture, ALL[architecture], **given)


def train(folder, architecture, **settings):
    return train_given(folder, samples_of(architecture), spec(architecture), **settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns the file of an architecture's trained weights, each trained once."""

    @functools.cache
    def made(architecture):
        return train(tmp_path_factory.mktemp("trained"), architecture)

    return made


@pytest.mark.parametrize("architecture", ALL)
def test_every_network_learns(trained, architecture):
    header = read_header(trained(architecture))
    assert header["status"] == "trained"
    assert header["scores"]["train"]["loss"] < 0.3 * header["chance_loss"]
    assert header["scores"]["train"]["accuracy"] > 0.9


@pytest.mark.parametrize("architecture", ALL)
def test_training_again_gives_the_same_bytes(trained, architecture, tmp_path):
    torch.manual_seed(random.randrange(1000))  # what others draw has no influence
    again = train(tmp_path, architecture)
    assert file_digest(again) == file_digest(trained(architecture))


def reduced(architecture, found):
    """Returns a hand-made pooling of what enters the head: nothing but for states of each byte."""
    return found.double().mean(1) if architecture in BYTES else found.double()


@pytest.mark.parametrize("architecture", ALL)
def test_what_enters_the_head_is_extracted(trained, architecture):
    path, samples = trained(architecture), samples_of(architecture)[:5]
    extractor, network = extractor_of(path), read_trained(path).network()
    found = extractor.extract([extractor.preprocess(sample) for sample in samples])
    assert extractor.layers == ("features",)
    task = Task.of(read_header(path)["task"])
    for row, sample in enumerate(samples):  # one by one, without padding
        given = by_hand(task, sample)
        with torch.no_grad():
            features = network.embedding(given)
            scores = network.head(features)[0]
        assert torch.allclose(found["features"][row].double(), reduced(architecture, features)[0],
                              atol=1e-5)  # fmt: skip
        if architecture in BYTES:
            surprise = torch.nn.functional.cross_entropy(scores[:-1], given[0, 1:], reduction="sum")
            assert torch.allclose(found["loss"][row], torch.tensor([surprise, len(given[0]) - 1.0]))
        else:
            assert torch.allclose(found["logits"][row], scores, atol=1e-5)
    vectors = torch.from_numpy(extractor.unembedding)
    assert vectors.shape == (256 if architecture in BYTES else 3, found["features"].shape[1])
    if architecture not in BYTES:  # scores are f · w, and a bias that is the same for all samples
        rest = found["logits"] - found["features"] @ vectors.T
        assert torch.allclose(rest, rest[:1].expand_as(rest), atol=1e-4)


def by_hand(task, sample):
    """Returns the input (1, …) of a network for one sample, made without the extractor."""
    if sample.image is not None:
        values = np.asarray(sample.image().convert("L"), np.float32) / 255
        return torch.from_numpy((values - 0.5) / 0.25)[None, None]
    if task.objective == "tokens":
        return torch.tensor([list(sample.text.encode())[: task.shape[0]]])
    words = [3 + task.words.index(word) for word in sample.text.split()]
    return torch.tensor([[2, *words[: task.shape[0]]]])


@pytest.mark.parametrize("architecture", ["small:cnn", "small:transformer", "small:gpt"])
def test_extracted_outputs_give_the_score_of_training(trained, architecture):
    path, samples = trained(architecture), samples_of(architecture)
    extractor, score = extractor_of(path), read_header(path)["scores"]["train"]
    found = extractor.extract([extractor.preprocess(sample) for sample in samples])
    if architecture in BYTES:
        # Windows are of 8 bytes; the texts of up to 32 are cut, so only the first are compared.
        assert extractor.provenance["truncated"] == str(sum(len(s.text) > 8 for s in samples))
        assert found["loss"][:, 1].tolist() == [min(len(s.text), 8) - 1 for s in samples]
        return
    labels = torch.tensor([sample.label for sample in samples])
    loss = torch.nn.functional.cross_entropy(found["logits"], labels)
    assert float(loss) == pytest.approx(score["loss"], rel=1e-5, abs=1e-6)
    assert float((found["logits"].argmax(1) == labels).float().mean()) == score["accuracy"]


@pytest.mark.parametrize("architecture", ALL)
def test_all_layers_are_its_blocks_and_the_features(trained, architecture):
    path, samples = trained(architecture), samples_of(architecture)[:4]
    extractor, network = extractor_of(path, layers="all"), read_trained(path).network()
    assert extractor.layers == (*network.parts.blocks, "features")
    found = extractor.extract([extractor.preprocess(sample) for sample in samples])
    assert all(found[layer].ndim == 2 and len(found[layer]) == 4 for layer in extractor.layers)


def test_the_class_token_of_pictures_is_no_position(trained):
    extractor = extractor_of(trained("small:vit"), layers="embedding.blocks.0")
    network = read_trained(trained("small:vit")).network()
    seen = []
    network.embedding.blocks[0].register_forward_hook(lambda *given: seen.append(given[-1]))
    sample = samples_of("small:vit")[0]
    with torch.no_grad():
        network(by_hand(Task("image", (1, 12, 12), 3), sample))
    found = extractor.extract([extractor.preprocess(sample)])["embedding.blocks.0"]
    assert torch.allclose(found, seen[0][:, 1:].mean(1), atol=1e-6)


@pytest.mark.parametrize(("pool", "place"), [("mean", None), ("cls", 0), ("last", -1)])
def test_states_of_words_are_pooled_over_the_text_alone(trained, pool, place):
    path, samples = trained("small:transformer"), samples_of("small:transformer")[:6]
    extractor = extractor_of(path, layers="embedding.blocks.0", pool=pool)
    network, task = read_trained(path).network(), Task.of(read_header(path)["task"])
    seen = []
    network.embedding.blocks[0].register_forward_hook(lambda *given: seen.append(given[-1][0]))
    found = extractor.extract([extractor.preprocess(sample) for sample in samples])
    for row, sample in enumerate(samples):
        with torch.no_grad():
            network(by_hand(task, sample))
        expected = seen[-1].mean(0) if place is None else seen[-1][place]
        assert torch.allclose(found["embedding.blocks.0"][row], expected, atol=1e-5)


def test_words_that_training_did_not_see_are_one_symbol():
    words = find_vocabulary(["The cat, the dog", "the OWL"], 3)
    assert words == ("the", "cat", "dog")  # equally frequent ones by the alphabet
    read = Words(Task("text", (4,), 2, words=words))
    assert read("A cat [CLASS2] the") == ([2, 1, 4, 1, 3], False)
    assert read("the cat the cat the") == ([2, 3, 4, 3, 4], True)
    assert split_words("[CLASS2] it’s 3.5") == ["[class2]", "it’s", "3", "5"]


def test_test_texts_are_read_by_the_vocabulary_of_training():
    train = open_data(Stimuli(samples_of("small:transformer"), 3), spec("small:transformer"))
    other = [Sample("x", "x", label=0, text="quite other words, and a cat")]
    test = open_data(Stimuli(other, 3), spec("small:transformer"), "cpu", train.task)
    assert test.task is train.task
    cat = 3 + train.task.words.index("cat")
    assert test.take(torch.tensor([0]))[0].tolist() == [[2, 1, 1, 1, 1, symbol("a", train), cat]]


def symbol(word, data):
    return 3 + data.task.words.index(word)


def test_windows_never_cross_the_end_of_a_text():
    samples = [
        Sample(str(k), str(k), text=text) for k, text in enumerate(["abcdefghijk", "x", "yz"])
    ]
    data = open_data(Stimuli(samples, 0), spec("small:gpt", input={**INPUT, "tokens": 4}))
    assert data.n == 4  # abcd, efgh, ijk, yz
    inputs, targets = data.take(data._starts, data._ends)
    pairs = [
        bytes(b for b, t in zip(one.tolist(), other.tolist(), strict=True) if t >= 0)
        for one, other in zip(inputs, targets, strict=True)
    ]
    assert pairs == [b"abcd", b"efgh", b"ij", b"y"]
    counts = np.bincount(list(b"bcdefghijkz"))
    share = counts[counts > 0] / counts.sum()
    assert data.chance == pytest.approx(float(-(share * np.log(share)).sum()))
    begun = set()

    def network(given):  # a network that answers by the byte itself
        begun.update(chr(b) for b in given[:, 0].tolist())
        return torch.nn.functional.one_hot(given, 256).float()

    for seed in range(40):
        torch.manual_seed(seed)
        data.loss(network, torch.arange(4))
    assert begun == set("abcdefg") | {
        "i",
        "y",
    }  # windows that are whole, and short ones as they are


def test_next_bytes_are_predicted_from_those_before_them():
    network = build("small:gpt", {}, Task("text", (16,), 0, 256, "tokens"), 0).eval()
    one = torch.randint(0, 256, (1, 16), generator=torch.Generator().manual_seed(0))
    other = one.clone()
    other[0, 9:] += 1
    with torch.no_grad():
        assert torch.equal(network(one)[0, :9], network(other)[0, :9])
    assert network.head.weight is network.embedding.bytes.weight
    loose = build("small:gpt", {"tied": False}, Task("text", (16,), 0, 256, "tokens"), 0)
    assert loose.head.weight is not loose.embedding.bytes.weight


def test_vectors_of_symbols_begin_small():
    """Drawn with a deviation of 1 they drown what positions and context say."""
    words = build("small:transformer", {}, Task("text", (8,), 3, 500), 0).embedding
    letters = build("small:gpt", {}, Task("text", (8,), 0, 256, "tokens"), 0).embedding
    for vectors in (words.words, letters.bytes):
        assert float(vectors.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def parameters(architecture, options, task):
    return sum(w.numel() for w in build(architecture, options, task, 0).embedding.parameters())


def test_published_sizes():
    grey, colour = Task("image", (1, 28, 28), 10), Task("image", (3, 32, 32), 10)
    assert parameters("small:resnet", {"dimension": 2, "labels": 128}, colour) == 11_169_858
    cnn = 16 * 10 + 32 * (144 + 1) + 64 * (288 + 1) + 64 * 1025  # 28 pixels leave 4 x 4 of 64
    assert parameters("small:cnn", {}, grey) == cnn
    # From a table of He et al. and of Simonyan & Zisserman in small, without a head.
    options = {"width": 16, "blocks": [1, 1, 1], "stem": 4}
    assert parameters("small:resnet", options, grey) == 77_866 - 650
    assert parameters("small:vgg", {}, grey) == 72_666 - 650


@pytest.mark.parametrize(
    ("architecture", "options", "reference"),
    [
        ("small:vgg", {"width": 64, "stages": [1, 1, 2, 2, 2]}, "vgg11_bn"),
        ("small:vgg", {"width": 64, "stages": [2, 2, 4, 4, 4]}, "vgg19_bn"),
        ("small:resnet", {"blocks": [3, 4, 6, 3]}, "resnet34"),
        ("small:resnet", {"blocks": [3, 4, 23, 3], "bottleneck": True}, "resnet101"),
    ],
)
def test_convolutions_are_those_of_torchvision_but_for_the_stem(architecture, options, reference):
    def shapes(network):
        return Counter(tuple(w.shape) for w in network.parameters() if w.ndim == 4)

    ours = shapes(build(architecture, options, Task("image", (3, 32, 32), 10), 0))
    theirs = shapes(torchvision.models.get_model(reference, weights=None))
    if reference.startswith("resnet"):
        theirs -= Counter({(64, 3, 7, 7): 1})
        theirs += Counter({(64, 3, 3, 3): 1})
    assert ours == theirs


def test_a_stage_of_vgg_halves_the_side():
    task = Task("image", (3, 32, 32), 10)
    network = build("small:vgg", {"width": 4, "stages": [1, 2, 1]}, task, 0).eval()
    sides = []
    for name in network.parts.blocks:
        part = network.get_submodule(name)
        part.register_forward_hook(lambda _, inputs, out: sides.append(tuple(out.shape[1:])))
    network(torch.zeros(1, 3, 32, 32))
    assert sides == [(4, 16, 16), (8, 16, 16), (8, 8, 8), (16, 4, 4)]


@pytest.mark.parametrize(
    ("architecture", "options", "task", "message"),
    [
        ("small:cnn", {}, Task("text", (8,), 3, 20), "it takes pictures, not texts"),
        ("small:transformer", {}, Task("image", (1, 8, 8), 3), "it takes texts, not pictures"),
        ("small:gpt", {}, Task("text", (8,), 3, 20), "it learns tokens, not classes"),
        ("small:vit", {"patch": 7}, Task("image", (3, 32, 32), 3), "no patches of 7"),
        ("small:vit", {"heads": 3}, Task("image", (3, 32, 32), 3), "no multiple of 3 heads"),
        ("small:resnet", {"stem": 5}, Task("image", (3, 32, 32), 3), "it is 3 or 4"),
        ("small:resnet", {"blocks": [2, 0]}, Task("image", (3, 32, 32), 3), "blocks is 0"),
        ("small:vgg", {"width": 0}, Task("image", (3, 32, 32), 3), "width is 0"),
        ("small:vgg", {}, Task("image", (3, 32, 32), 1), "1 classes"),
        ("small:vgg", {"wdth": 1}, Task("image", (3, 32, 32), 3), "did you mean 'width'"),
    ],
)
def test_what_a_network_cannot_do_is_refused(architecture, options, task, message):
    with pytest.raises(ConfigError, match=message):
        build(architecture, options, task)


def test_what_cannot_be_learnt_is_refused():
    with pytest.raises(ConfigError, match="nothing learns tokens of image"):
        open_data(Stimuli(samples_of("small:cnn"), 3), spec("small:cnn", objective="tokens"))
    with pytest.raises(DataError, match="'t0' has no class"):
        open_data(Stimuli([Sample("t0", "t0", text="a")], 3), spec("small:transformer"))
    with pytest.raises(DataError, match="'p0' holds no text"):
        open_data(Stimuli([Sample("p0", "p0", label=1)], 3), spec("small:transformer"))
    with pytest.raises(DataError, match="none to predict"):
        open_data(Stimuli([Sample("t0", "t0", text="a")], 3), spec("small:gpt"))


def slow(folder):
    """Trains until it is killed, with a checkpoint after every step."""
    train(folder, "small:transformer", checkpoint=0.0)


def test_a_killed_training_with_dropout_goes_on_to_the_same_bytes(trained, tmp_path):
    place = tmp_path / ".store"
    process = multiprocessing.get_context("spawn").Process(target=slow, args=(tmp_path,))
    process.start()
    while not list(place.glob("*.checkpoint")):
        assert process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not list(place.glob("*.safetensors"))
    assert file_digest(train(tmp_path, "small:transformer")) == file_digest(
        trained("small:transformer")
    )


def test_a_text_without_words_has_features_and_one_without_bytes_none(trained):
    words = extractor_of(trained("small:transformer"))
    assert words.preprocess(Sample("t", "t", text="?!")).numbers == [2]
    with pytest.raises(DataError, match="is empty"):
        extractor_of(trained("small:gpt")).preprocess(Sample("t", "t", text=""))
    with pytest.raises(ModelError, match="unknown pool 'flatten'"):
        extractor_of(trained("small:transformer"), pool="flatten")
