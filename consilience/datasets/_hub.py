"""Dataset repositories on the hub: which files there are, and each fetched once from one commit.

What a revision stands for is noted in `$CONSILIENCE_CACHE/hub`, so that a machine without a network
reads what another one has fetched, and knows if a file is missing. The files themselves lie in the
hub client's own cache.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from consilience import files
from consilience.errors import ConfigError, DataError
from consilience.notes import keep, kept

TIMEOUT = 20.0
"""Seconds that the hub may take for an answer."""
_NAME = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PREFIX = "hf://datasets/"


class MissingError(DataError):
    """The dataset is there, the file is not."""


def is_offline() -> bool:
    """Returns whether `HF_HUB_OFFLINE` forbids the network, as it does in jobs after prefetch."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def named_repo(name: str) -> str:
    """Returns `owner/name[/folder]` if a cell names a hub repository, "" if something local."""
    if name.startswith(_PREFIX):
        return name.removeprefix(_PREFIX).strip("/")
    local = name.startswith((".", "/", "~")) or "://" in name or Path(name).exists()
    return name if _NAME.fullmatch(name) and not local else ""


@dataclass(frozen=True)
class Repo:
    """One commit of a dataset repository, or of a folder in it."""

    name: str
    commit: str
    folder: str
    files: tuple[str, ...]
    """Paths relative to the folder."""

    def path(self, relative: str) -> Path:
        """Returns the local path of a file, fetched if it is not there yet.

        Raises:
            MissingError: the commit has no such file.
            DataError: it cannot be fetched.
        """
        if relative not in self.files:
            raise MissingError(f"{self.name} at {self.commit[:12]} has no file {relative}")
        with _explained(f"{self.name}, {relative}"):
            found = _client().hf_hub_download(
                self.name,
                f"{self.folder}/{relative}".lstrip("/"),
                repo_type="dataset",
                revision=self.commit,
                endpoint=os.environ.get("HF_ENDPOINT"),
                etag_timeout=TIMEOUT,
                local_files_only=is_offline(),
            )
        return Path(found)


def open_repo(name: str, revision: str) -> Repo:
    """Returns the commit that a revision of `owner/name[/folder]` stands for.

    Args:
        name: see `named_repo`.
        revision: branch, tag or commit; empty for `main`. Only a commit means the same tomorrow.

    Raises:
        ConfigError: the name is not one of a repository.
        DataError: no such repository or revision, no right to read it, or no answer.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is not the name of a hub repository such as owner/name")
    owner, repository, *folder = name.split("/", 2)
    repo, revision = f"{owner}/{repository}", revision or "main"
    record = _record_path(repo, revision)
    content = kept(record, f"{repo} {revision}")
    if content is None or not (is_offline() or _COMMIT.fullmatch(revision)):
        if is_offline():
            raise DataError(
                f"{repo} at {revision!r} is no folder here and was never fetched, and "
                "HF_HUB_OFFLINE forbids to do so now; run `snakemake all_prefetch` where there is "
                "a network"
            )
        content = _ask(repo, revision)
    prefix = f"{folder[0].strip('/')}/" if folder else ""
    inside = (file.removeprefix(prefix) for file in content["files"] if file.startswith(prefix))
    return Repo(repo, content["commit"], prefix.rstrip("/"), tuple(inside))


def _record_path(repo: str, revision: str) -> Path:
    slug = "--".join(re.sub(r"[^\w.-]", "-", part) for part in (*repo.split("/"), revision))
    return files.cache_folder() / "hub" / f"{slug}.json"


def _ask(repo: str, revision: str) -> dict[str, Any]:
    """Returns and notes commit and files of a revision, by its name and by that of the commit."""
    with _explained(f"{repo} at {revision!r}"):
        info = (
            _client()
            .HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
            .repo_info(repo, revision=revision, repo_type="dataset", timeout=TIMEOUT)
        )
    names = sorted(file.rfilename for file in info.siblings or [])
    content = {"commit": info.sha, "files": names}
    for mark in {revision, info.sha}:
        keep(_record_path(repo, mark), f"{repo} {mark}", content)
    return content


def _client() -> ModuleType:
    """Returns the hub's client, whose import takes half a second."""
    try:
        import huggingface_hub  # noqa: PLC0415
        import huggingface_hub.errors  # noqa: PLC0415
    except ImportError as error:
        raise DataError(
            f"reading from the hub needs huggingface_hub ({error}): pip install "
            "'consilience[models]'"
        ) from error
    return huggingface_hub


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Says in one sentence what the hub's client reports in many ways."""
    errors = _client().errors
    try:
        yield
    except errors.GatedRepoError as error:
        problem = "the owner gives access on request only; ask for it and run `hf auth login`"
        raise DataError(f"hub, {what}: {problem}") from error
    except errors.RepositoryNotFoundError as error:
        problem = "no such repository (nor folder here), or no right to read it; correct the name"
        raise DataError(f"hub, {what}: {problem} or run `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise DataError(f"hub, {what}: no such revision; correct the column revision") from error
    except errors.LocalEntryNotFoundError as error:
        problem = "not in the cache" if is_offline() else "it cannot be reached"
        remedy = "run `snakemake all_prefetch` where there is a network"
        raise DataError(f"hub, {what}: {problem}; {remedy}") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise DataError(f"hub, {what}: it answers {status}; try again later") from error
    except Exception as error:  # the client passes on whatever its network library raises
        reason = str(error).splitlines()[0] if str(error) else "it says nothing"
        raise DataError(
            f"hub, {what}: no proper answer ({type(error).__name__}: {reason}); check the network, "
            "or run `snakemake all_prefetch` where there is one"
        ) from error
