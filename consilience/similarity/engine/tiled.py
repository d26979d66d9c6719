"""Pairs of an inner-product metric over many samples: all of them in one tiled pass."""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from consilience.errors import MetricError
from consilience.forms.tiles import CENTRINGS, TileForm, TileSums
from consilience.similarity.engine.tiles import (
    Ranks,
    TileModel,
    rank_bytes,
    spill,
    tile_bytes,
    tiled_sums,
)
from consilience.similarity.shelf import Shelf, Steps
from consilience.similarity.store import Outcome
from consilience.similarity.task import Engine, Item, Task, TileSide, attempt


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
            found = tiled_sums(items[0].shape[0], list(sound.values()), pool) if sound else []
    else:
        from consilience.similarity.engine.device import sums_on_device  # noqa: PLC0415 - imports torch

        models = {item.hash: attempt(item, partial(_tile_forms, tasks, item)) for item in items}
        sound = {key: forms for key, forms in models.items() if isinstance(forms, list)}
        found = sums_on_device(list(sound.values()), engine.device) if sound else []
    found = found or [(np.empty((0, 0)), [])] * len(tasks)
    return [
        _outcomes(task, models, dict(zip(sound, sums, strict=True)), products, pairs)
        for task, (products, sums), pairs in zip(tasks, found, missing, strict=True)
    ]


def _outcomes(
    task: Task,
    models: Mapping[str, Any],
    sums: Mapping[str, TileSums],
    products: np.ndarray,
    missing: Sequence[tuple[Item, Item]],
) -> dict[tuple[str, str], Outcome]:
    """Returns the outcomes of pairs from the sums of models, or from what went wrong with them."""
    items = {item.hash: item for pair in missing for item in pair}
    if not items:
        return {}
    n = next(iter(items.values())).shape[0]
    place = {key: number for number, key in enumerate(sums)}
    centring = CENTRINGS[task.metric.centring]
    sides: dict[str, TileSide | MetricError] = {k: m for k, m in models.items() if k not in sums}
    for key in items.keys() & sums.keys():
        own = sums[key]
        sides[key] = attempt(items[key], partial(TileSide.of, centring, n, own))
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
            return TileModel(Ranks.of(form, steps), cubes=(form.cubes,))
        ranks = Ranks.of(form, Steps(self.shelf.steps(self.item.hash)))
        notes = {"checksum": ranks.steps.checksum, "cubes": form.cubes}
        self.shelf.put(self.item.hash, {}, notes)
        return TileModel(ranks, cubes=(form.cubes,))

    def _known(self) -> TileModel | None:
        found = self.shelf.get(self.item.hash)
        if found is None:
            return None
        _, notes = found
        path = self.shelf.steps(self.item.hash)
        ranks = Ranks.kept(self.item.shape[0], path, notes["checksum"])
        return TileModel(ranks, cubes=(tuple(notes["cubes"]),)) if ranks else None
