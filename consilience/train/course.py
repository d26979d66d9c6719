"""The course of a training: its steps, its losses, and going on after a kill."""

import io
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from consilience.files import atomic
from consilience.leftovers import discard_folder
from consilience.sums import damaged_member

logger = logging.getLogger(__name__)

MARKS = 100
"""Points of a loss curve."""
REPORT = 60.0
"""Seconds between two lines of progress in the log."""


class Training(Protocol):
    """What takes steps: `Single` or `Stacked`."""

    networks: list[nn.Module]
    steps: int

    def step(self, number: int) -> Tensor:
        """Takes one step; returns the losses before it, one per network."""
        ...

    def state(self) -> dict[str, Any]:
        """Returns all that the next step depends on."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Goes back to a state."""
        ...

    def finish(self) -> None:
        """Leaves the networks with their last weights."""
        ...


@dataclass
class Course:
    """How far a training is, and what its losses were.

    Args:
        training: what takes the steps.
        keys: of its models, which a checkpoint must be of.
        path: of the checkpoint.
        seconds: between two checkpoints.
    """

    training: Training
    keys: Sequence[str]
    path: Path
    seconds: float = 30.0
    done: int = 0
    history: list[tuple[int, list[float]]] = field(default_factory=list)
    """(step, mean losses since the point before, one per network)."""

    def run(self) -> None:
        """Takes all steps that are left; the last checkpoint stays until `forget`.

        A loss that is not finite ends the training of one network; in a stack the others go on.
        """
        self._resume()
        steps, began = self.training.steps, self.done
        marks = {round(steps * (k + 1) / MARKS) for k in range(MARKS)} | {1}
        started = saved = told = time.monotonic()
        total, count = torch.zeros(len(self.keys), dtype=torch.float64), 0
        if self._partial is not None:
            total, count = self._partial
        while self.done < steps:
            total += self.training.step(self.done).double().cpu()
            count += 1
            self.done += 1
            if self.done in marks:
                self.history.append((self.done, (total / count).tolist()))
                total, count = torch.zeros_like(total), 0
                if not any(self.is_sound(k) for k in range(len(self.keys))):
                    break
            now = time.monotonic()
            if now - saved >= self.seconds:
                self.save((total, count))
                saved = time.monotonic()
            if now - told >= REPORT:
                left = (now - started) / (self.done - began) * (steps - self.done)
                logger.info("step %d of %d, %s left", self.done, steps, _in_words(left))
                told = now
        if steps:
            self.save((total, count))
        self.training.finish()

    _partial: tuple[Tensor, int] | None = None

    def is_sound(self, place: int) -> bool:
        """Returns whether all losses of a network are finite."""
        return not self.history or all(math.isfinite(losses[place]) for _, losses in self.history)

    def curve(self, place: int) -> dict[str, list[float]]:
        """Returns the loss curve of one network: steps, and mean losses up to each."""
        return {
            "step": [step for step, _ in self.history],
            "loss": [losses[place] for _, losses in self.history],
        }

    def save(self, partial: tuple[Tensor, int]) -> None:
        """Writes a checkpoint, whole or not at all."""
        state = {
            "keys": list(self.keys),
            "done": self.done,
            "history": self.history,
            "partial": partial,
            "training": self.training.state(),
        }
        with atomic(self.path) as temporary:
            torch.save(state, buffer := io.BytesIO())  # to a path it hides what a full disk says
            temporary.write_bytes(buffer.getbuffer())

    def _resume(self) -> None:
        state = read_checkpoint(self.path)
        if state is None or state.get("keys") != list(self.keys):
            return
        self.training.load(state["training"])
        self.done, self._partial = state["done"], state["partial"]
        self.history = [(step, losses) for step, losses in state["history"]]
        logger.info("goes on from step %d", self.done)

    def forget(self) -> None:
        """Deletes the checkpoint."""
        self.path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> Mapping[str, Any] | None:
    """Returns what a checkpoint holds; None if there is none, or it is damaged."""
    discard_folder(path)
    if not path.is_file():
        return None
    try:
        if damaged := damaged_member(path):  # PyTorch does not look
            raise ValueError(f"{damaged} has another check sum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind: a disk gave back something else
        logger.warning("%s cannot be read (%s); training begins anew", path, error)
        return None


def _in_words(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"
