"""Norms of differences of distance matrices: ReSi's numbers, scipy, and nasty shapes."""

import numpy as np
import pytest
from golden import RESI, resi_pair
from scipy.spatial.distance import pdist, squareform

from consilience.errors import ConfigError, MetricError
from consilience.metrics import get_metric

CASES = list(RESI["cases"])


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 7))
    return x, x @ rng.normal(size=(7, 12)) + rng.normal(size=(40, 12))


def difference(pair, distance="euclidean"):
    x, y = (squareform(pdist(a, distance)) for a in pair)
    return x - y


@pytest.mark.reference("rsm_norm_difference", by="ReSi")
@pytest.mark.parametrize("case", CASES)
def test_golden(case):
    entry = RESI["cases"][case]
    shipped = entry["measures"]["RSMNormDifference"]
    x, y = resi_pair(case)
    spectral = get_metric("rsm_norm_difference", norm="spectral")
    assert spectral(x, y) == pytest.approx(shipped["value"], abs=1e-5)
    assert spectral(y, x) == pytest.approx(shipped["value_swapped"], abs=1e-5)
    value = get_metric("rsm_norm_difference")(x, y)  # the norm that ReSi means
    assert value == pytest.approx(entry["variants"]["RSMNormDifference_frobenius"], abs=1e-5)
    condensed = entry["variants"]["RSMNormDifference_condensed_l2"]
    assert value / np.sqrt(2) == pytest.approx(condensed, abs=1e-5)


@pytest.mark.reference("rsm_norm_difference", by="scipy")
@pytest.mark.parametrize("distance", ["euclidean", "cosine", "correlation"])
def test_norms_are_those_of_numpy(pair, distance):
    expected = difference(pair, distance)
    frobenius = get_metric("rsm_norm_difference", distance=distance)
    spectral = get_metric("rsm_norm_difference", distance=distance, norm="spectral")
    assert frobenius(*pair) == pytest.approx(np.linalg.norm(expected), rel=1e-13)
    assert spectral(*pair) == pytest.approx(np.linalg.norm(expected, ord=2), rel=1e-13)


@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
def test_it_is_a_metric(pair, norm):
    metric = get_metric("rsm_norm_difference", norm=norm)
    x, y = pair
    z = np.random.default_rng(4).normal(size=(40, 3))
    assert metric(x, x) == 0
    assert metric(x, z) <= metric(x, y) + metric(y, z)


@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_values_scale_with_both_sides(pair, norm, scale):
    metric = get_metric("rsm_norm_difference", norm=norm)
    x, y = pair
    assert metric(x * scale, y * scale) == pytest.approx(scale * metric(x, y), rel=1e-12)
    assert metric(x * 2.0**-900, y * 2.0**-900) == metric(x, y) * 2.0**-900
    x32, y32 = ((a * 1e15).astype(np.float32) for a in pair)
    assert metric(x32, y32) == pytest.approx(1e15 * metric(x, y), rel=1e-6)


def test_distances_that_overflow_are_refused(pair):
    x, y = pair
    x = np.where(x > 0, 8e307, -8e307)
    with pytest.raises(MetricError, match="scale the features down"):
        get_metric("rsm_norm_difference")(x, y)


def test_nearly_parallel_rows_keep_their_distance():
    """1 - cosine of an angle of 1e-6 is 5e-13, of which 1 - x·y would keep four digits."""
    angles = np.array([0.0, 1e-6, 2.0])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    prepared = get_metric("rsm_norm_difference", distance="cosine").prepare(x)
    assert prepared[0] == pytest.approx(2 * np.sin(5e-7) ** 2, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (5, 1), (6, 5), (5, 30)])
def test_small_and_wide(n, d):
    rng = np.random.default_rng(5)
    pair = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    value = get_metric("rsm_norm_difference")(*pair)
    assert value == pytest.approx(np.linalg.norm(difference(pair)), rel=1e-13)


def test_duplicated_rows_and_constant_columns(pair):
    x, y = (a.copy() for a in pair)
    x[1], x[:, 2], y[3] = x[0], 4.0, 0.0
    expected = np.linalg.norm(difference((x, y)))
    assert get_metric("rsm_norm_difference")(x, y) == pytest.approx(expected, rel=1e-13)


def test_undefined_values(pair):
    x, y = (a.copy() for a in pair)
    with pytest.raises(MetricError, match="at least 2 samples, not 1"):
        get_metric("rsm_norm_difference")(x[:1], y[:1])
    x[4], y[6] = 0, 3
    with pytest.raises(MetricError, match="row 4 is zero"):
        get_metric("rsm_norm_difference", distance="cosine")(x, y)
    with pytest.raises(MetricError, match="row 6 is constant"):
        get_metric("rsm_norm_difference", distance="correlation")(pair[0], y)


def test_parameter_errors():
    with pytest.raises(ConfigError, match="norm cannot be 'nuclear'"):
        get_metric("rsm_norm_difference", norm="nuclear")
    with pytest.raises(ConfigError, match="distance cannot be 'cosin'; did you mean 'cosine'"):
        get_metric("rsm_norm_difference", distance="cosin")


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "correlation"])
def test_distances_of_many_samples_are_those_of_scipy(distance):
    """Products tell them, but for rows that are near to each other beside their size."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(700, 20)) + 3
    x[600:610] = x[:10] + 1e-7 * rng.normal(size=(10, 20))
    x[650], x[651] = x[0], x[1]
    found = get_metric("rsm_norm_difference", distance=distance).prepare(x)
    expected = pdist(x, distance)
    digits = {"rtol": 1e-12, "atol": 0} if distance == "euclidean" else {"rtol": 0, "atol": 1e-15}
    np.testing.assert_allclose(found, expected, **digits)
    assert squareform(found)[0, 650] == 0
