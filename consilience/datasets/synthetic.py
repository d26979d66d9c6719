"""Source `synthetic`: labelled pictures and texts with a known difficulty, drawn on the spot.

The column `name` is `blobs`, followed by parameters with blanks between, such as
`blobs n=2000 classes=20 noise=0.5`:

- `n` samples (1000), the classes taking turns, and `classes` of them (10)
- `size` pixels per side (32)
- `noise` from 0 to 1 (0.25): with this weight, a sample's own blobs stand in for its class's, and a
  word of its text is one of any class instead of its own
- `seed` (0): another one gives other classes and samples

A class is six coloured blobs at fixed places and six words. A picture shows them, a text has eight
words of them, and both are of the same class, but otherwise independent. With noise 0 pictures of a
class are equal; with 1 they say nothing of it. Only sums, products and quotients are used, so that
bytes are the same on every machine; the first samples are the same for every `n`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from consilience.datasets import Sample
from consilience.errors import ConfigError
from consilience.files import derive_seed
from consilience.registry import did_you_mean

BLOBS = 6
WORDS = 8
"""Words of a text."""
_FORMS = {"n": r"[1-9]\d{0,6}", "classes": r"[1-9]\d{0,3}", "size": r"[1-9]\d{0,2}",
          "noise": r"0?\.\d+|[01](\.0+)?", "seed": r"\d{1,9}"}  # fmt: skip
_SYLLABLES = ("ba", "do", "ki", "lu", "mi", "no", "pe", "ra", "so", "tu")


@dataclass(frozen=True)
class Blobs:
    """Pictures and texts with planted classes."""

    n: int = 1000
    n_classes: int = 10
    size: int = 32
    noise: Fraction = Fraction(1, 4)
    seed: int = 0
    verified: bool = True

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(f"class {i}" for i in range(self.n_classes))

    def __iter__(self) -> Iterator[Sample]:
        for index in range(self.n):
            label = index % self.n_classes
            yield Sample(
                id=f"{index:07d}",
                origin=f"blobs {index}",
                label=label,
                text=self.text(index, label),
                image=partial(self.picture, index, label),
            )

    def picture(self, index: int, label: int) -> Image.Image:
        """Returns the blobs of the class, mixed with those of the sample, on mid grey."""
        own, weight = self._blobs("sample", index), float(self.noise)
        mixed = (1 - weight) * self._blobs("class", label) + weight * own
        levels = np.clip(128 + 127 * mixed, 0, 255)
        return Image.fromarray(np.floor(levels + 0.5).astype(np.uint8))

    def text(self, index: int, label: int) -> str:
        """Returns words of the class, some of them replaced by any word."""
        draws = self._uniform("text", index, 2 * WORDS)
        words = []
        for replaced, which in zip(draws[:WORDS], draws[WORDS:], strict=True):
            if replaced < self.noise:
                number, k = divmod(int(which * self.n_classes * BLOBS), BLOBS)
            else:
                number, k = label, int(which * BLOBS)
            words.append(self._word(number, k))
        return " ".join(words)

    def _blobs(self, kind: str, number: int) -> np.ndarray:
        """Returns (size, size, 3) in [-1, 1]: round bumps of one colour each."""
        draws = self._uniform(kind, number, 6 * BLOBS).reshape(BLOBS, 6)
        axis = (np.arange(self.size) + 0.5) / self.size
        canvas = np.zeros((self.size, self.size, 3))
        for x, y, radius, *color in draws:
            far = (axis[:, None] - y) ** 2 + (axis[None, :] - x) ** 2
            bump = 1 / (1 + far / (0.05 + 0.15 * radius) ** 2) ** 4
            canvas += bump[..., None] * (2 * np.array(color) - 1)
        return np.clip(canvas, -1, 1)

    def _word(self, label: int, k: int) -> str:
        draws = self._uniform(f"word {k}", label, 3)
        return "".join(_SYLLABLES[int(draw * len(_SYLLABLES))] for draw in draws)

    def _uniform(self, kind: str, number: int, count: int) -> np.ndarray:
        """Returns numbers in [0, 1) that depend on the arguments and the seed alone."""
        seed = derive_seed("blobs", self.seed, kind, number)
        return np.random.Generator(np.random.PCG64(seed)).random(count)


def open(row: Mapping[str, Any]) -> Blobs:
    """Returns the dataset that `row["name"]` describes.

    Raises:
        ConfigError: an unknown name or parameter, a value that it cannot have, or splits.
    """
    place = f"dataset {row.get('dataset')!r}, column name ({row['name']!r})"
    name, *parts = str(row["name"]).split() or [""]
    if name != "blobs":
        raise ConfigError(f"{place}: unknown kind{did_you_mean(name, ['blobs'])}")
    if str(row.get("splits") or "").strip():
        raise ConfigError(f"{place}: synthetic data are one pool; leave the column splits blank")
    cells = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key not in _FORMS:
            raise ConfigError(f"{place}: unknown parameter {key!r}{did_you_mean(key, _FORMS)}")
        if not re.fullmatch(_FORMS[key], value):
            raise ConfigError(f"{place}: {part!r} does not have the form {key}={_FORMS[key]}")
        cells[key] = Fraction(value) if key == "noise" else int(value)
    if "classes" in cells:
        cells["n_classes"] = cells.pop("classes")
    return Blobs(**cells)


def look_for(row: Mapping[str, Any]) -> None:
    """Raises ConfigError if the column `name` says something that there is not."""
    open(row)
