"""What several dataset sources share: lists of samples, decoded pictures, splits, digests."""

import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from consilience import files
from consilience.datasets import GROUP_COLUMN, Sample
from consilience.errors import ConfigError, DataError, DepthError, check_reached
from consilience.limits import hold, limit
from consilience.limits.reading import regular, walk

ROLES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "test",
    "valid": "test",
    "validation": "test",
    "dev": "test",
}

_PILLOW = Image.MAX_IMAGE_PIXELS or 0
# What Pillow raises on damaged input differs from format to format.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Listing:
    """A dataset whose samples are known at once; their pictures are still opened lazily."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...] = ()
    verified: bool = False

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __len__(self) -> int:
        return len(self.samples)


def decode(
    content: bytes | Path, origin: str, span: tuple[float, float] | None = None
) -> Image.Image:
    """Returns a picture as RGB, every pixel decoded.

    As in the usual evaluation code, an alpha channel is dropped and an orientation tag is not
    applied, so that numbers can be compared with published ones.

    Args:
        content: The bytes of an image file, or its path.
        origin: Where the picture lies, for the message.
        span: The values that become black and white where a channel has more than 8 bits
            (`pixel_span`); those between are scaled linearly and rounded to 8 bits.

    Raises:
        DepthError: a channel has more than 8 bits and there is no `span`, or a value outside it.
        RefusedError: it says that it has more pixels than the limit.
        DataError: the picture cannot be decoded.
    """
    stream = io.BytesIO(content) if isinstance(content, bytes) else regular(content)
    try:
        with _opened(stream, origin) as picture:
            if picture.mode.startswith(("I", "F")):
                return _scaled(picture, origin, span)
            _check_depth(picture, origin, span)
            return picture.convert("RGB")
    except _UNREADABLE as error:
        check_reached(error, origin)
        raise DataError(f"{origin}: the picture cannot be decoded ({error})") from error


def _opened(stream: io.BytesIO | Path, origin: str) -> Image.Image:
    """Returns a picture of which only the head was read, if it has no more pixels than the limit.

    Pillow warns of more than its own limit and refuses twice as many, in words of its own.
    """
    Image.MAX_IMAGE_PIXELS = max(limit("pixels"), _PILLOW)
    try:
        picture = Image.open(stream)
    except Image.DecompressionBombError as error:
        found = re.search(r"[0-9]+", str(error))
        hold("pixels", int(found[0]) if found else 1 << 62, origin, "pixels")
        raise
    hold("pixels", picture.width * picture.height, origin, "pixels")
    return picture


def _check_depth(picture: Image.Image, origin: str, span: tuple[float, float] | None) -> None:
    """Raises DepthError if a span is asked for that deep channels of colours cannot get.

    Pillow reads the upper 8 bits of such channels alone, as if white were 65535.
    """
    layout = str(picture.tile[0][3:]) if picture.tile else ""
    if span not in (None, (0.0, 65535.0)) and ";16" in layout:
        raise DepthError(
            f"{origin}: it has colours or transparency of 16 bits, of which only the upper 8 can "
            "be read, and the column pixel_range is for pictures of one channel; convert the "
            "pictures to 8 bits"
        )


def _scaled(picture: Image.Image, origin: str, span: tuple[float, float] | None) -> Image.Image:
    """Returns a picture of one deep channel with the values of `span` as black to white."""
    values = np.asarray(picture, np.float64)
    if not np.isfinite(values).all():
        raise DepthError(f"{origin}: pixels of mode {picture.mode} that are not finite numbers")
    low, high = float(values.min()), float(values.max())
    if span is None:
        raise DepthError(
            f"{origin}: pixels of mode {picture.mode} (more than 8 bits per channel; {low:g} to "
            f"{high:g} here) have no agreed range; write the values that are black and white into "
            "the column pixel_range, such as `0,65535`, or convert the pictures to 8 bits"
        )
    if low < span[0] or high > span[1]:
        raise DepthError(
            f"{origin}: pixels from {low:g} to {high:g}, outside of the column pixel_range "
            f"({span[0]:g},{span[1]:g}); widen it"
        )
    scaled = np.rint((values - span[0]) * (255 / (span[1] - span[0])))
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")


def pixel_span(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Returns the (black, white) of the column `pixel_range`, or None where it is blank.

    Raises:
        ConfigError: it is not two numbers, the smaller first.
    """
    cell = str(row.get("pixel_range") or "").strip()
    if not cell:
        return None
    try:
        low, high = map(float, cell.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high or math.isinf(high - low):
        raise ConfigError(
            f"dataset {row.get('dataset')!r}, column pixel_range ({cell!r}): write the values that "
            "are black and white, such as `0,65535`"
        )
    return low, high


def split_roles(row: Mapping[str, Any]) -> dict[str, str]:
    """Returns {split of the source: "train" | "test" | ""} for the column `splits`, in its order.

    Splits of both roles keep them. Splits of one role (say, only `test`) are one pool, role "",
    which `consilience.samples` parts into train and test. A blank cell gives {}.

    Raises:
        ConfigError: a split is named twice, is not a plain folder name, or has no clear role
            beside another one.
    """
    names = [name.strip() for name in str(row.get("splits") or "").split(",") if name.strip()]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
            raise ConfigError(_about(row, f"{name!r} is not the plain name of a split"))
        if names.count(name) > 1:
            raise ConfigError(_about(row, f"{name!r} is named twice"))
    if len(names) == 1:
        return {names[0]: ""}
    for name in names:
        if name not in ROLES:
            known = ", ".join(sorted(ROLES))
            raise ConfigError(
                _about(row, f"{name!r} is neither train nor test; name one split, or use {known}")
            )
    one_role = len({ROLES[name] for name in names}) == 1
    return {name: "" if one_role else ROLES[name] for name in names}


def group_column(row: Mapping[str, Any]) -> str:
    """Returns the source's own column that names groups, if the row says one: `column=NAME`."""
    kind, _, name = str(row.get("group") or "").strip().partition("=")
    return name if kind == GROUP_COLUMN else ""


def files_below(folder: Path) -> list[str]:
    """Returns the relative paths of all files below a folder, without hidden ones (`._1.tar`)."""
    found = []
    for top, below, names in walk(folder):
        below[:] = [name for name in below if name[0] != "."]
        paths = [top / name for name in names if name[0] != "."]
        found += [path.relative_to(folder).as_posix() for path in paths if path.is_file()]
    return found


def tree_digest(contents: Iterable[tuple[str, str]]) -> str:
    """Returns the SHA-256 of a set of files given as (relative path, SHA-256), in any order."""
    return files.digest(sorted([name, sha256] for name, sha256 in contents))


def check_tree(row: Mapping[str, Any], contents: Iterable[tuple[str, Path]]) -> bool:
    """Checks the column `sha256` against the `tree_digest` of files given as (name, path).

    Returns:
        Whether the content is proven: False where the row names no hash (nothing is read then).

    Raises:
        DataError: the files are others than the row says.
    """
    expected = str(row.get("sha256") or "").strip().lower()
    if not expected:
        return False
    found = tree_digest((name, files.file_digest(path)) for name, path in contents)
    if found != expected:
        raise DataError(
            f"dataset {row.get('dataset')!r}: the files under {row['name']} have the tree digest "
            f"{found}, the column sha256 says {expected}; restore the files or correct the row"
        )
    return True


def _about(row: Mapping[str, Any], problem: str) -> str:
    return f"dataset {row.get('dataset')!r}, column splits ({row.get('splits')!r}): {problem}"
