"""The list of checks of a metric, and how one is run."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from consilience.checking import facts, refusals, soundness
from consilience.errors import MetricError
from consilience.metrics import Metric

Status = Literal["held", "refused", "failed"]


@dataclass(frozen=True)
class Check:
    """Something that holds for every metric, given its facts."""

    function: Callable[..., Iterator[str]]
    """Takes the metric and a case, and yields what does not hold."""
    cases: tuple[tuple[Any, ...], ...] = ((),)
    """What it is run with besides the metric."""
    may_refuse: bool = False
    """Whether a MetricError is as good as a value."""

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    @property
    def says(self) -> str:
        """What is to hold, in a sentence."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class Result:
    """What came of one check of a metric with one case."""

    check: Check
    case: tuple[Any, ...]
    problems: tuple[str, ...] = ()
    refusal: str = ""
    """Why the metric gave no value where it need not."""

    @property
    def where(self) -> str:
        """The case in words, such as `n=40, d=200`; empty if there is but one."""
        names = list(inspect.signature(self.check.function).parameters)[1:]
        return ", ".join(f"{k}={v}" for k, v in zip(names, self.case, strict=True))

    @property
    def status(self) -> Status:
        """Whether it held."""
        if self.problems:
            return "failed"
        return "refused" if self.refusal else "held"


SHAPES = ((40, 200), (30, 29), (30, 30), (30, 31), (50, 2))
"""(n, d): fewer samples than units, as many, one more or less, and many samples of few units."""
DRAWN = ((6, 3, 0), (9, 50, 1), (13, 5, 2), (24, 24, 3), (40, 11, 4))
"""(n, d, seed)."""
CHECKS = {
    check.name: check
    for check in (
        Check(facts.invariances_hold_and_others_fail),
        Check(facts.symmetry_bounds_and_self_value),
        Check(facts.direction),
        Check(facts.permuted_forms_are_those_of_permuted_samples),
        Check(facts.scale, ((1e-150,), (0.1,), (1e15,), (1e150,))),
        Check(facts.power_of_two_scale_is_exact),
        Check(soundness.samples_in_any_order),
        Check(soundness.all_pairs_at_once),
        Check(soundness.same_value_again),
        Check(soundness.prepared_bytes_are_enough),
        Check(soundness.packed_forms_are_whole),
        Check(soundness.shapes, SHAPES),
        Check(soundness.any_shape, DRAWN, may_refuse=True),
        Check(soundness.float32_and_torch_agree_with_float64),
        Check(soundness.duplicated_rows_and_dead_units, may_refuse=True),
        Check(soundness.copies_of_samples, may_refuse=True),
        Check(refusals.constant_features_are_refused, ((0.0,), (1.0,), (0.1,))),
        Check(refusals.what_varies_by_rounding_only_is_constant, (("float32",), ("float64",))),
        Check(refusals.bad_features_are_refused),
        Check(refusals.what_is_not_finite_is_refused),
    )
}
"""By name."""


def run_check(check: Check, metric: Metric, case: Sequence[Any] = ()) -> Result:
    """Returns what came of a check; an error of the metric is a problem, and is not raised.

    Args:
        check: one of `CHECKS`.
        metric: with its parameters.
        case: one of the check's cases, or another one like it.
    """
    case, problems = tuple(case), []
    try:
        problems.extend(check.function(metric, *case))
    except MetricError as error:
        if check.may_refuse and not problems:
            return Result(check, case, refusal=str(error))
        problems.append(f"it is refused: {error}")
    except Exception as error:
        problems.append(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Result(check, case, tuple(problems))


def check_metric(metric: Metric) -> list[Result]:
    """Returns what came of every check of a metric, case by case.

    Cost: some hundred values of 6 to 150 samples.

    Example:
        >>> from consilience.metrics import get_metric
        >>> {result.status for result in check_metric(get_metric("cka"))}
        {'held'}
    """
    return [run_check(check, metric, case) for check in CHECKS.values() for case in check.cases]
