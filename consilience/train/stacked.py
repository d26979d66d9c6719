"""Several perceptrons of one shape trained as one, by batched products.

Starting a step costs more than its arithmetic where networks are small. Weights of S models are
held as (S, …), a batch as (S, b, …), and one optimiser steps over the stack: element by element,
so that a model's weights depend on the others by rounding only. The loss is summed over models.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from consilience.networks.classifier import Classifier, LabelNetwork
from consilience.networks.perceptron import Perceptron
from consilience.train.batches import Order
from consilience.train.inputs import Labelled
from consilience.train.settings import Settings, clip_each, set_rate

VECTOR = 64
"""A multiple of the numbers in a vector of any processor."""


def can_stack(network: nn.Module) -> bool:
    """Returns whether a network is one that `Stacked` knows how to compute in a stack."""
    return (
        isinstance(network, Classifier)
        and isinstance(network.embedding, Perceptron)
        and isinstance(network.head, nn.Linear | LabelNetwork)
    )


class Stacked:
    """The training of several networks of one shape, for which `can_stack` holds.

    Args:
        networks: S of them with their first weights, on one device.
        data: what they learn from; each of its own, or one object for all.
        settings: how.
        seeds: of each, `order`.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        data: Sequence[Labelled],
        settings: Settings,
        seeds: Sequence[Mapping[str, int]],
    ) -> None:
        self.networks = list(networks)
        self._data, self._settings = list(data), settings
        size = settings.samples_per_step
        self._orders = [Order(d.n, size, s["order"]) for d, s in zip(data, seeds, strict=True)]
        self.steps = settings.count(self._orders[0].per_epoch)
        states = [dict(network.named_parameters()) for network in networks]
        stacks = {name: torch.stack([s[name].detach() for s in states]) for name in states[0]}
        # One tensor of all weights, of which the others are views: what an optimiser does to one
        # costs a fraction of what it does to many. It fills whole vectors of the processor, so
        # that no weight is rounded otherwise for its place.
        sizes = [stack.numel() for stack in stacks.values()]
        self._padding = torch.zeros(-sum(sizes) % VECTOR).to(next(iter(stacks.values())))
        flat = [stack.flatten() for stack in stacks.values()]
        self._whole = torch.cat([*flat, self._padding]).requires_grad_()
        parts = self._whole.detach()[: sum(sizes)].split(sizes)
        self._weights = {
            name: part.view(stack.shape).requires_grad_()
            for (name, stack), part in zip(stacks.items(), parts, strict=True)
        }
        self._optimiser = settings.optimiser([self._whole])
        self._alike = all(d is data[0] for d in data) and len({o["order"] for o in seeds}) == 1

    def step(self, number: int) -> Tensor:
        """Takes one step, counted from 0; returns the losses before it, (S,)."""
        set_rate(self._optimiser, self._settings.rate(number, self.steps))
        inputs, labels = self._batch(number)
        scores = self.scores(inputs)
        losses = nn.functional.cross_entropy(
            scores.flatten(0, 1),
            labels.flatten(),
            reduction="none",
            label_smoothing=self._settings.label_smoothing,
        )
        losses = losses.view(labels.shape).mean(1)
        gradients = torch.autograd.grad(losses.sum(), list(self._weights.values()))
        if self._settings.clip:
            clip_each(gradients, self._settings.clip, models=len(self.networks))
        self._whole.grad = torch.cat([*(one.flatten() for one in gradients), self._padding])
        self._optimiser.step()
        return losses.detach()

    def _batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Returns inputs (S, b, d) and labels (S, b)."""
        count = len(self.networks)
        if self._alike:
            inputs, labels = self._data[0].take(self._orders[0].rows(number))
            return inputs.flatten(1).expand(count, -1, -1), labels.expand(count, -1)
        taken = [d.take(o.rows(number)) for d, o in zip(self._data, self._orders, strict=True)]
        return torch.stack([x.flatten(1) for x, _ in taken]), torch.stack([y for _, y in taken])

    def scores(self, inputs: Tensor) -> Tensor:
        """Returns the scores (S, b, classes) of inputs (S, b, d)."""
        first = self.networks[0]
        features = self._apply(first.embedding, "embedding", inputs)
        if isinstance(first.head, LabelNetwork):
            labels = first.head.labels.expand(len(self.networks), -1, -1)
            vectors = self._apply(first.head.network, "head.network", labels)
            return torch.bmm(features, vectors.mT)
        return self._apply(first.head, "head", features)

    def _apply(self, module: nn.Module, name: str, x: Tensor) -> Tensor:
        """Returns what a module of all models in the stack makes of x: (S, b, d)."""
        if isinstance(module, nn.Sequential):
            for part, child in module.named_children():
                x = self._apply(child, f"{name}.{part}", x)
            return x
        if not isinstance(module, nn.Linear):
            return module(x)  # element by element, or along the last axis
        weight = self._weights[f"{name}.weight"].mT
        if module.bias is None:
            return torch.bmm(x, weight)
        return torch.baddbmm(self._weights[f"{name}.bias"][:, None], x, weight)

    def state(self) -> dict[str, Any]:
        """Returns all that the next step depends on."""
        weights = {name: w.detach() for name, w in self._weights.items()}
        return {"weights": weights, "optimiser": self._optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Goes back to a state."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["weights"][name])
        self._optimiser.load_state_dict(state["optimiser"])

    def finish(self) -> None:
        """Leaves the networks with their last weights."""
        with torch.no_grad():
            for place, network in enumerate(self.networks):
                for name, weight in network.named_parameters():
                    weight.copy_(self._weights[name][place])
