"""Nuclear norms and polar factors of many matrices at once, by matrix products, with proven bounds.

The polar factor W of C: (d, d'), d ≤ d', is what `C = PW` has beside the positive P: the rotation
that `procrustes` looks for, and tr(WᵀC) is the nuclear norm. It is found by the scaled iteration of
Newton and Schulz, which is products alone and so runs at a device's full rate. What it found is not
believed but proven, pair by pair, in float64:

- W' = (3W - WWᵀW)/2 has singular values of at most 1 if those of W are at most 2, which
  ‖(WWᵀ)⁴‖ shows; then tr(CᵀW') is at most the nuclear norm.
- For every invertible L, ‖C‖⁎ = ‖LL⁻¹C‖⁎ ≤ ‖L‖ ‖L⁻¹C‖ (Frobenius norms). With the Cholesky factor
  of the symmetric part of CW'ᵀ both sides agree but for the square of what W' lacks. What rounding
  does to Z = L⁻¹C is in the bound too, as √d ‖LZ - C‖.

Source: Higham, Functions of Matrices (2008), chapter 8; Chen and Chow (2014) for the scaling.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

STEEPEST = 1.69770248526
"""Scale of a step at most: with more, large singular values would become small ones again."""
FULL_DOUBLE = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}
"""Compute capabilities whose float64 products take at most about twice as long as of float32."""
ROUGH, FINE = 1e-5, 1e-11
"""Singular values, as shares of the largest, that the iteration turns to 1."""
ENOUGH = 1e-8
"""Half the gap of the bounds, as a share of the norm, at which no finer iteration is tried."""
SHIFT = 2e-9
"""Added to the symmetric part, as a share of its mean eigenvalue, so that it has a factor."""
EPS = torch.finfo(torch.float64).eps


class Norms(NamedTuple):
    """Nuclear norms of B matrices."""

    value: Tensor
    """(B,) float64."""
    loss: Tensor
    """(B,) how far off the value may be; infinite where nothing was proven."""


class Rotations(NamedTuple):
    """Polar factors of B matrices."""

    factor: Tensor
    """(B, d, d') float64."""
    loss: Tensor
    """(B,) Frobenius norm of what the factor may be off; infinite where nothing was proven."""


def ways(device: torch.device) -> list[tuple[torch.dtype, float]]:
    """Returns the iterations to try, one after the other: number format, smallest share."""
    exact = [(torch.float64, ROUGH), (torch.float64, FINE)]
    if device.type == "cuda" and torch.cuda.get_device_capability(device) not in FULL_DOUBLE:
        return [(torch.float32, ROUGH), *exact]
    return exact


def nuclear_norms(cross: Tensor, how: Sequence[tuple[torch.dtype, float]] | None = None) -> Norms:
    """Returns the nuclear norms of cross: (B, d, d') in float64, with their bounds.

    Args:
        cross: the matrices; of the shorter and the longer side either may be first.
        how: see `ways`, whose default it is.

    Cost: some 17 steps of 4 d² d' multiply-adds for each, d ≤ d'; memory about
    `work_bytes(d, d')` for each.
    """
    cross = _wide(cross)
    value = cross.new_zeros(len(cross))
    loss = torch.full_like(value, torch.inf)
    for dtype, least in how or ways(cross.device):
        open_ = torch.nonzero(~(loss <= ENOUGH * value)).flatten()
        if not len(open_):
            break
        found = _norms(cross[open_], _iterated(cross[open_], dtype, least))
        better = found.loss < loss[open_]
        value[open_] = torch.where(better, found.value, value[open_])
        loss[open_] = torch.where(better, found.loss, loss[open_])
    return Norms(value, loss)


def rotations(cross: Tensor) -> Rotations:
    """Returns the polar factors of cross: (B, d, d') in float64, d ≤ d', with their bounds.

    With R = C - PW' and N = I - W'W'ᵀ the factor is off by at most ‖N‖ + 3 ‖P⁻¹‖ (‖R‖ + ‖P‖ ‖N‖)
    (Li 1995), P the symmetric part of CW'ᵀ; matrices that are singular up to rounding have no one
    factor, and an infinite bound.
    """
    turned = cross.shape[1] > cross.shape[2]
    cross = _wide(cross)
    start = _iterated(cross, torch.float64, FINE)
    for _ in range(2):
        start = 1.5 * start - 0.5 * (start @ start.mT) @ start
    _, half = _half(cross, start)
    lower, sound = _factors(half)
    eye = torch.eye(cross.shape[1], dtype=cross.dtype, device=cross.device)
    inverse = _solved(lower, eye.expand_as(half))
    inverse = inverse.mT @ inverse
    kernel = lower @ lower.mT
    off = _size(eye - start @ start.mT)
    rest = _size(cross - kernel @ start)
    loss = off + 3 * _size(inverse) * (rest + _size(kernel) * off)
    loss = torch.where(sound & (off < 0.5) & loss.isfinite(), loss, torch.inf)
    return Rotations(start.mT if turned else start, loss)


def work_bytes(d: int, other: int) -> int:
    """Returns the memory that one matrix (d, d') takes on the way, about."""
    low, high = sorted((d, other))
    return 8 * (6 * low * high + 7 * low * low)


def _wide(cross: Tensor) -> Tensor:
    return cross if cross.shape[1] <= cross.shape[2] else cross.mT.contiguous()


def _size(x: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(x)


def _iterated(cross: Tensor, dtype: torch.dtype, least: float) -> Tensor:
    """Returns about the polar factors of cross: (B, d, d') in float64.

    A step maps a singular value s to (3ρs - ρ³s³)/2, with ρ such that both ends of the interval
    that holds those of interest come out alike.
    """
    strength = _size(cross @ cross.mT).sqrt()  # no singular value is larger
    scale = torch.where(strength > 0, strength, 1.0)[:, None, None]
    x = (cross / scale).to(dtype)
    low = least
    while low < 1 - 1e-7:
        rho = min(STEEPEST, (3 / (1 + low + low * low)) ** 0.5)
        x = torch.baddbmm(x, x @ x.mT, x, beta=1.5 * rho, alpha=-0.5 * rho**3)
        low = min(0.5 * rho * low * (3 - (rho * low) ** 2), 1.5 * rho - 0.5 * rho**3)
    return x.double()


def _half(cross: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Returns tr(CᵀW'), minus infinity if W is too large, and the symmetric part of CW'ᵀ."""
    gram = w @ w.mT
    fourth = gram.float()
    for _ in range(2):
        fourth = fourth @ fourth
    small = _size(fourth) <= 0.99 * 4.0**4
    inner = cross @ w.mT
    inner = torch.baddbmm(inner, inner, gram, beta=1.5, alpha=-0.5)
    trace = inner.diagonal(dim1=1, dim2=2).sum(1)
    return torch.where(small, trace, -torch.inf), (inner + inner.mT) / 2


def _norms(cross: Tensor, w: Tensor) -> Norms:
    """Returns the middle of both bounds of the nuclear norm, and half of their gap."""
    d = cross.shape[1]
    low, half = _half(cross, w)
    mean = half.diagonal(dim1=1, dim2=2).mean(1)
    half.diagonal(dim1=1, dim2=2).add_((SHIFT * mean)[:, None])
    lower, sound = _factors(half)
    solved = _solved(lower, cross)
    high = _size(lower) * _size(solved) + d**0.5 * _size(
        torch.baddbmm(cross, lower, solved, beta=-1)
    )
    rounding = 4 * EPS * d * high
    value, loss = (high + low) / 2, (high - low).clamp(min=0) / 2 + rounding
    nothing = _size(cross) == 0
    sound = sound & value.isfinite() & loss.isfinite()
    zero = torch.zeros_like(value)
    value = torch.where(sound, value, zero)
    loss = torch.where(sound, loss, torch.where(nothing, zero, torch.inf))
    return Norms(value, loss)


def _factors(half: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the Cholesky factors, and which of them there are.

    One by one: batched factorisations are made for small matrices, and slow for others.
    """
    found = [torch.linalg.cholesky_ex(one) for one in half]
    return torch.stack([one.L for one in found]), torch.stack([one.info for one in found]) == 0


def _solved(lower: Tensor, right: Tensor) -> Tensor:
    """Returns L⁻¹B of each."""
    pairs = zip(lower, right, strict=True)
    return torch.stack([torch.linalg.solve_triangular(a, b, upper=False) for a, b in pairs])
