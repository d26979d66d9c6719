"""Which axis of an activation holds units, and which of its tokens stand for no position.

Read off one forward pass: the shapes that linear maps, convolutions and batch norms put out, whose
units lie on a known axis, tell how the activation behind them is laid out. No list of networks is
kept, and a network may change its layout on the way.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

MOST_SPECIAL = 16
"""Tokens without a position (class, registers) that are looked for where more came than said."""
_FIRST = (
    *(nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d),
    *(nn.BatchNorm1d, nn.BatchNorm2d),
)


@dataclass(frozen=True)
class Call:
    """What one map put out."""

    shape: tuple[int, ...]
    axis: int
    """Of its units."""

    @property
    def positions(self) -> tuple[int, ...]:
        """The sizes of the axes between samples and units."""
        return tuple(n for i, n in enumerate(self.shape) if i not in (0, self.axis))

    @property
    def width(self) -> int:
        """The number of its units."""
        return self.shape[self.axis]


@dataclass(frozen=True)
class Trace:
    """What was called in one forward pass, in order."""

    calls: list[Call] = field(default_factory=list)
    """Of maps."""
    outputs: list[tuple[type, tuple[int, ...], int]] = field(default_factory=list)
    """Of all modules that put out (b, ?, ?, ?): kind, shape, and number of calls before."""

    def channels_last(
        self, kind: type, shape: Sequence[int], calls: Sequence[Call], *, declared: bool
    ) -> bool:
        """Returns whether an output (b, ?, ?, ?) of a kind of module is (b, h, w, d).

        Where it has as many units as rows and columns, modules of its kind elsewhere tell.
        """
        found = channels_last(shape, calls)
        if found is not None:
            return found
        others = [(size, n) for other, size, n in self.outputs if other is kind]
        told = [channels_last(size, self.calls[:n]) for size, n in others]
        return next((one for one in told if one is not None), declared)


def kind_of(module: nn.Module) -> type:
    """Returns the class of a module; of a sequence, that of its last member."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return type(module)


@contextmanager
def traced(network: nn.Module) -> Iterator[Trace]:
    """Yields what is called in the network, as it is called."""
    trace = Trace()

    def note(module: nn.Module, _inputs: object, output: Any) -> None:  # noqa: ANN401
        if not isinstance(output, Tensor) or output.ndim < 2:
            return
        if isinstance(module, (nn.Linear, *_FIRST)):
            trace.calls.append(Call(tuple(output.shape), _axis(module, output)))
        elif output.ndim == 4:
            trace.outputs.append((kind_of(module), tuple(output.shape), len(trace.calls)))

    # Before other hooks: a tap on a map itself is to see it.
    hooks = [module.register_forward_hook(note, prepend=True) for module in network.modules()]
    try:
        yield trace
    finally:
        for hook in hooks:
            hook.remove()


def _axis(module: nn.Module, output: Tensor) -> int:
    """Returns the axis of units; a linear map may be of a kind that works on axis 1."""
    if isinstance(module, _FIRST):
        return 1
    last = output.ndim - 1
    turned = output.shape[last] != module.out_features and output.shape[1] == module.out_features
    return 1 if turned else last


def channels_last(shape: Sequence[int], calls: Sequence[Call]) -> bool | None:
    """Returns whether a map (b, ?, ?, ?) is (b, h, w, d) rather than (b, d, h, w).

    The last call whose positions are those of one reading and not of the other decides; None where
    there is none, as in maps with as many units as rows and columns.
    """
    batch, first, middle, last = shape
    for call in reversed(calls):
        if len(call.shape) == 4:
            leading = call.positions == (first, middle)
            trailing = call.positions == (middle, last)
        else:  # positions, or windows of them, in a row: the width must fit too
            count = math.prod(call.shape) // max(call.width, 1)
            leading = count == batch * first * middle and call.width == last
            trailing = count == batch * middle * last and call.width == first
        if leading != trailing:
            return leading
    return None


def units_first(shape: Sequence[int], calls: Sequence[Call]) -> bool:
    """Returns whether a sequence (b, ?, ?) is (b, d, tokens) rather than (b, tokens, d).

    It is if the last call that fits either reading, positions and width, fits this one alone.
    """
    _, first, last = shape
    for call in reversed(calls):
        count = math.prod(call.positions)
        usual = count == first and call.width == last
        turned = count == last and call.width == first
        if usual or turned:
            return turned and not usual
    return False


def grids_of(calls: Sequence[Call]) -> set[int]:
    """Returns the numbers of positions of all maps (b, d, h, w) and (b, h, w, d)."""
    return {math.prod(call.positions) for call in calls if len(call.shape) == 4}


def special_count(tokens: int, grids: set[int], declared: int) -> int | None:
    """Returns how many of a layer's tokens stand for no position; None if that cannot be told.

    Args:
        tokens: of the layer.
        grids: numbers of positions that occur in the network; empty if it has no maps.
        declared: what the network says of itself; it may hold for some of its layers only, as
            where class tokens join late, or leave registers out; 0 where it says nothing.
    """
    if tokens <= declared:
        return 0
    if not grids or tokens - declared in grids:
        return declared
    if tokens in grids:
        return 0
    if declared:
        return next((k for k in range(1, MOST_SPECIAL + 1) if tokens - k in grids), None)
    return next((k for k in (1, 2) if tokens - k in grids and tokens > 4), 0)
