"""Draws by hash: each id has numbers of its own, whatever other ids there are."""

import hashlib
import json
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

_BITS = 53
"""Of a number in [0, 1) that is a float."""


def keys(ids: Sequence[str], *purpose: str | int) -> np.ndarray:
    """Returns (n,) uint64 that depend on an id and on what is drawn alone.

    Each is the beginning of the SHA-256 of the purpose and the id as JSON.
    """
    start = hashlib.sha256(_text(purpose))
    found = np.empty(len(ids), np.uint64)
    for row, id_ in enumerate(ids):
        whole = start.copy()
        whole.update(_text([id_]))
        found[row] = int.from_bytes(whole.digest()[:8], "big")
    return found


def uniforms(ids: Sequence[str], *purpose: str | int) -> np.ndarray:
    """Returns (n,) numbers in [0, 1), one for each id and purpose."""
    return (keys(ids, *purpose) >> np.uint64(64 - _BITS)) / float(2**_BITS)


def order_ids(ids: Sequence[str], *purpose: str | int) -> np.ndarray:
    """Returns the (n,) rows in the order of the numbers of their ids."""
    return np.lexsort([np.asarray(ids, object).astype(str), keys(ids, *purpose)])


def floor_share(share: float | Fraction, n: int) -> int:
    """Returns ⌊share · n⌋ of the share as it is written: 0.29 of 100 is 29."""
    return math.floor(Fraction(str(share)) * n)


def choose_share(ids: Sequence[str], share: float | Fraction, *purpose: str | int) -> np.ndarray:
    """Returns (n,) whether an id is among the ⌊share · n⌋ with the smallest numbers."""
    chosen = np.zeros(len(ids), bool)
    chosen[order_ids(ids, *purpose)[: floor_share(share, len(ids))]] = True
    return chosen


def pick(numbers: np.ndarray, count: int) -> np.ndarray:
    """Returns (n,) int64 from 0 to count − 1, for (n,) numbers in [0, 1)."""
    return np.minimum((numbers * count).astype(np.int64), count - 1)


def pick_other(numbers: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Returns (n,) classes other than the (n,) labels, each of the count − 1 as likely."""
    return (labels + 1 + pick(numbers, count - 1)) % count


def generator(*purpose: str | int) -> np.random.Generator:
    """Returns random numbers that depend on the purpose alone."""
    digest = hashlib.sha256(_text(purpose)).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def drawer(draw: str, seed: int, model: str | int) -> tuple[str | int, ...]:
    """Returns what draws of one seed have in common: for all models, or for one of them."""
    return (seed, "shared") if draw == "shared" else (seed, "own", model)


def _text(parts: Sequence[str | int]) -> bytes:
    return json.dumps([str(part) for part in parts], separators=(",", ":")).encode()
