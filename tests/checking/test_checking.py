"""Each check of metrics finds the fault that it is there for, and only that."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from consilience.checking import CHECKS, check_metric, run_check
from consilience.errors import MetricError
from consilience.metrics import Facts, Metric, rounding

FACTS = Facts(
    symmetric=True,
    bounds=(-1.0, 1.0),
    self_value=1.0,
    larger_is_more_similar=True,
    is_metric=False,
    citation="me2026",
    invariant_to=frozenset({"permutation", "orthogonal", "isotropic_scaling"}),
    name="norms",
)


@dataclass(frozen=True)
class Norms(Metric):
    """Correlation of the norms of rows, without fault."""

    class_facts = FACTS

    def prepare(self, x):
        norms = np.linalg.norm(x, axis=1)
        if np.ptp(norms) <= rounding(x) * norms.max():
            raise MetricError("all samples have the same norm")
        norms = norms - norms.mean()
        return norms / np.linalg.norm(norms)

    def compare(self, a, b):
        return float(a @ b)


def failing(metric):
    return {result.check.name for result in check_metric(metric) if result.status == "failed"}


def test_a_sound_metric_passes():
    assert failing(Norms()) == set()


class Asymmetric(Norms):
    def compare(self, a, b):
        return float(a @ b - 1e-3 * a[0] ** 2)


class Numpy(Norms):
    def __call__(self, x, y, **given):
        return np.float64(super().__call__(x, y, **given))


class Moody(Norms):
    def compare(self, a, b):
        return float(a @ b + np.random.default_rng().normal() * 1e-13)


class Meddling(Norms):
    def __call__(self, x, y, **given):
        value = super().__call__(x, y, **given)
        x *= 1.5
        return value


class Wearing(Norms):
    def compare(self, a, b):
        value = float(a @ b)
        a *= 0.5
        return value


class Small(Norms):
    def prepared_bytes(self, n, d):
        return 8


class Forgetful(Norms):
    keeps_forms = True

    def unpack(self, arrays):
        return arrays["form"].astype(np.float32)


class Batch(Norms):
    def compare_all(self, forms_x, forms_y):
        return np.array(forms_x) @ np.array(forms_y).T + 1e-6


class Unmoved(Norms):
    def permuted(self, a, order):
        return a


class Careless(Norms):
    def prepare(self, x):
        norms = np.linalg.norm(x, axis=1)
        return (norms - norms.mean()) / (np.linalg.norm(norms - norms.mean()) + 1e-300)


class Narrow(Norms):
    def prepare(self, x):
        if x.shape[1] > len(x):
            raise MetricError("more units than samples")
        return super().prepare(x)


class First(Norms):
    def compare(self, a, b):
        return float(a @ b * (1 - 1e-6 * (a[0] - b[0]) ** 2))


class Large(Norms):
    def compare(self, a, b):
        return float(a @ b) + 2


class Vectors(Norms):
    def __call__(self, x, y, **given):
        return super().__call__(np.atleast_2d(x), np.atleast_2d(y), **given)


class Lenient(Norms):
    def __call__(self, x, y, **given):
        return float(np.nan_to_num(self.compare(self.prepare(x), self.prepare(y))))


class Absolute(Norms):
    def prepare(self, x):
        norms = np.linalg.norm(x, axis=1)
        return super().prepare(np.where(norms > 1e-9, norms, 1.0)[:, None] * np.eye(1, 2))


class Loose(Norms):
    def prepare(self, x):
        form = super().prepare(x)
        return form * (1 + 1e-12 * np.log(np.abs(x).max()))


class Typed(Norms):
    def __call__(self, x, y, **given):
        return super().__call__(x, y, **given) + 1e-5 * str(x.dtype).endswith("float32")


class Copied(Norms):
    def compare(self, a, b):
        return float(a @ b) + 2 * (len(np.unique(a)) < len(a))


FAULTS = [
    (Asymmetric, "symmetry_bounds_and_self_value"),
    (Numpy, "symmetry_bounds_and_self_value"),
    (Large, "any_shape"),
    (Moody, "same_value_again"),
    (Meddling, "same_value_again"),
    (Wearing, "same_value_again"),
    (Small, "prepared_bytes_are_enough"),
    (Forgetful, "packed_forms_are_whole"),
    (Batch, "all_pairs_at_once"),
    (Unmoved, "permuted_forms_are_those_of_permuted_samples"),
    (Careless, "constant_features_are_refused"),
    (Narrow, "shapes"),
    (First, "samples_in_any_order"),
    (Vectors, "bad_features_are_refused"),
    (Lenient, "what_is_not_finite_is_refused"),
    (Absolute, "scale"),
    (Loose, "power_of_two_scale_is_exact"),
    (Careless, "what_varies_by_rounding_only_is_constant"),
    (Typed, "float32_and_torch_agree_with_float64"),
    (Copied, "copies_of_samples"),
    (Copied, "duplicated_rows_and_dead_units"),
]


@pytest.mark.parametrize(("cls", "check"), FAULTS, ids=lambda v: getattr(v, "__name__", v))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_each_fault_is_found(cls, check):
    results = [run_check(CHECKS[check], cls(), case) for case in CHECKS[check].cases]
    assert any(result.status == "failed" and result.problems for result in results)


WRONG = [
    ({"invariant_to": FACTS.invariant_to | {"translation"}}, "invariances_hold_and_others_fail"),
    ({"invariant_to": frozenset({"permutation"})}, "invariances_hold_and_others_fail"),
    ({"symmetric": False}, "symmetry_bounds_and_self_value"),
    ({"bounds": (0.5, 0.6)}, "symmetry_bounds_and_self_value"),
    ({"self_value": 0.5}, "symmetry_bounds_and_self_value"),
    ({"larger_is_more_similar": False}, "direction"),
    ({"paired": False}, "permuted_forms_are_those_of_permuted_samples"),
]


@pytest.mark.parametrize(("wrong", "check"), WRONG)
def test_a_wrong_fact_is_found(wrong, check):
    liar = type("Liar", (Norms,), {"class_facts": replace(FACTS, **wrong)})()
    assert check in failing(liar)


def test_every_check_has_a_fault_that_it_finds():
    assert {name for _, name in [*FAULTS, *WRONG]} == set(CHECKS)


def test_an_error_of_the_metric_is_a_problem():
    broken = type("Broken", (Norms,), {"prepare": lambda self, x: x.nowhere})()
    results = check_metric(broken)
    shown = {text for result in results for text in result.problems}
    assert any(text.startswith("AttributeError: ") for text in shown)


def test_reasons_are_told_from_faults():
    """What a metric refuses with a reason, where that is allowed, is no failure."""

    class Strict(Norms):
        def prepare(self, x):
            if (x == 0).all(axis=0).any():
                raise MetricError("a dead unit")
            return super().prepare(x)

    result = run_check(CHECKS["duplicated_rows_and_dead_units"], Strict())
    assert (result.status, result.refusal) == ("refused", "a dead unit")
    assert failing(Strict()) == set()


@pytest.mark.parametrize("inputs", [("logits",), ("labels", "features"), ("logits", "unembedding")])
def test_metrics_of_any_inputs_get_what_they_take(inputs):
    seen = []

    class Taking(Norms):
        class_facts = replace(FACTS, inputs=inputs)

        def prepare(self, *given):
            seen.append([x.ndim for x in given])
            return super().prepare(given[inputs.index(self.facts.main)])

    for name in ("same_value_again", "all_pairs_at_once"):
        assert run_check(CHECKS[name], Taking()).status == "held"
    assert seen[0] == [1 if name == "labels" else 2 for name in inputs]
