"""p of the closed form where few samples hold most of a matrix: no smaller than their chance.

benchmarks/null_tails.py does the same with more draws and more kinds of features.
"""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from clones import ROOT
from scipy import stats

from consilience.calibration import closed_form, false_discovery
from consilience.forms.dominance import chance_of_meeting, tail_start
from consilience.forms.moments import null_moments
from consilience.metrics import get_metric
from consilience.similarity import pairwise, task

TAILS = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "null_tails.py")))
LINEAR = [
    ("cka", {}),
    ("cka", {"estimator": "biased"}),
    ("rv", {}),
    ("hsic", {"kernel": "linear"}),
    ("hsic", {"kernel": "linear", "estimator": "biased"}),
]
NEAR_LINEAR = [
    ("rsa", {"rdm": "euclidean", "compare": "pearson"}),
    ("rsa", {"rdm": "squared_euclidean", "compare": "pearson"}),
    ("rsa", {"rdm": "squared_euclidean", "compare": "cosine"}),
]


def sides(n, factor, seed=0, d=8):
    """Two sets of independent features whose row 3 is larger than the others."""
    x, y = np.random.default_rng(seed).normal(size=(2, n, d))
    x[3] *= factor
    y[3] *= factor
    return {"a": x, "b": y}


def null_of(metric, x, y):
    a, b = metric.prepare(x), metric.prepare(y)
    return closed_form(metric, metric.compare(a, b), metric.moments(a), metric.moments(b))


@pytest.mark.parametrize(("name", "parameters"), LINEAR + NEAR_LINEAR)
@pytest.mark.parametrize("factor", [30, 1000])
def test_p_is_not_below_the_chance_that_two_rows_meet(name, parameters, factor):
    metric = get_metric(name, **parameters)
    for seed in range(8):
        table = pairwise(metric, sides(100, factor, seed), null="closed_form")
        assert table["p"].min() >= 1 / 100
        floored = table["p"] == 1 / 100
        assert (table["note"].str.contains("those samples meet").fillna(False) == floored).all()
        assert floored[table["model_x"] == table["model_y"]].all()


def test_permutations_agree_that_the_floor_is_about_right():
    """Given that the rows have met, any value is as likely as not: p lies below 1/n."""
    x, y = sides(60, 100).values()
    for name, parameters in LINEAR[1:3]:
        metric = get_metric(name, **parameters)
        a, b = metric.prepare(x), metric.prepare(y)
        draws = TAILS.null_draws(TAILS.matrix(metric, a), TAILS.matrix(metric, b), 100_000)
        exact = np.mean(draws >= metric.compare(a, b) * (1 - 1e-9))
        found = closed_form(metric, metric.compare(a, b), metric.moments(a), metric.moments(b)).p
        assert 1 / 60 / 20 < exact <= 1 / 60 * 1.1
        assert found >= exact


def test_what_no_row_decides_has_no_floor():
    """Ordinary features, bounded kernels: p of related sides is as small as it was."""
    rng = np.random.default_rng(2)
    for d in (1, 2, 8, 64):
        for draw in (rng.normal, rng.random, rng.exponential if d > 8 else rng.normal):
            x = draw(size=(100, d))
            y = x + 0.3 * x.std() * rng.normal(size=(100, d))
            for name, parameters in LINEAR:
                null = null_of(get_metric(name, **parameters), x, y)
                assert null.note is None and null.p < 1e-6
    x, y = sides(100, 1000).values()
    for metric in (get_metric("cka", kernel="rbf"), get_metric("rsa"), get_metric("mutual_knn")):
        null = null_of(metric, x, x + rng.normal(size=x.shape) / 10)
        assert null.note is None and null.p < 1e-6


def test_a_row_that_is_large_on_one_side_alone_decides_nothing():
    x, y = sides(100, 1000)["a"], np.random.default_rng(5).normal(size=(100, 8))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    metric = get_metric("cka")
    a, b = (metric.moments(metric.prepare(side)) for side in (x, y))
    _, variance, skewness = null_moments(a, b)
    assert chance_of_meeting(a, b, np.sqrt(variance), skewness) == 0


def test_the_tail_begins_where_scipy_says():
    for skewness in (-1.0, 0.0, 0.4, 3.0):
        for p in (1e-2, 1e-6):
            expected = stats.pearson3.isf(p, skewness)
            assert tail_start(p, skewness) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("factor", [10, 50])
def test_several_heavy_rows_have_a_floor_too(count, factor):
    """Related sides with the same heavy rows: no smaller than the chance that all of these meet."""
    rng = np.random.default_rng([count, factor])
    x = rng.normal(size=(60, 8))
    x[:count] *= factor
    y = x + rng.normal(size=x.shape) / 2
    chance = 1 / np.prod(60.0 - np.arange(count))
    for name, parameters in LINEAR:
        null = null_of(get_metric(name, **parameters), x, y)
        assert null.p >= chance


@pytest.mark.parametrize(("name", "parameters"), [*LINEAR[:3], *NEAR_LINEAR])
def test_the_tiled_pass_finds_the_same_rows(name, parameters, monkeypatch):
    metric, x = get_metric(name, **parameters), sides(300, 40)
    x["c"] = np.random.default_rng(7).standard_t(1.5, size=(300, 20))
    x["d"] = np.random.default_rng(8).normal(size=(300, 5)) + 20
    plain = pairwise(metric, x, null="closed_form")
    monkeypatch.setattr(task, "TILED_SAMPLES", 1)
    tiled = pairwise(metric, x, null="closed_form")
    assert plain["note"].notna().sum() >= 3
    assert tiled["note"].equals(plain["note"])
    np.testing.assert_allclose(tiled["p"], plain["p"], rtol=1e-2, atol=1e-6)


def test_false_discovery_follows():
    """One dominating row in a table of unrelated models: nothing is discovered."""
    rng = np.random.default_rng(11)
    features = {}
    for m in range(8):
        x = rng.normal(size=(100, 8))
        x[3] *= 100
        features[f"m{m}"] = x
    table = pairwise(get_metric("rv"), features, null="closed_form")
    p = table.loc[table["model_x"] != table["model_y"], "p"]
    assert false_discovery(p).min() > 0.01


@pytest.mark.parametrize("kind", ["n=20", "t with 1.5 df, n=40", "10 % cluster", "1 row × 50"])
def test_small_p_values_are_as_rare_as_they_say(kind):
    """Over 300 draws, at 0.05 and 0.01, at a chance of 1e-4 for a right metric to fail."""
    for name in ("cka (debiased linear)", "cka biased, rv", "rsa euclidean Pearson"):
        p = TAILS.p_values(TAILS.METRICS[name], TAILS.KINDS[kind], 300, seed=3)
        for level in (0.05, 0.01, 0.001):
            count = int(np.count_nonzero(p <= level))
            assert stats.binomtest(count, 300, level, "greater").pvalue > 1e-4, (name, level)


@pytest.mark.parametrize("kind", ["normal", "one row × 10"])
def test_the_far_tail_is_no_bolder_than_permutations(kind):
    for name in ("cka (debiased linear)", "cka biased, rv"):
        found = TAILS.tail(TAILS.METRICS[name], TAILS.TAIL_KINDS[kind], 50_000)
        for p, level in zip(found[:3], TAILS.TAIL[:3], strict=True):
            assert p > level / 2.5, (name, level)
