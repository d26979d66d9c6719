"""Checkpoints: tables of tensors by name, read without running code."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from consilience.errors import ConsilienceError, is_out_of_memory
from consilience.limits.arrays import check_tensors, check_zip
from consilience.limits.pickles import explained
from consilience.models._weights import fail, names_in

State = Mapping[str, Tensor]

BY_POSITION = "by-position"
"""The entry of the column `keys` that lets tensors be taken by their place in the file."""

_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
_WRAPPERS = ("module.", "_orig_mod.")
# Plain values that training code leaves beside the tensors; rebuilding them runs nothing.
_PLAIN = [
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__ if name != "ObjectDType"),
    *(
        (function, f"numpy.{core}.multiarray.{function.__name__}")
        for function in (np._core.multiarray.scalar, np._core.multiarray._reconstruct)
        for core in ("core", "_core")
    ),
]
_EXPECTED = "expected safetensors or tensors"


class Checkpoint(dict[str, Tensor]):
    """The tensors of a file by name, in its order, and what is to be told of it.

    Args:
        tensors: by name.
        notes: for the header: which of several entries was taken.
        origins: the names of the tensors in the file, nested tables joined by dots, where they
            are others; by name.
        versions: what PyTorch's modules note beside their tensors, by module name; modules of
            older versions are read by it.
    """

    def __init__(
        self,
        tensors: State,
        notes: Mapping[str, str] | None = None,
        origins: Mapping[str, str] | None = None,
        versions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(tensors)
        self.notes, self.origins = dict(notes or {}), dict(origins or {})
        if versions:
            self._metadata = dict(versions)  # the name under which PyTorch looks for it


def name_rules(row: Mapping[str, Any]) -> list[str]:
    """Returns the entries of the column `keys` that say how names change."""
    return [rule for rule in names_in(row, "keys") if rule != BY_POSITION]


def load_state(row: Mapping[str, Any], path: Path) -> Checkpoint:
    """Returns the tensors of a checkpoint by name; nothing in the file is executed.

    `.safetensors` files and PyTorch files of tensors, plain values and arrays are read. With the
    column `keys` names of nested tables are joined by dots and mapped (see `map_names`). Without
    it the usual wrappers (an entry `state_dict` or `model`, its moving average first; name
    prefixes of parallel or compiled modules) are taken off; the header then says which entry was
    taken of several.

    Raises:
        ModelError: the file cannot be read, holds more than that, or nothing that `keys` keeps, or
            two of its names become the same without their wrappers.
    """
    loaded = _read(row, path)
    if rules := name_rules(row):
        return Checkpoint(map_names(row, dict(_flat(loaded)), rules, path))
    loaded, key, notes = _unwrapped(loaded)
    if not isinstance(loaded, Mapping) or not loaded or not _only_tensors(loaded):
        tensors = _flat(loaded, f"{key}." if key else "")
        inner = ", ".join(sorted({name.rpartition(".")[0] for name, _ in tensors})[:3])
        found = f" (there are some under {inner}; name them in the column keys)" if inner else ""
        fail(row, f"{path} holds no plain table of tensors{found}; or save the state_dict() again")
    versions = getattr(loaded, "_metadata", {})
    return Checkpoint(
        _without_wrappers(row, loaded, path),
        notes,
        {_plain(name): f"{key}.{name}" if key else name for name in loaded},
        {_plain(name): version for name, version in versions.items()},
    )


def read_shapes(path: Path) -> dict[str, Tensor]:
    """Returns empty tensors of the names and shapes of a checkpoint, whose values are not read.

    Of arrays of NumPy, which libraries convert as they read them, it returns none.
    """
    if path.suffix in (".npz", ".npy"):
        return {}
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, "pt") as stream:
            sizes = {name: stream.get_slice(name).get_shape() for name in stream.keys()}  # noqa: SIM118
    else:
        loaded = _unwrapped(torch.load(path, map_location="meta", weights_only=True))[0]
        sizes = {name: tensor.shape for name, tensor in _flat(loaded)}
    return {_plain(name): torch.empty(size, device="meta") for name, size in sizes.items()}


def _unwrapped(loaded: Any) -> tuple[Any, str, dict[str, str]]:  # noqa: ANN401
    """Returns the table of tensors inside a checkpoint, its key, and a note if there are more."""
    if not isinstance(loaded, Mapping):
        return loaded, "", {}
    tables = [key for key, value in loaded.items() if _is_table(value)]
    for key in _NESTED:
        if isinstance(loaded.get(key), Mapping):
            others = ", ".join(sorted(str(table) for table in tables if table != key))
            notes = {"entry": f"{key}; the file also holds {others}"} if others else {}
            return loaded[key], key, notes
    return loaded, "", {}


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and _only_tensors(value)


def _without_wrappers(row: Mapping[str, Any], loaded: State, path: Path) -> dict[str, Tensor]:
    """Returns the tensors by their names without wrappers, none of which may meet another."""
    found: dict[str, Tensor] = {}
    for name, tensor in loaded.items():
        if _plain(name) in found:
            fail(
                row,
                f"{path} holds {_plain(name)!r} twice, with and without {' or '.join(_WRAPPERS)} "
                f"({name!r}); say in the column keys which prefix is meant",
            )
        found[_plain(name)] = tensor
    return found


def _read(row: Mapping[str, Any], path: Path) -> Any:  # noqa: ANN401
    if path.is_dir():
        held = ", ".join(sorted(file.name for file in path.iterdir())[:5]) or "nothing"
        fail(row, f"{path} is a folder, which holds {held}; name the file of weights in it")
    if what := _what_instead(path):
        fail(row, f"{path} holds no weights: it is {what}; fetch the file itself")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        check_zip(path)
        with torch.serialization.safe_globals(_PLAIN):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except ConsilienceError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        said = explained(error) or (str(error).strip().splitlines() or [type(error).__name__])[0]
        fail(row, f"{path} cannot be read as weights: {said}; {_EXPECTED}")
    check_tensors(found, path.stat().st_size, path)
    return found


def _what_instead(path: Path) -> str:
    """Returns what a file is that stands in the place of weights, or "" if it may be weights."""
    with path.open("rb") as stream:
        start = stream.read(64)
    if not start:
        return "empty"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS (git lfs pull puts the file there)"
    return "a web page" if start.lstrip().lower().startswith((b"<!doctype", b"<html")) else ""


def _only_tensors(loaded: Mapping[Any, Any]) -> bool:
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items())


def _plain(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _flat(loaded: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(loaded, Tensor):
        yield prefix.removesuffix("."), loaded
    elif isinstance(loaded, Mapping):
        for key, value in loaded.items():
            yield from _flat(value, f"{prefix}{key}.")


def map_names(
    row: Mapping[str, Any], state: State, rules: Sequence[str], path: Path
) -> dict[str, Tensor]:
    """Returns the tensors whose names begin as a rule says, renamed by the first that does.

    `PREFIX` takes the prefix off, `OLD=NEW` puts another in its place, `=` keeps names as they are.

    Raises:
        ModelError: no name begins so, or two become the same.
    """
    mapped: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for rule in rules:
            old, _, new = rule.partition("=")
            if name.startswith(old):
                renamed = new + name.removeprefix(old)
                if renamed in mapped:
                    fail(row, f"keys {', '.join(rules)}: two tensors of {path} become {renamed!r}")
                mapped[renamed] = tensor
                break
    if not mapped:
        begin = ", ".join(list(state)[:3]) or "nothing"
        fail(row, f"keys {', '.join(rules)} keep no tensor of {path}, which holds {begin}, …")
    return mapped
