"""Graphs that are altered: classes as further features of nodes, and edges left out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from consilience.alterations.draws import keys
from consilience.alterations.shortcuts import show_classes
from consilience.alterations.spec import Shortcut

HIDDEN = -1
"""Shown by a node that shows no class."""


def show_nodes(
    ids: Sequence[str],
    labels: np.ndarray,
    classes: int,
    parts: Sequence[tuple[np.ndarray, float]],
    shortcut: Shortcut,
    seed: int,
    model: str | int = "",
) -> np.ndarray:
    """Returns the (n,) classes that nodes show, −1 for none.

    Args:
        ids: of all n nodes.
        labels: (n,) their true labels.
        classes: how many there are.
        parts: (rows, rate) for nodes that are drawn for something, such as those of training and
            validation with the rate of the shortcut, and those of the test with rate 0.
        shortcut: miss, draw, and `unmasked`: whether nodes of no part show their true class
            (`keep`), which messages then take to others, or none (`hide`). Its rate is not used.
        seed: the study seed, or that of a derived dataset.
        model: the model's seed, for `draw: own`.
    """
    labels = np.asarray(labels, np.int64)
    shown = labels.copy() if shortcut.unmasked == "keep" else np.full_like(labels, HIDDEN)
    for rows, rate in parts:
        names = [ids[row] for row in rows]
        part = replace(shortcut, rate=rate)
        shown[rows] = show_classes(names, labels[rows], classes, part, seed, model)
    return shown


def append_classes(x: sparse.csr_array, shown: np.ndarray, classes: int) -> sparse.csr_array:
    """Returns (n, f + classes) features: those there were, then 1 for the class shown, else 0.

    Args:
        x: (n, f) float32.
        shown: (n,) classes; −1 for none, whose columns are 0.
        classes: how many there are.
    """
    rows = np.flatnonzero(shown != HIDDEN)
    ones = np.ones(len(rows), np.float32)
    added = sparse.csr_array((ones, (rows, shown[rows])), shape=(x.shape[0], classes))
    return sparse.hstack([x, added], format="csr", dtype=np.float32)


def node_keys(ids: Sequence[str]) -> np.ndarray:
    """Returns (n,) uint64 by which edges are drawn, whatever the order of the nodes."""
    return keys(ids, "node")


def drop_edges(
    edges: np.ndarray, nodes: np.ndarray, share: float, seed: int, model: str | int, epoch: int
) -> np.ndarray:
    """Returns the (2, m′) edges of one epoch, in their order.

    Each undirected edge is left out, in both directions, with probability `share`, independently
    of the others and of other epochs.

    Args:
        edges: (2, m) sources and targets.
        nodes: (n,) of `node_keys`.
        share: the probability.
        seed: the study seed.
        model: the model's seed.
        epoch: its number.
    """
    ends = np.sort(nodes[edges], axis=0)
    start = keys(["edges"], seed, model, epoch)
    with np.errstate(over="ignore"):
        mixed = _mix(_mix(_mix(ends[0] + start) + ends[1]) + start)
    return edges[:, (mixed >> np.uint64(11)) / float(2**53) >= share]


def _mix(values: np.ndarray) -> np.ndarray:
    """Returns uint64 that look random: the finalizer of SplitMix64 (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
