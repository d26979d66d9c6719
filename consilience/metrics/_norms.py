"""The spectral norm of a symmetric matrix from a few of its products, with a proven bound."""

import numpy as np

DIRECT = 400
"""Up to so many rows, all eigenvalues are found."""
BLOCK = 16
"""Vectors that are multiplied at once, which takes hardly longer than one alone."""
TOLERANCE = 1e-10
"""Share of the norm by which a value taken may lie below the bound that is proven."""


def spectral_norm(matrix: np.ndarray) -> float:
    """Returns the largest absolute eigenvalue of a symmetric matrix: (n, n), float64.

    Block Lanczos with full orthogonalisation (Golub and Underwood 1977). The largest Ritz value θ
    is a lower bound; `_upper_bound` is one from above, whatever the start. Where they do not meet
    within `TOLERANCE` of θ, as with flat spectra, all eigenvalues are found instead. So the value
    is never more than that share too small, and never too large but for rounding.

    Cost: 2n² · 16 per block, about 3 blocks where few eigenvalues stand out; else 4n³/3.
    """
    n = len(matrix)
    found = None if n <= DIRECT else _by_lanczos(matrix)
    return float(np.abs(np.linalg.eigvalsh(matrix)).max()) if found is None else found


def _by_lanczos(matrix: np.ndarray) -> float | None:
    """Returns the spectral norm, or None where it cannot be proven at less than the full cost."""
    n = len(matrix)
    squares = float(np.vdot(matrix, matrix))
    most = n // 6 // BLOCK * BLOCK
    basis, images = np.empty((n, most), order="F"), np.empty((n, most), order="F")
    inner = np.empty((most, most))
    block = np.random.default_rng(0).standard_normal((n, BLOCK))
    block[:, 0] = 1
    before, k = squares, 0
    if not 1e-200 < squares < 1e200:  # sums of squares would lose digits
        return None
    while k + BLOCK <= most:
        block = _orthonormal(block, basis[:, :k])
        old, k = k, k + block.shape[1]
        if k == old:  # the matrix maps the basis into itself
            return None
        basis[:, old:k] = block
        images[:, old:k] = block = matrix @ block
        inner[:k, old:k] = basis[:, :k].T @ block
        inner[old:k, :old] = inner[:old, old:k].T
        values, turn = np.linalg.eigh((inner[:k, :k] + inner[:k, :k].T) / 2)
        order = np.argsort(-np.abs(values))
        values, turn = values[order], turn[:, order]
        left = squares - float(values @ values)
        if left <= values[0] ** 2 * (1 + TOLERANCE):  # or else no bound can do
            residual = images[:, :k] @ turn - (basis[:, :k] @ turn) * values
            if _upper_bound(squares, values, residual) <= abs(values[0]) * (1 + TOLERANCE):
                return float(abs(values[0]))
        blocks = (most - k) // BLOCK
        if k > 3 * BLOCK and left - (before - left) * blocks > values[0] ** 2:
            return None  # what is left does not shrink in time
        before = left
    return None


def _orthonormal(block: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Returns orthonormal columns that span what the block (n, b) adds to the basis (n, k)."""
    sizes = np.linalg.norm(block, axis=0)
    block = block[:, sizes > 0] / sizes[sizes > 0]
    for _ in range(2):  # twice is enough (Parlett 1980)
        block = block - basis @ (basis.T @ block)
        block, kept = np.linalg.qr(block)
        new = np.abs(np.diagonal(kept)) > 1e-10
        block = block[:, new]
    return block


def _upper_bound(squares: float, values: np.ndarray, residual: np.ndarray) -> float:
    """Returns a number that no absolute eigenvalue of the matrix M exceeds.

    In the basis [Q₁ Q₂ Q₃] of the first p Ritz vectors, the other Ritz vectors and the complement,
    M is [[Θ₁, 0, R₁ᵀ], [0, Θ₂, R₂ᵀ], [R₁, R₂, C]], and ‖C‖ is at most its Frobenius norm, which
    is what ‖M‖ has beside the other blocks. A norm of blocks is at most that of the matrix of
    their norms. Every p gives a bound; the least is returned.

    Args:
        squares: squared Frobenius norm of M.
        values: (k,) Ritz values, absolute ones falling.
        residual: (n, k) of the Ritz vectors.
    """
    sizes = np.abs(values)
    gram = residual.T @ residual
    outside = squares - float(values @ values) - 2 * float(np.trace(gram))
    outside = np.sqrt(max(0.0, outside) + squares * 1e-14)  # rounding of the difference
    coupling = float(np.sqrt(max(0.0, np.linalg.eigvalsh(gram)[-1])))
    found = np.sqrt(np.cumsum(np.diagonal(gram)))
    bounds = []
    for p in range(1, len(sizes)):
        rest = _norm_of_blocks(sizes[p], coupling, outside)
        bounds.append(_norm_of_blocks(sizes[0], found[p - 1], rest))
        if found[p - 1] > sizes[0] * 1e-3:
            break
    return float(min(bounds))


def _norm_of_blocks(a: float, b: float, c: float) -> float:
    """Returns the norm of [[a, b], [b, c]] for numbers of at least 0."""
    middle, half = (a + c) / 2, (a - c) / 2
    return float(middle + np.hypot(half, b))
