"""The extractor of trained graph networks: one pass of the whole graph, then rows of it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from consilience.datasets import Dataset, Sample
from consilience.errors import DataError, ModelError
from consilience.models import reading
from consilience.models._network import NetworkExtractor
from consilience.networks.graphs import tensors_of


class NodeExtractor(NetworkExtractor):
    """A network that gives features of all nodes of a graph at once.

    Args:
        length: features of a node that it takes.
        model: the network.
        **given: see `NetworkExtractor`.
    """

    inputs = "nodes"

    def __init__(self, length: int, model: nn.Module, **given: Any) -> None:  # noqa: ANN401
        super().__init__(model=model, pooling=lambda activation: activation, **given)
        self._length = length
        self._kept: dict[str, Tensor] = {}

    def begin(self, dataset: Dataset) -> None:
        """Runs the network on the graph of a dataset and keeps what its layers give.

        Raises:
            DataError: there is no graph, or its nodes have other features than the network takes.
            ModelError: the network cannot read it, or does not reach a layer.
        """
        graph = getattr(dataset, "graph", None)
        if graph is None:
            raise DataError("the dataset has no graph; name one whose modality is graph")
        if graph.x.shape[1] != self._length:
            raise DataError(
                f"the nodes have {graph.x.shape[1]} features and the network takes {self._length}; "
                "name the datasets that it can read in the recipe's `runs_on`"
            )
        x, edges = tensors_of(graph, self._device)
        self._caught.clear()
        with torch.inference_mode(), reading("the graph", "train on graphs of this kind"):
            self._model(x, edges)
        names = (*self.layers, *self.outputs)
        if absent := [name for name in names if name not in self._caught]:
            raise ModelError(f"layer {absent[0]!r} is not used; drop it")
        self._kept = {name: self._caught.pop(name) for name in names}

    def preprocess(self, sample: Sample) -> int:
        """Returns the row of a node; raises DataError if the sample is none."""
        if sample.node is None:
            raise DataError(f"{sample.origin}: sample {sample.id!r} is no node of a graph")
        return sample.node

    def extract(self, batch: Sequence[int]) -> dict[str, Tensor]:
        """Returns {layer: (b, d)} for b rows of the graph that `begin` was given."""
        if not self._kept:
            raise ModelError("no graph was given before its nodes; call begin(dataset) first")
        return {name: values[list(batch)] for name, values in self._kept.items()}
