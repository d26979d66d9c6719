"""Which shards a dataset has: counted in a file, named by a pattern, or all in a folder."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from consilience.datasets._base import files_below
from consilience.datasets._hub import MissingError
from consilience.datasets._roots import HubRoot, Root
from consilience.errors import ConfigError, DataError
from consilience.files import natural_order
from consilience.limits import hold, limit
from consilience.limits.reading import read_text

COUNT = "nshards.txt"
_SUFFIX = ".tar"
_COUNTED = re.compile(r"(.*?)([0-9]+)-of-([0-9]+)([^0-9/]*)")
_PACKED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class ShardList:
    """The shards of one split, as paths below the root, in reading order."""

    names: Sequence[str]
    counted: str = ""
    """What says how many there are, for messages."""


def list_shards(
    root: Root | HubRoot, pattern: str, roles: Mapping[str, str], place: str
) -> dict[str, ShardList]:
    """Returns {split: its shards}, with the split "" where the row names none.

    Args:
        root: where shards lie.
        pattern: of paths below it, with braces; empty for none.
        roles: {split: role} of the row.
        place: the dataset, for messages.

    Raises:
        ConfigError: splits are to be named, or the pattern cannot be read.
        DataError: there are no shards, none of a split, or one in their midst is missing.
    """
    if pattern:
        return _parted(_expanded(pattern, place), roles, root.name, place)
    counted, why = _counted(root, roles)
    if counted and not why:
        return counted
    names = _listed(root)
    known = sorted(str(Path(n).parent) for n in names or [] if Path(n).name == COUNT)
    example = f"{root.name.rstrip('/')}/{next(iter(roles), 'shard')}-{{000000..000009}}.tar"
    if why and (known or names is None):
        split, error = next(iter(why.items()))
        there = f"there are: {', '.join(known)}" if known else f"{example} names shards one by one"
        raise DataError(
            f"{place}: {root.name} has no {split}/{COUNT} ({error}); the split {split!r} does not "
            f"exist or the dataset has another layout ({there})"
        ) from error
    if not roles and (known or names is None):
        there = f"there are: {', '.join(known)}" if known else f"or the shards, as {example}"
        raise ConfigError(
            f"{place}: the column splits is blank; name the splits to read, such as `test` or "
            f"`train,test` ({there})"
        )
    shards = sorted((name for name in names if name.endswith(_SUFFIX)), key=natural_order)
    if not shards:
        packed = [name for name in names if name.endswith(_PACKED)]
        problem = f"only packed ones ({packed[0]}, …); unpack them" if packed else "none"
        raise DataError(f"{place}: {root.name} has no shards (*{_SUFFIX}): {problem}")
    _check_gaps(shards, root.name, place)
    return _parted(shards, roles, root.name, place)


def _counted(
    root: Root | HubRoot, splits: Iterable[str]
) -> tuple[dict[str, ShardList], dict[str, MissingError]]:
    """Returns the shards of each split that has a count, and why the others have none."""
    found, why = {}, {}
    for split in splits:
        name = f"{split}/{COUNT}"
        try:
            text = read_text(root.path(name)).strip()
        except MissingError as error:
            why[split] = error
            continue
        if not re.fullmatch("[0-9]{1,18}", text) or int(text) < 1:
            raise DataError(f"{root.name}: {name} holds {text[:40]!r}, not a number of shards")
        hold("shards", int(text), f"{root.name}: {name}", "shards")
        shards = [f"{split}/{i}{_SUFFIX}" for i in range(int(text))]
        found[split] = ShardList(shards, f"{name} says {text} shards")
    return found, why


def _listed(root: Root | HubRoot) -> list[str] | None:
    """Returns all files below a root; None where an address does not list them."""
    if isinstance(root, HubRoot):
        return list(root.repo.files)
    if root.remote:
        return None
    folder = Path(root.name).expanduser()
    return files_below(folder)


def _expanded(pattern: str, place: str) -> list[str]:
    from braceexpand import UnbalancedBracesError, braceexpand  # noqa: PLC0415 - of webdataset

    if "*" in pattern:
        raise ConfigError(
            f"{place}, column name ({pattern}): shards are named by braces, not by stars; name the "
            "folder to read all in it, or write such as {000000..000009}.tar"
        )
    if _count_names(pattern) > (most := limit("shards")):  # the library would make them all at once
        raise ConfigError(f"{place}, column name ({pattern}): it names over {most:,} shards")
    try:
        names = list(braceexpand(pattern))
    except UnbalancedBracesError as error:
        raise ConfigError(f"{place}, column name ({pattern}): {error}; close the braces") from None
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ConfigError(f"{place}, column name ({pattern}): it names {twice} twice")
    return names


def _count_names(pattern: str) -> int:
    """Returns how many names a pattern gives at most."""
    count = 1
    for inner in re.findall(r"{([^{}]*)}", pattern):
        ends = re.match(r"(-?[0-9]{1,18})\.\.(-?[0-9]{1,18})(?![0-9])", inner)
        many = 52 if ".." in inner else inner.count(",") + 1  # letters, such as {a..f}
        if not ends and re.search("[0-9]{19}", inner):
            many = 10**18
        count *= abs(int(ends[2]) - int(ends[1])) + 1 if ends else many
    return count


def _parted(
    names: Sequence[str], roles: Mapping[str, str], where: str, place: str
) -> dict[str, ShardList]:
    """Returns the shards of each split: those that have it as a word of their path."""
    if not roles:
        return {"": ShardList(names)}
    found = {split: [name for name in names if split in _words(name)] for split in roles}
    for split, own in found.items():
        if not own:
            shown = ", ".join([*names[:5], *(["…"] if len(names) > 5 else [])])
            raise DataError(
                f"{place}: no shard of the split {split!r} in {where}; there are: {shown}. "
                "Correct the column splits, or leave it blank to read all as one pool"
            )
    owners = Counter(name for own in found.values() for name in own)
    if twice := next((name for name, count in owners.items() if count > 1), ""):
        raise DataError(f"{place}: the shard {twice} belongs to two of the splits; rename it")
    return {split: ShardList(own) for split, own in found.items()}


def _words(name: str) -> set[str]:
    """Returns the words of a path: `data/train-000000.tar` has `data`, `train` and `000000`."""
    stem = name.removesuffix(_SUFFIX)
    return {word for part in stem.split("/") for word in (part, *re.split("[-_.]", part))}


def _check_gaps(names: Sequence[str], where: str, place: str) -> None:
    """Raises DataError if a number is missing among shards that are otherwise called alike."""
    numbers: dict[tuple[str, str], dict[int, str]] = {}
    counts: dict[tuple[str, str], int] = {}
    for name in names:
        if match := _COUNTED.fullmatch(name):  # 00001-of-00004
            before, number, count, after = match.groups()
            key = before, f"-of-{count}{after}"
            counts[key] = int(count)
            numbers.setdefault(key, {})[int(number)] = name
        elif match := re.fullmatch(r"(.*?)([0-9]+)([^0-9/]*)", name):
            before, number, after = match.groups()
            numbers.setdefault((before, after), {})[int(number)] = name
    for (before, after), count in counts.items():
        if len(own := numbers[before, after]) != count:
            raise DataError(
                f"{place}: {where} has {len(own)} of the {count} shards {before}NUMBER{after}; "
                "complete the dataset, or name those that are meant by a pattern with braces"
            )
    for (before, after), own in numbers.items():
        missing = next((i for i in range(min(own), max(own)) if i not in own), None)
        if missing is not None:
            width = len(own[min(own)]) - len(before) - len(after)
            first, last, lost = (f"{i:0{width}d}" for i in (min(own), missing - 1, missing))
            raise DataError(
                f"{place}: {where} has the shards {own[min(own)]} to {own[max(own)]} without "
                f"{before}{lost}{after}; complete the dataset, or name those that are meant by a "
                f"pattern, such as {before}{{{first}..{last}}}{after}"
            )
