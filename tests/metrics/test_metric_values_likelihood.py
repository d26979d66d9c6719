"""Metrics of predicted distributions and of identifiable features: published pairs, definitions."""

import itertools
from functools import cache

import numpy as np
import pytest
from golden import DATA
from scipy.special import log_softmax, rel_entr, softmax
from sklearn.cross_decomposition import PLSSVD

from consilience.errors import ConfigError, MetricError
from consilience.forms.likelihoods import (
    draw_sets,
    input_terms,
    label_terms,
    least_cca,
    singular_values,
)
from consilience.forms.likelihoods import likelihoods as form_of
from consilience.metrics import get_metric
from consilience.metrics.identifiable import label_subsets

OF_LOGITS = ("d_llv", "kl", "logit_distance")
PUBLISHED = [  # classes, width, seeds; pivot, left out; d_LLV, T1, T2, max T3, max T4,
    # d_SVD of features and of unembeddings, m_CCA, KL, KL turned
    ((4, 16, 1, 2), (0, 1), 0.509866, 0.509866, 0.506265, 56.672, 10.560, 0.108694, 0.096563,
     0.807807, 0.019019, 0.016940),
    ((4, 16, 3, 4), (2, 3), 0.513730, 0.513730, 0.235754, 58.100, 6.266, 0.063544, 0.015789,
     0.932619, 0.033067, 0.021652),
    ((4, 128, 1, 2), (0, 1), 0.299959, 0.299959, 0.181677, 8.359, 15.022, 0.033117, 0.029532,
     0.966831, 0.009561, 0.011888),
    ((4, 128, 3, 4), (0, 1), 0.085281, 0.085281, 0.028340, 1.583, 1.794, 0.003617, 0.000247,
     0.995427, 0.001441, 0.001637),
    ((6, 32, 1, 2), (3, 4), 0.746208, 0.746208, 0.619412, 231.578, 69.404, 0.356200, 0.141264,
     0.771295, 0.021981, 0.040118),
    ((6, 32, 3, 4), (4, 3), 1.229754, 1.229754, 0.808333, 159.146, 78.273, 0.620320, 0.258914,
     0.841385, 18.060749, 5.235713),
]  # fmt: skip


@cache
def arrays():
    with np.load(DATA / "close_dist" / "models.npz") as stored:
        return dict(stored)


def model(classes, width, seed):
    """What a published classifier gives, its logits rounded to float32 as in a features file."""
    f, g = (arrays()[f"{part}_{classes}_{width}_{seed}"] for part in "fg")
    return {"features": f, "unembedding": g, "logits": f @ g.T}


def near(value, decimals, rel):
    """Approximately a value that is known to so many decimals."""
    return pytest.approx(value, rel=rel, abs=0.51 * 10.0**-decimals)


@pytest.mark.reference("d_llv", "kl", "identifiable_svd", by="close-dist-rep-sim")
@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: "-".join(map(str, row[0])))
def test_published_pairs(row):
    (classes, width, *seeds), choice, d, t1, t2, t3, t4, of_f, of_g, cca, kl, back = row
    x, y = (model(classes, width, seed) for seed in seeds)
    a, b = (form_of(side["logits"].astype(float)) for side in (x, y))
    labels, inputs = label_terms(a, b), input_terms(a, b, draw_sets(2000, 2, 200, 0, "legacy"))
    assert (labels.pivot, labels.left_out) == choice
    assert labels.t1.max() == near(t1, 6, 2e-6)
    assert inputs.t2.max() == near(t2, 6, 5e-5)
    assert labels.t3.max() == near(t3, 3, 1e-3)
    assert inputs.t4.max() == near(t4, 3, 1e-3)
    for rank in (None, 2):
        found = get_metric("d_llv", rank=rank, draw="legacy")(x["logits"], y["logits"])
        assert found == near(d, 6, 2e-6)
    for form, value in (("features", of_f), ("unembedding", of_g), ("max", max(of_f, of_g))):
        metric = get_metric("identifiable_svd", form=form, draw="legacy")
        assert metric(x, y) == near(value, 6, 1e-4)
        assert metric(x, y) == metric(y, x)
    assert get_metric("cca")(x["features"], y["features"]) == near(cca, 6, 1e-6)
    assert get_metric("kl")(x["logits"], y["logits"]) == near(kl, 6, 1e-4)
    assert get_metric("kl")(y["logits"], x["logits"]) == near(back, 6, 1e-4)


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ((0, 2), (0.322842, 0.064567)),
        ((0, 3), (0.553515, 0.101897)),
        ((1, 4), (0.380139, 0.075307)),
    ],
)
def test_more_published_pairs(seeds, expected):
    """One of the models knows two classes only."""
    x, y = (model(4, 16, seed) for seed in seeds)
    assert get_metric("d_llv", draw="legacy")(x["logits"], y["logits"]) == near(
        expected[0], 6, 2e-6
    )
    found = get_metric("identifiable_svd", form="features")(x, y)
    assert found == near(expected[1], 6, 1e-4)


