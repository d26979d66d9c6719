"""Taps into a network: layers chosen by name, pattern, `last` or `all`, read in one forward pass.

Layers stand in the order of the network, from input to output: that of its modules as they are
registered, a module after its parts.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from consilience.errors import ModelError
from consilience.models import _weights, reading
from consilience.models._sending import sent
from consilience.registry import did_you_mean

LOGITS = "logits"
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Tap:
    """A place in a network: what a module puts out, or what enters it."""

    module: nn.Module
    side: str = "output"


def find_taps(
    row: Mapping[str, Any],
    root: nn.Module,
    special: Mapping[str, Tap],
    blocks: Callable[[], Sequence[str]],
) -> dict[str, Tap]:
    """Returns the taps of the column `layers`, from input to output.

    An entry of the column is the name of a module of `root`; a pattern of names, whose `*` stands
    for one part between two dots; `last` (also where the column is blank): the last of `special`;
    or `all`: the `blocks` and `special`.

    Args:
        row: row of models.tsv.
        root: the network whose module names the column may use.
        special: names that the source offers beside them, such as `pre_logits`.
        blocks: gives the names of the modules that a network of this kind consists of.

    Raises:
        ModelError: a name or pattern is none of these.
    """
    modules = {name: module for name, module in root.named_modules() if name}
    taps: dict[str, Tap] = {}
    for entry in _weights.names_in(row, "layers") or ["last"]:
        for name in _expand(row, entry, modules, special, blocks):
            taps[name] = special.get(name) or Tap(modules[name])
    order = {id(module): place for place, module in enumerate(_outwards(root))}

    def place(name: str) -> float:
        tap = taps[name]
        return order.get(id(tap.module), len(order)) - (tap.side == "input") / 2

    return {name: taps[name] for name in sorted(taps, key=place)}


def _expand(
    row: Mapping[str, Any],
    entry: str,
    modules: Mapping[str, nn.Module],
    special: Mapping[str, Tap],
    blocks: Callable[[], Sequence[str]],
) -> list[str]:
    if entry in special or entry in modules:
        return [entry]
    if entry == "last":
        return list(special)[-1:]
    network = _weights.cell(row, "name")
    if entry == "all":
        if not (found := blocks()):
            known = ", ".join(name for name in modules if "." not in name)
            _weights.fail(row, f"{network!r} lists no blocks; name layers. Its parts: {known}")
        return [*found, *special]
    if not _GLOB.search(entry):
        hint = did_you_mean(entry, [*special, *modules])
        _weights.fail(row, f"{network!r} has no layer {entry!r}{hint}")
    found = [name for name in modules if _matches(name, entry)]
    if not found:
        known = ", ".join(sorted({name.split(".")[0] for name in modules}))
        _weights.fail(row, f"no layer of {network!r} has the form {entry!r}; its parts: {known}")
    return found


def _matches(name: str, pattern: str) -> bool:
    parts, patterns = name.split("."), pattern.split(".")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _outwards(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        yield from _outwards(child)
    yield module


def children_of(root: nn.Module, *containers: str) -> list[str]:
    """Returns the names of the children of the first of `containers` that `root` has."""
    modules = dict(root.named_modules())
    for container in containers:
        if container in modules:
            names = [f"{container}.{name}" for name, _ in modules[container].named_children()]
            return members(root, names)
    return []


def members(root: nn.Module, names: Sequence[str]) -> list[str]:
    """Returns module names with every bare list, which is never called, replaced by its members."""
    found: list[str] = []
    for name in names:
        module = root.get_submodule(name)
        if isinstance(module, nn.ModuleList):
            found += members(root, [f"{name}.{inner}" for inner, _ in module.named_children()])
        else:
            found.append(name)
    return found


@dataclass(frozen=True)
class Head:
    """A trained classifier: where its scores come out, and its weights."""

    tap: Tap
    """Puts out the logits (b, C)."""
    unembedding: np.ndarray | None
    """Its weights (C, d) without bias; d is the width of what enters it. None: it has none that
    make its scores alone."""

    @classmethod
    def of(cls, network: nn.Module, classifier: nn.Module) -> "Head":
        """Returns the head of a network that puts out logits, made by a linear or 1 x 1 map."""
        return cls(Tap(network), classifier.weight.detach().float().cpu().flatten(1).numpy())


class NetworkExtractor:
    """A network with taps: one forward pass gives every layer, and the logits of a trained head.

    Subclasses say how one sample and a batch of them become inputs.

    Args:
        model: the network; it is set to evaluation mode on `device`.
        taps: the places to read, by layer name, from input to output.
        pooling: reduces activations to (b, d).
        provenance: what the source knows about the weights.
        device: where to compute.
        head: the trained classifier, if there is one.
    """

    inputs = "samples"
    """What messages call the inputs."""
    remedy = "set input_size to one that it takes, or leave it blank"
    """What messages advise if the network cannot read them."""
    apart = False
    """Inputs of all sizes go through the network together."""

    def __init__(
        self,
        model: nn.Module,
        taps: Mapping[str, Tap],
        pooling: Callable[[Tensor], Tensor],
        provenance: Mapping[str, str],
        device: str,
        head: Head | None = None,
    ) -> None:
        self._model = model.eval().to(device)
        self._device, self._pooling = device, pooling
        self._poolings: dict[str, Callable[[Tensor], Tensor]] = {}
        """Of layers that are not pooled as all others are."""
        self._look: Callable[[Tensor], Any] | None = None
        self._caught: dict[str, Any] = {}
        self.layers, self.taps = tuple(taps), dict(taps)
        self.outputs = (LOGITS,) if head else ()
        self.unembedding = head.unembedding if head else None
        self.provenance = dict(provenance)
        for name, tap in (taps | {LOGITS: head.tap} if head else taps).items():
            if tap.side == "input":
                tap.module.register_forward_pre_hook(partial(self._catch_input, name))
            else:
                tap.module.register_forward_hook(partial(self._catch_output, name))

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode."""
        return self._model

    def _catch_input(self, layer: str, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._catch(layer, inputs[0])

    def _catch_output(self, layer: str, _module: nn.Module, _inputs: object, output: Any) -> None:  # noqa: ANN401
        if isinstance(output, tuple | list):
            output = _only_tensor(layer, output)
        self._catch(layer, output)

    def _catch(self, layer: str, activation: object) -> None:
        if not isinstance(activation, Tensor):
            raise ModelError(f"layer {layer!r} gives {type(activation).__name__}, not a tensor")
        if self._look is not None:
            self._caught[layer] = self._look(activation)
            return
        try:
            # A copy: the next module may work in place, as ReLU often does.
            self._caught[layer] = self._poolings.get(layer, self._pooling)(activation).clone()
        except ModelError as error:
            raise ModelError(f"layer {layer!r}: {error}") from None

    def look(self, batch: Sequence[Any], see: Callable[[Tensor], Any]) -> dict[str, Any]:
        """Returns {layer: see(activation)} of one forward pass, before any pooling.

        Raises:
            ModelError: a layer is not reached.
        """
        self._look = see
        try:
            return self._run(batch)
        finally:
            self._look = None

    def _batch(self, batch: Sequence[Any]) -> Tensor:
        """Returns the network's input for preprocessed samples."""
        images = batch if isinstance(batch, Tensor) else torch.stack(tuple(batch))
        return sent(images, self._device)

    def extract(self, batch: Sequence[Any]) -> dict[str, Tensor]:
        """Returns {layer: (b, d)} for b preprocessed samples, and `logits` (b, C) after them.

        Raises:
            ModelError: a layer was not reached, or does not give one row per sample, or the network
                cannot read the inputs.
        """
        found = self._run(batch)
        for layer, features in found.items():
            if len(features) != len(batch):
                what = f"gives {len(features)} rows for {len(batch)} {self.inputs}"
                raise ModelError(f"layer {layer!r} {what}; drop it")
        return found

    def _run(self, batch: Sequence[Any]) -> dict[str, Any]:
        self._caught.clear()
        given = self._batch(batch)
        what = f"{self.inputs} of shape {tuple(given.shape)[1:]}"
        with torch.inference_mode(), reading(what, self.remedy):
            self._model(given)
        names = (*self.layers, *self.outputs)
        if absent := [name for name in names if name not in self._caught]:
            what = f"is not used for {len(batch)} {self.inputs}"
            raise ModelError(f"layer {absent[0]!r} {what}; drop it")
        return {name: self._caught.pop(name) for name in names}


def _only_tensor(layer: str, output: Sequence[Any]) -> Any:  # noqa: ANN401
    """Returns the one state that a module puts out; what only serves it may stand by it.

    That is attention weights of (b, tokens, d), (…, tokens, tokens), and class tokens beside a map
    (b, d, h, w), (b, k, d), which no mean over positions takes in.

    Raises:
        ModelError: it puts out several, as networks of two branches do.
    """
    tensors = [x for x in output if isinstance(x, Tensor) and x.is_floating_point()]
    serves = [x for x in tensors[1:] if _serves(tensors[0].shape, x.shape)]
    if len(tensors) > 1 + len(serves):
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors)
        raise ModelError(
            f"layer {layer!r} gives {len(tensors)} tensors, of shapes {shapes}, and none of them "
            "is the whole; name a module whose output is one tensor"
        )
    return tensors[0] if tensors else output[0]


def _serves(state: Sequence[int], other: Sequence[int]) -> bool:
    if len(state) == 3:
        return tuple(other[-2:]) == (state[1], state[1])
    return len(state) == 4 and len(other) == 3 and other[2] == state[1]
