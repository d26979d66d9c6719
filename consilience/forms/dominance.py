"""Whether one sample of each side decides an inner product over pairs of samples.

If one row of a matrix a and one of b hold most of them, Σ aᵢⱼ b_π(i)π(j) is far from its mean where
the one row meets the other, in 1 of n permutations, and near it elsewhere. No curve through three
moments has such a tail: what it says of a value that has met may be 1e-45 where the chance is 1/n.
"""

import math

import numpy as np

REFERENCE = 300.0
"""The tail of the closed form is looked at where it says 1 / (REFERENCE n)."""
BEYOND = 0.01
"""If a larger share of the values lies there once two samples have met, it is three times too small
at least, and worse the farther out; see benchmarks/null_tails.md."""
STEP = 3.0
"""Deviations by which a meeting alone moves the value out of reach of the others."""

Peaks = tuple[tuple[float, float, float], ...]
"""Of a few samples (energy, diagonal, row sum), see `peaks_of`."""


def peaks_of(energy: np.ndarray, r: np.ndarray, p: np.ndarray | None = None) -> Peaks:
    """Returns what the samples that hold most of a matrix hold of it.

    The first has the largest energy; the others, whose energy is not asked, the diagonal entry and
    the row sum that are farthest from their means.

    Args:
        energy: Σⱼ aᵢⱼ² of each row (n,), off the diagonal; of those that may have the largest.
        r: row sums (n,) of a, whose sum is 0.
        p: the diagonal (n,), if it counts.
    """
    n = len(r)
    p = np.zeros(n) if p is None else p - p.mean()
    spread = np.maximum(energy - r * r / (n - 1), 0)
    first = int(np.argmax(spread))
    others = {int(np.argmax(np.abs(size))) for size in (p, r)} - {first}
    ends = tuple((0.0, float(p[i]), float(r[i])) for i in sorted(others))
    return ((float(spread[first]), float(p[first]), float(r[first])), *ends)


def is_dominated(n: int, a: Peaks, b: Peaks, sd: float, skewness: float) -> bool:
    """Whether two samples that meet carry the value beyond the tail of the closed form.

    Given that a sample of energy A, diagonal p and row sum r has met one of B, q and s, the value
    is moved by δ = (|p q| + 2 |r s| / n) / sd, and its variance is larger by λ = 4 A B / (n sd²) of
    what it is otherwise. With probability 1/n that happens, and then the value is normal, about.

    Args:
        n: number of samples.
        a: `peaks_of` of one side; empty: not known, and the result is False.
        b: of the other.
        sd: of the value over all permutations.
        skewness: of the same.
    """
    if not a or not b or not sd > 0:
        return False
    from scipy import special  # noqa: PLC0415 - slow to import, and plans need no p-value

    limit = tail_start(1 / (REFERENCE * n), skewness)
    wide = -float(special.ndtri(BEYOND))
    for energy, p, r in a:
        for other, q, s in b:
            step = (abs(p * q) + 2 * abs(r * s) / n) / sd
            width = math.sqrt(1 + 4 * energy * other / (n * sd * sd))
            if step > STEP or limit - step < wide * width:
                return True
    return False


def tail_start(p: float, skewness: float) -> float:
    """Returns where the upper tail p of a Pearson type III distribution begins, in deviations."""
    from scipy import special  # noqa: PLC0415 - as above

    if abs(skewness) < 1e-4:
        return -float(special.ndtri(p))
    shape = 4 / skewness**2
    inverse = special.gammainccinv if skewness > 0 else special.gammaincinv
    return float((inverse(shape, p) - shape) / math.sqrt(shape) * math.copysign(1, skewness))