def pairs():
    for classes, width in ((4, 16), (4, 128), (6, 32)):
        for seeds in itertools.combinations(range(5), 2):
            yield classes, [model(classes, width, seed) for seed in seeds]


def least_of(x, y, m):
    """What m_CCA is at least by the logit distance of x and y."""
    spectra = (singular_values(side) for side in (x, y))
    return least_cca(get_metric("logit_distance")(x, y), x.size, m, *spectra)


def test_bounds_hold_on_published_pairs():
    """d_{f,g} ≤ 2 M d_LLV, and m_CCA is at least what the logit distance leaves of it."""
    told = 0
    for classes, (x, y) in pairs():
        d = get_metric("d_llv")(x["logits"], y["logits"])
        a, b = (form_of(side["logits"].astype(float)) for side in (x, y))
        labels = label_terms(a, b)
        assert len(labels.ties) in (1, 2)
        assert get_metric("identifiable_svd")(x, y) <= 4 * d
        least = least_of(x["logits"].astype(float), y["logits"].astype(float), 2)
        assert least == least_of(y["logits"].astype(float), x["logits"].astype(float), 2)
        assert least <= get_metric("cca")(x["features"], y["features"]) + 1e-12
        told += least > 0.3
        assert classes in (4, 6)
    assert told > 5


def by_definition(x, y, m, sets, kind="max"):
    """T1 … T4 by loops over all pivots, labels left out, and sets."""
    p, q = (log_softmax(side, axis=1) for side in (x, y))
    count, best = x.shape[1], None
    for a, b in itertools.permutations(range(count), 2):
        t1, t3 = [], []
        for k in set(range(count)) - {a, b}:
            s, t = (np.std(side[:, k] - side[:, a], ddof=1) for side in (p, q))
            t1 += [np.std(p[:, i] / s - q[:, i] / t, ddof=1) for i in (k, a)]
            t3.append(abs(s - t))
        value = max(t1) if kind == "max" else np.mean(t1)
        if best is None or value < best[0] * (1 - 1e-9):
            best = value, (a, b), t3
    found = None
    for rows in sets:
        t2, t4 = [], []
        for j in rows[1:]:
            u, v = (np.std(side[j] - side[rows[0]], ddof=1) for side in (p, q))
            t2 += [np.std(p[i] / u - q[i] / v, ddof=1) for i in (j, rows[0])]
            t4.append(abs(u - v))
        if found is None or (max(t2) < found[0] and max(t2) < 1):
            found = max(t2), max(t4) if kind == "max" else np.mean(t4), rows
    of = max if kind == "max" else np.mean
    assert len(found[2]) == m + 1
    return best[0], found[0], of(best[2]), found[1]


def related(seed, n=60, classes=6, units=2, noise=0.4):
    rng = np.random.default_rng(seed)
    f = rng.normal(size=(n, units))
    sides = []
    for _ in range(2):
        h = 2 * (f + noise * rng.normal(size=f.shape)) @ rng.normal(size=(units, units))
        sides.append((h, rng.normal(size=(classes, units))))
    return [{"features": h, "unembedding": g, "logits": h @ g.T} for h, g in sides]


