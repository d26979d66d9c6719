"""`cs.extract`: from pictures, texts, vectors, datasets and loaders to features in memory."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import consilience as cs
from consilience.datasets import Sample
from consilience.errors import ConfigError, DataError, FeaturesError
from consilience.features import read_layer
from consilience.features.extract import extract_features
from consilience.samples import make_samples

RANDOM = {"source": "torchvision", "name": "squeezenet1_1", "modality": "image",
          "weights": "random:0", "input_size": 64, "layers": "all"}  # fmt: skip
DIGITS = {"dataset": "few_digits", "source": "packaged", "name": "digits", "modality": "image",
          "cap": "12"}  # fmt: skip


def pictures(count=5, size=20):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size=(size, size, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def network():
    return cs.load_model(RANDOM)


def test_a_model_says_what_it_is(network):
    assert repr(network).startswith("squeezenet1_1: squeezenet1_1 of torchvision, reads image; ")
    assert len(network.layers) > 3 and network.layers[0] in repr(network)
    assert cs.load_model("pixels", input_size=7).row["input_size"] == "7"


def test_pictures_are_the_same_however_they_are_given(tmp_path):
    given = pictures()
    paths = [tmp_path / f"{k}.png" for k in range(len(given))]
    for path, picture in zip(paths, given, strict=True):
        Image.fromarray(picture).save(path)
    labelled = [(Image.fromarray(picture), 3) for picture in given]
    expected = cs.extract("pixels", given)
    (layer,) = expected
    small = np.asarray(Image.fromarray(given[1]).resize((28, 28), Image.Resampling.BILINEAR))
    assert np.array_equal(expected[layer][1], small.ravel() / np.float32(255))
    for data in (paths, list(map(str, paths)), labelled, np.stack(given)):
        assert np.array_equal(cs.extract("pixels", data)[layer], expected[layer])
    folder = cs.extract("pixels", tmp_path)
    assert np.array_equal(folder[layer], expected[layer])
    assert (folder.dataset, folder.ids[0]) == (tmp_path.name, "0.png")
    assert repr(folder).splitlines()[0] == f"pixels on 5 samples of {tmp_path.name}"


def test_texts_and_vectors():
    texts = ["a cat", "a cat", "a dog"]
    found = cs.extract("characters", texts)
    (layer,) = found
    assert found[layer].shape == (3, 512)
    assert np.array_equal(found[layer][0], found[layer][1])
    assert not np.array_equal(found[layer][0], found[layer][2])
    vectors = np.arange(6.0).reshape(3, 2)
    values = cs.extract({"source": "raw", "name": "values", "modality": "vector"}, vectors)
    assert np.array_equal(next(iter(values.values())), vectors)


def test_a_dataset_gives_the_bytes_of_the_workflow(network, tmp_path):
    """The steps `samples` and `features` write what `extract` returns, and for the same samples."""
    make_samples(DIGITS, 0, tmp_path / "few_digits.parquet")
    out = tmp_path / "net.safetensors"
    extract_features(network.row, DIGITS, tmp_path / "few_digits.parquet", out)
    expected = cs.Features.read(out)
    found = cs.extract(network, DIGITS)
    assert list(found) == list(expected) == list(network.layers)
    for layer in found:
        assert np.array_equal(found[layer], read_layer(out, layer)), layer
    assert found.samples_hash == expected.samples_hash and len(found.ids) == 12
    assert set(found.outputs) == set(expected.outputs)
    other = cs.extract("pixels", DIGITS | {"cap": "13"})
    with pytest.raises(FeaturesError, match="only features of the same samples"):
        cs.pairwise({"net": expected, "pixels": other})


def test_a_loader_gives_what_preprocessing_by_hand_gives(network):
    given = pictures(5)
    expected = cs.extract(network, given, batch_size=2)
    batch = torch.stack([network.preprocess(_sample(picture)) for picture in given])
    loaders = [
        DataLoader(TensorDataset(batch, torch.arange(5)), batch_size=2),
        DataLoader(batch, batch_size=2),
        batch,
    ]
    for loader in loaders:
        found = cs.extract(network, loader, batch_size=2)
        for layer in expected:
            assert np.array_equal(found[layer], expected[layer]), layer


def _sample(picture):
    return Sample("0", "0", image=lambda: Image.fromarray(picture))


def test_layers_of_models_by_name_are_all():
    table = cs.layers({**RANDOM, "layers": ""}, "pixels", pictures(8))
    assert len(table.attrs["layers"]["squeezenet1_1"]) > 3
    assert table.attrs["pair"] == ["squeezenet1_1", "pixels"]


def test_mistakes(network, tmp_path):
    mistakes = [
        (ConfigError, "no folder and no list of stimuli; did you mean 'photo_crops'",
         lambda: cs.extract("pixels", "photo_crop")),
        (ConfigError, "squeezenet1_1 reads image, and 'movie_snippets' holds text",
         lambda: cs.extract(network, "movie_snippets")),
        (ConfigError, "'layers' cannot be changed of a loaded model",
         lambda: cs.extract(network, pictures(), layers="all")),
        (ConfigError, "there is no such folder", lambda: cs.extract("pixels", tmp_path / "no")),
        (FeaturesError, "give at least one", lambda: cs.extract("pixels", [])),
        (FeaturesError, "not a int", lambda: cs.extract("pixels", 3)),
        (FeaturesError, "the loader has no batches", lambda: cs.extract(network, iter([]))),
        (DataError, r"stimulus 0 is a float64 \(4, 4, 3\); pictures are",
         lambda: cs.extract("pixels", np.zeros((2, 4, 4, 3)))),
        (DataError, "has no text", lambda: cs.extract("characters", pictures())),
        (ConfigError, "batch_size is 0", lambda: cs.extract("pixels", pictures(), batch_size=0)),
    ]  # fmt: skip
    for kind, said, act in mistakes:
        with pytest.raises(kind, match=said) as caught:
            act()
        assert "\n" not in str(caught.value)
