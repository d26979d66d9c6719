"""The order of training samples: all of them once per epoch, drawn anew for each."""

import math

import torch
from torch import Tensor

from consilience.errors import ConfigError
from consilience.files import derive_seed


class Order:
    """Which samples are in which step.

    Epoch e is a permutation drawn from the seed and e alone, cut into batches; the last one of an
    epoch may be smaller. So a training that goes on needs to know the number of its step only.

    Args:
        n: samples.
        batch_size: of them in a step; None: all.
        seed: of the permutations.
    """

    def __init__(self, n: int, batch_size: int | None, seed: int) -> None:
        self.n, self.size, self._seed = n, batch_size or n, seed
        if self.size > n:
            raise ConfigError(
                f"a batch of {self.size} samples is larger than the {n} to train on; set "
                "training.batch_size to at most that, or to `all`"
            )
        self.per_epoch = math.ceil(n / self.size)
        self._epoch, self._permutation = -1, torch.arange(n)

    def rows(self, step: int) -> Tensor:
        """Returns the rows (b,) of a step, counted from 0."""
        if self.size == self.n:
            return torch.arange(self.n)
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive_seed("order", self._seed, epoch))
            self._epoch = epoch
            self._permutation = torch.randperm(self.n, generator=generator)
        return self._permutation[place * self.size : (place + 1) * self.size]