@pytest.mark.reference("d_llv", by="its definition")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("weight", [1e-5, 0.7])
def test_d_llv_by_definition(seed, kind, weight):
    x, y = (side["logits"] for side in related(seed, classes=4 + seed % 3))
    t = by_definition(x, y, 2, draw_sets(60, 2, 9, seed), kind)
    options = {"type": kind, "weight": weight, "sets": 9, "seed": seed}
    found = get_metric("d_llv", **options)(x, y)
    assert found == pytest.approx(max(t[0], t[1], weight * t[2], weight * t[3]), rel=1e-10)
    together = get_metric("d_llv", combine="sum", **options)(x, y)
    assert together == pytest.approx(t[0] + t[1] + weight * (t[2] + t[3]), rel=1e-10)


def test_d_llv_takes_the_rank_of_its_logits():
    """A bias of each class adds nothing to it, nor does rounding to float32."""
    for units in (1, 2, 3):
        x, y = (side["logits"] for side in related(1, classes=7, units=units))
        by_rank = get_metric("d_llv", rank=units)(x, y)
        assert get_metric("d_llv")(x, y) == by_rank
        small = [(side + np.arange(7)).astype(np.float32) for side in (x, y)]
        metric = get_metric("d_llv")
        assert {metric.prepare(side.astype(float)).rank for side in small} == {units}
    wide = related(1, classes=5, units=9)
    assert metric.prepare(wide[0]["logits"]).rank == 3  # no more than K - 2
    narrow, broad = related(2, units=1)[0]["logits"], related(2, units=3)[0]["logits"]
    assert metric(narrow, broad) == get_metric("d_llv", rank=3)(narrow, broad)


def test_the_first_of_tied_pivots_is_taken():
    x, y = (form_of(side["logits"]) for side in related(3))
    labels = label_terms(x, y)
    assert labels.ties[0] == (labels.pivot, labels.left_out)
    for pivot, left_out in labels.ties:
        rest = np.setdiff1d(np.arange(6), [pivot, left_out])
        s, t = x.spreads[pivot, rest], y.spreads[pivot, rest]
        p, q = x.log_p, y.log_p
        parts = [
            np.std(p[:, [i]] / s - q[:, [i]] / t, axis=0, ddof=1)[j if i != pivot else slice(None)]
            for j, i in [*enumerate(rest), (0, pivot)]
        ]
        assert np.hstack(parts).max() == pytest.approx(labels.t1.max(), rel=1e-6)
    same = label_terms(x, x)
    assert (same.pivot, same.left_out) == (0, 1) and len(same.ties) == 30


def test_sets_are_disjoint_and_depend_on_number_and_seed_alone():
    sets = draw_sets(100, 3, 200, 5)
    assert sets.shape == (25, 4) and len(set(sets.ravel().tolist())) == 100
    assert draw_sets(100, 3, 10, 5).shape == (10, 4)
    assert not np.array_equal(sets, draw_sets(100, 3, 200, 6))
    legacy = np.random.RandomState(0).choice(2000, 600, replace=False).reshape(200, 3)
    assert np.array_equal(draw_sets(2000, 2, 200, 0, "legacy"), legacy)
    x, y = (side["logits"] for side in related(4))
    few = get_metric("d_llv", rank=2)
    with pytest.raises(MetricError, match="need at least 3 samples, not 2"):
        few(x[:2], y[:2])


@pytest.mark.parametrize("name", [*OF_LOGITS, "identifiable_svd"])
@pytest.mark.parametrize("seed", range(4))
def test_symmetry_is_exact_and_samples_have_no_order(name, seed):
    sides = related(seed, n=300)
    given = sides if name == "identifiable_svd" else [side["logits"] for side in sides]
    for form in ("forward", "jeffreys") if name == "kl" else ("",):
        metric = get_metric(name, **({"form": form} if form else {}))
        x, y = given
        assert (metric(x, y) == metric(y, x)) == metric.facts.symmetric
        order = np.random.default_rng(seed).permutation(300)
        moved = [
            {k: v if k == "unembedding" else v[order] for k, v in side.items()} for side in sides
        ]
        moved = moved if name == "identifiable_svd" else [side["logits"] for side in moved]
        if name in ("kl", "logit_distance"):
            assert metric(*moved) == pytest.approx(metric(x, y), rel=1e-12)
    if name in ("kl", "d_llv", "logit_distance"):
        assert get_metric(name)(given[0], given[0]) == 0.0


