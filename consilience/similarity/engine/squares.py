"""Squares: sets of models of which every two are wanted, so that a pass sums no other products."""

from collections.abc import Iterable
from itertools import combinations

LEAST = 16
"""Models that a square costs at least: narrower products take as long."""


def squares_of(pairs: Iterable[tuple[int, int]], count: int) -> list[list[int]]:
    """Returns sets of places that hold both ends of every pair, each place in one at least.

    Within a set every two are wanted. If that costs no less than the product of all with all, as
    where one model is new, there is one set of all of them.

    Args:
        pairs: of places below `count`, in either order.
        count: of models.
    """
    near = [{place} for place in range(count)]
    for i, j in pairs:
        near[i].add(j)
        near[j].add(i)
    whole = [list(range(count))]
    if all(len(others) == count for others in near):
        return whole
    found, cost = [], 0
    done: set[tuple[int, int]] = set()
    for i in range(count):
        for j in sorted(other for other in near[i] if other > i) or [i]:
            if (i, j) in done or (i == j and any(i in square for square in found)):
                continue
            square = _grown(i, j, near)
            done.update(combinations(square, 2))
            found.append(square)
            cost += max(len(square), LEAST) ** 2
            if cost >= count**2:
                return whole
    return found


def _grown(i: int, j: int, near: list[set[int]]) -> list[int]:
    """Returns two places with others, the first ones first, that are near to each other."""
    square, common = {i, j}, near[i] & near[j]
    while further := common - square:
        square.add(nearest := min(further))
        common &= near[nearest]
    return sorted(square)
