"""Source `synthetic`: labelled data with a known answer, drawn on the spot.

The column `name` is a kind, followed by parameters with blanks between, such as
`blobs n=2000 classes=20 noise=0.5` or `radial classes=6`.

`blobs`: pictures and texts, or one of them, in one pool, with the parameters

- `n` samples (1000), the classes taking turns, and `classes` of them (10)
- `size` pixels per side (32)
- `noise` from 0 to 1 (0.25): with this weight, a sample's own blobs stand in for its class's, and a
  word of its text is one of any class instead of its own
- `seed` (0): another one gives other classes and samples

A class is six coloured blobs at fixed places and six words. A picture shows them, a text has eight
words of them, and both are of the same class, but otherwise independent. With noise 0 pictures of a
class are equal; with 1 they say nothing of it. Only sums, products and quotients are used, so that
bytes are the same on every machine; the first samples are the same for every `n`.

`radial`: points in the plane (modality `vector`), normal with standard deviation 3 about 0, whose
class is the sector that the line through them and 0 lies in: half a turn has `classes` (4) of
them. With the column `splits` blank these are `n` (20000) points of `seed` (0); with `train,test`
they are the train split, and `test` points (a tenth of `n`) of the seed after it the test split.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from consilience.datasets import Sample
from consilience.datasets._base import split_roles
from consilience.errors import ConfigError
from consilience.files import derive_seed
from consilience.registry import did_you_mean

BLOBS = 6
WORDS = 8
"""Words of a text."""
_COUNT, _CLASSES, _SEED = r"[1-9]\d{0,6}", r"[1-9]\d{0,3}", r"\d{1,9}"
_FORMS = {
    "blobs": {"n": _COUNT, "classes": _CLASSES, "size": r"[1-9]\d{0,2}",
              "noise": r"0?\.\d+|[01](\.0+)?", "seed": _SEED},
    "radial": {"n": _COUNT, "classes": _CLASSES, "test": _COUNT, "seed": _SEED},
}  # fmt: skip
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


@dataclass(frozen=True)
class Radial:
    """Points whose class is the direction of the line through them and 0.

    x ~ N(0, 9 I), (2,) float32, and y = min(⌊(atan2(x₂, x₁) mod π) / (π / K)⌋, K − 1), so that a
    point and its mirror image −x are of one class: no linear map tells classes apart. The data of
    Nielsen et al. (2025), from NumPy's default generator.
    """

    n: int = 20000
    n_classes: int = 4
    test: int = 2000
    seed: int = 0
    splits: tuple[tuple[str, str], ...] = ()
    """(split of the source, its role); empty for one pool."""
    verified: bool = True

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(f"sector {i}" for i in range(self.n_classes))

    def __iter__(self) -> Iterator[Sample]:
        for split, role in self.splits or (("", ""),):
            drawn = (self.test, self.seed + 1) if split == "test" else (self.n, self.seed)
            points = draw_points(*drawn)
            labels = sectors(points, self.n_classes)
            prefix = f"{split}/" if split else ""
            for index, (point, label) in enumerate(zip(points, labels.tolist(), strict=True)):
                id_ = f"{prefix}{index:07d}"
                yield Sample(id_, f"radial {id_}", role, label, vector=point)


def draw_points(n: int, seed: int) -> np.ndarray:
    """Returns (n, 2) float32 from N(0, 9 I); the first ones are the same for every n."""
    return np.random.default_rng(seed).normal(0, 3, (n, 2)).astype(np.float32)


def sectors(points: np.ndarray, classes: int) -> np.ndarray:
    """Returns the (n,) classes of (n, 2) points; see `Radial`."""
    x, y = points.astype(np.float64).T
    turned = np.mod(np.arctan2(y, x), np.pi) / (np.pi / classes)
    return np.minimum(np.floor(turned).astype(np.int64), classes - 1)


def open(row: Mapping[str, Any]) -> Blobs | Radial:
    """Returns the dataset that `row["name"]` describes.

    Raises:
        ConfigError: an unknown kind or parameter, a value that it cannot have, or splits that it
            does not have.
    """
    place = f"dataset {row.get('dataset')!r}, column name ({row['name']!r})"
    kind, *parts = str(row["name"]).split() or [""]
    if kind not in _FORMS:
        raise ConfigError(f"{place}: unknown kind{did_you_mean(kind, _FORMS)}")
    cells = _parameters(_FORMS[kind], parts, place)
    if kind == "radial":
        cells.setdefault("test", max(1, cells.get("n", Radial.n) // 10))
        return Radial(**cells, splits=_splits(row, place))
    if str(row.get("splits") or "").strip():
        raise ConfigError(f"{place}: blobs are one pool; leave the column splits blank")
    return Blobs(**cells)


def _parameters(forms: Mapping[str, str], parts: Sequence[str], place: str) -> dict[str, Any]:
    """Returns {field: value} of the parts `key=value` of a name."""
    cells = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key not in forms:
            raise ConfigError(f"{place}: unknown parameter {key!r}{did_you_mean(key, forms)}")
        if not re.fullmatch(forms[key], value):
            raise ConfigError(f"{place}: {part!r} does not have the form {key}={forms[key]}")
        field = "n_classes" if key == "classes" else key
        cells[field] = Fraction(value) if key == "noise" else int(value)
    return cells


def _splits(row: Mapping[str, Any], place: str) -> tuple[tuple[str, str], ...]:
    roles = split_roles(row)
    if set(roles) - {"train", "test"}:
        raise ConfigError(
            f"{place}: there are the splits train and test, and the column splits says "
            f"{row['splits']!r}; write one of them, `train,test`, or nothing"
        )
    return tuple(roles.items())


def look_for(row: Mapping[str, Any]) -> None:
    """Raises ConfigError if the column `name` says something that there is not."""
    open(row)
