"""An embedding with a head: what all networks of ours are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from consilience.errors import ConfigError
from consilience.networks import CLASSES, OF_PICTURES, Task
from consilience.networks.objectives import objective_head
from consilience.networks.perceptron import perceptron

MODALITIES = {"image": "pictures", "text": "texts", "vector": "vectors", "graph": "graphs"}
"""What a modality is called in messages."""


@dataclass(frozen=True)
class Parts:
    """What of a network features are read from."""

    head: nn.Module
    """Makes scores of what enters it, the features."""
    blocks: tuple[str, ...] = ()
    """Names of the modules that the column `layers` means by `all`, from input to output."""
    prefix: int = 0
    """Leading tokens that stand for no position."""
    channels_last: bool = False
    """Whether maps are (b, h, w, d) rather than (b, d, h, w)."""
    start: Callable[[Path], dict[str, Tensor]] | None = None
    """Gives the weights that a folder of the network's library has; None: there are no folders."""


class Classifier(nn.Module):
    """Scores of an embedding.

    Args:
        embedding: gives (n, d) features of the inputs.
        head: gives (n, classes) scores of features.
        blocks: names of the modules that the column `layers` means by `all`, from input to output.
        prefix: leading tokens of their outputs that stand for no position.
    """

    def __init__(
        self,
        embedding: nn.Module,
        head: nn.Module,
        blocks: tuple[str, ...] = (),
        prefix: int = 0,
    ) -> None:
        super().__init__()
        self.embedding, self.head = embedding, head
        self.parts = Parts(head, blocks, prefix)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Returns the scores (n, classes)."""
        return self.head(self.embedding(*inputs))


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


def make_head(
    task: Task,
    dimension: int,
    *,
    bias: bool = True,
    labels: int = 0,
    depth: int = 3,
    activation: str = "leaky_relu",
    norm: float = 0.0,
) -> nn.Module:
    """Returns a linear head, or with `labels` (a width) one by a perceptron over the labels.

    Where something else than classes is learnt, it is what that needs; see `networks.objectives`.

    Args:
        task: says how many classes there are.
        dimension: of the features.
        bias: whether a linear head has one.
        labels: width of the hidden layers of the perceptron; 0 for a linear head.
        depth: number of its hidden layers.
        activation: between them.
        norm: length of the class vectors; 0 leaves it free.

    Raises:
        ConfigError: there are no two classes to tell apart, or options of a head for classes where
            none are learnt.
    """
    if task.objective in OF_PICTURES:
        if labels or not bias:
            raise ConfigError(
                f"options bias and labels are of a head for classes, and {task.objective} has none"
            )
        return objective_head(task, dimension)
    if task.classes < 2:
        raise ConfigError(f"{task.classes} classes: there is nothing to learn; name a labelled set")
    if not labels:
        return nn.Linear(dimension, task.classes, bias=bias)
    network = perceptron(task.classes - 1, labels, depth, dimension, activation, norm)
    return LabelNetwork(network, task.classes)


def output_map(width: int, dimension: int) -> tuple[nn.Module, int]:
    """Returns the last map of an embedding and how many features it gives.

    Args:
        width: what enters it.
        dimension: of the features; 0 for `width`, and no map.
    """
    return (nn.Linear(width, dimension), dimension) if dimension else (nn.Identity(), width)


def expect(task: Task, modalities: Sequence[str], objective: str = CLASSES) -> None:
    """Raises ConfigError if a network cannot take the inputs of a task, or do it.

    One that can learn classes of pictures can learn all of `OF_PICTURES`.
    """
    if task.modality not in modalities:
        known = " or ".join(MODALITIES[one] for one in modalities)
        raise ConfigError(f"it takes {known}, not {MODALITIES[task.modality]}")
    others = OF_PICTURES if objective == CLASSES and task.modality == "image" else ()
    if task.objective not in (objective, *others):
        raise ConfigError(
            f"it learns {objective}, not {task.objective}; set `objective` of the recipe to "
            f"{objective}, or name another architecture"
        )


def at_least_one(**options: int) -> None:
    """Raises ConfigError if an option that counts something is less than 1."""
    for name, value in options.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}; the least is 1")


def tried(network: nn.Module, task: Task) -> nn.Module:
    """Returns a network of others once it has taken two empty inputs and given scores for both.

    Raises:
        ConfigError: it cannot take inputs of the shape, or its scores have another.
    """
    network.eval()
    try:
        with torch.no_grad():
            scores = network(torch.zeros(2, *task.shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        said = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"it takes no {MODALITIES[task.modality]} of the shape {task.shape} ({said}); change "
            "`input` of the recipe, or its options"
        ) from error
    if not isinstance(scores, Tensor) or scores.shape != (2, task.classes):
        raise ConfigError(f"it does not give {task.classes} scores; name another network")
    return network.train()
