"""Fills a pair store: prepares every layer once if memory allows, compares, saves as it goes."""

import itertools
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
from consilience.forms.nearness import check_groups
from consilience.forms.neighbors import checked_count
from consilience.forms.ties import Neighbors, arrays_of, of_arrays
from consilience.metrics import Metric
from consilience.similarity.engine.attempts import attempt, batched
from consilience.similarity.engine.held import Room, give_back, groups_of
from consilience.similarity.engine.permuted import compared, compared_both, fits, permuted_outcomes
from consilience.similarity.engine.tiled import tiled_outcomes
from consilience.similarity.engine.timing import ItemTimes, in_equal_parts, timed
from consilience.similarity.shelf import Shelf, moments_as_notes, moments_of_notes
from consilience.similarity.store import PairStore
from consilience.similarity.task import Engine, Form, Item, Task

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
    missing = _missing(store, task, pairs, engine) if pairs else []
    if not missing:
        return
    shelf = None
    if store.shelf and engine.shelf and (task.metric.ranked or task.metric.keeps_forms):
        shelf = Shelf(store.shelf / store.spec[:16], engine.shelf)
    prepare = partial(_prepare, task, shelf if task.metric.keeps_forms else None)
    if not task.is_tiled(missing[0][0].shape[0]):
        if fits(task, missing, engine):
            began = time.process_time()
            with threadpool_limits(1), ThreadPoolExecutor(engine.threads) as pool:
                for found in permuted_outcomes(task, missing, prepare, pool):
                    store.outcomes.update(found)
                    store.write()
            store.seconds.update(in_equal_parts(time.process_time() - began, missing))
            store.write()
            return
        device = engine.device if task.is_on_device(missing[0][0].shape[0]) else "cpu"
        fill_by_pairs(store, missing, ByPairs.of(task, prepare, device), engine)
        return
    _fill_in_tiles([store], [task], [missing], engine, shelf)


def _fill_in_tiles(
    stores: Sequence[PairStore],
    tasks: Sequence[Task],
    missing: Sequence[Sequence[tuple[Item, Item]]],
    engine: Engine,
    shelf: Shelf | None = None,
) -> None:
    """Computes the missing pairs of tasks that share their products in one pass."""
    began = time.process_time()
    with threadpool_limits(1), ThreadPoolExecutor(engine.threads) as pool:
        found = tiled_outcomes(tasks, missing, engine, pool, shelf)
    spent = (time.process_time() - began) / sum(map(len, missing))
    for store, outcomes, own in zip(stores, found, missing, strict=True):
        store.outcomes.update(outcomes)
        if engine.device == "cpu":  # what another device did is not known
            store.seconds.update(in_equal_parts(spent * len(own), own))
        store.write()


Pair = tuple[Any, Any]
"""Of items."""


@dataclass(frozen=True)
class ByPairs:
    """How outcomes are made where every pair is compared by itself.

    An item is anything with a `hash`: a layer of a model, or a model with all its layers.
    """

    prepare: Callable[[Any], Any]
    """Takes an item and returns what pairs are compared by, or the error that they then have."""
    compare: Callable[[Any, Any], Any]
    """Takes what two items were prepared to and returns their outcome."""
    form_bytes: Callable[[Any], int]
    """What a prepared item takes, about."""
    work_bytes: Callable[[Any], int] = lambda _: 0
    """What preparing an item takes on the way, about."""
    batch: int = 16
    """Pairs per thread between two looks at the clock."""
    ahead: Callable[[Sequence[tuple[Any, Any]]], Sequence[Any]] | None = None
    """Takes many pairs of what items were prepared to, and returns what a device made of each,
    which `compare` then takes too; None: all is computed here."""
    both: Callable[[Any, Any], tuple[Any, Any]] | None = None
    """Compares as `compare` does, in both orders at once; None: they share nothing."""

    def outcomes(self, orders: int, a: Any, b: Any, *known: Any) -> tuple:  # noqa: ANN401
        """Returns the outcome of what two items were prepared to, or those of both orders."""
        return self.both(a, b) if orders > 1 else (self.compare(a, b, *known),)

    @classmethod
    def of(
        cls, task: Task, prepare: Callable[[Item], Form | MetricError], device: str = "cpu"
    ) -> "ByPairs":
        """Returns how a task compares layers that are prepared like this, on which device."""

        def size(item: Item) -> int:
            return task.metric.prepared_bytes(*item.shape)

        def work(item: Item) -> int:
            return task.metric.work_bytes(*item.shape)

        if device == "cpu":
            both = partial(compared_both, task) if task.metric.shares_orders else None
            return cls(prepare, partial(compared, task), size, work, both=both)
        from consilience.similarity.engine.device_pairs import DevicePairs  # noqa: PLC0415 - imports torch

        there = DevicePairs(task, device)
        return cls(prepare, there.compare, size, work, batch=128, ahead=there.ahead)


