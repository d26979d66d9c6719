"""Checks of what has no value. Each yields what does not hold."""

import re
from collections.abc import Callable, Iterator

import numpy as np

from consilience.checking.data import call, features, sides
from consilience.errors import FeaturesError, MetricError
from consilience.metrics import Metric


def _unless(
    refused: Callable[[], float], error: type[Exception], what: str, says: str = ""
) -> Iterator[str]:
    """Yields that a call gave a value, or refused it for another reason, if so."""
    try:
        value = refused()
    except error as reason:
        if not re.search(says, str(reason)):
            yield f"{what} are refused by {str(reason)!r}, which does not say why"
    else:
        yield f"{what} have the value {value!r} and are not refused"


def constant_features_are_refused(metric: Metric, constant: float) -> Iterator[str]:
    """Features that are the same everywhere have no value; logits may be."""
    if metric.facts.main == "logits":
        return
    _, y = features(np.random.default_rng(8))
    x = np.full((len(y), 6), constant)
    yield from _unless(lambda: call(metric, x, y), MetricError, f"features of {constant} only")


def what_varies_by_rounding_only_is_constant(metric: Metric, dtype: str) -> Iterator[str]:
    """Nor have features whose last digit flips, as it does between batches of one network."""
    if metric.facts.main == "logits":
        return
    rng = np.random.default_rng(13)
    _, y = features(rng)
    row = np.append(rng.normal(size=5), 0).astype(dtype)  # a dead unit too
    flips = rng.integers(-1, 2, size=(len(y), 6)).astype(dtype)
    x = (row * (1 + np.finfo(dtype).eps * flips)).astype(dtype)
    what = f"features that vary by rounding to {dtype} only"
    yield from _unless(lambda: call(metric, x, y), MetricError, what)


def bad_features_are_refused(metric: Metric) -> Iterator[str]:
    """NaN, other numbers of samples, vectors and complex numbers are refused by name."""
    x, y = sides(metric, np.random.default_rng(9))
    holed = x.copy()
    holed[17, 2] = np.nan
    for given, what, says in (
        ((holed, y), "features with NaN", "NaN or infinity, first in row 17"),
        ((x, y[1:]), "80 and 79 samples", "80 samples and y has 79"),
        ((x[0], y[0], y), "vectors", "shape"),
        ((x.astype(complex), y), "complex features", "dtype"),
    ):
        refused = _calling(metric, given)
        yield from _unless(refused, FeaturesError, what, says)


def _calling(metric: Metric, given: tuple[np.ndarray, ...]) -> Callable[[], float]:
    return lambda: call(metric, *given)


def what_is_not_finite_is_refused(metric: Metric) -> Iterator[str]:
    """A value that is NaN or infinite becomes a failure of the pair."""
    x, y = sides(metric, np.random.default_rng(12))
    for value in (np.nan, np.inf, -np.inf):
        broken = _with_value(metric, value)
        what = f"pairs whose value is {value}"
        says = f"the metric gave {value}"
        yield from _unless(_calling(broken, (x, y)), MetricError, what, says)


def _with_value(metric: Metric, value: float) -> Metric:
    """Returns a metric whose every pair has this value."""
    cls = type(metric)
    broken = type(cls.__name__, (cls,), {"compare": lambda self, a, b: value})
    copy = object.__new__(broken)
    vars(copy).update(vars(metric))
    return copy
