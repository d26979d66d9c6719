"""Source `webdataset`: shards of pictures in the layout of the CLIP benchmark.

```
ROOT/classnames.txt          one class name per line; absent if there are no labels
ROOT/SPLIT/nshards.txt       the number of shards, N
ROOT/SPLIT/0.tar … N-1.tar   members KEY.webp|png|jpg|jpeg with KEY.cls (label) or KEY.txt (text)
```

The column `name` is ROOT, a folder or an http(s) address; `splits` names what to read. Shards of an
address are fetched once into `$CONSILIENCE_CACHE` (default `~/.cache/consilience`).

The id of a sample is `SPLIT/KEY`, percent-encoded where KEY is not path safe: it stays the same
when the shards are cut anew. KEY must therefore be unique within its split, also across shards.
Shards are read in the order of their numbers and members in the order of the file, by one reader,
so that every pass sees every sample once and in the same order.

`sha256` may name the digest of all shards (`consilience.datasets._base.tree_digest`), which spares
trying every picture.
"""

import hashlib
import http.client
import logging
import re
import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from consilience import __version__, files
from consilience.datasets import Sample
from consilience.datasets._base import cache_folder, check_tree, decode, split_roles
from consilience.errors import ConfigError, DataError

log = logging.getLogger(__name__)

IMAGES = ("webp", "png", "jpg", "jpeg")
TIMEOUT = 60.0
"""Seconds without a byte after which a server counts as unreachable."""
_BLOCK = 512


class _MissingError(DataError):
    """The root is there, the file is not."""


@dataclass(frozen=True)
class Root:
    """A folder or an address under which files are named by relative paths."""

    name: str

    @property
    def remote(self) -> bool:
        """Whether files must be fetched."""
        return self.name.startswith(("http://", "https://"))

    def path(self, relative: str) -> Path:
        """Returns the local path of a file, fetched into the cache if it is not there yet.

        Raises:
            DataError: the file does not exist or cannot be fetched whole.
        """
        if self.remote:
            target = self._cache() / relative
            fetch(f"{self.name.rstrip('/')}/{urllib.parse.quote(relative)}", target)
            return target
        path = Path(self.name).expanduser() / relative
        if not path.is_file():
            raise _MissingError(f"{path}: no such file")
        return path

    def _cache(self) -> Path:
        # Readable, and different for different roots.
        slug = re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-")[-80:]
        mark = hashlib.sha256(self.name.rstrip("/").encode()).hexdigest()[:12]
        return cache_folder() / "webdataset" / f"{slug}-{mark}"


@dataclass(frozen=True)
class Shards:
    """The samples of the chosen splits of one root."""

    root: Root
    roles: Mapping[str, str]
    shards: Mapping[str, int]
    classes: tuple[str, ...]
    verified: bool = False

    def __iter__(self) -> Iterator[Sample]:
        for name in self.names():
            split = name.partition("/")[0]
            path = self.shard(name)
            for members in _read(path, name):
                yield _sample(members, name, self.roles[split])

    def names(self) -> list[str]:
        """Returns the shards as `SPLIT/NUMBER.tar`, in reading order."""
        return [f"{split}/{i}.tar" for split in self.roles for i in range(self.shards[split])]

    def shard(self, name: str) -> Path:
        """Returns the local path of a shard, fetching it if need be.

        Raises:
            DataError: it is missing although nshards.txt counts it.
        """
        try:
            return self.root.path(name)
        except _MissingError as error:
            split = name.partition("/")[0]
            raise DataError(
                f"shard {name} is missing: {split}/nshards.txt says {self.shards[split]} shards "
                f"({error}); complete the dataset or correct nshards.txt"
            ) from error


def open(row: Mapping[str, Any]) -> Shards:
    """Returns the dataset under the folder or address `row["name"]`.

    Raises:
        ConfigError: the column `splits` is blank, or names splits without a clear role.
        DataError: the root, a split's nshards.txt or a shard is missing or damaged.
    """
    root, roles = Root(str(row["name"])), split_roles(row)
    if not roles:
        raise ConfigError(
            f"dataset {row.get('dataset')!r}: the column splits is blank; "
            "name the splits to read, such as `test` or `train,test`"
        )
    if not root.remote and not Path(root.name).expanduser().is_dir():
        raise DataError(
            f"dataset {row.get('dataset')!r}: {root.name} is neither a folder nor an http(s) "
            "address; correct the column name"
        )
    dataset = Shards(root, roles, {split: _count(root, split) for split in roles}, _classes(root))
    contents = ((name, dataset.shard(name)) for name in dataset.names())
    if not check_tree(row, contents):
        return dataset
    return Shards(root, roles, dataset.shards, dataset.classes, verified=True)


