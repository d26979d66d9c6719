"""Shards as `ShardWriter` names them, deep pictures, and columns that are called otherwise."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_datasets import picture_bytes, row, server, write_tar
from webdataset import ShardWriter

from consilience.datasets import open_dataset
from consilience.errors import ConfigError, DataError, DepthError
from consilience.samples import make_samples, read_samples

_ = server  # a fixture


def shards(root, name="shard-%06d.tar", count=25, each=2):
    """`count` samples written by the library's own writer; sample i has the label i % 3."""
    root.mkdir(parents=True, exist_ok=True)
    with ShardWriter(str(root / name), maxcount=each, verbose=0) as writer:
        for i in range(count):
            writer.write({"__key__": f"{i:04d}", "png": picture_bytes(i), "cls": str(i % 3)})
    return root


def opened(name, **cells):
    return open_dataset(row("webdataset", name, **cells))


def ids(name, **cells):
    return [sample.id for sample in opened(name, **cells)]


# --- shards of ShardWriter ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shard-%06d.tar", "%d.tar", "part_%d_x.tar"])
def test_shards_of_a_folder_are_read_by_their_numbers(tmp_path, name):
    samples = list(opened(shards(tmp_path / "d", name)))
    assert [sample.id for sample in samples] == [f"{i:04d}" for i in range(25)]
    assert [sample.label for sample in samples] == [i % 3 for i in range(25)]
    assert {sample.split for sample in samples} == {""}


def test_shards_of_a_folder_become_samples(tmp_path):
    shards(tmp_path / "d")
    (tmp_path / "d" / "classnames.txt").write_text("cat\ndog\ncrane\n")
    cells = row("webdataset", tmp_path / "d", cap="12")
    make_samples(cells, 0, tmp_path / "s.parquet")
    table = read_samples(tmp_path / "s.parquet").table
    assert len(table) == 12
    assert (table["label"].to_numpy() == table["id"].astype(int) % 3).all()


@pytest.mark.parametrize(
    "pattern",
    ["shard-{000000..000012}.tar", "shard-{000000..000009}.tar", "{shard-000001,shard-000000}.tar"],
)
def test_shards_named_by_a_pattern(tmp_path, pattern):
    shards(tmp_path / "d")
    found = ids(tmp_path / "d" / pattern)
    expected = {"12}.tar": range(25), "09}.tar": range(20), "000}.tar": [2, 3, 0, 1]}
    wanted = next(v for k, v in expected.items() if pattern.endswith(k))
    assert found == [f"{i:04d}" for i in wanted]


def test_shards_of_splits_are_told_by_words(tmp_path):
    shards(tmp_path / "d", "train-%06d.tar", count=5)
    shards(tmp_path / "d" / "val", "%06d.tar", count=3)
    both = list(opened(tmp_path / "d", splits="train,val"))
    assert [(s.id, s.split) for s in both] == [
        *((f"train/{i:04d}", "train") for i in range(5)),
        *((f"val/{i:04d}", "test") for i in range(3)),
    ]
    assert ids(tmp_path / "d", splits="val") == [f"val/{i:04d}" for i in range(3)]
    pattern = tmp_path / "d" / "{train-{000000..000002},val/{000000..000001}}.tar"
    assert ids(pattern, splits="train,val") == [sample.id for sample in both]
    with pytest.raises(
        DataError, match=r"no shard of the split 'test' in .*; there are: train-0000"
    ):
        opened(tmp_path / "d", splits="test")


def test_shards_of_an_address_by_a_pattern(tmp_path, server, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "cache"))
    shards(tmp_path / "d", count=4)
    address, asked, _ = server
    assert ids(f"{address}/shard-{{000000..000001}}.tar") == [f"{i:04d}" for i in range(4)]
    assert "/shard-000001.tar" in asked
    with pytest.raises(DataError, match=r"shard shard-000002.tar is missing: the column name"):
        ids(f"{address}/shard-{{000000..000002}}.tar")
    with pytest.raises(ConfigError, match=r"column splits is blank.*shard-\{000000\.\.000009\}"):
        ids(address)


