"""The search over all pairs of layers: one value of them all, with the null of the same search."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from consilience.calibration import Null, Permutations, calibrated_value, null_of_draws
from consilience.errors import ConfigError, MetricError
from consilience.files import derive_seed
from consilience.forms.groups import GroupRows, group_codes, means_of, subset, unit_count
from consilience.metrics import InnerProductMetric, Metric, Preprocessing, as_features
from consilience.samples.draw import halve

REDUCTIONS = ("max", "mean", "last", "heldout")
"""The most similar pair of layers; the mean over all pairs; the last layer of each; and the pair
that is most similar on one half of the samples, with its value on the other half."""


@dataclass(frozen=True)
class LayerSplit:
    """Which samples layers are compared on: all, those to choose a pair on, and the others."""

    n: int
    seed: int = 0
    groups: np.ndarray | None = field(default=None, compare=False)
    """(n,) see `consilience.forms.groups`; they are kept whole, and permuted as blocks."""

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """The rows of `all`, and of the halves, in order."""
        return {"all": np.arange(self.n), **self.halves}

    @property
    def halves(self) -> dict[str, np.ndarray]:
        """The rows of the halves `choose` and `report`, in order."""
        seed = [derive_seed("halves", self.seed), self.n]
        halves = halve(self.n, seed, groups=self.groups)
        return dict(zip(("choose", "report"), halves, strict=True))

    def orders(self, count: int) -> dict[str, np.ndarray]:
        """Returns (count, rows) seeded permutations of all samples and of each half."""
        return {
            name: Permutations(count, derive_seed(name, self.seed)).orders(
                len(rows), subset(self.groups, rows)
            )
            for name, rows in self.rows.items()
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
    calibrated: float = math.nan
    """0 is chance, 1 a self pair; see `consilience.calibration.calibrate`."""


LayerForms = dict[str, Sequence[Any]]
"""For `all` samples and for each half the prepared forms of all layers of a model."""


def align(
    metric: Metric,
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    *,
    permutations: int = 199,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    groups: Any = None,  # noqa: ANN401
    group_rows: GroupRows = "apart",
) -> list[Reduced]:
    """Returns every reduction of the similarities of all pairs of layers, with its null.

    Args:
        metric: any metric whose value depends on how samples are paired.
        x: {layer: (n, d) features} of one model, from its input side to its output side.
        y: the same of the other model, over the same samples.
        permutations: how many; the same for all pairs of models with as many samples.
        seed: of the halves and the permutations.
        preprocessing: done to all samples, and to each half by itself.
        groups: (n,) what each sample is one of, such as the picture that a caption is of: groups
            are kept whole in halves and permuted as blocks.
        group_rows: as in `consilience.similarity.pairwise`.

    Returns:
        One `Reduced` for each of `REDUCTIONS`, in their order. The first, `max`, is the most
        similar pair of layers. A search over 12 × 12 layers finds more than one comparison does,
        in unrelated models too, so its null is that of the same search.

    Raises:
        ConfigError: the metric takes each side alone, so permutations change nothing; or a model
            without layers.
        MetricError: the metric is not defined for a layer, or for a permutation.

    Cost: about 1.5 |x| |y| (K + 1) comparisons, and preparing every layer twice.
    """
    check_paired(metric)
    if not (x and y):
        raise ConfigError("a search over layers needs at least one layer on each side")
    n = len(next(iter(x.values())))
    codes, before = group_codes(groups, n), preprocessing or Preprocessing()
    loads = [{k: partial(_given, v) for k, v in side.items()} for side in (x, y)]
    if group_rows == "mean" and codes is not None:
        loads = [{k: partial(means_of, v, codes) for k, v in side.items()} for side in (x, y)]
        n, codes = unit_count(codes, n), None
    split, within = LayerSplit(n, seed, codes), group_rows == "within"
    forms = [prepare_layers(metric, before, split, side, within_groups=within) for side in loads]
    return reduce_layers(metric, *forms, (list(x), list(y)), split.orders(permutations))


def _given(x: Any) -> Any:  # noqa: ANN401
    return x


def check_paired(metric: Metric) -> None:
    """Raises ConfigError if permuting the samples does not change the metric."""
    if not metric.facts.paired:
        raise ConfigError(f"metric {metric.facts.name!r} ignores how samples are paired: no null")


def prepare_layers(
    metric: Metric,
    preprocessing: Preprocessing,
    split: LayerSplit,
    layers: Mapping[str, Callable[[], Any]],
    *,
    within_groups: bool = False,
) -> LayerForms:
    """Returns the prepared forms of a model's layers, {layer: function that loads it}."""
    chosen, groups = split.rows, None if within_groups else split.groups
    apart = {name: subset(groups, rows) for name, rows in chosen.items()}
    forms: LayerForms = {name: [] for name in chosen}
    for layer, load in layers.items():
        x = as_features(load(), f"layer {layer!r}")
        for name, rows in chosen.items():
            try:
                part = preprocessing(x[rows])
                forms[name].append(metric.prepare_in_groups(part, groups=apart[name]))
            except MetricError as error:
                raise MetricError(f"layer {layer!r}: {error}") from None
    if isinstance(metric, InnerProductMetric):  # one table, so that no comparison copies it
        return {name: np.stack(vectors) for name, vectors in forms.items()}
    return forms


def reduce_layers(
    metric: Metric,
    x: LayerForms,
    y: LayerForms,
    names: tuple[Sequence[str], Sequence[str]],
    orders: Mapping[str, np.ndarray],
) -> list[Reduced]:
    """Returns every reduction of two models' prepared layers, with its null.

    Args:
        metric: what compares.
        x: prepared forms of one model.
        y: of the other. The samples of the one with fewer layers are permuted (of y, if equal).
        names: the layers of both.
        orders: (K, rows) permutations of all samples and of each half.

    Raises:
        MetricError: a value or a draw is not finite.
    """
    sign = 1 if metric.facts.larger_is_more_similar else -1
    found = {name: metric.compare_all(x[name], y[name]) for name in x}
    values, places = _reduce(found, sign)
    count = len(orders["all"])
    draws = np.empty((count, len(REDUCTIONS)))
    for k in range(count):
        moved = {}
        for name, order in orders.items():
            a, b = x[name], y[name]
            if len(a) < len(b):
                a = _permuted(metric, a, order[k])
            else:
                b = _permuted(metric, b, order[k])
            moved[name] = metric.compare_all(a, b)
        draws[k] = _reduce(moved, sign)[0]
    if not (np.isfinite(draws).all() and np.isfinite(values).all()):
        raise MetricError("the metric is undefined for some layers or permutations of the samples")
    sizes = dict.fromkeys(REDUCTIONS, orders["all"].shape[1])
    sizes["heldout"] = orders["report"].shape[1]
    reduced = []
    for reduction, value, column in zip(REDUCTIONS, map(float, values), draws.T, strict=True):
        null = null_of_draws(value, column, metric.facts)
        layers = None
        if reduction in places:
            row, place = places[reduction]
            layers = names[0][row], names[1][place]
        calibrated = calibrated_value(value, null, metric.facts)
        reduced.append(Reduced(reduction, value, null, sizes[reduction], layers, calibrated))
    return reduced


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
