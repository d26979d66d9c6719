"""Sensitivity: what a similarity owes to the number of stimuli and to the size of neighbourhoods.

The same features are compared again on some of their rows, or by the same metric with another k.
Rows are drawn without replacement, since a row that occurs twice is its own nearest neighbour; the
rows of a smaller n are among those of a larger one of the same draw, and all models and metrics see
the same rows. Groups of samples, such as captions of one picture, are drawn whole: as many as have
n rows at most.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.code import code_of
from consilience.errors import ConfigError
from consilience.files import derive_seed, digest, read_table, write_table
from consilience.forms.groups import unit_count, whole_groups
from consilience.metrics import Metric, get_metric, metric_code
from consilience.pairs.matrix import read_similarity
from consilience.similarity import Engine, Item, Task, list_items, similarity_table

logger = logging.getLogger(__name__)

AXES = ("n", "k", "k_share")
COLUMNS = ["axis", "setting", "draw", "model_x", "layer_x", "model_y", "layer_y", "value"]
STABILITY = {
    "dataset": "str",
    "metric": "str",
    "n": "int64",
    "draws": "int64",
    "n_pairs": "int64",
    "lowest": "float64",
    "mean": "float64",
    "bound": "float64",
    "stable": "bool",
    "n_stable": "Int64",
    "status": "str",
}
MIN_PAIRS = 3
"""Fewest model pairs that have a ranking worth the name."""
LARGEST_SHARE = 0.5
"""Most of the largest n that may be stable: what is measured on the rest must agree with it too."""


@dataclass(frozen=True)
class Curves:
    """Which settings are compared."""

    n: tuple[int, ...] = ()
    """Numbers of stimuli; numbers beyond the dataset stand for all of it."""
    k: tuple[int, ...] = ()
    """Neighbours, for metrics with a parameter k; on all stimuli."""
    k_share: tuple[float, ...] = ()
    """The same as shares of the stimuli."""
    draws: int = 3
    """Draws of stimuli for each n below all."""

    def __post_init__(self) -> None:
        bad = [n for n in (*self.n, *self.k) if n < 1] + [s for s in self.k_share if not 0 < s < 1]
        if bad or self.draws < 1:
            raise ConfigError(
                f"sensitivity: {bad or self.draws} cannot be used; n, k and draws are whole "
                "numbers from 1, k_share lies between 0 and 1"
            )


@dataclass(frozen=True)
class _Point:
    """One setting of one axis."""

    axis: str
    setting: float
    draw: int
    metric: Metric
    rows: np.ndarray | None = None
    """The rows that count; all if None."""


def measure_sensitivity(
    task: Task,
    items: Sequence[Item],
    curves: Curves,
    *,
    salt: Sequence[str | int] = (),
    engine: Engine | None = None,
) -> pd.DataFrame:
    """Returns the similarities of all pairs at every setting.

    Args:
        task: the metric as it stands, and what is done before it.
        items: the layers to compare.
        curves: the settings.
        salt: what the draws depend on, such as the study seed and the dataset.
        engine: threads and memory.

    Returns:
        The columns of `COLUMNS`; `value` is missing where the metric is not defined, such as for
        k neighbours among k samples. An n of all stimuli has one draw, and a k-curve too.
    """
    size, tables = items[0].shape[0], []
    for point in _points(task.metric, curves, size, salt, task.groups):
        chosen, on = items, replace(task, metric=point.metric)
        if point.rows is not None:
            mark = f" n={len(point.rows)} draw={point.draw}"
            chosen = [item.subset(point.rows, mark) for item in items]
            on = on.subset(point.rows)
        table = similarity_table(on, chosen, engine)
        if failed := int(table["value"].isna().sum()):
            reason = table["failure"].dropna().iloc[0]
            logger.warning(
                "%s = %g: %d pairs have no value: %s", point.axis, point.setting, failed, reason
            )
        place = {"axis": point.axis, "setting": float(point.setting), "draw": point.draw}
        tables.append(table.assign(**place)[COLUMNS])
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(tables, ignore_index=True)


def draw_rows(
    size: int, n: int, salt: Sequence[str | int], draw: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Returns n of `size` rows in their order; those of a smaller n are among them.

    Groups are kept whole: their rows are n at most, but one group at least.
    """
    generator = np.random.default_rng(derive_seed(*salt, "sensitivity", draw))
    order = generator.permutation(unit_count(groups, size))
    if groups is None:
        return np.sort(order[:n])
    ends = np.bincount(groups)[order].cumsum()
    return whole_groups(groups, order[: max(1, np.searchsorted(ends, n, side="right"))])


