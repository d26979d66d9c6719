"""Pictures with noise, of which a network learns what the noise is (Ho et al. 2020).

At time t of `STEPS`, counted from 0, a picture x is √a x + √(1 - a) ε, where ε is standard normal
and a is the product of 1 - β over the times up to t; β rises linearly from 1e-4 to 0.02.
"""

import torch
from torch import Tensor

from consilience.files import derive_seed

STEPS = 1000
TIMES = (10, 50, 100, 200, 400, 700)
"""At which networks are scored, and features made unless others are asked for."""
_KEPT = torch.cumprod(1 - torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64), 0).float()


def add_noise(pictures: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Returns pictures (b, channels, h, w) with noise of the same shape, each at its time (b,)."""
    kept = _KEPT.to(pictures.device)[times].view(-1, 1, 1, 1)
    return kept.sqrt() * pictures + (1 - kept).sqrt() * noise


def noise_of(sample: str, shape: tuple[int, ...]) -> tuple[Tensor, int]:
    """Returns the noise and the random time of a sample, which depend on its id alone."""
    generator = torch.Generator().manual_seed(derive_seed("noise", sample))
    noise = torch.randn(shape, generator=generator)
    return noise, int(torch.randint(0, STEPS, (1,), generator=generator))