def test_terms_over_labels_have_no_order_of_samples():
    x, y = (side["logits"] for side in related(5, n=300))
    order = np.random.default_rng(0).permutation(300)
    one, other = (
        label_terms(form_of(x[rows]), form_of(y[rows])) for rows in (np.arange(300), order)
    )
    assert one.ties == other.ties
    np.testing.assert_allclose(one.t1, other.t1, rtol=1e-12)
    np.testing.assert_allclose(one.t3, other.t3, rtol=1e-10)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_a_number_per_sample_changes_nothing(name):
    x, y = (side["logits"] for side in related(6))
    shift = 5 * np.random.default_rng(0).normal(size=(len(x), 1))
    metric = get_metric(name)
    assert metric(x + shift, y) == pytest.approx(metric(x, y), rel=1e-10)
    assert abs(metric(x + np.arange(6), y) - metric(x, y)) > 1e-3


@pytest.mark.reference("kl", by="scipy")
@pytest.mark.parametrize("scale", [0.01, 1, 30])
def test_kl_is_scipy(scale):
    x, y = (scale * side["logits"] for side in related(7))
    p, q = softmax(x, axis=1), softmax(y, axis=1)
    forward, back = (rel_entr(*both).sum(axis=1).mean() for both in ((p, q), (q, p)))
    assert get_metric("kl")(x, y) == pytest.approx(forward, rel=1e-9)
    both = get_metric("kl", form="jeffreys")
    assert both(x, y) == pytest.approx((forward + back) / 2, rel=1e-9)
    assert both(x, y) == both(y, x)


@pytest.mark.parametrize("shift", [0.5, 0.021, 0.019, 1e-3, 1e-6, 1e-9])
def test_small_divergences_are_not_lost(shift):
    """Two classes at even odds and at log odds s: ln cosh(s / 2)."""
    x, y = np.zeros((4, 2)), np.zeros((4, 2))
    y[:, 0] = shift
    expected = np.log(np.cosh(shift / 2)) if shift > 0.01 else shift**2 / 8 - shift**4 / 192
    rel = 1e-6 if shift < 1e-6 else 1e-9
    assert get_metric("kl")(x, y) == pytest.approx(expected, rel=rel)


def test_kl_of_what_is_impossible_has_no_value():
    sure = np.array([[800.0, 0.0], [0.0, 800.0]])
    assert get_metric("kl")(sure, -sure) == pytest.approx(800)
    assert get_metric("kl")(1e300 * sure, 1e300 * sure) == 0.0
    with pytest.raises(MetricError, match="gave inf"):
        get_metric("kl")(*(sign * np.array([[1e308, -1e308]]) for sign in (1, -1)))


@pytest.mark.reference("logit_distance", by="NumPy")
def test_logit_distance_is_a_metric():
    rng = np.random.default_rng(8)
    sides = [scale * rng.normal(size=(20, 5)) for scale in (0.1, 1, 1, 5)]
    metric = get_metric("logit_distance")
    centre = np.eye(5) - 1 / 5
    for x, y, z in itertools.permutations(sides, 3):
        expected = np.linalg.norm((x - y) @ centre) / np.sqrt(100)
        assert metric(x, y) == pytest.approx(expected, rel=1e-12)
        assert metric(x, z) <= metric(x, y) + metric(y, z) + 1e-12
    assert metric(1e200 * x, -1e200 * x) == pytest.approx(2e200 * metric(x, 0 * x), rel=1e-12)


def test_logit_distance_bounds_canonical_correlations():
    """For features of any dimension, heads with biases, and distances of any size."""
    rng, told = np.random.default_rng(9), []
    for trial in range(300):
        m = 1 + trial % 4
        f, g, bias = rng.normal(size=(50, m)), rng.normal(size=(9, m)), rng.normal(size=9)
        step = 10.0 ** rng.uniform(-3, 1)
        f2 = f @ rng.normal(size=(m, m)) + step * rng.normal(size=f.shape)
        g2 = np.linalg.lstsq(f2, f @ g.T, rcond=None)[0].T + step * rng.normal(size=g.shape)
        x, y = f @ g.T + bias, f2 @ g2.T + rng.normal() * bias
        least = least_of(x, y, m)
        assert least <= get_metric("cca")(f, f2) + 1e-12
        told.append(least)
    assert np.mean(np.array(told) > 0.5) > 0.1
    assert least_of(x, x, m) == 1.0
    assert least_of(x, y, 10) == 0.0  # there are no 10 dimensions