def _points(
    metric: Metric,
    curves: Curves,
    size: int,
    salt: Sequence[str | int],
    groups: np.ndarray | None,
) -> Iterator[_Point]:
    sizes = sorted({min(n, size) for n in curves.n})
    for n in sizes:
        for draw in range(curves.draws if n < size else 1):
            rows = draw_rows(size, n, salt, draw, groups) if n < size else None
            yield _Point("n", n, draw, metric, rows)
    if "k" not in metric.parameters:
        return
    for axis, settings in (("k", curves.k), ("k_share", curves.k_share)):
        for setting in sorted(set(settings)):
            try:
                changed = get_metric(metric.facts.name, **{**metric.parameters, "k": setting})
            except ConfigError as error:
                logger.info("no k-curve at %s: %s", setting, error)
                continue
            yield _Point(axis, setting, 0, changed)


def make_sensitivity(  # noqa: PLR0913 - all but the files by name
    manifest: str | Path,
    out: str | Path,
    *,
    dataset: str,
    metric_id: str,
    spec: Mapping[str, Any],
    curves: Curves,
    seed: int = 0,
    samples: str | Path | None = None,
    engine: Engine | None = None,
) -> None:
    """Writes results/sensitivity/{dataset}/{metric}.parquet: curves of all model pairs.

    They are of the last layers, or of the logits for metrics that compare logits.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        out: the table to write: `dataset, metric` and the columns of `COLUMNS`.
        dataset: id of the dataset.
        metric_id: id of the metric variant.
        spec: its metric, parameters and preprocessing.
        curves: the settings.
        seed: the study seed.
        samples: samples/{dataset}.parquet, for metrics that need labels.
        engine: threads and memory.

    Raises:
        DataError: no labels, and the metric needs them.
        FeaturesError: a model has no logits, and the metric compares them.
    """
    engine = engine or Engine()
    listing = list_items(
        manifest,
        {**spec, "layers": "last"},
        dataset=dataset,
        metric_id=metric_id,
        samples=samples,
        keep=engine.max_memory,
    )
    table = measure_sensitivity(
        listing.task, listing.items, curves, salt=(seed, dataset), engine=engine
    )
    table.insert(0, "dataset", dataset)
    table.insert(1, "metric", metric_id)
    metadata = {
        "spec": listing.spec,
        "facts": listing.task.metric.facts.as_dict(),
        "code": digest([metric_code(listing.task.metric), code_of(__name__)]),
        "device": listing.task.device_kind(engine.device, listing.n),
        "seed": seed,
        "n": listing.n,
        "samples_hash": listing.samples_hash,
        **listing.task.groups_given,
    }
    types = {"setting": "float64", "draw": "int64", "value": "float64"}
    write_table(table.astype(types), out, metadata)


def make_stability(paths: Sequence[str | Path], out: str | Path, *, bound: float = 0.95) -> None:
    """Writes results/sensitivity/stability.parquet: `stability` of all tables.

    Args:
        paths: results/sensitivity/{dataset}/{metric}.parquet.
        out: the table to write.
        bound: what counts as the same ranking.
    """
    tables = [stability(read_table(path), bound) for path in paths]
    table = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    write_table(table.astype(STABILITY), out, {"bound": bound})


