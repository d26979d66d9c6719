"""Files of the web, fetched once: bounded in time, resumed, whole or absent."""

import fcntl
import hashlib
import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants

from consilience import files
from consilience.errors import ModelError

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
"""How long a host may take to answer before this process works from its local cache only."""
SILENCE_SECONDS = 30.0
"""How long a server may send nothing in the middle of a file."""
TRIES = 3
PAUSE_SECONDS = 2.0
"""Before a second try; twice as long before a third."""
_CHUNK = 1 << 20


class _InterruptedError(Exception):
    """A transfer that may go on where it stopped."""


def reachable(url: str) -> bool:
    """Returns whether the host of `url` answers within `PROBE_SECONDS`, name look-up included."""
    answered: list[bool] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            # An opener of its own: the shared one keeps the proxies of its first use.
            urllib.request.build_opener().open(request, timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # an answer, if a refusal: the library will tell what it means
        except (OSError, ValueError, http.client.HTTPException):
            return
        answered.append(True)

    # A thread, because the time-out of a connection does not bound the look-up of its name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(answered)


def cached_path(url: str) -> Path:
    """Returns where the file of `url` is kept: names alone would collide."""
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    return files.cache_folder() / "weights" / f"{key}-{Path(urlsplit(url).path).name}"


def fetch(url: str, path: Path | None = None, digest: str = "") -> Path:
    """Returns the local copy of `url`, fetched if it is not there.

    A fetch that was cut off goes on where it stopped, if the server can and its file is the same.
    Of several processes one fetches and the others wait for it.

    Args:
        url: an address with http or https.
        path: where to keep the file; None: in the cache folder.
        digest: SHA-256 that the file must have, or the first digits of it.

    Raises:
        ModelError: says whether the server, the address, the file or the disk is to blame.
    """
    path = path or cached_path(url)
    if not path.exists():
        if constants.HF_HUB_OFFLINE or not reachable(url):
            offline = constants.HF_HUB_OFFLINE
            why = "HF_HUB_OFFLINE is set" if offline else "its server cannot be reached"
            raise ModelError(
                f"{url} is not in {path.parent} and {why}; load it once on a machine with network, "
                "or set `weights` to a local file"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _lock(path):
                if not path.exists():
                    _fetch(url, path, digest)
        except OSError as error:
            raise ModelError(f"{url} cannot be kept in {path.parent}: {error}") from error
    elif digest and not (found := files.file_digest(path)).startswith(digest):
        raise ModelError(f"the SHA-256 of {path} is {found}, expected {digest}; delete the file")
    return path


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _fetch(url: str, path: Path, digest: str) -> None:
    part = path.with_name(f".{path.name}.part")
    for attempt in range(1, TRIES + 1):
        try:
            _transfer(url, part)
            break
        except _InterruptedError as error:
            logger.warning("%s: %s (try %d of %d)", url, error, attempt, TRIES)
            if attempt == TRIES:
                raise ModelError(
                    f"{url} cannot be fetched: {error}, {TRIES} times; try again later (what came "
                    "is kept), or set `weights` to a local file"
                ) from None
            time.sleep(PAUSE_SECONDS * attempt)
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(digest):
        part.unlink()
        raise ModelError(
            f"{url}: the SHA-256 is {found}, expected {digest}; the file was replaced or damaged "
            "on its way: correct `sha256` only if you trust the new one"
        )
    part.replace(path)
    _mark(part).unlink(missing_ok=True)


def _mark(part: Path) -> Path:
    """Returns the file that tells which version of the server's file a part is of."""
    return part.with_suffix(".etag")


def _transfer(url: str, part: Path) -> None:
    """Fetches what is missing of `part`; raises _InterruptedError if another try may help."""
    mark = _mark(part)
    known = mark.read_text(encoding="utf8") if mark.exists() else ""
    offset = part.stat().st_size if part.exists() and known else 0
    headers = {"Range": f"bytes={offset}-", "If-Range": known} if offset else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.build_opener().open(request, timeout=SILENCE_SECONDS) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                offset = 0
                part.write_bytes(b"")  # before the mark: what is there is of another version
            mark.write_text(response.headers.get("ETag") or "", encoding="utf8")
            wanted = response.headers.get("Content-Length")
            _append(response, part, int(wanted) + offset if wanted else None)
    except urllib.error.HTTPError as error:
        _refused(url, part, error)
    except TimeoutError:
        raise _InterruptedError(f"the server sent nothing for {SILENCE_SECONDS:g} s") from None
    except (urllib.error.URLError, ConnectionError, http.client.HTTPException) as error:
        raise _InterruptedError(f"the connection broke ({error})") from error


def _append(response: http.client.HTTPResponse, part: Path, total: int | None) -> None:
    with part.open("ab") as stream:
        while chunk := response.read(_CHUNK):
            stream.write(chunk)
        size = stream.tell()
    if total is not None and size != total:
        raise _InterruptedError(f"{size} of {total} bytes came")


def _refused(url: str, part: Path, error: urllib.error.HTTPError) -> None:
    said = f"the server answers {error.code} {error.reason}"
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.unlink(missing_ok=True)
        raise _InterruptedError(said) from error
    if error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
        raise _InterruptedError(said) from error
    raise ModelError(f"{url} cannot be fetched: {said}; correct `weights`") from error
