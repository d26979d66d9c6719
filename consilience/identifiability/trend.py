"""Whether wider models are closer: means over the pairs of each width, and the slope over widths.

Pairs share models, so intervals resample models and not pairs.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from consilience.files import read_table, table_digest, write_table
from consilience.pairs.draws import Draws

logger = logging.getLogger(__name__)

MEASURES = ("d_llv", "d_fg", "m_cca_f")
GROUP = ["dataset", "architecture", "classes", "dimension"]
TREND = {
    "dataset": "str",
    "architecture": "str",
    "classes": "int64",
    "dimension": "int64",
    "measure": "str",
    "statistic": "str",
    "width": "float64",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n_models": "int64",
    "n_pairs": "int64",
    "status": "string",
}
"""Columns of the table, with their types."""


class Width(NamedTuple):
    """The pairs of accurate models of one width."""

    width: float
    models: tuple[str, ...]
    pairs: pd.DataFrame
    weights: np.ndarray
    """(pairs, replicates) how often each is drawn."""

    def mean(self, measure: str) -> tuple[float, np.ndarray]:
        """Returns the mean and that of each replicate; missing where no pair was drawn."""
        values, weights = self._known(measure)
        with np.errstate(invalid="ignore"):
            return float(values.mean()), values @ weights / weights.sum(axis=0)

    def median(self, measure: str) -> tuple[float, np.ndarray]:
        """Returns the median and that of each replicate; missing where no pair was drawn."""
        values, weights = self._known(measure)
        order = np.argsort(values)
        values, below = values[order], weights[order].cumsum(axis=0)
        half = below[-1] / 2
        places = [(below < half).sum(axis=0), (below <= half).sum(axis=0)]
        middle = sum(values[np.minimum(place, len(values) - 1)] for place in places) / 2
        return float(np.median(values)), np.where(half > 0, middle, np.nan)

    def _known(self, measure: str) -> tuple[np.ndarray, np.ndarray]:
        values = self.pairs[measure].to_numpy(float)
        known = np.isfinite(values)
        return values[known], self.weights[known]


def trend(
    table: pd.DataFrame,
    *,
    min_accuracy: float = 0.9,
    min_models: int = 3,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns mean and median over the pairs of each width, and the slope on its logarithm.

    A pair counts if both its models have the width and an accuracy of `min_accuracy` or more; no
    pair is left out for its value. The slope is that of the least-squares line of the means on
    log₂ width. Intervals are 95 % percentile intervals over resamples of the models, of each
    width by itself; resamples without a pair of some width say nothing.

    Args:
        table: rows of results/identifiability, of one or more datasets.
        min_accuracy: on the dataset.
        min_models: widths with fewer accurate models are listed without a value.
        bootstrap: number of resamples.
        seed: study seed.

    Returns:
        One row per measure, width and statistic (`mean`, `median`), and one `slope` per measure,
        with the columns of `TREND`; where `value` is missing, `status` says why.
    """
    draws, rows = Draws(seed, bootstrap, 0), []
    for key, group in table.groupby(GROUP, sort=True):
        names = dict(zip(GROUP, key, strict=True))
        widths, left_out = [], []
        for width, pairs in group[group["width_x"] == group["width_y"]].groupby("width_x"):
            found = _accurate(float(width), pairs, min_accuracy, draws)
            few = len(found.models) < min_models
            (left_out if few else widths).append(found)
        rows += [{**names, **row} for row in _too_few(left_out, min_models, min_accuracy)]
        for measure in MEASURES:
            rows += [{**names, "measure": measure, **row} for row in _of(widths, measure)]
    found = pd.DataFrame(rows, columns=list(TREND)).astype(TREND)
    return found.sort_values([*GROUP, "measure", "statistic", "width"], ignore_index=True)


def _accurate(width: float, pairs: pd.DataFrame, least: float, draws: Draws) -> Width:
    accuracy = {
        model: value
        for side in "xy"
        for model, value in zip(pairs[f"model_{side}"], pairs[f"accuracy_{side}"], strict=True)
    }
    models = tuple(sorted(model for model, value in accuracy.items() if value >= least))
    pairs = pairs[pairs["model_x"].isin(models) & pairs["model_y"].isin(models)]
    place = pd.Index(models)
    i, j = (place.get_indexer(pairs[f"model_{side}"]) for side in "xy")
    counts = draws.counts([models]) if models else np.zeros((0, draws.replicates))
    return Width(width, models, pairs, counts[i] * counts[j])


def _too_few(widths: Sequence[Width], fewest: int, accuracy: float) -> Iterator[dict[str, Any]]:
    for found in widths:
        status = f"{len(found.models)} of at least {fewest} models reach the accuracy {accuracy}"
        for measure in MEASURES:
            for statistic in ("mean", "median"):
                named = {"measure": measure, "statistic": statistic, "width": found.width}
                yield named | _counts([found]) | {"status": status}


def _counts(widths: Sequence[Width]) -> dict[str, int]:
    return {
        "n_models": sum(len(found.models) for found in widths),
        "n_pairs": sum(len(found.pairs) for found in widths),
    }


def _of(widths: Sequence[Width], measure: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of one measure: every width's, and the slope."""
    known = [found for found in widths if found.pairs[measure].notna().any()]
    for found in widths:
        for statistic in ("mean", "median"):
            named = {"statistic": statistic, "width": found.width, **_counts([found])}
            if found in known:
                yield named | _interval(*getattr(found, statistic)(measure))
            else:
                yield named | {"status": "no pair of this width has a value"}
    if not widths:
        return
    named = {"statistic": "slope", "width": np.nan, **_counts(known)}
    if len(known) < 2:
        yield named | {"status": "a slope needs at least 2 widths with values"}
        return
    x = np.log2([found.width for found in known])
    x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    means = [found.mean(measure) for found in known]
    drawn = x @ np.stack([replicates for _, replicates in means])
    yield named | _interval(float(x @ np.array([value for value, _ in means])), drawn)


def _interval(value: float, drawn: np.ndarray) -> dict[str, Any]:
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return {"value": value, "low": low, "high": high, "status": "ok"}


def make_trend(paths: Sequence[str | Path], out: str | Path, **settings: Any) -> None:  # noqa: ANN401
    """Writes results/identifiability/trend/widths.parquet.

    Args:
        paths: results/identifiability/{dataset}.parquet of all datasets.
        out: the table to write.
        **settings: keyword arguments of `trend`.
    """
    tables: Mapping[str, pd.DataFrame] = {Path(path).stem: read_table(path) for path in paths}
    hashes = {dataset: table_digest(path) for dataset, path in zip(tables, paths, strict=True)}
    together = pd.concat([part.assign(dataset=name) for name, part in tables.items()])
    write_table(trend(together, **settings), out, {"settings": settings, "pairs": hashes})