def fill_by_pairs(
    store: PairStore, missing: Sequence[tuple[Any, Any]], how: ByPairs, engine: Engine
) -> None:
    """Prepares the items of pairs, compares every two, and writes the store as it goes.

    Every item is prepared once if the memory of the engine allows, and else as `held` says; neither
    that nor the number of threads changes an outcome. A run that is killed has what was written
    last: at most `engine.checkpoint` seconds, and the pairs of one batch, are lost.

    Args:
        store: takes the outcomes, by the hashes of both items.
        missing: the pairs, without those that the store knows.
        how: prepares and compares.
        engine: threads, memory, checkpoint.
    """
    if not missing:
        return
    written = time.monotonic()
    with threadpool_limits(1), ThreadPoolExecutor(engine.threads) as pool:
        for found, spent in _compute(how, missing, engine, pool):
            store.outcomes.update(found)
            store.seconds.update(spent)
            if time.monotonic() - written > engine.checkpoint:
                store.write()
                written = time.monotonic()
    store.write()


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
    work = zip(stores, tasks, strict=True) if pairs else ()
    missing = [_missing(store, task, pairs, engine) for store, task in work]
    if not any(missing):
        return
    n = pairs[0][0].shape[0]
    if tasks[0].is_tiled(n):
        _fill_in_tiles(stores, tasks, missing, engine)
        return
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=engine.scratch)))
        lists = _Lists.of(tasks, n, folder, engine.shelf)
        for store, task, own in zip(stores, tasks, missing, strict=True):
            fill_by_pairs(store, own, ByPairs.of(task, partial(lists.form, task)), engine)


@dataclass(frozen=True)
class _Lists:
    """Neighbour lists that the forms of several metrics are made of."""

    task: Task
    k: int
    """As many neighbours as the metrics take at most."""
    shelf: Shelf
    count: int = 1
    """Metrics that share them, each of which counts its part of the time."""

    @classmethod
    def of(cls, tasks: Sequence[Task], n: int, folder: Path, room: int) -> "_Lists":
        """Returns the lists of n samples for these tasks, kept in the folder."""
        apart = tasks[0].apart
        most = n - (1 if apart is None else int(np.bincount(apart).max()))
        k = max(1, *(min(task.metric.neighbors_of(n), most) for task in tasks))
        marks = [tasks[0].open_store(None).code, vars(tasks[0].preprocessing), k]
        mark = digest(marks if apart is None else [*marks, tasks[0].groups_given])
        return cls(tasks[0], k, Shelf(folder / mark[:16], room), len(tasks))

    def form(self, task: Task, item: Item) -> Form | MetricError:
        """Returns the prepared form of a layer for one of the tasks."""
        return attempt(item, lambda: self._form(task, item))

    def _form(self, task: Task, item: Item) -> Form:
        n = item.shape[0]
        k = checked_count(task.metric.k, n)
        check_groups(task.apart, n, k)  # first, as in `prepare`: of two reasons the same is given
        lists, spent = self._lists(item)
        form, own = timed(lambda: task.form(task.metric.of_lists(lists), n))()
        return form._replace(seconds=spent / self.count + own)

    def _lists(self, item: Item) -> tuple[Neighbors, float]:
        """Returns the lists of a layer, and the CPU seconds that they took when they were made."""
        found = self.shelf.get(item.hash)
        if found:
            return of_arrays(found[0]), found[1]["seconds"]
        lists, spent = timed(lambda: self._made(item))()
        arrays = arrays_of(lists)
        if self.shelf.reserve(sum(array.nbytes for array in arrays.values())):
            self.shelf.put(item.hash, arrays, {"seconds": spent})
        return lists, spent

    def _made(self, item: Item) -> Neighbors:
        x = self.task.preprocessing(item.features())
        return self.task.metric.lists(x, self.k, self.task.apart)


