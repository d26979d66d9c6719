"""What people really have in shards, Parquet files and folders, beside what is read."""

import io
import json
import logging
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_datasets import picture_bytes, row, write_tar

from consilience.datasets import look_for, open_dataset
from consilience.errors import ConfigError, DataError, DepthError

TEXTS = ["one", "two", "three"]


def refused(source, name, told, error=DataError, **cells):
    with pytest.raises(error, match=told):
        list(open_dataset(row(source, name, **cells)))


# --- shards ---------------------------------------------------------------------------------------


def shard(path, *more):
    members = [(f"{i}.{end}", content) for i in range(2) for end, content in more]
    write_tar(path, sorted([*((f"{i}.png", picture_bytes(i)) for i in range(2)), *members]))
    return path.parent


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("json", json.dumps({"url": "", "label": 1}).encode()), "its label is 'label' in its js"),
        (("lbl", b"1"), "its label is called lbl"),
    ],
)
def test_labels_that_are_not_read_are_told(tmp_path, more, told):
    refused("webdataset", shard(tmp_path / "0.tar", more), told)


@pytest.mark.parametrize("content", [b'{"url": "u", "label": null}', b"[1]", b"not json"])
def test_metadata_without_a_label_are_left_alone(tmp_path, content):
    found = list(open_dataset(row("webdataset", shard(tmp_path / "0.tar", ("json", content)))))
    assert [sample.label for sample in found] == [None, None]


def test_members_that_stand_apart_are_told(tmp_path):
    pictures = [(f"{i}.png", picture_bytes(i)) for i in range(2)]
    write_tar(tmp_path / "0.tar", [*pictures, *((f"{i}.txt", b"t") for i in range(2))])
    refused("webdataset", tmp_path, "0.tar:0: its members stand apart .*tar --sort=name")


def test_shards_that_count_themselves(tmp_path):
    for i in (0, 1, 3):
        write_tar(tmp_path / f"s-{i:05d}-of-00004.tar", [(f"{i}.png", picture_bytes(i))])
    refused("webdataset", tmp_path, "3 of the 4 shards s-NUMBER-of-00004.tar; complete")
    write_tar(tmp_path / "s-00002-of-00004.tar", [("2.png", picture_bytes(2))])
    found = open_dataset(row("webdataset", tmp_path))
    assert [sample.id for sample in found] == ["0", "1", "2", "3"]


def test_one_shard_by_its_name(tmp_path):
    for i in range(2):
        write_tar(tmp_path / f"{i}.tar", [(f"{i}.png", picture_bytes(i))])
    found = open_dataset(row("webdataset", tmp_path / "1.tar"))
    assert [sample.id for sample in found] == ["1"]
    refused("webdataset", tmp_path / "*.tar", "named by braces, not by stars", ConfigError)


def test_hidden_files_and_marks_of_editors_are_none_of_the_data(tmp_path):
    write_tar(tmp_path / "0.tar", [("0.txt", b"\xef\xbb\xbfone")])
    pq.write_table(pa.table({"text": ["two"]}), tmp_path / "a.parquet")
    for name in ("._0.tar", "._a.parquet", ".trash/1.tar", ".trash/a.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for source, text in (("webdataset", "one"), ("huggingface", "two")):
        found = open_dataset(row(source, tmp_path, modality="text"))
        assert [sample.text for sample in found] == [text]


# --- Parquet --------------------------------------------------------------------------------------


def tables(folder, **columns):
    for name, table in columns.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return folder


@pytest.mark.parametrize(
    ("first", "second", "lacking"),
    [
        ({"text": TEXTS, "label": [0, 1, 0]}, {"text": TEXTS}, "b.parquet has no column 'label'"),
        ({"text": TEXTS}, {"text": TEXTS, "label": [0, 1, 0]}, "a.parquet has no column 'label'"),
        ({"text": TEXTS}, {"txt": TEXTS}, "b.parquet has no column 'text' .* a.parquet has"),
    ],
)
def test_files_of_other_columns_are_told(tmp_path, first, second, lacking):
    refused("huggingface", tables(tmp_path, a=first, b=second), lacking, modality="text")


PICTURE = {"bytes": picture_bytes(0), "path": None}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", [{"en": "one", "fr": "un"}]),
        ("text", [[{"raw": "one"}]]),
        ("text", [7]),
        ("image", [[PICTURE, PICTURE]]),
        ("image", ["iVBORw0KGgo="]),
        ("id", [["one"]]),
        ("id", [b"one"]),
        ("label", [[1, 2]]),
    ],
)
def test_columns_that_cannot_be_what_is_read(tmp_path, kind, values):
    columns = {"text": ["one"], kind: values}
    modality = "image" if kind == "image" else "text"
    told = f"'{kind}' holds .* what is read as the {kind} is .*{kind}=COLUMN"
    named = f"{kind}={kind}"
    refused("huggingface", tables(tmp_path, a=columns), told, modality=modality, columns=named)


