"""Graphs: features of nodes and edges in one fixed order, and which nodes are drawn for what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from consilience.alterations.draws import order_ids
from consilience.datasets import Sample
from consilience.datasets._base import split_roles
from consilience.errors import ConfigError, DataError
from consilience.registry import did_you_mean

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


@dataclass(frozen=True)
class Nodes:
    """The nodes of a graph, of which some are samples."""

    graph: Graph
    ids: tuple[str, ...]
    """Of all n nodes, in the order of `graph.x`."""
    labels: np.ndarray
    """(n,) int64, classes of all nodes."""
    classes: tuple[str, ...]
    parts: Mapping[str, np.ndarray]
    """{`train`, `validation`, `test` or `rest`: rows}, all nodes."""
    roles: Mapping[str, str]
    """{part: split of its samples}; empty where all nodes are one pool."""
    verified: bool = True

    @cached_property
    def samples(self) -> tuple[tuple[int, str], ...]:
        """(row, split) of the samples, in the order of rows."""
        if not self.roles:
            return tuple((row, "") for row in range(len(self.ids)))
        chosen = [(int(r), role) for part, role in self.roles.items() for r in self.parts[part]]
        return tuple(sorted(chosen))

    def __iter__(self) -> Iterator[Sample]:
        for row, split in self.samples:
            id_, vector = self.ids[row], dense_row(self.graph.x, row)
            label = int(self.labels[row])
            yield Sample(id_, f"node {id_}", split, label, vector=vector, node=row)


def part_roles(row: Mapping[str, Any], place: str) -> dict[str, str]:
    """Returns {part: split of its samples} for the column `splits`; {} where it is blank.

    Raises:
        ConfigError: it names something that is none of `PARTS`.
    """
    roles = split_roles(row)
    for part in roles:
        if part not in PARTS:
            hint = did_you_mean(part, PARTS)
            raise ConfigError(f"{place}: the column splits names an unknown part {part!r}{hint}")
    return roles


def make_nodes(
    x: sparse.csr_array,
    pairs: np.ndarray,
    labels: np.ndarray,
    parts: Mapping[str, np.ndarray],
    roles: Mapping[str, str],
) -> Nodes:
    """Returns the nodes of a published graph, which are called by their numbers.

    Args:
        x: (n, f) features.
        pairs: (m, 2) rows that have an edge, in any order and direction.
        labels: (n,) classes, counted from 0.
        parts: rows of `train`, `validation` and `test`; all others are `rest`.
        roles: see `Nodes`.

    Raises:
        DataError: no numbers, or nodes that there are not, or in two parts, or without a class.
    """
    n = x.shape[0]
    if labels.shape != (n,) or not n:
        raise DataError(f"features of {n} nodes and classes of the shape {labels.shape}")
    if not np.isfinite(x.data).all():
        raise DataError("features that are no finite numbers")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise DataError("nodes without a class, or classes that are not counted from 0")
    if len(pairs) and not 0 <= pairs.min() <= pairs.max() < n:
        raise DataError(f"an edge of the node {pairs.max()}, and there are {n}, counted from 0")
    drawn = np.concatenate([np.asarray(parts[part], np.int64) for part in PARTS[:3]])
    if len(drawn) and not 0 <= drawn.min() <= drawn.max() < n:
        raise DataError(f"a split names the node {drawn.max()}, and there are {n}, from 0 on")
    if len(np.unique(drawn)) < len(drawn):
        raise DataError("nodes that are in two splits, or twice in one")
    rows = {part: np.sort(np.asarray(parts[part], np.int64)) for part in PARTS[:3]}
    rows["rest"] = np.setdiff1d(np.arange(n), drawn)
    graph = Graph(x.astype(np.float32), make_edges(pairs, n))
    classes = tuple(f"class {i}" for i in range(int(labels.max()) + 1))
    ids = tuple(map(str, range(n)))
    return Nodes(graph, ids, labels.astype(np.int64), classes, rows, roles)


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
