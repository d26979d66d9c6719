"""From similarity tables to one number per model pair, and the model sets to compare."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

from consilience.errors import ConfigError, DataError
from consilience.pairs.correlations import Floats
from consilience.pairs.inference import PairSet
from consilience.registry import did_you_mean

COLUMNS = ("metric", "model_x", "layer_x", "model_y", "layer_y", "value")

ALL = "all"
"""Grouping and group of the set of all models."""
SET = "set"
"""Grouping of the named sets."""
ANCHOR = "anchor"
"""Grouping of one model against all others, or against those of a group (`column=value`)."""


@dataclass(frozen=True)
class Similarity:
    """One number per unordered pair of models on one dataset.

    Attributes:
        models: (m,) ids in alphabetical order.
        matrix: (m, m) symmetric, NaN on the diagonal and where a pair failed.
    """

    models: tuple[str, ...]
    matrix: Floats

    def among(self, models: Sequence[str]) -> Floats:
        """Returns the rows and columns of these models."""
        where = {model: position for position, model in enumerate(self.models)}
        chosen = [where[model] for model in models]
        return self.matrix[np.ix_(chosen, chosen)]


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


def read_similarity(
    table: pd.DataFrame, dataset: str, layers: Mapping[str, str] | None
) -> Similarity:
    """Reduces a similarity table to one value per unordered pair of different models.

    Rows of other layers and self pairs are left out. Where both directions of a pair are present
    (asymmetric metrics) the value is their mean; if either failed, the pair failed.

    Args:
        table: long similarity table of one metric on one dataset.
        dataset: its name, for messages.
        layers: {model: layer}; a model with one layer in the table needs no entry.

    Raises:
        DataError: a column is missing, a pair occurs twice, a value is infinite, or a model has
            several layers and none of them is chosen.
    """
    if missing := [column for column in COLUMNS if column not in table.columns]:
        raise DataError(
            f"the similarity table of dataset {dataset!r} has no column {', '.join(missing)}; "
            "delete the file and run snakemake again"
        )
    chosen = _chosen_layers(table, dataset, layers or {})
    keep = (table["layer_x"] == table["model_x"].map(chosen)) & (
        table["layer_y"] == table["model_y"].map(chosen)
    )
    rows = table[keep]
    models = tuple(sorted(chosen))
    directed = _directed(rows, models, dataset)
    present = np.zeros(directed.shape, dtype=bool)
    i, j = (pd.Index(models).get_indexer(rows[column]) for column in ("model_x", "model_y"))
    present[i, j] = True
    only_here = present & ~present.T
    values = np.where(only_here, directed, np.where(only_here.T, directed.T, 0.0))
    both = present & present.T
    values = np.where(both, (directed + directed.T) / 2, values)
    values[~(present | present.T)] = np.nan
    np.fill_diagonal(values, np.nan)
    return Similarity(models, values)


def _directed(rows: pd.DataFrame, models: Sequence[str], dataset: str) -> Floats:
    """Returns (m, m) values as they stand: row model_x, column model_y."""
    twice = rows.duplicated(["model_x", "model_y"])
    if twice.any():
        pair = rows.loc[twice, ["model_x", "model_y"]].iloc[0].tolist()
        raise DataError(
            f"dataset {dataset!r} has more than one row for the models {pair[0]!r} and "
            f"{pair[1]!r}; delete its similarity file and run snakemake again"
        )
    value = rows["value"].to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(value).any():
        pair = rows.loc[np.isinf(value), ["model_x", "model_y"]].iloc[0].tolist()
        raise DataError(
            f"dataset {dataset!r}: the similarity of {pair[0]!r} and {pair[1]!r} is infinite; "
            "a metric must record such a pair as failed"
        )
    index = pd.Index(models)
    square = np.full((len(models), len(models)), np.nan)
    square[index.get_indexer(rows["model_x"]), index.get_indexer(rows["model_y"])] = value
    return square


def _chosen_layers(table: pd.DataFrame, dataset: str, layers: Mapping[str, str]) -> dict[str, str]:
    """Returns {model: layer} for every model of the table."""
    sides = [
        table[[f"model_{side}", f"layer_{side}"]].set_axis(["model", "layer"], axis=1)
        for side in "xy"
    ]
    found = pd.concat(sides).drop_duplicates().groupby("model", sort=True)["layer"].agg(list)
    chosen = {}
    for model, known in found.items():
        layer = known[0] if len(known) == 1 else layers.get(model)
        if layer is None:
            raise DataError(
                f"model {model!r} has {len(known)} layers on dataset {dataset!r} and none is "
                f"chosen; pass layers={{{model!r}: …}}, one of {', '.join(sorted(known))}"
            )
        if layer not in known:
            raise DataError(
                f"model {model!r} has no layer {layer!r} on dataset {dataset!r}"
                f"{did_you_mean(layer, known)}"
            )
        chosen[model] = layer
    return chosen


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
        where = pd.Index(similarity.models).get_indexer(models)
        here = (where[first] >= 0) & (where[second] >= 0)
        row[here] = similarity.matrix[where[first[here]], where[second[here]]]
    return values
