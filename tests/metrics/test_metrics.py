"""Every registered metric and catalogued variant against its own declared facts."""

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
from consilience.checking import CHECKS, TELLING, call, check_metric, features, run_check
from consilience.errors import ConfigError, MetricError
from consilience.metrics import METRICS, get_metric, list_metrics, split_variant

ROOT = Path(__file__).parents[2]
CATALOGUE = yaml.safe_load((ROOT / "config" / "metrics.yaml").read_text(encoding="utf8"))


def build(entry):
    variant = split_variant(entry)
    return get_metric(variant.metric, **variant.parameters, **TELLING.get(variant.metric, {}))


VARIANTS = {name: get_metric(name, **TELLING.get(name, {})) for name in list_metrics()}
VARIANTS |= {name: build(entry) for name, entry in CATALOGUE.items()}
every_metric = pytest.mark.parametrize("metric", VARIANTS.values(), ids=VARIANTS)


EXCEPTIONS = {
    ("duplicated_rows_and_dead_units", "pls_svd"): (None, "unit 3 is constant"),
    ("shapes", "d_llv"): ({(50, 2)}, r"at least M \+ 2 = 3 classes"),
    ("shapes", "identifiable_svd"): (
        {(40, 200), (30, 30), (30, 31)},
        r"^a self pair is refused: .*at least \d+ samples, not [34]0$",
    ),
}
"""(check, metric): the cases in which it does not hold (None: all), and what it then says."""
DEFINED_FOR_CONSTANTS = (
    "magnitude_difference",
    "concentricity_difference",
    "uniformity_difference",
)
for _name in ("constant_features_are_refused", "what_varies_by_rounding_only_is_constant"):
    for _metric in DEFINED_FOR_CONSTANTS:
        EXCEPTIONS[_name, _metric] = ("any", "are not refused$")


def hold(check, metric, case=()):
    """Asserts that a check of `consilience.checking` holds for a metric, or fails as is known."""
    result = run_check(check, metric, case)
    said = "; ".join(result.problems) or result.refusal
    cases, pattern = EXCEPTIONS.get((check.name, metric.class_facts.name), ((), ""))
    if cases == "any":  # where the constant decides whether there is a value
        assert not said or re.search(pattern, said), said
    elif cases is None or case in cases:
        assert re.search(pattern, said), said
    else:
        assert result.status == "held", said


def _test_of(check):
    def alone(metric):
        hold(check, metric)

    def with_case(metric, case):
        hold(check, metric, case)

    if check.cases == ((),):
        return every_metric(alone)
    return every_metric(pytest.mark.parametrize("case", check.cases, ids=case_id)(with_case))


def case_id(case):
    return "-".join(map(str, case))


for _name, _check in CHECKS.items():
    if _name != "any_shape":  # whose cases are drawn below
        globals()[f"test_{_name}"] = _test_of(_check)


@settings(max_examples=30, deadline=None)
@given(st.integers(6, 40), st.integers(3, 50), st.integers(0, 10**6))
def test_any_shape(n, d, seed):
    for name, metric in VARIANTS.items():
        result = run_check(CHECKS["any_shape"], metric, (n, d, seed))
        assert not result.problems, f"{name}: {result.problems}"
        if result.refusal:  # with a reason, which small n may be
            assert re.search(r"needs? at least|too few", result.refusal), (
                f"{name}: {result.refusal}"
            )


@every_metric
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_is_refused_as_what_it_is(metric, dtype):
    """What varies by rounding only is refused as constant, and for no other reason."""
    if metric.class_facts.name in DEFINED_FOR_CONSTANTS or metric.facts.main == "logits":
        return
    rng = np.random.default_rng(13)
    _, y = features(rng)
    row = np.append(rng.normal(size=5), 0).astype(dtype)  # a dead unit too
    flips = rng.integers(-1, 2, size=(len(y), 6)).astype(dtype)
    with pytest.raises(MetricError, match=r"constant|same norm"):
        call(metric, (row * (1 + np.finfo(dtype).eps * flips)).astype(dtype), y)


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


EVERY = [(check, case) for check in CHECKS.values() for case in check.cases]


@pytest.mark.parametrize(
    ("check", "case"), EVERY, ids=[f"{c.name}-{case_id(case)}".strip("-") for c, case in EVERY]
)
def test_readme_metric_passes_every_check(check, case):
    metric, _ = readme_example()
    assert run_check(check, metric, case).status == "held"


def test_checks_find_a_metric_that_breaks_its_facts():
    """The README's example without its check of constant norms, and with other facts."""
    metric, page = readme_example()
    assert len(CHECKS) >= 17

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
        failed = [result.check.name for result in check_metric(liar) if result.problems]
        assert failed, wrong


def test_too_few_samples_are_refused():
    x = np.random.default_rng(0).normal(size=(10, 4))
    for metric, n in [("cka", 3), ("rsa", 2), ("mutual_knn", 10)]:
        with pytest.raises(MetricError, match=r"needs? at least"):
            get_metric(metric)(x[:n], x[:n])


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
