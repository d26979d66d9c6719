"""The safetensors format, tensor by tensor: written and read without being held in memory whole.

A file is the length of its header (8 bytes), the header (JSON), and the tensors one after the
other. The library `safetensors` judges whether a file is sound; here stands what it does not do:
fill a file that is larger than the memory, and read some rows of one tensor.
"""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from consilience.errors import FeaturesError, check_reached
from consilience.limits.reading import regular
from consilience.sums import SUMMED

CODES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "bool": "BOOL"}
_TYPES = {code: np.dtype(name) for name, code in CODES.items()}
_CHUNK = 1 << 24
_IMPORT = "`consilience import` makes a features file of it"
_PICKLE = b"\x80"
_FORMATS = (
    (b"PAR1", "a Parquet table", f"pandas.read_parquet shows it; if it holds features, {_IMPORT}"),
    (b"\x93NUMPY", "an array of NumPy", _IMPORT),
    (b"PK\x03\x04", "a zip archive, such as .npz or .pt", _IMPORT),
    (b"\x89HDF", "an HDF5 file", _IMPORT),
    (_PICKLE, "a pickle", "save the arrays as .npy, .npz or .safetensors instead"),
)
"""First bytes of files that are taken for features, what they are, and what to do."""


@dataclass(frozen=True)
class Entry:
    """One tensor: its type, its shape, and where in the file it begins."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes that the tensor takes."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))


def content_hash(x: np.ndarray) -> str:
    """Returns the SHA-256 over type, shape and bytes of an array."""
    total = hashlib.sha256(f"{x.dtype.str}{x.shape}".encode())
    total.update(np.ascontiguousarray(x).data)
    return total.hexdigest()


def stored_blocks(path: str | Path, entry: Entry) -> Iterator[np.ndarray]:
    """Yields the bytes of a tensor as its file has them, block by block."""
    left = entry.nbytes
    with Path(path).open("rb", buffering=0) as stream:
        stream.seek(entry.offset)
        while left:
            block = np.empty(min(left, SUMMED), np.uint8)
            if stream.readinto(block) != block.size:
                break  # the file has been cut: another sum
            yield block
            left -= block.size


def write_tensors(
    path: Path,
    entries: Mapping[str, Entry],
    fill: Callable[[dict[str, np.ndarray]], None],
    describe: Callable[[Mapping[str, str]], dict[str, str]],
) -> None:
    """Writes tensors that need not fit into memory; equal content gives equal bytes.

    Args:
        path: an existing file, to be overwritten; on an error it is left in pieces, so it should
            be a temporary one.
        entries: type and shape by name.
        fill: puts the values into arrays that are views of the file.
        describe: returns the file's metadata from the content hashes by name; called twice, as the
            length of the header must be known before there are hashes.

    Raises:
        OSError: the disk is full.
    """
    # Larger numbers first, so that every tensor begins at a multiple of its item.
    names = sorted(entries, key=lambda name: -entries[name].dtype.itemsize)
    blank = _head(entries, names, describe(dict.fromkeys(entries, "0" * 64)))
    with path.open("r+b") as stream:
        # A full disk is an error here; met in writing to the mapped file it would be a signal.
        _allocate(stream, len(blank) + sum(entries[name].nbytes for name in names))
    buffer = np.memmap(path, np.uint8, "r+")
    views, start = {}, len(blank)
    for name in names:
        entry = entries[name]
        views[name] = np.asarray(buffer[start : start + entry.nbytes]).view(entry.dtype)
        views[name] = views[name].reshape(entry.shape)
        start += entry.nbytes
    fill(views)
    head = _head(entries, names, describe({name: content_hash(views[name]) for name in entries}))
    buffer[: len(head)] = np.frombuffer(head, np.uint8)
    buffer.flush()


def _head(entries: Mapping[str, Entry], names: list[str], metadata: dict[str, str]) -> bytes:
    table: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name in names:
        entry, stop = entries[name], start + entries[name].nbytes
        code = CODES[entry.dtype.name]
        table[name] = {"dtype": code, "shape": entry.shape, "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _allocate(stream: Any, size: int) -> None:  # noqa: ANN401
    stream.truncate(0)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, size)
        return
    for start in range(0, size, _CHUNK):
        stream.write(bytes(min(_CHUNK, size - start)))
    stream.flush()


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """Yields the file as `safetensors` opens it, its header checked against its length.

    Raises:
        FeaturesError: the file is missing or damaged.
    """
    try:
        with safe_open(regular(path), framework="numpy") as stream:
            yield stream
    except FileNotFoundError as error:
        raise FeaturesError(f"{path}: no such features file; run snakemake to make it") from error
    except (SafetensorError, OSError) as error:
        check_reached(error, path)
        if other := _other_format(Path(path)):
            raise FeaturesError(f"{path} is no features file but {other}") from error
        raise FeaturesError(f"{path} cannot be read ({error}); {again(path)}") from error


def _other_format(path: Path) -> str:
    """Returns what a file is by its first bytes and what to do, if it is of another format."""
    if path.is_dir():
        return "a folder; name the file"
    with path.open("rb") as stream:
        head = stream.read(9)
    if head[:1] == _PICKLE and (head[2:3] in (b"", b"\0") or head[8:] == b"{"):
        return ""  # the length of a header that ends in the same byte
    found = (f"{what}: {remedy}" for mark, what, remedy in _FORMATS if head.startswith(mark))
    return next(found, "")


def again(path: str | Path) -> str:
    """Returns what to do about a file that the workflow can make again."""
    return f"delete {Path(path).name} and run snakemake again"


def read_entries(path: str | Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """Returns type, shape and place of every tensor, and the metadata; reads no tensor.

    Raises:
        FeaturesError: the file is missing or damaged, or holds numbers that NumPy does not know.
    """
    with opened(path):
        pass
    with Path(path).open("rb") as stream:
        length = struct.unpack("<Q", stream.read(8))[0]
        table = json.loads(stream.read(length))
    metadata = table.pop("__metadata__", {})
    entries = {}
    for name, found in table.items():
        if found["dtype"] not in _TYPES:
            raise FeaturesError(f"{path}: tensor {name!r} holds {found['dtype']}; use float32")
        start = 8 + length + found["data_offsets"][0]
        entries[name] = Entry(_TYPES[found["dtype"]], tuple(found["shape"]), start)
    return entries, metadata


def mapped(path: str | Path, entry: Entry) -> np.ndarray:
    """Returns a tensor as a read-only view of its file: what is not touched is not read."""
    if not entry.nbytes:
        return np.empty(entry.shape, entry.dtype)
    return np.memmap(path, entry.dtype, "r", entry.offset, entry.shape)


def picked(path: str | Path, entry: Entry, rows: np.ndarray) -> np.ndarray:
    """Returns some rows of a matrix; reads them and nothing else."""
    found = np.empty((len(rows), *entry.shape[1:]), entry.dtype)
    width = found[:1].nbytes
    with Path(path).open("rb", buffering=0) as stream:
        for place, row in enumerate(rows.tolist()):
            stream.seek(entry.offset + row * width)
            stream.readinto(found[place])
    return found


def loaded(path: str | Path, entry: Entry) -> np.ndarray:
    """Returns a tensor, read into memory once."""
    count = int(np.prod(entry.shape, dtype=np.int64))
    return np.fromfile(path, entry.dtype, count, offset=entry.offset).reshape(entry.shape)
