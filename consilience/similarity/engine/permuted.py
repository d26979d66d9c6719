"""The null of inner products where samples come in groups: whole groups are permuted.

The closed form permutes single samples, which are not exchangeable there. In the tiled pass a
permuted model is one whose rows stand in another order, so each permutation is a pass over all
models and their permuted selves; of fewer samples, forms are permuted. Nothing of it depends on
what else a table holds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from consilience.calibration import null_of_draws
from consilience.errors import MetricError
from consilience.forms.tiles import TileForm, TileSide, TileSums
from consilience.metrics import InnerProductMetric
from consilience.similarity.engine.attempts import batched
from consilience.similarity.engine.tiles import Ranks, TileModel, spill, tiled_sums
from consilience.similarity.shelf import Steps
from consilience.similarity.store import Outcome
from consilience.similarity.task import Engine, Form, Item, Task

Forms = Sequence[TileForm]
"""Of one model: one for each kernel."""
Sums = list[tuple[np.ndarray, list[TileSums]]]
"""For each kernel the products of every two models, and the sums of each."""


def in_order(forms: Forms, order: np.ndarray) -> list[TileForm]:
    """Returns the forms of a model whose samples stand in another order."""

    def taken(x: np.ndarray | None) -> np.ndarray | None:
        return None if x is None else x[order]

    rows, half = forms[0].rows[order], taken(forms[0].half)  # one copy, as before
    return [
        replace(
            form,
            rows=rows,
            half=half,
            diagonal=taken(form.diagonal),
            offsets=taken(form.offsets),
        )
        for form in forms
    ]


class Pass(NamedTuple):
    """How passes are made."""

    pool: Executor
    device: str
    scratch: Path | None = None
    """Folder of models that the memory cannot hold; None: it can."""

    def model(self, name: str, forms: Forms, groups: np.ndarray | None) -> TileModel:
        """Returns one model from its forms; `name` tells its file in the scratch folder."""
        path = self.scratch / name if self.scratch else None
        if forms[0].ranked:
            return TileModel(Ranks.of(forms[0], Steps(path), groups))
        return TileModel.of(spill(forms, path) if path else forms)


def permuted_values(
    tasks: Sequence[Task],
    load: Callable[[str], Forms],
    pairs: Sequence[Sequence[tuple[str, str]]],
    sides: Sequence[Mapping[str, TileSide]],
    how: Pass,
) -> list[dict[tuple[str, str], np.ndarray]]:
    """Returns for each task {pair: (K,) values with the samples of its second model permuted}.

    Args:
        tasks: with one null of K permutations and the same groups.
        load: gives the forms of a model by its content hash.
        pairs: for each task the hashes of both models.
        sides: for each task what is known of each model.
        how: the means.
    """
    names = list(dict.fromkeys(name for own in pairs for pair in own for name in pair))
    place, groups = {name: i for i, name in enumerate(names)}, tasks[0].groups
    orders = tasks[0].permutations.orders(len(groups), groups)
    found = [{pair: np.empty(len(orders)) for pair in own} for own in pairs]
    for k, sums in enumerate(_passes(names, load, orders, tasks[0].apart, how)):
        for task, own, known, (products, moved) in zip(tasks, found, sides, sums, strict=True):
            for (x, y), draws in own.items():
                there = len(names) + place[y]
                b = replace(known[y], sums=moved[there])
                product = products[place[x], there]
                draws[k] = task.tiled_value(len(groups), product, known[x], b)
    return found


def _passes(
    names: Sequence[str],
    load: Callable[[str], Forms],
    orders: np.ndarray,
    apart: np.ndarray | None,
    how: Pass,
) -> Iterator[Sums]:
    """Yields for each order the sums of all models, and then of all of them in that order."""
    if how.device != "cpu":
        from consilience.similarity.engine.device import sums_on_device  # noqa: PLC0415 - imports torch

        whole = [load(name) for name in names]
        for order in orders:
            yield sums_on_device([*whole, *(in_order(f, order) for f in whole)], how.device, apart)
        return
    models = [how.model(name, load(name), apart) for name in names]
    for order in orders:
        moved = [how.model(f"{name} moved", in_order(load(name), order), apart) for name in names]
        yield tiled_sums(len(order), [*models, *moved], how.pool, apart)


CHUNK = 16
"""Models that are permuted between two looks at the clock."""


def fits(task: Task, missing: Sequence[tuple[Item, Item]], engine: Engine) -> bool:
    """Returns whether the null of pairs is drawn for many at once: `permuted_outcomes`."""
    if task.groups is None or task.null != "monte_carlo":
        return False
    if not isinstance(task.metric, InnerProductMetric):
        return False
    items = {item.hash: item for pair in missing for item in pair}
    size = sum(task.metric.prepared_bytes(*item.shape) for item in items.values())
    return size <= engine.max_memory


def compared(
    task: Task,
    a: Form | MetricError,
    b: Form | MetricError,
    *known: Any,  # noqa: ANN401
) -> Outcome:
    """Returns the outcome of two forms, or of what went wrong with them."""
    for form in (a, b):
        if isinstance(form, MetricError):
            return Outcome(failure=str(form))
    try:
        return task.compare(a, b, *known)
    except MetricError as error:
        return Outcome(failure=str(error))


def compared_both(
    task: Task, a: Form | MetricError, b: Form | MetricError
) -> tuple[Outcome, Outcome]:
    """Returns the outcomes of two forms in both orders, as `compared` gives them."""
    if not isinstance(a, MetricError) and not isinstance(b, MetricError):
        try:
            return task.compare_both(a, b)
        except MetricError:
            pass  # each order has a reason of its own
    return compared(task, a, b), compared(task, b, a)


def permuted_outcomes(
    task: Task,
    missing: Sequence[tuple[Item, Item]],
    prepare: Callable[[Item], Form | MetricError],
    pool: Executor,
) -> Iterator[dict[tuple[str, str], Outcome]]:
    """Yields the outcomes that `Task.compare` gives, with each form permuted once for all pairs.

    Where an entry of a permuted vector over pairs of samples comes from is the same for all
    models, and a permuted model meets all others at once: a tenth of the time of pair by pair.

    Args:
        task: of an inner product, with a null of permuted groups.
        missing: the pairs.
        prepare: returns the form of a model, or why there is none.
        pool: shares the work.
    """
    items = {item.hash: item for pair in missing for item in pair}
    forms = dict(zip(items, pool.map(prepare, items.values()), strict=True))
    firsts: dict[str, list[str]] = {}
    for x, y in missing:
        firsts.setdefault(y.hash, []).append(x.hash)
    plain = replace(task, null=None)
    for seconds in batched(firsts, CHUNK):
        found = {(x, y): compared(plain, forms[x], forms[y]) for y in seconds for x in firsts[y]}
        sound = [key for key, outcome in found.items() if not outcome.failure]
        if sound:
            try:
                found |= _with_draws(task, forms, {key: found[key] for key in sound}, pool)
            except MetricError as error:
                found |= {key: Outcome(failure=str(error)) for key in sound}
        yield found


def _with_draws(
    task: Task,
    forms: Mapping[str, Form],
    found: Mapping[tuple[str, str], Outcome],
    pool: Executor,
) -> dict[tuple[str, str], Outcome]:
    """Returns outcomes that have a value with their null."""
    metric, n = task.metric, len(task.groups)
    orders = task.permutations.orders(n, task.groups)
    draws = {key: np.empty(len(orders)) for key in found}
    seconds: dict[str, list[str]] = {}
    for x, y in found:
        seconds.setdefault(y, []).append(x)
    size = len(forms[next(iter(seconds))].prepared)

    def draw(k: int, places: np.ndarray, y: str) -> None:
        moved = forms[y].prepared[places]
        for x in seconds[y]:
            draws[x, y][k] = metric.compare(forms[x].prepared, moved)

    for k, order in enumerate(orders):
        places = metric.permuted(np.arange(size, dtype=np.int32), order)
        list(pool.map(partial(draw, k, places), seconds))
    nulls = {key: null_of_draws(found[key].value, own, metric.facts) for key, own in draws.items()}
    return {
        key: found[key]._replace(null_mean=null.mean, null_sd=null.sd, p=null.p)
        for key, null in nulls.items()
    }
