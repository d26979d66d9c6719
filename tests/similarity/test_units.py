"""What infinitely many units would give: definitions, planted truth, tables, stores."""

import numpy as np
import pandas as pd
import pytest

from consilience.files import read_table
from consilience.forms.units import LEAST, over_units, units_of, units_of_vector
from consilience.metrics import get_metric
from consilience.similarity import Task, pairwise
from consilience.similarity.over_units import UNITS

LINEAR = {
    "cka": {},
    "cka_biased": {"estimator": "biased"},
    "rv": {},
    "hsic": {"kernel": "linear"},
    "hsic_biased": {"kernel": "linear", "estimator": "biased"},
}


def linear(name: str):
    return get_metric(name.removesuffix("_biased"), **LINEAR[name])


def populations(rng, n, d, *, shared=0.8, latents=12):
    """Returns two sets of d units that respond linearly to latents, and the latents of both."""
    scales = 1 / np.sqrt(np.arange(1, latents + 1))
    common = rng.normal(size=(n, latents))
    sides = [
        (np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=(n, latents))) * scales
        for _ in range(2)
    ]
    return [z @ rng.normal(size=(latents, d)) for z in sides], sides


def centred_kernel(x, *, diagonal):
    """Returns the centred kernel matrix of x as its definition has it, in n² entries."""
    n, kernel = len(x), x @ x.T
    if diagonal:
        h = np.eye(n) - 1 / n
        return h @ kernel @ h
    off = ~np.eye(n, dtype=bool)
    kernel = kernel * off
    rows, total = kernel.sum(axis=1), kernel.sum()
    return (kernel - rows[:, None] / (n - 2) - rows / (n - 2) + total / ((n - 1) * (n - 2))) * off


@pytest.mark.parametrize("diagonal", [False, True])
def test_closed_forms_are_the_definition(diagonal):
    x = np.random.default_rng(0).gamma(1.0, size=(23, 40)) + 3
    kernels = [centred_kernel(x[:, [p]], diagonal=diagonal) for p in range(40)]
    every = np.einsum("pij,qij->pq", kernels, kernels)
    units = units_of((x - x.mean(axis=0)).astype(np.float32), diagonal=diagonal)
    order = np.argsort((x - x.mean(axis=0)).var(axis=0))
    assert units.alone == pytest.approx(np.trace(every), rel=1e-6)
    off = every[np.ix_(order, order)].copy()
    np.fill_diagonal(off, 0)
    pairs = units.pairs.copy()
    np.fill_diagonal(pairs, 0)
    np.testing.assert_allclose(pairs, off, rtol=1e-5, atol=1e-6 * off.max())
    own = off.sum(axis=1) / 39  # small differences of large products, taken in float32
    np.testing.assert_allclose(units.own, own, rtol=1e-5, atol=1e-6 * np.abs(own).max())


@pytest.mark.parametrize("name", LINEAR)
def test_a_vector_tells_its_length_and_the_terms_of_single_units_are_left_out(name):
    x = np.random.default_rng(1).gamma(1.0, size=(23, 40)) * 100 + 3
    metric = linear(name)
    a = metric.prepare(x)
    diagonal = metric.has_diagonal
    kernels = [centred_kernel(x[:, [p]], diagonal=diagonal) for p in range(40)]
    alone = sum(float(np.vdot(k, k)) for k in kernels)
    whole = centred_kernel(x, diagonal=diagonal)
    share = float(a @ a) * (1 - alone / np.vdot(whole, whole)) * 40 / 39
    sample = units_of_vector(x, a, diagonal=diagonal)
    assert sample.apart == pytest.approx(share, rel=1e-5)


@pytest.mark.parametrize("name", ["cka", "cka_biased", "rv"])
def test_planted_truth_is_met_on_average_and_by_intervals(name):
    rng, metric = np.random.default_rng(2), linear(name)
    task, found = Task(metric), []
    for _ in range(200):
        (x, y), (z, w) = populations(rng, 100, 64)
        whole = [metric.prepare(side) for side in (z, w)]
        truth = metric.compare(*whole)  # units that respond to latents by chance give their kernel
        a, b = (metric.prepare(side) for side in (x, y))
        value = metric.compare(a, b)
        units = [metric.units(side, form) for side, form in ((x, a), (y, b))]
        found.append((value, truth, *over_units(value, *units, normalised=True)))
    value, truth, units, low, high = np.array(found).T
    assert np.mean(value - truth) < -0.03  # what the plain value misses
    assert abs(np.mean(units - truth)) < 0.006
    assert 0.90 <= np.mean((low <= truth) & (truth <= high)) <= 0.99
    assert task.metric.facts.of_units


def test_more_units_of_one_population_are_told_by_fewer():
    rng = np.random.default_rng(3)
    (x, y), _ = populations(rng, 300, 4000)
    few = pairwise(get_metric("cka"), {"x": x[:, :96], "y": y[:, :96]}).iloc[1]
    all_units = pairwise(get_metric("cka"), {"x": x, "y": y}).iloc[1]
    assert few["value"] < all_units["value"] - 0.03
    assert few["low_units"] < all_units["value_units"] < few["high_units"]
    assert all_units["value_units"] == pytest.approx(all_units["value"], abs=0.01)
    assert all_units["high_units"] - all_units["low_units"] < (few["high_units"] - few["low_units"])


