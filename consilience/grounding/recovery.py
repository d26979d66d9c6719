"""Model recovery: whether a metric finds of which model data are that a model generated.

Data are made of one model's features on some stimuli as a recording would: of a few channels, each
a random mixture of units (or one unit), with noise. Every model, the generating one among them, is
compared with the data, and the most similar one is the answer. That is the model recovery of the
field (Wilson and Collins 2019: confusion matrix of generating and chosen model) with the simulated
measurement of representational similarity analysis (Kriegeskorte and Diedrichsen 2016) and its
share of right decisions (Diedrichsen and Kriegeskorte 2017). Unlike the other tests it needs no
recipe: any models do. The comparison of a model with itself would be right by definition; by
channels and noise it is not.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.code import code_of
from consilience.errors import FeaturesError, MetricError
from consilience.files import derive_seed, digest, read_table, write_table
from consilience.forms.groups import group_codes
from consilience.forms.inputs import INPUTS, model_inputs
from consilience.grounding.intervals import logit_interval
from consilience.grounding.scores import FAILED, MOST_FAILED, OK, TOO_SMALL
from consilience.grounding.simulation import (
    Draw,
    Simulation,
    draw_stimuli,
    order_by_hash,
    simulate,
)
from consilience.metrics import metric_code, metric_of
from consilience.pairs.correlations import Floats
from consilience.samples import read_samples
from consilience.similarity import Engine, Item, Task, list_items

logger = logging.getLogger(__name__)

CONFUSION = {
    "dataset": "str",
    "metric": "str",
    "n": "int64",
    "model_x": "str",
    "model_y": "str",
    "share": "float64",
    "value": "float64",
}
RECOVERED = {
    "dataset": "str",
    "metric": "str",
    "n": "int64",
    "accuracy": "float64",
    "low": "float64",
    "high": "float64",
    "chance": "float64",
    "n_models": "int64",
    "draws": "int64",
    "n_failed": "int64",
    "bound": "float64",
    "n_recovered": "Int64",
    "status": "str",
    "note": "str",
}
UNSUPPORTED = "unsupported"
"""Status of metrics of something that data do not have."""
TIE = 1e-9
"""Of the largest closeness, within which candidates are equally close."""


# Decisions


def shares(closeness: Floats) -> Floats:
    """Returns how far each candidate is the answer: 1 for the closest, equal parts for ties.

    Args:
        closeness: (…, candidates); where one is missing there is no answer.
    """
    best = closeness.max(axis=-1, keepdims=True)  # missing if any is
    scale = np.abs(closeness).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        closest = (closeness >= best - TIE * scale).astype(float)
        found = closest / closest.sum(axis=-1, keepdims=True)
    return np.where(np.isnan(best), np.nan, found)


def accuracy_of(closeness: Floats) -> float:
    """Returns the share of data whose model is found, the mean over models.

    Args:
        closeness: (draws, models that generate, candidates), in one order of models.
    """
    own = np.diagonal(shares(closeness), axis1=1, axis2=2)
    known = np.isfinite(own)
    if not known.any(axis=0).all():
        return float("nan")
    return float((np.where(known, own, 0).sum(axis=0) / known.sum(axis=0)).mean())


def decide(closeness: Floats) -> dict[str, Any]:
    """Returns accuracy, its interval over models, chance, and how many data sets have no answer.

    The interval is the jackknife over models on the logit scale: each is left out as a generating
    model and as a candidate. It is missing where leaving one out changes nothing, as where all are
    recovered.

    Args:
        closeness: as in `accuracy_of`.
    """
    draws, m = closeness.shape[:2]
    missing = np.isnan(closeness).any(axis=2)
    row = {"chance": 1 / m, "n_models": m, "draws": draws, "n_failed": int(missing.sum())}
    share = float(missing.mean(axis=0).max())
    if share > MOST_FAILED:
        return row | {"status": FAILED, "note": f"{share:.0%} of the data of a model failed"}
    value = accuracy_of(closeness)
    left_out = np.array([accuracy_of(_without(closeness, i)) for i in range(m)])
    finest = 1 / (2 * m * draws)
    side = np.zeros(m, dtype=int)
    low, high = logit_interval(value, left_out, side, finest) if m > 2 else (np.nan, np.nan)
    note = "" if np.isfinite(low) else "no interval: leaving out a model changes nothing"
    return row | {"accuracy": value, "low": low, "high": high, "status": OK, "note": note}


def _without(closeness: Floats, i: int) -> Floats:
    return np.delete(np.delete(closeness, i, axis=1), i, axis=2)


def recovered_from(rows: Sequence[Mapping[str, Any]], bound: float) -> int | None:
    """Returns the smallest n from which on at least `bound` are recovered; None: never."""
    found = None
    for row in sorted(rows, key=lambda row: row["n"], reverse=True):
        if not row.get("accuracy", np.nan) >= bound:
            break
        found = int(row["n"])
    return found


# Data against candidates


def compare_data(
    task: Task, items: Sequence[Item], draw: Draw, simulation: Simulation, salt: Sequence[str | int]
) -> tuple[Floats, str]:
    """Returns (M, M) closeness of data of each model to each candidate, and why one failed.

    Asymmetric metrics count by the mean of both orders. A pair that fails is missing.

    Cost: 2 M forms and M² comparisons, twice as many where the metric is asymmetric.
    """
    on, mark = task.subset(draw.rows), f" n={draw.n} draw={draw.draw}"
    why: list[str] = []
    parts = [item.subset(draw.rows, mark) for item in items]
    data = [_data(part, draw, simulation, salt) for part in parts]
    forms, given = ([_prepare(on, item, why) for item in side] for side in (parts, data))
    sign = 1.0 if task.metric.facts.larger_is_more_similar else -1.0
    found = np.full((len(items), len(items)), np.nan)
    for i, x in enumerate(given):
        for j, y in enumerate(forms):
            if x is not None and y is not None:
                found[i, j] = sign * _both(on, x, y, why)
    return found, next(iter(why), "")


def _data(part: Item, draw: Draw, simulation: Simulation, salt: Sequence[str | int]) -> Item:
    seed = derive_seed(*salt, "data", part.model, draw.n, draw.draw)
    made = simulate(part.features(), simulation, np.random.default_rng(seed))
    return replace(
        part, shape=made.shape, hash=f"{part.hash} data", loads={part.main: lambda: made}
    )


def _prepare(task: Task, item: Item, why: list[str]) -> Any:  # noqa: ANN401 - a form
    try:
        return task.prepare(item)
    except (MetricError, FeaturesError) as error:
        why.append(str(error))
        return None


def _both(task: Task, x: Any, y: Any, why: list[str]) -> float:  # noqa: ANN401 - forms
    orders = [(x, y)] if task.metric.facts.symmetric else [(x, y), (y, x)]
    values = []
    for a, b in orders:
        try:
            outcome = task.compare(a, b)
        except MetricError as error:
            why.append(str(error))
            return np.nan
        if outcome.failure:
            why.append(outcome.failure)
            return np.nan
        values.append(float(outcome.value))
    return float(np.mean(values))


# A metric on a dataset


def recover(
    task: Task,
    items: Sequence[Item],
    ids: Sequence[str],
    simulation: Simulation,
    salt: Sequence[str | int] = (),
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns rows of the confusion of models, and of the share recovered, for every number.

    Args:
        task: the metric and what is done before it.
        items: one layer of each model.
        ids: (N,) of the samples, or of the first of each group where rows are means of groups.
        simulation: how data are made.
        salt: what draws depend on, such as the study seed and the dataset.

    Returns:
        Rows with the columns of `CONFUSION` and of `RECOVERED`, but dataset and metric.

    Cost: that of `compare_data` for every number and draw.
    """
    kept = order_by_hash([item.model for item in items], str(derive_seed(*salt, "models")))
    items = [items[i] for i in sorted(kept[: simulation.models])]
    names = [item.model for item in items]
    found: dict[int, list[Floats]] = {}
    reasons: dict[int, str] = {}
    for draw in draw_stimuli(ids, task.groups, simulation, salt):
        closeness, why = compare_data(task, items, draw, simulation, salt)
        found.setdefault(draw.n, []).append(closeness)
        reasons.setdefault(draw.n, why)
    confused, rows = [], []
    for n, drawn in sorted(found.items()):
        closeness = np.stack(drawn)
        row = {"n": n} | decide(closeness)
        if row["status"] == FAILED:
            row["note"] += f": {reasons[n]}" if reasons[n] else ""
        else:
            sign = 1.0 if task.metric.facts.larger_is_more_similar else -1.0
            confused += _confusion(n, names, closeness, sign)
        rows.append(row)
    from_n = recovered_from(rows, simulation.bound)
    return confused, [row | {"bound": simulation.bound, "n_recovered": from_n} for row in rows]


