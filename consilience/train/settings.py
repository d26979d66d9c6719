"""How a network is trained: optimiser, schedule, steps."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from consilience.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """The block `training` of a recipe; see `workflow/schemas/recipes.yaml` for what each means."""

    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: str = "constant"
    warmup: float = 0.0
    final: float = 0.1
    clip: float = 0.0
    steps: int | None = None
    epochs: float | None = None
    batch_size: int | str = 128
    label_smoothing: float = 0.0
    min_accuracy: float = 0.0

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Settings":
        """Returns the settings of a block as a recipe holds it."""
        return cls(**{**block, "betas": tuple(block.get("betas", cls.betas))})

    @property
    def samples_per_step(self) -> int | None:
        """The size of a batch; None: all samples, as where nothing is learnt."""
        return None if self.batch_size == "all" or not self.learns else int(self.batch_size)

    def count(self, per_epoch: int) -> int:
        """Returns the number of steps, where an epoch takes `per_epoch`.

        Raises:
            ConfigError: so few epochs that they have no step.
        """
        if self.steps is not None:
            return self.steps
        steps = round((self.epochs or 0) * per_epoch)
        if self.epochs and not steps:
            raise ConfigError(
                f"{self.epochs:g} epochs of {per_epoch} steps are none; raise training.epochs, or "
                "set training.steps"
            )
        return steps

    @property
    def learns(self) -> bool:
        """Whether there is any step."""
        return bool(self.steps or self.epochs)

    def rate(self, step: int, steps: int) -> float:
        """Returns the learning rate of a step, counted from 0, of so many.

        It rises linearly over the first `warmup` (a share of the steps) and is then constant, falls
        along half a cosine to `final` times itself, or in a straight line to it (`linear`).
        """
        rising = self.warmup * steps
        if step < rising:
            return self.lr * (step + 1) / (rising + 1)
        share = (step - rising) / max(steps - rising, 1)
        if self.schedule == "constant":
            return self.lr
        left = (1 + math.cos(math.pi * share)) / 2 if self.schedule == "cosine" else 1 - share
        return self.lr * (self.final + (1 - self.final) * left)

    def optimiser(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Returns the optimiser.

        It updates all weights in one pass over them, not in one pass for each operation.
        """
        given: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": True}
        if self.optimizer == "sgd":
            return SGD(parameters, momentum=self.momentum, **given)
        kind = AdamW if self.optimizer == "adamw" else Adam
        return kind(parameters, betas=self.betas, **given)


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Sets the learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def clip_each(gradients: Iterable[Tensor], limit: float, *, models: int) -> None:
    """Scales the gradients of each model of a stack to a norm of at most `limit`.

    Args:
        gradients: (models, …) each; they are changed.
        limit: of the norm over all gradients of a model.
        models: in the stack.
    """
    found = list(gradients)
    squares = sum((g.reshape(models, -1) ** 2).sum(1) for g in found)
    scale = (limit / (torch.sqrt(torch.as_tensor(squares)) + 1e-6)).clamp(max=1.0)
    for gradient in found:
        gradient.mul_(scale.reshape(-1, *[1] * (gradient.ndim - 1)))
