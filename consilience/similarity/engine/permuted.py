"""The null of the tiled pass where samples come in groups: whole groups permuted, and all again.

The closed form permutes single samples, which are not exchangeable there. A permuted model is one
whose rows stand in another order, so each permutation is a pass over all models and their permuted
selves; nothing of it depends on what else a table holds.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from consilience.forms.tiles import TileForm, TileSums
from consilience.similarity.engine.tiles import Ranks, TileModel, tiled_sums
from consilience.similarity.shelf import Steps
from consilience.similarity.task import Task, TileSide

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


def sums_of(
    models: Sequence[Forms], pool: Executor, device: str, groups: np.ndarray | None
) -> Sums:
    """Returns the sums of models from their forms, kept in memory."""
    if device != "cpu":
        from consilience.similarity.engine.device import sums_on_device  # noqa: PLC0415 - imports torch

        return sums_on_device(models, device, groups)
    made = [
        TileModel(Ranks.of(forms[0], Steps(None), groups))
        if forms[0].ranked
        else TileModel.of(forms)
        for forms in models
    ]
    return tiled_sums(len(models[0][0].rows), made, pool, groups)


def permuted_values(
    tasks: Sequence[Task],
    forms: Mapping[str, Forms],
    pairs: Sequence[Sequence[tuple[str, str]]],
    sides: Sequence[Mapping[str, TileSide]],
    pool: Executor,
    device: str,
) -> list[dict[tuple[str, str], np.ndarray]]:
    """Returns for each task {pair: (K,) values with the samples of its second model permuted}.

    Args:
        tasks: with one null of K permutations and the same groups.
        forms: of all models, by content hash.
        pairs: for each task the hashes of both models.
        sides: for each task what is known of each model.
        pool: shares the work.
        device: where the pass computes.
    """
    names = list(forms)
    n, place = len(forms[names[0]][0].rows), {name: i for i, name in enumerate(names)}
    orders = tasks[0].permutations.orders(n, tasks[0].groups)
    found = [{pair: np.empty(len(orders)) for pair in own} for own in pairs]
    for k, order in enumerate(orders):
        models = [*forms.values(), *(in_order(forms[name], order) for name in names)]
        sums = sums_of(models, pool, device, tasks[0].apart)
        for task, own, known, (products, moved) in zip(tasks, found, sides, sums, strict=True):
            for (x, y), draws in own.items():
                there = len(names) + place[y]
                b = replace(known[y], sums=moved[there])
                draws[k] = task.tiled_value(n, products[place[x], there], known[x], b)
    return found
