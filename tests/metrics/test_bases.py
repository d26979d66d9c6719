"""Bases and directions from Gram matrices: those of singular vectors, and the fall-backs."""

import numpy as np
import pytest

from consilience.forms import bases, nuclear
from consilience.forms.kernels import ranked_svd, twice_centered
from consilience.metrics import get_metric

N = 900


def features(d, seed, decay=0.5):
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((d, d)))
    common = np.random.default_rng(9).standard_normal((N, 40))
    x = (rng.standard_normal((N, d)) * np.arange(1.0, d + 1) ** -decay) @ turn
    return x + 0.2 * common @ rng.standard_normal((40, d)) / 6


def references(x, y):
    """CCA, PWCCA and SVCCA (99 %) by singular value decompositions alone."""
    (u, s, vt), (v, t, _) = (
        np.linalg.svd(side - side.mean(axis=0), full_matrices=False) for side in (x, y)
    )
    turn, rho, _ = np.linalg.svd(u.T @ v, full_matrices=False)
    weights = np.abs(turn.T @ (s[:, None] * vt)).sum(axis=1)
    shares = [np.cumsum(a**2) / np.sum(a**2) for a in (s, t)]
    k, m = (int(np.argmax(share >= 0.99)) + 1 for share in shares)
    leading = np.linalg.svd(u[:, :k].T @ v[:, :m], compute_uv=False)
    return {
        "cca": rho.mean(),
        "pwcca": np.dot(weights, rho) / weights.sum(),
        "svcca": leading.mean(),
    }


@pytest.mark.parametrize("widths", [(300, 400), (400, 300), (350, 350)])
def test_values_are_those_of_singular_vectors(widths):
    x, y = (features(d, seed) for seed, d in enumerate(widths))
    for name, expected in references(x, y).items():
        assert get_metric(name)(x, y) == pytest.approx(expected, abs=1e-8)


def test_a_basis_is_orthonormal_and_gives_the_features_back():
    given = features(300, 1)
    x = twice_centered(given)
    q, r = bases.column_basis(x, "test", given)
    assert np.array_equal(r, np.triu(r))  # the factor was used
    np.testing.assert_allclose(q.T @ q, np.eye(300), atol=1e-13)
    np.testing.assert_allclose(q @ r, x, atol=1e-13)


@pytest.mark.parametrize("small", [0.0, 1e-12, 1e-7])
def test_dependent_units_take_singular_vectors(small):
    """A unit that combines two others, up to a share that a Gram matrix hardly knows."""
    given = features(60, 2)
    given[:, 7] = given[:, 3] - given[:, 5] + small * given[:, 7]
    x = twice_centered(given)
    assert bases.basis_by_gram(x, given) is None
    q, r = bases.column_basis(x, "test", given)
    u, s, _ = ranked_svd(x, "test", given)
    assert len(r) == len(s) == (59 if small < 1e-10 else 60)
    np.testing.assert_allclose(q @ q.T, u @ u.T, atol=1e-12)


def test_leading_directions_that_are_weak_take_singular_vectors(monkeypatch):
    taken = []
    plain = bases.ranked_svd
    monkeypatch.setattr(bases, "ranked_svd", lambda *a: taken.append(1) or plain(*a))
    given = features(60, 3, decay=3)
    x = twice_centered(given)
    strong = bases.leading_directions(x, "test", given, lambda squares: 5)
    assert not taken
    weak = bases.leading_directions(x, "test", given, len)
    assert taken
    u = np.linalg.svd(x, full_matrices=False)[0]
    for found in (strong, weak):
        k = found.shape[1]
        np.testing.assert_allclose(found @ found.T, u[:, :k] @ u[:, :k].T, atol=1e-9)


def test_wide_features_have_the_directions_of_their_samples():
    given = features(300, 4)[:100]
    x = twice_centered(given)
    found = bases.leading_directions(x, "test", given, lambda squares: 20)
    u = np.linalg.svd(x, full_matrices=False)[0][:, :20]
    np.testing.assert_allclose(found @ found.T, u @ u.T, atol=1e-10)


@pytest.mark.parametrize("shape", [(100, 150), (150, 100)])
@pytest.mark.parametrize("least", [0.1, 1e-6])
def test_left_vectors(shape, least):
    rng = np.random.default_rng(5)
    u, v = (np.linalg.qr(rng.standard_normal((d, 100)))[0] for d in shape)
    sizes = np.geomspace(1, least, 100)
    turn, found = nuclear.left_vectors((u * sizes) @ v.T)
    np.testing.assert_allclose(found, sizes, rtol=1e-8)
    np.testing.assert_allclose(turn.T @ turn, np.eye(100), atol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(turn * u, axis=0)), 1, atol=1e-9)


@pytest.mark.parametrize("form", ["angular", "distance"])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("least", [1.0, 1e-3, 1e-7, 0.0])
def test_whitened_shapes_from_bases_are_those_of_singular_vectors(form, scale, least):
    """Also where small directions are left to the singular value decomposition, or are none."""
    x, y = features(60, 1) * np.geomspace(1, least or 1, 60), features(80, 2)
    if not least:
        x[:, 40:] = x[:, :20]
    metric = get_metric("shape", alpha=0.0, form=form, scale=scale)
    bases_of, sizes = [], []
    for side in (x, y):
        u, s, _ = np.linalg.svd(side - side.mean(axis=0), full_matrices=False)
        u = u[:, s > 1e-10 * s[0]]
        bases_of.append(u / np.sqrt(u.shape[1]))
        sizes.append(1.0 if scale else np.linalg.norm(s))
    strength = np.linalg.svd(bases_of[0].T @ bases_of[1], compute_uv=False).sum()
    gap = sizes[0] ** 2 + sizes[1] ** 2 - 2 * sizes[0] * sizes[1] * strength
    expected = np.arccos(strength) if form == "angular" else np.sqrt(gap)
    assert metric(x, y) == pytest.approx(expected, rel=1e-9)
    assert metric(y, x) == pytest.approx(expected, rel=1e-9)