def stability(table: pd.DataFrame, bound: float = 0.95) -> pd.DataFrame:
    """Returns from which number of stimuli on the ranking of the model pairs stays as it is.

    For every n: Spearman's correlation over the model pairs between the values of one draw at n and
    of one draw at the largest n, N, for every two draws. An n is stable if the lowest of them is at
    least `bound`, and so it is for every larger n below N. `n_stable` is the smallest stable n.
    Where the largest n is all of a dataset it has one draw.

    The draws share stimuli, and n of the same N agree by about n/N even if all differences between
    models are noise: 90 % of the stimuli rank as all of them do, whatever they rank. So no n above
    N/2 is called stable, and none whose agreement overlap alone would give in one of twenty cases
    (Fisher's z around n/N; of three pairs always). `status` says why there is no `n_stable`.

    Args:
        table: one metric on one dataset, as `make_sensitivity` writes it.
        bound: what counts as the same ranking.

    Returns:
        One row per n with the columns of `STABILITY`; `n_pairs` counts the pairs in the ranking.
    """
    values = {key: _ranked(part) for key, part in _draws(table)}
    if not values:
        return pd.DataFrame(columns=list(STABILITY))
    largest = max(n for n, _ in values)
    references = [value for (n, _), value in values.items() if n == largest]
    rows = []
    for n in sorted({n for n, _ in values}):
        own = [value for (m, _), value in values.items() if m == n]
        found = np.array([_agreement(x, y) for x in own for y in references])
        pairs = min(int(np.isfinite(x).sum()) for x in own)
        rows.append((n, len(own), pairs, found.min(), found.mean()))
    result = pd.DataFrame(rows, columns=["n", "draws", "n_pairs", "lowest", "mean"])
    fine = ((result["lowest"] >= bound) | (result["n"] == largest))[::-1].cummin()[::-1]
    asked = result["n"] <= LARGEST_SHARE * largest
    fine &= asked & (result["lowest"] > _by_overlap(result["n"] / largest, result["n_pairs"]))
    found = result.loc[fine, "n"].min() if fine.any() else pd.NA
    ends = {"dataset": table["dataset"].iloc[0], "metric": table["metric"].iloc[0]}
    status = "ok" if fine.any() else _why_not(result[asked], largest)
    result = result.assign(**ends, bound=bound, stable=fine, n_stable=found, status=status)
    return result[list(STABILITY)].astype(STABILITY)


def _by_overlap(share: pd.Series, pairs: pd.Series) -> pd.Series:
    """Returns what agreement of noise exceeds in one of twenty cases, where stimuli are shared.

    Args:
        share: of the stimuli of one side that the other has too, below 1 where it counts.
        pairs: of models in the ranking.
    """
    error = 1 / np.sqrt((pairs - 3).clip(lower=0).where(pairs > 3, 1e-12))
    return np.tanh(np.arctanh(share.clip(upper=LARGEST_SHARE)) + 1.645 * error)


def _why_not(asked: pd.DataFrame, largest: int) -> str:
    """Returns why no n is stable, from the rows of those that could be."""
    if asked.empty:
        return (
            f"no n up to half of the largest, {largest}: larger ones agree with it by the stimuli "
            "that they share; add smaller ones to sensitivity.n"
        )
    if asked["n_pairs"].max() <= MIN_PAIRS:
        count = asked["n_pairs"].max()
        return f"{count} pairs of models are too few to tell a ranking from chance"
    return (
        f"at no n up to half of the largest, {largest}, does the ranking agree with it by the "
        "bound and by more than the stimuli that they share explain"
    )


def _draws(table: pd.DataFrame) -> Iterator[tuple[tuple[int, int], pd.DataFrame]]:
    chosen = table[table["axis"] == "n"]
    for (n, draw), part in chosen.groupby(["setting", "draw"], sort=True):
        yield (int(n), int(draw)), part


def _ranked(part: pd.DataFrame) -> np.ndarray:
    """Returns one value per unordered pair of models, NaN where it failed."""
    matrix = read_similarity(part, str(part["dataset"].iloc[0]), None).matrix
    return matrix[np.triu_indices(len(matrix), k=1)]


def _agreement(x: np.ndarray, y: np.ndarray) -> float:
    """Returns Spearman's correlation over the pairs that both have; NaN if there is none."""
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < MIN_PAIRS:
        return np.nan
    u, v = (pd.Series(side[both]).rank().to_numpy() for side in (x, y))
    if np.ptp(u) == 0 or np.ptp(v) == 0:
        return np.nan
    return float(np.corrcoef(u, v)[0, 1])