def test_shards_that_are_not_all_there(tmp_path):
    root = shards(tmp_path / "d")
    (root / "shard-000004.tar").unlink()
    with pytest.raises(
        DataError, match=r"without shard-000004.tar; .*such as shard-\{000000\.\.000003\}.tar"
    ):
        opened(root)
    with pytest.raises(DataError, match=r"shard-000004.tar is missing.*correct the pattern"):
        ids(root / "shard-{000003..000005}.tar")


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("shard-{000000..000002.tar", ConfigError, "close the braces"),
        ("shard-{000000,000000}.tar", ConfigError, "names shard-000000.tar twice"),
        ("shard-{0..9999999999}.tar", ConfigError, "names over 1,000,000 shards"),
    ],
)
def test_patterns_that_cannot_be_meant(tmp_path, pattern, error, message):
    with pytest.raises(error, match=message):
        opened(shards(tmp_path / "d", count=2) / pattern)


def test_a_folder_without_shards(tmp_path):
    with pytest.raises(DataError, match=r"has no shards \(\*.tar\): none"):
        opened(tmp_path)
    (tmp_path / "shard-000000.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"only packed ones \(shard-000000.tar.gz, …\); unpack"):
        opened(tmp_path)


def test_a_key_ends_at_its_first_dot(tmp_path):
    write_tar(tmp_path / "0.tar", [("img.001.jpg", picture_bytes(1, "jpg")), ("img.001.cls", b"1")])
    with pytest.raises(
        DataError, match=r"first dot: write img.001.jpg into the shard as img_001.jpg"
    ):
        ids(tmp_path)


# --- pictures of more than 8 bits -----------------------------------------------------------------


def deep(path, values):
    Image.fromarray(np.asarray(values)).save(path)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (np.array([[0, 12850], [65535, 257]], np.uint16), "a.png"),
        (np.array([[0, 12850], [65535, 257]], np.int32), "a.tif"),
        (np.array([[0, 12850], [65535, 257]], np.float32), "a.tif"),
    ],
)
def test_deep_pictures_are_scaled_by_their_range(tmp_path, values, name):
    deep(tmp_path / name, values)
    (sample,) = open_dataset(row("folder", tmp_path, pixel_range="0,65535"))
    picture = sample.image()
    assert picture.mode == "RGB"
    expected = np.rint(values / 257).astype(int)  # 65535 = 255 x 257
    assert (np.asarray(picture)[:, :, 0] == expected).all()
    assert (np.asarray(picture) == np.asarray(picture)[:, :, :1]).all()


def test_deep_pictures_without_a_range_are_not_called_damaged(tmp_path):
    deep(tmp_path / "a.png", np.array([[7, 4095]], np.uint16))
    for skip in ("", "yes"):
        with pytest.raises(
            DepthError, match=r"7 to 4095 here\) have no agreed range; .*column pixel_range"
        ):
            make_samples(row("folder", tmp_path, skip_corrupt=skip), 0, tmp_path / "s.parquet")
    with pytest.raises(DepthError, match=r"from 7 to 4095, outside of .*\(0,255\); widen it"):
        make_samples(row("folder", tmp_path, pixel_range="0,255"), 0, tmp_path / "s.parquet")
    with pytest.raises(ConfigError, match=r"pixel_range \('255,0'\)"):
        open_dataset(row("folder", tmp_path, pixel_range="255,0"))


def test_deep_pictures_in_shards_and_tables(tmp_path):
    deep(tmp_path / "a.png", np.array([[0, 65535]], np.uint16))
    content = (tmp_path / "a.png").read_bytes()
    write_tar(tmp_path / "shards" / "0.tar", [("a.png", content), ("a.cls", b"0")])
    (tmp_path / "tables").mkdir()
    pq.write_table(pa.table({"image": [content]}), tmp_path / "tables" / "a.parquet")
    for source in ("webdataset", "huggingface"):
        name = tmp_path / {"webdataset": "shards", "huggingface": "tables"}[source]
        (sample,) = open_dataset(row(source, name, pixel_range="0,65535"))
        assert np.asarray(sample.image())[0, :, 0].tolist() == [0, 255]


# --- columns --------------------------------------------------------------------------------------


def test_columns_that_could_be_meant(tmp_path):
    struct = pa.array(
        [{"bytes": b"x", "path": ""}], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    columns = {"img": struct, "caption": [["a", "b"]], "url": ["u"], "cls": [1]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(
        DataError,
        match=r"no column 'text' for the text; there are .* caption or url could .*`text=caption`",
    ):
        open_dataset(row("huggingface", tmp_path, modality="text"))
    with pytest.raises(DataError, match=r"did you mean 'img'\? Write `image=img` into the column"):
        open_dataset(row("huggingface", tmp_path, modality="image"))
    found = open_dataset(row("huggingface", tmp_path, modality="text", columns="text=caption"))
    assert [sample.text for sample in found] == ["a"]
