"""An embedding with a head: what all networks of ours are."""

import torch
from torch import Tensor, nn

from consilience.errors import ConfigError
from consilience.networks import Task


class Classifier(nn.Module):
    """Scores of an embedding.

    Args:
        embedding: gives (n, d) features of the inputs.
        head: gives (n, classes) scores of features.
        blocks: names of the modules that the column `layers` means by `all`, from input to output.
    """

    def __init__(self, embedding: nn.Module, head: nn.Module, blocks: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.embedding, self.head, self.blocks = embedding, head, blocks

    def forward(self, *inputs: Tensor) -> Tensor:
        """Returns the scores (n, classes)."""
        return self.head(self.embedding(*inputs))


class FixedNorm(nn.Module):
    """Vectors scaled to one length L: L x / max(|x|, 1e-8)."""

    def __init__(self, length: float) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        """Returns x: (…, d) with vectors of that length."""
        return self.length * x / x.norm(dim=-1, keepdim=True).clamp_min(1e-8)


class LabelNetwork(nn.Module):
    """A head whose class vectors are given by a second network g: scores f(x) · g(y).

    g takes the one-hot label with its last entry cut off, so that the last class is the zero vector
    (Nielsen et al. 2025).

    Args:
        network: g, from (classes - 1) to d numbers.
        classes: how many.
    """

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("labels", torch.eye(classes)[:, :-1], persistent=False)

    def unembedding(self) -> Tensor:
        """Returns g of all labels, (classes, d)."""
        return self.network(self.labels)

    def forward(self, features: Tensor) -> Tensor:
        """Returns the scores (n, classes) of features (n, d)."""
        return features @ self.unembedding().T


def linear_head(dimension: int, task: Task, *, bias: bool = True) -> nn.Linear:
    """Returns a linear head.

    Raises:
        ConfigError: there are no two classes to tell apart.
    """
    if task.classes < 2:
        raise ConfigError(f"{task.classes} classes: there is nothing to learn; name a labelled set")
    return nn.Linear(dimension, task.classes, bias=bias)
