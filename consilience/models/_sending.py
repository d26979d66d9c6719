"""Inputs on their way to the device."""

from torch import Tensor, device


def sent(x: Tensor, where: str | device) -> Tensor:
    """Returns x on a device; to CUDA from pinned memory, while the CPU goes on with other work.

    Copies are ordered with what the device computes, so that nothing sees an input too early.
    """
    if device(where).type != "cuda" or x.device.type != "cpu":
        return x.to(where)
    return x.pin_memory().to(where, non_blocking=True)
