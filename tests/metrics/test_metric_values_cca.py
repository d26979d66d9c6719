"""CCA, regression and subspace metrics against ReSi, platonic-rep, libraries and definitions."""

import re

import numpy as np
import pytest
from golden import GOLDEN, RESI, golden_pair, resi_pair
from scipy.linalg import eigh, subspace_angles
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from consilience.errors import ConfigError, MetricError
from consilience.metrics import get_metric

SVCCA_KEY = "own/svcca_exact_svd_limit(cca_dim=10)/raw/f64"
SHIPPED = {
    "PWCCA": get_metric("pwcca", form="resi"),
    "SVCCA": get_metric("svcca", variance_rule="total"),
    "LinearRegression": get_metric("linear_regression"),
    "EigenspaceOverlapScore": get_metric("eigenspace_overlap", norm="units"),
    "Gulp": get_metric("gulp", form="squared"),
}
VARIANTS = {
    "SVCCA_intended_99pct_share": get_metric("svcca"),
    "Gulp_rank_truncated": get_metric("gulp", form="squared"),
}
METRICS = {
    name: get_metric(name.split("-")[0], **parameters)
    for name, parameters in {
        "cca": {},
        "cca-mean_squared": {"form": "mean_squared"},
        "svcca": {},
        "svcca-10": {"components": 10, "standardize": True},
        "pwcca": {},
        "linear_regression": {},
        "linear_regression-x_to_y": {"direction": "x_to_y"},
        "linear_regression-mean": {"direction": "mean"},
        "linear_regression-ridge": {"alpha": 0.05},
        "eigenspace_overlap": {},
        "eigenspace_overlap-units": {"norm": "units"},
        "gulp": {},
        "gulp-ridge": {"alpha": 0.05},
        "gulp-squared": {"form": "squared"},
    }.items()
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def related(n, d1, d2, seed=0, shared=4):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, shared))
    return [
        latent @ rng.normal(size=(shared, d)) + rng.normal(size=(n, d)) + rng.normal(size=d)
        for d in (d1, d2)
    ]


def centered(x):
    return x - x.mean(axis=0)


def correlations(x, y):
    """Canonical correlations as the cosines of the angles that scipy finds."""
    return np.cos(subspace_angles(centered(x), centered(y)))


