"""Nodes of a graph to learn from, in passes of the whole graph."""

import torch
from torch import Tensor, nn

from consilience.networks import Task
from consilience.networks.graphs import Graph, tensors_of
from consilience.train.altered import Vary
from consilience.train.labelled import FREQUENCIES, Score, entropy


class Nodes:
    """Nodes with a class each; all others pass messages on.

    Args:
        graph: with all nodes.
        nodes: (n,) rows of it that are learnt, or scored on.
        labels: (n,) classes of these.
        classes: how many there are.
        device: where everything is to lie.
        vary: what is new in every epoch.
    """

    blind, least = FREQUENCIES, 1

    def __init__(
        self,
        graph: Graph,
        nodes: Tensor,
        labels: Tensor,
        classes: int,
        device: str,
        vary: Vary | None = None,
    ) -> None:
        self.x, self.edges = tensors_of(graph, device)
        self.nodes, self.labels = nodes.to(device), labels.to(device)
        self.n, self._vary = len(labels), vary
        self.task = Task("graph", (self.x.shape[1],), classes)
        self.chance = entropy(labels)

    def loss(
        self, network: nn.Module, rows: Tensor, smoothing: float = 0.0, epoch: int = 0
    ) -> Tensor:
        """Returns the mean cross-entropy on a batch of nodes, from a pass of the whole graph."""
        edges = self._vary.edges(self.edges, epoch) if self._vary else self.edges
        scores = network(self.x, edges)[self.nodes[rows]]
        scores = scores.float() if scores.element_size() < 4 else scores
        return nn.functional.cross_entropy(scores, self.labels[rows], label_smoothing=smoothing)

    @torch.no_grad()
    def score(self, network: nn.Module) -> Score:
        """Returns the mean cross-entropy and the accuracy on all its nodes, without alteration."""
        scores = network(self.x, self.edges)[self.nodes].double()
        loss = float(nn.functional.cross_entropy(scores, self.labels))
        right = int((scores.argmax(1) == self.labels).sum())
        return Score(loss, right / self.n, self.n)
