"""What killed jobs leave: temporary files and folders, whose names say who was to finish them."""

import hashlib
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_STRAY = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)\.[a-z0-9_]{8}(\.[^.]+)?")
_STALE = 86400
"""Seconds after which a temporary file of another machine is one that nobody writes any more."""


@cache
def _machine() -> str:
    """Returns 8 hexadecimal digits of a machine, as long as it runs, and of its process numbers."""
    parts = [socket.gethostname()]
    for place in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            found = Path(place)
            parts.append(str(found.readlink()) if found.is_symlink() else found.read_text())
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def maker() -> str:
    """Returns who makes a temporary file, as its name says."""
    return f"{_machine()}-{os.getpid()}"


@cache
def _delete_strays(folder: Path, _process: int) -> None:
    for path in folder.glob(".*"):
        if found := _STRAY.fullmatch(path.name):
            with suppress(OSError):  # another process removes it, or may alone
                dead = found[1] == _machine() and not _lives(int(found[2]))
                if dead or time.time() - path.stat().st_mtime > _STALE:
                    discard(path)


def delete_strays(folder: Path) -> None:
    """Removes the temporary files and folders of dead makers from a folder; once per process.

    A maker on this machine is dead if it has no process; of others that are a day old.
    """
    _delete_strays(folder.absolute(), os.getpid())


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def discard(path: Path) -> None:
    """Removes a file of a cache, or the folder in its place; nothing happens if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def discard_folder(path: Path) -> None:
    """Removes a folder in the place of a file of a cache."""
    if path.is_dir():
        discard(path)
