"""The permutation null: enumerations, independent draws, and uniform p-values."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.calibration import (
    Permutations,
    calibrate,
    closed_form,
    false_discovery,
    monte_carlo,
    null_of_draws,
    pearson_p,
    search_layers,
)
from consilience.errors import ConfigError
from consilience.metrics import get_metric
from consilience.metrics._moments import Moments, null_moments


def symmetric(rng, n):
    a = rng.gamma(0.7, size=(n, n)) + rng.normal(size=(n, 1))
    return a + a.T


def enumerate_null(a, b, p=None, q=None):
    """Mean, variance and skewness of the statistic over all permutations."""
    n = len(a)
    off = ~np.eye(n, dtype=bool)
    draws = []
    for order in itertools.permutations(range(n)):
        pi = list(order)
        value = (a * b[np.ix_(pi, pi)])[off].sum()
        draws.append(value + (0 if p is None else p @ q[pi]))
    return np.mean(draws), np.var(draws), stats.skew(draws)


@pytest.mark.parametrize("n", [6, 7])
def test_moments_are_those_of_all_permutations(n):
    rng = np.random.default_rng(n)
    a, b = symmetric(rng, n), symmetric(rng, n) ** 3
    found = null_moments(Moments.of_symmetric(a), Moments.of_symmetric(b))
    assert found == pytest.approx(enumerate_null(a, b), rel=1e-9)


def test_moments_with_a_diagonal():
    rng = np.random.default_rng(3)
    a, b, p, q = symmetric(rng, 6), symmetric(rng, 6), rng.normal(size=6), rng.gamma(1, size=6)
    found = null_moments(Moments.of_symmetric(a, p), Moments.of_symmetric(b, q))
    expected = enumerate_null(a, b, p, q)
    assert found[:2] == pytest.approx(expected[:2], rel=1e-9)


def test_moments_of_neighbor_lists():
    rng = np.random.default_rng(4)
    n, k = 7, 2
    lists = []
    for _ in range(2):
        others = [np.delete(np.arange(n), i) for i in range(n)]
        lists.append(np.stack([np.sort(rng.choice(o, k, replace=False)) for o in others]))
    matrices = [np.zeros((n, n)) for _ in lists]
    for matrix, neighbors in zip(matrices, lists, strict=True):
        matrix[np.arange(n)[:, None], neighbors] = 1
    found = null_moments(*(Moments.of_lists(neighbors) for neighbors in lists))
    halves = [(matrix + matrix.T) / 2 for matrix in matrices]
    for neighbors, half in zip(lists, halves, strict=True):
        cubes = Moments.of_symmetric(half).cubes
        assert Moments.of_lists(neighbors).cubes == pytest.approx(cubes, abs=1e-9)
    assert found[:2] == pytest.approx(enumerate_null(*matrices)[:2], rel=1e-9)


def test_debiased_cka_has_a_known_null():
    """Mean 0 and variance 2 / (n (n - 3)), whatever the kernel."""
    rng = np.random.default_rng(5)
    metric = get_metric("cka", kernel="rbf")
    a, b = (metric.moments(metric.prepare(rng.normal(size=(30, d)))) for d in (3, 50))
    mean, variance, _ = null_moments(a, b)
    assert mean == pytest.approx(0, abs=1e-15)
    assert variance == pytest.approx(2 / (30 * 27), rel=1e-9)


def test_biased_cka_reads_its_chance_level():
    """E = sqrt(βx βy) / (n - 1) with β = tr(K)² / tr(K²) of the centred kernel."""
    rng = np.random.default_rng(6)
    metric = get_metric("cka", estimator="biased")
    sides = [rng.normal(size=(40, d)) for d in (300, 20)]
    mean, _, _ = null_moments(*(metric.moments(metric.prepare(x)) for x in sides))
    betas = []
    for x in sides:
        gram = (x - x.mean(axis=0)) @ (x - x.mean(axis=0)).T
        betas.append(np.trace(gram) ** 2 / np.vdot(gram, gram))
    assert mean == pytest.approx(np.sqrt(betas[0] * betas[1]) / 39, rel=1e-9)


CLOSED = [
    ("cka", {}),
    ("cka", {"estimator": "biased"}),
    ("cka", {"kernel": "rbf"}),
    ("rsa", {}),
    ("rsa", {"rdm": "euclidean", "compare": "pearson"}),
    ("mutual_knn", {"k": 5}),
]


def low_rank(rng, n):
    """Features whose kernels have few large eigenvalues, so that the null is skewed."""
    weights = np.array([3.0, 1.0, 0.3, 0.1])
    return rng.standard_t(4, size=(n, 4)) * weights


@pytest.mark.parametrize(("name", "parameters"), CLOSED)
def test_closed_form_is_monte_carlo(name, parameters):
    rng = np.random.default_rng(7)
    metric = get_metric(name, **parameters)
    a, b = (metric.prepare(low_rank(rng, 40)) for _ in range(2))
    mean, variance, skewness = null_moments(metric.moments(a), metric.moments(b))
    orders = Permutations(count=20_000, seed=1).orders(40)
    draws = np.array([metric.compare(a, metric.permuted(b, order)) for order in orders])
    error = np.sqrt(variance / len(draws))
    assert abs(draws.mean() - mean) < 4 * error
    kurtosis = stats.kurtosis(draws, fisher=False)
    assert abs(draws.var() / variance - 1) < 4 * np.sqrt((kurtosis - 1) / len(draws))
    if parameters.get("estimator") != "biased":  # there the diagonal's part is left out
        assert stats.skew(draws) == pytest.approx(skewness, abs=0.25)
    for level in (0.5, 0.9, 0.99):
        value = np.quantile(draws, level)
        exact = np.mean(draws > value) + np.mean(draws == value) / 2
        p = pearson_p(value, mean, np.sqrt(variance), skewness)
        assert p == pytest.approx(exact, abs=0.03 if level < 0.99 else 0.006)


def test_pearson_p_is_scipys():
    for skewness in (-2.0, -0.3, 0.0, 0.5, 3.0):
        for z in (-1.0, 0.0, 2.0, 6.0):
            expected = stats.pearson3.sf(z, skewness)
            assert pearson_p(1 + 2 * z, 1, 2, skewness) == pytest.approx(expected, rel=1e-6)
            assert pearson_p(-(1 + 2 * z), -1, 2, -skewness, sign=-1) == pytest.approx(
                expected, rel=1e-6
            )


def test_draws_count_ties_and_never_give_zero():
    facts = get_metric("cka").facts
    null = null_of_draws(1.0, np.array([0.0, 1.0, 1.0 - 1e-15, 0.5]), facts)
    assert null.p == (1 + 2) / 5
    assert null_of_draws(2.0, np.zeros(99), facts).p == 0.01


def test_permutations_are_shared_and_seeded():
    same = Permutations(5, 3).orders(20)
    assert np.array_equal(same, Permutations(5, 3).orders(20))
    assert not np.array_equal(same, Permutations(5, 4).orders(20))
    assert (np.sort(same, axis=1) == np.arange(20)).all()


def test_calibrated_values():
    facts = get_metric("cka").facts
    table = pd.DataFrame({"value": [0.5, 0.1, 1.0], "null_mean": [0.1] * 3, "null_sd": [0.2] * 3})
    done = calibrate(table, facts)
    assert done["calibrated"].tolist() == pytest.approx([0.4 / 0.9, 0.0, 1.0])
    assert done["z"].tolist() == pytest.approx([2.0, 0.0, 4.5])
    flat = calibrate(table.assign(null_sd=0.0), facts)
    assert flat["z"].isna().all()


def test_false_discovery_is_scipys_and_keeps_gaps():
    p = pd.Series([0.01, None, 0.04, 0.5])
    adjusted = false_discovery(p, method="bh")
    assert adjusted.isna().tolist() == [False, True, False, False]
    assert adjusted.dropna().tolist() == pytest.approx([0.03, 0.06, 0.5])


def test_layer_search_is_calibrated_by_its_maximum():
    rng = np.random.default_rng(8)
    shared = rng.normal(size=(60, 4))
    x = {f"x{i}": rng.normal(size=(60, 12)) for i in range(4)}
    y = {f"y{i}": rng.normal(size=(60, 9)) for i in range(3)}
    metric = get_metric("mutual_knn", k=5)
    chance = search_layers(metric, x, y, Permutations(99))
    single = 5 / 59
    assert chance.null.mean > single
    assert chance.null.p > 0.02
    x["x2"], y["y1"] = x["x2"] + 3 * shared[:, [0] * 12], y["y1"] + 3 * shared[:, [0] * 9]
    found = search_layers(metric, x, y, Permutations(99))
    assert (found.layer_x, found.layer_y) == ("x2", "y1")
    assert found.null.p == 0.01
    with pytest.raises(ConfigError, match="at least one layer"):
        search_layers(metric, {}, y)


@pytest.mark.parametrize(("name", "parameters"), CLOSED)
def test_p_is_uniform_under_independence(name, parameters):
    rng = np.random.default_rng(9)
    metric = get_metric(name, **parameters)
    p = []
    for _ in range(1000):
        sides = [low_rank(rng, 30), rng.normal(size=(30, 60))]
        a, b = (metric.prepare(x) for x in sides)
        p.append(closed_form(metric, metric.compare(a, b), metric.moments(a), metric.moments(b)).p)
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("name", ["cka", "mutual_knn"])
def test_monte_carlo_p_is_uniform_under_independence(name):
    rng = np.random.default_rng(10)
    metric = get_metric(name)
    orders = Permutations(count=99, seed=2).orders(20)
    p = []
    for _ in range(300):
        a, b = (metric.prepare(rng.normal(size=(20, d))) for d in (5, 30))
        p.append(monte_carlo(metric, metric.compare(a, b), a, b, orders).p)
    assert stats.kstest(p, "uniform").pvalue > 0.001
