"""Every registered metric and catalogued variant against its own declared facts."""

import inspect
import itertools
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience import metrics
from consilience.errors import ConfigError, FeaturesError, MetricError
from consilience.metrics import INVARIANCES, METRICS, get_metric, list_metrics, split_variant

ROOT = Path(__file__).parents[2]
CATALOGUE = yaml.safe_load((ROOT / "config" / "metrics.yaml").read_text(encoding="utf8"))


TELLING = {"d_llv": {"rank": 1}}
"""Parameters with which few samples tell of all parts of a value: here, of those over labels."""


def build(entry):
    variant = split_variant(entry)
    return get_metric(variant.metric, **variant.parameters, **TELLING.get(variant.metric, {}))


VARIANTS = {name: get_metric(name, **TELLING.get(name, {})) for name in list_metrics()}
VARIANTS |= {name: build(entry) for name, entry in CATALOGUE.items()}
UNDEFINED_FOR_DEAD_UNITS = {"pls_svd"}
DEFINED_FOR_CONSTANTS = {
    "magnitude_difference",
    "concentricity_difference",
    "uniformity_difference",
}
every_metric = pytest.mark.parametrize("metric", VARIANTS.values(), ids=VARIANTS)


def features(rng, n=80, d=12, units=None):
    """Related features of two models: a shared latent part, own noise, own offset."""
    latent = rng.normal(size=(n, 5))
    sides = []
    for width in (d, units or d + 3):
        noise = 0.5 * rng.normal(size=(n, width))
        sides.append(latent @ rng.normal(size=(5, width)) / 3 + noise + rng.normal(size=width))
    return [0.3 * side for side in sides]  # within reach of the fixed rbf widths


def sides(metric, rng, n=80, d=12, units=None):
    """Features for the metric: logits are over the same classes."""
    return features(rng, n, d, d if metric.facts.main == "logits" else units)


def labels_of(x):
    """Classes of which x: (n, classes) gets about half right."""
    best = x.argmax(axis=1)
    return np.where(np.arange(len(x)) % 2, best, (best + 1) % x.shape[1])


def with_head(metric, x, classes):
    """Features x, or with an unembedding of so many classes and logits if the metric needs them.

    The logits are the same for features that are shifted or scaled.
    """
    if "unembedding" not in metric.facts.inputs:
        return x
    values, width = np.asarray(x), x.shape[-1]
    g = np.random.default_rng([classes, width]).normal(size=(classes, width))
    with np.errstate(invalid="ignore"):
        moved = values - values.mean(axis=0)
        spread = moved.std(axis=0)
        z = np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 1e-160)
    logits = z @ g.T if values.ndim == 2 else np.zeros((len(values), classes))
    return {"features": x, "unembedding": g, "logits": np.nan_to_num(logits).real}


def call(metric, x, y, truth=None):
    """The value of x and y, with labels from `truth` (default y) if the metric needs them."""
    classes = min(x.shape[-1], y.shape[-1]) + 2
    x, y = (with_head(metric, side, classes) for side in (x, y))
    if not metric.facts.shared:
        return metric(x, y)
    return metric(x, y, labels=labels_of(y if truth is None else truth))


def prepare(metric, x, labels, classes=17):
    if "unembedding" in metric.facts.inputs:
        return metric.prepare(*with_head(metric, x, classes).values())
    return metric.prepare(x, labels) if metric.facts.shared else metric.prepare(x)


