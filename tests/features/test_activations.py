"""Activations to matrices: against torch, by hand, and what is refused."""

import numpy as np
import pytest

from consilience.errors import ConfigError, FeaturesError
from consilience.features.activations import (
    REDUCTIONS,
    adaptive_average_pool,
    describe,
    reduce,
    reduce_pair,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("size", [(7, 7), (1, 1), (3, 2), (6, 4), (7, 5), (9, 11)])
def test_pooling_is_that_of_torch(rng, size):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(3, 4, 7, 7))
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x), size).numpy()
    np.testing.assert_allclose(adaptive_average_pool(x, size), expected, atol=1e-14)


def test_pooling_is_the_mean_over_windows_by_definition(rng):
    x = rng.normal(size=(1, 1, 10, 13))
    pooled = adaptive_average_pool(x, (4, 5))
    for i in range(4):
        for j in range(5):
            rows = slice(int(np.floor(i * 10 / 4)), int(np.ceil((i + 1) * 10 / 4)))
            columns = slice(int(np.floor(j * 13 / 5)), int(np.ceil((j + 1) * 13 / 5)))
            assert pooled[0, 0, i, j] == pytest.approx(x[0, 0, rows, columns].mean(), abs=1e-14)


def test_flatten_and_mean(rng):
    maps, tokens = rng.normal(size=(5, 3, 4, 2)), rng.normal(size=(5, 6, 7))
    assert np.array_equal(reduce(maps, "flatten"), maps.reshape(5, 24))
    assert np.array_equal(reduce(tokens, "flatten"), tokens.reshape(5, 42))
    assert np.array_equal(reduce(maps[:, :, 0, 0], "flatten"), maps[:, :, 0, 0])
    np.testing.assert_allclose(reduce(maps, "mean"), maps.mean(axis=3).mean(axis=2), atol=1e-15)
    np.testing.assert_allclose(reduce(tokens, "mean"), tokens.mean(axis=1), atol=1e-15)
    x, y = reduce_pair(maps, tokens, "mean")  # a convolutional network and a transformer
    assert x.shape == (5, 3)
    assert y.shape == (5, 7)


def test_half_precision_means_do_not_overflow():
    maps = np.full((2, 3, 30, 30), 60_000, dtype=np.float16)
    assert (reduce(maps, "mean") == 60_000).all()
    np.testing.assert_allclose(adaptive_average_pool(maps, (7, 7)), 60_000)


def test_spatial_rows_are_samples_and_positions(rng):
    x = rng.normal(size=(5, 3, 4, 2))
    rows = reduce(x, "spatial")
    assert rows.shape == (40, 3)
    assert np.array_equal(rows[2 * 8 + 3 * 2 + 1], x[2, :, 3, 1])


def test_spatial_pairs_are_pooled_to_the_smaller_of_each_side(rng):
    x, y = rng.normal(size=(5, 3, 8, 2)), rng.normal(size=(5, 6, 4, 7))
    a, b = reduce_pair(x, y, "spatial")
    assert a.shape == (40, 3)
    assert b.shape == (40, 6)
    assert np.array_equal(a, reduce(adaptive_average_pool(x, (4, 2)), "spatial"))
    assert np.array_equal(b, reduce(adaptive_average_pool(y, (4, 2)), "spatial"))


def test_tokens_become_samples(rng):
    x, y = rng.normal(size=(5, 6, 7)), rng.normal(size=(5, 6, 2))
    a, b = reduce_pair(x, y, "tokens")
    assert np.array_equal(a, x.reshape(30, 7))
    assert np.array_equal(b, y.reshape(30, 2))


def coded(n, each):
    """Maps or tokens whose single unit is the number of its row."""
    return np.arange(n * each, dtype=float).reshape(n, each)