def _missing(
    store: PairStore, task: Task, pairs: Sequence[tuple[Item, Item]], engine: Engine
) -> list[tuple[Item, Item]]:
    kind = task.device_kind(engine.device, pairs[0][0].shape[0])
    if store.device != kind:
        raise ConfigError(
            f"the pair store is of values computed on {store.device!r}, and the engine computes "
            f"them on {kind!r}; open it with device={kind!r}"
        )
    return missing_pairs(store, [ordered(task.metric, x, y) for x, y in pairs])


def missing_pairs(store: PairStore, pairs: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Returns the pairs of items, each once, that the store does not know."""
    wanted = {(x.hash, y.hash): (x, y) for x, y in pairs}
    missing = [pair for key, pair in wanted.items() if key not in store.outcomes]
    logger.info(
        "%d pairs: %d reused, %d to compute", len(pairs), len(pairs) - len(missing), len(missing)
    )
    return missing


def _compute(
    how: ByPairs, missing: Sequence[tuple[Any, Any]], engine: Engine, pool: ThreadPoolExecutor
) -> Iterator[tuple[dict[tuple[str, str], Any], dict[tuple[str, str], float]]]:
    """Yields outcomes, and what each took, in batches."""
    items = {item.hash: item for pair in missing for item in pair}.values()
    form, work = max(map(how.form_bytes, items)), max(map(how.work_bytes, items))
    room = Room.of(engine.max_memory, form, work, engine.threads)
    prepared: dict[str, Any] = {}
    for group in groups_of(missing, room.forms, engine.threads):
        times = ItemTimes(group.pairs, first=not prepared)
        for key in prepared.keys() - group.items.keys() - group.kept:
            del prepared[key]
        new = [item for key, item in group.items.items() if key not in prepared]
        tight = room.at_once < engine.threads
        for some in batched(new, room.at_once if tight else len(new)):
            _add_prepared(prepared, some, how, times, pool)
            if tight:
                give_back()
        works = _works(group.pairs, in_both=how.both is not None)
        for batch in batched(works, how.batch * engine.threads):
            yield _compared(batch, prepared, how, times, pool)


def _add_prepared(
    prepared: dict[str, Any],
    items: Sequence[Any],
    how: ByPairs,
    times: ItemTimes,
    pool: ThreadPoolExecutor,
) -> None:
    """Adds what items are prepared to, which nothing else holds: it goes when it is not needed."""
    made = list(pool.map(timed(how.prepare), items))
    keys = [item.hash for item in items]
    times.prepared(keys, made)
    prepared.update(zip(keys, [form for form, _ in made], strict=True))


def _compared(
    batch: Sequence[Sequence[Pair]],
    prepared: dict[str, Any],
    how: ByPairs,
    times: ItemTimes,
    pool: ThreadPoolExecutor,
) -> tuple[dict[tuple[str, str], Any], dict[tuple[str, str], float]]:
    """Returns outcomes of pairs, and what each took."""
    forms = [(prepared[x.hash], prepared[y.hash]) for (x, y), *_ in batch]
    sides = zip(*forms, strict=True)
    given = [] if how.ahead is None else [how.ahead(forms)]
    found = list(pool.map(timed(how.outcomes), map(len, batch), *sides, *given))
    keys = [(x.hash, y.hash) for work in batch for x, y in work]
    outcomes = [outcome for made, _ in found for outcome in made]
    spent = times.compared(keys, [s / len(made) for made, s in found for _ in made])
    # what another device did is not known
    return dict(zip(keys, outcomes, strict=True)), {} if how.ahead else spent


def _works(pairs: Sequence[Pair], *, in_both: bool) -> list[list[Pair]]:
    """Returns what is compared at once: both orders of two items where these are wanted, or one."""
    if not in_both:
        return [[pair] for pair in pairs]
    works: dict[frozenset[str], list[Pair]] = {}
    for x, y in pairs:
        works.setdefault(frozenset((x.hash, y.hash)), []).append((x, y))
    return list(works.values())


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