@pytest.mark.reference("pls_svd", by="scikit-learn")
@pytest.mark.parametrize(("d", "width"), [(3, 3), (5, 3), (4, 7)])
def test_m_svd_is_pls_svd(d, width):
    rng = np.random.default_rng(10)
    latent = rng.normal(size=(80, 3))
    x, y = (latent @ rng.normal(size=(3, k)) + rng.normal(size=(80, k)) + 5 for k in (d, width))
    few = min(d, width)
    scores = PLSSVD(n_components=few).fit(x, y).transform(x, y)
    covariances = [np.cov(a, b)[0, 1] for a, b in zip(*(s.T for s in scores), strict=True)]
    metric = get_metric("pls_svd")
    assert metric(x, y) == pytest.approx(np.mean(covariances), abs=1e-10)
    assert metric(x, y) == metric(y, x)
    assert get_metric("pls_svd", form="distance")(x, y) == 1 - metric(x, y)
    scales = np.exp(rng.normal(size=d))
    assert metric(x * scales + 3, y) == pytest.approx(metric(x, y), abs=1e-12)


def test_m_svd_of_repeated_units_is_at_most_one():
    x = np.random.default_rng(11).normal(size=(30, 1))
    assert get_metric("pls_svd")(x, np.repeat(x, 4, axis=1)) == 1.0
    x = np.hstack([x, np.ones_like(x)])
    with pytest.raises(MetricError, match="unit 1 is constant, up to rounding"):
        get_metric("pls_svd")(x, x)


def m_svd_by_definition(x, y):
    corr = np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]
    return np.linalg.norm(corr, "nuc") / x.shape[1]


@pytest.mark.reference("identifiable_svd", by="its definition")
@pytest.mark.parametrize("seed", range(4))
def test_identifiable_svd_by_definition(seed):
    x, y = related(seed, classes=6, units=3)
    a, b = (form_of(side["logits"]) for side in (x, y))
    labels, inputs = label_terms(a, b), input_terms(a, b, draw_sets(60, 3, 200, 0)).inputs
    rest = sorted(set(range(6)) - {labels.pivot, labels.left_out})
    values = []
    for chosen in itertools.combinations(rest, 3):
        sides = []
        for side in (x, y):
            g = side["unembedding"]
            sides.append(side["features"] @ (g[list(chosen)] - g[labels.pivot]).T)
        values.append(m_svd_by_definition(*sides))
    of_f = 1 - min(values)
    sides = [
        s["unembedding"] @ (s["features"][inputs[1:]] - s["features"][inputs[0]]).T for s in (x, y)
    ]
    of_g = 1 - m_svd_by_definition(*sides)
    for form, value in (("features", of_f), ("unembedding", of_g), ("max", max(of_f, of_g))):
        assert get_metric("identifiable_svd", form=form)(x, y) == pytest.approx(value, abs=1e-12)


def test_identifiable_svd_does_not_see_what_predictions_leave_open():
    x, y = related(12, units=3)
    rng, metric = np.random.default_rng(12), get_metric("identifiable_svd")
    turn, shift = rng.normal(size=(3, 3)), rng.normal(size=3)
    turned = {
        "features": x["features"] @ turn,
        "unembedding": x["unembedding"] @ np.linalg.inv(turn).T + shift,
        "logits": x["logits"],
    }
    assert metric(turned, y) == pytest.approx(metric(x, y), abs=1e-10)
    assert metric(turned, x) == pytest.approx(0, abs=1e-10)
    assert metric(x, y) > 0.01
    other = {**x, "features": x["features"] @ turn}
    assert abs(metric(other, y) - metric(x, y)) > 1e-3


def test_subsets_of_labels():
    assert label_subsets(4, 2).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    many = label_subsets(30, 4)
    assert many.shape == (1000, 4) and len({tuple(row) for row in many.tolist()}) == 1000
    assert (np.diff(many, axis=1) > 0).all()
    assert not np.array_equal(many, label_subsets(30, 4, seed=1))
    assert label_subsets(30, 4, most=7).shape == (7, 4)


