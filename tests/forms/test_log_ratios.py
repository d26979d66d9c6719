"""Riemannian distances from determinants: their bounds hold, and eigenvalues are taken else.

References are eigenvalues of whole kernels.
"""

import numpy as np
import pytest
from scipy.linalg import eigh

from consilience.forms import log_ratios
from consilience.metrics import bures, get_metric

N = 260
KINDS = ["noise", "falling", "shared", "one", "rank", "repeated", "tiny", "same", "turned", "part"]


def sides(kind, widths=(100, 140), n=N):
    """Two sets of features with spectra of many sorts."""
    rng = np.random.default_rng(widths[0])
    x, y = (rng.standard_normal((n, d)) for d in widths)
    common = rng.standard_normal((n, 8))
    if kind == "falling":
        x, y = (side * np.arange(1.0, side.shape[1] + 1) ** -1.5 for side in (x, y))
    if kind == "shared":
        x, y = (side + 2 * common @ rng.standard_normal((8, side.shape[1])) for side in (x, y))
    if kind == "one":
        x, y = (side + 1e3 * common[:, :1] for side in (x, y))
    if kind == "rank":
        x = common @ rng.standard_normal((8, widths[0]))
    if kind == "repeated":
        x[:, 20:] = x[:, :1]
        y[:, 1::2] = y[:, ::2]
    if kind == "tiny":
        x *= np.geomspace(1, 1e-9, widths[0])
    if kind == "same":
        y = x + 1e-9 * rng.standard_normal(x.shape)
    if kind == "turned":
        y = x @ np.linalg.qr(rng.standard_normal((widths[0], widths[0])))[0]
    if kind == "part":
        y = np.hstack([x[:, : widths[0] // 2], y[:, : widths[1] // 2]])
    return x, y


def logs(k, kernel):
    """The logarithms of eigenvalues of a kernel relative to k: small ones are known from the other
    order, as each knows eigenvalues beside the largest (checked with 40 digits by mpmath)."""
    above = np.log(eigh(kernel, k, eigvals_only=True))
    below = -np.log(eigh(k, kernel, eigvals_only=True))[::-1]
    return np.where(above > 0, above, below)


def distance(x, y, ridge, *, scale):
    """The distance between kernels."""
    kernels = []
    for side in (x, y):
        middle = side - side.mean(axis=0)
        kernel = middle @ middle.T
        mean = np.trace(kernel) / len(side)
        kernels.append((kernel + ridge * mean * np.eye(len(side))) / (mean if scale else 1))
    return np.sqrt(np.sum(logs(*kernels) ** 2))


@pytest.fixture(autouse=True)
def large(monkeypatch):
    """Counts small features as large, and eigenvalue problems."""
    monkeypatch.setattr(bures, "LARGE", 0)
    found, plain = [], bures._ratios
    monkeypatch.setattr(bures, "_ratios", lambda *given: found.append(1) or plain(*given))
    return found


@pytest.mark.parametrize("reach", [1.0, 2.25, 4.0, 7.5, 12.0, 25.0])
@pytest.mark.parametrize("more", [0, 4])
def test_fits_err_by_no_more_than_they_say(reach, more):
    how = log_ratios.fit(reach, more)
    assert how.error < 2e-7
    assert np.abs(how.shares).sum() < 100  # rounding of what it is made of is not blown up
    points = np.random.default_rng(0).uniform(-reach, reach, 20_000)
    values = how.shares[0] * (np.logaddexp(0, points) - points / 2) + how.constant
    values += how.hyperbolic * np.cosh(points)
    for place, share in zip(how.places[1:], how.shares[1:], strict=True):
        both = np.logaddexp(0, points - place) + np.logaddexp(0, points + place)
        values += share * (both - points - place)
    assert np.abs(values - points**2).max() <= how.error
    assert how.error < max(1e-12, 2 * np.abs(values - points**2).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ridge", [1.0, 0.1, 1e-3])
def test_sums_are_known_as_well_as_they_say(kind, ridge):
    x, y = (side - side.mean(axis=0) for side in sides(kind))
    x, y = (side * np.sqrt(N / ridge) / np.linalg.norm(side) for side in (x, y))
    turned = []
    for side in (x, y):
        squares, axes = np.linalg.eigh(side.T @ side)
        turned.append((np.maximum(squares, 0), side @ axes))
    (p, x), (q, y) = turned
    found = log_ratios.log_sums(p, q, x.T @ y)
    expected = logs(np.eye(N) + x @ x.T, np.eye(N) + y @ y.T)
    assert abs(found.squares - np.sum(expected**2)) <= found.loss
    assert found.total == pytest.approx(np.sum(expected), abs=1e-7)
    assert found.loss < 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ridge", [1.0, 0.1, 1e-3])
@pytest.mark.parametrize("scale", [True, False])
def test_distances_are_those_of_kernels(kind, ridge, scale):
    x, y = sides(kind)
    y = 3 * y
    metric = get_metric("riemannian", ridge=ridge, scale=scale)
    a, b = metric.prepare(x), metric.prepare(y)
    expected = distance(x, y, ridge, scale=scale)
    assert metric.compare(a, b) == pytest.approx(expected, abs=1e-6)
    assert metric.compare(b, a) == metric.compare(a, b)


@pytest.mark.parametrize("widths", [(100, 140), (140, 100), (120, 120), (3, 200)])
def test_as_a_rule_no_eigenvalues_are_needed(widths, large):
    x, y = sides("shared", widths)
    metric = get_metric("riemannian")
    a, b = metric.prepare(x), metric.prepare(y)
    assert (metric.compare(a, b), large) == (pytest.approx(metric.compare(b, a)), [])
    order = np.random.default_rng(3).permutation(N)
    moved = metric.compare(metric.permuted(a, order), b)
    assert moved == pytest.approx(metric(x[order], y), abs=1e-6)
    large_one = get_metric("riemannian", scale=False)
    value = large_one(x * 2.0**300, y * 2.0**300)
    assert value == pytest.approx(large_one(x, y), abs=1e-6)


@pytest.mark.parametrize("kind", ["same", "turned"])
def test_what_is_nearly_the_same_takes_eigenvalues(kind, large):
    x, y = sides(kind)
    assert get_metric("riemannian")(x, y) == pytest.approx(0, abs=1e-6)
    assert large


def test_more_units_than_samples_take_eigenvalues(large):
    for widths in ((100, 140), (300, 40)):
        x, y = sides("noise", widths, n=200)
        metric = get_metric("riemannian")
        expected = distance(x, y, 0.1, scale=True)
        assert metric(x, y) == pytest.approx(expected, rel=1e-9)
    assert len(large) == 2


def test_a_fit_that_does_not_do_is_made_finer(monkeypatch, large):
    asked, plain = [], bures.log_sums
    monkeypatch.setattr(bures, "log_sums", lambda *given: asked.append(given[-1]) or plain(*given))
    x, y = sides("noise", (60, 60))
    y = x + 0.003 * y
    expected = distance(x, y, 0.1, scale=True)
    assert get_metric("riemannian")(x, y) == pytest.approx(expected, abs=1e-6)
    assert asked == [0, bures.MORE]
    assert not large
