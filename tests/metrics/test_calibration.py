"""The permutation null: enumerations, known moments, and what is made of it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.calibration import (
    Permutations,
    calibrate,
    false_discovery,
    null_of_draws,
    pearson_p,
)
from consilience.forms.moments import Moments, null_moments
from consilience.metrics import get_metric


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


@pytest.mark.parametrize("n", [5, 6, 7])
@pytest.mark.parametrize("weight", [0.3, 3.0, 100.0])
def test_moments_with_a_diagonal(n, weight):
    """Skewness too, whether the diagonal adds a little or is nearly all."""
    rng = np.random.default_rng(n)
    a, b = symmetric(rng, n), symmetric(rng, n) ** 2
    p, q = weight * rng.gamma(0.5, size=n), weight * rng.gamma(1, size=n)
    sides = Moments.of_symmetric(a, p), Moments.of_symmetric(b, q)
    assert null_moments(*sides) == pytest.approx(enumerate_null(a, b, p, q), rel=1e-9)
    mean, variance, skewness = null_moments(sides[0].scaled(3.0), sides[1])
    assert (mean / 3, variance / 9, skewness) == pytest.approx(null_moments(*sides), rel=1e-9)


def test_a_diagonal_on_one_side_alone_changes_nothing_but_the_mean():
    rng = np.random.default_rng(8)
    a, b, p = symmetric(rng, 6), symmetric(rng, 6), rng.gamma(1, size=6)
    found = null_moments(Moments.of_symmetric(a, p), Moments.of_symmetric(b))
    assert found == pytest.approx(enumerate_null(a, b, p, np.zeros(6)), rel=1e-9)


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
