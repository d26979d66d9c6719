"""Pairs of an inner-product metric over many samples: all of them in one tiled pass."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from consilience.errors import MetricError
from consilience.forms.tiles import TileForm, TileSide, TileSums
from consilience.similarity.engine.attempts import attempt
from consilience.similarity.engine.permuted import Pass, permuted_values
from consilience.similarity.engine.squares import squares_of
from consilience.similarity.engine.tiles import (
    Known,
    Ranks,
    TileModel,
    rank_bytes,
    spill,
    tile_bytes,
    tiled_sums,
)
from consilience.similarity.shelf import Shelf, Steps
from consilience.similarity.store import Outcome
from consilience.similarity.task import Engine, Item, Task

logger = logging.getLogger(__name__)


def tiled_outcomes(
    tasks: Sequence[Task],
    missing: Sequence[Sequence[tuple[Item, Item]]],
    engine: Engine,
    pool: Executor,
    shelf: Shelf | None = None,
) -> list[dict[tuple[str, str], Outcome]]:
    """Returns for each task the outcomes of its missing pairs, from one pass over their models.

    Args:
        tasks: what is computed: one task, or several that share their products (`Task.base`).
        missing: for each task the pairs.
        engine: memory, scratch folder, device.
        pool: shares the work.
        shelf: keeps ranks, for one task that takes them.
    """
    items = list({i.hash: i for pairs in missing for pair in pairs for i in pair}.values())
    if engine.device == "cpu":
        with tempfile.TemporaryDirectory(dir=engine.scratch) as scratch:
            models = _tile_models(tasks, items, engine, pool, shelf, Path(scratch))
            sound = {key: model for key, model in models.items() if isinstance(model, TileModel)}
            n, apart = items[0].shape[0], tasks[0].apart
            squares, new = _squares(missing, list(sound)), _new(missing, sound)
            made = list(sound.values())
            found = tiled_sums(n, made, pool, apart, squares, new) if sound else []
            if shelf is not None and not _kept(shelf, sound, found):
                return tiled_outcomes(tasks, missing, engine, pool, shelf)
    else:
        from consilience.similarity.engine.device import sums_on_device  # noqa: PLC0415 - imports torch

        models = {item.hash: attempt(item, partial(_tile_forms, tasks, item)) for item in items}
        sound = {key: forms for key, forms in models.items() if isinstance(forms, list)}
        sound_forms = list(sound.values())
        found = sums_on_device(sound_forms, engine.device, tasks[0].apart) if sound else []
    found = found or [(np.empty((0, 0)), [])] * len(tasks)
    parts = []
    for task, (products, sums), pairs in zip(tasks, found, missing, strict=True):
        sides = _sides(task, models, dict(zip(sound, sums, strict=True)), pairs)
        parts.append(_Part(task, pairs, products, {k: i for i, k in enumerate(sound)}, sides))
    draws: Sequence[Mapping] = [{}] * len(tasks)
    if tasks[0].null == "monte_carlo":
        draws = _draws(parts, items, engine, pool)
    return [part.outcomes(own) for part, own in zip(parts, draws, strict=True)]


def _squares(missing: Sequence[Sequence[tuple[Item, Item]]], sound: Sequence[str]) -> list:
    """Returns which products of sound models are wanted: see `squares_of`."""
    place = {key: i for i, key in enumerate(sound)}
    pairs = ((x.hash, y.hash) for own in missing for x, y in own)
    return squares_of(
        [(place[x], place[y]) for x, y in pairs if x in place and y in place], len(sound)
    )


def _new(
    missing: Sequence[Sequence[tuple[Item, Item]]], sound: Mapping[str, TileModel]
) -> list[int]:
    """Returns the places of few new models, if no pair is wanted but theirs, and all else known."""
    new = [place for place, model in enumerate(sound.values()) if model.known is None]
    known = {key for key, model in sound.items() if model.known}
    others = any(x.hash in known and y.hash in known for own in missing for x, y in own)
    return [] if others or len(new) > len(sound) // 4 else new


def _kept(shelf: Shelf, sound: Mapping[str, TileModel], found: Sequence[Any]) -> bool:
    """Notes on the shelf what the pass found of new ranks; whether all old ones were sound."""
    apart = 0
    for (key, model), sums in zip(sound.items(), found[0][1] if found else (), strict=True):
        steps = model.write.steps
        if steps.path != shelf.steps(key):
            apart += 1
        elif model.known is None:
            notes = {"checksum": steps.checksum, "cubes": sums.cubes, "squares": sums.squares}
            shelf.put(key, {"rows": sums.rows}, notes)
    if apart:
        size = rank_bytes(len(sums.rows)) * len(sound) / 2**20
        logger.info(
            "the ranks of %d of %d models are not kept, and made again for one more model: "
            "similarity.shelf_mb: %.0f would hold all",
            apart,
            len(sound),
            np.ceil(size),
        )
    damaged = [key for key, model in sound.items() if not model.write.steps.sound]
    for key in damaged:
        logger.warning("%s is damaged, or of other features, and made again", shelf.steps(key))
        shelf.drop(key)
    return not damaged


Sides = Mapping[str, TileSide | MetricError]
"""By content hash what the pass gave of a model, or what went wrong with it."""


def _sides(
    task: Task,
    models: Mapping[str, Any],
    sums: Mapping[str, TileSums],
    missing: Sequence[tuple[Item, Item]],
) -> Sides:
    """Returns the sides of all models of the missing pairs."""
    items = {item.hash: item for pair in missing for item in pair}
    sides: dict[str, TileSide | MetricError] = {k: m for k, m in models.items() if k not in sums}
    for key in items.keys() & sums.keys():
        item = items[key]
        sides[key] = attempt(item, partial(TileSide.of, task.centring, item.shape[0], sums[key]))
    return sides


def _draws(
    parts: "Sequence[_Part]", items: Sequence[Item], engine: Engine, pool: Executor
) -> list[dict[tuple[str, str], np.ndarray]]:
    """Returns for each task the permuted values of its pairs that have a value."""
    pairs = [
        [(x.hash, y.hash) for x, y in part.missing if part.failure(x, y) is None] for part in parts
    ]
    wanted = {key for own in pairs for pair in own for key in pair}
    if not wanted:
        return [{} for _ in parts]
    tasks, sides = [part.task for part in parts], [part.sides for part in parts]
    known = {item.hash: item for item in items if item.hash in wanted}
    makers = [_TileMaker(tasks, item, None, Path()) for item in known.values()]
    size = 2 * sum(maker.kept_bytes for maker in makers) + tile_bytes(2 * len(known), len(tasks))

    def load(name: str) -> list[TileForm]:
        return _tile_forms(tasks, known[name])

    if size <= engine.max_memory or engine.device != "cpu":
        return permuted_values(tasks, cache(load), pairs, sides, Pass(pool, engine.device))
    with tempfile.TemporaryDirectory(dir=engine.scratch) as scratch:
        how = Pass(pool, engine.device, Path(scratch))
        return permuted_values(tasks, load, pairs, sides, how)


@dataclass(frozen=True)
class _Part:
    """What the pass gave for one task."""

    task: Task
    missing: Sequence[tuple[Item, Item]]
    products: np.ndarray
    place: Mapping[str, int]
    """Where a model stands in the products."""
    sides: Sides

    def failure(self, x: Item, y: Item) -> str | None:
        """Returns what went wrong with a pair."""
        both = (self.sides[x.hash], self.sides[y.hash])
        return next((str(side) for side in both if isinstance(side, MetricError)), None)

    def outcomes(
        self, draws: Mapping[tuple[str, str], np.ndarray]
    ) -> dict[tuple[str, str], Outcome]:
        """Returns the outcomes of the missing pairs."""
        return {(x.hash, y.hash): self._outcome(x, y, draws) for x, y in self.missing}

    def _outcome(self, x: Item, y: Item, draws: Mapping[tuple[str, str], np.ndarray]) -> Outcome:
        if failed := self.failure(x, y):
            return Outcome(failure=failed)
        product = float(self.products[self.place[x.hash], self.place[y.hash]])
        a, b = self.sides[x.hash], self.sides[y.hash]
        return self.task.tiled_outcome(x.shape[0], product, a, b, draws.get((x.hash, y.hash)))


def _tile_models(
    tasks: Sequence[Task],
    items: Sequence[Item],
    engine: Engine,
    pool: Executor,
    shelf: Shelf | None,
    scratch: Path,
) -> dict[str, TileModel | MetricError]:
    """Returns the models of the pass by content hash: in memory as far as it reaches."""
    makers = {item.hash: _TileMaker(tasks, item, shelf, scratch) for item in items}
    room = engine.max_memory - tile_bytes(len(items), len(tasks))
    # in the making a model is there twice in float32: as it was read, and as it is worked on
    room -= engine.threads * max(8 * item.shape[0] * item.shape[1] for item in items)
    fits = {}
    for item in items:
        room -= makers[item.hash].kept_bytes
        fits[item.hash] = room >= 0
    # no more at a time than the pool has threads: in the making they are large; the widest first,
    # or one thread waits for the other at the end
    order = sorted(fits, key=lambda key: -makers[key].item.shape[1])
    made = dict(zip(order, pool.map(lambda key: makers[key](fits[key]), order), strict=True))
    return {key: made[key] for key in fits}


def _tile_forms(tasks: Sequence[Task], item: Item) -> list[TileForm]:
    """Returns the forms of a model, on one copy of its features."""
    x = item.features(widen=False)
    first = tasks[0].tile_form(x)
    others = [task.tile_form(x) for task in tasks[1:]]
    return [first, *(replace(form, rows=first.rows, half=first.half) for form in others)]


@dataclass(frozen=True)
class _TileMaker:
    """Makes one model of the pass, of features or of what the shelf keeps."""

    tasks: Sequence[Task]
    item: Item
    shelf: Shelf | None
    scratch: Path

    @property
    def ranked(self) -> bool:
        """Whether the (one) task takes ranks."""
        return self.tasks[0].metric.ranked

    @property
    def apart(self) -> np.ndarray | None:
        """The groups within which pairs do not count."""
        return self.tasks[0].apart

    @property
    def kept_bytes(self) -> int:
        """What the model takes if it is kept in memory."""
        n, d = self.item.shape
        if not self.ranked:
            return 4 * n * d
        return rank_bytes(n) if self.shelf is None else 0

    def __call__(self, fits: bool) -> TileModel | MetricError:
        """Returns the model, in memory if it `fits`."""
        return attempt(self.item, lambda: self._make(fits))

    def _make(self, fits: bool) -> TileModel:
        known = self._known() if self.ranked and self.shelf else None
        if known:
            return known
        forms = _tile_forms(self.tasks, self.item)
        if self.ranked:
            return self._ranked(forms[0], fits)
        return TileModel.of(forms if fits else spill(forms, self.scratch / self.item.hash))

    def _ranked(self, form: TileForm, fits: bool) -> TileModel:
        size = rank_bytes(len(form.rows))
        if self.shelf is None or not self.shelf.reserve(size):
            steps = Steps(None if fits and self.shelf is None else self.scratch / self.item.hash)
            return TileModel(Ranks.of(form, steps, self.apart), cubes=(form.cubes,))
        ranks = Ranks.of(form, Steps(self.shelf.steps(self.item.hash)), self.apart)
        return TileModel(ranks, cubes=(form.cubes,))  # its sums are noted after the pass

    def _known(self) -> TileModel | None:
        found = self.shelf.get(self.item.hash)
        if found is None:
            return None
        arrays, notes = found
        path = self.shelf.steps(self.item.hash)
        ranks = Ranks.kept(self.item.shape[0], path, notes["checksum"])
        known = Known(arrays["rows"], notes["squares"])
        return TileModel(ranks, cubes=(tuple(notes["cubes"]),), known=known) if ranks else None
