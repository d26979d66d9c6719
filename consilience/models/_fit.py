"""A checkpoint's tensors in a network: by name, all of them or none; by place only if asked."""

import itertools
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from consilience.models._state import BY_POSITION, State
from consilience.models._weights import cell, fail, names_in

logger = logging.getLogger(__name__)


class Fit(NamedTuple):
    """What became of a checkpoint."""

    head: bool
    """Whether the modules that classify were loaded too."""
    notes: dict[str, str]
    """What the header says about it."""


def fit_state(
    row: Mapping[str, Any],
    model: nn.Module,
    state: State,
    path: Path,
    head: Sequence[str] = (),
    convert: Callable[[nn.Module, State], State] | None = None,
) -> Fit:
    """Loads `state` into `model`, all of it or not at all.

    Names and shapes must agree, as they are or after `convert`. If the column `keys` has the entry
    `by-position`, for checkpoints of another code base, it is enough that the tensors are as many,
    in the same order and of the same shapes (see `_by_position`). Counters of batch normalisation
    may be missing. Modules named in `head` (classifiers) may be missing, differ or be left over;
    the header then says so.

    Raises:
        ModelError: the checkpoint does not fit; names the first tensors that do not.
    """
    own, notes = model.state_dict(), dict(getattr(state, "notes", {}))
    body = _without(own, head)
    if _agree(body, _without(state, head)):
        chosen = state
    elif convert and _agree(body, _without(converted := convert(model, state), head)):
        chosen = converted
    elif BY_POSITION in names_in(row, "keys"):
        chosen = _by_position(row, own, state, path)
        notes["matched"] = f"by position, {len(own)} tensors; names are those of another network"
        logger.warning("%s: taken by position, as the column keys asks", path)
    else:
        fail(row, f"{path} does not fit {cell(row, 'name')!r}: {_misfit(own, state, head)}")
    _check_numbers(row, own, chosen, path)
    if resized := resized_places(state, chosen):
        check_size(row, resized, path)
        notes["interpolated"] = resized
    top = {name: tensor for name, tensor in own.items() if name not in body}
    given = {name: tensor for name, tensor in chosen.items() if name in top}
    whole = bool(top) and _shapes(given) == _shapes(top)
    if top and not whole:
        notes["head"] = _left_out(chosen, top, head)
        logger.info("%s: no logits, classifier %s", path, notes["head"])
    complete = OrderedDict({**own, **_without(chosen, head), **(given if whole else {})})
    complete._metadata = getattr(own, "_metadata", {})  # modules ask which version this is
    model.load_state_dict(complete)
    return Fit(whole, notes)


def _by_position(row: Mapping[str, Any], own: State, state: State, path: Path) -> State:
    """Returns the tensors under the model's names, the first under the first, and so on.

    Neighbours of one shape could stand the other way round and nothing would show it. So where two
    tensors of one shape stand side by side, the last part of their names (`weight`, `running_var`)
    must be the model's, and must tell them apart.

    Raises:
        ModelError: shapes differ, or neighbours could be exchanged, or the file keeps no order.
    """
    if path.suffix == ".safetensors":
        fail(
            row,
            f"{path} cannot be taken {BY_POSITION}: files of safetensors are sorted by name and "
            "keep no order; write the names into the column keys (OLD=NEW), or save it by torch",
        )
    if list(_shapes(own).values()) != list(_shapes(state).values()):
        fail(
            row,
            f"{path} does not fit {cell(row, 'name')!r} {BY_POSITION}: {_first_misfit(own, state)}",
        )
    pairs = list(zip(own.items(), state, strict=True))
    for ((name, x), theirs), ((following, y), theirs_too) in itertools.pairwise(pairs):
        leaves = [_leaf(name), _leaf(following)]
        told = [_leaf(theirs), _leaf(theirs_too)] == leaves and leaves[0] != leaves[1]
        if x.shape == y.shape and not told:
            fail(
                row,
                f"{path} cannot be taken {BY_POSITION}: {theirs!r} and {theirs_too!r} stand side "
                f"by side and have one shape {tuple(x.shape)}, so that nothing says which is "
                f"{name!r} and which {following!r}; write the names into the column keys (OLD=NEW)",
            )
    return dict(zip(own, state.values(), strict=True))


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _check_numbers(row: Mapping[str, Any], own: State, given: State, path: Path) -> None:
    """Raises if weights are whole numbers, as quantised ones are: their scales would be lost."""
    for name, tensor in own.items():
        if name in given and tensor.is_floating_point() and not given[name].is_floating_point():
            kind = str(given[name].dtype).removeprefix("torch.")
            fail(
                row,
                f"{path}: {name!r} is of {kind}, and the network computes with "
                f"{str(tensor.dtype).removeprefix('torch.')}; save quantised weights as numbers "
                "with a fraction first",
            )


