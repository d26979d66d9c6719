"""Files of others that a row names: idx files and WordNet's, small ones of our own, and real ones.

The real ones are looked for where Debian's packages put them, and in `$CONSILIENCE_TEST_DATA`.
"""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision

from consilience.datasets import idx, look_for, open_dataset
from consilience.datasets.packaged import wordnet_glosses
from consilience.errors import ConfigError, DataError
from consilience.prefetch import list_remote, make_prefetch
from consilience.samples import choose_samples

PLACES = [Path(place) for place in (os.environ.get("CONSILIENCE_TEST_DATA", "/"), "/")]


def row(source, name, **cells):
    return {"dataset": "d", "source": source, "name": str(name), "modality": "image"} | cells


def real(inner):
    return next((place / inner for place in PLACES if (place / inner).is_dir()), None)


# --- idx ------------------------------------------------------------------------------------------


def write_idx(folder, sizes=None, zipped=("train", "t10k")):
    """6 training and 4 test pictures of 2 x 3; picture i holds the values 10 i to 10 i + 5."""
    folder.mkdir(exist_ok=True, parents=True)
    for start, n in (sizes or {"train": 6, "t10k": 4}).items():
        pictures = (10 * np.arange(n)[:, None] + np.arange(6)).astype(np.uint8)
        contents = {
            "images-idx3-ubyte": struct.pack(">4B3I", 0, 0, 8, 3, n, 2, 3) + pictures.tobytes(),
            "labels-idx1-ubyte": struct.pack(">4BI", 0, 0, 8, 1, n) + (b"\0\1\2" * n)[:n],
        }
        for kind, content in contents.items():
            name, packed = f"{start}-{kind}", start in zipped
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def test_idx_files_are_pictures_in_splits(tmp_path):
    write_idx(tmp_path, zipped=("train",))
    dataset = open_dataset(row("idx", tmp_path, splits="train,test"))
    found = [(s.id, s.split, s.label) for s in dataset]
    assert found[:2] == [("train/000000", "train", 0), ("train/000001", "train", 1)]
    assert found[-1] == ("test/000003", "test", 0) and len(found) == 10
    assert dataset.classes == ("0", "1", "2")
    picture = list(dataset)[1].image()
    assert (picture.mode, picture.size) == ("RGB", (3, 2))
    assert np.asarray(picture)[..., 2].tolist() == [[10, 11, 12], [13, 14, 15]]
    assert next(iter(open_dataset(row("idx", tmp_path, splits="test")))).id == "test/000000"
    assert {s.split for s in open_dataset(row("idx", tmp_path))} == {""}
    table = choose_samples(dataset, row("idx", tmp_path, splits="train,test", cap="3"), 0)
    assert table["split"].value_counts().to_dict() == {"train": 3, "test": 3}


