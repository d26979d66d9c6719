"""Source `webdataset`: shards of pictures, as the CLIP benchmark or a `ShardWriter` lays them out.

```
ROOT/classnames.txt          one class name per line; absent if there are no labels
ROOT/SPLIT/nshards.txt       the number of shards, N
ROOT/SPLIT/0.tar … N-1.tar   members KEY.webp|png|jpg|jpeg with KEY.cls (label) or KEY.txt (text)
ROOT/….tar                   without nshards.txt: all shards in the folder, by their numbers
```

The column `name` is ROOT: a folder, an http(s) address, or a hub repository as `owner/name` or
`hf://datasets/owner/name`, whose `revision` is resolved to a commit. It may end in a pattern with
braces, such as `ROOT/train-{000000..000009}.tar`, or in one shard, `ROOT/train.tar`. `splits` names
what to read; without nshards.txt a shard belongs to a split that is one of the words of its path,
and a blank cell reads all as one pool.
Shards of an address are fetched once into `$CONSILIENCE_CACHE` (default `~/.cache/consilience`),
those of a repository into the hub client's cache.

In a multilabel dataset KEY.npy holds a 0 or 1 for each class instead of KEY.cls.

The id of a sample is `SPLIT/KEY` (KEY where the row names no split), percent-encoded where KEY is
not path safe: it stays the same when the shards are cut anew. KEY must therefore be unique within
its split, also across shards. Shards are read in the order of their numbers and members in the
order of the file, by one reader, so that every pass sees every sample once and in the same order.

`sha256` may name the digest of all shards (`consilience.datasets._base.tree_digest`), which spares
trying every picture.
"""

import io
import json
import tarfile
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from consilience.datasets import Sample
from consilience.datasets._base import (
    check_tree,
    decode,
    group_column,
    pixel_span,
    split_roles,
)
from consilience.datasets._hub import MissingError
from consilience.datasets._roots import HubRoot, Root, is_remote, open_root
from consilience.datasets._shards import ShardList, list_shards
from consilience.errors import DataError
from consilience.files import lines_of
from consilience.limits.arrays import check_array
from consilience.limits.reading import DAMAGED, read_text, regular

IMAGES = ("webp", "png", "jpg", "jpeg")
_LABELS = ("cls", "npy")
_OTHER_LABELS = ("label", "labels", "lbl", "class", "target", "targets", "category")
_BLOCK = 512


@dataclass(frozen=True)
class Shards:
    """The samples of the chosen splits of one root."""

    root: Root | HubRoot
    roles: Mapping[str, str]
    shards: Mapping[str, ShardList]
    classes: tuple[str, ...]
    span: tuple[float, float] | None = None
    verified: bool = False
    group: str = ""
    """The members KEY.group that name groups; empty: none."""

    @property
    def pin(self) -> dict[str, str]:
        """The commit of a hub repository."""
        return {"revision": self.root.repo.commit} if isinstance(self.root, HubRoot) else {}

    def __iter__(self) -> Iterator[Sample]:
        for split, shards in self.shards.items():
            for name in shards.names:
                seen: set[str] = set()
                for members in _read(self.shard(name), name):
                    _check_together(members["__key__"], seen, name)
                    _check_label(members, name, bool(self.classes))
                    role = self.roles.get(split, "")
                    yield _sample(members, name, split, role, self.span, self.group)

    def names(self) -> list[str]:
        """Returns the paths of all shards below the root, in reading order."""
        return [name for shards in self.shards.values() for name in shards.names]

    def shard(self, name: str) -> Path:
        """Returns the local path of a shard, fetching it if need be.

        Raises:
            DataError: it is missing although nshards.txt counts it, or the pattern names it.
        """
        try:
            return self.root.path(name)
        except MissingError as error:
            counted = [shards.counted for shards in self.shards.values() if name in shards.names]
            raise DataError(
                f"shard {name} is missing: {counted[0] or 'the column name counts it'} ({error}); "
                f"complete the dataset or correct the {'count' if counted[0] else 'pattern'}"
            ) from error


def open(row: Mapping[str, Any]) -> Shards:
    """Returns the dataset under the folder or address `row["name"]`.

    Raises:
        ConfigError: the column `splits` is blank, or names splits without a clear role.
        DataError: the root, a split's nshards.txt or a shard is missing or damaged.
    """
    dataset = _list(row)
    dataset = replace(dataset, classes=_classes(dataset.root))
    contents = ((name, dataset.shard(name)) for name in dataset.names())
    return replace(dataset, verified=check_tree(row, contents))


def _list(row: Mapping[str, Any]) -> Shards:
    """Returns the dataset without its classes; no shard is opened."""
    roles = split_roles(row)
    root, pattern = open_root(row)
    shards = list_shards(root, pattern, roles, f"dataset {row.get('dataset')!r}")
    return Shards(root, roles, shards, (), span=pixel_span(row), group=group_column(row))


def look_for(row: Mapping[str, Any]) -> None:
    """Raises an error if shards that should lie in a folder are not there."""
    if not is_remote(row):
        dataset = _list(row)
        for name in dataset.names():
            dataset.shard(name)


def prefetch(row: Mapping[str, Any]) -> None:
    """Fetches all shards that the row needs, if they are not here."""
    if is_remote(row):
        dataset = open(row)
        for name in dataset.names():
            dataset.shard(name)


