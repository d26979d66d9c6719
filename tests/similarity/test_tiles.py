"""The tiled pass against the plain one: values, nulls, failures, memory, and its independence."""

import numpy as np
import pandas as pd
import pytest

from consilience.errors import ConfigError
from consilience.metrics import get_metric
from consilience.similarity import Engine, pairwise, pairwise_many, task
from consilience.similarity.engine import device as on_device
from consilience.similarity.engine.tiles import COLUMNS, ROWS, tiles

TILED = [
    ("cka", {}),
    ("cka", {"estimator": "biased"}),
    ("cka", {"kernel": "rbf"}),
    ("cka", {"kernel": "rbf", "sigma": 20.0, "estimator": "biased"}),
    ("cka", {"kernel": "laplace"}),
    ("rv", {}),
    ("distance_correlation", {}),
    ("rsa", {}),
    ("rsa", {"rdm": "cosine", "compare": "pearson"}),
    ("rsa", {"compare": "cosine"}),
    ("rsa", {"rdm": "euclidean"}),
    ("rsa", {"rdm": "euclidean", "compare": "pearson"}),
    ("rsa", {"rdm": "squared_euclidean", "compare": "cosine"}),
]


def models(n, *, seed=0):
    """Features with a shared part: plain, far from the origin, wide, with outliers, with ties."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 10))
    sides = [shared @ rng.normal(size=(10, d)) / 3 + rng.normal(size=(n, d)) for d in (20, 40, 300)]
    sides[1] += 30
    sides.append(sides[0] * (1 + np.abs(rng.standard_t(2, size=(n, 1)))))
    sides.append(np.round(sides[0]))
    return {f"m{i}": x for i, x in enumerate(sides)}


@pytest.fixture
def always_tiled(monkeypatch):
    monkeypatch.setattr(task, "TILED_SAMPLES", 1)


def test_tiles_meet_every_pair_once():
    for n in (5, ROWS, COLUMNS + ROWS + 1, 2 * COLUMNS):
        met = np.zeros((n, n), dtype=int)
        for rows, columns in tiles(n):
            met[rows, columns] += 1
        assert (met[np.triu_indices(n, 1)] == 1).all()


@pytest.mark.parametrize(("name", "parameters"), TILED)
def test_values_are_those_of_float64(name, parameters, monkeypatch):
    metric, x = get_metric(name, **parameters), models(500)
    plain = pairwise(metric, x, null="closed_form")
    monkeypatch.setattr(task, "TILED_SAMPLES", 1)
    tiled = pairwise(metric, x, null="closed_form")
    assert tiled["failure"].isna().all()
    np.testing.assert_allclose(tiled["value"], plain["value"], atol=2e-6)
    np.testing.assert_allclose(tiled["null_mean"], plain["null_mean"], atol=2e-6)
    np.testing.assert_allclose(tiled["null_sd"], plain["null_sd"], rtol=1e-5)
    np.testing.assert_allclose(tiled["p"], plain["p"], rtol=1e-2, atol=1e-6)


def test_large_n_is_tiled_by_itself(monkeypatch):
    """Both ways meet at the border within float32: no jump for a study that grows."""
    x = models(2100)
    x = {name: x[name] for name in ("m0", "m2")}
    for name, parameters in (("cka", {}), ("rsa", {})):
        metric = get_metric(name, **parameters)
        tiled = pairwise(metric, x, null="closed_form")
        monkeypatch.setattr(task, "TILED_SAMPLES", 10**9)
        plain = pairwise(metric, x, null="closed_form")
        monkeypatch.undo()
        assert not tiled["value"].equals(plain["value"])
        np.testing.assert_allclose(tiled["value"], plain["value"], atol=1e-6)
        np.testing.assert_allclose(tiled["null_sd"], plain["null_sd"], rtol=1e-4)


@pytest.mark.usefixtures("always_tiled")
@pytest.mark.parametrize(("name", "parameters"), TILED[:1] + TILED[7:8])
def test_a_value_depends_on_its_two_models_alone(name, parameters, tmp_path):
    metric, x = get_metric(name, **parameters), models(400)
    whole = pairwise(metric, x, null="closed_form")
    for some in (["m3", "m1"], ["m4", "m0", "m2"], ["m2"]):
        part = pairwise(
            metric,
            {name: x[name] for name in some},
            null="closed_form",
            engine=Engine(threads=2, max_memory=1, scratch=str(tmp_path)),
        )
        pairs = whole.merge(part[["model_x", "model_y"]])
        assert pairs.equals(part)


@pytest.mark.usefixtures("always_tiled")
def test_failures_are_those_of_their_model():
    x = models(60)
    x["flat"] = np.ones((60, 3))
    table = pairwise(get_metric("cka"), x)
    failed = table["failure"].notna()
    assert failed.sum() == 6
    assert (table.loc[failed, ["model_x", "model_y"]] == "flat").any(axis=1).all()
    assert table.loc[failed, "failure"].str.contains("constant").all()


@pytest.mark.usefixtures("always_tiled")
def test_a_kernel_that_vanishes_is_a_failure():
    x = models(60)
    table = pairwise(get_metric("cka", kernel="rbf", sigma=1e-3), {"a": x["m0"], "b": x["m2"]})
    assert table["value"].isna().all()
    assert table["failure"].str.contains("equally alike").all()


@pytest.mark.usefixtures("always_tiled")
@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1e150])
def test_scale_is_ignored(scale):
    x = models(300)
    for name in ("cka", "rsa"):
        metric = get_metric(name)
        plain = pairwise(metric, x)
        scaled = pairwise(metric, {name: scale * side for name, side in x.items()})
        np.testing.assert_allclose(scaled["value"], plain["value"], atol=1e-6)


def test_self_pairs_are_one():
    x = {"a": models(2100)["m1"]}
    for name in ("cka", "rsa"):
        assert pairwise(get_metric(name), x)["value"].iloc[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.usefixtures("always_tiled")
@pytest.mark.parametrize(
    ("memory", "name", "parameters"),
    [(10**9, *case) for case in TILED] + [(0, *TILED[0]), (0, *TILED[7])],
)
def test_a_device_of_torch_gives_the_same_values(memory, name, parameters, monkeypatch):
    """Device `cpu:0` is PyTorch's own CPU; a GPU takes the same way."""
    monkeypatch.setattr(on_device, "CPU_MEMORY", memory)
    metric, x = get_metric(name, **parameters), models(700)
    here = pairwise(metric, x, null="closed_form")
    there = pairwise(metric, x, null="closed_form", engine=Engine(device="cpu:0"))
    np.testing.assert_allclose(there["value"], here["value"], atol=2e-6)
    np.testing.assert_allclose(there["null_sd"], here["null_sd"], rtol=1e-5)


