"""Fills a pair store: prepares every layer once if memory allows, compares, saves as it goes."""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from consilience.calibration import NullKind, Permutations, closed_form, monte_carlo
from consilience.errors import ConfigError, MetricError
from consilience.features import content_hash
from consilience.metrics import InnerProductMetric, Metric, Preprocessing, as_features
from consilience.metrics._moments import Moments
from consilience.metrics._tiles import CENTRINGS, Centring, TileForm, TileSums
from consilience.pairs import Outcome, PairStore
from consilience.similarity.tiles import spill, tile_bytes, tiled_sums

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One layer of one model: a row and a column of the similarity matrix."""

    model: str
    layer: str
    shape: tuple[int, int]
    hash: str
    load: Callable[[], np.ndarray] = field(compare=False, repr=False)

    def features(self, *, widen: bool = True) -> np.ndarray:
        """Returns the finite features (n, d), float64 if `widen`."""
        place = f"features of model {self.model!r}, layer {self.layer!r}"
        return as_features(self.load(), place, widen=widen)


@dataclass(frozen=True)
class Engine:
    """How pairs are computed; none of it changes a value."""

    threads: int = 1
    max_memory: int = 2 * 1024**3
    """Bytes that prepared forms may take together; at least two are held."""
    checkpoint: float = 60.0
    """Seconds between two writes of the pair store."""
    scratch: str | None = None
    """Folder for features that exceed the memory in the tiled pass (default: the system's)."""


TILED_SAMPLES = 2048
"""From so many samples on, inner products over pairs of samples are computed in tiles."""


@dataclass(frozen=True)
class Side:
    """One model after the tiled pass."""

    sums: TileSums
    length: float
    moments: Moments

    @classmethod
    def of(cls, centring: Centring, n: int, sums: TileSums) -> "Side":
        """Returns the side that has these sums."""
        length = centring.length(n, sums)
        return cls(sums, length, centring.moments(n, sums, length))


@dataclass(frozen=True)
class Task:
    """What is computed for every pair: all that decides its row of the table."""

    metric: Metric
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    null: NullKind | None = None
    permutations: Permutations = field(default_factory=Permutations)
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        facts = self.metric.facts
        if self.null and not facts.paired:
            raise ConfigError(
                f"metric {facts.name!r} takes each side alone, so permuting the samples changes "
                "nothing: it has no null; use null=None"
            )
        if self.null == "closed_form" and not self.metric.has_closed_form:
            raise ConfigError(
                f"metric {facts.name!r} has no closed-form null with these parameters; use "
                "null='monte_carlo'"
            )

    @property
    def null_spec(self) -> dict[str, Any] | None:
        """How values are calibrated, for the pair store and the table's metadata."""
        if self.null == "monte_carlo":
            return {"kind": self.null, **vars(self.permutations)}
        return {"kind": self.null} if self.null else None

    def open_store(self, path: str | Path | None, *, fresh: bool = False) -> PairStore:
        """Returns the pair store of this task."""
        given = {"null": self.null_spec}
        if self.labels is not None:
            given["labels"] = content_hash(self.labels)
        return PairStore.open(path, self.metric, self.preprocessing, given, fresh=fresh)

    def is_tiled(self, n: int) -> bool:
        """Whether pairs of n samples are computed in the tiled pass, to float32 precision."""
        inner = isinstance(self.metric, InnerProductMetric) and self.metric.centring
        return bool(inner) and n >= TILED_SAMPLES and self.null != "monte_carlo"

    def tile_form(self, x: np.ndarray) -> TileForm:
        """Returns what the tiled pass needs of features x: (n, d), and its part of the null."""
        rows = self.preprocessing.rows(x)
        form = self.metric.tile_form(rows)
        return replace(form, cubes=self.metric.tile_cubes(rows)) if self.null else form

    def tiled_outcome(self, n: int, product: float, a: Side, b: Side) -> Outcome:
        """Returns the value and the null of two models from the sums of the tiled pass."""
        centring = CENTRINGS[self.metric.centring]
        value = float(centring.product(n, product, a.sums, b.sums) / (a.length * b.length))
        if not np.isfinite(value):
            return Outcome(failure=f"the metric gave {value}")
        if self.null is None:
            return Outcome(value)
        null = closed_form(self.metric, value, a.moments, b.moments)
        return Outcome(value, None, null.mean, null.sd, null.p)

    def prepare(self, x: np.ndarray) -> "Form":
        """Returns the prepared form of features x: (n, d), with the sums of its null."""
        extra = () if self.labels is None else (self.labels,)
        prepared = self.metric.prepare(self.preprocessing(x), *extra)
        closed = self.null == "closed_form"
        return Form(prepared, self.metric.moments(prepared) if closed else None, len(x))

    def compare(self, a: "Form", b: "Form") -> Outcome:
        """Returns the value of two prepared forms and its null."""
        value = float(self.metric.compare(a.prepared, b.prepared))
        if not np.isfinite(value):
            return Outcome(failure=f"the metric gave {value}")
        if self.null is None:
            return Outcome(value)
        if self.null == "closed_form":
            null = closed_form(self.metric, value, a.moments, b.moments)
        else:
            orders = self.permutations.orders(a.n)
            null = monte_carlo(self.metric, value, a.prepared, b.prepared, orders)
        return Outcome(value, None, null.mean, null.sd, null.p)


def tiled_outcomes(
    task: Task,
    items: Sequence[Item],
    missing: Sequence[tuple[Item, Item]],
    engine: Engine,
    pool: ThreadPoolExecutor,
) -> dict[tuple[str, str], Outcome]:
    """Returns the outcomes of all missing pairs from one tiled pass over their models."""
    n = items[0].shape[0]
    forms: dict[str, TileForm | MetricError] = {}
    room = engine.max_memory - tile_bytes(len(items))
    for batch in _batched(items, engine.threads):  # no more at a time: in the making they are large
        made = pool.map(
            lambda i: _attempt(i, lambda: task.tile_form(i.features(widen=False))), batch
        )
        for item, form in zip(batch, made, strict=True):
            if isinstance(form, TileForm):
                room -= form.nbytes
                form = form if room >= 0 else spill(form, engine.scratch)  # noqa: PLW2901
            forms[item.hash] = form
    sound = {key: form for key, form in forms.items() if isinstance(form, TileForm)}
    products, sums = tiled_sums(list(sound.values()), pool, max(room, 0)) if sound else (None, [])
    place = {key: number for number, key in enumerate(sound)}
    centring = CENTRINGS[task.metric.centring]
    sides: dict[str, Side | MetricError] = {k: f for k, f in forms.items() if k not in sound}
    for item in items:
        if item.hash in place:
            own = sums[place[item.hash]]
            sides[item.hash] = _attempt(item, lambda own=own: Side.of(centring, n, own))
    outcomes = {}
    for x, y in missing:
        a, b = sides[x.hash], sides[y.hash]
        failed = next((str(side) for side in (a, b) if isinstance(side, MetricError)), None)
        if failed:
            outcomes[x.hash, y.hash] = Outcome(failure=failed)
            continue
        product = float(products[place[x.hash], place[y.hash]])
        outcomes[x.hash, y.hash] = task.tiled_outcome(n, product, a, b)
    return outcomes


def _tile_form(task: Task, item: Item) -> TileForm | MetricError:
    return _attempt(item, lambda: task.tile_form(item.features(widen=False)))


def _attempt(item: Item, make: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Returns what `make` gives, or the error that all pairs of the item then have."""
    try:
        return make()
    except MetricError as error:
        logger.warning("model %s, layer %s: %s", item.model, item.layer, error)
        return error


class Form(NamedTuple):
    """The prepared form of one layer."""

    prepared: Any
    moments: Moments | None
    n: int


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
    wanted = {pair_key(task.metric, x, y): ordered(task.metric, x, y) for x, y in pairs}
    missing = [pair for key, pair in wanted.items() if key not in store.outcomes]
    logger.info(
        "%d pairs: %d reused, %d to compute", len(pairs), len(pairs) - len(missing), len(missing)
    )
    if not missing:
        return
    written = time.monotonic()
    with threadpool_limits(1), ThreadPoolExecutor(engine.threads) as pool:
        for batch in _compute(task, missing, engine, pool):
            store.outcomes.update(batch)
            if time.monotonic() - written > engine.checkpoint:
                store.write()
                written = time.monotonic()
    store.write()


def _compute(
    task: Task,
    missing: Sequence[tuple[Item, Item]],
    engine: Engine,
    pool: ThreadPoolExecutor,
) -> Iterator[dict[tuple[str, str], Outcome]]:
    """Yields outcomes in batches, holding prepared forms of two blocks of items at a time."""
    items = list({item.hash: item for pair in missing for item in pair}.values())
    if task.is_tiled(items[0].shape[0]):
        yield tiled_outcomes(task, items, missing, engine, pool)
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
        prepare = partial(_prepare, task)
        prepared.update(zip([i.hash for i in new], pool.map(prepare, new), strict=True))
        yield from _compare(task, by_blocks[numbers], prepared, pool, 16 * engine.threads)


def _blocks(metric: Metric, items: Sequence[Item], budget: int) -> list[list[Item]]:
    """Returns the items in blocks whose prepared forms fit into `budget` bytes, one at least."""
    largest = max(metric.prepared_bytes(*item.shape) for item in items)
    size = max(1, int(budget // largest))
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _prepare(task: Task, item: Item) -> Form | MetricError:
    return _attempt(item, lambda: task.prepare(item.features()))


def _compare(
    task: Task,
    pairs: Sequence[tuple[Item, Item]],
    prepared: Mapping[str, Any],
    pool: ThreadPoolExecutor,
    size: int,
) -> Iterator[dict[tuple[str, str], Outcome]]:
    for batch in _batched(pairs, size):
        forms = [(prepared[x.hash], prepared[y.hash]) for x, y in batch]
        outcomes = pool.map(partial(_outcome, task), *zip(*forms, strict=True))
        keys = [(x.hash, y.hash) for x, y in batch]
        yield dict(zip(keys, outcomes, strict=True))


def _batched(pairs: Iterable, size: int) -> Iterator[list]:
    iterator = iter(pairs)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _outcome(task: Task, a: Form | MetricError, b: Form | MetricError) -> Outcome:
    for form in (a, b):
        if isinstance(form, MetricError):
            return Outcome(failure=str(form))
    try:
        return task.compare(a, b)
    except MetricError as error:
        return Outcome(failure=str(error))
