"""Common subsequences and edits of many pairs of short sequences, row by row.

The table over the beginnings of both sequences is filled along its diagonals for all rows at once:
k² steps on n rows, in bytes, which other threads do not wait for. Up to `SHORT` entries that takes
less time than a library that takes row by row; from there on k steps per row and word of 64
entries, as it makes, are less.
"""

from collections.abc import Callable

import numpy as np

SHORT = 16
"""Entries of a sequence up to which the table is filled here."""
Cell = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
"""Fills cells (i, j) of the last argument from (i-1, j-1), aᵢ = bⱼ, (i-1, j) and (i, j-1)."""


def common_lengths(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns (n,) the length of the longest common subsequence of the rows of a, b: (n, k)."""
    if a.shape[1] <= SHORT:
        return _last_cells(a, b, _common, 0)
    from rapidfuzz.distance import LCSseq  # noqa: PLC0415 - plans need no sequences

    return _by_pairs(a, b, LCSseq.similarity)


def edits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns (n,) the Levenshtein distance of the rows of a, b: (n, k)."""
    if a.shape[1] <= SHORT:
        return _last_cells(a, b, _edit, 1)
    from rapidfuzz.distance import Levenshtein  # noqa: PLC0415 - as above

    return _by_pairs(a, b, Levenshtein.distance)


def _last_cells(a: np.ndarray, b: np.ndarray, cell: Cell, edge: int) -> np.ndarray:
    """Returns the cell (k, k) of each row; cells (0, i) and (i, 0) are `edge` times i."""
    n, k = a.shape
    a, b = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T[::-1])
    # diagonals by i, of which (i, j) lies on number i + j
    before, last = (np.full((k + 1, n), edge * number, dtype=np.uint8) for number in (0, 1))
    for number in range(2, 2 * k + 1):
        now = np.full((k + 1, n), edge * min(number, k), dtype=np.uint8)
        low, high = max(1, number - k), min(k, number - 1) + 1
        same = a[low - 1 : high - 1] == b[k - number + low : k - number + high]
        above, left = last[low - 1 : high - 1], last[low:high]
        cell(before[low - 1 : high - 1], same, above, left, now[low:high])
        before, last = last, now
    return last[k].astype(np.int32)


def _common(
    diagonal: np.ndarray, same: np.ndarray, above: np.ndarray, left: np.ndarray, out: np.ndarray
) -> None:
    np.add(diagonal, same.view(np.uint8), out=out)
    np.maximum(out, above, out=out)
    np.maximum(out, left, out=out)


def _edit(
    diagonal: np.ndarray, same: np.ndarray, above: np.ndarray, left: np.ndarray, out: np.ndarray
) -> None:
    np.minimum(above, left, out=out)
    out += 1
    np.minimum(out, diagonal + ~same, out=out)


def _by_pairs(a: np.ndarray, b: np.ndarray, scorer: Callable[..., int]) -> np.ndarray:
    from rapidfuzz import process  # noqa: PLC0415 - as above

    return process.cpdist(_strings(a), _strings(b), scorer=scorer, dtype=np.int32)


def _strings(lists: np.ndarray) -> list:
    """Returns the rows of lists (n, k) of numbers as sequences for RapidFuzz.

    One string of k characters per row is fastest; there are 0x10FFFF characters besides NUL, which
    NumPy would strip.
    """
    if len(lists) > 0x10FFFF:
        return lists.tolist()
    characters = (lists + 1).astype(np.uint32)
    return characters.view(f"U{lists.shape[1]}").ravel().tolist()