def orthogonal(rng, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def changes(rng, x):
    """One random member of each group of maps of the units."""
    d = x.shape[1]
    yield "permutation", x[:, rng.permutation(d)]
    yield "orthogonal", x @ orthogonal(rng, d)
    yield "isotropic_scaling", x * 7.3
    yield "translation", x + 2 * rng.normal(size=d)
    yield "invertible_linear", x @ (rng.normal(size=(d, d)) + np.diag(np.linspace(1, 9, d)))


@every_metric
def test_invariances_hold_and_others_fail(metric):
    rng = np.random.default_rng(0)
    moved = dict.fromkeys(INVARIANCES, 0.0)
    for _ in range(3):
        x, y = sides(metric, rng)
        value = call(metric, x, y)
        for name, changed in changes(rng, x):
            moved[name] = max(moved[name], abs(call(metric, changed, y) - value))
    for name, difference in moved.items():
        if name in metric.facts.invariant_to:
            assert difference < 1e-9, f"declared invariant to {name}, moved by {difference}"
        else:
            assert difference > 1e-6, f"not declared invariant to {name}, yet nothing moved"


@every_metric
def test_symmetry_bounds_and_self_value(metric):
    rng = np.random.default_rng(1)
    low, high = metric.facts.bounds
    turned = []
    for _ in range(3):
        x, y = sides(metric, rng)
        value = call(metric, x, y)
        assert type(value) is float
        assert low <= value <= high
        turned.append(call(metric, y, x, truth=y) == pytest.approx(value, abs=1e-12))
        check_self_value(metric, x)
    assert all(turned) == metric.facts.symmetric


def check_self_value(metric, x):
    value, expected = call(metric, x, x), metric.facts.self_value
    if expected is not None:
        assert value == pytest.approx(expected, abs=1e-9)


@every_metric
def test_permuted_forms_are_those_of_permuted_samples(metric):
    rng = np.random.default_rng(10)
    x, y = sides(metric, rng, n=40)
    order, labels = rng.permutation(40), labels_of(y)
    a, b = prepare(metric, x, labels), prepare(metric, y, labels)
    direct = metric.compare(prepare(metric, x[order], labels[order]), b)
    moved = metric.compare(metric.permuted(a, order), b)
    assert moved == pytest.approx(direct, abs=1e-9)
    unmoved = metric.compare(a, b)
    assert (abs(moved - unmoved) > 1e-6) == metric.facts.paired


@every_metric
def test_all_pairs_at_once(metric):
    rng = np.random.default_rng(11)
    x, y = sides(metric, rng, n=40)
    labels = labels_of(y)
    forms = [prepare(metric, side, labels) for side in (x, y, np.roll(y, 3, axis=0))]
    together = metric.compare_all(forms[:2], forms)
    single = [[metric.compare(a, b) for b in forms] for a in forms[:2]]
    np.testing.assert_allclose(together, single, rtol=1e-12, atol=1e-12)


@every_metric
def test_direction(metric):
    """More noise on one side moves the value away from that of a self pair."""
    rng = np.random.default_rng(2)
    x, _ = features(rng, n=150)
    noise = rng.normal(size=x.shape) * x.std()
    values = [call(metric, x, x + level * noise, truth=x) for level in (0.1, 0.5, 2.5)]
    assert (values[0] > values[1] > values[2]) == metric.facts.larger_is_more_similar
    assert values[0] != values[2]


@every_metric
@pytest.mark.parametrize(("n", "d"), [(40, 200), (30, 29), (30, 30), (30, 31), (50, 2)])
def test_shapes(metric, n, d):
    x, y = sides(metric, np.random.default_rng(3), n=n, d=d, units=17)
    if metric.class_facts.name == "d_llv" and d == 2:
        with pytest.raises(MetricError, match="at least M \\+ 2 = 3 classes"):
            call(metric, x, y)
        return
    assert np.isfinite(call(metric, x, y))
    if metric.class_facts.name == "identifiable_svd" and d >= n:
        with pytest.raises(MetricError, match=f"at least {d + 1} samples, not {n}"):
            call(metric, x, x)
        return
    check_self_value(metric, x)


@every_metric
def test_float32_and_torch_agree_with_float64(metric):
    torch = pytest.importorskip("torch")
    x, y = sides(metric, np.random.default_rng(4), n=60)
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    exact = call(metric, x32.astype(float), y32.astype(float))
    assert call(metric, x32, y32) == exact
    assert call(metric, torch.from_numpy(x32), torch.from_numpy(y32), truth=y) == exact
    assert call(metric, x, y) == pytest.approx(exact, rel=1e-3, abs=1e-3)


@every_metric
@pytest.mark.parametrize("scale", [1e-150, 0.1, 1e15, 1e150])
def test_scale(metric, scale):
    x, y = sides(metric, np.random.default_rng(5))
    if "isotropic_scaling" in metric.facts.invariant_to:
        assert call(metric, x * scale, y) == pytest.approx(call(metric, x, y), abs=1e-9)


@every_metric
def test_power_of_two_scale_is_exact(metric):
    x, y = sides(metric, np.random.default_rng(6))
    if "isotropic_scaling" in metric.facts.invariant_to:
        assert call(metric, x / 8, y * 4) == call(metric, x, y)


@every_metric
def test_duplicated_rows_and_dead_units(metric):
    x, y = sides(metric, np.random.default_rng(7))
    x[1], y[1], x[:, 3] = x[0], y[0], 0
    if metric.class_facts.name in UNDEFINED_FOR_DEAD_UNITS:
        with pytest.raises(MetricError, match="unit 3 is constant"):
            call(metric, x, y)
        return
    assert np.isfinite(call(metric, x, y))


@every_metric
@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1])
def test_constant_features_are_refused(metric, constant):
    if metric.class_facts.name in DEFINED_FOR_CONSTANTS or metric.facts.main == "logits":
        return
    _, y = features(np.random.default_rng(8))
    with pytest.raises(MetricError):
        call(metric, np.full((len(y), 6), constant), y)