def fetch(url: str, path: Path) -> None:
    """Fetches a file unless `path` exists; two jobs may do so at once.

    The file appears under its name only when it is whole (as long as the server said).

    Raises:
        DataError: the server cannot be reached, refuses, has no such file, or breaks off.
    """
    if path.exists():
        return
    log.info("fetching %s", url)
    request = urllib.request.Request(url, headers={"User-Agent": f"consilience/{__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            _store(response, url, path)
    except urllib.error.HTTPError as error:
        problem = f"{url}: the server answers {error.code} {error.reason}"
        if error.code in (404, 410):
            raise _MissingError(problem) from error
        raise DataError(f"{problem}; check the address and the right to read it") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as e:
        raise DataError(
            f"{url}: the server cannot be reached ({e}); without a network, copy the dataset into "
            "a folder and put the folder into the column name"
        ) from e


def _store(response: http.client.HTTPResponse, url: str, path: Path) -> None:
    with files.atomic(path) as temporary:
        with temporary.open("wb") as stream:
            shutil.copyfileobj(response, stream, 1 << 20)
        expected, size = response.headers.get("Content-Length"), temporary.stat().st_size
        if expected is not None and int(expected) != size:
            raise DataError(
                f"{url}: {size} of {expected} bytes arrived before the connection broke off; "
                "run again, what is complete is kept"
            )


def _count(root: Root, split: str) -> int:
    name = f"{split}/nshards.txt"
    try:
        text = root.path(name).read_text(encoding="utf-8").strip()
    except _MissingError as error:
        raise DataError(
            f"{root.name} has no {name} ({error}); "
            f"the split {split!r} does not exist or the dataset has another layout"
        ) from error
    if not text.isdecimal() or int(text) < 1:
        raise DataError(f"{root.name}: {name} holds {text[:40]!r}, not a number of shards")
    return int(text)


def _classes(root: Root) -> tuple[str, ...]:
    try:
        text = root.path("classnames.txt").read_text(encoding="utf-8")
    except _MissingError:
        return ()
    return tuple(line.strip() for line in text.strip().splitlines())


def _read(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yields the samples of one shard as {"__key__": KEY, extension: bytes, …}."""
    try:
        # It takes seconds to import, and a study may only ask whether the row is well formed.
        from webdataset.tariterators import (  # noqa: PLC0415
            group_by_keys,
            tar_file_expander,
        )
    except ImportError as error:
        raise DataError(
            f"reading shards needs webdataset ({error}): pip install 'consilience[models]'"
        ) from error
    stat = path.stat()
    _check_whole(path, name, stat.st_size, stat.st_mtime_ns)
    try:
        # An open file, not an address: the library would run commands named in an address.
        with path.open("rb") as stream:
            yield from group_by_keys(tar_file_expander([{"url": name, "stream": stream}]))
    except (tarfile.TarError, ValueError) as error:
        raise DataError(f"shard {name} ({path}) cannot be read: {error.args[0]}") from error


@cache
def _check_whole(path: Path, name: str, size: int, _mtime: int) -> None:
    """Raises DataError unless the archive's headers lead to its end mark.

    A reader takes the end of the file, or a damaged header, for the end of the archive: samples
    would be missing without a word.
    """
    try:
        with tarfile.open(path, "r:") as archive, path.open("rb") as stream:
            archive.getmembers()
            position = archive.offset
            stream.seek(position)
            whole = stream.read(_BLOCK) == bytes(_BLOCK)
    except tarfile.TarError as error:
        raise DataError(_damaged(path, name, size, str(error))) from error
    if not whole:
        raise DataError(_damaged(path, name, size, f"no header and no end mark at byte {position}"))


def _damaged(path: Path, name: str, size: int, problem: str) -> str:
    return (
        f"shard {name} ({path}, {size} bytes) is damaged or cut off: {problem}; "
        "delete it and fetch or write it again"
    )


def _sample(members: Mapping[str, Any], shard: str, role: str) -> Sample:
    key, split = members["__key__"], shard.partition("/")[0]
    extension = next((name for name in IMAGES if name in members), None)
    present = ", ".join(sorted(name for name in members if name[0] != "_"))
    origin = f"{shard}:{key}" + (f".{extension}" if extension else "")
    if "npy" in members:
        raise DataError(f"{origin}: several labels per sample (npy) are not supported, only cls")
    if extension is None and "txt" not in members:
        wanted = ", ".join(IMAGES)
        raise DataError(f"{origin}: no picture ({wanted}) and no txt among its members ({present})")
    image = partial(decode, members[extension], origin) if extension else None
    return Sample(
        id=f"{split}/{urllib.parse.quote(key, safe='/')}",
        origin=origin,
        split=role,
        label=_label(members["cls"], origin) if "cls" in members else None,
        text=_text(members["txt"], origin) if "txt" in members else None,
        image=image,
    )


def _label(content: bytes, origin: str) -> int:
    try:
        return int(content)
    except ValueError:
        raise DataError(f"{origin}: its cls is {content[:40]!r}, not a whole number") from None


def _text(content: bytes, origin: str) -> str:
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{origin}: its txt is not UTF-8 ({error})") from error
