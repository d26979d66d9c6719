"""Draws for every step: numbers of each sample that are cheap to make anew."""

import numpy as np

_BITS = 53
"""Of a number in [0, 1) that is a float."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def stream(found: np.ndarray, count: int, *counters: int) -> np.ndarray:
    """Returns (n, count) numbers in [0, 1) of samples, new ones for other counters.

    They are those of SplitMix64 (Steele et al. 2014), which costs a hundredth of a hash of an id.

    Args:
        found: (n,) uint64 of the samples, of `draws.keys`.
        count: numbers of each.
        *counters: such as an epoch; of each other value all numbers are others.
    """
    state = found.astype(np.uint64)
    for counter in counters:
        state = _mix(state + np.array([counter + 1], np.uint64) * _GOLDEN)
    steps = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    return (_mix(state[:, None] + steps) >> np.uint64(64 - _BITS)) / float(2**_BITS)


def _mix(state: np.ndarray) -> np.ndarray:
    """Returns uint64 of the same shape, whose every bit depends on all bits of its number."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
