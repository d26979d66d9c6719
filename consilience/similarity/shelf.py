"""The shelf: prepared forms kept between runs, so that one more model costs its own pairs.

A folder beside the pair store, with files named by the content hash of the features: neighbour
lists in full, ranks tile after tile. Like the pair store it is a cache: deleting it is always safe,
and what is damaged is made again.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from consilience.errors import RefusedError, check_reached
from consilience.files import atomic, canonical_json, digest
from consilience.forms.moments import Moments
from consilience.leftovers import discard, discard_folder
from consilience.limits.reading import regular
from consilience.sums import check_sum

logger = logging.getLogger(__name__)


class Shelf:
    """Forms of one metric as it stands, by content hash.

    Args:
        folder: where they lie; folders beside it are of other parameters or code, and are removed.
        room: bytes that they may take; what would not fit is not kept.
    """

    def __init__(self, folder: Path, room: int) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        for place in (folder.parent, folder):
            if place.exists() and not place.is_dir():
                discard(place)
        for other in folder.parent.glob("*"):
            if other != folder:
                discard(other)
        self.room = room - sum(path.stat().st_size for path in folder.glob("*"))

    def get(self, key: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Returns the arrays and notes kept under a key; None if there are none, or damaged."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with safe_open(regular(path), framework="numpy") as stream:
                arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
                notes = json.loads(stream.metadata()["notes"])
            sound = notes.pop("sum") == _sum_of(arrays, notes)
            sound = sound and notes.pop("key") == self._own(key)
        except (
            SafetensorError,
            OSError,
            KeyError,
            TypeError,
            AttributeError,
            ValueError,
            RefusedError,
        ) as error:
            check_reached(error, path)
            sound = False
        if not sound:
            logger.warning("%s is damaged, or of other features, and made again", path)
            discard(path)
            return None
        return arrays, notes

    def put(self, key: str, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Keeps arrays and notes (plain JSON types) under a key; see `reserve`."""
        arrays = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
        notes = {**notes, "key": self._own(key)}
        text = canonical_json({**notes, "sum": _sum_of(arrays, notes)})
        discard_folder(self._path(key))
        with atomic(self._path(key), durable=False) as temporary:
            save_file(arrays, temporary, metadata={"notes": text})

    def drop(self, key: str) -> None:
        """Removes what is kept under a key, and steps, and gives their room back."""
        for path in (self._path(key), self.steps(key)):
            if path.exists():
                with self._lock:
                    self.room += path.stat().st_size
                discard(path)

    def reserve(self, size: int) -> bool:
        """Returns whether so many bytes may be kept, and counts them as taken if so."""
        with self._lock:
            if size > self.room:
                return False
            self.room -= size
        return True

    def steps(self, key: str) -> Path:
        """Returns where the steps of a model's ranks lie."""
        return self.folder / f"{key}.steps"

    def _own(self, key: str) -> str:
        """Returns what decides a file of that key: the metric as it stands, and the features."""
        return f"{self.folder.name} {key}"

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _sum_of(arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> str:
    """Returns the sum of all that a file holds: arrays by their names, and notes."""
    return digest([[[name, check_sum(arrays[name])] for name in sorted(arrays)], notes])


def moments_as_notes(moments: Moments | None) -> dict[str, Any] | None:
    """Returns the sums of a null in plain JSON types."""
    return None if moments is None else asdict(moments)


def moments_of_notes(notes: Mapping[str, Any] | None) -> Moments | None:
    """Returns the sums of a null from their notes."""
    if notes is None:
        return None
    return Moments(**{k: tuple(v) if isinstance(v, list) else v for k, v in notes.items()})


class Steps:
    """Steps of the entries of a model, uint16, tile after tile, in a file or in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.checksum = ""
        self._tiles: list[np.ndarray] = []
        self._places: list[tuple[int, int]] = []
        self._expected = ""
        """Of a file of an earlier run: what its check sum is to be."""
        self._read = 0

    def fill(self, tiles: Callable[[], Iterable[np.ndarray]]) -> None:
        """Takes the steps that `tiles` yields; the file is whole or absent."""
        if self.path is None:
            self._tiles = list(tiles())
            return
        self.checksum, self._places = "", []
        discard_folder(self.path)
        with atomic(self.path, durable=False) as temporary, temporary.open("wb") as stream:
            for steps in tiles():
                self.checksum = _chained(self.checksum, steps)
                self._places.append((stream.tell(), steps.size))
                stream.write(steps.data)

    def look_up(self, table: np.ndarray) -> None:
        """Replaces every step by its entry of the table (uint16), a tile at a time."""
        if self.path is None:
            for tile in self._tiles:
                tile[...] = np.take(table, tile)
            return
        old = Steps(self.path)  # its file is there until the new one is whole
        old._places = self._places
        self.fill(lambda: (np.take(table, old[k]) for k in range(len(old._places))))

    @classmethod
    def kept(cls, path: Path, sizes: list[int], checksum: str) -> "Steps | None":
        """Returns the steps of an earlier run; None if the file is absent or of another size.

        Whether they are what they were is known once all tiles have been read: see `sound`.
        """
        found = cls(path)
        ends = np.cumsum(sizes)
        found._places = [(2 * int(end - size), size) for end, size in zip(ends, sizes, strict=True)]
        found._expected = checksum
        if not path.exists() or path.stat().st_size != 2 * int(ends[-1]):
            return None
        return found

    @property
    def sound(self) -> bool:
        """Whether steps of an earlier run, read once from first to last, are what they were."""
        if not self._expected:
            return True
        return self._read == len(self._places) and self.checksum == self._expected

    def __getitem__(self, number: int) -> np.ndarray:
        """Returns the steps of a tile, flat."""
        if self.path is None:
            return self._tiles[number].ravel()
        start, size = self._places[number]
        steps = np.frombuffer(read_at(self.path, start, 2 * size), np.uint16)
        if self._expected and number == self._read:  # no second reading for the sum alone
            self.checksum = _chained(self.checksum, steps)
            self._read += 1
        return steps


def _chained(before: str, steps: np.ndarray) -> str:
    """Returns a check sum that goes on from `before`: what takes no time beside reading."""
    return check_sum(steps.ravel(), before)


def read_at(path: Path, start: int, size: int) -> bytes:
    """Returns bytes of a file; a memory map would count as memory, with no say of the reader's."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.pread(handle, size, start)
    finally:
        os.close(handle)
