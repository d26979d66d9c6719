"""Shards and tables that would give labels, pictures or rows of another file."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_datasets import picture_bytes, row, shards_row, write_tar

from consilience.datasets import open_dataset
from consilience.errors import DataError
from consilience.samples import make_samples, read_samples


def write(path, labels, names=None, texts=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"text": texts or [f"{path.stem} {i}" for i in range(len(labels))], "label": labels}
    feature = {"names": names, "_type": "ClassLabel"} if names else {"_type": "Value"}
    notes = json.dumps({"info": {"features": {"label": feature}}})
    pq.write_table(pa.table(content).replace_schema_metadata({"huggingface": notes}), path)


def tables(root, **cells):
    return row("huggingface", root, modality="text", **cells)


def texts_of(root, **cells):
    return [sample.text for sample in open_dataset(tables(root, **cells))]


# Order and number of files


@pytest.mark.parametrize("form", ["part-{}", "train-{}", "data/{}", "a/train_{}", "{:03d}", "x{}y"])
@pytest.mark.parametrize("splits", ["", "train"])
def test_files_are_read_in_natural_order(tmp_path, form, splits):
    root = tmp_path / "train"
    for number in range(12):
        write(root / f"{form.format(number)}.parquet", [0], texts=[str(number)])
    assert texts_of(tmp_path, splits=splits) == [str(number) for number in range(12)]


@pytest.mark.parametrize(
    ("numbers", "count", "message"),
    [
        ([0, 2], 3, "there are 2 of 3 files train-NUMBER-of-3.parquet, number 1 is missing"),
        ([0, 1], 3, "number 2 is missing"),
        ([1, 2], 3, "number 0 is missing"),
        ([1], 2, "number 0 is missing"),
        ([0, 1, 2], 3, ""),
        ([1, 2, 3], 3, ""),
        ([0], 1, ""),
    ],
)
@pytest.mark.parametrize("splits", ["", "train"])
def test_files_that_others_count(tmp_path, numbers, count, message, splits):
    for number in numbers:
        write(tmp_path / f"train-{number:05d}-of-{count:05d}.parquet", [0])
    if not message:
        assert len(texts_of(tmp_path, splits=splits)) == len(numbers)
        return
    with pytest.raises(DataError, match=message):
        texts_of(tmp_path, splits=splits)


def test_files_with_hashes_behind_their_numbers(tmp_path):
    for name in ("0-of-2-0123456789abcdef", "1-of-2-fedcba9876543210"):
        write(tmp_path / f"train-{name}.parquet", [0])
    assert len(texts_of(tmp_path, splits="train")) == 2


def test_files_of_two_countings(tmp_path):
    for name in ("train-0-of-1", "train-0-of-2", "train-1-of-2"):
        write(tmp_path / f"{name}.parquet", [0])
    assert len(texts_of(tmp_path, splits="train")) == 3  # two sets, both whole
    write(tmp_path / "train-00-of-2.parquet", [0])
    (tmp_path / "train-1-of-2.parquet").rename(tmp_path / "train-1-of-2-0123456789abcdef.parquet")
    (tmp_path / "train-0-of-2.parquet").rename(tmp_path / "train-0-of-2-fedcba9876543210.parquet")
    with pytest.raises(DataError, match=r"there are 3 of 2 files .* one is there twice"):
        texts_of(tmp_path, splits="train")


# Configurations


@pytest.mark.parametrize(
    "names", [("en/train-0", "de/train-0"), ("train-0", "old/train-0"), ("a/train/0", "b/train/0")]
)
@pytest.mark.parametrize("splits", ["train", ""])
def test_two_configurations_under_one_split_are_refused(tmp_path, names, splits):
    for name in names:
        write(tmp_path / f"{name}.parquet", [0])
    with pytest.raises(
        DataError, match=r"the split 'train' is there in 2 folders.*name the folder"
    ):
        texts_of(tmp_path, splits=splits)
    assert len(texts_of(tmp_path / names[1].split("/")[0], splits="train")) == 1


def test_folders_within_a_split_and_splits_in_folders_are_one_configuration(tmp_path):
    for name in ("data/train/a/0", "data/train/b/0", "data/test/0"):
        write(tmp_path / f"{name}.parquet", [0])
    assert len(texts_of(tmp_path, splits="train,test")) == 3
    assert len(texts_of(tmp_path)) == 3  # without splits all files are one pool


# Labels


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (["dog", "cat"], r"train-1.* calls the classes of 'label' \(dog, cat\), .*\(cat, dog\)"),
        (["cat", "dog", "crane"], r"\(cat, dog, crane\), .*train-0.parquet \(cat, dog\)"),
        (None, r"calls the classes of 'label' nothing, .*\(cat, dog\)"),
    ],
)
@pytest.mark.parametrize("other", ["train-1", "test-0"])
def test_class_names_that_differ_between_files_are_refused(tmp_path, second, message, other):
    write(tmp_path / "train-0.parquet", [0, 1], ["cat", "dog"])
    write(tmp_path / f"{other}.parquet", [0, 1], second)
    splits = "train,test" if other == "test-0" else "train"
    with pytest.raises(DataError, match=message.replace("train-1", other)):
        open_dataset(tables(tmp_path, splits=splits))
    write(tmp_path / f"{other}.parquet", [0, 1], ["cat", "dog"])
    assert open_dataset(tables(tmp_path, splits=splits)).classes == ("cat", "dog")


def test_labels_of_two_types_are_refused(tmp_path):
    write(tmp_path / "0.parquet", [0, 1])
    write(tmp_path / "1.parquet", ["cat", "dog"])
    with pytest.raises(DataError, match=r"'label' of 0\.parquet, 1\.parquet holds .* int and str"):
        open_dataset(tables(tmp_path))


def test_large_class_numbers_cost_nothing_or_are_refused(tmp_path):
    write(tmp_path / "0.parquet", [20_000, 1, 20_000, 1])
    make_samples(tables(tmp_path), 0, tmp_path / "s.samples")
    assert len(read_samples(tmp_path / "s.samples").classes) == 20_001
    write(tmp_path / "0.parquet", [10**9, 1, 10**9, 1])
    with pytest.raises(DataError, match="holds 1000000000 for 4 samples"):
        open_dataset(tables(tmp_path))


# Pictures


@pytest.mark.parametrize("ends", [("jpg", "png"), ("png", "webp"), ("jpeg", "jpg"), ("png", "jpg")])
def test_two_pictures_under_one_key_are_refused(tmp_path, ends):
    members = [(f"a.{end}", picture_bytes(i, end)) for i, end in enumerate(ends)]
    write_tar(tmp_path / "test" / "0.tar", [*members, ("a.cls", b"0")])
    (tmp_path / "test" / "nshards.txt").write_text("1")
    with pytest.raises(DataError, match=r"0.tar:a: it has 2 pictures \(\w+, \w+\), and which one"):
        list(open_dataset(shards_row(tmp_path)))


@pytest.mark.parametrize("name", ["label", "labels", "target", "cls.txt", "class", "label.txt"])
def test_labels_under_other_names_are_not_dropped(tmp_path, name):
    write_tar(tmp_path / "test" / "0.tar", [("a.png", picture_bytes(1)), (f"a.{name}", b"0")])
    (tmp_path / "test" / "nshards.txt").write_text("1")
    with pytest.raises(DataError, match=rf"0\.tar:a: its label is called {name}; write it as cls"):
        list(open_dataset(shards_row(tmp_path)))


@pytest.mark.parametrize("text", ["\ncat\ndog\n", "cat\n\ndog\n"])
def test_a_class_without_a_name_is_refused(tmp_path, text):
    """Left out, it would give its name to the class before."""
    write_tar(tmp_path / "test" / "0.tar", [("a.png", picture_bytes(1)), ("a.cls", b"0")])
    (tmp_path / "test" / "nshards.txt").write_text("1")
    (tmp_path / "classnames.txt").write_text(text)
    with pytest.raises(DataError, match=r"classnames.txt line \d is blank, so that class \d"):
        open_dataset(shards_row(tmp_path))
    (tmp_path / "classnames.txt").write_bytes("\ufeffcat\u2028a\r\ndog\r\n\r\n".encode())
    assert open_dataset(shards_row(tmp_path)).classes == ("cat\u2028a", "dog")


def test_classes_without_labels_are_refused(tmp_path):
    members = [("a.png", picture_bytes(1)), ("a.json", b"{}"), ("b.png", picture_bytes(2))]
    write_tar(tmp_path / "test" / "0.tar", members)
    (tmp_path / "test" / "nshards.txt").write_text("1")
    assert [sample.label for sample in open_dataset(shards_row(tmp_path))] == [None, None]
    (tmp_path / "classnames.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match=r"it has no cls .* among its members \(json, png\)"):
        list(open_dataset(shards_row(tmp_path)))