@pytest.mark.reference(
    "pwcca", "svcca", "linear_regression", "eigenspace_overlap", "gulp", by="ReSi"
)
@pytest.mark.parametrize("case", RESI["cases"])
@pytest.mark.parametrize("measure", SHIPPED)
def test_resi(case, measure):
    (x, y), expected = resi_pair(case), RESI["cases"][case]["measures"][measure]
    for value, golden in [
        (SHIPPED[measure](x, y), expected["value"]),
        (SHIPPED[measure](y, x), expected["value_swapped"]),
    ]:
        assert value == pytest.approx(golden, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("case", RESI["cases"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_resi_as_intended(case, variant):
    x, y = resi_pair(case)
    golden = RESI["cases"][case]["variants"][variant]
    assert VARIANTS[variant](x, y) == pytest.approx(golden, rel=1e-6, abs=1e-8)
    assert VARIANTS[variant](y, x) == pytest.approx(golden, rel=1e-6, abs=1e-8)


def test_resi_svcca_depends_on_the_scale():
    """At a total variance near 1 the shipped rule keeps more than one component."""
    x, y = resi_pair("linear_noise")
    shipped, intended = SHIPPED["SVCCA"], get_metric("svcca")
    for scale, golden in [(1, 0.268), (0.008, 0.827), (0.005, 0.642), (0.001, 0.268)]:
        assert shipped(scale * x, scale * y) == pytest.approx(golden, abs=5e-4)
        assert intended(scale * x, scale * y) == pytest.approx(0.803, abs=5e-4)
    for scale in (1e-200, 1e200):
        assert shipped(scale * x, scale * y) == pytest.approx(0.268, abs=5e-4)
    lost = {"isotropic_scaling"}
    assert intended.facts.invariant_to - shipped.facts.invariant_to == lost


@pytest.mark.parametrize(
    "case", [c for c, e in GOLDEN["cases"].items() if SVCCA_KEY in e["values"]]
)
def test_platonic_svcca_with_an_exact_svd(case):
    golden = GOLDEN["cases"][case]["values"][SVCCA_KEY]
    assert METRICS["svcca-10"](*golden_pair(case)) == pytest.approx(golden, abs=1e-6)


@pytest.mark.reference("cca", by="scipy")
@pytest.mark.parametrize(("n", "d1", "d2"), [(90, 12, 20), (90, 20, 12), (60, 1, 7), (50, 1, 1)])
def test_cca_is_scipy(n, d1, d2):
    x, y = related(n, d1, d2)
    rho = correlations(x, y)
    assert METRICS["cca"](x, y) == pytest.approx(rho.mean(), abs=1e-10)
    assert METRICS["cca-mean_squared"](x, y) == pytest.approx(np.mean(rho**2), abs=1e-10)


def test_one_unit_each_is_a_pearson_correlation():
    x, y = related(50, 1, 1)
    r = np.corrcoef(x[:, 0], y[:, 0])[0, 1]
    for name in ("cca", "svcca", "pwcca"):
        assert METRICS[name](x, y) == pytest.approx(abs(r), abs=1e-12)
    for name in ("cca-mean_squared", "linear_regression", "linear_regression-mean"):
        assert METRICS[name](x, y) == pytest.approx(r**2, abs=1e-12)
    assert METRICS["gulp"](x, y) == pytest.approx(np.sqrt(2 - 2 * r**2), abs=1e-12)


@pytest.mark.reference("svcca", by="scikit-learn and scipy")
@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99, 1.0, 1])
def test_svcca_is_pca_and_cca(variance):
    x, y = related(80, 15, 30)
    kept = []
    for side in (x, y):
        pca = PCA(svd_solver="full").fit(side)
        k = np.searchsorted(np.cumsum(pca.explained_variance_ratio_), variance - 1e-12) + 1
        kept.append(pca.transform(side)[:, :k])
    expected = correlations(*kept).mean()
    assert get_metric("svcca", variance=variance)(x, y) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("k", [1, 5, 15])
def test_svcca_of_a_number_of_components(k, standardize):
    x, y = related(80, 15, 30)
    x[:, 3] *= 1e-3
    sides = [StandardScaler().fit_transform(a) if standardize else a for a in (x, y)]
    expected = correlations(*(PCA(k, svd_solver="full").fit_transform(a) for a in sides)).mean()
    metric = get_metric("svcca", components=k, standardize=standardize)
    assert metric(x, y) == pytest.approx(expected, abs=1e-10)


def test_standardised_svcca_ignores_the_scale_of_each_unit():
    x, y = related(60, 20, 20)
    value = METRICS["svcca-10"](x, y)
    x[:, 5] = 0.1  # its mean is rounded, so that centring leaves a residue
    changed = METRICS["svcca-10"](x * np.logspace(-200, 10, 20), y)
    assert changed == pytest.approx(METRICS["svcca-10"](np.delete(x, 5, axis=1), y), abs=1e-9)
    assert changed != value


def pwcca_by_definition(x, y):
    """Morcos et al. (2018), from the generalised eigenvalue problem of covariances."""
    x, y = centered(x), centered(y)
    middle = x.T @ y @ np.linalg.inv(y.T @ y) @ y.T @ x
    squares, directions = eigh(middle, x.T @ x)
    value = total = 0.0
    for i in np.argsort(-squares)[: min(x.shape[1], y.shape[1])]:
        variate = x @ directions[:, i]
        variate /= np.linalg.norm(variate)
        weight = sum(abs(np.dot(variate, unit)) for unit in x.T)
        value += weight * np.sqrt(squares[i])
        total += weight
    return value / total


@pytest.mark.reference("pwcca", by="its definition")
@pytest.mark.parametrize(("d1", "d2"), [(12, 20), (20, 12), (15, 15)])
def test_pwcca_is_its_definition(d1, d2):
    x, y = related(90, d1, d2)
    assert METRICS["pwcca"](x, y) == pytest.approx(pwcca_by_definition(x, y), abs=1e-10)
    assert METRICS["pwcca"](y, x) == pytest.approx(pwcca_by_definition(y, x), abs=1e-10)


def test_pwcca_takes_any_linear_map_of_the_second_side():
    x, y = related(90, 12, 20)
    rng = np.random.default_rng(1)
    mapped = y @ rng.normal(size=(20, 20)) + rng.normal(size=20)
    assert METRICS["pwcca"](x, mapped) == pytest.approx(METRICS["pwcca"](x, y), abs=1e-9)


def test_pwcca_does_not_depend_on_the_solver_where_correlations_are_tied():
    """r + r' > n - 1 forces ties at 1, among which any rotation solves the eigenproblem."""
    rng = np.random.default_rng(2)
    x, y = related(40, 30, 20)
    assert np.sum(correlations(x, y) > 1 - 1e-12) == 11
    value = METRICS["pwcca"](x, y)
    assert value < 0.99
    for _ in range(5):
        order = rng.permutation(40)
        assert METRICS["pwcca"](x[order], y[order]) == pytest.approx(value, abs=1e-9)
        mapped = y @ rng.normal(size=(20, 20))
        assert METRICS["pwcca"](x[:, ::-1], mapped) == pytest.approx(value, abs=1e-9)


def test_shipped_pwcca_forms_permute_and_refuse():
    rng = np.random.default_rng(3)
    metric = SHIPPED["PWCCA"]
    x, y = related(50, 8, 11)
    order = rng.permutation(50)
    moved = metric.compare(metric.permuted(metric.prepare(x), order), metric.prepare(y))
    assert moved == pytest.approx(metric(x[order], y), abs=1e-12)
    assert metric(x * 1e150, y / 8) == pytest.approx(metric(x, y), abs=1e-12)
    assert metric(x, x) == pytest.approx(1, abs=1e-12)
    assert metric.facts.invariant_to == {"isotropic_scaling"}
    with pytest.raises(MetricError, match="8 units over 8 samples have rank 7"):
        metric(x[:8], y[:8])
    with pytest.raises(MetricError, match="not defined for 11 units against 8"):
        metric(y, x)


@pytest.mark.reference("linear_regression", by="scikit-learn")
@pytest.mark.parametrize("alpha", [0.0, 0.01, 3])
@pytest.mark.parametrize(("d1", "d2"), [(12, 20), (20, 12), (1, 5)])
def test_linear_regression_is_scikit_learn(d1, d2, alpha):
    x, y = related(70, d1, d2)

    def r2(target, predictor):
        weight = alpha * np.sum(centered(predictor) ** 2)
        fitted = Ridge(weight, solver="svd").fit(predictor, target).predict(predictor)
        return r2_score(target, fitted.reshape(target.shape), multioutput="variance_weighted")

    expected = {"y_to_x": r2(x, y), "x_to_y": r2(y, x)}
    expected["mean"] = (expected["y_to_x"] + expected["x_to_y"]) / 2
    for direction, value in expected.items():
        metric = get_metric("linear_regression", direction=direction, alpha=alpha)
        assert metric(x, y) == pytest.approx(value, abs=1e-12)


def test_ridge_halves_equal_components_at_one_over_their_number():
    x = np.linalg.qr(centered(np.random.default_rng(0).normal(size=(40, 5))))[0]
    metric = get_metric("linear_regression", alpha=1 / 5)
    assert metric(x, x) == pytest.approx(1 - 0.5**2, abs=1e-12)
    assert get_metric("gulp", form="squared", alpha=1 / 5).prepare(x)[1] == pytest.approx(0.5)
    assert metric.facts.self_value is None


@pytest.mark.reference("eigenspace_overlap", by="its definition")
@pytest.mark.parametrize(("n", "d1", "d2"), [(60, 9, 14), (20, 30, 8), (12, 30, 40)])
def test_eigenspace_overlap_is_its_definition(n, d1, d2):
    x, y = related(n, d1, d2)
    ranks = [np.linalg.matrix_rank(a) for a in (x, y)]
    spans = [np.linalg.svd(a)[0][:, :r] for a, r in zip((x, y), ranks, strict=True)]
    total = sum(np.dot(u, v) ** 2 for u in spans[0].T for v in spans[1].T)
    assert METRICS["eigenspace_overlap"](x, y) == pytest.approx(total / max(ranks), abs=1e-12)
    units = METRICS["eigenspace_overlap-units"]
    assert units(x, y) == pytest.approx(total / max(d1, d2), abs=1e-12)
    assert units(x, x) == pytest.approx(ranks[0] / d1, abs=1e-12)
    assert units.facts.self_value is None


def gulp_by_definition(x, y, alpha):
    """Squared GULP distance from covariances, Boix-Adsera et al. (2022)."""
    x, y = (centered(a) / np.linalg.norm(centered(a)) for a in (x, y))
    covariance = {"xx": x.T @ x, "yy": y.T @ y, "xy": x.T @ y}
    a = np.linalg.inv(covariance["xx"] + alpha * np.eye(x.shape[1]))
    b = np.linalg.inv(covariance["yy"] + alpha * np.eye(y.shape[1]))
    own = sum(np.trace(i @ c @ i @ c) for i, c in [(a, covariance["xx"]), (b, covariance["yy"])])
    return own - 2 * np.trace(a @ covariance["xy"] @ b @ covariance["xy"].T)


@pytest.mark.reference("gulp", by="its definition")
@pytest.mark.parametrize("alpha", [0, 1e-3, 0.1, 10])
@pytest.mark.parametrize(("d1", "d2"), [(12, 20), (20, 12), (6, 6)])
def test_gulp_is_its_definition(d1, d2, alpha):
    x, y = related(70, d1, d2)
    squared = gulp_by_definition(x, y, alpha)
    metric = get_metric("gulp", form="squared", alpha=alpha)
    assert metric(x, y) == pytest.approx(squared, rel=1e-9, abs=1e-12)
    root = get_metric("gulp", alpha=alpha)
    assert root(x, y) == pytest.approx(np.sqrt(squared), rel=1e-9, abs=1e-12)


def test_gulp_without_ridge_is_a_sum_of_correlations():
    x, y = related(70, 12, 20)
    expected = 12 + 20 - 2 * np.sum(correlations(x, y) ** 2)
    assert METRICS["gulp-squared"](x, y) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("alpha", [0, 0.05])
@pytest.mark.parametrize("noise", [1e-9, 1e-6, 1e-3, 1e-2, 0.1])
def test_gulp_of_nearly_equal_features_is_exact(noise, alpha):
    """The difference of traces would leave nothing of distances below 1e-8."""
    x, _ = related(60, 8, 8)
    y = x + noise * np.random.default_rng(1).normal(size=x.shape)
    metric = get_metric("gulp", alpha=alpha)
    a, b = metric.prepare(x), metric.prepare(y)
    smoothers = [(u * g) @ u.T for u, g in (a, b)]
    expected = np.linalg.norm(smoothers[0] - smoothers[1])
    assert metric.compare(a, b) == pytest.approx(expected, rel=1e-9, abs=1e-14)
    assert metric.compare(b, a) == pytest.approx(metric.compare(a, b), rel=1e-9, abs=1e-14)


def test_gulp_obeys_the_triangle_inequality_and_its_square_does_not():
    root, squared = METRICS["gulp"], METRICS["gulp-squared"]
    x, y = (np.linalg.qr(centered(a))[0] for a in related(50, 1, 1))
    middle = x + np.sign(np.vdot(x, y)) * y
    assert root(x, y) <= root(x, middle) + root(middle, y)
    assert squared(x, y) > squared(x, middle) + squared(middle, y)
    assert root.facts.is_metric
    assert not squared.facts.is_metric


@every_metric
def test_dead_and_repeated_units_change_nothing(metric):
    """Whatever the map from 12 to 30 units, it spans the same, though the variance moves."""
    x, y = related(60, 12, 15)
    dead = np.column_stack([x, np.full(60, 0.1), np.zeros(60)])
    if "translation" not in metric.facts.invariant_to:
        dead[:, -2] = 0
    if metric.parameters.get("norm") == "units":
        return  # it counts them
    assert metric(dead, y) == pytest.approx(metric(x, y), abs=1e-9)
    assert metric(y, dead) == pytest.approx(metric(y, x), abs=1e-9)
    mixed = x @ np.random.default_rng(1).normal(size=(12, 30))
    assert np.isfinite(metric(mixed, y))
    if "invertible_linear" in metric.facts.invariant_to:
        assert metric(mixed, y) == pytest.approx(metric(x, y), abs=1e-8)
    if metric == METRICS["linear_regression"]:
        assert metric(y, mixed) == pytest.approx(metric(y, x), abs=1e-9)


@every_metric
def test_rounding_of_a_large_offset_is_no_direction(metric):
    """Units that repeat others beside means far above their spread keep their rank."""
    if "translation" not in metric.facts.invariant_to or metric == METRICS["svcca-10"]:
        return
    x, y = related(60, 12, 15)
    x = np.round(x * 2**10) / 2**10
    repeated = np.column_stack([x, x[:, :3] + x[:, 3:6], np.full(60, 0.1)])
    assert metric(repeated + 1e5 / 3, y) == pytest.approx(metric(repeated, y), abs=1e-6)


@every_metric
@pytest.mark.parametrize(
    ("n", "d1", "d2"), [(20, 50, 9), (21, 20, 20), (20, 20, 35), (15, 1, 40), (3, 1, 1), (4, 9, 2)]
)
def test_shapes_scales_and_order(metric, n, d1, d2):
    x, y = related(n, d1, d2)
    value = metric(x, y)
    low, high = metric.facts.bounds
    assert low <= value <= high
    if metric.facts.self_value is not None:
        assert metric(x, x) == pytest.approx(metric.facts.self_value, abs=1e-9)
    if metric.facts.symmetric:
        assert metric(y, x) == pytest.approx(value, abs=1e-12)
    assert metric(x * 4, y / 16) == value
    assert metric(x * 1e150, y * 1e-150) == pytest.approx(value, abs=1e-9)
    order = np.random.default_rng(1).permutation(n)
    a, b = metric.prepare(x), metric.prepare(y)
    moved = metric.compare(metric.permuted(a, order), metric.permuted(b, order))
    assert moved == pytest.approx(value, abs=1e-9)
    held = sum(part.nbytes for part in (a if isinstance(a, tuple) else (a,)) if np.ndim(part))
    assert held <= metric.prepared_bytes(n, d1)


@every_metric
def test_single_precision_of_any_scale(metric):
    x, y = (a.astype(np.float32) for a in related(60, 10, 15))
    value = metric(x, y)
    for scale in (2.0**-50, 2.0**50):  # about 1e-15 and 1e15
        assert metric(x * np.float32(scale), y) == value
    assert metric(x * np.float32(1e15), y * np.float32(1e-15)) == pytest.approx(value, abs=1e-5)


@every_metric
def test_duplicated_rows_and_a_zero_row(metric):
    x, y = related(40, 10, 15)
    x[3], x[7], y[3] = x[4], 0, y[4]
    assert np.isfinite(metric(x, y))
    assert np.isfinite(metric(y, x))


@every_metric
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_constant_features_are_refused(metric, value):
    _, y = related(30, 5, 5)
    for pair in [(np.full((30, 4), value), y), (y, np.full((30, 4), value))]:
        with pytest.raises(MetricError, match="the features are constant"):
            metric(*pair)


@pytest.mark.parametrize("name", ["cca", "svcca", "pwcca", "linear_regression", "gulp"])
def test_two_samples_are_refused(name):
    x, y = related(2, 5, 4)
    with pytest.raises(MetricError, match="at least 3 samples, not 2"):
        get_metric(name)(x, y)


def test_independent_features_score_what_the_docstrings_say():
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(101, 10)), rng.normal(size=(101, 30))) for _ in range(60)]

    def mean(name, swap=False):
        return np.mean([METRICS[name](*(pair[::-1] if swap else pair)) for pair in draws])

    assert mean("cca-mean_squared") == pytest.approx(30 / 100, abs=0.01)
    assert mean("linear_regression") == pytest.approx(30 / 100, abs=0.01)
    assert mean("linear_regression", swap=True) == pytest.approx(10 / 100, abs=0.01)
    assert mean("eigenspace_overlap") == pytest.approx(10 / 101, abs=0.01)