@pytest.mark.parametrize("name", LINEAR)
def test_order_scale_and_shift_of_units_change_nothing(name):
    rng, metric = np.random.default_rng(4), linear(name)
    (x, y), _ = populations(rng, 60, 90)
    plain = pairwise(metric, {"x": x, "y": y})[UNITS].iloc[1].to_numpy(float)
    order = rng.permutation(90)
    factor = 1.0 if "hsic" in name else 3.7
    moved = pairwise(metric, {"x": factor * x[:, order] + 5, "y": y})[UNITS].iloc[1]
    np.testing.assert_allclose(moved.to_numpy(float), plain, rtol=1e-4)
    swapped = pairwise(metric, {"x": y, "y": x})[UNITS].iloc[1].to_numpy(float)
    np.testing.assert_allclose(swapped, plain, rtol=1e-12)


@pytest.mark.parametrize(("name", "estimator"), [("cka", "debiased"), ("cka", "biased")])
def test_the_tiled_pass_says_what_pairs_say(name, estimator, monkeypatch):
    rng, metric = np.random.default_rng(5), get_metric(name, estimator=estimator)
    (x, y), _ = populations(rng, 700, 80)
    features = {"x": x.astype(np.float32), "y": y.astype(np.float32)}
    by_pairs = pairwise(metric, features, null="closed_form")
    monkeypatch.setattr("consilience.similarity.task.TILED_SAMPLES", 600)
    tiled = pairwise(metric, features, null="closed_form")
    np.testing.assert_allclose(tiled[UNITS], by_pairs[UNITS], atol=2e-5)
    assert not tiled[UNITS].equals(by_pairs[UNITS])  # it was the tiled pass


def test_few_units_and_other_kernels_say_nothing():
    rng = np.random.default_rng(6)
    (x, y), _ = populations(rng, 50, LEAST)
    table = pairwise(get_metric("cka"), {"x": x, "y": y[:, 1:]})
    assert table[UNITS].isna().all(axis=1).tolist() == [False, True, True]
    assert table["value"].notna().all()
    assert table["note"].isna().all()
    assert pairwise(get_metric("cka", kernel="rbf"), {"x": x, "y": y})[UNITS].isna().all(axis=None)
    groups = np.arange(50) // 2
    apart = pairwise(get_metric("cka"), {"x": x, "y": y}, groups=groups)
    assert apart[UNITS].isna().all(axis=None)
    within = pairwise(get_metric("rv"), {"x": x, "y": y}, groups=groups)
    assert within[UNITS].notna().all(axis=None)


def test_a_model_is_what_it_is_to_itself_and_a_copy_is_no_draw():
    rng = np.random.default_rng(7)
    (x, _), _ = populations(rng, 200, 64)
    table = pairwise(get_metric("cka"), {"x": x, "y": x + 1e-3 * rng.normal(size=x.shape)})
    own, copy, _ = (row for _, row in table.iterrows())
    assert own[UNITS].tolist() == [1.0, 1.0, 1.0]
    assert copy["low_units"] > 1
    assert "not independent draws" in copy["note"]
    assert pd.isna(own["note"])


def test_noise_without_anything_in_common_has_a_note():
    for seed in range(20):  # of two sets of pure noise one has units below chance sooner or later
        rng = np.random.default_rng(seed)
        features = {name: rng.normal(size=(40, 40)) for name in "xy"}
        row = pairwise(get_metric("cka"), features).iloc[1]
        if pd.isna(row["value_units"]):
            assert "no value_units" in row["note"]
            return
    pytest.fail("there was always something in common")


def test_one_more_model_gives_the_bytes_of_all_at_once(tmp_path):
    rng = np.random.default_rng(9)
    (x, y), _ = populations(rng, 80, 100)
    (z, _), _ = populations(rng, 80, 70)
    task = Task(get_metric("cka"), null="closed_form")
    features = {"x": x, "y": y, "z": z}
    whole = pairwise(get_metric("cka"), features, null="closed_form")
    path = tmp_path / "store.parquet"
    two = {name: features[name] for name in "xy"}
    pairwise(get_metric("cka"), two, null="closed_form", store=task.open_store(path))
    stored = read_table(path)
    assert stored[UNITS].notna().all(axis=None)
    again = task.open_store(path)
    assert len(again.outcomes) == 3
    grown = pairwise(get_metric("cka"), features, null="closed_form", store=again)
    pd.testing.assert_frame_equal(grown, whole, check_exact=True)


def test_hsic_has_no_bias_in_units_and_an_interval():
    rng = np.random.default_rng(10)
    (x, y), _ = populations(rng, 80, 100)
    row = pairwise(get_metric("hsic", kernel="linear"), {"x": x, "y": y}).iloc[1]
    assert row["value_units"] == pytest.approx(row["value"])  # a mean over pairs of units
    assert row["low_units"] < row["value_units"] < row["high_units"]
