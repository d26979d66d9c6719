"""One network trained by itself."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from consilience.errors import ConfigError
from consilience.files import derive_seed
from consilience.train.batches import Order
from consilience.train.inputs import Data
from consilience.train.settings import Settings, set_rate


class Single:
    """The training of one network.

    Args:
        network: with its first weights, on its device.
        data: what it learns from.
        settings: how.
        seeds: `order` of batches, and `noise` of dropout and of what is drawn for a batch.
        context: what the forward pass is computed under, such as autocast.
        parallel: GPUs that share each batch; [] for one device.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Data,
        settings: Settings,
        seeds: dict[str, int],
        context: Callable[[], AbstractContextManager[Any]],
        parallel: Sequence[int] = (),
    ) -> None:
        self.networks = [network]
        # Graphs are one input, which cannot be parted.
        parted = len(parallel) > 1 and data.task.modality != "graph"
        self._network = nn.DataParallel(network, list(parallel)) if parted else network
        self._data, self._settings, self._seeds, self._context = data, settings, seeds, context
        self._order = Order(data.n, settings.samples_per_step, seeds["order"])
        self.steps = settings.count(self._order.per_epoch)
        smallest = data.n % self._order.size or self._order.size
        if self.steps and smallest < data.least:
            raise ConfigError(
                f"a batch of {smallest} of {data.n} samples cannot be learnt, for {data.least} are "
                "compared at least; set another training.batch_size, which leaves no sample over"
            )
        self._weights = [w for w in network.parameters() if w.requires_grad]
        self._optimiser = settings.optimiser(self._weights)

    def step(self, number: int) -> Tensor:
        """Takes one step, counted from 0; returns the loss before it, (1,)."""
        self._network.train()
        torch.manual_seed(derive_seed("noise", self._seeds["noise"], number))
        set_rate(self._optimiser, self._settings.rate(number, self.steps))
        with self._context():
            rows, epoch = self._order.rows(number), number // self._order.per_epoch
            loss = self._loss(rows, epoch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self._settings.clip:
            nn.utils.clip_grad_norm_(self._weights, self._settings.clip)
        self._optimiser.step()
        return loss.detach().reshape(1)

    def _loss(self, rows: Tensor, epoch: int) -> Tensor:
        try:
            return self._data.loss(self._network, rows, self._settings.label_smoothing, epoch)
        except ValueError as error:  # of batch normalisation: one number has no spread
            raise ConfigError(
                f"a batch of {len(rows)} of {self._data.n} samples cannot be learnt ({error}); set "
                "another training.batch_size, which leaves no single sample over"
            ) from error

    def state(self) -> dict[str, Any]:
        """Returns all that the next step depends on."""
        return {"weights": self.networks[0].state_dict(), "optimiser": self._optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Goes back to a state."""
        self.networks[0].load_state_dict(state["weights"])
        self._optimiser.load_state_dict(state["optimiser"])

    def finish(self) -> None:
        """Leaves the networks with their last weights."""
