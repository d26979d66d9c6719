"""Distances after the best rotation from float32 products: bounds hold, and fall-backs are taken.

References are singular values of float64 products.
"""

import numpy as np
import pytest

from consilience.forms import nuclear
from consilience.metrics import aligned, get_metric

N = 900
WIDTHS = (300, 400)


@pytest.fixture
def calls(monkeypatch):
    """Counts full singular value decompositions."""
    found = []
    plain = nuclear._singular_sum
    monkeypatch.setattr(
        nuclear, "_singular_sum", lambda cross: found.append(cross.shape) or plain(cross)
    )
    return found


def sides(decay, shared=0.0, seed=0):
    """Two sets of features whose principal components fall as i**-decay."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((N, 16))
    for d in WIDTHS:
        x = rng.standard_normal((N, d)) * np.arange(1.0, d + 1) ** -decay
        turn, _ = np.linalg.qr(rng.standard_normal((d, d)))
        x = x @ turn + shared * common @ rng.standard_normal((16, d))
        x = x - x.mean(axis=0)
        yield x / np.linalg.norm(x)


def strength(x, y):
    return np.linalg.svd(x.T @ y, compute_uv=False).sum()


@pytest.mark.parametrize(("decay", "shared"), [(0, 0), (0.5, 0), (1, 0), (0, 3), (2, 0)])
def test_values_are_those_of_float64(decay, shared):
    x, y = sides(decay, shared)
    nuclear = strength(x, y)
    expected = {
        "procrustes": np.sqrt(2 - 2 * nuclear),
        "nbs": nuclear,
        "shape": np.arccos(nuclear),
    }
    for name, value in expected.items():
        assert get_metric(name)(x, y) == pytest.approx(value, abs=1e-7)
        assert get_metric(name)(y, x) == pytest.approx(value, abs=1e-7)
    bures = np.sqrt(1 / 300 + 1 / 400 - 2 * nuclear / np.sqrt(300 * 400))
    assert get_metric("bures")(x, y) == pytest.approx(bures, rel=1e-6)
    assert get_metric("bures")(x * 2.0**300, y * 2.0**300) == pytest.approx(
        bures * 2.0**300, rel=1e-6
    )


def test_features_as_they_come_need_no_singular_values(calls):
    for decay, shared in ((0, 0), (0.5, 0), (0, 3)):
        get_metric("procrustes")(*sides(decay, shared))
    assert not calls


@pytest.mark.parametrize("decay", [0, 0.5, 1])
def test_the_bound_of_the_product_holds(decay):
    a, b = (nuclear.with_copy(x.copy()) for x in sides(decay, 1.0))
    exact = a.x.T @ b.x
    cross = (a.single.T @ b.single).astype(float)
    missed = np.linalg.svd(cross - exact, compute_uv=False).sum()
    assert missed > 0
    assert missed <= nuclear._product_error(a, b, cross)
    spoiled = cross.copy()
    spoiled[5, 7] += 1e-3  # one entry
    assert nuclear._product_error(a, b, spoiled) >= 1e-3
    spoiled = cross + 1e-6 * np.random.default_rng(1).standard_normal(cross.shape)
    missed = np.linalg.svd(spoiled - exact, compute_uv=False).sum()
    assert missed <= nuclear._product_error(a, b, spoiled)


@pytest.mark.parametrize("small", [1e-3, 1e-6, 1e-9, 0.0])
def test_small_singular_values_are_bounded(small):
    rng = np.random.default_rng(2)
    u, _ = np.linalg.qr(rng.standard_normal((200, 200)))
    v, _ = np.linalg.qr(rng.standard_normal((300, 200)))
    sizes = np.full(200, small)
    sizes[:5] = 1.0
    value, loss = nuclear._gram_sum((u * sizes) @ v.T)
    assert abs(value - sizes.sum()) <= loss
    if small == 0:
        assert loss > 1e-6  # 195 roots of rounding: no digits to rely on


def test_a_low_rank_takes_singular_values(calls):
    """All weight lies in 3 directions; 297 roots of rounding would add 1e-6."""
    rng = np.random.default_rng(3)
    base = rng.standard_normal((N, 3))
    x, y = (base @ rng.standard_normal((3, d)) for d in WIDTHS)
    y += 0.5 * rng.standard_normal((N, 3)) @ rng.standard_normal((3, WIDTHS[1]))
    x, y = (side - side.mean(axis=0) for side in (x, y))
    x, y = (side / np.linalg.norm(side) for side in (x, y))
    value = get_metric("procrustes")(x, y)
    assert value == pytest.approx(np.sqrt(2 - 2 * strength(x, y)), abs=1e-7)
    assert calls


def test_a_spoiled_copy_is_noticed(calls):
    metric = get_metric("procrustes")
    x, y = sides(0.5)
    a, b = metric.prepare(x), metric.prepare(y)
    spoiled = a._replace(single=a.single * np.float32(1 + 1e-4))
    assert metric.compare(spoiled, b) == pytest.approx(metric.compare(a, b), abs=1e-7)


def test_same_sides_and_rotated_ones_are_at_distance_0():
    x, _ = sides(0.5)
    turn, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((300, 300)))
    metric = get_metric("procrustes")
    assert metric(x, x) < 1e-12
    assert metric(x, x @ turn) < 1e-12


def test_permuted_forms_are_those_of_permuted_samples():
    x, y = sides(0.5)
    order = np.random.default_rng(5).permutation(N)
    metric = get_metric("procrustes")
    moved = metric.compare(metric.permuted(metric.prepare(x), order), metric.prepare(y))
    assert moved == pytest.approx(metric(x[order], y), abs=1e-7)


def test_turning_is_a_rotation():
    x, _ = sides(1)
    turned = nuclear._turned(x.copy())
    np.testing.assert_allclose(turned @ turned.T, x @ x.T, atol=1e-15)
    strongest = np.linalg.svd(x, compute_uv=False)[: nuclear.STRONG]
    assert np.linalg.norm(turned[:, : nuclear.STRONG]) > 0.99 * np.linalg.norm(strongest)


def test_aligned_cosine_is_that_of_singular_vectors():
    x, y = sides(0, 0.3)
    u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    expected = np.mean(np.sum((x @ u) * (y @ vt.T), axis=1) / lengths)
    metric = get_metric("aligned_cosine")
    assert metric(x, y) == pytest.approx(expected, abs=1e-8)
    assert metric(y, x) == pytest.approx(expected, abs=1e-8)
    a, b = metric.prepare(x), metric.prepare(y)
    cross = a.x.T @ b.x
    assert aligned._sum_of_cosines(a, b, cross, 1e-6 * N) is not None
    spoiled = a._replace(rows=a.rows * np.float32(1 + 1e-4))
    assert aligned._sum_of_cosines(spoiled, b, cross, 1e-6 * N) is None
    order = np.random.default_rng(5).permutation(N)
    moved = metric.compare(metric.permuted(a, order), b)
    assert moved == pytest.approx(metric(x[order], y), abs=1e-8)


def test_aligned_cosine_of_few_directions_takes_singular_vectors():
    rng = np.random.default_rng(3)
    base = rng.standard_normal((N, 3))
    x, y = (base @ rng.standard_normal((3, d)) for d in WIDTHS)
    metric = get_metric("aligned_cosine")
    a, b = metric.prepare(x), metric.prepare(y)
    assert aligned._sum_of_cosines(a, b, a.x.T @ b.x, 1e-6 * N) is None
    u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    expected = np.mean(np.sum((x @ u[:, :3]) * (y @ vt[:3].T), axis=1) / lengths)
    assert metric.compare(a, b) == pytest.approx(expected, abs=1e-8)


def cosine_by_singular_vectors(x, y):
    u, s, vt = np.linalg.svd(x.T @ y, full_matrices=False)
    kept = s > s[0] * 1e-12
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.mean(np.sum((x @ u[:, kept]) * (y @ vt[kept].T), axis=1) / lengths)


def cosine_by_row(x, y, row, other):
    """Returns the cosine of two rows after the best rotation of x to y."""
    u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
    return row @ u @ vt @ other / (np.linalg.norm(row) * np.linalg.norm(other))


def of_unit_rows(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["noise", "falling", "one", "rank", "repeated", "narrow"])
def test_aligned_cosine_of_even_rows(kind):
    """Rows of one length, to float64 or float32, and of one beside rows of any length."""
    decay = {"falling": 2, "one": 1}.get(kind, 0)
    x, y = sides(decay, {"one": 30, "noise": 0.3}.get(kind, 0))
    if kind == "rank":
        x = x[:, :40] @ np.random.default_rng(1).standard_normal((40, 300))
    if kind == "repeated":
        y[:, 200:] = y[:, :200]
    if kind == "narrow":
        x = np.tile(x[:, :50], (1, 6))
    metric = get_metric("aligned_cosine")
    for a, b in (
        (of_unit_rows(x), of_unit_rows(y)),
        (of_unit_rows(x).astype(np.float32).astype(float), 3 * of_unit_rows(y)),
        (of_unit_rows(x), y),
    ):
        forms = metric.prepare(a), metric.prepare(b)
        assert forms[0].even
        assert forms[1].even == (b is not y)
        expected = cosine_by_singular_vectors(a, b)
        assert metric.compare(*forms) == pytest.approx(expected, abs=2e-7)
        assert metric.compare(*forms[::-1]) == metric.compare(*forms)


def test_rows_that_differ_in_length_by_more_than_float32_are_not_even():
    x, y = map(of_unit_rows, sides(0, 0.3))
    metric = get_metric("aligned_cosine")
    assert metric.prepare(x).even
    x[3] *= 1 + 1e-6
    assert not metric.prepare(x).even
    x[3] = 0
    skipping = get_metric("aligned_cosine", zero_rows="skip")
    assert not skipping.prepare(x).even
    kept = np.arange(N) != 3
    expected = cosine_by_singular_vectors(x[kept], y[kept])
    assert skipping(x, y) == pytest.approx(expected, abs=1e-8)
    tiny = x.copy()
    tiny[3] = 1e-200 * x[4]
    expected = (N - 1) / N * expected + cosine_by_row(x, y, x[4], y[3]) / N
    assert metric(tiny, y) == pytest.approx(expected, abs=1e-8)


def test_even_rows_permuted_and_spoiled():
    x, y = map(of_unit_rows, sides(0, 0.3))
    metric = get_metric("aligned_cosine")
    a, b = metric.prepare(x), metric.prepare(y)
    order = np.random.default_rng(5).permutation(N)
    expected = cosine_by_singular_vectors(x[order], y)
    assert metric.compare(metric.permuted(a, order), b) == pytest.approx(expected, abs=1e-8)
    spoiled = a._replace(rows=a.rows * np.float32(1 + 1e-4))
    expected = cosine_by_singular_vectors(x, y)
    assert metric.compare(spoiled, b) == pytest.approx(expected, abs=1e-8)
    assert metric(x, x) == pytest.approx(1, abs=1e-8)