@pytest.mark.usefixtures("always_tiled")
def test_a_device_that_is_not_there_is_one_message():
    with pytest.raises(ConfigError, match=r"similarity.device 'cuda:7' cannot be used"):
        pairwise(get_metric("cka"), models(50), engine=Engine(device="cuda:7"))


@pytest.mark.usefixtures("always_tiled")
@pytest.mark.parametrize("memory", [10**9, 1])
def test_metrics_that_share_a_pass_have_the_same_bytes(memory):
    """Widths share distances, linear kernels share theirs; others go their own way."""
    metrics = {
        "narrow": get_metric("cka", kernel="rbf", sigma=5.0),
        "wide": get_metric("cka", kernel="rbf", sigma=20.0, estimator="biased"),
        "long": get_metric("cka", kernel="laplace", sigma=9.0),
        "linear": get_metric("cka"),
        "biased": get_metric("cka", estimator="biased"),
        "median": get_metric("cka", kernel="rbf"),
        "ranks": get_metric("rsa"),
    }
    x = models(1100) | {"flat": np.ones((1100, 3))}
    engine = Engine(threads=2, max_memory=memory)
    tables = pairwise_many(metrics, x, null="closed_form", engine=engine)
    assert list(tables) == list(metrics)
    there = Engine(device="cpu:0")
    on_device = pairwise_many(metrics, x, null="closed_form", engine=there)
    for name, metric in metrics.items():
        assert tables[name].equals(pairwise(metric, x, null="closed_form"))
        alone = pairwise(metric, x, null="closed_form", engine=there)
        pd.testing.assert_frame_equal(on_device[name], alone, rtol=1e-6, atol=1e-7)
