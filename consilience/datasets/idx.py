"""Source `idx`: grey pictures in idx files, as the MNIST family comes.

The column `name` is the folder with the four files `train-images-idx3-ubyte`,
`train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each with or
without `.gz`. Their magic numbers and sizes are checked; classes are called by their numbers, and
`sha256` may be the digest of what the files hold (`consilience.datasets.idx.content_digest`).

`fashion_mnist:FOLDER` is Fashion-MNIST (Xiao et al. 2017; MIT licence): what the files hold is
checked against the published data, and classes have their names. Debian's package
dataset-fashion-mnist puts them into `/usr/share/datasets/fashion-mnist`. With
`fashion_mnist:torchvision` torchvision fetches the same data from their makers into the cache.

The splits are `train` and `test`, named in the column `splits`; blank for both as one pool. Ids are
split and number, such as `train/000012`. A picture is as stored, bright on black, 28 × 28.
"""

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from consilience import files
from consilience.datasets import Sample
from consilience.datasets._base import split_roles
from consilience.datasets._hub import is_offline
from consilience.errors import ConfigError, DataError, check_reached
from consilience.limits.arrays import GzipWithin
from consilience.limits.reading import regular

SPLITS = {"train": "train", "test": "t10k"}
"""Split, and how the names of its files begin."""
KINDS = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}
"""End of a file's name, and how many dimensions it has."""
FASHION = "fashion_mnist"
FASHION_SHA256 = "02d9ae7ba29c8992d440ccb3770044c5c225d8e599c9e8f2b70e15a533052bc7"
"""The `content_digest` of the published data."""
FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
TORCHVISION = "torchvision"


@dataclass(frozen=True)
class Pictures:
    """Grey pictures with labels, in splits."""

    arrays: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """{split: ((n, h, w) uint8, (n,) uint8)}"""
    roles: Mapping[str, str]
    """{split that is wanted: its role}; empty for all as one pool."""
    classes: tuple[str, ...]
    verified: bool = True

    def __iter__(self) -> Iterator[Sample]:
        for split in self.roles or self.arrays:
            pictures, labels = self.arrays[split]
            for index, label in enumerate(labels.tolist()):
                id_ = f"{split}/{index:06d}"
                image = partial(_picture, pictures[index])
                yield Sample(id_, id_, self.roles.get(split, ""), label, image=image)


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels).convert("RGB")


def open(row: Mapping[str, Any]) -> Pictures:
    """Returns the pictures that `row["name"]` names.

    Raises:
        ConfigError: splits that there are not.
        DataError: a file is missing, is no idx file or has another size than it says, or the
            content is another than the row or the name says.
    """
    place, roles = _about(row), _roles(row)
    folder, published = _folder(row)
    if is_remote(row):
        prefetch(row)
    paths = _paths(folder, place)
    arrays, digests = {}, {}
    for split, start in SPLITS.items():
        found = []
        for kind, dimensions in KINDS.items():
            content = _content(paths[split, kind])
            digests[f"{start}-{kind}"] = hashlib.sha256(content).hexdigest()
            found.append(read_idx(content, dimensions, str(paths[split, kind])))
        if len(found[0]) != len(found[1]):
            raise DataError(
                f"{place}: {len(found[0])} pictures and {len(found[1])} labels in {split}; the "
                "files are of different sets"
            )
        arrays[split] = (found[0], found[1])
    _check(row, digests, published, place)
    count = 1 + max((int(labels.max()) for _, labels in arrays.values() if len(labels)), default=0)
    classes = FASHION_CLASSES if published else tuple(map(str, range(count)))
    return Pictures(arrays, roles, classes)


def look_for(row: Mapping[str, Any]) -> None:
    """Raises an error if the files are not there, and are not to be fetched."""
    _roles(row)
    if not is_remote(row):
        _paths(_folder(row)[0], _about(row))


def is_remote(row: Mapping[str, Any]) -> bool:
    """Returns whether torchvision is to fetch the data."""
    return str(row["name"]) == f"{FASHION}:{TORCHVISION}"