@pytest.mark.parametrize("name", [*OF_LOGITS, "identifiable_svd"])
def test_permuted_forms(name):
    x, y = related(13)
    order = np.random.default_rng(13).permutation(60)
    metric = get_metric(name)

    def prepared(side, rows):
        logits = side["logits"][rows]
        if name != "identifiable_svd":
            return metric.prepare(logits)
        return metric.prepare(side["features"][rows], side["unembedding"], logits)

    whole = np.arange(60)
    moved = metric.compare(metric.permuted(prepared(x, whole), order), prepared(y, whole))
    assert moved == pytest.approx(metric.compare(prepared(x, order), prepared(y, whole)), rel=1e-10)


def test_what_has_no_value_says_why():
    x, y = related(14, classes=5, units=3)
    metric = get_metric("identifiable_svd")
    with pytest.raises(MetricError, match=r"needs at least M \+ 2 = 6 classes for .* M = 4"):
        metric(*related(14, classes=5, units=4))
    with pytest.raises(MetricError, match="the features have 2 units and the unembedding 3"):
        metric({**x, "features": x["features"][:, :2]}, y)
    with pytest.raises(MetricError, match="logits of 4 classes and an unembedding of 5"):
        metric({**x, "logits": x["logits"][:, :4]}, {**y, "logits": y["logits"][:, :4]})
    logits = [side["logits"] for side in (x, y)]
    with pytest.raises(MetricError, match=r"needs at least M \+ 2 = 6 classes for .* M = 4"):
        get_metric("d_llv", rank=4)(*logits)
    with pytest.raises(MetricError, match=r"needs at least M \+ 2 = 3 classes"):
        get_metric("d_llv")(*(side[:, :2] for side in logits))
    for name in OF_LOGITS:
        with pytest.raises(MetricError, match="one side has 5 classes and the other 4"):
            get_metric(name)(logits[0], logits[1][:, :4])
    flat = np.tile(logits[0][:1], (60, 1))
    with pytest.raises(MetricError, match="the log-odds of classes are constant over the samples"):
        get_metric("d_llv")(flat, logits[1])
    with pytest.raises(MetricError, match="two have the same log-odds of all classes"):
        input_terms(form_of(logits[0][[0, 0, 1]]), form_of(logits[1]), np.array([[0, 1]]))
    with pytest.raises(MetricError, match="squares overflow"):
        get_metric("d_llv")(1e200 * logits[0], logits[1])


def test_one_class_without_scale_is_left_out():
    """Two classes whose odds are fixed: one of them is the one left out, or the pivot's."""
    x, y = (side["logits"].copy() for side in related(15, classes=5))
    x[:, 1] = x[:, 0] + 3
    labels = label_terms(form_of(x), form_of(y))
    assert {labels.pivot, labels.left_out} & {0, 1}
    assert np.isfinite(get_metric("d_llv")(x, y))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("d_llv", {"rank": 0}, "rank cannot be 0"),
        ("d_llv", {"sets": 0}, "sets cannot be 0"),
        ("d_llv", {"weight": -1}, "weight cannot be -1"),
        ("d_llv", {"weight": float("nan")}, "weight cannot be nan"),
        ("d_llv", {"draw": "legcy"}, "did you mean 'legacy'"),
        ("kl", {"form": "jeffrey"}, "did you mean 'jeffreys'"),
        ("identifiable_svd", {"subsets": 0}, "subsets cannot be 0"),
    ],
)
def test_parameters_that_make_no_sense(name, parameters, message):
    with pytest.raises(ConfigError, match=message):
        get_metric(name, **parameters)


@pytest.mark.parametrize("name", [*OF_LOGITS, "pls_svd"])
def test_prepared_bytes(name):
    x = related(16, n=200)[0]["logits"]
    form = get_metric(name).prepare(x)
    arrays = form.likelihoods if name == "d_llv" else [form]
    held = sum(part.nbytes for part in arrays)
    assert held <= get_metric(name).prepared_bytes(*x.shape) <= 1.1 * held
