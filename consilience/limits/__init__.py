"""How much one input may ask for: what readers hold against what a file declares, before they read.

A file of a few bytes can declare terabytes. Whatever it declares (rows, pixels, members, nesting,
what it unpacks to) is compared with a limit, or with what is expected of it, before anything is
read or allocated, and only regular files are opened. The limits are far above what sound inputs
have. Others are set by `CONSILIENCE_LIMITS`, an environment variable and no key of a study: whoever
runs a study of somebody else decides what it may take.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from consilience.errors import ConfigError, RefusedError

VARIABLE = "CONSILIENCE_LIMITS"
"""Limits that are others, as `NAME=NUMBER,NAME=NUMBER`."""
MIB, GIB = 1 << 20, 1 << 30
FREE = 256 * MIB
"""Bytes that anything may unpack to, however small the file is."""


@dataclass(frozen=True)
class Limit:
    """The most that is read, and of what."""

    most: int
    meaning: str


LIMITS = {
    "archive_members": Limit(200_000, "Files in a zip, a bundle, an `.npz` or a `.pt`."),
    "bundle_bytes": Limit(8 * GIB, "Bytes of all tables of a bundle, unpacked."),
    "classes": Limit(
        100_000,
        "Classes that numbers as labels count up to, where they are more than the samples.",
    ),
    "depth": Limit(64, "Nesting of JSON, YAML and GGUF."),
    "entries": Limit(20_000_000, "Entries of JSON, YAML or a file of tensors, aliases included."),
    "imported_bytes": Limit(64 * GIB, "Bytes of all arrays of one file of imported features."),
    "modules": Limit(500_000, "Modules of a network that a configuration declares."),
    "parameters": Limit(
        1_000_000_000_000,
        "Numbers in a network that a configuration declares, where they fit into the memory.",
    ),
    "pixels": Limit(89_478_485, "Pixels of one picture (Pillow's own warning begins there)."),
    "ratio": Limit(
        200,
        "Bytes that a packed file may unpack to for each of its own; 256 MiB are always allowed.",
    ),
    "samples": Limit(20_000_000, "Samples of a dataset, and rows of a table."),
    "shards": Limit(1_000_000, "Shards of a dataset that a count or a pattern names."),
    "text_bytes": Limit(256 * MIB, "Bytes of a text or a JSON file."),
}


def limit(name: str) -> int:
    """Returns the most that is read of something.

    Raises:
        ConfigError: `CONSILIENCE_LIMITS` cannot be understood.
    """
    return _set(os.environ.get(VARIABLE, ""))[name]


@lru_cache(maxsize=8)
def _set(text: str) -> dict[str, int]:
    found = {name: one.most for name, one in LIMITS.items()}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        digits = number.replace("_", "")
        if name not in LIMITS or not (digits.isdecimal() and digits.isascii() and len(digits) < 19):
            known = ", ".join(LIMITS)
            raise ConfigError(
                f"{VARIABLE}: {part!r} is no NAME=NUMBER with one of the names {known}; correct it"
            )
        found[name] = int(digits)
    return found


def hold(name: str, found: int, place: object, what: str) -> None:
    """Raises RefusedError if something declares more than a limit.

    Args:
        name: of the limit.
        found: how much it declares.
        place: what declares it, for the message.
        what: of what, such as `rows`.
    """
    if found > (most := limit(name)):
        raise RefusedError(
            f"{place} declares {_said(found)} {what}, and at most {most:,} are read; if it is "
            f"sound, set {VARIABLE}={name}={_said(found).replace(',', '')}"
        )


def hold_unpacked(unpacked: int, packed: int, place: object, name: str = "imported_bytes") -> None:
    """Raises RefusedError if a file declares far more bytes than its size can hold.

    Args:
        unpacked: bytes that it declares.
        packed: its own bytes.
        place: the file, for the message.
        name: of the limit of bytes whatever the size.
    """
    hold(name, unpacked, place, "bytes")
    if unpacked > max(FREE, limit("ratio") * packed):
        factor = -(-unpacked // max(1, packed))
        raise RefusedError(
            f"{place} has {packed:,} bytes and declares {unpacked:,} of what it holds, {factor:,} "
            f"for each; if it is sound, set {VARIABLE}=ratio={factor}"
        )


def memory() -> int:
    """Returns the bytes of memory that this process can have at most, as far as it is known."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    group = Path("/sys/fs/cgroup/memory.max")
    if group.is_file() and (text := group.read_text(encoding="utf8").strip()).isdecimal():
        found.append(int(text))
    return min(found)


def hold_memory(found: int, place: object) -> None:
    """Raises RefusedError if something takes more bytes than there are."""
    if found > (most := memory()):
        raise RefusedError(
            f"{place} declares {_said(found)} bytes or more of weights, and this machine has "
            f"{most:,}; correct it, or use a machine with more memory"
        )


def _said(found: int) -> str:
    return f"{found:,}" if found < 10**18 else "over 10^18"


__all__ = [
    "FREE",
    "LIMITS",
    "VARIABLE",
    "Limit",
    "hold",
    "hold_memory",
    "hold_unpacked",
    "limit",
    "memory",
]