@every_metric
def test_bad_features_are_refused(metric):
    x, y = sides(metric, np.random.default_rng(9))
    holed = x.copy()
    holed[17, 2] = np.nan
    with pytest.raises(FeaturesError, match="NaN or infinity, first in row 17"):
        call(metric, holed, y)
    with pytest.raises(FeaturesError, match="80 samples and y has 79"):
        call(metric, x, y[1:])
    with pytest.raises(FeaturesError, match="shape"):
        call(metric, x[0], y[0], truth=y)
    with pytest.raises(FeaturesError, match="dtype"):
        call(metric, x.astype(complex), y)


@settings(max_examples=30, deadline=None)
@given(st.integers(6, 40), st.integers(3, 50), st.integers(0, 10**6))
def test_any_shape(n, d, seed):
    for name, metric in VARIANTS.items():
        x, y = sides(metric, np.random.default_rng(seed), n=n, d=d)
        low, high = metric.facts.bounds
        try:
            value = call(metric, x, y)
        except MetricError as error:  # refused with a reason, which small n may be
            assert re.search(r"needs? at least|too few", str(error)), f"{name}: {error}"
        else:
            assert low - 1e-12 <= value <= high + 1e-12, name


@every_metric
def test_what_is_not_finite_is_refused(metric, monkeypatch):
    x, y = sides(metric, np.random.default_rng(12))
    for value in (np.nan, np.inf, -np.inf):
        monkeypatch.setattr(type(metric), "compare", lambda self, a, b, value=value: value)
        with pytest.raises(MetricError, match=f"the metric gave {value}"):
            call(metric, x, y)


def walk():
    """Every check of this page that takes a metric, with each set of its other arguments."""
    for name, function in list(globals().items()):
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        if every_metric.mark not in marks:
            continue
        more = [mark for mark in marks if mark != every_metric.mark]
        choices = [[(mark.args[0], values) for values in mark.args[1]] for mark in more]
        for chosen in itertools.product(*choices):
            others = dict(_named(chosen))
            yield pytest.param(function, others, id="-".join([name, *map(str, others.values())]))


def _named(chosen):
    for names, values in chosen:
        yield from (
            zip(names, values, strict=True) if isinstance(names, tuple) else [(names, values)]
        )


