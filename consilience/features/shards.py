"""What one extraction has made so far, on disk: a killed job goes on from there.

Shards lie in a folder beside the features file. Each holds the rows it is about and what the model
gave for them, with the hash of every tensor, and its name begins with the key of all that decides
the features. Where one shard ends and the next begins says nothing about the numbers.
"""

import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from consilience.errors import FeaturesError
from consilience.features.container import (
    Entry,
    content_hash,
    mapped,
    read_entries,
    write_tensors,
)
from consilience.features.store import room_needed
from consilience.files import METADATA_KEY, atomic, canonical_json, natural_order

logger = logging.getLogger(__name__)

ROWS = "rows"
_KEY = METADATA_KEY.decode()


@dataclass(frozen=True)
class Part:
    """What the model gave for some rows."""

    rows: np.ndarray
    blocks: Mapping[str, np.ndarray]
    """{layer or output: (len(rows), d)} as they are to be stored."""


class Shards:
    """The shards of one features file.

    Args:
        out: the features file that is being made.
        key: hash of all that decides the features; shards of another key are deleted.
        n: number of samples.
    """

    def __init__(self, out: str | Path, key: str, n: int) -> None:
        out = Path(out)
        self.folder = out.parent / f".{out.stem}.shards"
        self._key = key
        self.done = np.zeros(n, dtype=bool)
        self.notes: list[dict[str, Any]] = []
        """What was written beside the parts, shard by shard."""
        self._paths: list[Path] = []
        self._entries: list[dict[str, Entry]] = []
        self._numbers = itertools.count()
        if self.folder.exists():
            self._take_over()

    def _take_over(self) -> None:
        """Keeps the sound shards of this key and deletes everything else in the folder."""
        strays = [path for path in self.folder.iterdir() if not path.name.startswith(self._key)]
        for path in strays:
            path.unlink()
        for path in sorted(self.folder.iterdir(), key=lambda path: natural_order(path.name)):
            try:
                self._enter(path)
            except (FeaturesError, KeyError, ValueError) as error:
                logger.warning("the shard %s is made again: %s", path.name, error)
                path.unlink()
        if strays:
            logger.info("%d shards of other settings deleted", len(strays))
        if self._paths:
            last = int(self._paths[-1].stem.rpartition("-")[2])
            self._numbers = itertools.count(last + 1)
            count, n = int(self.done.sum()), len(self.done)
            logger.info("%d of %d samples are there from an earlier run", count, n)

    def _enter(self, path: Path) -> None:
        entries, metadata = read_entries(path)
        note = json.loads(metadata[_KEY])
        for name, entry in entries.items():
            if content_hash(mapped(path, entry)) != note["hashes"][name]:
                raise FeaturesError(f"{name!r} has not the hash it was written with")
        rows = np.array(mapped(path, entries.pop(ROWS)))
        if self.done[rows].any():
            raise FeaturesError("it repeats rows of another shard")
        self.done[rows] = True
        self._paths.append(path)
        self._entries.append(entries)
        self.notes.append(note)

    @property
    def widths(self) -> dict[str, int]:
        """{name: d} of what the shards hold; empty without shards."""
        return (
            {name: entry.shape[1] for name, entry in self._entries[0].items()}
            if self._paths
            else {}
        )

    def write(self, parts: Sequence[Part], note: Mapping[str, Any]) -> None:
        """Writes parts as one shard; `note` is what is to be known of them later.

        Raises:
            FeaturesError: the disk is full.
        """
        part = joined(parts)
        stored = {ROWS: part.rows.astype(np.int64), **part.blocks}
        path = self.folder / f"{self._key}-{next(self._numbers):06d}.safetensors"

        def fill(tensors: dict[str, np.ndarray]) -> None:
            for name, x in stored.items():
                tensors[name][:] = x

        def describe(hashes: Mapping[str, str]) -> dict[str, str]:
            return {_KEY: canonical_json({**note, "hashes": dict(hashes)})}

        entries = {name: Entry(x.dtype, x.shape) for name, x in stored.items()}
        with room_needed(path), atomic(path, durable=False) as temporary:
            write_tensors(temporary, entries, fill, describe)
        self.done[part.rows] = True
        self.notes.append({**note})
        self._paths.append(path)
        self._entries.append({name: entries[name] for name in part.blocks})

    def parts(self) -> Iterator[Part]:
        """Yields what the shards hold, as views of their files."""
        for path in self._paths:
            entries, _ = read_entries(path)
            rows = np.array(mapped(path, entries.pop(ROWS)))
            yield Part(rows, {name: mapped(path, entry) for name, entry in entries.items()})

    def delete(self) -> None:
        """Deletes the shards and their folder."""
        if self.folder.exists():
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()


def joined(parts: Sequence[Part]) -> Part:
    """Returns several parts as one."""
    blocks = {
        name: np.concatenate([part.blocks[name] for part in parts]) for name in parts[0].blocks
    }
    return Part(np.concatenate([part.rows for part in parts]), blocks)


def delete_strays(out: str | Path) -> None:
    """Deletes what killed jobs left of unfinished files; call it only as the sole maker."""
    out = Path(out)
    for path in out.parent.glob(f".{out.name}.*{out.suffix}"):
        path.unlink()
