"""K18: what a file declares is held against limits before it is read; only files are opened."""

import io
import json
import os
import socket
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from contextlib import contextmanager

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
import torch
from PIL import Image
from safetensors.numpy import save_file
from torch import nn

from consilience import limits
from consilience.bundle import open_bundle
from consilience.cli.compare import _read
from consilience.config.once import load_once
from consilience.datasets import _base, huggingface, idx, open_dataset
from consilience.datasets._shards import list_shards
from consilience.datasets.webdataset import Root
from consilience.errors import ConfigError, ConsilienceError, RefusedError
from consilience.features.foreign import read_foreign
from consilience.features.reading import read_header
from consilience.files import file_digest, locate, read_table
from consilience.limits.networks import building, check_config
from consilience.limits.reading import check_nesting, parse_json
from consilience.limits.tables import read_data_frame, read_whole
from consilience.models import load_model
from consilience.networks import CLASSES, Task, build

ENOUGH = 64 << 20
"""Bytes that a refusal may take."""


@contextmanager
def refused(match):
    """A refusal that says what, within little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ConsilienceError, match=match) as caught:
            yield caught
        assert tracemalloc.get_traced_memory()[1] < ENOUGH
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@contextmanager
def refused_alone(match):
    """A refusal that says what; libraries that it imports take memory and time."""
    with pytest.raises(ConsilienceError, match=match) as caught:
        yield caught
    assert "\n" not in str(caught.value)


def head(shape, dtype="<f4"):
    """The head of an `.npy` file that declares a shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


HUGE = (10**9, 1024)


def test_limits_are_set_by_the_user_and_not_by_the_study(monkeypatch):
    assert limits.limit("shards") == limits.LIMITS["shards"].most
    monkeypatch.setenv(limits.VARIABLE, "shards=12, pixels=1_000")
    assert limits.limit("shards") == 12 and limits.limit("pixels") == 1000
    for wrong in ("shard=3", "shards=-1", "shards", "shards=1e9", "shards=" + "9" * 30):
        monkeypatch.setenv(limits.VARIABLE, wrong)
        with pytest.raises(ConfigError, match=rf"{limits.VARIABLE}: '{wrong}' is no NAME=NUMBER"):
            limits.limit("shards")


def test_a_refusal_says_how_a_sound_file_is_read(monkeypatch, tmp_path):
    np.savez_compressed(tmp_path / "x.npz", features=np.zeros((300_000, 256), np.float32))
    with refused("declares 307,2.* set CONSILIENCE_LIMITS=ratio=[0-9]+") as caught:
        read_foreign(tmp_path / "x.npz")
    monkeypatch.setenv(limits.VARIABLE, str(caught.value).rpartition("CONSILIENCE_LIMITS=")[2])
    assert read_foreign(tmp_path / "x.npz").pieces[0].rows == 300_000


# Imported features


def write_npy(path):
    path.write_bytes(head(HUGE) + bytes(100))


def write_npz(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("features.npy", head(HUGE) + bytes(100))


def write_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", head((10**6, 100)) + bytes(4 * 10**8))


def write_twice(path):
    with zipfile.ZipFile(path, "w") as archive:
        for value in (0, 1):
            archive.writestr("features.npy", head((1, 1)) + bytes([value, 0, 0, 0]))


def write_many(path):
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(60):
            archive.writestr(f"{i}.npy", head((1, 1)) + bytes(4))


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("features", HUGE, "f4", chunks=(1, 1024))


def write_elsewhere(path):
    (path.parent / "secret").write_bytes(bytes(400))
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "features", (10, 10), "f4", external=[(str(path.parent / "secret"), 0, 400)]
        )


def write_expanded(path):
    torch.save(torch.zeros(1).expand(10**9, 1024), path)


def write_in_itself(path):
    table = {"x": torch.zeros(2, 2)}
    table["table"] = table
    torch.save(table, path)


def write_repeated(path):
    pq.write_table(pa.table({f"u{i}": np.zeros(3_000_000) for i in range(20)}), path)


