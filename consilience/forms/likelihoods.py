"""How far two models' log probabilities are apart: the terms of the log-likelihood variance.

L[i, y] = ln p(y | xᵢ) of one model and L' of the other, over the same n samples and K classes. Two
models of the form softmax(f(x)·g(y)) with M units say the same if and only if their features are
linear maps of one another, up to a shift of g, so the terms compare L and L' in that form: relative
to a pivot and in units of their own spread (Nielsen et al. 2025).
"""

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.forms.rows import unit_rounding

TIED = 1e-6
"""Pivots whose values lie this close to the smallest, relative to it, are tied with it."""
CANCELLED = 1e-6
"""Variances of differences below this share of their parts are taken from the differences."""
BLOCK = 2**22
"""Entries that are made at once."""

Kind = Literal["max", "mean"]
Draw = Literal["seeded", "legacy"]


class Likelihoods(NamedTuple):
    """What one model says of the samples."""

    log_p: np.ndarray
    """(n, K) log probabilities."""
    spreads: np.ndarray
    """(K, K) standard deviations over the samples of L[:, k] - L[:, a]; 0 if it is constant."""
    variances: np.ndarray
    """(K,) of the columns of `log_p`."""

    def permuted(self, order: np.ndarray) -> "Likelihoods":
        """Returns the same of the permuted samples."""
        return self._replace(log_p=self.log_p[order])


class LabelTerms(NamedTuple):
    """The terms over labels, for one pivot and one label left out."""

    pivot: int
    left_out: int
    t1: np.ndarray
    """(2 (K - 2),) how far the scaled columns are apart: of the rest, then of the pivot."""
    t3: np.ndarray
    """(K - 2,) differences of the spreads."""
    ties: tuple[tuple[int, int], ...]
    """All (pivot, left out) of equal value, in order; the first is the one taken."""


class InputTerms(NamedTuple):
    """The terms over one set of samples, a pivot and M others."""

    inputs: np.ndarray
    """(M + 1,) rows, the pivot first."""
    t2: np.ndarray
    """(2 M,) how far the scaled rows are apart: of the others, then of the pivot."""
    t4: np.ndarray
    """(M,) differences of the spreads."""


def log_probabilities(x: np.ndarray) -> np.ndarray:
    """Returns ln softmax of logits x: (n, K)."""
    with np.errstate(over="ignore"):  # beyond the range of float64 apart: probability 0
        z = x - x.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def doubly_centred(x: np.ndarray) -> np.ndarray:
    """Returns logits x: (n, K) without the means of samples and of classes.

    What is left has the rank of the features before the head, whatever the head's bias.
    """
    x = x - x.mean(axis=1, keepdims=True)
    return x - x.mean(axis=0)


def singular_values(x: np.ndarray) -> np.ndarray:
    """Returns the singular values of the doubly centred logits x: (n, K), largest first."""
    return np.linalg.svd(doubly_centred(x), compute_uv=False)


def numerical_rank(x: np.ndarray) -> int:
    """Returns the rank of the doubly centred logits x: (n, K), up to their rounding."""
    s = singular_values(x)
    return int(np.count_nonzero(s > 4 * unit_rounding(x) * s[0]))


def likelihoods(x: np.ndarray) -> Likelihoods:
    """Returns the form of logits x: (n, K), n ≥ 2; costs n K² and keeps 8 (n + K) K bytes.

    Raises:
        MetricError: squares of the logits overflow.
    """
    values = log_probabilities(x)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = values - values.mean(axis=0)
        variances = np.einsum("ij,ij->j", moved, moved) / (len(x) - 1)
        spreads = _spreads(x)
    if not (np.isfinite(variances).all() and np.isfinite(spreads).all()):
        raise MetricError("the logits are so large that their squares overflow; rescale them")
    return Likelihoods(values, spreads, variances)


