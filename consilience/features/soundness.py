"""Whether a tensor of a features file is what was written, by the check sum in the file's header.

What a process reads whole it sums as it reads. Of a layer of which only some rows are read, the
rest would be read for the sum alone: that is done once for every state of a file, and noted in a
hidden folder beside it. The note is a cache: deleting it is always safe.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from consilience.errors import DataError, FeaturesError, StorageError
from consilience.features.container import Entry, again, content_hash, mapped, stored_blocks
from consilience.files import METADATA_KEY
from consilience.notes import keep, kept
from consilience.sums import check_sum, check_sum_of

_KEY = METADATA_KEY.decode()
NOTES = ".sound"
SETTLED = 100_000_000
"""Nanoseconds after which another writing surely gives a file another time."""
_known: set[tuple[str, tuple[int, ...], str]] = set()
"""Tensors that were compared, by file and the state in which it was seen."""


def check_tensor(
    path: str | Path,
    name: str,
    entry: Entry,
    metadata: Mapping[str, str],
    x: np.ndarray | None = None,
) -> None:
    """Raises FeaturesError unless a tensor has the content that its file was written with.

    Args:
        path: the features file.
        name: of the tensor.
        entry: where it lies.
        metadata: of the file. Files of earlier versions have no check sums, but hashes.
        x: its whole content, if it has been read.

    Cost: a `check_sum` of the tensor, once per process and state of the file; without `x` also its
    reading, once per state of the file.
    """
    place, state = str(Path(path).absolute()), _state(path)
    if (place, state, name) in _known:
        return
    try:
        header = json.loads(metadata[_KEY])
        hash_, summed = header["hashes"][name], header.get("sums", {}).get(name)
        imported = header["model"].get("source") == "imported"
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FeaturesError(
            f"{path} is no features file: its header has no hash of {name!r}; {again(path)}"
        ) from error
    noted = x is None and _read_notes(path, state).get(name) == hash_
    if not noted and not _is_sound(path, entry, hash_, summed, x):
        remedy = "; if `consilience import` made it, import it again" if imported else ""
        raise FeaturesError(
            f"{path}: the content of {name!r} has not the hash that the header says: the file was "
            f"damaged or edited after it was written; {again(path)}{remedy}"
        )
    if _state(path) == state and abs(time.time_ns() - state[-1]) > SETTLED:
        _known.add((place, state, name))
        if x is None and not noted:
            _note(path, state, name, hash_)


def _is_sound(
    path: str | Path, entry: Entry, hash_: str, summed: str | None, x: np.ndarray | None
) -> bool:
    if summed is None:
        return content_hash(mapped(path, entry) if x is None else x) == hash_
    if x is not None:
        return check_sum(x) == summed
    return check_sum_of(stored_blocks(path, entry), entry.dtype, entry.shape) == summed


def _state(path: str | Path) -> tuple[int, ...]:
    """Returns what is another after any writing to a file, even if its time is put back."""
    found = Path(path).stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _notes(path: str | Path) -> Path:
    return Path(path).parent / NOTES / f"{Path(path).name}.json"


def _read_notes(path: str | Path, state: tuple[int, ...]) -> dict[str, str]:
    return kept(_notes(path), f"{Path(path).name} {state}") or {}


def _note(path: str | Path, state: tuple[int, ...], name: str, found: str) -> None:
    tensors = {**_read_notes(path, state), name: found}
    with suppress(StorageError, DataError):  # a folder that is only read
        keep(_notes(path), f"{Path(path).name} {state}", tensors)
