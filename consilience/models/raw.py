"""Controls without a network: what a similarity owes to pixels, letters or numbers alone.

`name` = `pixels`: the picture squeezed to `input_size` × `input_size` (default 28), red, green and
blue in [0, 1]. `name` = `characters`: counts of the text's character trigrams, hashed to 512
places, as log(1 + count). `name` = `values`: the numbers of a sample of modality
`vector`, or of a node's own features in a `graph`.
"""

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from consilience import files
from consilience.datasets import Sample
from consilience.errors import DataError, ModelError
from consilience.registry import did_you_mean

PIXELS, PLACES = 28, 512


class Raw:
    """What the controls share: one layer that is the input itself."""

    def __init__(self, layer: str, transform: str) -> None:
        self.layers = (layer,)
        self.provenance = {
            "architecture": layer,
            "weights": "none",
            "weights_sha256": "",
            "revision": "",
            "transform": transform,
            "pooling": "none",
            "libraries": files.canonical_json(
                {name: importlib.metadata.version(name) for name in ("numpy", "pillow")}
            ),
        }

    def extract(self, batch: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns {layer: (b, d)} for b preprocessed samples of d values each."""
        return {self.layers[0]: np.stack([np.asarray(values) for values in batch])}


class Pixels(Raw):
    """A picture as its own features, d = 3 · size²."""

    def __init__(self, size: int) -> None:
        super().__init__("pixels", f"bilinear resize to {size} x {size}, RGB in [0, 1]")
        self._size = size

    def preprocess(self, sample: Sample) -> np.ndarray:
        """Returns (3 · size²,) values in the order row, column, colour."""
        if sample.image is None:
            raise DataError(f"{sample.origin}: sample {sample.id!r} has no image")
        small = sample.image().convert("RGB").resize((self._size,) * 2, Image.Resampling.BILINEAR)
        return np.asarray(small, np.float32).ravel() / np.float32(255)


class Characters(Raw):
    """A text as the trigrams it is made of, d = 512 (Weinberger et al. 2009, without signs)."""

    def __init__(self) -> None:
        super().__init__("characters", f"trigrams hashed to {PLACES} places, log(1 + count)")

    def preprocess(self, sample: Sample) -> np.ndarray:
        """Returns (512,); one blank is put before and after the text, case is kept."""
        if sample.text is None:
            raise DataError(f"{sample.origin}: sample {sample.id!r} has no text")
        text = f" {sample.text} "
        counts = np.zeros(PLACES, np.float32)
        for start in range(len(text) - 2):
            counts[_place(text[start : start + 3])] += 1
        return np.log1p(counts)


class Values(Raw):
    """A vector, or a node's own one, as its own features, d = its length."""

    def __init__(self) -> None:
        super().__init__("values", "none")

    def preprocess(self, sample: Sample) -> np.ndarray:
        """Returns (d,)."""
        if sample.vector is None:
            raise DataError(f"{sample.origin}: sample {sample.id!r} has no vector")
        return np.asarray(sample.vector, np.float32)


CONTROLS = ("pixels", "characters", "values")
"""What `name` can be."""


def _place(trigram: str) -> int:
    # Python's own hash() differs between processes.
    digest = hashlib.blake2b(trigram.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % PLACES


def load(row: Mapping[str, Any], device: str = "cpu") -> Raw:
    """Returns the extractor of a row with source `raw`; `device` is not used.

    Raises:
        ModelError: the name is none of `CONTROLS`, or input_size is not a number.
    """
    name, size = str(row["name"]), str(row.get("input_size") or PIXELS)
    if name == "characters":
        return Characters()
    if name == "values":
        return Values()
    if name != "pixels":
        hint = did_you_mean(name, CONTROLS)
        raise ModelError(f"model {row.get('model', name)!r}: no raw control {name!r}{hint}")
    if not size.isdecimal() or int(size) < 1:
        raise ModelError(f"model {row.get('model', name)!r}: input_size {size!r} is not a number")
    return Pixels(int(size))