def _spreads(x: np.ndarray) -> np.ndarray:
    n, largest = len(x), np.abs(x).max(axis=0)
    moved = doubly_centred(x)  # the same differences, with less to cancel
    products = moved.T @ moved
    parts = np.add.outer(np.diagonal(products), np.diagonal(products))
    squares = (parts - products - products.T) / (n - 1)
    one, other = np.nonzero(np.triu(squares <= CANCELLED * parts / (n - 1), k=1))
    step = max(1, BLOCK // n)
    for first in range(0, len(one), step):
        i, k = one[first : first + step], other[first : first + step]
        squares[i, k] = squares[k, i] = (x[:, i] - x[:, k]).var(axis=0, ddof=1)
    np.fill_diagonal(squares, 0)
    spreads = np.sqrt(squares)
    spreads[spreads <= unit_rounding(x) * np.maximum.outer(largest, largest)] = 0
    return spreads


def label_terms(a: Likelihoods, b: Likelihoods, kind: Kind = "max") -> LabelTerms:
    """Returns the terms over labels for the pivot and the label left out that make them smallest.

    For a pivot p and a label k, t(p, k) holds std(L[k]/s - L'[k]/s') and std(L[p]/s - L'[p]/s')
    with s = std(L[k] - L[p]). The value of a pivot and a label left out is the largest (`mean`:
    the mean) of all t(p, k) with k neither of them; t is symmetric, so that two choices at least
    tend to tie. Of those within `TIED` of the smallest the first is taken.

    Cost: n K + K² for n samples and K classes.

    Raises:
        MetricError: whatever is left out, the log-odds of some class are constant.
    """
    moved = [side.log_p - side.log_p.mean(axis=0) for side in (a, b)]
    apart = _choices(_parts(a, b, moved), kind)
    least = apart.min()
    if not np.isfinite(least):
        raise MetricError(
            "the log-odds of classes are constant over the samples, up to rounding, whichever "
            "class is left out: they have no scale to be compared in"
        )
    tied = np.argwhere(apart <= least * (1 + TIED))
    ties = tuple((int(pivot), int(left_out)) for pivot, left_out in tied)
    pivot, left_out = ties[0]
    rest = np.setdiff1d(np.arange(len(apart)), ties[0])
    s, t = a.spreads[pivot, rest], b.spreads[pivot, rest]
    scaled = [moved[0][:, columns] / s - moved[1][:, columns] / t for columns in (rest, [pivot])]
    t1 = np.concatenate([part.std(axis=0, ddof=1) for part in scaled])
    return LabelTerms(pivot, left_out, t1, np.abs(s - t), ties)


def _parts(a: Likelihoods, b: Likelihoods, moved: list[np.ndarray]) -> np.ndarray:
    """Returns (K, K) std(L[k]/s - L'[k]/s') for pivots p in rows; infinite without a scale."""
    covariances = np.einsum("ij,ij->j", *moved) / (len(moved[0]) - 1)
    known = (a.spreads > 0) & (b.spreads > 0)
    s, t = (np.divide(1, x.spreads, out=np.zeros_like(x.spreads), where=known) for x in (a, b))
    squares = a.variances * (s * s) + b.variances * (t * t) - 2 * (covariances * (s * t))
    return np.where(known, np.sqrt(np.maximum(squares, 0)), np.inf)


def _choices(parts: np.ndarray, kind: Kind) -> np.ndarray:
    """Returns (K, K) the value of every pivot (row) and label left out (column)."""
    count = len(parts)
    if kind == "max":
        t = np.maximum(parts, parts.T)
        np.fill_diagonal(t, -np.inf)
        worst = t.argmax(axis=1)
        second, first = np.partition(t, count - 2, axis=1)[:, -2:].T
        value = np.repeat(first[:, None], count, axis=1)
        value[np.arange(count), worst] = second
    else:
        t = (parts + parts.T) / 2
        np.fill_diagonal(t, 0)
        infinite = np.isinf(t)
        finite = np.where(infinite, 0, t)
        value = (finite.sum(axis=1, keepdims=True) - finite) / (count - 2)
        value[infinite.sum(axis=1, keepdims=True) > infinite] = np.inf
    np.fill_diagonal(value, np.inf)
    return value


def input_terms(a: Likelihoods, b: Likelihoods, sets: np.ndarray) -> InputTerms:
    """Returns the terms over the set of samples whose largest term is smallest.

    For a set (x₀; x₁ … x_M) and u = std over the labels of L[xⱼ] - L[x₀], the terms are
    std(L[xⱼ]/u - L'[xⱼ]/u') and std(L[x₀]/u - L'[x₀]/u'). If no set has all of them below 1, the
    first set is taken.

    Args:
        a: one model.
        b: the other.
        sets: (S, M + 1) rows, the pivots first.

    Raises:
        MetricError: in every set two samples have the same log-odds.
    """
    x, y = a.log_p[sets], b.log_p[sets]
    u, v = (_spread_over_labels(side) for side in (x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        t2 = np.concatenate(
            [
                (x[:, part] / u[..., None] - y[:, part] / v[..., None]).std(axis=2, ddof=1)
                for part in (slice(1, None), slice(0, 1))
            ],
            axis=1,
        )
    worst = np.where(np.isfinite(t2).all(axis=1), t2.max(axis=1), np.inf)
    place = int(worst.argmin()) if worst.min() < 1 else int(np.isfinite(worst).argmax())
    if not np.isfinite(worst[place]):
        raise MetricError(
            "in every set of samples two have the same log-odds of all classes, up to rounding: "
            "they have no scale to be compared in"
        )
    return InputTerms(sets[place], t2[place], np.abs(u - v)[place])


def _spread_over_labels(x: np.ndarray) -> np.ndarray:
    """Returns (S, M) std over the labels of x[:, j] - x[:, 0] for x: (S, M + 1, K); 0 is NaN."""
    found = (x[:, 1:] - x[:, :1]).std(axis=2, ddof=1)
    least = 64 * np.finfo(float).eps * np.abs(x).max(axis=(1, 2))
    found[found <= least[:, None]] = np.nan
    return found


def set_count(n: int, m: int, sets: int) -> int:
    """Returns how many disjoint sets of m + 1 of n samples there can be, at most `sets`.

    Raises:
        MetricError: not even one.
    """
    if n <= m:
        raise MetricError(
            f"sets of a pivot and {m} more inputs, one for each dimension of the features, need "
            f"at least {m + 1} samples, not {n}"
        )
    return min(sets, n // (m + 1))


@lru_cache(maxsize=16)
def draw_sets(n: int, m: int, sets: int, seed: int, draw: Draw = "seeded") -> np.ndarray:
    """Returns (S, m + 1) rows of disjoint random sets of n samples; they depend on nothing else.

    Args:
        n: number of samples.
        m: number of samples beside the pivot.
        sets: how many; fewer if n is too small.
        seed: of the draw.
        draw: `seeded`, or `legacy` for NumPy's legacy generator, as published.
    """
    size = set_count(n, m, sets) * (m + 1)
    if draw == "legacy":
        rows = np.random.RandomState(seed).choice(n, size, replace=False)
    else:
        rows = np.random.default_rng([seed, n, m]).choice(n, size, replace=False)
    found = rows.reshape(-1, m + 1)
    found.flags.writeable = False
    return found


def kl_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Returns the mean over samples of Σ p (ln p - ln q) for log probabilities p, q: (n, K).

    Summed as p (δ - 1 + exp(-δ)) with δ = ln p - ln q, which is the same as probabilities sum to
    1, and whose terms are never negative: small divergences are not lost to rounding.
    """
    of_p, of_q = np.exp(p), np.exp(q)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = p - q
        terms = np.where(apart < -1, of_p * apart - of_p + of_q, of_p * (apart + np.expm1(-apart)))
    near = np.abs(apart) < 0.02
    terms[near] = of_p[near] * apart[near] ** 2 * np.polyval(_SERIES, -apart[near])
    gone = of_p == 0
    terms[gone] = of_q[gone]
    return float(terms.sum() / len(p))


def least_cca(distance: float, size: int, m: int, *spectra: np.ndarray) -> float:
    """Returns what m_CCA of the features behind two models' logits is at least.

    1 - n K δ² / (M σ²) with δ the `logit_distance` and σ the larger of both sides' M-th singular
    values; it holds for linear heads, with biases or not. Zero where that is negative, as
    canonical correlations never are.

    Args:
        distance: δ.
        size: n K, how many logits each side has.
        m: dimension M of the features of both.
        *spectra: `singular_values` of the logits of each side.
    """
    sigma = max(float(s[m - 1]) if m <= len(s) else 0.0 for s in spectra)
    if sigma == 0:
        return 0.0
    return max(0.0, 1 - size * (distance / sigma) ** 2 / m)


_SERIES = [1 / math.factorial(k) for k in range(9, 1, -1)]
"""Of (exp(t) - 1 - t) / t², the highest power first."""
