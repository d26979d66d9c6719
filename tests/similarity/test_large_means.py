"""Features whose means are many times their spread: the tiled pass against float64, all metrics."""

import dataclasses
import itertools
import typing

import numpy as np
import pytest

from consilience.errors import MetricError
from consilience.forms.kernels import near_center, squared_distances
from consilience.forms.rows import Rows
from consilience.metrics import METRICS, InnerProductMetric, get_metric
from consilience.similarity import Engine, pairwise, task

TOLERANCE = 2e-6
"""Between the tiled pass and the dense one, in whatever type features are."""


def tiled_metrics():
    """Every registered metric that the tiled pass computes, with every choice of parameters."""
    for name, cls in METRICS.items():
        if not issubclass(cls, InnerProductMetric):
            continue
        choices = [
            [(item.metadata.get("parameter", item.name), value) for value in chosen]
            for item in dataclasses.fields(cls)
            if (chosen := literals(item.type))
        ]
        for given in itertools.product(*choices):
            metric = get_metric(name, **dict(given))
            if metric.centring:
                yield pytest.param(metric, id="-".join([name, *(str(v) for _, v in given)]))


def literals(kind):
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def features(n, means, where="units", dtype="float64"):
    """Two models with a shared part; means are in units of the spread.

    Args:
        n: number of samples.
        means: how large they are.
        where: of all units the same, of each another, of one only.
        dtype: what the values are rounded to.
    """
    rng, shared = np.random.default_rng(0), np.random.default_rng(1).normal(size=(n, 6))
    sides = {}
    for name, d in (("a", 8), ("b", 12)):
        x = shared @ rng.normal(size=(6, d)) / 3 + 0.7 * rng.normal(size=(n, d))
        shift = {"all": np.ones(d), "units": rng.normal(size=d), "one": np.eye(d)[0]}[where]
        sides[name] = (x + means * shift).astype(dtype)
    return sides


def both_ways(metric, x, monkeypatch, **options):
    """The tables of the dense and of the tiled pass."""
    monkeypatch.setattr(task, "TILED_SAMPLES", 10**9)
    dense = pairwise(metric, x)
    monkeypatch.setattr(task, "TILED_SAMPLES", 1)
    return dense, pairwise(metric, x, **options)


def test_the_walk_finds_the_tiled_metrics():
    assert {param.values[0].facts.name for param in tiled_metrics()} >= {
        "cka",
        "rsa",
        "rv",
        "distance_correlation",
    }


@pytest.mark.parametrize("metric", tiled_metrics())
def test_means_take_no_digits(metric, monkeypatch):
    for means, where, dtype in itertools.product(
        (0, 1e3, 1e5), ("all", "units", "one"), ("float32", "float64")
    ):
        x = features(300, means, where, dtype)
        dense, tiled = both_ways(metric, x, monkeypatch)
        assert dense["failure"].isna().all() and tiled["failure"].isna().all()
        np.testing.assert_allclose(
            tiled["value"], dense["value"], atol=TOLERANCE, err_msg=f"{means} {where} {dtype}"
        )


@pytest.mark.parametrize("metric", tiled_metrics())
def test_means_take_no_digits_on_a_device(metric, monkeypatch):
    for means in (10, 1e3, 1e5):
        there = Engine(device="cpu:0")
        dense, tiled = both_ways(metric, features(300, means), monkeypatch, engine=there)
        np.testing.assert_allclose(tiled["value"], dense["value"], atol=TOLERANCE)


@pytest.mark.parametrize("comparison", ["spearman", "pearson", "cosine"])
@pytest.mark.parametrize("rdm", ["correlation", "cosine"])
def test_no_jump_at_the_border_of_the_pass(rdm, comparison):
    """From 2,048 samples on the pass is tiled; the call of a metric never is."""
    metric, x = get_metric("rsa", rdm=rdm, compare=comparison), features(2048, 3000)
    table = pairwise(metric, x)
    direct = metric(x["a"], x["b"])
    assert direct > 0.1
    assert table["value"].iloc[1] == pytest.approx(direct, abs=TOLERANCE)
    fewer = metric(*(side[:-1] for side in x.values()))
    assert fewer == pytest.approx(direct, abs=1e-3)


@pytest.mark.parametrize("rdm", ["correlation", "cosine"])
def test_dense_values_are_those_of_many_digits(rdm):
    """1 - cosine from differences in extended precision, where float64 products lose it all."""
    x = features(40, 1e7)
    metric = get_metric("rsa", rdm=rdm, compare="pearson")
    rdms = []
    for side in x.values():
        rows = side.astype(np.longdouble)
        if rdm == "correlation":
            rows = rows - rows.mean(axis=1, keepdims=True)
        rows = rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))
        i, j = np.triu_indices(len(rows), 1)
        rdms.append((((rows[i] - rows[j]) ** 2).sum(axis=1) / 2).astype(float) * 1e14)
    assert metric(*x.values()) == pytest.approx(np.corrcoef(*rdms)[0, 1], abs=1e-6)


def test_distances_stay_tied_where_means_are_large():
    """What is subtracted is coarse, so whole numbers stay whole, however far they lie."""
    x = np.random.default_rng(0).integers(0, 4, size=(60, 5)) + 1_000_003.0
    near = near_center(x)
    assert np.abs(near).max() < 4
    gram = squared_distances(x)
    assert np.array_equal(gram, ((x[:, None] - x[None]) ** 2).sum(axis=2))
    np.testing.assert_array_equal(Rows(x).near_center().take(slice(0, 60)), near)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tiled_from", [1, 10**9])
def test_rows_of_one_direction_have_no_dissimilarities(dtype, tiled_from, monkeypatch):
    monkeypatch.setattr(task, "TILED_SAMPLES", tiled_from)
    rng = np.random.default_rng(0)
    x = (rng.uniform(1, 2, size=(100, 1)) * rng.normal(size=9)).astype(dtype)
    for rdm in ("correlation", "cosine"):
        metric = get_metric("rsa", rdm=rdm)
        with pytest.raises(MetricError, match="point the same way up to rounding"):
            metric(x, rng.normal(size=(100, 5)))
        table = pairwise(metric, {"line": x, "other": rng.normal(size=(100, 5))})
        assert table["failure"].str.contains("same way").tolist()[:2] == [True, True]
