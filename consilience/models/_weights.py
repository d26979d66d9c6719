"""What the model sources share about weights: where they come from and whether they fit."""

import hashlib
import importlib.metadata
import logging
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import safetensors.torch
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from consilience import files
from consilience.errors import ConsilienceError, DataError, ModelError

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
"""How long a hub may take to answer before this process works from its local cache only."""
FOLDER_FILES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
"""The files, in order of preference, whose hash stands for a folder of weights."""
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
_WRAPPERS = ("module.", "_orig_mod.")
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
    a tag of the library, anything else a local path (see `files.locate`).

    Raises:
        ModelError: nothing lies at the path, or its hash differs.
    """
    text, sha256 = cell(row, "weights"), cell(row, "sha256")
    kind, _, rest = text.partition(":")
    if kind == "random":
        return Weights(seed=rest or "0")
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
        held = path if path.is_file() else _weights_file(path)
        if held is None:
            if sha256:
                fail(row, f"{path} holds none of {', '.join(FOLDER_FILES)} to compare with sha256")
            return Weights(path=path)
        files.locate(str(held), sha256)
        return Weights(path=path, sha256=files.file_digest(held))
    except DataError as error:
        fail(row, str(error))


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


def load_state(row: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint by name; nothing in the file is executed.

    `.safetensors` files and PyTorch files that hold tensors only are read. The usual wrappers (an
    entry `state_dict` or `model`, its moving average first; name prefixes of parallel or compiled
    modules) are taken off.

    Raises:
        ModelError: the file cannot be read, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            loaded: Any = safetensors.torch.load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        fail(
            row, f"{path} cannot be read as weights ({reason[0]}); expected safetensors or tensors"
        )
    for key in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not loaded or not _only_tensors(loaded):
        fail(row, f"{path} holds no plain table of tensors; save the model's state_dict() again")
    return {_plain(name): tensor for name, tensor in loaded.items()}


def _only_tensors(loaded: Mapping[Any, Any]) -> bool:
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items())


def _plain(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def fit_state(
    row: Mapping[str, Any],
    model: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    head: Sequence[str] = (),
) -> None:
    """Loads `state` into `model`, all of it or not at all.

    Names must agree; or else, for checkpoints of another code base, the tensors must be as many,
    in the same order and of the same shapes. Modules named in `head` (classifiers that are
    not used) may be missing, differ or be left over.

    Raises:
        ModelError: the checkpoint does not fit; names the first tensors that do not.
    """
    own = model.state_dict()
    body = {name: tensor for name, tensor in own.items() if not _inside(name, head)}
    given = {name: tensor for name, tensor in state.items() if not _inside(name, head)}
    if _shapes(body) == _shapes(given):
        model.load_state_dict({**own, **given})
    elif list(_shapes(own).values()) == list(_shapes(state).values()):
        logger.info("%s: names differ from the model's; taken by position, all shapes agree", path)
        model.load_state_dict(dict(zip(own, state.values(), strict=True)))
    else:
        fail(row, f"{path} does not fit {cell(row, 'name')!r}: {_misfit(body, given)}")


def _inside(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _misfit(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    ours, theirs = _shapes(own), _shapes(given)
    shapes = [
        f"{name} is {theirs[name]}, expected {ours[name]}"
        for name in ours
        if name in theirs and theirs[name] != ours[name]
    ]
    parts = [
        _some("missing", [name for name in ours if name not in theirs]),
        _some("not known to the model", [name for name in theirs if name not in ours]),
        _some("of another shape", shapes),
    ]
    counts = f"{len(theirs)} tensors for {len(ours)}"
    remedy = "correct `name` or `weights` in models.tsv"
    return "; ".join([counts, *filter(None, parts), remedy])


def _some(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"


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
    """Returns the entries that every source records about its weights and libraries."""
    return {
        "architecture": cell(row, "name"),
        "weights": cell(row, "weights", "default") if weights.seed is None else weights.drawn,
        "weights_sha256": weights.sha256,
        "state_sha256": state_digest(model),
        "revision": cell(row, "revision"),
        "libraries": versions(*packages),
    }


def versions(*packages: str) -> str:
    """Returns the installed versions of distributions as JSON."""
    return files.canonical_json({name: importlib.metadata.version(name) for name in packages})


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
        except (OSError, ValueError):
            return
        answered.append(True)

    # A thread, because the time-out of a connection does not bound the look-up of its name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(answered)


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
        yield
    except ConsilienceError:
        raise
    except Exception as error:
        if offline:
            fail(row, _offline_message(what, error, switched_off=before))
        fail(row, f"{what} cannot be loaded: {error}; correct `name` or set `weights`")
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
        yield
    except ConsilienceError:
        raise
    except Exception as error:
        fail(row, f"{what} cannot be loaded: {error}")