def resized_places(state: State, chosen: State) -> str:
    """Returns which embeddings of positions were made for pictures of another size; empty: none.

    Libraries interpolate them without a word. A class token more or less is no other size.
    """
    changed = [
        f"{name} of {_places(state[name])} places to {_places(tensor)}"
        for name, tensor in chosen.items()
        if "pos" in _leaf(name) and name in state and _grid(state[name]) != _grid(tensor)
    ]
    return _some("from the file's", changed)


def check_size(row: Mapping[str, Any], resized: str, path: Path) -> None:
    """Raises ModelError unless the row says for which size positions are to be interpolated."""
    if not cell(row, "input_size"):
        fail(
            row,
            f"{path} was made for pictures of another size than {cell(row, 'name')!r}: {resized}. "
            "Write the architecture of its size, or `input_size` to have them interpolated",
        )


def _places(tensor: Tensor) -> int:
    """Returns for how many positions a tensor (…, n, d) or (1, d, h, w) has values."""
    width = tensor.shape[1] if tensor.ndim == 4 else tensor.shape[-1]
    return tensor.numel() // max(width, 1)


def _grid(tensor: Tensor) -> int:
    return math.isqrt(_places(tensor)) if tensor.ndim > 1 else 0


def _left_out(chosen: State, top: State, head: Sequence[str]) -> str:
    """Returns why the classifier of a file is not used."""
    body = _without(chosen, head)
    given = _shapes({name: tensor for name, tensor in chosen.items() if name not in body})
    if not given:
        return f"{', '.join(head)} is not in the file"
    name = next((n for n in top if given.get(n) != tuple(top[n].shape)), "")
    if not name:
        return f"not taken: the file has also {next(n for n in given if n not in top)}"
    return f"not taken: {name} is {given.get(name, 'absent')}, not {tuple(top[name].shape)}"


def _without(state: State, modules: Sequence[str]) -> State:
    return {k: v for k, v in state.items() if not any(k.startswith(f"{m}.") for m in modules)}


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _agree(own: State, given: State) -> bool:
    ours, theirs = _shapes(own), _shapes(given)
    counters = {name for name in ours if name.endswith(".num_batches_tracked")}
    return {**{name: () for name in counters}, **theirs} == ours


def _misfit(own: State, given: State, head: Sequence[str]) -> str:
    ours, theirs = _shapes(_without(own, head)), _shapes(_without(given, head))
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
    return "; ".join([counts, *filter(None, parts), _remedy(own, given, head)])


def _remedy(own: State, given: State, head: Sequence[str]) -> str:
    """Returns what to write: prefixes that would fit, or that order and shapes would."""
    names = [name for name in _without(own, head) if not name.endswith(".num_batches_tracked")]
    first = next(iter(names), "")
    prefixes = [name.removesuffix(first) for name in given if first and name.endswith(first)]
    fitting = [prefix for prefix in prefixes if all(prefix + name in given for name in names)]
    if found := [prefix for prefix in fitting if prefix]:
        origins = getattr(given, "origins", {})
        spelled = [origins.get(p + first, p + first).removesuffix(first) for p in found]
        also = " (and as they are)" if "" in fitting else ""
        which = "the one that is meant" if len(fitting) > 1 else "it"
        without = " or ".join(map(repr, spelled))
        return f"without {without}{also} the names fit: write {which} into `keys` in models.tsv"
    if list(_shapes(own).values()) == list(_shapes(given).values()):
        return (
            "number, order and shapes agree: write `keys` in models.tsv (OLD=NEW), or "
            f"`keys` = {BY_POSITION} if you know that the order is the network's"
        )
    return "correct `name`, `weights` or `keys` in models.tsv"


def _first_misfit(own: State, given: State) -> str:
    if len(own) != len(given):
        return f"{len(given)} tensors for {len(own)}"
    for (name, x), (theirs, y) in zip(own.items(), given.items(), strict=True):
        if x.shape != y.shape:
            return f"{theirs} is {tuple(y.shape)}, {name} {tuple(x.shape)}"
    return "nothing differs"


def _some(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
