"""Pairs of an inner-product metric over many samples: all of them in one tiled pass."""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from consilience.errors import MetricError
from consilience.metrics._tiles import CENTRINGS, TileForm, TileSums
from consilience.pairs import Outcome
from consilience.similarity.shelf import Shelf, Steps
from consilience.similarity.task import Engine, Item, Side, Task, attempt, batched
from consilience.similarity.tiles import (
    Ranks,
    TileModel,
    rank_bytes,
    spill,
    tile_bytes,
    tiled_sums,
)


def tiled_outcomes(
    task: Task,
    items: Sequence[Item],
    missing: Sequence[tuple[Item, Item]],
    engine: Engine,
    pool: Executor,
    shelf: Shelf | None = None,
) -> dict[tuple[str, str], Outcome]:
    """Returns the outcomes of all missing pairs from one tiled pass over their models."""
    if engine.device == "cpu":
        with tempfile.TemporaryDirectory(dir=engine.scratch) as scratch:
            models = _tile_models(task, items, engine, pool, shelf, Path(scratch))
            sound = {key: model for key, model in models.items() if isinstance(model, TileModel)}
            n = items[0].shape[0]
            products, sums = tiled_sums(n, list(sound.values()), pool) if sound else (None, [])
    else:
        from consilience.similarity.on_device import sums_on_device  # noqa: PLC0415 - imports torch

        models = {item.hash: attempt(item, partial(_tile_form, task, item)) for item in items}
        sound = {key: form for key, form in models.items() if isinstance(form, TileForm)}
        products, sums = sums_on_device([*sound.values()], engine.device) if sound else (None, [])
    return _outcomes(task, models, dict(zip(sound, sums, strict=True)), products, missing)


def _outcomes(
    task: Task,
    models: Mapping[str, Any],
    sums: Mapping[str, TileSums],
    products: np.ndarray,
    missing: Sequence[tuple[Item, Item]],
) -> dict[tuple[str, str], Outcome]:
    """Returns the outcomes of pairs from the sums of models, or from what went wrong with them."""
    items = {item.hash: item for pair in missing for item in pair}
    n = next(iter(items.values())).shape[0]
    place = {key: number for number, key in enumerate(sums)}
    centring = CENTRINGS[task.metric.centring]
    sides: dict[str, Side | MetricError] = {k: m for k, m in models.items() if k not in sums}
    for key, own in sums.items():
        sides[key] = attempt(items[key], partial(Side.of, centring, n, own))
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


def _tile_models(
    task: Task,
    items: Sequence[Item],
    engine: Engine,
    pool: Executor,
    shelf: Shelf | None,
    scratch: Path,
) -> dict[str, TileModel | MetricError]:
    """Returns the models of the pass by content hash: in memory as far as it reaches."""
    makers = {item.hash: _TileMaker(task, item, shelf, scratch) for item in items}
    room = engine.max_memory - tile_bytes(len(items))
    models: dict[str, TileModel | MetricError] = {}
    for batch in batched(items, engine.threads):  # no more at a time: in the making they are large
        rooms = []
        for item in batch:
            room -= makers[item.hash].kept_bytes
            rooms.append(room >= 0)
        made = pool.map(lambda item, fits: makers[item.hash](fits), batch, rooms)
        models.update(zip([item.hash for item in batch], made, strict=True))
    return models


def _tile_form(task: Task, item: Item) -> TileForm:
    return task.tile_form(item.features(widen=False))


@dataclass(frozen=True)
class _TileMaker:
    """Makes one model of the pass, of features or of what the shelf keeps."""

    task: Task
    item: Item
    shelf: Shelf | None
    scratch: Path

    @property
    def kept_bytes(self) -> int:
        """What the model takes if it is kept in memory."""
        n, d = self.item.shape
        if not self.task.metric.ranked:
            return 4 * n * d
        return rank_bytes(n) if self.shelf is None else 0

    def __call__(self, fits: bool) -> TileModel | MetricError:
        """Returns the model, in memory if it `fits`."""
        return attempt(self.item, lambda: self._make(fits))

    def _make(self, fits: bool) -> TileModel:
        known = self._known() if self.task.metric.ranked and self.shelf else None
        if known:
            return known
        form = _tile_form(self.task, self.item)
        if form.ranked:
            return self._ranked(form, fits)
        return TileModel.of(form if fits else spill(form, self.scratch / self.item.hash))

    def _ranked(self, form: TileForm, fits: bool) -> TileModel:
        size = rank_bytes(len(form.rows))
        if self.shelf is None or not self.shelf.reserve(size):
            steps = Steps(None if fits and self.shelf is None else self.scratch / self.item.hash)
            return TileModel(Ranks.of(form, steps), form.diagonal, form.cubes)
        ranks = Ranks.of(form, Steps(self.shelf.steps(self.item.hash)))
        notes = {"checksum": ranks.steps.checksum, "cubes": form.cubes}
        self.shelf.put(self.item.hash, {"table": ranks.table}, notes)
        return TileModel(ranks, form.diagonal, form.cubes)

    def _known(self) -> TileModel | None:
        found = self.shelf.get(self.item.hash)
        if found is None:
            return None
        arrays, notes = found
        path = self.shelf.steps(self.item.hash)
        ranks = Ranks.kept(self.item.shape[0], path, arrays["table"], notes["checksum"])
        return TileModel(ranks, None, tuple(notes["cubes"])) if ranks else None
