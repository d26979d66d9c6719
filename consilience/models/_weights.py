"""What the model sources share about weights: where they come from and whether they fit."""

import hashlib
import importlib.metadata
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from torch import nn

from consilience import files
from consilience.errors import ConsilienceError, DataError, ModelError, is_out_of_memory
from consilience.limits.networks import building
from consilience.limits.pickles import explained
from consilience.limits.reading import check_folder
from consilience.models._download import fetch, reachable

logger = logging.getLogger(__name__)

HUB = "hf-hub:"
FOLDER_FILES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
"""The files, in order of preference, whose hash stands for a folder of weights."""
_TAG = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Weights:
    """What the column `weights` of a row asks for; all fields empty: the hub's default."""

    seed: str | None = None
    """Untrained weights drawn from this seed."""
    path: Path | None = None
    """A local file or folder that exists."""
    sha256: str = ""
    """Hash of the local file, or of the weights file inside the local folder."""
    tag: str = ""
    """The library's own name of a set of weights, such as `IMAGENET1K_V1`."""
    revision: str = ""
    """The hub's commit that the file is of."""
    like: str = ""
    """The library's tag whose settings a local file gets."""
    known: bool = False
    """Whether the file itself shows that it is of that tag."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What the header says of how the weights were taken."""

    @property
    def drawn(self) -> str:
        """The full name of untrained weights, seed included."""
        return f"random:{self.seed}"


def fail(row: Mapping[str, Any], message: str) -> NoReturn:
    """Raises a ModelError that starts with the model's id."""
    raise ModelError(f"model {row.get('model', row.get('name', ''))!r}: {message}")


def cell(row: Mapping[str, Any], column: str, default: str = "") -> str:
    """Returns a cell without outer blanks; `default` where it is empty or the column is absent."""
    return str(row.get(column) or "").strip() or default


def names_in(row: Mapping[str, Any], column: str) -> list[str]:
    """Returns the entries of a comma list.

    Raises:
        ModelError: an entry stands twice.
    """
    names = [name.strip() for name in cell(row, column).split(",") if name.strip()]
    if len(set(names)) < len(names):
        fail(row, f"the column {column!r} lists a name twice: {', '.join(names)}")
    return names


def input_size(row: Mapping[str, Any]) -> int | None:
    """Returns the column `input_size` in pixels, or None where it is blank.

    Raises:
        ModelError: it is not a positive whole number.
    """
    text = cell(row, "input_size")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        fail(row, f"input_size is {text!r}; write one number of pixels, such as 224")
    return int(text)


def read_weights(row: Mapping[str, Any]) -> Weights:
    """Returns what the columns `weights` and `sha256` ask for.

    Blank is the hub's default, `random` or `random:SEED` untrained, one word without dot and slash
    a tag of the library, `https://…` a file to fetch, `hf-hub:OWNER/REPOSITORY/FILE` a file of the
    hub, anything else a local path (see `files.locate`).

    Raises:
        ModelError: nothing lies at the path, the file cannot be had, or its hash differs.
    """
    text, sha256 = cell(row, "weights"), cell(row, "sha256")
    kind, _, rest = text.partition(":")
    if kind == "random":
        return Weights(seed=rest or "0")
    if kind in ("http", "https"):
        try:
            path = fetch(text, digest=sha256)
        except ModelError as error:
            fail(row, str(error))
        return Weights(path=path, sha256=files.file_digest(path))
    if text.startswith(HUB):
        repository, _, file = rest.rpartition("/")
        return hub_file(row, repository, [file], sha256)
    if not text or (_TAG.fullmatch(text) and not Path(text).exists()):
        return Weights(tag=text)
    return local_weights(row, text, sha256)


def local_weights(row: Mapping[str, Any], uri: str, sha256: str = "") -> Weights:
    """Returns the local file or folder `uri`, hash checked.

    Raises:
        ModelError: nothing is there, its hash differs, or a hash is given for a folder without
            a known weights file.
    """
    try:
        path = files.locate(uri)
        if path.is_dir():
            check_folder(path)
        held = path if path.is_file() else _weights_file(path)
        if held is None:
            if sha256:
                fail(row, f"{path} holds none of {', '.join(FOLDER_FILES)} to compare with sha256")
            return Weights(path=path)
        files.locate(str(held), sha256)
        return Weights(path=path, sha256=files.file_digest(held))
    except DataError as error:
        fail(row, str(error))


def hub_file(
    row: Mapping[str, Any], repository: str, names: Sequence[str], sha256: str = ""
) -> Weights:
    """Returns the first file of `names` that a repository of the hub has, in the row's revision.

    Raises:
        ModelError: the hub cannot be reached and the cache lacks the file, the repository or its
            revision does not exist, it has none of the files, or the hash differs.
    """
    revision = cell(row, "revision") or None
    absent: LocalEntryNotFoundError | None = None
    with hub(row, f"{repository}{'@' + revision if revision else ''}"):
        for name in names:
            try:
                found = huggingface_hub.hf_hub_download(repository, name, revision=revision)
            except LocalEntryNotFoundError as error:  # nothing cached and no answer of the hub
                if not constants.HF_HUB_OFFLINE:
                    raise
                absent = error
                continue
            except EntryNotFoundError:
                continue
            path = Path(found)
            digest = local_weights(row, found, sha256).sha256
            return Weights(path=path, sha256=digest, revision=_commit(path))
        if absent is not None:
            raise absent
    fail(row, f"{repository} has none of {', '.join(names)}; correct `name` or `revision`")