def _confusion(
    n: int, names: Sequence[str], closeness: Floats, sign: float
) -> Iterator[dict[str, Any]]:
    answered = np.nanmean(shares(closeness), axis=0)
    values = sign * np.nanmean(closeness, axis=0)
    for i, x in enumerate(names):
        for j, y in enumerate(names):
            share, value = float(answered[i, j]), float(values[i, j])
            yield {"n": n, "model_x": x, "model_y": y, "share": share, "value": value}


def make_recovery(  # noqa: PLR0913 - all but the files by name
    manifest: str | Path,
    samples: str | Path,
    confusion: str | Path,
    recovered: str | Path,
    *,
    dataset: str,
    metric_id: str,
    spec: Mapping[str, Any],
    simulation: Simulation,
    seed: int = 0,
    engine: Engine | None = None,
) -> None:
    """Writes grounding/recovery/{dataset}/{metric}.parquet and that of grounding/recovered.

    Data are of the last layer of each model, and candidates are the last layers of all.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        samples: samples/{dataset}.parquet.
        confusion: the first table: of which model data of each are taken for, by stimuli.
        recovered: the second: the share that is recovered.
        dataset: id of the dataset.
        metric_id: id of the metric variant.
        spec: its metric, parameters and preprocessing.
        simulation: how data are made.
        seed: of the study.
        engine: memory.
    """
    spec, metric = {**spec, "layers": "last"}, metric_of(spec)
    taken = [name for name in model_inputs(metric.facts.inputs) if name != "features"]
    if taken:
        note = f"the metric takes {INPUTS[taken[0]].article}, which data do not have"
        confused, rows = [], [_nothing(simulation, UNSUPPORTED, note)]
    else:
        listing = list_items(
            manifest, spec, dataset=dataset, metric_id=metric_id, samples=samples,
            keep=(engine or Engine()).max_memory,
        )  # fmt: skip
        if len(listing.items) < 2:
            confused, rows = [], [_nothing(simulation, TOO_SMALL, "two models are needed")]
        else:
            ids = _ids(manifest, samples, pooled=bool(listing.task.pooled))
            confused, rows = recover(
                listing.task, listing.items, ids, simulation, (seed, dataset, "recovery")
            )
    metadata = {
        "simulation": {**vars(simulation), "stimuli": list(simulation.stimuli)},
        "seed": seed,
        "code": digest([metric_code(metric), code_of(__name__)]),
    }
    named = {"dataset": dataset, "metric": metric_id}
    for lines, columns, path in ((confused, CONFUSION, confusion), (rows, RECOVERED, recovered)):
        table = pd.DataFrame([named | line for line in lines], columns=list(columns))
        write_table(table.astype(columns), path, metadata)
    for row in rows:
        if row["status"] != OK:
            logger.warning("n = %d: %s (%s)", row["n"], row["status"], row["note"])


def _nothing(simulation: Simulation, status: str, note: str) -> dict[str, Any]:
    row = {"n": 0, "n_models": 0, "draws": 0, "n_failed": 0, "bound": simulation.bound}
    return row | {"status": status, "note": note}


def _ids(manifest: str | Path, samples: str | Path, *, pooled: bool) -> list[str]:
    """Returns the ids of the samples, or of the first of each group."""
    ids = read_samples(samples).table["id"].astype(str).tolist()
    if not pooled:
        return ids
    groups = group_codes(read_table(manifest).attrs.get("groups"))
    return [ids[i] for i in np.unique(groups, return_index=True)[1]]