@pytest.mark.parametrize(
    ("name", "write", "match"),
    [
        ("x.npy", write_npy, "its head declares 4,096,000,000,000 bytes .* 100 follow"),
        ("x.npz", write_npz, "its head declares 4,096,000,000,000 bytes .* 100 follow"),
        ("x.npz", write_bomb, "declares 400,000,.* set CONSILIENCE_LIMITS=ratio="),
        ("x.npz", write_twice, "holds 'features.npy' twice"),
        ("x.npz", write_many, "declares 60 files, and at most 50 are read"),
        ("x.h5", write_hdf5, "declares 4,096,000,000,000 bytes"),
        ("x.h5", write_elsewhere, "keeps its values in other files"),
        ("x.pt", write_expanded, "declares 4,096,000,000,000 bytes"),
        ("x.pt", write_in_itself, "levels in one another"),
        ("x.parquet", write_repeated, "declares 480,000,000 of what it holds"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_features_that_declare_more_than_they_hold(tmp_path, monkeypatch, name, write, match):
    monkeypatch.setenv(limits.VARIABLE, "archive_members=50")
    write(tmp_path / name)
    with refused(match):
        read_foreign(tmp_path / name)
    if name in ("x.npy", "x.npz"):
        with refused(match):
            _read(str(tmp_path / name))


# Pipes, sockets and devices


@pytest.fixture
def pipe(tmp_path):
    """A named pipe: to open it would wait for ever."""

    def make(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        return path

    return make


READERS = {
    "x.npy": read_foreign,
    "x.pt": read_foreign,
    "x.h5": read_foreign,
    "x.safetensors": read_header,
    "x.parquet": read_table,
    "pairs.parquet": read_data_frame,
    "pairs.csv": read_data_frame,
    "weights": file_digest,
    "digits.csv": lambda path: locate(str(path)),
    "x.png": lambda path: _base.decode(path, "x"),
    "bundle.zip": open_bundle,
    "c.npy": lambda path: _read(str(path)),
}


@pytest.mark.parametrize("name", READERS)
def test_a_named_pipe_is_not_opened(pipe, name):
    path = pipe(name)
    with refused("is a named pipe, and only files are read"):
        READERS[name](path)


def test_sockets_and_devices_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("s.npy")
        with refused("is a socket"):
            read_foreign("s.npy")
    (tmp_path / "d.npy").symlink_to("/dev/zero")
    with refused("is a device"):
        read_foreign(tmp_path / "d.npy")


@pytest.mark.parametrize("source", ["timm", "transformers", "open_clip", "checkpoint"])
def test_a_pipe_in_the_place_of_weights(pipe, tmp_path, source):
    path = pipe("folder/config.json")
    folder = {"timm": "local-dir:", "open_clip": "local-dir:"}.get(source, "") + str(path.parent)
    row = {"model": "m", "source": source, "name": folder, "modality": "image"}
    if source == "checkpoint":
        row |= {"name": "torchvision:resnet18", "weights": str(path)}
    with refused_alone("is a named pipe"):
        load_model(row)


def test_a_pipe_in_a_bundle_and_among_pictures(pipe, tmp_path):
    path = pipe("bundle/manifest.json")
    with refused("is a named pipe"):
        open_bundle(path.parent)
    pipe("pictures/a/1.png")
    dataset = open_dataset({"dataset": "d", "source": "folder", "name": str(tmp_path / "pictures")})
    with refused("is a named pipe"):
        next(iter(dataset)).image()


# Stimuli


def png(width, height):
    """A PNG that declares a size and holds nothing."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\x02\0\0\0") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_500, 13_000, 60_000])
def test_pictures_of_too_many_pixels(side, recwarn):
    with refused(rf"a.png declares {side * side:,} pixels, and at most 89,478,485 are read"):
        _base.decode(png(side, side), "a.png")


def test_the_limit_of_pixels_can_be_raised(monkeypatch):
    monkeypatch.setenv(limits.VARIABLE, "pixels=15")
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG")
    with refused("declares 16 pixels"):
        _base.decode(stream.getvalue(), "a.png")
    monkeypatch.setenv(limits.VARIABLE, "pixels=200000000")
    assert _base.decode(stream.getvalue(), "a.png").size == (4, 4)
    with pytest.raises(ConsilienceError, match="cannot be decoded"):  # it is let through
        _base.decode(png(13_000, 13_000), "a.png")


def parquet_row(folder, table, name="train.parquet", **options):
    folder.mkdir(exist_ok=True)
    pq.write_table(table, folder / name, **options)
    return {"dataset": "d", "source": "huggingface", "name": str(folder), "modality": "text"}


@pytest.mark.parametrize("label", [100_000, 100_000_000, 2**62])
def test_labels_that_are_no_classes(tmp_path, label, monkeypatch):
    row = parquet_row(tmp_path / "d", pa.table({"text": ["a", "b"], "label": [0, label]}))
    with refused(f"holds {label} for 2 samples: .* CONSILIENCE_LIMITS=classes=NUMBER"):
        huggingface.open(row)
    monkeypatch.setenv(limits.VARIABLE, "classes=100_001")
    if label == 100_000:
        assert len(huggingface.open(row).classes) == 100_001


def test_names_that_count_more_files_than_memory_holds(tmp_path):
    table = pa.table({"text": ["a"]})
    row = parquet_row(tmp_path / "d", table, "train-00000-of-99999999999.parquet")
    with refused("there are 1 of 99999999999 files .* number 1 is missing"):
        huggingface.open(row)


@pytest.mark.parametrize("text", ["99999999999", "9" * 5000, "0", "many", "１"])
def test_counts_of_shards(tmp_path, text):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "nshards.txt").write_text(text)
    with refused("declares 99,999,999,999 shards|not a number of shards"):
        list_shards(Root(str(tmp_path)), "", {"test": "test"}, "dataset 'd'")


@pytest.mark.parametrize("pattern", ["{a..z}" * 6, "{0..99999999999}", "{1.." + "9" * 5000 + "}"])
def test_patterns_that_name_too_many_shards(tmp_path, pattern):
    with refused("it names over 1,000,000 shards"):
        list_shards(Root(str(tmp_path)), f"{pattern}.tar", {}, "dataset 'd'")


def test_an_idx_file_that_unpacks_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE", 1 << 20)
    for start in idx.SPLITS.values():
        for kind in idx.KINDS:
            content = zlib.compressobj(wbits=31)
            path = tmp_path / f"{start}-{kind}.gz"
            path.write_bytes(content.compress(bytes(1 << 25)) + content.flush())
    with refused("declares 16,777,216 of what it holds"):
        idx.open({"dataset": "d", "name": str(tmp_path)})


# Tables and bundles


def table_of(path, **columns):
    pq.write_table(pa.table(columns), path, compression="zstd")
    return path


def test_a_table_of_more_rows_than_its_bytes_hold(tmp_path):
    path = table_of(tmp_path / "x.parquet", value=np.zeros(1_200_000))
    with refused("declares 1,200,000 rows, more than it can hold"):
        read_whole(path, path)


def test_a_table_that_repeats_a_long_text(tmp_path):
    path = table_of(tmp_path / "x.parquet", text=["x" * 20_000] * 20_000)
    with refused("declares 400,.* of what it holds"):
        read_whole(path, path)


def test_a_sound_table_is_read_as_it_is(tmp_path):
    table = pa.table(
        {"id": ["a", "b", None], "x": [1.5, None, 2.0], "names": [["a"], [], None]},
        metadata={"consilience": "{}"},
    )
    pq.write_table(table, tmp_path / "x.parquet")
    found = read_whole(tmp_path / "x.parquet", "x")
    assert found.equals(table) and found.schema.metadata == {b"consilience": b"{}"}


def test_bundles_that_unpack_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE", 1 << 20)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * (1 << 24))
    with refused("declares 16,777,216 of what it holds"):
        open_bundle(tmp_path / "b.zip")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "manifest.json").write_text("[" * 100_000)
    with refused("nests JSON deeper than 64 levels"):
        open_bundle(tmp_path / "b")
    monkeypatch.setenv(limits.VARIABLE, "bundle_bytes=1000")
    with refused("declares 100,000 bytes or more"):
        open_bundle(tmp_path / "b")


# Nesting


def test_nesting_of_json_and_yaml():
    deep = "[" * 65 + "]" * 65
    assert parse_json(deep[1:-1], "x")
    for text in (deep, "[" * 100_000):
        with refused("x (nests JSON deeper than 64|declares 65) levels"):
            parse_json(text, "x")
    for text in (deep, "[" * 5000, "a: &a [*a]"):
        with pytest.raises(Exception, match="levels"):
            load_once(text)
    laughs = "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"b{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
    )
    with pytest.raises(Exception, match="entries, each alias written out"):
        load_once(laughs)
    check_nesting({"a": [1, (2, {"b": 3})]}, "x")


# Networks


def test_networks_are_counted_before_they_are_built(monkeypatch):
    with refused_alone("w declares 10,000,000,000,000 numbers in one tensor"), building("w"):
        nn.Linear(10**7, 10**6)
    with refused_alone("w declares 4,000,000,000,000 bytes or more of weights"), building("w"):
        torch.linspace(0, 1, 10**12)
    with building("w"), torch.device("meta"):
        nn.Linear(10**6, 10**5)
    monkeypatch.setenv(limits.VARIABLE, "parameters=1000,modules=50")
    with refused_alone("declares 1,0.. parameters or more"), building("w"):
        nn.Sequential(*(nn.Linear(9, 9) for _ in range(100)))
    with refused_alone("declares 51 modules or more"), building("w"):
        nn.Sequential(*(nn.Identity() for _ in range(100)))
    with building("w"):
        assert len(nn.Sequential(*(nn.Identity() for _ in range(50)))) == 50
    assert len(nn.Sequential(*(nn.Identity() for _ in range(100)))) == 100  # and no longer


def test_weights_are_drawn_as_without_a_count():
    task = Task("vector", (6,), 3, objective=CLASSES)
    one = build("small:mlp", {}, task, seed=1).state_dict()
    torch.manual_seed(1)
    from consilience.networks.libraries import small  # noqa: PLC0415

    other = small.build("mlp", {}, task).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_options_of_absurd_sizes_are_refused():
    task = Task("vector", (6,), 3, objective=CLASSES)
    with refused_alone("bytes or more of weights"):
        build("small:mlp", {"width": 10**11}, task)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"num_hidden_layers": 10**12}, "declares 1,000,000,000,000 of num_hidden_layers"),
        ({"intermediate_size": 10**12}, "numbers in one tensor"),
        ({"vocab_size": 10**11}, "bytes or more of weights"),
    ],
    ids=str,
)
def test_configurations_of_absurd_sizes_are_refused(tmp_path, changes, match):
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8,
        "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    words = tokenizers.models.WordLevel({"a": 0, "[UNK]": 1}, "[UNK]")
    tokenizers.Tokenizer(words).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "a"})
    )
    row = {"model": "m", "source": "transformers", "name": str(tmp_path), "weights": "random"}
    with pytest.raises(ConsilienceError, match=match):
        load_model(row)


def test_only_counts_of_a_configuration_are_bounded():
    check_config({"max_position_embeddings": 10**30, "layers": [3, 4], "headroom": 10**5}, "x")
    with refused_alone("declares 1,000,000 of depths"):
        check_config({"tower": {"depths": [2, 10**6]}}, "x")


def test_a_sound_file_is_read_within_all_limits(tmp_path):
    save_file({"l": np.ones((3, 2), np.float32)}, tmp_path / "x.safetensors")
    assert read_foreign(tmp_path / "x.safetensors").pieces[0].rows == 3
    assert issubclass(RefusedError, ConsilienceError)


def test_counting_a_network_loads_no_compiler():
    """It takes 1.5 s of CPU, in each job that builds a network."""
    code = (
        "import sys, torch; from consilience.limits.networks import building\n"
        "with building('x'): torch.nn.TransformerEncoderLayer(8, 2), torch.nn.Conv2d(3, 8, 3)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(size=(10**6, 10**7)),
        lambda: torch.zeros(3).new_empty(10**6, 10**7),
        lambda: torch.normal(0.0, 1.0, (10**6, 10**7)),
        lambda: torch.nn.Embedding(10**9, 10**4),
    ],
)
def test_tensors_of_sizes_alone_are_refused_before_they_are_made(make):
    with refused("numbers in one tensor"), building("x"):
        make()
