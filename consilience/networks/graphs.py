"""Graphs as networks see them: features of all nodes, and their neighbours as a sparse matrix."""

import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn


class Graph(Protocol):
    """What a dataset of nodes has as `graph`."""

    x: sparse.csr_array
    """(n, f) float32, features of the nodes."""
    edges: np.ndarray
    """(2, m) int64, sources and targets: both directions, sorted by target and then source."""


def tensors_of(graph: Graph, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Returns features (n, f), sparse by rows, and edges (2, m)."""
    x = sparse_rows(graph.x.indptr, graph.x.indices, graph.x.data, graph.x.shape)
    return x.to(device), torch.from_numpy(np.asarray(graph.edges, np.int64)).to(device)


def sparse_rows(
    ends: np.ndarray | Tensor,
    columns: np.ndarray | Tensor,
    values: np.ndarray | Tensor,
    shape: tuple[int, ...],
) -> Tensor:
    """Returns a sparse matrix of compressed rows.

    Args:
        ends: (n + 1,) where rows begin and end among the entries.
        columns: (m,) of the entries.
        values: (m,) of the entries.
        shape: (n, d).
    """
    one, two, three = (torch.as_tensor(part).contiguous() for part in (ends, columns, values))
    size = tuple(shape)
    with warnings.catch_warnings(action="ignore"):  # that compressed rows are in beta
        return torch.sparse_csr_tensor(
            one.long(), two.long(), three.float(), size, check_invariants=True
        )


def neighbours(edges: Tensor, n: int) -> Tensor:
    """Returns A (n, n), sparse by rows: A[i, j] = 1 where an edge leads from j to i."""
    source, target = edges
    return _matrix(source, target, torch.ones(edges.shape[1], device=edges.device), n)


def normalized(edges: Tensor, n: int) -> Tensor:
    """Returns D^(-1/2) (A + I) D^(-1/2), D the row sums of A + I (Kipf and Welling 2017)."""
    loops = torch.arange(n, device=edges.device)
    source, target = torch.cat([edges, torch.stack([loops, loops])], 1)
    order = torch.argsort(target * n + source)
    source, target = source[order], target[order]
    scale = torch.bincount(target, minlength=n).float().rsqrt()
    return _matrix(source, target, scale[source] * scale[target], n)


def _matrix(source: Tensor, target: Tensor, values: Tensor, n: int) -> Tensor:
    ends = torch.zeros(n + 1, dtype=torch.long, device=source.device)
    ends[1:] = torch.bincount(target, minlength=n).cumsum(0)
    return sparse_rows(ends, source, values, (n, n))


class Prepared:
    """Makes of features and edges what the layers of a network take, anew for other edges only.

    It is a hook before the forward pass of a network, which is called with features (n, f), sparse,
    and edges (2, m).

    Args:
        matrix: of edges and the number of nodes; None where layers take edges as they are.
        dense: whether layers take features as a dense matrix.
    """

    def __init__(self, matrix: Callable[[Tensor, int], Tensor] | None, *, dense: bool) -> None:
        self._matrix, self._dense = matrix, dense
        self._given: tuple[Tensor, Tensor] | None = None
        self._made: tuple[Tensor, Tensor] | None = None

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the features and the neighbours, as the network takes them."""
        x, edges = inputs
        before = self._given or (None, None)
        if self._made is None or x is not before[0]:
            features = x.to_dense() if self._dense else x
        else:
            features = self._made[0]
        if self._made is None or edges is not before[1]:
            found = edges if self._matrix is None else self._matrix(edges, len(x))
        else:
            found = self._made[1]
        self._given, self._made = inputs, (features, found)
        return self._made
