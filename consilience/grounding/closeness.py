"""How close models, or layers of one model, are by one metric on one dataset."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from consilience.layers import last_layers
from consilience.pairs.correlations import Floats
from consilience.pairs.matrix import read_similarity


class Closeness:
    """A similarity table as closeness: the value, negated where smaller is more similar.

    Args:
        table: of one metric on one dataset, with its metadata.
        dataset: its name, for messages.
    """

    def __init__(self, table: pd.DataFrame, dataset: str) -> None:
        self._table = table
        self._sign = 1.0 if table.attrs["facts"]["larger_is_more_similar"] else -1.0
        self._similarity = read_similarity(table, dataset, last_layers(table))
        self._layers: Mapping[str, Sequence[str]] = table.attrs["layers"]

    def models(self, models: Sequence[str]) -> Floats:
        """Returns (m, m) closeness of the last layers of models; both orders' mean, NaN: failed."""
        known = [model for model in models if model in self._similarity.models]
        found = np.full((len(models), len(models)), np.nan)
        place = [models.index(model) for model in known]
        found[np.ix_(place, place)] = self._sign * self._similarity.among(known)
        return found

    def layers(self, model: str) -> Floats:
        """Returns (L, L) closeness of the layers of one model, in their order; NaN: failed."""
        names = list(self._layers.get(model, ()))
        found = np.full((len(names), len(names)), np.nan)
        table = self._table
        own = table[(table["model_x"] == model) & (table["model_y"] == model)]
        place = pd.Index(names)
        i, j = (place.get_indexer(own[f"layer_{side}"]) for side in "xy")
        kept = (i >= 0) & (j >= 0) & (i != j)
        values = self._sign * own["value"].to_numpy(float, na_value=np.nan)
        found[i[kept], j[kept]] = values[kept]
        given = np.zeros(found.shape, dtype=bool)
        given[i[kept], j[kept]] = True
        both = given & given.T
        return np.where(both, (found + found.T) / 2, np.where(given, found, found.T))
