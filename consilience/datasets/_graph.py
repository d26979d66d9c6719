"""Graphs: features of nodes and edges in one fixed order, and which nodes are drawn for what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from consilience.alterations.draws import order_ids
from consilience.errors import DataError

PARTS = ("train", "validation", "test", "rest")
"""What the nodes of a graph are drawn for: `rest` is for nothing, but messages pass through it."""


@dataclass(frozen=True)
class Graph:
    """An undirected graph with features of its nodes."""

    x: sparse.csr_array
    """(n, f) float32, features of the nodes."""
    edges: np.ndarray
    """(2, m) int64, sources and targets: every edge in both directions, once, without self loops,
    sorted by target and then source."""


def make_edges(pairs: np.ndarray, n: int) -> np.ndarray:
    """Returns the edges of `Graph` for (m, 2) pairs of rows in any order and direction.

    A pair counts once whichever way and however often it is given; self loops are left out.
    """
    source, target = np.concatenate([pairs, pairs[:, ::-1]]).T.astype(np.int64)
    code = np.unique((target * n + source)[source != target])
    return np.stack([code % n, code // n])


def normalize_rows(x: sparse.csr_array) -> sparse.csr_array:
    """Returns (n, f) float32 rows that sum to 1; rows of zeros stay."""
    sums = np.asarray(x.sum(axis=1), np.float64).ravel()
    scale = np.divide(1, sums, out=np.zeros_like(sums), where=sums != 0)
    scaled = x.multiply(scale[:, None]).tocsr().astype(np.float32)
    scaled.sort_indices()
    return scaled


def dense_row(x: sparse.csr_array, row: int) -> np.ndarray:
    """Returns (f,) of one node."""
    values = np.zeros(x.shape[1], np.float32)
    begin, end = x.indptr[row : row + 2]
    values[x.indices[begin:end]] = x.data[begin:end]
    return values


def draw_parts(
    ids: Sequence[str], labels: np.ndarray, sizes: Mapping[str, int], seed: int
) -> dict[str, np.ndarray]:
    """Returns {part: rows in ascending order} for `PARTS`, without a common row.

    As in the public split of Planetoid (Yang et al. 2016): so many of every class for training,
    then so many of the others for validation, then for test. Larger sizes of a part contain the
    smaller ones, with all others equal.

    Args:
        ids: of the n nodes.
        labels: (n,) classes.
        sizes: `train` (of every class), `validation` and `test`.
        seed: another one gives other parts.

    Raises:
        DataError: a class, or the graph, has too few nodes.
    """
    order = order_ids(ids, "parts", seed)
    train = np.concatenate([_first(order, labels == c, sizes["train"]) for c in np.unique(labels)])
    rest = order[~np.isin(order, train)]
    if len(rest) < sizes["validation"] + sizes["test"]:
        raise DataError(
            f"{len(rest)} of {len(ids)} nodes are left for validation={sizes['validation']} and "
            f"test={sizes['test']}; write smaller numbers into the column name"
        )
    ends = np.cumsum([sizes["validation"], sizes["test"]])
    parts = dict(zip(PARTS, [train, *np.split(rest, ends)], strict=True))
    return {name: np.sort(rows) for name, rows in parts.items()}


def _first(order: np.ndarray, chosen: np.ndarray, count: int) -> np.ndarray:
    """Returns the first rows in order of those that are chosen: (count,)."""
    found = order[chosen[order]][:count]
    if len(found) < count:
        raise DataError(
            f"a class has {len(found)} nodes and train={count} of each are wanted; write a smaller "
            "number into the column name"
        )
    return found


def map_ids(ids: np.ndarray, origin: str) -> Mapping[int, int]:
    """Returns {id: row}; raises DataError if an id is there twice."""
    rows = {int(id_): row for row, id_ in enumerate(ids)}
    if len(rows) < len(ids):
        raise DataError(f"{origin}: {len(ids) - len(rows)} nodes have the id of another one")
    return rows