def prefetch(row: Mapping[str, Any]) -> None:
    """Fetches the data into the cache, by torchvision, unless they are there.

    Raises:
        DataError: torchvision is not installed, or cannot fetch them.
    """
    place = _about(row)
    if _folder(row)[0].is_dir():
        return
    if is_offline():
        raise DataError(
            f"{place}: Fashion-MNIST was never fetched, and HF_HUB_OFFLINE forbids to do so now; "
            "run `snakemake all_prefetch` where there is a network, or name a folder"
        )
    try:
        from torchvision.datasets import FashionMNIST  # noqa: PLC0415 - only to fetch
    except ImportError as error:
        raise DataError(
            f"{place}: fetching needs torchvision; install it, or name a folder"
        ) from error
    root = _cache()
    try:
        for train in (True, False):
            FashionMNIST(str(root), train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{place}: Fashion-MNIST cannot be fetched ({error}); name a folder that holds it, "
            "such as that of Debian's dataset-fashion-mnist"
        ) from error


def content_digest(digests: Mapping[str, str]) -> str:
    """Returns the SHA-256 of {name of a file without `.gz`: SHA-256 of what it holds}."""
    return files.digest(sorted([name, sha256] for name, sha256 in digests.items()))


def read_idx(content: bytes, dimensions: int, origin: str) -> np.ndarray:
    """Returns the array of bytes in an idx file: two zeros, 8, the number of axes, sizes, values.

    Raises:
        DataError: it begins otherwise, or has more or fewer values than it says.
    """
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(
            f"{origin} begins with {content[:4].hex()}, and an idx file of bytes with {dimensions} "
            f"dimensions with 000008{dimensions:02x}; it is another file"
        )
    sizes = np.frombuffer(content, ">u4", dimensions, 4).astype(np.int64)
    if (found := len(content) - start) != (said := int(sizes.prod())):
        raise DataError(f"{origin} says {said} values and has {found}; fetch it again")
    return np.frombuffer(content, np.uint8, said, start).reshape(sizes)


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return regular(path).read_bytes()
    try:
        with GzipWithin(path) as stream:
            return stream.read()
    except (OSError, EOFError, zlib.error) as error:
        check_reached(error, path)
        raise DataError(f"{path} cannot be unpacked ({error}); fetch it again") from error


def _paths(folder: Path, place: str) -> dict[tuple[str, str], Path]:
    """Returns {(split, kind): path}; raises DataError if a file is not there."""
    found = {}
    for split, start in SPLITS.items():
        for kind in KINDS:
            name = f"{start}-{kind}"
            there = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
            if not there:
                raise DataError(
                    f"{place}: {folder} holds neither {name} nor {name}.gz; name the folder that "
                    "does (Fashion-MNIST: install Debian's dataset-fashion-mnist)"
                )
            found[split, kind] = there[0]
    return found


def _check(row: Mapping[str, Any], digests: Mapping[str, str], published: bool, place: str) -> None:
    """Raises DataError if the content is another than it should be."""
    expected = FASHION_SHA256 if published else str(row.get("sha256") or "").strip()
    found = content_digest(digests)
    if expected and found != expected:
        what = "the published Fashion-MNIST has" if published else "the column sha256 says"
        raise DataError(
            f"{place}: the files hold data with the digest {found}, and {what} {expected}; fetch "
            "them again, or name the folder alone to use other data"
        )


def _folder(row: Mapping[str, Any]) -> tuple[Path, bool]:
    """Returns the folder, and whether it is to hold the published Fashion-MNIST."""
    name = str(row["name"]).strip()
    start, colon, rest = name.partition(":")
    if start != FASHION or not colon:
        return Path(name).expanduser(), False
    if rest == TORCHVISION:
        return _cache() / "FashionMNIST" / "raw", True
    return Path(rest).expanduser(), True


def _cache() -> Path:
    return files.cache_folder() / TORCHVISION


def _roles(row: Mapping[str, Any]) -> dict[str, str]:
    roles = split_roles(row)
    if unknown := set(roles) - set(SPLITS):
        raise ConfigError(
            f"dataset {row.get('dataset')!r}, column splits ({row['splits']!r}): there is no "
            f"{min(unknown)!r}; write train, test, both with a comma, or nothing"
        )
    return roles


def _about(row: Mapping[str, Any]) -> str:
    return f"dataset {row.get('dataset')!r}, column name ({row['name']!r})"
