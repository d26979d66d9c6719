"""Pictures of which a network learns the noise that is added to them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from consilience.networks import NOISE, Task
from consilience.networks.noise import STEPS, TIMES, add_noise, noise_of
from consilience.train.labelled import Score


class Noisy:
    """Pictures to which noise is added.

    In training, noise and times are drawn anew for each step. Scores are at fixed times, with noise
    that depends on the id of a sample alone.

    Args:
        ids: of the n samples.
        pictures: (n, channels, h, w) bytes.
        mean: of values in [0, 1], which is taken off.
        deviation: what they are divided by.
        device: where batches are to lie.
    """

    CHUNK = 512
    """Pictures that are scored at a time."""
    chance = 1.0
    """The mean square of standard normal noise."""
    blind, least = "seeing no noise at all", 1

    def __init__(
        self, ids: Sequence[str], pictures: Tensor, mean: float, deviation: float, device: str
    ) -> None:
        self._ids, self.pictures = list(ids), pictures.to(device)
        self._mean, self._deviation, self._device = mean, deviation, device
        self.n = len(pictures)
        self.task = Task("image", tuple(pictures.shape[1:]), 0, objective=NOISE)

    def take(self, rows: Tensor) -> Tensor:
        """Returns the pictures of rows as numbers."""
        return (self.pictures[rows].float() / 255 - self._mean) / self._deviation

    def vary(self, inputs: Tensor) -> Tensor:
        """Returns a batch of pictures as one epoch sees it: augmented, if at all."""
        return inputs

    def loss(
        self, network: nn.Module, rows: Tensor, smoothing: float = 0.0, epoch: int = 0
    ) -> Tensor:
        """Returns the mean squared error of the noise that a network sees in a batch."""
        del smoothing  # of classes
        pictures = self.vary(self.take(rows))
        times = torch.randint(0, STEPS, (len(rows),)).to(self._device)
        noise = torch.randn(pictures.shape).to(self._device)
        found = network(add_noise(pictures, noise, times), times)
        return nn.functional.mse_loss(found.float(), noise)

    @torch.no_grad()
    def score(self, network: nn.Module) -> Score:
        """Returns the mean squared error over all pictures, at each of `TIMES`."""
        total = 0.0
        for start in range(0, self.n, self.CHUNK):
            rows = torch.arange(start, min(start + self.CHUNK, self.n))
            pictures = self.take(rows)
            made = [noise_of(self._ids[row], self.task.shape)[0] for row in rows.tolist()]
            noise = torch.stack(made).to(self._device)
            for time in TIMES:
                times = torch.full((len(rows),), time, device=self._device)
                found = network(add_noise(pictures, noise, times), times)
                total += float(((found - noise).double() ** 2).mean((1, 2, 3)).sum())
        return Score(total / (self.n * len(TIMES)), None, self.n)
