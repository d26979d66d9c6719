"""Fills a pair store: prepares every layer once if memory allows, compares, saves as it goes."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from threadpoolctl import threadpool_limits

from consilience.errors import MetricError
from consilience.metrics import Metric
from consilience.pairs import Outcome, PairStore
from consilience.similarity.one_pass import tiled_outcomes
from consilience.similarity.shelf import Shelf, moments_as_notes, moments_of_notes
from consilience.similarity.task import Engine, Form, Item, Task, attempt, batched

logger = logging.getLogger(__name__)


def ordered(metric: Metric, x: Item, y: Item) -> tuple[Item, Item]:
    """Returns the order in which a pair is computed: by content if the metric is symmetric."""
    if metric.facts.symmetric and y.hash < x.hash:
        return y, x
    return x, y


def pair_key(metric: Metric, x: Item, y: Item) -> tuple[str, str]:
    """Returns where the pair store keeps the outcome of x and y."""
    x, y = ordered(metric, x, y)
    return x.hash, y.hash


def fill_store(
    store: PairStore,
    task: Task,
    pairs: Sequence[tuple[Item, Item]],
    engine: Engine,
) -> None:
    """Computes the pairs that the store does not know and writes the store as it goes."""
    missing = _missing(store, task, pairs)
    if not missing:
        return
    written = time.monotonic()
    shelf = None
    if store.path and engine.shelf and (task.metric.ranked or task.metric.keeps_forms):
        shelf = Shelf(store.path.with_suffix("") / store.spec[:16], engine.shelf)
    with threadpool_limits(1), ThreadPoolExecutor(engine.threads) as pool:
        for batch in _compute(task, missing, engine, pool, shelf):
            store.outcomes.update(batch)
            if time.monotonic() - written > engine.checkpoint:
                store.write()
                written = time.monotonic()
    store.write()


def fill_together(
    stores: Sequence[PairStore],
    tasks: Sequence[Task],
    pairs: Sequence[tuple[Item, Item]],
    engine: Engine,
) -> None:
    """Computes what the stores of tasks with the same `Task.base` do not know, in one pass."""
    missing = [_missing(*work, pairs) for work in zip(stores, tasks, strict=True)]
    if not any(missing):
        return
    with threadpool_limits(1), ThreadPoolExecutor(engine.threads) as pool:
        found = tiled_outcomes(tasks, missing, engine, pool)
    for store, outcomes in zip(stores, found, strict=True):
        store.outcomes.update(outcomes)
        store.write()


def _missing(
    store: PairStore, task: Task, pairs: Sequence[tuple[Item, Item]]
) -> list[tuple[Item, Item]]:
    wanted = {pair_key(task.metric, x, y): ordered(task.metric, x, y) for x, y in pairs}
    missing = [pair for key, pair in wanted.items() if key not in store.outcomes]
    logger.info(
        "%d pairs: %d reused, %d to compute", len(pairs), len(pairs) - len(missing), len(missing)
    )
    return missing


def _compute(
    task: Task,
    missing: Sequence[tuple[Item, Item]],
    engine: Engine,
    pool: ThreadPoolExecutor,
    shelf: Shelf | None,
) -> Iterator[dict[tuple[str, str], Outcome]]:
    """Yields outcomes in batches, holding prepared forms of two blocks of items at a time."""
    items = list({item.hash: item for pair in missing for item in pair}.values())
    if task.is_tiled(items[0].shape[0]):
        yield tiled_outcomes([task], [missing], engine, pool, shelf)[0]
        return
    blocks = _blocks(task.metric, items, engine.max_memory // 2)
    block_of = {item.hash: number for number, block in enumerate(blocks) for item in block}
    by_blocks: dict[tuple[int, int], list[tuple[Item, Item]]] = {}
    for x, y in missing:
        low, high = sorted((block_of[x.hash], block_of[y.hash]))
        by_blocks.setdefault((low, high), []).append((x, y))
    prepared: dict[str, Any] = {}
    for numbers in sorted(by_blocks):
        needed = {item.hash: item for pair in by_blocks[numbers] for item in pair}
        prepared = {key: form for key, form in prepared.items() if key in needed}
        new = [item for key, item in needed.items() if key not in prepared]
        prepare = partial(_prepare, task, shelf if task.metric.keeps_forms else None)
        prepared.update(zip([i.hash for i in new], pool.map(prepare, new), strict=True))
        yield from _compare(task, by_blocks[numbers], prepared, pool, 16 * engine.threads)


def _blocks(metric: Metric, items: Sequence[Item], budget: int) -> list[list[Item]]:
    """Returns the items in blocks whose prepared forms fit into `budget` bytes, one at least."""
    largest = max(metric.prepared_bytes(*item.shape) for item in items)
    size = max(1, int(budget // largest))
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _prepare(task: Task, shelf: Shelf | None, item: Item) -> Form | MetricError:
    """Returns the prepared form of a layer, from the shelf if it is there."""
    found = shelf.get(item.hash) if shelf else None
    if found:
        arrays, notes = found
        moments = moments_of_notes(notes["moments"])
        return Form(task.metric.unpack(arrays), moments, item.shape[0])
    form = attempt(item, lambda: task.prepare(item.features()))
    if shelf and isinstance(form, Form):
        arrays = task.metric.pack(form.prepared)
        if shelf.reserve(sum(array.nbytes for array in arrays.values())):
            shelf.put(item.hash, arrays, {"moments": moments_as_notes(form.moments)})
    return form


def _compare(
    task: Task,
    pairs: Sequence[tuple[Item, Item]],
    prepared: Mapping[str, Any],
    pool: ThreadPoolExecutor,
    size: int,
) -> Iterator[dict[tuple[str, str], Outcome]]:
    for batch in batched(pairs, size):
        forms = [(prepared[x.hash], prepared[y.hash]) for x, y in batch]
        outcomes = pool.map(partial(_outcome, task), *zip(*forms, strict=True))
        keys = [(x.hash, y.hash) for x, y in batch]
        yield dict(zip(keys, outcomes, strict=True))


def _outcome(task: Task, a: Form | MetricError, b: Form | MetricError) -> Outcome:
    for form in (a, b):
        if isinstance(form, MetricError):
            return Outcome(failure=str(form))
    try:
        return task.compare(a, b)
    except MetricError as error:
        return Outcome(failure=str(error))
