"""Pictures changed by at most eps per pixel so that a network loses their class.

Momentum iterative FGSM (Dong et al. 2018) and, without momentum, PGD (Madry et al. 2018) from the
picture itself. Pixels are numbers in [0, 1], before they are centred and scaled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from consilience.networks.noise import noise_of


@dataclass(frozen=True)
class Attack:
    """How pictures are changed."""

    eps: float
    """The most that a pixel changes, of [0, 1]."""
    steps: int = 10
    momentum: float = 1.0
    """Share of the direction before that a step keeps, μ; 0 is PGD."""

    @property
    def stride(self) -> float:
        """What a pixel changes by in a step: eps / T, and twice that without momentum."""
        return (1 if self.momentum else 2) * self.eps / self.steps


def mislead(
    network: Callable[[Tensor], Tensor], pixels: Tensor, labels: Tensor, attack: Attack
) -> tuple[Tensor, Tensor]:
    """Returns (n, …) pictures that a network is led away from its labels by, and which are flat.

    From g = 0 and x = x₀ each of T steps takes the gradient d of the cross-entropy at x:
    g ← μ g + d / ‖d‖₁, x ← x + s · sign(g), s the stride, and then puts x back to where no pixel
    is further than eps from x₀ or outside [0, 1]. In place of the cross-entropy −ln p, whose
    gradient vanishes in float32 where a network is sure, stand the log-odds ln((1 − p) / p): its
    gradient is the same but for a positive factor, which ‖d‖₁ takes out. Where the gradient of the
    first step is zero, the picture is flat: what is made of it says nothing of the network.

    Args:
        network: scores (n, classes) of pictures, one by one; no batch statistics.
        pixels: (n, channels, h, w) in [0, 1].
        labels: (n,) the classes to be lost, as the network numbers them.
        attack: how.

    Returns:
        the pictures, and (n,) whether they are flat.

    Cost: T passes forward and back.
    """
    low, high = (pixels - attack.eps).clamp(min=0), (pixels + attack.eps).clamp(max=1)
    found, direction = pixels.clone(), torch.zeros_like(pixels)
    flat = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
    for step in range(attack.steps):
        at = found.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(odds_against(network(at), labels).sum(), at)
        length = gradient.abs().flatten(1).sum(1).view(-1, *[1] * (gradient.ndim - 1))
        if step == 0:
            flat = length.flatten() == 0
        direction = attack.momentum * direction + gradient / length.where(length > 0, 1.0)
        found = (found + attack.stride * direction.sign()).clamp(low, high)
    return found, flat


def odds_against(scores: Tensor, labels: Tensor) -> Tensor:
    """Returns (n,) the log-odds against the labels (n,), ln Σ_{j ≠ y} exp(s_j) − s_y, of scores."""
    own = nn.functional.one_hot(labels, scores.shape[1]).bool()
    return scores.masked_fill(own, -torch.inf).logsumexp(1) - scores[own]


def signs_of(ids: Sequence[str], pixels: Tensor, eps: float) -> Tensor:
    """Returns pictures (n, …) with eps added to or taken from each pixel, by chance, in [0, 1].

    Which of both depends on the id of a sample alone: the control of an attack that knows no
    network.
    """
    shape = tuple(pixels.shape[1:])
    signs = torch.stack([noise_of(id_, shape)[0].sign() for id_ in ids]).to(pixels)
    return (pixels + eps * signs).clamp(0, 1)
