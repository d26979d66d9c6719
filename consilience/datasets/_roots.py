"""Where shards lie: a folder, a web address or a hub repository, with files by relative paths."""

import hashlib
import http.client
import logging
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consilience import __version__, files
from consilience.datasets._hub import MissingError, Repo, is_offline, named_repo, open_repo
from consilience.errors import DataError

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds without a byte after which a server counts as unreachable."""


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
            raise MissingError(f"{path}: no such file")
        return path

    def _cache(self) -> Path:
        # Readable, and different for different roots.
        slug = re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-")[-80:]
        mark = hashlib.sha256(self.name.rstrip("/").encode()).hexdigest()[:12]
        return files.cache_folder() / "webdataset" / f"{slug}-{mark}"


@dataclass(frozen=True)
class HubRoot:
    """A hub repository, or a folder in it, at one commit."""

    name: str
    repo: Repo
    remote: bool = True

    def path(self, relative: str) -> Path:
        """Returns the local path of a file, fetched if it is not there yet."""
        return self.repo.path(relative)


def split_pattern(name: str) -> tuple[str, str]:
    """Returns the root and the pattern of a cell `ROOT/PATTERN`; "" if it names no shards."""
    parts = name.split("/")
    first = next((i for i, part in enumerate(parts) if "{" in part), len(parts))
    if first == len(parts) and name.endswith(".tar") and not Path(name).expanduser().is_dir():
        first -= 1
    return "/".join(parts[:first]) or ("/" if first else "."), "/".join(parts[first:])


def open_root(row: Mapping[str, Any]) -> tuple[Root | HubRoot, str]:
    """Returns the root that the column `name` names, and its pattern of shards, if it has one.

    Raises:
        DataError: a folder that is not there, or a hub that does not give the repository.
    """
    name, pattern = split_pattern(str(row["name"]))
    if repo := named_repo(name):
        return HubRoot(name, open_repo(repo, str(row.get("revision") or ""))), pattern
    root = Root(name)
    if not root.remote and not Path(name).expanduser().is_dir():
        raise DataError(
            f"dataset {row.get('dataset')!r}: {name} is neither a folder nor an http(s) "
            f"address nor a hub repository (owner/name); correct the column name"
        )
    return root, pattern


def is_remote(row: Mapping[str, Any]) -> bool:
    """Returns whether the column `name` names something that must be fetched."""
    name = split_pattern(str(row["name"]))[0]
    return bool(named_repo(name)) or Root(name).remote


def fetch(url: str, path: Path) -> None:
    """Fetches a file unless `path` exists; two jobs may do so at once.

    The file appears under its name only when it is whole (as long as the server said).

    Raises:
        DataError: the server cannot be reached, refuses, has no such file, or breaks off.
    """
    if path.exists():
        return
    if is_offline():
        raise MissingError(
            f"{url} was never fetched, and HF_HUB_OFFLINE forbids to do so now; run "
            "`snakemake all_prefetch` where there is a network"
        )
    log.info("fetching %s", url)
    request = urllib.request.Request(url, headers={"User-Agent": f"consilience/{__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            _store(response, url, path)
    except urllib.error.HTTPError as error:
        problem = f"{url}: the server answers {error.code} {error.reason}"
        if error.code in (404, 410):
            raise MissingError(problem) from error
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