def test_columns_that_keep_values_once_are_read(tmp_path):
    columns = {
        "text": pa.array(TEXTS).dictionary_encode(),
        "label": pa.array(["x", "y", "x"], pa.large_string()).dictionary_encode(),
    }
    found = list(open_dataset(row("huggingface", tables(tmp_path, a=columns), modality="text")))
    assert [sample.text for sample in found] == TEXTS
    assert [sample.label for sample in found] == [0, 1, 0]


def test_blank_ids_and_labels_of_other_classes(tmp_path):
    tables(tmp_path, a={"text": TEXTS, "i": ["x", None, "z"]})
    refused(
        "huggingface", tmp_path, "a.parquet:1: its 'i' is blank", modality="text", columns="id=i"
    )
    names = {"info": {"features": {"label": {"names": ["x", "z"], "_type": "ClassLabel"}}}}
    table = pa.table({"text": TEXTS, "label": ["x", "y", "x"]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    pq.write_table(table, tmp_path / "a.parquet")
    refused("huggingface", tmp_path, "label 'y' is none of the classes .*x, z", modality="text")


def test_labels_called_otherwise_are_told(tmp_path, caplog):
    tables(tmp_path, a={"text": TEXTS, "fine_label": [0, 1, 0]})
    with caplog.at_level(logging.WARNING):
        open_dataset(row("huggingface", tmp_path, modality="text"))
    assert "write `label=fine_label` into" in caplog.text


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("text=text text=other", "'text' is given twice"),
        ("text=my text", "'text' is not KIND=COLUMN .*rename"),
        ("txt=text", "'txt=text' is unknown; did you mean 'text'"),
    ],
)
def test_columns_that_are_not_understood(tmp_path, cell, told):
    tables(tmp_path, a={"text": TEXTS, "other": TEXTS, "my text": TEXTS})
    refused("huggingface", tmp_path, told, ConfigError, modality="text", columns=cell)


@pytest.mark.parametrize("notes", ["none", "[1]", '{"info": null}'])
def test_notes_of_other_tools_hold_no_class_names(tmp_path, notes):
    table = pa.table({"text": TEXTS, "label": [0, 1, 1]})
    table = table.replace_schema_metadata({"huggingface": notes})
    pq.write_table(table, tmp_path / "a.parquet")
    assert open_dataset(row("huggingface", tmp_path, modality="text")).classes == ("0", "1")


def test_a_file_of_two_splits_is_told(tmp_path):
    (tmp_path / "test").mkdir()
    tables(tmp_path / "test", train={"text": TEXTS})
    refused(
        "huggingface", tmp_path, "belongs to two of the splits", modality="text",
        splits="train,test",
    )  # fmt: skip


# --- folders and pictures -------------------------------------------------------------------------


def test_splits_are_no_classes(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "a.png").write_bytes(picture_bytes(0))
    refused("folder", tmp_path, r"called like splits \(train, val\) .* column splits")
    assert open_dataset(row("folder", tmp_path, splits="train,val")).classes == ("cat", "dog")
    (tmp_path / "bus").mkdir()
    (tmp_path / "bus" / "a.png").write_bytes(picture_bytes(0))
    assert open_dataset(row("folder", tmp_path)).classes == ("bus", "train", "val")


def test_a_folder_of_all_pictures_of_a_split_is_no_class(tmp_path):
    for path in ("train/n1/images", "train/n2/images", "val/images"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "a.png").write_bytes(picture_bytes(0))
    refused("folder", tmp_path, "'val' lie in the folder 'images', .*n1, n2", splits="train,val")
    found = open_dataset(row("folder", tmp_path, splits="train"))
    assert found.classes == ("n1", "n2")


def colours(values):
    """A PNG of 16 bits in each of three channels, (h, w, 3)."""
    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    for kind, data in chunks:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        out.write(struct.pack(">I", len(data)) + kind + data + crc)
    return out.getvalue()


def test_deep_colours_get_no_range(tmp_path):
    values = np.full((2, 2, 3), 4095)
    (tmp_path / "a.png").write_bytes(colours(values))
    for span, seen in (("", 15), ("0,65535", 15)):  # 4095 / 257 is 15.9, of which 15 is read
        (sample,) = open_dataset(row("folder", tmp_path, pixel_range=span))
        assert (np.asarray(sample.image()) == seen).all()
    (sample,) = open_dataset(row("folder", tmp_path, pixel_range="0,4095"))
    with pytest.raises(DepthError, match=r"16 bits, of which only the upper 8 .* convert"):
        sample.image()


def test_a_range_without_an_end_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(picture_bytes(0))
    refused("folder", tmp_path, "column pixel_range .*0,inf", ConfigError, pixel_range="0,inf")


@pytest.mark.parametrize("name", ["", "blob", "blobs m=3", "blobs n=few"])
def test_synthetic_rows_are_judged_while_planning(name):
    with pytest.raises(ConfigError, match="column name"):
        look_for(row("synthetic", name))
    look_for(row("synthetic", "blobs n=3"))
