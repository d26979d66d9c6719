"""Checks of what a metric declares of itself. Each yields what does not hold."""

from collections.abc import Iterator

import numpy as np

from consilience.checking.data import call, changes, features, labels_of, prepare, sides
from consilience.errors import MetricError
from consilience.metrics import INVARIANCES, Metric


def invariances_hold_and_others_fail(metric: Metric) -> Iterator[str]:
    """Maps in `invariant_to` move the value by less than 1e-9, all others by more than 1e-6."""
    rng = np.random.default_rng(0)
    moved = dict.fromkeys(INVARIANCES, 0.0)
    for _ in range(3):
        x, y = sides(metric, rng)
        value = call(metric, x, y)
        for name, changed in changes(rng, x):
            moved[name] = max(moved[name], abs(call(metric, changed, y) - value))
    for name, difference in moved.items():
        if name in metric.facts.invariant_to and not difference < 1e-9:
            yield f"declared invariant to {name}, and moved by {difference:.3g}"
        if name not in metric.facts.invariant_to and not difference > 1e-6:
            yield f"not declared invariant to {name}, and nothing moved"


def symmetry_bounds_and_self_value(metric: Metric) -> Iterator[str]:
    """Values are floats within `bounds`, `symmetric` or not, and `self_value` to 1e-9."""
    rng = np.random.default_rng(1)
    turned = []
    for _ in range(3):
        x, y = sides(metric, rng)
        value = call(metric, x, y)
        if type(value) is not float:
            yield f"the value is of type {type(value).__name__}, not float"
        yield from outside(metric, value)
        turned.append(abs(call(metric, y, x, truth=y) - value))
        yield from other_self_value(metric, x)
    if metric.facts.symmetric and not max(turned) <= 1e-12:
        yield f"declared symmetric, and x and y exchanged differ by {max(turned):.3g}"
    if not metric.facts.symmetric and max(turned) <= 1e-12:
        yield "not declared symmetric, and x and y exchanged give the same"


def outside(metric: Metric, value: float, slack: float = 0.0) -> Iterator[str]:
    """Yields that a value lies outside the bounds by more than `slack`, if it does."""
    low, high = metric.facts.bounds
    if not low - slack <= value <= high + slack:
        yield f"the value {value!r} is not within the bounds {low} and {high}"


def other_self_value(metric: Metric, x: np.ndarray) -> Iterator[str]:
    """Yields that x: (n, d) against itself has another value than the declared one, if so."""
    expected = metric.facts.self_value
    try:
        value = call(metric, x, x)
    except MetricError as error:
        yield f"a self pair is refused: {error}"
        return
    if expected is not None and not abs(value - expected) <= 1e-9:
        yield f"a self pair has the value {value!r}, and {expected} is declared"


def direction(metric: Metric) -> Iterator[str]:
    """More noise on one side moves the value away from that of a self pair."""
    rng = np.random.default_rng(2)
    x, _ = features(rng, n=150)
    noise = rng.normal(size=x.shape) * x.std()
    values = [call(metric, x, x + level * noise, truth=x) for level in (0.1, 0.5, 2.5)]
    shown = ", ".join(f"{value:.4g}" for value in values)
    if (values[0] > values[1] > values[2]) != metric.facts.larger_is_more_similar:
        what = "similar" if metric.facts.larger_is_more_similar else "different"
        yield f"larger is declared more {what}, and with more and more noise values are {shown}"
    if values[0] == values[2]:
        yield f"noise moves nothing: {shown}"


def permuted_forms_are_those_of_permuted_samples(metric: Metric) -> Iterator[str]:
    """`permuted` gives the form of permuted samples, which is another one if `paired`."""
    rng = np.random.default_rng(10)
    x, y = sides(metric, rng, n=40)
    order, labels = rng.permutation(40), labels_of(y)
    a, b = prepare(metric, x, labels), prepare(metric, y, labels)
    direct = metric.compare(prepare(metric, x[order], labels[order]), b)
    moved = metric.compare(metric.permuted(a, order), b)
    if not abs(moved - direct) <= 1e-9:
        yield f"permuted forms give {moved!r}, forms of permuted samples {direct!r}"
    if (abs(moved - metric.compare(a, b)) > 1e-6) != metric.facts.paired:
        what = "moves nothing" if metric.facts.paired else "moves the value"
        yield f"paired is declared {metric.facts.paired}, and permuting samples {what}"


def scale(metric: Metric, factor: float) -> Iterator[str]:
    """If invariant to scaling, features of very small or large scale have the same value."""
    x, y = sides(metric, np.random.default_rng(5))
    if "isotropic_scaling" in metric.facts.invariant_to:
        scaled, value = call(metric, x * factor, y), call(metric, x, y)
        if not abs(scaled - value) <= 1e-9:
            yield f"{factor:g} times x has the value {scaled!r}, x {value!r}"


def power_of_two_scale_is_exact(metric: Metric) -> Iterator[str]:
    """If invariant to scaling, factors that are powers of two change no digit."""
    x, y = sides(metric, np.random.default_rng(6))
    if "isotropic_scaling" in metric.facts.invariant_to:
        scaled, value = call(metric, x / 8, y * 4), call(metric, x, y)
        if scaled != value:
            yield f"x / 8 and 4 y have the value {scaled!r}, x and y {value!r}"