def readme_example():
    """The metric that README.md shows, from its text, without entering it among the others."""
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    code = next(c for c in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "@metric(" in c)
    known = {name: METRICS[name] for name in METRICS if name != "norm_correlation"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(METRICS, "_entries", known)
        exec(code, page := {"__name__": "readme"})
        metric = get_metric("norm_correlation")
    return metric, page


@pytest.mark.parametrize(("check", "others"), walk())
def test_readme_metric_passes_every_check(check, others, monkeypatch):
    metric, _ = readme_example()
    takes = inspect.signature(check).parameters
    fixtures = {"monkeypatch": monkeypatch} if "monkeypatch" in takes else {}
    check(metric, **others, **fixtures)


def test_checks_find_a_metric_that_breaks_its_facts():
    """The README's example without its check of constant norms, and with other facts."""
    metric, page = readme_example()
    checks = {check.values[0] for check in walk()}
    assert len(checks) >= 13

    class Careless(page["NormCorrelation"]):
        def prepare(self, x):
            norms = np.linalg.norm(x, axis=1)
            return (norms - norms.mean()) / np.linalg.norm(norms - norms.mean())

    with np.errstate(invalid="ignore"), pytest.raises(MetricError, match="the metric gave nan"):
        Careless()(np.ones((9, 2)), np.eye(9))
    facts = metric.facts
    for wrong in (
        {"invariant_to": facts.invariant_to | {"translation"}},
        {"invariant_to": frozenset({"permutation"})},
        {"symmetric": False},
        {"self_value": 0.5},
        {"larger_is_more_similar": False},
        {"paired": False},
    ):
        liar = type("Liar", (page["NormCorrelation"],), {"class_facts": replace(facts, **wrong)})()
        failed = 0
        for check in walk():
            function, others = check.values
            if "monkeypatch" in inspect.signature(function).parameters:
                continue
            try:
                function(liar, **others)
            except AssertionError:
                failed += 1
        assert failed, wrong


def test_too_few_samples_are_refused():
    x = np.random.default_rng(0).normal(size=(10, 4))
    for metric, n in [("cka", 3), ("rsa", 2), ("mutual_knn", 10)]:
        with pytest.raises(MetricError, match=r"needs? at least"):
            get_metric(metric)(x[:n], x[:n])


@every_metric
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_varies_by_rounding_only_is_constant(metric, dtype):
    """Two last digits flip, as they do between batches of one network."""
    if metric.class_facts.name in DEFINED_FOR_CONSTANTS or metric.facts.main == "logits":
        return
    rng = np.random.default_rng(13)
    _, y = features(rng)
    row = np.append(rng.normal(size=5), 0).astype(dtype)  # a dead unit too
    flips = rng.integers(-1, 2, size=(len(y), 6)).astype(dtype)
    with pytest.raises(MetricError, match=r"constant|same norm"):
        call(metric, (row * (1 + np.finfo(dtype).eps * flips)).astype(dtype), y)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_norms_of_unit_rows_are_rounding(dtype):
    metric, _ = readme_example()
    rng = np.random.default_rng(14)
    x, y = (rng.normal(size=(500, 64)).astype(dtype) for _ in range(2))
    assert np.isfinite(metric(x, y))
    unit = [(side / np.linalg.norm(side, axis=1, keepdims=True)).astype(dtype) for side in (x, y)]
    with pytest.raises(MetricError, match="the same norm"):
        metric(*unit)


def test_rounding_is_that_of_the_narrowest_type():
    x = np.random.default_rng(15).normal(size=(30, 4))
    exact = 64 * np.finfo(float).eps
    single = x.astype(np.float32)
    bfloat = (single.view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert metrics.rounding(x) == exact
    for side, expected in ((single, 2.0**-20), (x.astype(np.float16), 2.0**-9), (bfloat, 2.0**-6)):
        assert metrics.rounding(side) == expected
    assert metrics.rounding(2.0**-9 * single) == 2.0**-20
    for whole in (np.zeros((4, 2)), np.arange(8).reshape(4, 2), 1e6 * np.eye(3), np.eye(3) / 8):
        assert metrics.rounding(whole) == exact
    assert metrics.rounding(1e300 * x) == metrics.rounding(1e-300 * x) == exact


def test_units_that_vary_by_rounding_count_as_constant():
    """A unit of float32 that flips its last digit has no correlation with anything."""
    rng = np.random.default_rng(16)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    flipping = (1 + 2.0**-23 * rng.integers(0, 2, size=(60, 1))).astype(np.float32)
    metrics = [get_metric(f"{kind}_correlation_match") for kind in ("hard", "soft")]
    for metric in [*metrics, get_metric("svcca", standardize=True)]:
        dead = metric(np.hstack([x, np.ones_like(flipping)]), x)
        assert metric(np.hstack([x, flipping]), x) == pytest.approx(dead, abs=1e-12)
    large = (x + 1e5).astype(np.float32)  # a spread that float32 still holds
    assert get_metric("hard_correlation_match")(large, x) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "name", ["cca", "pwcca", "linear_regression", "eigenspace_overlap", "gulp"]
)
def test_directions_that_are_rounding_do_not_count(name):
    """Mixtures of units, rounded to float32, are no new directions; small ones of any size are."""
    rng, metric = np.random.default_rng(18), get_metric(name)
    x = rng.normal(size=(150, 4)).astype(np.float32)
    mixed = (x @ rng.normal(size=(4, 3)).astype(np.float32)).astype(np.float32)

    def rank(side):
        form = metric.prepare(side.astype(np.float32).astype(float))
        return np.asarray(form[0] if isinstance(form, tuple) else form).shape[-1]

    assert rank(np.hstack([x, mixed])) == 4
    assert rank(np.hstack([x, mixed + 1e-5 * rng.normal(size=mixed.shape)])) == 7
    assert rank(np.hstack([1e4 * x[:, :1], x])) == 4
    assert rank(np.hstack([1e5 * rng.normal(size=(150, 1)), x])) == 5


def test_concentricity_of_centred_features_is_refused():
    x = np.random.default_rng(17).normal(size=(200, 8)).astype(np.float32)
    centred = x - x.mean(axis=0)
    with pytest.raises(MetricError, match="the mean row is zero up to rounding"):
        get_metric("concentricity_difference")(centred, x)
    assert get_metric("concentricity_difference")(x, x + np.float32(1)) > 0.1


def test_undefined_rows_are_named():
    x = np.random.default_rng(0).normal(size=(20, 4))
    x[7] = 0
    with pytest.raises(MetricError, match="row 7 is zero"):
        get_metric("rsa", rdm="cosine")(x, x)
    with pytest.raises(MetricError, match="row 7 is constant"):
        get_metric("rsa")(x, x)
    with pytest.raises(MetricError, match="row 7 is zero"):
        get_metric("mutual_knn", k=3)(x, x)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("ckaa", {}, "unknown metric 'ckaa'; did you mean 'cka'?"),
        ("cka", {"kernal": "rbf"}, "no parameter 'kernal'; did you mean 'kernel'?"),
        ("cka", {"kernel": "rfb"}, "kernel cannot be 'rfb'; did you mean 'rbf'?"),
        ("cka", {"kernel": "rbf", "sigma": -1}, "sigma cannot be -1"),
        (
            "rsa",
            {"compare": "spearmann"},
            "compare cannot be 'spearmann'; did you mean 'spearman'?",
        ),
        ("mutual_knn", {"k": 0}, "k cannot be 0"),
        ("mutual_knn", {"k": 2.5}, "k cannot be 2.5"),
    ],
)
def test_parameter_errors(name, parameters, message):
    with pytest.raises(ConfigError) as error:
        get_metric(name, **parameters)
    assert message in str(error.value)


