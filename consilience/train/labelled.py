"""What a network learns from: the interface, and inputs of one shape with a class each."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from consilience.networks import Task
from consilience.train.altered import Vary

FREQUENCIES = "always answering the class frequencies"


@dataclass(frozen=True)
class Score:
    """How well a network does on some samples."""

    loss: float
    """Mean over samples (or predicted tokens), in nats."""
    accuracy: float | None
    """Share of right answers; None: there are none to give."""
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Returns the score in plain JSON types."""
        return {"loss": self.loss, "accuracy": self.accuracy, "n": self.n}


class Data(Protocol):
    """What a network learns from, on its device."""

    n: int
    """Samples that batches are drawn from."""
    task: Task
    chance: float
    """The loss of the best constant answer; a network that does no better did not learn."""
    blind: str
    """What that answer is."""
    least: int
    """Samples that a batch needs."""

    def loss(
        self, network: nn.Module, rows: Tensor, smoothing: float = 0.0, epoch: int = 0
    ) -> Tensor:
        """Returns the mean loss on a batch, in training: what is drawn comes from PyTorch."""
        ...

    def score(self, network: nn.Module) -> Score:
        """Returns how well a network in evaluation mode does on all samples, as they are."""
        ...


class Labelled:
    """Inputs of one shape with a class each.

    Args:
        inputs: (n, …), as they are stored.
        labels: (n,) classes.
        classes: how many there are.
        modality: of the samples.
        device: where batches are to lie.
    """

    CHUNK = 2048
    """Samples that are scored at a time."""
    blind, least = FREQUENCIES, 1

    def __init__(
        self, inputs: Tensor, labels: Tensor, classes: int, modality: str, device: str = "cpu"
    ) -> None:
        self.inputs, self.labels = inputs.to(device), labels.to(device)
        self.n = len(labels)
        self.task = Task(modality, tuple(inputs.shape[1:]), classes)
        self.chance = entropy(labels)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the inputs (b, …), as a network takes them, and the labels (b,) of rows."""
        return self.inputs[rows], self.labels[rows]

    def take_varied(self, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Returns the same as an epoch sees them: augmented, if at all."""
        return self.take(rows)

    def loss(
        self, network: nn.Module, rows: Tensor, smoothing: float = 0.0, epoch: int = 0
    ) -> Tensor:
        """Returns the mean cross-entropy on a batch."""
        inputs, labels = self.take_varied(rows, epoch)
        scores = network(inputs)
        scores = scores.float() if scores.element_size() < 4 else scores
        return nn.functional.cross_entropy(scores, labels, label_smoothing=smoothing)

    @torch.no_grad()
    def score(self, network: nn.Module) -> Score:
        """Returns the mean cross-entropy and the accuracy on all samples."""
        loss, right = 0.0, 0
        for start in range(0, self.n, self.CHUNK):
            inputs, labels = self.take(torch.arange(start, min(start + self.CHUNK, self.n)))
            scores = network(inputs).double()
            loss += float(nn.functional.cross_entropy(scores, labels, reduction="sum"))
            right += int((scores.argmax(1) == labels).sum())
        return Score(loss / self.n, right / self.n, self.n)


class Pictures(Labelled):
    """Pictures with a class each, held as bytes.

    Args:
        inputs: (n, channels, h, w) bytes.
        mean, deviation: of values in [0, 1], which inputs are centred and scaled by.
        vary: what is new in every epoch.
        **others: see `Labelled`.
    """

    def __init__(
        self,
        inputs: Tensor,
        *others: Any,  # noqa: ANN401
        mean: float,
        deviation: float,
        vary: Vary | None = None,
    ) -> None:
        super().__init__(inputs, *others)
        self._mean, self._deviation, self._vary = mean, deviation, vary

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the pictures as numbers, and their labels."""
        return self._numbers(self.inputs[rows]), self.labels[rows]

    def take_varied(self, rows: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Returns the same with what an epoch does to pictures."""
        if self._vary is None:
            return self.take(rows)
        varied = self._vary.pictures(self.inputs[rows], rows, epoch)
        return self._numbers(varied), self.labels[rows]

    def _numbers(self, pixels: Tensor) -> Tensor:
        return (pixels.float() / 255 - self._mean) / self._deviation


def entropy(labels: Tensor) -> float:
    """Returns the entropy of class frequencies in nats: the loss of the best constant answer."""
    share = torch.bincount(labels).double() / len(labels)
    return float(-(share[share > 0] * share[share > 0].log()).sum())
