"""Metrics of outputs and of single statistics against scipy, scikit-learn and closed forms."""

import itertools

import numpy as np
import pytest
from golden import RESI, resi_pair
from scipy.spatial.distance import jensenshannon, pdist
from scipy.special import logsumexp, softmax
from sklearn.metrics import accuracy_score, cohen_kappa_score

from consilience.errors import ConfigError, FeaturesError, MetricError
from consilience.metrics import get_metric

LABELLED = ["accuracy_difference", "error_consistency"]
OUTPUTS = ["disagreement", "jsd", *LABELLED]
STATISTICS = ["magnitude_difference", "concentricity_difference", "uniformity_difference"]


@pytest.fixture
def logits():
    """Logits of two classifiers that learned something, and the labels."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 7, size=300)
    signal = 2.0 * np.eye(7)[labels] + rng.normal(size=(300, 7))
    x, y = (signal + 0.7 * rng.normal(size=signal.shape) for _ in range(2))
    return x, 1.5 * y, labels


def call(name, x, y, labels, **parameters):
    extra = {"labels": labels} if name in LABELLED else {}
    return get_metric(name, **parameters)(x, y, **extra)


@pytest.mark.reference("disagreement", by="scikit-learn")
def test_disagreement(logits):
    x, y, _ = logits
    expected = 1 - accuracy_score(x.argmax(axis=1), y.argmax(axis=1))
    assert get_metric("disagreement")(x, y) == pytest.approx(expected, abs=1e-15)


def test_ties_go_to_lower_classes():
    x = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    y = np.array([[9.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
    assert get_metric("disagreement").prepare(x).values.tolist() == [0, 1]
    assert get_metric("disagreement")(x, y) == 0.5


@pytest.mark.reference("jsd", by="scipy")
def test_jsd_is_scipy(logits):
    x, y, _ = logits
    roots = jensenshannon(softmax(x, axis=1), softmax(y, axis=1), base=2, axis=1)
    expected = np.mean(roots**2)
    assert get_metric("jsd")(x, y) == pytest.approx(expected, abs=1e-14)
    assert get_metric("jsd")(x, y) == pytest.approx(get_metric("jsd")(y, x), abs=1e-15)
    assert get_metric("jsd", form="distance")(x, y) == pytest.approx(np.sqrt(expected), abs=1e-14)


@pytest.mark.parametrize("form", ["divergence", "distance"])
def test_jsd_of_equal_outputs_is_exactly_zero(logits, form):
    metric = get_metric("jsd", form=form)
    assert metric(logits[0], logits[0]) == 0.0
    assert metric(logits[0] * 1e300, logits[0] * 1e300) == 0.0


def test_jsd_of_opposite_outputs_is_one():
    x = np.array([[1e300, -1e308, 0.0], [0.0, -500.0, 900.0]])
    y = np.array([[-1e300, 1e308, 0.0], [0.0, 800.0, -1000.0]])
    assert get_metric("jsd")(x, y) == 1.0
    assert get_metric("jsd", form="distance")(x, y) == 1.0


@pytest.mark.parametrize("shift", [1e-3, 1e-7, 1e-12])
def test_small_divergences_are_not_lost(shift):
    """Two classes at even odds and at log odds s: s² / 32 nats to leading order."""
    x, y = np.zeros((4, 2)), np.zeros((4, 2))
    y[:, 0] = shift
    expected = shift**2 / 32 / np.log(2)
    assert get_metric("jsd")(x, y) == pytest.approx(expected, rel=1e-3 if shift < 1e-7 else 1e-5)


def test_jsd_distance_obeys_the_triangle_inequality():
    rng = np.random.default_rng(0)
    metric = get_metric("jsd", form="distance")
    assert metric.facts.is_metric
    assert not get_metric("jsd").facts.is_metric
    forms = [metric.prepare(rng.normal(scale=s, size=(6, 3))) for s in (0.1, 1, 3, 10, 30)]
    for a, b, c in itertools.permutations(forms, 3):
        assert metric.compare(a, c) <= metric.compare(a, b) + metric.compare(b, c) + 1e-12


@pytest.mark.reference("accuracy_difference", by="scikit-learn")
def test_accuracy_difference(logits):
    x, y, labels = logits
    expected = accuracy_score(labels, x.argmax(axis=1)) - accuracy_score(labels, y.argmax(axis=1))
    assert call("accuracy_difference", x, y, labels) == pytest.approx(abs(expected), abs=1e-15)
    assert call("accuracy_difference", x, -x, labels) > 0.5


@pytest.mark.reference("error_consistency", by="scikit-learn")
def test_error_consistency_is_cohens_kappa(logits):
    x, y, labels = logits
    right = [side.argmax(axis=1) == labels for side in (x, y)]
    expected = cohen_kappa_score(*right)
    assert call("error_consistency", x, y, labels) == pytest.approx(expected, abs=1e-14)
    assert call("error_consistency", x, x, labels) == 1.0


def test_error_consistency_of_opposite_and_independent_errors():
    labels = np.tile([0, 1], 2000)
    right = np.eye(2)[labels]
    first = np.arange(4000) % 4 < 2
    x = np.where(first[:, None], right, 1 - right)
    assert call("error_consistency", x, 1 - x, labels) == -1.0
    rng = np.random.default_rng(0)
    x, y = (np.where(rng.random((4000, 1)) < p, right, 1 - right) for p in (0.9, 0.6))
    assert abs(call("error_consistency", x, y, labels)) < 4 / np.sqrt(4000)


@pytest.mark.parametrize(("sign", "word"), [(1, "right"), (-1, "wrong")])
def test_error_consistency_without_errors_is_refused(sign, word):
    labels = np.array([0, 1, 2, 1])
    x = sign * np.eye(3)[labels]
    with pytest.raises(MetricError, match=f"both sides are {word} on all 4 samples"):
        call("error_consistency", x, 2 * x, labels)
    assert call("error_consistency", x, -x, labels) == 0.0  # one never errs: agreement by chance


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_outputs_ignore(logits, name):
    x, y, labels = logits
    value = call(name, x, y, labels)
    shifted = x + np.random.default_rng(0).normal(size=(len(x), 1))  # a number per sample
    assert call(name, shifted, y, labels) == pytest.approx(value, abs=1e-12)
    moved = call(name, x + 3 * np.arange(7), y, labels)  # a vector over the classes
    assert abs(moved - value) > 1e-3
    assert abs(call(name, x[:, ::-1], y, labels) - value) > 1e-3
    scaled = abs(call(name, 7.3 * x, y, labels) - value)
    assert (scaled == 0) == ("isotropic_scaling" in get_metric(name).facts.invariant_to)
    if scaled == 0:
        for scale in (1e-150, 1e150, 2.0**-40):
            assert call(name, scale * x, y, labels) == value


@pytest.mark.parametrize("name", OUTPUTS)
def test_permuted_outputs(logits, name):
    """Samples move with their labels, so an accuracy stays what it is."""
    x, y, labels = logits
    metric = get_metric(name)
    order = np.random.default_rng(1).permutation(len(x))

    def prepared(side, which=slice(None)):
        extra = (labels[which],) if metric.facts.shared else ()
        return metric.prepare(side[which], *extra)

    b = prepared(y)
    moved = metric.compare(metric.permuted(prepared(x), order), b)
    assert moved == pytest.approx(metric.compare(prepared(x, order), b), abs=1e-14)
    assert (moved != metric.compare(prepared(x), b)) == metric.facts.paired


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_that_do_not_fit_are_refused(logits, name):
    x, y, labels = logits
    with pytest.raises(MetricError, match="one side has 7 classes and the other 6"):
        call(name, x, y[:, :6], np.minimum(labels, 5))
    with pytest.raises(MetricError, match="at least 2 classes"):
        call(name, x[:, :1], y[:, :1], 0 * labels)


@pytest.mark.parametrize("name", LABELLED)
def test_labels_that_do_not_fit_are_refused(logits, name):
    x, y, labels = logits
    with pytest.raises(FeaturesError, match="pass labels="):
        get_metric(name)(x, y)
    labels[11] = 7
    with pytest.raises(MetricError, match="label 7 of row 11 has no column among 7 logits"):
        call(name, x, y, labels)


def test_float32_logits(logits):
    x, y, labels = logits
    for name in OUTPUTS:
        small = (x.astype(np.float32), y.astype(np.float32))
        assert call(name, *small, labels) == pytest.approx(call(name, x, y, labels), abs=1e-6)


@pytest.mark.reference(
    "magnitude_difference", "concentricity_difference", "uniformity_difference", by="ReSi"
)
@pytest.mark.parametrize("case", RESI["cases"])
@pytest.mark.parametrize(
    ("measure", "name", "parameters"),
    [
        ("MagnitudeDifference", "magnitude_difference", {}),
        ("ConcentricityDifference", "concentricity_difference", {}),
        ("UniformityDifference", "uniformity_difference", {"estimator": "biased"}),
    ],
)
def test_resi(case, measure, name, parameters):
    x, y = resi_pair(case)
    expected = RESI["cases"][case]["measures"][measure]
    metric = get_metric(name, **parameters)
    assert metric(x, y) == pytest.approx(expected["value"], rel=1e-6, abs=1e-12)
    assert metric(y, x) == pytest.approx(expected["value_swapped"], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("case", ["random_independent", "linear_noise"])
def test_uniformity_does_not_underflow(case):
    """ReSi gives exactly 0 here, as ln(1/n + tiny) is ln(1/n); the features do differ."""
    assert RESI["cases"][case]["measures"]["UniformityDifference"]["value"] == 0
    x, y = resi_pair(case)
    exponents = [-2 * pdist(side, "sqeuclidean") for side in (x, y)]
    u, v = (logsumexp(e) - np.log(len(e)) for e in exponents)
    assert get_metric("uniformity_difference")(x, y) == pytest.approx(abs(u - v), rel=1e-10)
    assert abs(u - v) > 1
    shared = [2 * np.exp(e).sum() / len(x) for e in exponents]  # beside the ones of the diagonal
    biased = get_metric("uniformity_difference", estimator="biased")(x, y)
    assert biased == pytest.approx(abs(shared[0] - shared[1]), rel=1e-9)
    assert biased > 0


@pytest.mark.reference("uniformity_difference", by="its definition")
@pytest.mark.parametrize("t", [0.1, 2.0])
def test_uniformity_by_definition(t):
    rng = np.random.default_rng(4)
    x, y = 0.4 * rng.normal(size=(30, 5)) + 3, 0.7 * rng.normal(size=(30, 8))
    values = []
    for side in (x, y):
        potential = np.exp(-t * ((side[:, None] - side[None]) ** 2).sum(axis=-1))
        distinct = potential[~np.eye(30, dtype=bool)]
        values.append((np.log(distinct.mean()), np.log(potential.mean())))
    debiased, biased = np.abs(np.subtract(*values))
    metric = get_metric("uniformity_difference", t=t)
    assert metric(x, y) == pytest.approx(debiased, abs=1e-12)
    assert metric(x + 1e3, y) == pytest.approx(debiased, abs=1e-9)
    metric = get_metric("uniformity_difference", t=t, estimator="biased")
    assert metric(x, y) == pytest.approx(biased, abs=1e-12)


def test_statistics_by_definition():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(30, 5)) + 0.5, rng.normal(size=(30, 8)) - 0.2
    means = [side.mean(axis=0) for side in (x, y)]
    lengths = [np.sqrt((mean**2).sum()) for mean in means]
    expected = abs(lengths[0] - lengths[1])
    assert get_metric("magnitude_difference")(x, y) == pytest.approx(expected, abs=1e-14)
    cosines = [
        np.mean([row @ mean / np.sqrt((row @ row) * (mean @ mean)) for row in side])
        for side, mean in zip((x, y), means, strict=True)
    ]
    expected = abs(cosines[0] - cosines[1])
    assert get_metric("concentricity_difference")(x, y) == pytest.approx(expected, abs=1e-14)


def test_statistics_of_constant_rows():
    """Samples that are all alike have statistics too: full concentricity and no spread."""
    x, y = np.full((9, 4), 0.5), np.full((9, 9), -2.0)
    assert get_metric("magnitude_difference")(x, y) == pytest.approx(5.0)
    assert get_metric("concentricity_difference")(x, y) == pytest.approx(0.0, abs=1e-15)
    assert get_metric("uniformity_difference")(x, y) == 0.0
    assert get_metric("magnitude_difference")(0 * x, y) == pytest.approx(6.0)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_statistics_at_extreme_scales(scale):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(20, 5)) + 1, rng.normal(size=(20, 30)) + 0.5
    for name, factor in [("magnitude_difference", scale), ("concentricity_difference", 1)]:
        metric = get_metric(name)
        value = metric(x, y)
        assert metric(x * scale, y * scale) == pytest.approx(value * factor, rel=1e-9)
    assert get_metric("concentricity_difference")(x / 4, y) == pytest.approx(value, abs=0)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize(("n", "d"), [(8, 30), (8, 7), (8, 1), (2, 3)])
def test_statistics_shapes(name, n, d):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(n, d)) + 0.3, rng.normal(size=(n, 4)) + 0.3
    x[1] = x[0]
    metric = get_metric(name)
    assert not metric.facts.paired
    assert metric(x, y) == pytest.approx(metric(y, x[::-1]), abs=1e-12)
    assert metric(x, x) == 0.0
    a = metric.prepare(x)
    assert metric.permuted(a, np.arange(n)[::-1]) == a


def test_undefined_statistics_are_refused():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(20, 5)) + 1, rng.normal(size=(20, 5)) + 1
    concentricity, uniformity = (get_metric(name) for name in STATISTICS[1:])
    with pytest.raises(MetricError, match="the mean row is zero"):
        concentricity(x - x.mean(axis=0), y)
    x[7] = 0
    with pytest.raises(MetricError, match="row 7 is zero"):
        concentricity(x, y)
    with pytest.raises(MetricError, match="at least 2 samples, not 1"):
        uniformity(x[:1], y[:1])
    with pytest.raises(MetricError, match="overflow"):
        uniformity(x * 1e160, y)


@pytest.mark.parametrize("t", [0, -2, "2", True, float("nan"), float("inf")])
def test_bad_t(t):
    with pytest.raises(ConfigError, match="t cannot be"):
        get_metric("uniformity_difference", t=t)
