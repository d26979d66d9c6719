"""Similarities of all pairs of models on one dataset: prepare each once, compare, reuse.

The result does not depend on threads, on the order of models, or on what was computed in earlier
runs: every pair is a function of its two features alone, computed in one order of arguments.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.calibration import NULL, NullKind, Permutations, calibrate
from consilience.errors import FeaturesError, MetricError
from consilience.features.activations import describe, reduce
from consilience.features.reading import check_same_stimuli
from consilience.forms.groups import GroupRows, group_codes
from consilience.forms.inputs import INPUTS, as_shared
from consilience.metrics import Metric, Preprocessing
from consilience.similarity.engine.blocks import fill_store, pair_key
from consilience.similarity.engine.sharing import fill_shared
from consilience.similarity.engine.wanted import Wanted, pairs_of
from consilience.similarity.items import items_of, take_groups
from consilience.similarity.over_units import UNITS
from consilience.similarity.store import Outcome, PairStore
from consilience.similarity.task import Engine, Item, Task

logger = logging.getLogger(__name__)

_NUMBERS = ["value", *NULL, *UNITS]
COLUMNS = [
    "model_x",
    "layer_x",
    "model_y",
    "layer_y",
    *_NUMBERS,
    "ties",
    "failure",
    "note",
    "hash_x",
    "hash_y",
]
"""Of a similarity table; `dataset` and `metric` come before them in a study."""


def pairwise(  # noqa: PLR0913 - options by name
    metric: Metric,
    features: Mapping[str, Any],
    *,
    null: NullKind | None = None,
    permutations: Permutations | None = None,
    labels: Any = None,  # noqa: ANN401
    groups: Any = None,  # noqa: ANN401
    group_rows: GroupRows = "apart",
    reduction: str | None = None,
    preprocessing: Preprocessing | None = None,
    engine: Engine | None = None,
    store: PairStore | None = None,
    wanted: Wanted | None = None,
) -> pd.DataFrame:
    """Returns the similarities of all pairs of models as a long table.

    Args:
        metric: from `consilience.metrics.get_metric`.
        features: {model: (n, d) array, torch tensor, or path of a features file}; a file
            contributes all its layers, or its logits to a metric of logits. For a metric of several
            inputs {model: {input: array}}, or files that have them. A list of items is taken as it
            is.
        null: `closed_form` (metrics that are inner products over pairs of samples; no cost per
            pair), `monte_carlo` (K comparisons per pair), or None: no calibration.
        permutations: number and seed for `monte_carlo` (default 1000, 0).
        labels: (n,) true classes, for metrics whose facts ask for them.
        groups: (n,) what each sample is one of, such as the picture that a caption is of; the null
            permutes whole groups, by `monte_carlo` only.
        group_rows: `apart`: pairs within a group are left out, where the metric leaves out pairs
            at all; `within`: they count; `mean`: the mean of a group's rows stands for it.
        reduction: a name of `consilience.features.activations.REDUCTIONS`, which makes matrices of
            arrays (n, channels, h, w) or (n, tokens, units); noted in the table's `attrs`.
        preprocessing: centring and row normalisation before the metric (default: neither).
        engine: threads, memory and checkpoints.
        store: values of earlier runs, extended by what is computed now.
        wanted: which pairs the table is to hold; None: all.

    Returns:
        Columns model_x, layer_x, model_y, layer_y, value, null_mean, null_sd, z, p, calibrated,
        value_units, low_units, high_units, ties, failure, note, hash_x, hash_y. Symmetric metrics
        have one row per unordered pair, others one per ordered pair; self pairs are included. Where
        `value` is null, `failure` says why the metric is not defined. See `consilience.calibration`
        for the five columns of the null; `note` says why one of them is missing, or that p is not
        that of the closed form.
        `value_units` is what infinitely many units would give, with a 95 % interval over units;
        missing below 32 units on either side and for metrics that have none
        (`consilience.similarity.over_units`).
        `ties` is the share of samples with more others as near as the k-th neighbour than places
        among the k, of the side with more; missing for metrics without neighbours.

    Raises:
        FeaturesError: features that are not finite or not over the same samples, which of features
            files their headers tell.
        ConfigError: the metric has no null of this kind.

    Cost: one `prepare` per layer if all prepared forms fit into `max_memory`, one `compare` per
    pair that the store does not know.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> table = pairwise(get_metric("cka"), {"one": x, "other": x + np.roll(x, 1, axis=0)})
        >>> table["value"].round(4).tolist()  # one with itself, with the other, other with itself
        [1.0, 0.5784, 1.0]
    """
    items = _all_items(metric, features, reduction)
    task = Task(
        metric,
        preprocessing or Preprocessing(),
        null,
        permutations or Permutations(),
        groups=group_codes(groups, items[0].shape[0]) if items else None,
        group_rows=group_rows,
    )
    task, items = take_groups(_with_shared(task, items, {"labels": labels}), items)
    table = similarity_table(task, items, engine, store, wanted)
    table.attrs |= describe(reduction) if reduction else {}
    return table


def pairwise_many(
    metrics: Mapping[str, Metric],
    features: Mapping[str, Any],
    *,
    null: NullKind | None = None,
    permutations: Permutations | None = None,
    labels: Any = None,  # noqa: ANN401
    groups: Any = None,  # noqa: ANN401
    preprocessing: Preprocessing | None = None,
    engine: Engine | None = None,
) -> dict[str, pd.DataFrame]:
    """Returns the table of `pairwise` for each of several metrics; what they share is done once.

    From 2,048 samples on, linear kernels share one pass over all models, and so do all kernels of
    distances with fixed widths: four widths cost less than two passes. Metrics of neighbours by one
    distance share their lists. Values are those of `pairwise`, to the last digit.

    Args:
        metrics: by any id.
        features: as in `pairwise`.
        null: as in `pairwise`, for all of them.
        permutations: as in `pairwise`.
        labels: as in `pairwise`.
        groups: as in `pairwise`.
        preprocessing: as in `pairwise`.
        engine: threads and memory.

    Returns:
        {id: table}, in the order of `metrics`.
    """
    items: dict[tuple[str, ...], list[Item]] = {}
    for metric in metrics.values():
        if metric.facts.inputs not in items:
            items[metric.facts.inputs] = _all_items(metric, features)
    tasks, stores, engine = {}, {}, engine or Engine()
    for id_, metric in metrics.items():
        own = items[metric.facts.inputs]
        task = Task(
            metric,
            preprocessing or Preprocessing(),
            null,
            permutations or Permutations(),
            groups=group_codes(groups, own[0].shape[0]),
        )
        task = _with_shared(task, own, {"labels": labels})
        kind = task.device_kind(engine.device, own[0].shape[0])
        tasks[id_], stores[id_] = task, task.open_store(None, device=kind)
    for inputs, own in items.items():
        _check_same_samples(own)
        like = {id_: task for id_, task in tasks.items() if task.metric.facts.inputs == inputs}
        fill_shared(stores, like, own, engine)
    return {
        id_: similarity_table(task, items[task.metric.facts.inputs], engine, stores[id_])
        for id_, task in tasks.items()
    }


def compare(task: Task, x: Any, y: Any) -> dict[str, Any]:  # noqa: ANN401
    """Returns value, null, units and note of features x and y alone: cells of a table's row.

    Raises:
        FeaturesError: not two finite matrices over the same samples.
        MetricError: the metric is not defined for them.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> task = Task(get_metric("cka"), null="closed_form")
        >>> found = compare(task, x, x + np.roll(x, 1, axis=0))
        >>> {key: round(found[key], 4) for key in ("value", "null_sd", "p")}
        {'value': 0.5784, 'null_sd': 0.0981, 'p': 0.0001}
    """
    items = [items_of(task.metric, name, given)[0] for name, given in (("x", x), ("y", y))]
    _check_same_samples(items)
    task, items = take_groups(_with_shared(task, items, task.shared), items)
    outcome = task.compare(*(task.prepare(item) for item in items))
    if outcome.failure:
        raise MetricError(outcome.failure)
    table = pd.DataFrame([outcome], columns=Outcome._fields).astype(PairStore.types)
    row = calibrate(table, task.metric.facts).iloc[0]
    found = {key: float(row[key]) if pd.notna(row[key]) else None for key in _NUMBERS}
    return {**found, "note": row["note"] if pd.notna(row["note"]) else None}


def similarity_table(
    task: Task,
    items: Sequence[Item],
    engine: Engine | None = None,
    store: PairStore | None = None,
    wanted: Wanted | None = None,
) -> pd.DataFrame:
    """Returns the long table of `pairwise` for items in the order given.

    A row depends on its two items alone, so those of `wanted` pairs are what they are among all.
    """
    metric, engine = task.metric, engine or Engine()
    _check_same_samples(items)
    if store is None:
        device = task.device_kind(engine.device, items[0].shape[0])
        store = task.open_store(None, device=device)
    pairs = pairs_of(items, wanted, symmetric=metric.facts.symmetric)
    fill_store(store, task, pairs, engine)
    rows = [_row(x, y, store.outcomes[pair_key(metric, x, y)]) for x, y in pairs]
    ends = ["model_x", "layer_x", "model_y", "layer_y", "hash_x", "hash_y"]
    table = pd.DataFrame(rows, columns=[*ends, *Outcome._fields])
    table = table.astype(PairStore.types)
    return calibrate(table, metric.facts, task.precision(items[0].shape[0]))[COLUMNS]


def _all_items(
    metric: Metric, features: Mapping[str, Any], reduction: str | None = None
) -> list[Item]:
    given = {model: _reduced(metric, features[model], reduction) for model in sorted(features)}
    return [
        item
        for model, source in given.items()
        for item in (source if _are_items(source) else items_of(metric, model, source))
    ]


def _are_items(source: Any) -> bool:  # noqa: ANN401
    return isinstance(source, list) and bool(source) and isinstance(source[0], Item)


def _reduced(metric: Metric, source: Any, reduction: str | None) -> Any:  # noqa: ANN401
    if not reduction or isinstance(source, str | Path) or _are_items(source):
        return source
    if isinstance(source, Mapping):
        main = metric.facts.main
        return {**source, main: reduce(source[main], reduction)} if main in source else source
    return reduce(source, reduction)


def _with_shared(task: Task, items: Sequence[Item], given: Mapping[str, Any]) -> Task:
    """Returns the task with what its metric takes of the samples, checked."""
    facts = task.metric.facts
    if not facts.shared:
        return task
    _check_same_samples(items)
    return replace(task, shared=as_shared(facts.inputs, given, items[0].shape[0], facts.name))


def _check_same_samples(items: Sequence[Item]) -> None:
    if not items:
        raise FeaturesError("there are no features to compare; give at least one model")
    first = items[0]
    if not INPUTS[first.main].per_sample:  # pairs that do not compare fail one by one
        return
    for item in items:
        if item.shape[0] != first.shape[0]:
            raise FeaturesError(
                f"model {item.model!r} has {item.main} of {item.shape[0]} samples, model "
                f"{first.model!r} of {first.shape[0]}; only {item.main} of the same samples compare"
            )
    check_same_stimuli({f"model {item.model!r}": item.origin for item in items})


def _row(x: Item, y: Item, outcome: Outcome) -> tuple:
    return (x.model, x.layer, y.model, y.layer, x.hash, y.hash, *outcome)
