"""Files opened within limits: regular ones only, and texts and JSON of a size and depth."""

import errno
import json
import os
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

from consilience.errors import RefusedError
from consilience.limits import hold, limit

DAMAGED = (
    ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError, BadZipFile, TokenError, struct.error, zlib.error,
)  # fmt: skip
"""What libraries raise of a file that is damaged or of another kind than it says."""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def regular(path: str | Path) -> Path:
    """Returns a path, if what lies there is a file, a folder, or nothing.

    To open a named pipe would wait for ever, and a device never ends.

    Raises:
        RefusedError: it is something else, or may not be looked at.
    """
    path = Path(path)
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except PermissionError as error:
        raise RefusedError(f"{path} may not be read; give yourself the right to") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise RefusedError(f"{str(path)[:60]}… is longer than any path; correct it") from error
        return path  # it is not there: whoever opens it says so
    except ValueError as error:
        raise RefusedError(f"{str(path)[:60]!r} can be no path ({error}); correct it") from error
    if kind in _KINDS:
        raise RefusedError(f"{path} is {_KINDS[kind]}, and only files are read; move it away")
    return path


def walk(folder: Path, *, links: bool = False) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yields each folder below one with the names in it, as `os.walk`; `links` are followed.

    Raises:
        RefusedError: a folder may not be read, or a name is no text in UTF-8.
    """

    def refuse(error: OSError) -> None:
        raise RefusedError(f"{error.filename} cannot be read ({error.strerror}); mend that")

    for top, below, names in os.walk(folder, followlinks=links, onerror=refuse):
        for name in (*below, *names):
            try:
                name.encode("utf8")
            except UnicodeEncodeError:
                raise RefusedError(
                    f"{top} holds {os.fsencode(name)!r}, whose name is no text in UTF-8; rename it"
                ) from None
        yield Path(top), below, names


def check_folder(folder: str | Path) -> None:
    """Raises RefusedError if something in a folder, at any depth, is neither file nor folder."""
    for top, _, names in os.walk(folder):
        for name in names:
            regular(Path(top, name))


def read_text(path: str | Path, encoding: str = "utf8") -> str:
    """Returns a text file's content.

    Raises:
        RefusedError: it is no regular file, larger than `text_bytes`, or no text in UTF-8.
        OSError: it cannot be read.
    """
    path = regular(path)
    if path.is_dir():
        raise RefusedError(f"{path} is a folder, where a file is expected; name the file")
    hold("text_bytes", path.stat().st_size, path, "bytes")
    try:
        return path.read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise RefusedError(f"{path} is no text in UTF-8 ({error}); save it as one") from error


def parse_json(text: str | bytes, place: object) -> Any:  # noqa: ANN401
    """Returns what a JSON text says.

    Raises:
        RefusedError: it is no JSON, or larger or more deeply nested than the limits.
    """
    hold("text_bytes", len(text), place, "bytes of JSON")
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise RefusedError(f"{place} nests JSON deeper than {limit('depth')} levels") from error
    except ValueError as error:
        raise RefusedError(f"{place} is no JSON ({error})") from error
    check_nesting(found, place)
    return found


def check_nesting(value: object, place: object) -> None:
    """Raises RefusedError if mappings and lists lie too deeply in one another, or in themselves.

    What stands in several places, as by aliases of YAML, counts each time: written out it would be
    as long.
    """
    known: dict[int, tuple[int, int]] = {}

    def measure(one: object, depth: int) -> tuple[int, int]:
        """Returns how many entries a value has, and how many levels."""
        if not isinstance(one, list | tuple | Mapping):
            return 1, 0
        hold("depth", depth, place, "levels in one another, or more")
        if id(one) not in known:
            inner = one.values() if isinstance(one, Mapping) else one
            found = [measure(value, depth + 1) for value in inner]
            known[id(one)] = (
                1 + sum(entries for entries, _ in found),
                1 + max((levels for _, levels in found), default=0),
            )
        hold("depth", depth + known[id(one)][1] - 1, place, "levels in one another, or more")
        return known[id(one)]

    hold("entries", measure(value, 1)[0], place, "entries, each alias written out")
