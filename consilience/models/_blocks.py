"""Which state of a network leaves which block: what the blocks put out, against the list.

The list of hidden states that a network of transformers gives is made by each architecture for
itself. Most hold what enters the first block and what leaves each; some begin one block later, or
hold other states. So one short text is run, and the list compared with what the blocks put out.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Stack:
    """Blocks that were called one after the other."""

    modules: list[nn.Module] = field(default_factory=list)
    """In the order of the calls; a shared block stands there once for every call."""
    entered: list[Tensor | None] = field(default_factory=list)
    left: list[Tensor | None] = field(default_factory=list)

    def fits(self, states: Sequence[Tensor]) -> bool:
        """Returns whether states[i] left block i, but for the last, which may be normalised."""
        if len(states) != len(self.left) + 1:
            return False
        inner = zip(self.left[:-1], states[1:-1], strict=True)
        first = self.entered[0] is None or _same(self.entered[0], states[0])
        return first and all(_same(one, state) for one, state in inner)

    def is_whole(self, tokens: int) -> bool:
        """Returns whether every block puts out, and the first takes, one state per token."""
        states = [self.entered[0], *self.left]
        return all(state is not None and tokens in state.shape[:2] for state in states)

    def found_in(self, states: Sequence[Tensor]) -> int:
        """Returns how many blocks put out one of the states."""
        return sum(any(_same(one, state) for state in states) for one in self.left)


class BlockStates:
    """Reads what enters the first block and what leaves each, at every pass.

    Args:
        network: what is called at every pass.
        stack: its blocks.
    """

    def __init__(self, network: nn.Module, stack: Stack) -> None:
        self._states: list[Tensor | None] = []
        network.register_forward_pre_hook(lambda _module, _args: self._states.clear())
        first = stack.modules[0]
        first.register_forward_pre_hook(self._enter, with_kwargs=True)
        for module in dict.fromkeys(stack.modules):
            module.register_forward_hook(self._leave)

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:  # noqa: ANN401
        if not self._states:
            self._states.append(_entered(args, kwargs))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:  # noqa: ANN401
        self._states.append(_left(output))

    def of(self, out: Any) -> list[Tensor]:  # noqa: ANN401
        """Returns the states of the pass that gave `out`, and after them its last one."""
        states = [*self._states, out.hidden_states[-1]]
        self._states.clear()
        return states


@dataclass(frozen=True)
class StateList:
    """The states that a text network offers."""

    names: dict[str, int]
    """Layers, in order, and their places among the states; negative ones count from the end."""
    note: str
    """What was compared, for the header."""
    blocks: BlockStates | None = None


LAST = "last"


def list_states(network: nn.Module, inputs: Mapping[str, Tensor], depth: int) -> StateList:
    """Returns the states of a network of `depth` blocks, as the blocks themselves give them.

    `layer_0` enters the first block and `layer_i` leaves block i. Where the network's own list says
    so too, it is taken as it is, its last state being behind the final norm if there is one. Where
    blocks put out those states but the list has them at other places, they are read off the blocks
    and `last` is the list's last. Else nothing but `last` is offered.

    Args:
        network: gives `hidden_states` if asked to.
        inputs: of one text.
        depth: number of blocks.
    """
    out, stacks = stacks_of(network, inputs)
    states, tokens = list(out.hidden_states), inputs["input_ids"].shape[1]
    names = {f"layer_{i}": i for i in range(depth + 1)}
    stacks = [stack for stack in stacks if len(stack.left) == depth]
    if any(stack.fits(states) for stack in stacks):
        return StateList(names, f"{depth}, each at its place in the list of hidden states")
    whole = [stack for stack in stacks if stack.is_whole(tokens)]
    best = max(whole, key=lambda stack: stack.found_in(states), default=None)
    if best is not None and best.found_in(states) >= max(1, depth - 1):
        note = f"{depth}, read off the blocks: the list of hidden states has them elsewhere"
        return StateList({**names, LAST: depth + 1}, note, BlockStates(network, best))
    return StateList(
        {LAST: -1}, f"{len(states)} hidden states that are not those of {depth} blocks"
    )


def stacks_of(network: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[Any, list[Stack]]:
    """Returns what a network puts out, and the stacks of blocks that it called."""
    with recorded(network) as stacks, torch.inference_mode():
        out = network(**inputs, output_hidden_states=True)
    return out, [stack for stack in stacks if stack.left]


@contextmanager
def recorded(network: nn.Module) -> Iterator[list[Stack]]:
    """Yields a list with one stack for each list of modules, filled as its members are called."""
    stacks, hooks = [], []
    for holder in network.modules():
        if not isinstance(holder, nn.ModuleList | nn.Sequential):
            continue
        stack = Stack()
        stacks.append(stack)

        def note(module: nn.Module, args: Any, kwargs: Any, output: Any, to: Stack = stack) -> None:  # noqa: ANN401
            to.modules.append(module)
            to.entered.append(_entered(args, kwargs))
            to.left.append(_left(output))

        for module in holder:
            # First of all hooks: the library's own read the state after it.
            hooks.append(module.register_forward_hook(note, with_kwargs=True, prepend=True))
    try:
        yield stacks
    finally:
        for hook in hooks:
            hook.remove()


def _entered(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    return _state([*args, *([kwargs["hidden_states"]] if "hidden_states" in kwargs else [])])


def _left(output: Any) -> Tensor | None:  # noqa: ANN401
    if isinstance(output, Tensor):
        return _state([output])
    values = output.values() if isinstance(output, Mapping) else output
    return _state(values) if isinstance(values, Sequence) or hasattr(values, "__iter__") else None


def _state(values: Any) -> Tensor | None:  # noqa: ANN401
    """Returns the first tensor of real numbers with three or four axes."""
    real = (x for x in values if isinstance(x, Tensor) and x.is_floating_point())
    return next((x for x in real if x.ndim in (3, 4)), None)


def begin_behind(states: Sequence[Tensor], stacks: Sequence[Stack], stages: int) -> bool:
    """Returns whether a list of states has none that enters the first block or stage.

    It is so if there is a stack of as many blocks, the first of which put out the first state, in
    whatever layout; or if there are as many states as the network says to have stages.
    """
    if len(states) == stages:
        return True
    firsts = [stack.left[0] for stack in stacks if len(stack.left) == len(states)]
    return any(
        one is not None
        and one.numel() == states[0].numel()
        and torch.equal(one.flatten().sort().values, states[0].flatten().sort().values)
        for one in firsts
    )


def _same(one: Tensor | None, other: Tensor) -> bool:
    """Returns whether two states of one text are equal, (1, tokens, d) or (tokens, 1, d)."""
    if one is None or one.numel() != other.numel():
        return False
    return torch.equal(one.squeeze().to(other.device), other.squeeze())