def test_keys_of_a_variant_are_told_apart():
    variant = split_variant(
        {"metric": "cka", "label": "CKA", "kernel": "rbf", "row_normalize": True, "clip": 0.99}
    )
    assert variant == ("cka", "CKA", {"kernel": "rbf"}, {"row_normalize": True, "clip": 0.99})
    centred = split_variant({"metric": "bures", "center": False, "wrong": 1})
    assert centred.parameters == {"center": False, "wrong": 1} and centred.before == {}
    assert split_variant({"metric": "cka", "center": True}).before == {"center": True}
    unknown = split_variant({"metric": "ckaa", "kernel": "rbf", "center": True})
    assert unknown == ("ckaa", None, {"kernel": "rbf"}, {"center": True})


def test_a_name_is_registered_once():
    facts = METRICS["cka"].class_facts.as_dict() | {"bounds": (0, 1)}
    twin = type("Twin", (METRICS["cka"],), {})
    with pytest.raises(ValueError, match="registered twice"):
        metrics.metric(**facts)(twin)


def test_parameters_are_those_of_get_metric():
    for name, variant in VARIANTS.items():
        again = get_metric(variant.class_facts.name, **variant.parameters)
        assert again == variant, name


def test_import_is_light():
    heavy = [
        "torch",
        "timm",
        "transformers",
        "open_clip",
        "torchvision",
        "matplotlib",
        "snakemake",
        "webdataset",
    ]
    modules = "consilience consilience.config consilience.similarity consilience.features"
    code = (
        f"import sys, {modules.replace(' ', ', ')}; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