def hub_finder(
    row: Mapping[str, Any], repository: str, commit: str, *, strict: bool
) -> Callable[[str], Path | None]:
    """Returns what looks up files of a repository by name, in the cache or on the hub.

    Args:
        row: row of models.tsv.
        repository: as `OWNER/NAME`.
        commit: of the files that are there already; empty: the newest.
        strict: whether it is an error if neither cache nor hub tells; else the file counts as
            absent.
    """

    def find(name: str) -> Path | None:
        known = huggingface_hub.try_to_load_from_cache(repository, name, revision=commit or None)
        if known is not None:
            return Path(known) if isinstance(known, str) else None
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name, revision=commit or None))
        except LocalEntryNotFoundError:
            if not strict:
                return None
            fail(
                row,
                f"neither the local cache nor the hub tells whether {repository} has {name}, which "
                "says how its states are pooled; fetch it again on a machine with network, or "
                "write `pool`",
            )
        except EntryNotFoundError:
            return None

    return find


def cached_weights(repository: str, revision: str = "") -> Weights:
    """Returns hash and commit of the weights that a library has just taken from the hub."""
    for name in FOLDER_FILES:
        found = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(found, str):
            return Weights(sha256=files.file_digest(found), revision=_commit(Path(found)))
    return Weights()


def _commit(path: Path) -> str:
    """Returns the commit of a file in the hub's cache: …/snapshots/COMMIT/FILE."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else ""


def _weights_file(folder: Path) -> Path | None:
    return next((folder / name for name in FOLDER_FILES if (folder / name).is_file()), None)


@contextmanager
def seeded(*parts: str) -> Iterator[None]:
    """Draws everything inside from a seed of `parts`; the caller's random state is untouched.

    Models are built on the CPU inside it, so that a GPU machine draws the same weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(files.derive_seed("weights", *parts))
        yield


def state_digest(model: nn.Module) -> str:
    """Returns the SHA-256 over names, types, shapes and bytes of all weights of a model."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        total.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        total.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def provenance(
    row: Mapping[str, Any], weights: Weights, model: nn.Module, packages: Sequence[str]
) -> dict[str, str]:
    """Returns the entries that every source records about its weights and libraries.

    Beside them stand the notes of the weights, where there are any: `settings` (which tag's, and
    why), `entry` (of a file with several), `matched` (tensors taken by position), `head` (why a
    classifier was left out).
    """
    return {
        "architecture": cell(row, "name"),
        "weights": cell(row, "weights", "default") if weights.seed is None else weights.drawn,
        "weights_sha256": weights.sha256,
        "state_sha256": state_digest(model),
        "revision": weights.revision or cell(row, "revision"),
        "libraries": versions(*packages),
        **weights.notes,
    }


def versions(*packages: str) -> str:
    """Returns the installed versions of distributions as JSON."""
    return files.canonical_json({name: importlib.metadata.version(name) for name in packages})


@contextmanager
def hub(row: Mapping[str, Any], what: str) -> Iterator[None]:
    """Lets a library load `what` from the hub or its cache; every failure is one ModelError.

    The hub's libraries retry for up to a minute without network. So the hub is asked once, and if
    it is silent they are switched to their local cache for the time of the load.

    Raises:
        ModelError: the load failed; says whether the network or the name is to blame.
    """
    before = constants.HF_HUB_OFFLINE
    offline = before or not reachable(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = offline
    try:
        with building(what):
            yield
    except ConsilienceError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if said := explained(error):
            fail(row, f"{what} cannot be loaded: {said}")
        if offline:
            fail(row, _offline_message(what, error, switched_off=before))
        # The hub's client hides the server's answer behind the absence of a cached file.
        hidden = isinstance(error, LocalEntryNotFoundError) and error.__cause__
        fail(row, f"{what} cannot be loaded: {hidden or error}; correct `name` or set `weights`")
    finally:
        constants.HF_HUB_OFFLINE = before


def _offline_message(what: str, error: Exception, *, switched_off: bool) -> str:
    logger.debug("%s: %s", what, error)
    why = "HF_HUB_OFFLINE is set" if switched_off else "the hub cannot be reached"
    return (
        f"{what} is not in the local cache and {why}; load it once on a machine with network "
        "(the cache is then used, and HF_HUB_OFFLINE=1 saves asking), or set `weights` to a local "
        "file or folder"
    )


@contextmanager
def local(row: Mapping[str, Any], what: str) -> Iterator[None]:
    """Turns any failure of a library with local weights into one ModelError."""
    try:
        with building(what):
            yield
    except ConsilienceError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        fail(row, f"{what} cannot be loaded: {explained(error) or error}")


__all__ = [
    "HUB",
    "Weights",
    "cached_weights",
    "cell",
    "fail",
    "hub",
    "hub_file",
    "hub_finder",
    "input_size",
    "local",
    "local_weights",
    "names_in",
    "provenance",
    "reachable",
    "read_weights",
    "seeded",
    "state_digest",
    "versions",
]
