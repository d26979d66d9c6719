"""The sets of models to measure: all, groups, named ones, one against others; and their pairs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

from consilience.errors import ConfigError, DataError
from consilience.pairs.correlations import Floats
from consilience.pairs.inference import PairSet
from consilience.pairs.matrix import Similarity
from consilience.registry import did_you_mean

ALL = "all"
"""Grouping and group of the set of all models."""
SET = "set"
"""Grouping of the named sets."""
ANCHOR = "anchor"
"""Grouping of one model against all others, or against those of a group (`column=value`)."""


@dataclass(frozen=True)
class ModelSet:
    """One model set to measure: all models, one group, or two groups.

    Attributes:
        grouping: the metadata column, `all`, `set` or `anchor`.
        group_x: its value for one model of each pair; the name of the set; the anchor.
        group_y: its value for the other model; equal to `group_x` within a group. For an anchor
            `all`, or `column=value`.
        members: the models, one tuple within a group, two between groups.
    """

    grouping: str
    group_x: str
    group_y: str
    members: tuple[tuple[str, ...], ...]


def model_sets(
    models: Sequence[str],
    table: pd.DataFrame,
    groups: Sequence[str],
    named: Mapping[str, Sequence[str]] | None = None,
    anchors: Sequence[str] = (),
) -> list[ModelSet]:
    """Returns the model sets to measure.

    The set of all models; every unordered pair of values of every grouping; every named set, and
    every two of them that share no model; every anchor against all others, and against the models
    of every value of every grouping.

    Args:
        models: ids of the models at hand.
        table: metadata, indexed by model id; a model with an empty cell is in no group.
        groups: metadata columns.
        named: {name: models}.
        anchors: ids of models.

    Raises:
        ConfigError: a grouping is not a column of the table, or an anchor not a model of it.
        DataError: a model is not in the table.
    """
    if unknown := sorted(set(models) - set(table.index)):
        raise DataError(
            f"the similarity tables hold models that the models table lacks: {', '.join(unknown)}"
        )
    models = sorted(models)
    sets = [ModelSet(ALL, ALL, ALL, (tuple(models),))]
    members: dict[str, dict[str, list[str]]] = {}
    for grouping in groups:
        if grouping not in table.columns:
            raise ConfigError(
                f"consistency: groups: the models table has no column {grouping!r}"
                f"{did_you_mean(grouping, map(str, table.columns))}"
            )
        members[grouping] = _members(models, table[grouping])
        sets.extend(_pairs_of_sets(grouping, members[grouping]))
    chosen = {name: [m for m in models if m in set(ids)] for name, ids in (named or {}).items()}
    sets.extend(_pairs_of_sets(SET, chosen))
    for anchor in anchors:
        if anchor not in table.index:
            hint = did_you_mean(anchor, map(str, table.index))
            raise ConfigError(f"consistency: anchors: {anchor!r} is not a model that counts{hint}")
        sets.extend(_sets_of_anchor(anchor, models, members))
    return sets


def _members(models: Sequence[str], labels: pd.Series) -> dict[str, list[str]]:
    """Returns the models of each value of a grouping."""
    members: dict[str, list[str]] = {}
    for model in models:
        label = labels[model]
        if not pd.isna(label) and str(label):
            members.setdefault(str(label), []).append(model)
    return members


def _pairs_of_sets(grouping: str, members: Mapping[str, Sequence[str]]) -> Iterator[ModelSet]:
    for x, y in combinations_with_replacement(sorted(members), 2):
        if x == y:
            yield ModelSet(grouping, x, x, (tuple(members[x]),))
        elif not set(members[x]) & set(members[y]):
            yield ModelSet(grouping, x, y, (tuple(members[x]), tuple(members[y])))


def _sets_of_anchor(
    anchor: str, models: Sequence[str], members: Mapping[str, Mapping[str, Sequence[str]]]
) -> Iterator[ModelSet]:
    others = {ALL: models}
    for grouping, values in members.items():
        others |= {f"{grouping}={value}": found for value, found in sorted(values.items())}
    for name, found in others.items():
        side = tuple(model for model in found if model != anchor)
        yield ModelSet(ANCHOR, anchor, name, ((anchor,), side))


def pair_positions(sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of both models of all pairs within one set or between two."""
    if len(sizes) == 1:
        return np.triu_indices(sizes[0], k=1)
    first = np.repeat(np.arange(sizes[0]), sizes[1])
    return first, np.tile(np.arange(sizes[0], sum(sizes)), sizes[0])


def pair_set(x: Similarity, y: Similarity, chosen: ModelSet) -> PairSet:
    """Returns the pairs of a model set over the models that both datasets have."""
    common = set(x.models) & set(y.models)
    members = [[model for model in side if model in common] for side in chosen.members]
    models = [model for side in members for model in side]
    sizes = tuple(map(len, members))
    first, second = pair_positions(sizes)
    return PairSet(
        x.among(models)[first, second], y.among(models)[first, second], first, second, sizes
    )


def pair_values(similarities: Sequence[Similarity], chosen: ModelSet) -> Floats:
    """Returns (d, p) values of all pairs of a model set; NaN where a dataset lacks a model."""
    models = [model for side in chosen.members for model in side]
    first, second = pair_positions(tuple(map(len, chosen.members)))
    values = np.full((len(similarities), len(first)), np.nan)
    for row, similarity in zip(values, similarities, strict=True):
        known = {model: place for place, model in enumerate(similarity.models)}
        where = np.array([known.get(model, -1) for model in models], dtype=np.intp)
        here = (where[first] >= 0) & (where[second] >= 0)
        row[here] = similarity.matrix[where[first[here]], where[second[here]]]
    return values
