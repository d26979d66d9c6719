"""Gradients that are the same again: one thread, and ways of computing that do not race."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exactly(device: str, *, flush: bool = False) -> Iterator[None]:
    """Computes on one thread if on the CPU, and as PyTorch does the same each time.

    Args:
        device: on a GPU what cannot be done the same each time gets a warning.
        flush: whether numbers below 1e-38 are 0. A network that is sure has such gradients, which
            most processors compute up to three times more slowly.
    """
    threads, on_cpu = torch.get_num_threads(), torch.device(device).type == "cpu"
    fills = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=not on_cpu)
    # Everything that is made is written in full: filling it before takes a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        if on_cpu:
            torch.set_num_threads(1)
            torch.set_flush_denormal(flush)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = fills