def test_the_same_random_rows_of_both_sides():
    x = coded(100, 49)
    a, b = reduce_pair(x.reshape(100, 1, 7, 7), -x.reshape(100, 1, 7, 7), "spatial", max_rows=500)
    assert a.shape == (500, 1)
    assert np.array_equal(a, -b)
    assert (np.diff(a[:, 0]) > 0).all()  # in order, each once
    again, _ = reduce_pair(x[:, None].reshape(100, 1, 7, 7), x.reshape(100, 1, 7, 7), "spatial")
    assert len(again) == 4900
    other = reduce(x.reshape(100, 1, 7, 7), "spatial", max_rows=500, seed=1)
    assert not np.array_equal(a, other)
    assert np.array_equal(a, reduce(x[:, :, None], "tokens", max_rows=500))
    assert len(reduce(x[:, :, None], "tokens", max_rows=None)) == 4900


def test_all_positions_are_kept_alike():
    """A stride of floor(rows / max_rows) would keep position 0 of every map and no other."""
    rows = reduce(coded(500, 49).reshape(500, 1, 7, 7), "spatial", max_rows=500)[:, 0]
    counts = np.bincount(rows.astype(int) % 49, minlength=49)
    assert counts.min() > 0
    assert counts.max() < 30
    assert set(range(0, 500 * 49, 49)) != set(rows)


def test_torch_tensors(rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(5, 3, 4, 2)).astype(np.float32)
    for name in ("flatten", "mean", "spatial"):
        tensor = torch.from_numpy(x).requires_grad_()
        np.testing.assert_array_equal(reduce(tensor, name), reduce(x, name))


def test_what_a_table_records():
    assert describe("mean", seed=3) == {"reduction": "mean"}
    assert describe("spatial", seed=3) == {"reduction": "spatial", "max_rows": 5000, "seed": 3}
    assert all(reduction.summary for reduction in REDUCTIONS.values())


@pytest.mark.parametrize(
    ("shape", "name", "message"),
    [
        (
            (5, 4),
            "mean",
            r"x has shape \(5, 4\); reduction .mean. takes \(samples, tok",
        ),
        ((5, 4, 3), "spatial", r"shape \(5, 4, 3\); .* takes \(samples, channels, h, w\)"),
        ((5, 4, 3, 2), "tokens", r"shape \(5, 4, 3, 2\)"),
        ((5,), "flatten", r"shape \(5,\)"),
        ((5, 0, 3, 2), "flatten", "not empty"),
    ],
)
def test_wrong_shapes_are_named(shape, name, message):
    with pytest.raises(FeaturesError, match=message):
        reduce(np.zeros(shape), name)


def test_pairs_that_do_not_correspond():
    with pytest.raises(FeaturesError, match="x has 5 samples and y has 6"):
        reduce_pair(np.zeros((5, 2, 3)), np.zeros((6, 2, 3)), "mean")
    with pytest.raises(FeaturesError, match="x has 2 tokens per sample and y has 4"):
        reduce_pair(np.zeros((5, 2, 3)), np.zeros((5, 4, 3)), "tokens")
    with pytest.raises(FeaturesError, match="y has shape"):
        reduce_pair(np.zeros((5, 2, 3, 3)), np.zeros((5, 4, 3)), "spatial")
    with pytest.raises(FeaturesError, match="dtype complex128"):
        reduce(np.zeros((5, 2, 3), dtype=complex), "mean")
    with pytest.raises(FeaturesError, match="cannot pool"):
        adaptive_average_pool(np.zeros((5, 2, 3)), (1, 1))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("spatail", {}, "unknown reduction 'spatail'; did you mean 'spatial'?"),
        ("spatial", {"max_rows": 0}, "max_rows cannot be 0; use a whole number from 1"),
        ("tokens", {"max_rows": 2.5}, "max_rows cannot be 2.5"),
        ("spatial", {"seed": None}, "seed cannot be None"),
    ],
)
def test_bad_parameters(name, options, message):
    for call in (describe, lambda *a, **k: reduce(np.zeros((2, 2, 2, 2)), *a, **k)):
        with pytest.raises(ConfigError) as error:
            call(name, **options)
        assert message in str(error.value)