def _classes(root: Root | HubRoot) -> tuple[str, ...]:
    try:
        text = read_text(root.path("classnames.txt"))
    except MissingError:
        return ()
    names = [line.strip() for line in lines_of(text)]
    while names and not names[-1]:
        names.pop()
    if "" in names:  # taken as a name or left out, it would be wrong for all classes that follow
        place = names.index("")
        raise DataError(
            f"{root.name}: classnames.txt line {place + 1} is blank, so that class {place} has no "
            "name; write it, or remove the line if all names move up by it"
        )
    return tuple(names)


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
    stat = regular(path).stat()
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


def _sample(
    members: Mapping[str, Any],
    shard: str,
    split: str,
    role: str,
    span: tuple[float, float] | None,
    group: str,
) -> Sample:
    key = members["__key__"]
    pictures = [name for name in IMAGES if name in members]
    extension = pictures[0] if pictures else None
    present = ", ".join(sorted(name for name in members if name[0] != "_"))
    origin = f"{shard}:{key}" + (f".{extension}" if extension else "")
    if len(pictures) > 1:
        raise DataError(
            f"{shard}:{key}: it has {len(pictures)} pictures ({', '.join(pictures)}), and which "
            "one is the sample is not said; write the shard again with one under each key"
        )
    if extension is None and "txt" not in members:
        wanted = ", ".join(IMAGES)
        raise DataError(
            f"{origin}: no picture ({wanted}) and no txt among its members ({present})"
            + _dotted(members)
        )
    image = partial(decode, members[extension], origin, span) if extension else None
    return Sample(
        id="/".join(filter(None, [split, urllib.parse.quote(key, safe="/")])),
        origin=origin,
        split=role,
        label=_label(members["cls"], origin) if "cls" in members else None,
        text=_text(members["txt"], origin) if "txt" in members else None,
        labels=_labels(members["npy"], origin) if "npy" in members else None,
        group=_text(members[group], origin, group) if group in members else None,
        image=image,
    )


def _check_together(key: str, seen: set[str], shard: str) -> None:
    """Raises DataError if members of one key do not follow one another in a shard."""
    if key in seen:
        raise DataError(
            f"{shard}:{key}: its members stand apart in the shard, or the key is there twice; "
            "write it again with the members of each key together (tar --sort=name)"
        )
    seen.add(key)


def _dotted(members: Mapping[str, Any]) -> str:
    """Returns what to do if a picture's key was cut at a dot that was not meant to end it."""
    for name in members:
        if "." in name and name.rpartition(".")[2] in IMAGES:
            found, key = f"{members['__key__']}.{name}", members["__key__"].rpartition("/")[2]
            stem, _, suffix = f"{key}.{name}".rpartition(".")
            better = f"{stem.replace('.', '_')}.{suffix}"
            return f"; a key ends at its first dot: write {found} into the shard as {better}"
    return ""


def _check_label(members: Mapping[str, Any], shard: str, classes: bool) -> None:
    """Raises DataError if a sample has a label under a name that is not read, or lacks its label.

    Args:
        members: of the sample.
        shard: which holds it.
        classes: whether the dataset has classes, so that every sample has a label.
    """
    if any(name in members for name in _LABELS):
        return
    names = sorted(name for name in members if name[0] != "_")
    origin, wanted = f"{shard}:{members['__key__']}", "cls (or npy, where there are several)"
    if other := [name for name in names if set(name.split(".")) & {*_LABELS, *_OTHER_LABELS}]:
        remedy = _dotted(members) or f"; write it as {wanted}"
        raise DataError(f"{origin}: its label is called {other[0]}{remedy}")
    if key := _label_in_json(members.get("json", b"")):
        raise DataError(
            f"{origin}: its label is {key!r} in its json, which is not read; write it as {wanted}"
        )
    if classes:
        raise DataError(
            f"{origin}: classnames.txt names classes and it has no {wanted} among its members "
            f"({', '.join(names)}); write its label, or remove classnames.txt"
        )


def _label_in_json(content: bytes) -> str:
    """Returns the key under which a member of metadata has a label, or "" if it has none."""
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError):  # no metadata that are read
        return ""
    names = found if isinstance(found, dict) else {}
    return next((key for key in (*_LABELS, *_OTHER_LABELS) if names.get(key) is not None), "")


def _label(content: bytes, origin: str) -> int:
    try:
        return int(content)
    except ValueError:
        raise DataError(f"{origin}: its cls is {content[:40]!r}, not a whole number") from None


def _labels(content: bytes, origin: str) -> tuple[int, ...]:
    check_array(io.BytesIO(content), len(content), f"{origin}: its npy")
    try:
        marks = np.load(io.BytesIO(content), allow_pickle=False)
    except DAMAGED as error:
        raise DataError(f"{origin}: its npy is no plain array of numbers") from error
    if marks.ndim != 1 or marks.dtype.kind not in "biuf" or not np.isin(marks, (0, 1)).all():
        raise DataError(
            f"{origin}: its npy is of shape {marks.shape} and type {marks.dtype}; several labels "
            "are one 0 or 1 for each class"
        )
    return tuple(map(int, np.flatnonzero(marks)))


def _text(content: bytes, origin: str, member: str = "txt") -> str:
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{origin}: its {member} is not UTF-8 ({error})") from error
