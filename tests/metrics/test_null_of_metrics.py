"""The null of every metric: right p-values for independent features, and exact closed forms.

benchmarks/null.py does the same with 1,000 draws; its table is benchmarks/null.md.
"""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from clones import ROOT
from scipy import stats

from consilience.calibration import Permutations, closed_form, pearson_p
from consilience.forms.moments import null_moments
from consilience.metrics import get_metric, list_metrics

NULL = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "null.py")))
PAIRED = dict(NULL.metrics())
CLOSED = {name: metric for name, metric in PAIRED.items() if metric.has_closed_form} | {
    f"{name}[{','.join(map(str, parameters.values()))}]": get_metric(name, **parameters)
    for name, parameters in [
        ("cka", {"estimator": "biased"}),
        ("cka", {"kernel": "rbf"}),
        ("rsa", {"rdm": "euclidean", "compare": "pearson"}),
    ]
}
COUNT = 19
"""Permutations per draw, so that p-values are multiples of 1/20 and can be exactly 0.05."""
CHANCE = 1e-4
"""A test of p-values fails below this probability, so that a right metric hardly ever does."""
DRAWS = 120
FEWER_DRAWS = {"rtd": 16, "soft_matching": 40, "aligned_cosine": 60, "riemannian": 60}
"""For metrics with costly pairs; half as many of wide features."""


def low_rank(rng, n):
    """Features whose kernels have few large eigenvalues, so that the null is skewed."""
    weights = np.array([3.0, 1.0, 0.3, 0.1])
    return rng.standard_t(4, size=(n, 4)) * weights


def check(found, draws):
    """Raises AssertionError unless p-values are those of a valid test of independence."""
    steps = found.p * (COUNT + 1)
    assert np.abs(steps - np.round(steps)).max() < 1e-9, "p is no share of permutations + 1"
    assert found.p.min() > 0, "p = 0: the value itself does not count"
    assert found.p.max() <= 1, "p > 1"
    assert stats.kstest(found.uniform, "uniform").pvalue > CHANCE, "p is not uniform"
    rejected = np.count_nonzero(found.p <= 0.05)
    assert stats.binomtest(rejected, draws, 0.05, "greater").pvalue > CHANCE, "too many rejections"
    if found.ties < 0.01:
        assert stats.binomtest(rejected, draws, 0.05, "less").pvalue > CHANCE, "too few rejections"


@pytest.mark.parametrize("name", PAIRED)
def test_p_is_uniform_under_independence(name):
    metric = PAIRED[name]
    draws = FEWER_DRAWS.get(name, DRAWS)
    found = NULL.p_values(metric, NULL.WIDTHS["n > d"], draws, COUNT)
    check(found, draws)
    assert found.ties < 0.5, "permutations change nothing"


@pytest.mark.parametrize("name", PAIRED)
def test_p_is_uniform_with_fewer_samples_than_units(name):
    draws = FEWER_DRAWS.get(name, DRAWS) // 2
    check(NULL.p_values(PAIRED[name], NULL.WIDTHS["n < d"], draws, COUNT), draws)


def test_every_metric_is_here():
    others = set(list_metrics()) - set(PAIRED)
    assert all(not get_metric(name).facts.paired for name in others)


class Broken:
    """A metric with something wrong in its permuted form."""

    def __init__(self, metric, moved):
        self.metric, self.moved = metric, moved

    def __getattr__(self, name):
        return getattr(self.metric, name)

    def permuted(self, a, order):
        return self.moved(a, order)


def test_permuting_nothing_is_found():
    """As when both sides are permuted, or `permuted` forgets to."""
    metric = Broken(get_metric("cka"), lambda a, order: a)
    assert NULL.p_values(metric, (4, 8), 20, COUNT).ties == 1


def test_permuting_into_another_distribution_is_found():
    """As when entries of a kernel are shuffled one by one, or some samples are drawn twice."""
    rng, whole = np.random.default_rng(0), get_metric("procrustes")
    shuffled = Broken(get_metric("cka", estimator="biased"), lambda a, order: rng.permutation(a))
    repeated = Broken(whole, lambda a, order: whole.permuted(a, order // 2))
    for metric in (shuffled, repeated):
        with pytest.raises(AssertionError):
            check(NULL.p_values(metric, (4, 8), 200, COUNT), 200)


def test_a_wrong_count_is_found():
    found = NULL.p_values(get_metric("cka"), (4, 8), 200, COUNT)
    check(found, 200)
    for wrong in (found.p - 1 / (COUNT + 1), found.p + 1 / (COUNT + 1), 1 - found.p):
        with pytest.raises(AssertionError):
            check(found._replace(p=wrong, uniform=found.uniform + wrong - found.p), 200)


def test_the_wrong_direction_is_found():
    """Related features must be more similar than permuted ones for every metric."""
    rng = np.random.default_rng(1)
    for name, metric in PAIRED.items():
        labels = rng.integers(NULL.CLASSES, size=NULL.SAMPLES)
        extra = [labels] if metric.facts.shared else []
        x = rng.normal(size=(NULL.SAMPLES, NULL.CLASSES))
        sides = (x, x + 0.1 * rng.normal(size=x.shape))
        if "unembedding" in metric.facts.inputs:
            g = rng.normal(size=(NULL.CLASSES + 2, NULL.CLASSES))
            a, b = (metric.prepare(side, g, side @ g.T) for side in sides)
        else:
            a, b = (metric.prepare(side, *extra) for side in sides)
        orders = Permutations(19, seed=1).orders(NULL.SAMPLES)
        assert NULL.monte_carlo(metric, metric.compare(a, b), a, b, orders).p == 0.05, name


@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_is_monte_carlo(name):
    rng, n, metric = np.random.default_rng(7), NULL.SAMPLES, CLOSED[name]
    a, b = (metric.prepare(low_rank(rng, n)) for _ in range(2))
    mean, variance, skewness = null_moments(metric.moments(a), metric.moments(b))
    count = 20_000 if name in PAIRED else 5_000
    orders = Permutations(count, seed=1).orders(n)
    draws = np.array([metric.compare(a, metric.permuted(b, order)) for order in orders])
    error = np.sqrt(variance / len(draws))
    assert abs(draws.mean() - mean) < 4 * error
    kurtosis = stats.kurtosis(draws, fisher=False)
    assert abs(draws.var() / variance - 1) < 4 * np.sqrt((kurtosis - 1) / len(draws))
    assert stats.skew(draws) == pytest.approx(skewness, abs=0.25)
    for level, tolerance in ((0.5, 0.03), (0.9, 0.03), (0.99, 0.006)):
        value = np.quantile(draws, level)
        exact = np.mean(draws > value) + np.mean(draws == value) / 2
        p = pearson_p(value, mean, np.sqrt(variance), skewness)
        assert p == pytest.approx(exact, abs=tolerance)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_p_is_uniform_under_independence(name):
    rng, metric = np.random.default_rng(9), CLOSED[name]
    p = []
    for _ in range(250):
        sides = [low_rank(rng, 30), rng.normal(size=(30, 60))]
        a, b = (metric.prepare(x) for x in sides)
        p.append(closed_form(metric, metric.compare(a, b), metric.moments(a), metric.moments(b)).p)
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.04)