def test_values_are_saturated_where_samples_are_few():
    x, y = related(20, 19, 40)
    for name in ("cca", "cca-mean_squared", "pwcca", "linear_regression", "gulp"):
        metric = METRICS[name]
        assert metric(x, y) == pytest.approx(metric.facts.self_value, abs=1e-9)
    x, y = related(20, 19, 5)
    for name in ("cca", "pwcca"):
        assert METRICS[name](x, y) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("cca", {"form": "meen"}, "form cannot be 'meen'; did you mean 'mean'?"),
        ("svcca", {"variance": 0}, "variance cannot be 0; use a share"),
        ("svcca", {"variance": 99}, "variance cannot be 99; use a share"),
        ("svcca", {"variance": True}, "variance cannot be True"),
        ("svcca", {"components": 0}, "components cannot be 0; use a whole number from 1"),
        ("svcca", {"components": 2.5}, "components cannot be 2.5"),
        ("svcca", {"standardize": "yes"}, "standardize cannot be 'yes'; use true or false"),
        ("svcca", {"components": 3, "variance_rule": "total"}, "leave one of variance_rule and"),
        ("svcca", {"variance_rule": "sum"}, "variance_rule cannot be 'sum'"),
        ("pwcca", {"form": "morkos"}, "form cannot be 'morkos'; did you mean 'morcos'?"),
        ("linear_regression", {"direction": "x"}, "direction cannot be 'x'"),
        ("linear_regression", {"alpha": -1}, "alpha cannot be -1; use a number from 0"),
        ("eigenspace_overlap", {"norm": "ranks"}, "norm cannot be 'ranks'; did you mean 'rank'?"),
        ("gulp", {"alpha": np.nan}, "alpha cannot be nan; use a number from 0"),
        ("gulp", {"form": "square"}, "form cannot be 'square'; did you mean 'squared'?"),
    ],
)
def test_parameter_errors(name, parameters, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        get_metric(name, **parameters)