def test_idx_content_is_proven_by_its_digest_packed_or_not(tmp_path):
    with pytest.raises(DataError, match="hold data with the digest") as caught:
        open_dataset(row("idx", write_idx(tmp_path / "a"), sha256="0" * 64))
    digest = str(caught.value).split("digest ")[1].split(",")[0]
    open_dataset(row("idx", tmp_path / "a", sha256=digest))
    open_dataset(row("idx", write_idx(tmp_path / "b", zipped=()), sha256=digest))
    with pytest.raises(DataError, match="the published Fashion-MNIST has"):
        open_dataset(row("idx", f"fashion_mnist:{tmp_path / 'a'}"))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.unlink(), "holds neither t10k-images-idx3-ubyte nor"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "cannot be unpacked"),
        (
            lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1])),
            "says 24 values and has 23",
        ),
        (
            lambda path: path.write_bytes(gzip.compress(b"\0\0\x0d\3" + bytes(36))),
            "begins with 00000d03, and an idx file of bytes with 3",
        ),
        (
            lambda path: write_idx(path.parent.parent / "c", {"t10k": 5}) and path.write_bytes(
                (path.parent.parent / "c" / path.name).read_bytes()
            ),
            "5 pictures and 4 labels in test",
        ),
    ],
)  # fmt: skip
def test_damaged_idx_files_are_named(tmp_path, damage, problem):
    damage(write_idx(tmp_path / "a") / "t10k-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match=problem):
        open_dataset(row("idx", tmp_path / "a"))


def test_idx_rows_are_judged_while_planning(tmp_path):
    with pytest.raises(DataError, match="holds neither train-images-idx3-ubyte nor"):
        look_for(row("idx", tmp_path))
    with pytest.raises(ConfigError, match="there is no 'validation'"):
        look_for(row("idx", write_idx(tmp_path), splits="train,validation"))
    look_for(row("idx", tmp_path))
    look_for(row("idx", "fashion_mnist:torchvision"))


def test_torchvision_is_another_way_to_the_same_files(tmp_path, monkeypatch):
    made = []

    def fetch(root, train, download):
        made.append(train)
        write_idx(Path(root) / "FashionMNIST" / "raw", zipped=())

    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cells = row("idx", "fashion_mnist:torchvision")
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    with pytest.raises(DataError, match="never fetched, and HF_HUB_OFFLINE forbids"):
        open_dataset(cells)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(DataError, match="published Fashion-MNIST has") as caught:
        open_dataset(cells)
    digest = str(caught.value).split("digest ")[1].split(",")[0]
    monkeypatch.setattr(idx, "FASHION_SHA256", digest)
    remote = list_remote({}, {"d": cells})
    assert [line["name"] for line in remote] == ["fashion_mnist:torchvision"]
    make_prefetch(remote, tmp_path / "fetched.parquet")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    through = list(open_dataset(cells))
    folder = open_dataset(row("idx", f"fashion_mnist:{write_idx(tmp_path / 'deb')}"))
    assert [(s.id, s.label) for s in through] == [(s.id, s.label) for s in folder]
    assert folder.classes[9] == "ankle boot"
    assert made == [True, False]


FASHION = real("usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(FASHION is None, reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_the_published_one():
    dataset = open_dataset(row("idx", f"fashion_mnist:{FASHION}", splits="train,test"))
    samples = list(dataset)
    counts = np.zeros((2, 10), int)
    for sample in samples:
        counts[int(sample.split == "test"), sample.label] += 1
    assert counts.tolist() == [[6000] * 10, [1000] * 10]
    assert samples[12].id == "train/000012" and samples[12].image().size == (28, 28)
    assert [samples[0].label, samples[60000].label] == [9, 9]


# --- WordNet --------------------------------------------------------------------------------------

LINES = """\
  1 This is the licence | of 05 n
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived; "it is"
00002000 05 n 02 ox 0 cow 1 001 @ 00001740 n 0000 | an animal (large; or small); "the ox"; "a | b"
00003000 15 n 01 hill 0 000 | a place
00004000 04 n 01 run 0 000 | the act of "running"
"""


def test_glosses_are_definitions_without_examples(tmp_path, monkeypatch):
    path = tmp_path / "data.noun"
    path.write_text(LINES, encoding="utf-8")
    cells = row("packaged", f"wordnet_glosses:{tmp_path}", modality="text")
    with pytest.raises(DataError, match="SHA-256"):
        open_dataset(cells)
    monkeypatch.setattr(wordnet_glosses, "SHA256", "")
    dataset = open_dataset(cells)
    assert [(s.id, dataset.classes[s.label], s.text) for s in dataset] == [
        ("n00002000", "animal", "an animal (large; or small)"),
        ("n00003000", "location", "a place"),
        ("n00004000", "act", 'the act of "running"'),
    ]
    look_for(cells)
    for judge in (open_dataset, look_for):
        with pytest.raises(DataError, match="no such file; install Debian's wordnet-base"):
            judge(row("packaged", f"wordnet_glosses:{tmp_path / 'x'}", modality="text"))


WORDNET = real("usr/share/wordnet")


@pytest.mark.skipif(WORDNET is None, reason="Debian's wordnet-base is not installed")
def test_wordnet_has_the_glosses_of_eight_fields():
    dataset = open_dataset(row("packaged", f"wordnet_glosses:{WORDNET}", modality="text"))
    counts = np.bincount([s.label for s in dataset])
    assert counts.tolist() == [7509, 11587, 11087, 8030, 6650, 5607, 3544, 3209]
    words = [len(s.text.split()) for s in dataset]
    assert 11 < np.mean(words) < 12 and min(words) > 0
