"""What a process keeps: of the dataset that it read last, for the next model on it, and of models.

Models of one process often read the same pictures: decoded ones are kept, and so are the inputs
that networks of one recipe take. A dataset that takes more than `LIMIT` is not kept at all, and the
next dataset takes the place of the one before. Small networks are kept for the next dataset.
Features do not depend on any of it.
"""

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from consilience.datasets import Sample
from consilience.features.batches import Chunk
from consilience.files import canonical_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from consilience.models import Extractor

LIMIT = 256 * 2**20
"""Bytes that are kept, of a dataset and of networks each."""


class Kept:
    """Pictures and inputs of one dataset."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._pictures: dict[int, Image] = {}
        self._chunks: dict[Hashable, list[Chunk]] = {}
        self._left = 0
        self._models: dict[str, Extractor] = {}
        self._weights = 0

    def model(
        self, row: Mapping[str, Any], device: str, load: Callable[[Mapping[str, Any], str], Any]
    ) -> Any:  # noqa: ANN401 - an extractor
        """Returns what `load` makes of a model's row and a device, or made of the same before.

        Kept are networks of pictures and vectors alone, for others count, or know, what they read;
        and on the CPU alone, whose memory is not what lacks.
        """
        key = canonical_json([dict(row), device, _state(str(row.get("weights", "")))])
        if (known := self._models.get(key)) is not None:
            return known
        found = load(row, device)
        network = getattr(found, "network", None)
        plain = device == "cpu" and not hasattr(found, "begin")
        plain = plain and "truncated" not in getattr(found, "provenance", {})
        if network is not None and plain:
            size = sum(weight.nbytes for weight in network.state_dict().values())
            if self._weights + size <= LIMIT:
                self._models[key], self._weights = found, self._weights + size
        return found

    def turn_to(self, key: Hashable) -> None:
        """Keeps what is of this dataset; `key` holds all that decides its samples."""
        if key != self._key:
            self._key, self._pictures, self._chunks, self._left = key, {}, {}, LIMIT

    def rows(self, found: Iterable[tuple[int, Sample]]) -> Iterator[tuple[int, Sample]]:
        """Yields (row, sample) whose pictures are decoded once."""
        for row, sample in found:
            if sample.image is None:
                yield row, sample
            else:
                yield row, replace(sample, image=partial(self._picture, row, sample.image))

    def _picture(self, row: int, decode: "Callable[[], Image]") -> "Image":
        if (known := self._pictures.get(row)) is not None:
            return known.copy()  # who gets it may draw on it
        picture = decode()
        if self._pay(picture.width * picture.height * len(picture.getbands())):
            self._pictures[row] = picture.copy()
        return picture

    def chunks(self, key: Hashable, make: Callable[[], Iterator[Chunk]]) -> Iterator[Chunk]:
        """Yields the chunks that `make` does, or those of an earlier call.

        Args:
            key: all that decides them besides the dataset; None: they are not kept.
            make: makes them.
        """
        if key is None:
            yield from make()
        elif key in self._chunks:
            yield from map(_copy, self._chunks[key])
        else:
            kept: list[Chunk] = []
            for chunk in make():
                if self._pay(_size(chunk)):
                    kept.append(_copy(chunk))
                yield chunk
            if self._left:
                self._chunks[key] = kept

    def _pay(self, size: int) -> bool:
        """Returns whether there is room for so many bytes; once there is not, nothing is kept.

        A dataset that is kept in part would be of little use: passes run from its first row on.
        """
        if size > self._left:
            self._pictures, self._chunks, self._left = {}, {}, 0
            return False
        self._left -= size
        return True


def _state(path: str) -> list[int]:
    """Returns what is another whenever a file is written; nothing of what is no file."""
    if not os.path.isfile(path):  # noqa: PTH113 - may be no path at all
        return []
    found = os.stat(path)  # noqa: PTH116
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def _size(chunk: Chunk) -> int:
    """Returns the bytes of a chunk whose inputs are one tensor; others are beyond any limit."""
    return getattr(chunk.inputs, "nbytes", LIMIT + 1)


def _copy(chunk: Chunk) -> Chunk:
    inputs: Any = chunk.inputs
    return replace(chunk, inputs=inputs.clone())  # whoever gets them may write on them


KEPT = Kept()
"""Of this process."""
