"""Orthonormal bases of what units span, in a third of the time of singular vectors."""

from collections.abc import Callable

import numpy as np

from consilience.forms.kernels import least_strength, ranked_svd

SAFE = 1e-10
"""Ratio of the extreme eigenvalues of a Gram matrix from which on its factor is used."""
ONCE = 1e-4
"""Such a ratio from which on one factor does: it leaves units orthonormal to 10⁻¹²."""
LEADING = 1e-6
"""Share of the largest eigenvalue that directions have at least which are taken from it."""


def column_basis(x: np.ndarray, purpose: str, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns Q: (n, r), orthonormal, and R: (r, d) so that QR is x, at its numerical rank r.

    Where all units are independent by a wide margin, R is triangular: a Cholesky factor of the
    Gram matrix, taken twice where once would not make Q orthonormal to 10⁻¹² (Yamamoto et al.
    2015). Else Q holds the left singular vectors.

    Args:
        x: (n, d) features, scaled by a power of two, and centred or not.
        purpose: see `ranked_svd`.
        given: (n, d) the features as they were given.

    Raises:
        MetricError: no rank is left.
    """
    found = basis_by_gram(x, given) if len(x) > 2 * x.shape[1] else None
    if found is not None:
        return found
    u, s, vt = ranked_svd(x, purpose, given)
    return u, s[:, None] * vt


def leading_directions(
    x: np.ndarray, purpose: str, given: np.ndarray, count: Callable[[np.ndarray], int]
) -> np.ndarray:
    """Returns the leading left singular vectors (n, k) of x: (n, d).

    They are taken from the smaller Gram matrix where all of them are strong beside its rounding,
    which leaves their span to 10⁻¹⁰; else from the singular value decomposition.

    Args:
        x: (n, d) features, scaled by a power of two, and centred or not.
        purpose: see `ranked_svd`.
        given: (n, d) the features as they were given.
        count: takes the squares of singular values, falling, and returns k.

    Raises:
        MetricError: no rank is left.
    """
    wide = x.shape[1] >= len(x)
    squares, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    squares, vectors = np.maximum(squares[::-1], 0), vectors[:, ::-1]
    least = least_strength(x.shape, np.sqrt(squares[0]), given)
    rank = int(np.count_nonzero(squares > max((2 * least) ** 2, LEADING * squares[0])))
    if rank:
        k = count(squares)
        if k <= rank:
            vectors = vectors[:, :k]
            return np.ascontiguousarray(vectors if wide else x @ (vectors / np.sqrt(squares[:k])))
    u, s, _ = ranked_svd(x, purpose, given)
    return np.ascontiguousarray(u[:, : count(s * s)])


def basis_by_gram(x: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns Q and R, or None where the rank may be less than the number of units."""
    gram = x.T @ x
    squares = np.linalg.eigvalsh(gram)
    least = least_strength(x.shape, np.sqrt(squares[-1]), given)
    if not squares[0] > max(SAFE * squares[-1], (2 * least) ** 2):
        return None
    q, first = _by_factor(x, gram)
    if squares[0] > ONCE * squares[-1]:
        return np.ascontiguousarray(q), first
    q, second = _by_factor(q, q.T @ q)
    return np.ascontiguousarray(q), second @ first


def _by_factor(x: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns x R⁻¹ and R for the Cholesky factor R of the Gram matrix."""
    from scipy.linalg import solve_triangular  # noqa: PLC0415 - slow to import

    lower = np.linalg.cholesky(gram)
    return solve_triangular(lower, x.T, lower=True, check_finite=False).T, lower.T
