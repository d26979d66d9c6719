"""The spectral norm by block Lanczos: its bound holds, and it falls back where it must."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from consilience.metrics import _norms, get_metric

N = 600


def with_spectrum(values, start=None):
    """A symmetric matrix of these eigenvalues, the first eigenvector being `start` if given."""
    rng = np.random.default_rng(1)
    given = rng.standard_normal((N, N))
    if start is not None:
        given[:, 0] = start
    q, _ = np.linalg.qr(given)
    full = np.zeros(N)
    full[: len(values)] = values
    matrix = (q * full) @ q.T
    return (matrix + matrix.T) / 2


SPECTRA = {
    "one stands out": [100, *np.linspace(1, 2, N - 1)],
    "negative": [-100, 99.99, *np.linspace(-2, 2, N - 2)],
    "tied": [5, -5, 5, 5, *np.full(N - 4, 0.1)],
    "decays": 0.9 ** np.arange(N),
    "rank 2": [3, -2],
    "rank 1, tiny": [1e-200],
}


@pytest.mark.parametrize("name", SPECTRA)
def test_it_is_the_largest_eigenvalue(name):
    matrix = with_spectrum(SPECTRA[name])
    found = _norms._by_lanczos(matrix)
    expected = np.abs(SPECTRA[name]).max()
    if name == "rank 1, tiny":
        assert found is None  # squares vanish, so no bound can be had
    else:
        assert found == pytest.approx(expected, rel=2e-10)
    assert _norms.spectral_norm(matrix) == pytest.approx(expected, rel=2e-10)


@pytest.mark.parametrize("values", [np.linspace(-1, 1, N), np.ones(N)])
def test_flat_spectra_fall_back(values):
    matrix = with_spectrum(values)
    assert _norms._by_lanczos(matrix) is None
    assert _norms.spectral_norm(matrix) == pytest.approx(1, rel=1e-12)


def test_an_eigenvector_that_the_start_cannot_see_is_not_missed():
    """The largest eigenvalue lies outside of every product of the start: only the bound tells."""
    start = np.random.default_rng(0).standard_normal((N, _norms.BLOCK))
    start[:, 0] = 1
    q, _ = np.linalg.qr(np.hstack([start, np.random.default_rng(2).standard_normal((N, 40))]))
    hidden, seen = q[:, -1], q[:, :32]
    matrix = 3 * np.outer(hidden, hidden) + (seen * np.linspace(1, 2, 32)) @ seen.T
    assert _norms._by_lanczos(matrix) is None
    assert _norms.spectral_norm(matrix) == pytest.approx(3, rel=1e-12)


def test_the_bound_is_never_below_the_norm():
    rng = np.random.default_rng(3)
    for spread in (0.5, 1, 3):
        matrix = with_spectrum(np.exp(-spread * rng.exponential(size=N)) * rng.choice([-1, 1], N))
        basis, _ = np.linalg.qr(rng.standard_normal((N, 20)))
        basis, _ = np.linalg.qr(matrix @ basis)
        values, turn = np.linalg.eigh(basis.T @ matrix @ basis)
        order = np.argsort(-np.abs(values))
        values, ritz = values[order], basis @ turn[:, order]
        bound = _norms._upper_bound(np.vdot(matrix, matrix), values, matrix @ ritz - ritz * values)
        assert bound >= np.abs(np.linalg.eigvalsh(matrix)).max()


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_metric_takes_it(distance):
    rng = np.random.default_rng(4)
    base = rng.standard_normal((10, 8))[rng.integers(0, 10, N)] + 0.3 * rng.standard_normal((N, 8))
    x, y = (np.tanh(base @ rng.standard_normal((8, d))) for d in (20, 30))
    difference = squareform(pdist(x, distance) - pdist(y, distance))
    metric = get_metric("rsm_norm_difference", norm="spectral", distance=distance)
    assert _norms._by_lanczos(difference) is not None
    assert metric(x, y) == pytest.approx(np.linalg.norm(difference, ord=2), rel=2e-10)
    assert metric(x, y) == metric(y, x)
