"""Fills a pair store: prepares every layer once if memory allows, compares, saves as it goes."""

import itertools
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from consilience.errors import ConfigError, MetricError
from consilience.files import digest
from consilience.forms.neighbors import checked_count
from consilience.metrics import Metric
from consilience.similarity.engine.tiled import tiled_outcomes
from consilience.similarity.shelf import Shelf, moments_as_notes, moments_of_notes
from consilience.similarity.store import Outcome, PairStore
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


def all_pairs(items: Sequence[Item], *, symmetric: bool) -> list[tuple[Item, Item]]:
    """Returns the pairs of a table, items with themselves too: if symmetric, either order once."""
    if symmetric:
        return list(itertools.combinations_with_replacement(items, 2))
    return list(itertools.product(items, repeat=2))


def fill_store(
    store: PairStore,
    task: Task,
    pairs: Sequence[tuple[Item, Item]],
    engine: Engine,
) -> None:
    """Computes the pairs that the store does not know and writes the store as it goes.

    Raises:
        ConfigError: the store is of another kind of device than the engine computes on.
    """
    missing = _missing(store, task, pairs, engine)
    if not missing:
        return
    shelf = None
    if store.path and engine.shelf and (task.metric.ranked or task.metric.keeps_forms):
        shelf = Shelf(store.path.with_suffix("") / store.spec[:16], engine.shelf)
    prepare = partial(_prepare, task, shelf if task.metric.keeps_forms else None)
    with threadpool_limits(1), ThreadPoolExecutor(engine.threads) as pool:
        if task.is_tiled(missing[0][0].shape[0]):
            store.outcomes.update(tiled_outcomes([task], [missing], engine, pool, shelf)[0])
        else:
            _keep(store, _compute(task, missing, engine, pool, prepare), engine.checkpoint)
    store.write()


def _keep(
    store: PairStore, batches: Iterable[Mapping[tuple[str, str], Outcome]], checkpoint: float
) -> None:
    """Takes up outcomes, and writes the store now and then."""
    written = time.monotonic()
    for batch in batches:
        store.outcomes.update(batch)
        if time.monotonic() - written > checkpoint:
            store.write()
            written = time.monotonic()


def fill_together(
    stores: Sequence[PairStore],
    tasks: Sequence[Task],
    pairs: Sequence[tuple[Item, Item]],
    engine: Engine,
    folder: Path | None = None,
) -> None:
    """Computes what the stores of tasks with the same `Task.base` do not know.

    Products are made in one pass for all of them, and so are neighbour lists, which are kept in
    `folder`, if there is one, for models that come later.
    """
    missing = [_missing(*work, pairs, engine) for work in zip(stores, tasks, strict=True)]
    if not any(missing):
        return
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(1))
        pool = stack.enter_context(ThreadPoolExecutor(engine.threads))
        if tasks[0].is_tiled(pairs[0][0].shape[0]):
            found = tiled_outcomes(tasks, missing, engine, pool)
            for store, outcomes in zip(stores, found, strict=True):
                store.outcomes.update(outcomes)
                store.write()
            return
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=engine.scratch)))
        lists = _Lists.of(tasks, pairs[0][0].shape[0], folder, engine.shelf)
        for store, task, part in zip(stores, tasks, missing, strict=True):
            if part:
                batches = _compute(task, part, engine, pool, partial(lists.form, task))
                _keep(store, batches, engine.checkpoint)
                store.write()


@dataclass(frozen=True)
class _Lists:
    """Neighbour lists that the forms of several metrics are made of."""

    task: Task
    k: int
    """As many neighbours as the metrics take at most."""
    shelf: Shelf

    @classmethod
    def of(cls, tasks: Sequence[Task], n: int, folder: Path, room: int) -> "_Lists":
        """Returns the lists of n samples for these tasks, kept in the folder."""
        k = max(1, *(min(task.metric.neighbors_of(n), n - 1) for task in tasks))
        mark = digest([tasks[0].open_store(None).code, vars(tasks[0].preprocessing), k])
        return cls(tasks[0], k, Shelf(folder / mark[:16], room))

    def form(self, task: Task, item: Item) -> Form | MetricError:
        """Returns the prepared form of a layer for one of the tasks."""
        return attempt(item, lambda: self._form(task, item))

    def _form(self, task: Task, item: Item) -> Form:
        n = item.shape[0]
        checked_count(task.metric.k, n)  # first, as in `prepare`: of two reasons the same is given
        return task.form(task.metric.of_lists(self._lists(item)), n)

    def _lists(self, item: Item) -> np.ndarray:
        found = self.shelf.get(item.hash)
        if found:
            return found[0]["lists"]
        lists = self.task.metric.lists(self.task.preprocessing(item.features()), self.k)
        if self.shelf.reserve(lists.nbytes):
            self.shelf.put(item.hash, {"lists": lists}, {})
        return lists


def _missing(
    store: PairStore, task: Task, pairs: Sequence[tuple[Item, Item]], engine: Engine
) -> list[tuple[Item, Item]]:
    kind = task.device_kind(engine.device, pairs[0][0].shape[0])
    if store.device != kind:
        raise ConfigError(
            f"the pair store is of values computed on {store.device!r}, and the engine computes "
            f"them on {kind!r}; open it with device={kind!r}"
        )
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
    prepare: Callable[[Item], Form | MetricError],
) -> Iterator[dict[tuple[str, str], Outcome]]:
    """Yields outcomes in batches, holding prepared forms of two blocks of items at a time."""
    items = list({item.hash: item for pair in missing for item in pair}.values())
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
    form = attempt(item, lambda: task.prepare(item))
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
