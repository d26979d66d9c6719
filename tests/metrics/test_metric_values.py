"""Metrics against independent implementations, closed forms and brute force."""

import re

import numpy as np
import pytest
from golden import GOLDEN, golden_pair
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from consilience.errors import MetricError
from consilience.metrics import get_metric, unit_rows

CASES = [
    (case, key, value)
    for case, entry in GOLDEN["cases"].items()
    for key, value in entry["values"].items()
]


def ours(key):
    """The metric of a golden key, or None where the convention is not ours."""
    name = key.split("/")[1]
    if match := re.fullmatch(r"mutual_knn\[k=(\d+)\]", name):
        return get_metric("mutual_knn", k=int(match[1]), distance="inner_product")
    if match := re.fullmatch(r"cka_linear_(un)?biased", name):
        return get_metric("cka", estimator="debiased" if match[1] else "biased")
    if match := re.fullmatch(r"cka_rbf_(un)?biased\[sigma=(.+)\]", name):
        sigma = match[2] if match[2] == "median" else float(match[2])
        estimator = "debiased" if match[1] else "biased"
        return get_metric("cka", kernel="rbf", sigma=sigma, estimator=estimator)
    if match := re.fullmatch(r"rsa_(correlation|cosine|euclidean)_(\w+)", name):
        return get_metric("rsa", rdm=match[1], compare=match[2])
    return None


def tolerance(case, key):
    """The agreement that the makers of the golden values promise for a float64 implementation."""
    if "spearman" in key and "ties" in case:
        return 1e-3  # rounding decides which distances of tied data count as tied
    return 3e-7 if "mutual_knn" in key else 1e-10


@pytest.mark.reference("cka", "rsa", by="thingsvision")
@pytest.mark.reference("mutual_knn", by="platonic-rep")
@pytest.mark.parametrize(
    ("case", "key", "value"), [c for c in CASES if ours(c[1])], ids=lambda v: str(v)[:50]
)
def test_golden(case, key, value):
    x, y = golden_pair(case)
    if "/l2/" in key:
        x, y = (a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12) for a in (x, y))
    if value is None or not np.isfinite(value):
        with pytest.raises(MetricError):
            ours(key)(x, y)
    else:
        assert ours(key)(x, y) == pytest.approx(value, abs=tolerance(case, key))


@pytest.fixture
def pair():
    rng = np.random.default_rng(5)
    latent = rng.normal(size=(60, 6))
    x = latent @ rng.normal(size=(6, 20)) + rng.normal(size=(60, 20))
    return x, latent @ rng.normal(size=(6, 90)) + rng.normal(size=(60, 90))


def hsic_u_statistic(k, m):
    """Unbiased HSIC of kernel matrices by its definition as a mean over 4-tuples (Song 2012)."""
    n = len(k)
    k, m = (a - np.diag(np.diag(a)) for a in (k, m))
    total = np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (k @ m).sum()) / (n * (n - 3))


@pytest.mark.reference("cka", by="its definition by U-statistics")
def test_debiased_cka_is_a_ratio_of_u_statistics(pair):
    k, m = (a @ a.T for a in pair)
    expected = hsic_u_statistic(k, m) / np.sqrt(hsic_u_statistic(k, k) * hsic_u_statistic(m, m))
    assert get_metric("cka")(*pair) == pytest.approx(expected, abs=1e-12)


def test_biased_linear_cka_in_feature_space(pair):
    x, y = (a - a.mean(axis=0) for a in pair)
    norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    expected = np.linalg.norm(x.T @ y) ** 2 / norms
    assert get_metric("cka", estimator="biased")(*pair) == pytest.approx(expected, abs=1e-12)


@pytest.mark.reference("rsa", by="scipy")
@pytest.mark.parametrize("rdm", ["correlation", "cosine", "euclidean"])
def test_rsa_is_scipy(pair, rdm):
    x, y = (pdist(a, rdm) for a in pair)
    assert get_metric("rsa", rdm=rdm, compare="pearson")(*pair) == pytest.approx(
        pearsonr(x, y)[0], abs=1e-12
    )
    assert get_metric("rsa", rdm=rdm)(*pair) == pytest.approx(spearmanr(x, y)[0], abs=1e-12)


@pytest.mark.reference("mutual_knn", by="scikit-learn")
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 7, 59])
def test_mutual_knn_is_scikit_learn(pair, k, distance):
    def neighbors(a):
        search = NearestNeighbors(n_neighbors=k, metric="precomputed")
        distances = pairwise_distances(a, metric=distance)
        return search.fit(distances).kneighbors(return_distance=False)

    x, y = (neighbors(a) for a in pair)
    expected = np.mean([len(set(a) & set(b)) / k for a, b in zip(x, y, strict=True)])
    metric = get_metric("mutual_knn", k=k, distance=distance)
    assert metric(*pair) == pytest.approx(expected, abs=1e-12)


def test_tied_rows_share_the_places():
    x = np.array([[0.0], [1.0], [1.0], [1.0], [-1.0]])  # row 0 is equally far from all others
    y = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])  # row 0 is nearest to row 1
    metric = get_metric("mutual_knn", k=1, distance="euclidean")
    rows = [1 / 4, 1 / 2 * 1 / 2, 2 * 1 / 2 * 1 / 2, 1 / 2 * 1 / 2, 0]
    assert metric(x, y) == metric(y, x) == pytest.approx(np.mean(rows), abs=1e-15)
    assert metric.ties(metric.prepare(x)) == 4 / 5
    assert metric.ties(metric.prepare(y)) == 3 / 5


def test_share_of_samples_as_k(pair):
    assert get_metric("mutual_knn", k=0.1)(*pair) == get_metric("mutual_knn", k=6)(*pair)


def test_independent_features_score_chance():
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(100, 300)), rng.normal(size=(100, 200))) for _ in range(40)]
    debiased = np.mean([get_metric("cka")(x, y) for x, y in draws])
    biased = np.mean([get_metric("cka", estimator="biased")(x, y) for x, y in draws])
    neighbors = np.mean([get_metric("mutual_knn", k=10)(x, y) for x, y in draws])
    # the null standard deviation of debiased CKA is sqrt(2 / (n (n - 3))), about 0.0144
    assert abs(debiased) < 4 * np.sqrt(2 / (100 * 97)) / np.sqrt(40)
    assert biased > 0.5
    assert neighbors == pytest.approx(10 / 99, abs=0.01)


def test_debiased_cka_null_variance():
    """Var = 2 / (n (n - 3)) over permutations, whatever the kernel."""
    rng = np.random.default_rng(1)
    metric = get_metric("cka", kernel="rbf")
    x, y = unit_rows(rng.normal(size=(30, 4))), rng.standard_t(3, size=(30, 9))
    a = metric.prepare(x)
    draws = [metric.compare(a, metric.prepare(y[rng.permutation(30)])) for _ in range(2000)]
    variance = 2 / (30 * 27)
    assert np.var(draws) == pytest.approx(variance, rel=0.15)
    assert abs(np.mean(draws)) < 4 * np.sqrt(variance / 2000)
