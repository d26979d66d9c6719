"""What pairs cost: CPU seconds of one core, of each pair and of what is prepared for it.

Threads of the pool compute with one thread of BLAS each, so the clock of a thread is that of its
work, whatever runs beside it. Libraries are loaded when first needed; a metric is not to be called
slow for that, so the longest of the first calls counts as the next longest one.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Key = tuple[str, str]


def timed(function: Callable[..., Any]) -> Callable[..., tuple[Any, float]]:
    """Returns a function that also returns the CPU seconds that its thread took."""

    def call(*args: Any) -> tuple[Any, float]:  # noqa: ANN401
        began = time.thread_time()
        result = function(*args)
        return result, time.thread_time() - began

    return call


def in_equal_parts(seconds: float, pairs: Sequence[tuple[Any, Any]]) -> dict[Key, float]:
    """Returns for each pair of items its part of what a pass over all of them took."""
    return {(x.hash, y.hash): seconds / len(pairs) for x, y in pairs}


def without_loading(seconds: Sequence[float]) -> list[float]:
    """Returns times of which the longest is as long as the next longest one."""
    ordered = sorted(seconds)
    return [min(one, ordered[-2]) for one in seconds] if len(ordered) > 1 else list(seconds)


class ItemTimes:
    """The times of pairs, with equal parts of what their items took to be prepared.

    Args:
        pairs: of items, which are prepared for these pairs.
        first: whether nothing was prepared or compared before.
    """

    def __init__(self, pairs: Sequence[tuple[Any, Any]], *, first: bool) -> None:
        self._count = Counter(item.hash for pair in pairs for item in pair)
        self._spent: dict[str, float] = {}
        self._first = first

    def prepared(self, keys: Sequence[str], made: Sequence[tuple[Any, float]]) -> None:
        """Takes what items, by hash, were prepared to, and how long that took; some at a time."""
        own = [getattr(form, "seconds", None) for form, _ in made]
        for key, known, (_, spent) in zip(keys, own, made, strict=True):
            self._spent[key] = spent if known is None else known

    def compared(self, keys: Sequence[Key], spent: Sequence[float]) -> Mapping[Key, float]:
        """Returns what pairs took that were compared in so many seconds."""
        if self._first:
            spent = without_loading(spent)
            mended = without_loading(list(self._spent.values()))
            self._spent = dict(zip(self._spent, mended, strict=True))
        self._first = False
        parts = {key: s / self._count[key] for key, s in self._spent.items()}
        return {
            (x, y): s + parts.get(x, 0.0) + parts.get(y, 0.0)
            for (x, y), s in zip(keys, spent, strict=True)
        }
