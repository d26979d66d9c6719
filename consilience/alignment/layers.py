"""Reductions of a layers × layers matrix to one value, each with the null of the same reduction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from consilience.calibration import Null, Permutations, null_of_draws
from consilience.errors import ConfigError, MetricError
from consilience.files import derive_seed
from consilience.metrics import InnerProductMetric, Metric, Preprocessing, as_features

REDUCTIONS = ("max", "mean", "last", "heldout")
"""The most similar pair of layers; the mean over all pairs; the last layer of each; and the pair
that is most similar on one half of the samples, with its value on the other half."""


@dataclass(frozen=True)
class Parts:
    """Which samples are looked at: all of them, those to choose layers on, and the others."""

    n: int
    seed: int = 0

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """The rows of each part, in order."""
        drawn = np.random.default_rng([derive_seed("halves", self.seed), self.n])
        order = drawn.permutation(self.n)
        return {
            "all": np.arange(self.n),
            "choose": np.sort(order[: self.n // 2]),
            "report": np.sort(order[self.n // 2 :]),
        }

    def orders(self, count: int) -> dict[str, np.ndarray]:
        """Returns (count, rows) seeded permutations of each part."""
        return {
            part: Permutations(count, derive_seed(part, self.seed)).orders(len(rows))
            for part, rows in self.rows.items()
        }


@dataclass(frozen=True)
class Reduced:
    """One value of a pair of models, the layers it is of, and its null."""

    reduction: str
    value: float
    null: Null
    n: int
    """Samples that the value is of."""
    layers: tuple[str, str] | None = None
    """None for the mean over all layers."""


Forms = dict[str, Sequence[Any]]
"""For each part of the samples the prepared forms of all layers of a model."""


def align(
    metric: Metric,
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    *,
    permutations: int = 199,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
) -> list[Reduced]:
    """Returns every reduction of the similarities of all pairs of layers, with its null.

    Args:
        metric: any metric whose value depends on how samples are paired.
        x: {layer: (n, d) features} of one model, from its input side to its output side.
        y: the same of the other model, over the same samples.
        permutations: how many; the same for all pairs of models with as many samples.
        seed: of the halves and the permutations.
        preprocessing: done to each part of the samples by itself.

    Raises:
        ConfigError: the metric takes each side alone, so permutations change nothing.
        MetricError: the metric is not defined for a layer, or for a permutation.

    Cost: about 1.5 |x| |y| (K + 1) comparisons, and preparing every layer twice.
    """
    check_paired(metric)
    n = len(next(iter(x.values())))
    parts, before = Parts(n, seed), preprocessing or Preprocessing()
    forms = [
        prepare_layers(metric, before, parts, {k: partial(_given, v) for k, v in side.items()})
        for side in (x, y)
    ]
    return reduce_layers(metric, *forms, (list(x), list(y)), parts.orders(permutations))


def _given(x: Any) -> Any:  # noqa: ANN401
    return x


def check_paired(metric: Metric) -> None:
    """Raises ConfigError if permuting the samples does not change the metric."""
    if not metric.facts.paired:
        raise ConfigError(f"metric {metric.facts.name!r} ignores how samples are paired: no null")


def prepare_layers(
    metric: Metric,
    preprocessing: Preprocessing,
    parts: Parts,
    layers: Mapping[str, Callable[[], Any]],
) -> Forms:
    """Returns the prepared forms of a model's layers, {layer: function that loads it}."""
    forms: Forms = {part: [] for part in parts.rows}
    for name, load in layers.items():
        x = as_features(load(), f"layer {name!r}")
        for part, rows in parts.rows.items():
            try:
                forms[part].append(metric.prepare(preprocessing(x[rows])))
            except MetricError as error:
                raise MetricError(f"layer {name!r}: {error}") from None
    if isinstance(metric, InnerProductMetric):  # one table, so that no comparison copies it
        return {part: np.stack(vectors) for part, vectors in forms.items()}
    return forms


def reduce_layers(
    metric: Metric,
    x: Forms,
    y: Forms,
    names: tuple[Sequence[str], Sequence[str]],
    orders: Mapping[str, np.ndarray],
) -> list[Reduced]:
    """Returns every reduction of two models' prepared layers, with its null.

    Args:
        metric: what compares.
        x: prepared forms of one model.
        y: of the other. The samples of the one with fewer layers are permuted (of y, if equal).
        names: the layers of both.
        orders: for each part of the samples (K, rows) permutations.
    """
    sign = 1 if metric.facts.larger_is_more_similar else -1
    found = {part: metric.compare_all(x[part], y[part]) for part in x}
    values, places = _reduce(found, sign)
    count = len(orders["all"])
    draws = np.empty((count, len(REDUCTIONS)))
    for k in range(count):
        moved = {}
        for part, order in orders.items():
            a, b = x[part], y[part]
            if len(a) < len(b):
                a = _permuted(metric, a, order[k])
            else:
                b = _permuted(metric, b, order[k])
            moved[part] = metric.compare_all(a, b)
        draws[k] = _reduce(moved, sign)[0]
    if not (np.isfinite(draws).all() and np.isfinite(values).all()):
        raise MetricError("the metric is undefined for some layers or permutations of the samples")
    sizes = dict.fromkeys(REDUCTIONS, orders["all"].shape[1])
    sizes["heldout"] = orders["report"].shape[1]
    return [
        Reduced(
            reduction,
            float(value),
            null_of_draws(float(value), column, metric.facts),
            sizes[reduction],
            (names[0][places[reduction][0]], names[1][places[reduction][1]])
            if reduction in places
            else None,
        )
        for reduction, value, column in zip(REDUCTIONS, values, draws.T, strict=True)
    ]


def _permuted(metric: Metric, forms: Sequence[Any], order: np.ndarray) -> Sequence[Any]:
    """Returns the prepared forms of all layers with the samples permuted."""
    if isinstance(metric, InnerProductMetric):  # where each entry comes from is the same for all
        places = metric.permuted(np.arange(forms.shape[1], dtype=np.int32), order)
        return np.take(forms, places, axis=1)
    return [metric.permuted(form, order) for form in forms]


def _reduce(
    found: Mapping[str, np.ndarray], sign: int
) -> tuple[list[float], dict[str, tuple[int, int]]]:
    """Returns the values in the order of REDUCTIONS, and the layers that they are of."""
    whole = found["all"]
    best = np.unravel_index(np.argmax(sign * whole), whole.shape)
    chosen = np.unravel_index(np.argmax(sign * found["choose"]), whole.shape)
    values = [whole[best], whole.mean(), whole[-1, -1], found["report"][chosen]]
    return values, {"max": best, "last": (-1, -1), "heldout": chosen}
