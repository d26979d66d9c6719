"""Networks within limits: what a configuration declares is counted while it is built.

Networks are built by many libraries from many kinds of configurations. What they have in common is
PyTorch: a tensor is refused before its memory is asked for, and modules and parameters are counted
as they are registered.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registry
from torch.overrides import TorchFunctionMode

from consilience.limits import hold, hold_memory

_SMALL = 1 << 26
"""Numbers in a tensor that is let through without a closer look."""
_COUNTS = re.compile("layer|depth|block|expert|head|stage", re.IGNORECASE)
"""Words in the keys of configurations that say how often something is there."""


_MAKERS = re.compile(
    "(new_)?(empty|zeros|ones|full|rand|randn|randint|normal|tensor)(_strided|_permuted|_quantized)?"
    "|arange|range|linspace|logspace|eye|randperm|tri[lu]_indices|bartlett_window|hann_window"
)
"""Functions of PyTorch, and methods of tensors, that make a tensor of sizes alone."""


class _Within(TorchFunctionMode):
    """Refuses tensors that are made of nothing and larger than any network's.

    It sees what Python calls. What is called below it all the same, by a mode of operations, costs
    1.5 s of each process: such a mode loads PyTorch's compiler.
    """

    def __init__(self, place: object) -> None:
        super().__init__()
        self._place = place

    def __torch_function__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        """Runs a function, if it does not ask for too much."""
        kwargs = kwargs or {}
        sizes = math.prod(_ints([*args, *kwargs.values()]))
        if sizes > _SMALL and _MAKERS.fullmatch(getattr(func, "__name__", "")):
            wanted = func(*args, **{**kwargs, "device": "meta"})
            hold("parameters", wanted.numel(), self._place, "numbers in one tensor")
            if str(kwargs.get("device") or torch.get_default_device()) == "cpu":
                hold_memory(wanted.numel() * wanted.element_size(), self._place)
        return func(*args, **kwargs)


def _ints(args: Any) -> Iterator[int]:  # noqa: ANN401
    for one in args:
        if isinstance(one, list | tuple):
            yield from _ints(one)
        elif isinstance(one, int | float) and one > 1:
            yield int(one)


@contextmanager
def building(place: object) -> Iterator[None]:
    """Counts what is built inside: modules, parameters, and the numbers of each tensor.

    Args:
        place: what is built, for the message.

    Raises:
        RefusedError: it declares more than the limits allow; nothing so large was made.
    """
    sizes: dict[tuple[int, str], tuple[int, int]] = {}
    counts = {"modules": 0, "parameters": 0, "bytes": 0}

    def parameter(owner: nn.Module, name: str, found: Any) -> None:  # noqa: ANN401
        if found is None or nn.parameter.is_lazy(found):
            return
        before, after = sizes.get((id(owner), name), (0, 0)), _size(found)
        sizes[id(owner), name] = after
        counts["parameters"] += after[0] - before[0]
        counts["bytes"] += after[1] - before[1]
        hold("parameters", counts["parameters"], place, "parameters or more")
        hold_memory(counts["bytes"], place)

    def part(_owner: nn.Module, _name: str, _found: Any) -> None:  # noqa: ANN401
        counts["modules"] += 1
        hold("modules", counts["modules"], place, "modules or more")

    hooks = [
        registry.register_module_parameter_registration_hook(parameter),
        registry.register_module_module_registration_hook(part),
    ]
    try:
        with _Within(place):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _size(found: Tensor) -> tuple[int, int]:
    """Returns how many numbers a tensor has, and how many bytes of the machine's memory."""
    on_cpu = found.device.type == "cpu"
    return found.numel(), found.numel() * found.element_size() if on_cpu else 0


def check_config(config: object, place: object) -> None:
    """Raises RefusedError if a configuration counts more layers, heads, … than any network has.

    Libraries make lists of that length before there is a network.
    """
    if isinstance(config, Mapping):
        for key, value in config.items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, int) and _COUNTS.search(str(key)):
                    hold("modules", one, place, f"of {key}")
                elif isinstance(one, Mapping):
                    check_config(one, place)
