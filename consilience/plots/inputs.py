"""What the figures of a study are drawn from: its result files, read once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from consilience.files import read_table
from consilience.layers import last_layers
from consilience.plots.style import MetricAxis


@dataclass(frozen=True)
class Inputs:
    """Similarity tables of one metric by dataset, and the metadata of all models of the study.

    Metadata of all models, also where fewer are drawn, give a group the same colour everywhere.
    """

    tables: dict[str, pd.DataFrame]
    models: pd.DataFrame
    label: str

    @cached_property
    def axis(self) -> MetricAxis:
        """The metric's name, bounds and direction, from the facts in its tables."""
        return read_axis(self.tables, self.label)

    @cached_property
    def layers(self) -> dict[str, str]:
        """The last layer of each model."""
        return {m: layer for t in self.tables.values() for m, layer in last_layers(t).items()}


def read_inputs(
    paths: Iterable[str | Path],
    models: Mapping[str, Mapping[str, str]],
    label: str,
    only: Sequence[str] | None = None,
) -> Inputs:
    """Returns the similarity tables of one metric.

    Args:
        paths: results/similarity/{dataset}/{metric}.parquet.
        models: {model: {column: value}} of the study.
        label: the metric's name for the reader.
        only: the models to draw, if not all.
    """
    drawn = models if only is None else only
    tables = {}
    for path in paths:
        table = read_table(path)
        kept = table[table["model_x"].isin(drawn) & table["model_y"].isin(drawn)]
        kept.attrs = table.attrs
        if len(kept):
            tables[str(table["dataset"].iloc[0])] = kept
    return Inputs(tables, read_models(models), label)


def read_metrics(
    paths: Iterable[str | Path],
    models: Mapping[str, Mapping[str, str]],
    labels: Mapping[str, str],
) -> dict[str, Inputs]:
    """Returns the similarity tables of several metrics, in the order of `labels`.

    Args:
        paths: results/similarity/{dataset}/{metric}.parquet.
        models: {model: {column: value}} of the study.
        labels: {metric: name for the reader}.
    """
    paths = list(map(Path, paths))
    return {
        metric: read_inputs([path for path in paths if path.stem == metric], models, label)
        for metric, label in labels.items()
    }


def read_models(models: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Returns the metadata of the study's models, indexed by their ids."""
    return pd.DataFrame(list(models.values()), index=list(models))


def read_axis(tables: Mapping[str, pd.DataFrame], label: str) -> MetricAxis:
    """Returns the metric's name, bounds and direction, from the facts in its tables."""
    facts = next(iter(tables.values())).attrs["facts"]
    low, high = facts["bounds"]
    bounds = (-np.inf if low is None else low, np.inf if high is None else high)
    return MetricAxis(label, bounds, facts["larger_is_more_similar"])


def read_tables(paths: Iterable[str | Path]) -> dict[str, pd.DataFrame]:
    """Returns {dataset: table}; the dataset is the folder of the file."""
    return {Path(path).parent.name: read_table(path) for path in paths}


def read_rows(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Returns the rows of all tables, in the order of the paths."""
    return pd.concat([read_table(path) for path in paths], ignore_index=True)
