"""Whether a few samples of each side decide an inner product over pairs of samples.

If one row of a matrix a and one of b hold most of them, Σ aᵢⱼ b_π(i)π(j) is far from its mean where
the one row meets the other, in 1 of n permutations, and near it elsewhere. No curve through three
moments has such a tail: what it says of a value that has met may be 1e-45 where the chance is 1/n.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from consilience.forms.moments import Moments

REFERENCE = 300.0
"""The tail of the closed form is looked at where it says 1 / (REFERENCE n)."""
BEYOND = 0.01
"""If a larger share of the values lies there once two samples have met, it is three times too small
at least, and worse the farther out; see benchmarks/null_tails.md."""
STEP = 3.0
"""Deviations by which a meeting alone moves the value out of reach of the others."""
TOGETHER = 3
"""So many samples of each side are looked at together."""
BEYOND_TOGETHER = 0.05
"""`BEYOND` where several samples meet: whether they do so in the best way is one of many ways."""

Peaks = tuple[tuple[float, float, float], ...]
"""Of a few samples (energy, diagonal, row sum), see `peaks_of`."""


def peaks_of(energy: np.ndarray, r: np.ndarray, p: np.ndarray | None = None) -> Peaks:
    """Returns what the samples that hold most of a matrix hold of it.

    The first `TOGETHER` have the largest energies, falling; the others, whose energy is not asked,
    the diagonal entry and the row sum that are farthest from their means.

    Args:
        energy: Σⱼ aᵢⱼ² of each row (n,), off the diagonal; of those that may have the largest.
        r: row sums (n,) of a, whose sum is 0.
        p: the diagonal (n,), if it counts.
    """
    n = len(r)
    p = np.zeros(n) if p is None else p - p.mean()
    spread = np.maximum(energy - r * r / (n - 1), 0)
    first = list(map(int, np.argsort(-spread, kind="stable")[:TOGETHER]))
    others = {int(np.argmax(np.abs(size))) for size in (p, r)} - set(first)
    ends = tuple((0.0, float(p[i]), float(r[i])) for i in sorted(others))
    return tuple((float(spread[i]), float(p[i]), float(r[i])) for i in first) + ends


def chance_of_meeting(a: "Moments", b: "Moments", sd: float, skewness: float) -> float:
    """Returns the chance that those samples meet which decide the value; 0: none do.

    Given that a sample of energy A, diagonal p and row sum r has met one of B, q and s, the value
    is moved by δ = (|p q| + 2 |r s| / n) / sd, and its variance is larger by λ = 4 A B / (n sd²) of
    what it is otherwise. With probability 1/n that happens, and then the value is normal, about. So
    it is where two or three samples of each side have met, with probability 1 / (n (n - 1) …); then
    entries between them meet too. What decides is what carries the value beyond the tail of the
    closed form.

    Args:
        a: sums of one side.
        b: of the other.
        sd: of the value over all permutations.
        skewness: of the same.
    """
    if not a.peaks or not b.peaks or not sd > 0:
        return 0.0
    n, chance = a.n, 1 / a.n
    single = [_meeting(n, x, y, sd) for x in a.peaks for y in b.peaks]
    limit = tail_start(chance / REFERENCE, skewness)
    if any(step > STEP or _passes(limit, step, extra, BEYOND) for step, extra in single):
        return chance
    edges = 2 * a.edge * b.edge / sd
    if edges > STEP:  # one entry of each side, which are the same in 2 of n (n - 1) permutations
        return 2 / (n * (n - 1))
    joint = [_meeting(n, x, y, sd) for x, y in zip(a.peaks, b.peaks, strict=False)][:TOGETHER]
    for count in range(2, 1 + min(len(joint), n)):
        chance /= n - count + 1
        step = sum(step for step, _ in joint[:count]) + edges
        limit = tail_start(chance / REFERENCE, skewness)
        if _passes(limit, step, sum(extra for _, extra in joint[:count]), BEYOND_TOGETHER):
            return chance
    return 0.0


def _meeting(
    n: int, x: tuple[float, float, float], y: tuple[float, float, float], sd: float
) -> tuple[float, float]:
    """Returns δ and λ of two samples that meet."""
    (energy, p, r), (other, q, s) = x, y
    return (abs(p * q) + 2 * abs(r * s) / n) / sd, 4 * energy * other / (n * sd * sd)


def _passes(limit: float, step: float, extra: float, share: float) -> bool:
    """Whether more than a share of the values lies beyond a limit once samples have met."""
    from scipy import special  # noqa: PLC0415 - slow to import, and plans need no p-value

    return limit - step < -float(special.ndtri(share)) * math.sqrt(1 + extra)


def tail_start(p: float, skewness: float) -> float:
    """Returns where the upper tail p of a Pearson type III distribution begins, in deviations."""
    from scipy import special  # noqa: PLC0415 - as above

    if abs(skewness) < 1e-4:
        return -float(special.ndtri(p))
    shape = 4 / skewness**2
    inverse = special.gammainccinv if skewness > 0 else special.gammaincinv
    return float((inverse(shape, p) - shape) / math.sqrt(shape) * math.copysign(1, skewness))
