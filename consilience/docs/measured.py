"""What metric cards say that only the metric itself knows: values, chance level, smallest n."""

from typing import Any, NamedTuple

import numpy as np

from consilience.errors import MetricError
from consilience.metrics import Metric

SLOW = frozenset({"rtd", "geometry_score"})
"""Metrics whose chance level is not simulated."""
UNITS = 5
FEW = (60, 80, 120)
CHANCE = (100, 20, 30)
"""Samples and units of either side."""
MOST_SAMPLES = 200
DRAWS = 5
ROUNDING = 1e-9


def reference_pair() -> tuple[np.ndarray, np.ndarray]:
    """Returns x: (40, 6) and y: (40, 7), whole numbers that are the same on every machine."""
    row, unit, other = np.arange(40)[:, None], np.arange(6), np.arange(7)
    x = (1 + 6 * row + unit) ** 3 % 1013 - 506
    y = x[:, other % 6] // 2 + (300 + 7 * row + other) ** 3 % 1013 - 506
    return x, y


def reference_logits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns logits x: (40, 6) and y: (40, 6), and the labels (40,), from the same numbers."""
    x, y = reference_pair()
    return x / 256, y[:, :6] / 256, np.argmax(x + y[:, :6], axis=1)


def reference_heads() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns features (40, 3), unembedding (6, 3) and logits (40, 6) of x and of y."""
    heads = (np.arange(1, 7)[:, None] ** 3 * np.arange(2, 5) % 13 - 6) / 8
    sides = []
    for side, unembedding in zip(reference_pair(), (heads, heads[::-1]), strict=True):
        features = side[:, :3] / 256
        logits = features @ unembedding.T
        sides.append({"features": features, "unembedding": unembedding, "logits": logits})
    return tuple(sides)


class Measured(NamedTuple):
    """What asking a metric found."""

    reference: str
    least_samples: str
    few_samples: str
    chance: str


def measure(metric: Metric) -> Measured:
    """Returns what a card says about values; seeded and rounded, so the same on every machine."""
    return Measured(
        reference_value(metric), least_samples(metric), few_samples(metric), chance_level(metric)
    )


def reference_value(metric: Metric) -> str:
    """Returns the value of the reference pair to six significant digits."""
    if "unembedding" in metric.facts.inputs:
        return digits(metric(*reference_heads()), 6)
    if metric.facts.main != "logits":
        return digits(metric(*reference_pair()), 6)
    x, y, labels = reference_logits()
    return digits(metric(x, y, labels=labels), 6)


def least_samples(metric: Metric) -> str:
    """Returns the smallest n that gives a value for features of UNITS units."""
    for n in range(1, MOST_SAMPLES + 1):
        if _values(metric, DRAWS, n, UNITS, UNITS):
            return str(n)
    return f"more than {MOST_SAMPLES}"


def few_samples(metric: Metric) -> str:
    """Returns whether the metric says anything with fewer samples than units."""
    values = _values(metric, DRAWS, *FEW)
    if not values:
        return "no value"
    if np.ptp(values) < ROUNDING * max(1, abs(values[0])):
        return f"no information: {digits(values[0], 6)} for all independent features tried"
    return "works"


def chance_level(metric: Metric) -> str:
    """Returns mean and sd over independent Gaussian features."""
    if metric.facts.name in SLOW:
        return "not simulated (slow)"
    values = _values(metric, 20, *CHANCE)
    if not values:
        return "no value"
    return f"{digits(np.mean(values), 3)} ± {digits(np.std(values, ddof=1), 3)}"


def digits(value: float, count: int) -> str:
    """Returns a number to so many significant digits; rounding errors are 0."""
    return "0" if abs(value) < ROUNDING else f"{value:.{count}g}"


def _values(metric: Metric, draws: int, n: int, d: int, width: int) -> list[float]:
    """Returns the values of independent Gaussian features, of those draws that give one."""
    rng = np.random.default_rng([n, d, width])
    values = []
    for _ in range(draws):
        x, y, labels = _draw(rng, metric, n, d, width)
        try:
            values.append(metric(x, y, labels=labels))
        except MetricError:
            continue
    if not np.isfinite(values).all():
        raise ValueError(f"metric {metric.facts.name!r} gave {values} at n = {n}")
    return values


def _draw(rng: np.random.Generator, metric: Metric, n: int, d: int, width: int) -> tuple[Any, ...]:
    if metric.facts.main == "logits":
        width = d
    x, y, labels = rng.normal(size=(n, d)), rng.normal(size=(n, width)), rng.integers(d, size=n)
    if "unembedding" in metric.facts.inputs:
        return *(_with_head(rng, side, min(d, width) + 2) for side in (x, y)), labels
    return x, y, labels


def _with_head(rng: np.random.Generator, x: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Returns what a metric of heads takes, for features x and a head of so many classes."""
    unembedding = rng.normal(size=(classes, x.shape[1]))
    return {"features": x, "unembedding": unembedding, "logits": x @ unembedding.T}
