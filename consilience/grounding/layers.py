"""Whether layers of one model are the less close the further apart they are (test 6)."""

import numpy as np

from consilience.pairs.correlations import ROUNDING, Floats, ranks

LEAST = 3
"""Layers of a model, so that an anchor has two on one side."""


def _sides(n: int) -> list[tuple[int, np.ndarray]]:
    """Returns (anchor, layers on one side of it, the nearest first) with two layers or more."""
    sides = []
    for i in range(n):
        sides += [(i, np.arange(i + 1, n)), (i, np.arange(i - 1, -1, -1))]
    return [(i, side) for i, side in sides if len(side) > 1]


def order_correlation(closeness: Floats) -> float:
    """Returns the mean Spearman correlation of -closeness and distance of layers.

    For each anchor and each side of it with two layers or more, over the layers of that side; those
    without variance count for nothing. 1: the nearer, the closer; chance 0.

    Args:
        closeness: (L, L) in the order of the layers, NaN where a pair failed.

    Returns:
        NaN where no anchor has a correlation.
    """
    found = []
    for i, side in _sides(len(closeness)):
        values = closeness[i, side]
        values = values[np.isfinite(values)]
        if len(values) > 1 and np.ptp(values) > ROUNDING * np.abs(values).max():
            found.append(float(np.corrcoef(ranks(-values), np.arange(len(values)))[0, 1]))
    return float(np.mean(found)) if found else float("nan")


def order_conformity(closeness: Floats) -> float:
    """Returns the share of triples (anchor; nearer, further layer on one side) in their order.

    Ties count half; chance ½. There are L (L - 1)(L - 2) / 3 triples.
    """
    won, total = 0.0, 0
    for i, side in _sides(len(closeness)):
        values = closeness[i, side]
        values = values[np.isfinite(values)]
        gap = values[:, None] - values[None]
        upper = np.triu_indices(len(values), 1)
        won += float((gap[upper] > 0).sum() + (gap[upper] == 0).sum() / 2)
        total += len(upper[0])
    return won / total if total else float("nan")


SCORES = {"spearman": order_correlation, "conformity": order_conformity}
CHANCE = {"spearman": 0.0, "conformity": 0.5}
