"""From a similarity table to one number per pair of models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.pairs.correlations import Floats, Ints
from consilience.registry import did_you_mean

COLUMNS = ("metric", "model_x", "layer_x", "model_y", "layer_y", "value")


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
    rows = table
    for side in "xy":  # columns as lists: text columns are slow, and this is read for every half
        sides = zip(rows[f"model_{side}"].tolist(), rows[f"layer_{side}"].tolist(), strict=True)
        kept = [chosen[model] == layer for model, layer in sides]
        rows = rows if all(kept) else rows[kept]
    models = tuple(sorted(chosen))
    place = {model: number for number, model in enumerate(models)}
    i, j = (
        np.array([place[model] for model in rows[column].tolist()], dtype=np.intp)
        for column in ("model_x", "model_y")
    )
    directed = _directed(rows, (i, j), len(models), dataset)
    present = np.zeros(directed.shape, dtype=bool)
    present[i, j] = True
    only_here = present & ~present.T
    values = np.where(only_here, directed, np.where(only_here.T, directed.T, 0.0))
    both = present & present.T
    values = np.where(both, (directed + directed.T) / 2, values)
    values[~(present | present.T)] = np.nan
    np.fill_diagonal(values, np.nan)
    return Similarity(models, values)


def _directed(rows: pd.DataFrame, ends: tuple[Ints, Ints], m: int, dataset: str) -> Floats:
    """Returns (m, m) values as they stand: row model_x, column model_y, at these places."""
    if len(np.unique(ends[0] * m + ends[1])) < len(rows):
        twice = rows.duplicated(["model_x", "model_y"])
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
    square = np.full((m, m), np.nan)
    square[ends] = value
    return square


def _chosen_layers(table: pd.DataFrame, dataset: str, layers: Mapping[str, str]) -> dict[str, str]:
    """Returns {model: layer} for every model of the table."""
    found: dict[str, dict[str, None]] = {}
    for side in "xy":
        cells = zip(table[f"model_{side}"].tolist(), table[f"layer_{side}"].tolist(), strict=True)
        for model, layer in dict.fromkeys(cells):
            found.setdefault(model, {})[layer] = None
    chosen = {}
    for model, layers_of in sorted(found.items()):
        known = list(layers_of)
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
