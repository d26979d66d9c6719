"""Heat traces of neighbour graphs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from consilience.forms.kernels import near_center
from consilience.metrics import Metric, metric
from consilience.metrics._checks import check_counts, check_least
from consilience.metrics._radius import by_radius

if TYPE_CHECKING:
    from scipy.sparse import csr_array

COLUMNS = 32
"""Of the matrix whose polynomials are taken, at once."""
STEPS = 14
"""Products with the Laplacian: polynomials of twice that degree, and one more."""
BLOCK_ENTRIES = 1_000_000
"""Entries of a temporary array, where work is done in blocks."""


@metric(
    "imd",
    symmetric=True,
    bounds=(0.0, np.inf),
    self_value=0.0,
    larger_is_more_similar=False,
    is_metric=False,
    invariant_to={"permutation", "orthogonal", "isotropic_scaling", "translation"},
    citation="tsitsulin2020",
    paired=False,
)
@dataclass(frozen=True)
class IMD(Metric):
    """Intrinsic multi-scale distance: max over t of exp(-2(t + 1/t)) |h(t) - h'(t)|.

    h(t) = tr exp(-tL) is the heat trace of the normalised Laplacian L of the graph that joins each
    sample to its k nearest ones, in either direction, without weights; t takes 256 values from 0.1
    to 10, evenly spaced in log t (Tsitsulin et al. 2020). By default the traces are divided by n
    and multiplied by 10⁶, as in the authors' code and in the ReSi benchmark, so that values are of
    the order of 10 and do not grow with n; `total` is the paper's formula. Independent features
    of equal distribution score near 0: the value compares the two clouds, not their samples.
    It obeys the triangle inequality, yet different clouds may be 0 apart. Of equally near samples
    the one nearer to the mean is taken, so that the order of the samples plays no part.

    `exact` takes the trace of exp(-tL) from those of Chebyshev polynomials of L, up to a degree
    that leaves less than 10⁻¹⁵ n of it. `lanczos` is the authors' estimate by stochastic Lanczos
    quadrature, with Gaussian probes of unit length and exp(-t)(1 + t - tλ) as control variate; it
    is off by about ±1 (`per_million`, 8,000 probes), is meant for more samples than `exact` can
    take, and differs from their code in being seeded. Both sides get the same probes, in an order
    of the samples that depends on the features only, so equal sides score exactly 0.

    Cost: n²d for the graph, then 50 n²k (`exact`; 3 s for 5,000 samples) or
    8 probes · n · steps · (k + steps) (`lanczos`) per model; nothing per pair. Memory: 2 kB per
    model; while it is prepared, a few kB per sample.

    Args:
        k: neighbours of each sample.
        method: `exact` or `lanczos`.
        scale: `per_million` or `total`.
        probes: random vectors of `lanczos`.
        steps: Lanczos steps per vector.
        seed: of the random vectors.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(IMD()(x, x + np.roll(x, 1, axis=0)), 4)
        85.3959
    """

    k: int = 5
    method: Literal["exact", "lanczos"] = "exact"
    scale: Literal["per_million", "total"] = "per_million"
    probes: int = 8000
    steps: int = 10
    seed: int = 0

    def check(self) -> None:
        """Raises ConfigError if a count is not a whole number."""
        check_counts(self, "k", "probes", "steps")
        check_counts(self, "seed", least=0)

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Returns the scaled heat trace (256,) of the neighbour graph of x: (n, d)."""
        check_least(self, x, self.k + 1)
        laplacian = _laplacian(by_radius(x), self.k)
        times = _times()
        if self.method == "exact":
            trace = _exact_trace(laplacian, times)
        else:
            trace = self._lanczos_trace(laplacian, times)
        return trace if self.scale == "total" else trace * (1e6 / len(x))

    def _lanczos_trace(self, laplacian: "csr_array", times: np.ndarray) -> np.ndarray:
        n, rng = laplacian.shape[0], np.random.default_rng(self.seed)
        step = max(1, BLOCK_ENTRIES // (n * self.steps))
        total, first = np.zeros(len(times)), 0.0
        for start in range(0, self.probes, step):
            probes = rng.standard_normal((min(step, self.probes - start), n)).T
            nodes, weights = _quadrature(laplacian, probes, min(self.steps, n))
            total += np.array([np.sum(weights * np.exp(-t * nodes)) for t in times])
            first += np.sum(weights * nodes)
        # tr L = n exactly, so what the probes make of it corrects their other estimates
        total, first = total * n / self.probes, first * n / self.probes
        return total - np.exp(-times) * times * (n - first)

    def compare(self, a: np.ndarray, b: np.ndarray) -> float:
        """Returns the largest weighted difference of two heat traces."""
        times = _times()
        return float(np.max(np.exp(-2 * (times + 1 / times)) * np.abs(a - b)))

    def permuted(self, a: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Returns a: the order of the samples plays no part."""
        return a

    def prepared_bytes(self, n: int, d: int) -> int:
        """Returns the bytes of a heat trace."""
        return 8 * 256


def _exact_trace(laplacian: "csr_array", times: np.ndarray) -> np.ndarray:
    """Returns tr exp(-tL) for all times, of a Laplacian (n, n) with eigenvalues from 0 to 2.

    With Y = L - 1, exp(-tL) is Σ ± 2 exp(-t) Iₖ(t) Tₖ(Y) with modified Bessel functions, once for
    k = 0, and ⟨Tᵢ, Tⱼ⟩ = (tr Tᵢ₊ⱼ + tr Tᵢ₋ⱼ) / 2, so that products of half the degree do.
    """
    from scipy import sparse, special  # noqa: PLC0415 - slow to import

    n = laplacian.shape[0]
    moved = (laplacian - sparse.eye_array(n)).tocsc()
    twice = (2 * moved).tocsr()
    same, next_ = np.zeros(STEPS + 1), np.zeros(STEPS + 1)  # ⟨Tᵢ, Tᵢ⟩ and ⟨Tᵢ, Tᵢ₊₁⟩
    for start in range(0, n, COLUMNS):
        new = moved[:, start : start + COLUMNS].toarray()
        old = np.zeros_like(new)
        old[np.arange(start, start + new.shape[1]), np.arange(new.shape[1])] = 1
        next_[0] += np.vdot(old, new)
        for i in range(1, STEPS + 1):
            same[i] += np.vdot(new, new)
            old, new = new, twice @ new - old
            next_[i] += np.vdot(old, new)
    traces = np.empty(2 * STEPS + 2)
    traces[:2] = n, next_[0]
    traces[2::2] = 2 * same[1:] - n
    traces[3::2] = 2 * next_[1:] - next_[0]
    degrees = np.arange(len(traces))
    shares = special.ive(degrees, times[:, None]) * (-1.0) ** degrees
    shares[:, 1:] *= 2
    return shares @ traces


def _times() -> np.ndarray:
    return np.logspace(-1, 1, 256)


def _laplacian(x: np.ndarray, k: int) -> "csr_array":
    """Returns the normalised Laplacian (n, n) of the graph of k nearest neighbours of x: (n, d)."""
    from scipy import sparse  # noqa: PLC0415 - slow to import, and plans need no graph

    n = len(x)
    neighbors = _nearest(x, k).ravel()
    rows = np.repeat(np.arange(n), k)
    graph = sparse.coo_array((np.ones(n * k), (rows, neighbors)), shape=(n, n)).tocsr()
    graph = graph.maximum(graph.T)
    roots = sparse.diags_array(1 / np.sqrt(graph.sum(axis=0)))
    return (sparse.eye_array(n) - roots @ graph @ roots).tocsr()


def _nearest(x: np.ndarray, k: int) -> np.ndarray:
    """Returns the k nearest other rows (n, k) of each row of x: (n, d), ties to lower indexes."""
    x, n = near_center(x), len(x)
    half_norms = np.einsum("ij,ij->i", x, x) / 2
    neighbors = np.empty((n, k), dtype=np.int64)
    step = max(1, BLOCK_ENTRIES // n)
    for start in range(0, n, step):
        nearness = x[start : start + step] @ x.T - half_norms
        rows = np.arange(len(nearness))
        nearness[rows, rows + start] = -np.inf
        threshold = np.partition(nearness, -k, axis=1)[:, -k, None]
        above, ties = nearness > threshold, nearness == threshold
        wanted = k - above.sum(axis=1, keepdims=True)
        chosen = above | (ties & (np.cumsum(ties, axis=1) <= wanted))
        neighbors[start : start + step] = np.nonzero(chosen)[1].reshape(-1, k)
    return neighbors


def _quadrature(
    matrix: "csr_array",
    probes: np.ndarray,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights (p, steps) such that Σ weight f(node) estimates v' f(matrix) v.

    One row per probe v, a column of (n, p), brought to unit length first. A probe that has
    exhausted its Krylov space goes on with zeros, which leaves its quadrature as it is.
    """
    n, count = probes.shape
    basis = np.zeros((steps, n, count))
    tridiagonal = np.zeros((count, steps, steps))
    basis[0] = probes / np.linalg.norm(probes, axis=0)
    for i in range(steps):
        moved = matrix @ basis[i]
        tridiagonal[:, i, i] = np.einsum("np,np->p", basis[i], moved)
        if i + 1 == steps:
            break
        for _ in range(2):  # twice is enough (Parlett 1980)
            shares = np.einsum("inp,np->ip", basis[: i + 1], moved)
            moved -= np.einsum("inp,ip->np", basis[: i + 1], shares)
        length = np.linalg.norm(moved, axis=0)
        length[length <= n * np.finfo(float).eps * 2] = 0  # eigenvalues reach up to 2
        tridiagonal[:, i, i + 1] = tridiagonal[:, i + 1, i] = length
        basis[i + 1] = np.divide(moved, length, out=np.zeros_like(moved), where=length > 0)
    nodes, vectors = np.linalg.eigh(tridiagonal)
    return nodes, vectors[:, 0, :] ** 2
