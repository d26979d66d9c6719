"""Arrays and archives within limits: what their heads declare is held against their sizes."""

import gzip
import math
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from consilience.errors import RefusedError
from consilience.limits import hold, hold_unpacked
from consilience.limits.reading import DAMAGED, check_nesting, regular

_NPY = ".npy"
_STEP = 1 << 24


def check_npy(path: str | Path) -> None:
    """Raises RefusedError if a `.npy` file is shorter than its head says, or no regular file.

    What is no `.npy` at all is left to whoever reads it.
    """
    with regular(path).open("rb") as stream:
        check_array(stream, Path(path).stat().st_size, path)


def check_array(stream: IO[bytes], size: int, place: object) -> None:
    """Raises RefusedError if an array's head declares more bytes than follow it.

    Args:
        stream: at the head; it is left behind it.
        size: bytes of head and array together.
        place: for the message.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    except (*DAMAGED, MemoryError):
        return
    declared, rest = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if declared > rest:
        raise RefusedError(
            f"{place} is damaged or cut off: its head declares {declared:,} bytes "
            f"({' × '.join(map(str, shape))} of {dtype}), and {rest:,} follow; write it again"
        )


def check_npz(path: str | Path) -> None:
    """Raises RefusedError if a `.npz` file declares more than its size can hold.

    That is as `check_zip`, and each array as `check_npy`.
    """
    for archive, info in _members(path):
        if info.filename.endswith(_NPY):
            with archive.open(info) as stream:
                check_array(stream, info.file_size, f"{path}: {info.filename!r}")


def check_zip(path: str | Path) -> None:
    """Raises RefusedError if a zip has too many files, one twice, or declares far more bytes.

    What is no zip is left to whoever reads it.
    """
    for _ in _members(path):
        pass


def _members(path: str | Path) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    path = regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            hold("archive_members", len(infos), path, "files")
            hold_unpacked(sum(info.file_size for info in infos), path.stat().st_size, path)
            names = [info.filename for info in infos]
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise RefusedError(f"{path} holds {twice!r} twice; write it again")
            for info in infos:
                yield archive, info
    except DAMAGED:
        return  # not a sound one: the reader's own sentence is the better one


def check_tensors(found: Any, size: int, place: object) -> None:  # noqa: ANN401
    """Raises RefusedError unless all tensors of a file are plain ones that it can hold.

    Args:
        found: what PyTorch read: a tensor, or mappings and lists of them.
        size: bytes of the file.
        place: for the message.
    """
    total = 0
    check_nesting(found, place)
    for name, x in _tensors(found, ""):
        what = f"{name!r} is" if name else "it is"
        kind = _odd(x)
        if kind:
            raise RefusedError(f"{place}: {what} {kind}; save it as a plain tensor")
        total += x.numel() * x.element_size()
    hold_unpacked(total, size, place)


def _odd(x: Any) -> str:  # noqa: ANN401
    """Returns what a tensor is that NumPy cannot hold as it is, and what makes it plain."""
    if x.is_meta:
        return "a tensor without values (device meta)"
    if x.is_quantized:
        return "a quantised tensor (.dequantize() makes it plain)"
    if x.is_nested:
        return "a nested tensor (.to_padded_tensor(0) makes it plain)"
    if str(x.layout) != "torch.strided":
        return "a sparse tensor (.to_dense() makes it plain)"
    return ""


def _tensors(found: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yields the name and the tensor of all that mappings and lists hold, each container once."""
    level, seen = [(name, found)], set()
    while level:
        inner: list[tuple[str, Any]] = []
        for own, value in level:
            if hasattr(value, "is_quantized"):
                yield own, value
            elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
                seen.add(id(value))
                named = value.items() if isinstance(value, Mapping) else enumerate(value)
                inner += [(f"{own}.{key}".strip("."), one) for key, one in named]
        level = inner


class GzipWithin(gzip.GzipFile):
    """A gzip file that unpacks to no more than its size can hold.

    Raises:
        RefusedError: as it is read, once more has come.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(regular(path), "rb")
        self._path, self._size, self._come = path, path.stat().st_size, 0

    def read(self, size: int | None = -1) -> bytes:
        """Returns so many bytes, or all that follow."""
        parts: list[bytes] = []
        left = sys.maxsize if size is None or size < 0 else size
        while left and (part := super().read(min(left, _STEP))):
            self._come += len(part)
            hold_unpacked(self._come, self._size, self._path)
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
