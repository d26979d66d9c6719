"""HSIC, RV, distance correlation and the comparisons of RDMs against others and definitions."""

import itertools

import numpy as np
import pytest
from golden import GOLDEN, RESI, golden_pair, resi_pair
from scipy.spatial.distance import cdist, pdist
from scipy.stats import kendalltau

from consilience.errors import ConfigError, MetricError
from consilience.metrics import get_metric


@pytest.fixture
def pair():
    rng = np.random.default_rng(5)
    latent = rng.normal(size=(12, 3))
    return latent + rng.normal(size=(12, 3)), latent @ rng.normal(size=(3, 20))


@pytest.mark.reference("distance_correlation", by="ReSi")
@pytest.mark.parametrize("case", RESI["cases"])
def test_distance_correlation_of_resi(case):
    found = get_metric("distance_correlation", estimator="biased")(*resi_pair(case))
    expected = RESI["cases"][case]["measures"]["DistanceCorrelation"]["value"]
    assert found == pytest.approx(expected, rel=1e-6)


PEER = [
    (case, key.split("/")[2], value)
    for case, entry in GOLDEN["cases"].items()
    for key, value in entry["values"].items()
    if key.startswith("rsatoolbox/euclidean/")
    and key.split("/")[2] in ("corr", "cosine", "spearman", "tau-a")
    # tau of half a million distances takes seconds
    and not (key.split("/")[2] == "tau-a" and "n1000" in case)
]


@pytest.mark.reference("rsa", by="rsatoolbox")
@pytest.mark.parametrize(("case", "comparison", "value"), PEER)
def test_rsa_of_rsatoolbox(case, comparison, value):
    """Its Euclidean RDM is the squared distance over the number of units."""
    ours = {"corr": "pearson", "tau-a": "kendall"}.get(comparison, comparison)
    metric = get_metric("rsa", rdm="squared_euclidean", compare=ours)
    tolerance = 1e-3 if "ties" in case and ours == "spearman" else 1e-9
    assert metric(*golden_pair(case)) == pytest.approx(value, abs=tolerance)


@pytest.mark.reference("hsic", by="its definition over tuples of samples")
def test_hsic_is_a_mean_over_tuples(pair):
    """The U-statistic of Song et al. (2012) by its definition over distinct samples."""
    x, y = (a[:7] for a in pair)
    k, m = (np.exp(-cdist(a, a, "sqeuclidean") / (2 * 1.5**2)) for a in (x, y))
    total = 0.0
    for i, j, q, r in itertools.permutations(range(7), 4):
        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
    expected = total / (7 * 6 * 5 * 4)
    metric = get_metric("hsic", sigma=1.5)
    assert metric(x, y) == pytest.approx(expected, abs=1e-14)


def test_biased_hsic_is_a_trace(pair):
    k, m = (a @ a.T for a in pair)
    h = np.eye(12) - 1 / 12
    metric = get_metric("hsic", kernel="linear", estimator="biased")
    assert metric(*pair) == pytest.approx(np.trace(k @ h @ m @ h) / 11**2, rel=1e-12)


def test_cka_is_normalised_hsic(pair):
    x, y = pair
    for kernel in ("linear", "rbf", "laplace"):
        for estimator in ("biased", "debiased"):
            hsic = get_metric("hsic", kernel=kernel, estimator=estimator)
            expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
            cka = get_metric("cka", kernel=kernel, estimator=estimator)
            assert cka(x, y) == pytest.approx(expected, abs=1e-12)


def test_laplace_kernel(pair):
    x, y = pair
    k, m = (np.exp(-cdist(a, a) / 2.5) for a in pair)
    h = np.eye(12) - 1 / 12
    k, m = h @ k @ h, h @ m @ h
    expected = np.vdot(k, m) / np.linalg.norm(k) / np.linalg.norm(m)
    metric = get_metric("cka", kernel="laplace", sigma=2.5, estimator="biased")
    assert metric(x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.reference("rv", by="its definition by covariances")
def test_rv_is_that_of_covariances(pair):
    x, y = (a - a.mean(axis=0) for a in pair)
    cross, own_x, own_y = x.T @ y, x.T @ x, y.T @ y
    expected = np.trace(cross @ cross.T) / np.sqrt(
        np.trace(own_x @ own_x) * np.trace(own_y @ own_y)
    )
    assert get_metric("rv")(*pair) == pytest.approx(expected, abs=1e-12)


@pytest.mark.reference("distance_correlation", by="its definition")
def test_debiased_distance_correlation(pair):
    """Székely and Rizzo (2013): U-centred distances, entry by entry."""
    n = len(pair[0])
    sides = []
    for a in pair:
        d = cdist(a, a)
        rows = d.sum(axis=1)
        u = d - rows[:, None] / (n - 2) - rows[None] / (n - 2) + d.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(u, 0)
        sides.append(u)
    u, v = sides
    expected = np.vdot(u, v) / np.linalg.norm(u) / np.linalg.norm(v)
    assert get_metric("distance_correlation")(*pair) == pytest.approx(expected, abs=1e-12)


def test_kendall_tau_a_by_counting(pair):
    x, y = (np.round(a) for a in pair)  # with ties
    a, b = (pdist(side) for side in (x, y))
    signs = [np.sign(v[:, None] - v[None]) for v in (a, b)]
    expected = np.vdot(*signs) / (len(a) * (len(a) - 1))
    metric = get_metric("rsa", rdm="euclidean", compare="kendall")
    assert metric(x, y) == pytest.approx(expected, abs=1e-12)
    assert metric(x, y) != pytest.approx(kendalltau(a, b).statistic, abs=1e-6)


def test_mistakes():
    x = np.random.default_rng(0).normal(size=(10, 3))
    with pytest.raises(ConfigError, match="'hsic': sigma cannot be 'mean'"):
        get_metric("hsic", sigma="mean")
    with pytest.raises(MetricError, match="needs at least 4 samples, not 3"):
        get_metric("distance_correlation")(x[:3], x[:3])
    for name in ("hsic", "rv", "distance_correlation"):
        with pytest.raises(MetricError, match="constant"):
            get_metric(name)(np.ones((10, 3)), x)
