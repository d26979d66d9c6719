"""Checkpoints: tables of tensors by name, read without running code, fitted into a network."""

import argparse
import logging
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from consilience.models._weights import cell, fail, names_in

logger = logging.getLogger(__name__)

State = Mapping[str, Tensor]

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
_CONVERT = """\
it is a pickle with more than tensors ({} of it would be run). If you trust it, convert it once, \
where nothing can be harmed: python -c "import torch; s = torch.load('OLD', map_location='cpu', \
weights_only=False); torch.save(s['state_dict'], 'NEW')", with the entry that holds the tensors in \
place of state_dict, and set `weights` to NEW\
"""


def load_state(row: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint by name; nothing in the file is executed.

    `.safetensors` files and PyTorch files of tensors, plain values and arrays are read. With the
    column `keys` names of nested tables are joined by dots and mapped (see `map_names`). Without
    it the usual wrappers (an entry `state_dict` or `model`, its moving average first; name
    prefixes of parallel or compiled modules) are taken off.

    Raises:
        ModelError: the file cannot be read, holds more than that, or nothing that `keys` keeps.
    """
    loaded = _read(row, path)
    if rules := names_in(row, "keys"):
        return map_names(row, dict(_flat(loaded)), rules, path)
    for key in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not loaded or not _only_tensors(loaded):
        inner = ", ".join(sorted({name.rpartition(".")[0] for name, _ in _flat(loaded)})[:3])
        found = f" (there are some under {inner}; name them in the column keys)" if inner else ""
        fail(row, f"{path} holds no plain table of tensors{found}; or save the state_dict() again")
    return {_plain(name): tensor for name, tensor in loaded.items()}


def _read(row: Mapping[str, Any], path: Path) -> Any:  # noqa: ANN401
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals(_PLAIN):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if asked := re.search(r"GLOBAL (\S+)", str(error)):
            fail(row, f"{path} cannot be read as weights: {_CONVERT.format(asked[1])}")
        said = re.search(r"Unpickler error: *(.+)", str(error)) or re.match(r"(.*)", str(error))
        fail(row, f"{path} cannot be read as weights ({said[1]}); {_EXPECTED}")
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        fail(row, f"{path} cannot be read as weights ({said}); {_EXPECTED}")


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


def map_names(row: Mapping[str, Any], state: State, rules: Sequence[str], path: Path) -> State:
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


def fit_state(
    row: Mapping[str, Any],
    model: nn.Module,
    state: State,
    path: Path,
    head: Sequence[str] = (),
    convert: Callable[[nn.Module, State], State] | None = None,
) -> bool:
    """Loads `state` into `model`, all of it or not at all.

    Names and shapes must agree, as they are or after `convert`; or else, for checkpoints of another
    code base, the tensors must be as many, in the same order and of the same shapes. Counters of
    batch normalisation may be missing. Modules named in `head` (classifiers) may be missing,
    differ or be left over.

    Returns:
        Whether the modules of `head` were loaded too.

    Raises:
        ModelError: the checkpoint does not fit; names the first tensors that do not.
    """
    own = model.state_dict()
    body = _without(own, head)
    if _agree(body, _without(state, head)):
        chosen = state
    elif convert and _agree(body, _without(converted := convert(model, state), head)):
        chosen = converted
    elif list(_shapes(own).values()) == list(_shapes(state).values()):
        logger.info("%s: names differ from the model's; taken by position, all shapes agree", path)
        model.load_state_dict(dict(zip(own, state.values(), strict=True)))
        return bool(head)
    else:
        problem = _misfit(body, _without(state, head))
        fail(row, f"{path} does not fit {cell(row, 'name')!r}: {problem}")
    top = {name: tensor for name, tensor in own.items() if name not in body}
    given = {name: tensor for name, tensor in chosen.items() if name in top}
    whole = bool(top) and _shapes(given) == _shapes(top)
    model.load_state_dict({**own, **_without(chosen, head), **(given if whole else {})})
    return whole


def _without(state: State, modules: Sequence[str]) -> State:
    return {k: v for k, v in state.items() if not any(k.startswith(f"{m}.") for m in modules)}


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _agree(own: State, given: State) -> bool:
    ours, theirs = _shapes(own), _shapes(given)
    counters = {name for name in ours if name.endswith(".num_batches_tracked")}
    return {**{name: () for name in counters}, **theirs} == ours


def _misfit(own: State, given: State) -> str:
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
    remedy = "correct `name`, `weights` or `keys` in models.tsv"
    return "; ".join([counts, *filter(None, parts), remedy])


def _some(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
