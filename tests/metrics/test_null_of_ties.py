"""p-values of metrics of neighbours where these tie; benchmarks/ties.md has 1,000 draws a cell."""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from clones import ROOT
from scipy import stats

from consilience.calibration import Permutations, closed_form, monte_carlo
from consilience.forms.ties import Neighbors
from consilience.metrics import get_metric

TIES = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "ties.py")))
CHANCE = 1e-4
"""A test of p-values fails below this probability, so that a right metric hardly ever does."""
TIED = [kind for kind in TIES.KINDS if kind != "continuous"]
INDEPENDENT_OF_ORDER = ("mutual_knn", "jaccard_knn", "cycle_knn", "cknna")


@pytest.mark.parametrize("name", TIES.METRICS)
@pytest.mark.parametrize("kind", ["5 levels, 8 units", "ReLU, 84 % zeros, 4 units"])
def test_p_is_uniform_under_independence(name, kind):
    found = TIES.drawn(name, kind, 60, 19)
    assert len(found.p) == 60
    assert stats.kstest(found.uniform, "uniform").pvalue > CHANCE, "p is not uniform"
    rejected = int(np.count_nonzero(found.p <= 0.05))
    assert stats.binomtest(rejected, 60, 0.05, "greater").pvalue > CHANCE, "too many rejections"
    error = found.excess.std() / 60**0.5
    assert abs(found.excess.mean()) < 4 * error, "the value is not chance"
    if name in INDEPENDENT_OF_ORDER:
        assert np.abs(found.moved).max() < 1e-12, "the order of the samples matters"


@pytest.mark.parametrize("kind", TIED)
def test_closed_form_p_is_uniform_where_neighbours_tie(kind):
    p = TIES.closed_draws(kind, 200)
    if kind == "one unit, cosine":
        assert (p == 1).all()  # one value, whatever the order
        return
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.045)


def test_ties_that_go_to_lower_rows_are_found():
    """What the checks are for: both sides agree on which of the tied rows they take."""
    rng, metric = np.random.default_rng(0), get_metric("jaccard_knn", k=TIES.K)
    orders = Permutations(19, seed=1).orders(TIES.SAMPLES)
    p = []
    for _ in range(60):
        forms = []
        for _side in range(2):
            x = TIES.relu(rng)
            far = ((x[:, None] - x) ** 2).sum(axis=2)
            np.fill_diagonal(far, np.inf)
            order = np.argsort(far, axis=1, kind="stable")
            forms.append(Neighbors(order[:, : TIES.K].astype(np.int32)))
        p.append(monte_carlo(metric, metric.compare(*forms), *forms, orders).p)
    assert stats.binomtest(int(np.sum(np.array(p) <= 0.05)), 60, 0.05, "greater").pvalue < CHANCE


@pytest.mark.parametrize(("n", "k"), [(30, 10), (100, 5), (700, 3), (900, 10)])
def test_a_null_without_spread_is_no_rounding(n, k):
    """All samples tie on one side, so every order of them gives the same value."""
    rng, metric = np.random.default_rng(2), get_metric("mutual_knn", k=k)
    x, others = rng.permutation(n)[:, None] + 1.0, (rng.permutation(n)[:, None] + 1.0,)
    for y in (*others, rng.normal(size=(n, 5)), rng.integers(1, 3, size=(n, 4)).astype(float)):
        a, b = metric.prepare(x), metric.prepare(y)
        value = metric.compare(a, b)
        null = closed_form(metric, value, metric.moments(a), metric.moments(b))
        assert value == pytest.approx(k / (n - 1), abs=1e-15)
        assert (null.sd, null.p) == (0, 1)


def test_a_self_pair_is_beyond_its_null():
    """The null of a self pair is that of other samples with the same ties."""
    x = np.eye(6)[np.random.default_rng(1).integers(0, 6, 60)]
    metric = get_metric("mutual_knn", k=4)
    a = metric.prepare(x)
    value, moments = metric.compare(a, a), metric.moments(a)
    assert value == 1
    null = closed_form(metric, value, moments, moments)
    assert null.mean == pytest.approx(4 / 59, abs=1e-12)
    assert null.p < 1e-6
    drawn = monte_carlo(metric, value, a, a, Permutations(99).orders(60))
    assert drawn.p == 0.01
    assert drawn.mean == pytest.approx(4 / 59, abs=0.01)
