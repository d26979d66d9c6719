"""One job per features file: a lock that dies with its holder."""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from consilience.errors import FeaturesError
from consilience.features.store import room_needed

HEARTBEAT = 20.0
"""Seconds between two signs of life of a holder, for jobs on other machines."""
PATIENCE = 90.0
"""Seconds without a sign of life after which a holder on another machine counts as dead."""


@contextmanager
def sole_maker(out: str | Path) -> Iterator[None]:
    """Keeps other jobs from making `out` at the same time.

    The operating system drops the lock of a dead process. Where a file system does not carry locks
    from machine to machine, a holder on another one is given `PATIENCE` to show that it lives.

    Raises:
        FeaturesError: another job is at work on the file.
    """
    out = Path(out)
    path = out.parent / f".{out.name}.lock"
    with room_needed(path):
        out.parent.mkdir(parents=True, exist_ok=True)
        stream = _acquire(path, out)
    stopped = threading.Event()
    pulse = threading.Thread(target=_beat, args=(path, stopped), daemon=True)
    pulse.start()
    try:
        yield
    finally:
        stopped.set()
        pulse.join()
        path.unlink(missing_ok=True)
        stream.close()


def _acquire(path: Path, out: Path) -> IO[str]:
    while True:
        stream = path.open("a+", encoding="utf8")
        try:
            # Of this process alone: worker processes that outlive it a while do not hold it.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = _holder(stream)
            stream.close()
            raise FeaturesError(_busy(out, holder)) from None
        except OSError:
            pass  # a file system without locks: the signs of life decide
        if not path.exists() or os.fstat(stream.fileno()).st_ino != path.stat().st_ino:
            stream.close()  # its holder has just deleted it
            continue
        holder = _holder(stream)
        if holder.get("host", socket.gethostname()) != socket.gethostname():
            _outlive(path, out, holder)
        stream.truncate(0)
        stream.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        stream.flush()
        return stream


def _holder(stream: IO[str]) -> dict[str, Any]:
    stream.seek(0)
    try:
        return dict(json.loads(stream.read()))
    except (ValueError, TypeError):  # empty, or killed in the writing
        return {}


def _outlive(path: Path, out: Path, holder: dict[str, Any]) -> None:
    """Returns once a holder on another machine has been silent for `PATIENCE`; raises if not."""
    seen = path.stat().st_mtime
    # Clocks of two machines, or of one before and after it was set, may differ by hours: a sign of
    # life of the future is one of now.
    end = time.monotonic() + PATIENCE - max(0.0, time.time() - seen)
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        if not path.exists() or path.stat().st_mtime != seen:
            raise FeaturesError(_busy(out, holder))


def _busy(out: Path, holder: dict[str, Any]) -> str:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    return f"{out} is being made by another job ({who}); wait for it or stop it, then run again"


def _beat(path: Path, stopped: threading.Event) -> None:
    while not stopped.wait(HEARTBEAT):
        if path.exists():
            os.utime(path)
