"""Alignment: how similar two models are as a whole, from all pairs of their layers.

A reduction makes one value of a layers × layers matrix. The best of many pairs is high by chance
too, so every reduction stands beside the null of the same reduction: the samples of one model are
permuted, all layers together, and everything is done again, the choice of layers included.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from consilience import __version__
from consilience.alignment.layers import (
    REDUCTIONS,
    Forms,
    Parts,
    Reduced,
    align,
    check_paired,
    prepare_layers,
    reduce_layers,
)
from consilience.calibration import Null, calibrate
from consilience.code import code_of
from consilience.errors import DataError, MetricError
from consilience.features import read_layer
from consilience.files import derive_seed, digest, read_table, write_table
from consilience.metrics import METRICS, Metric, Preprocessing, get_metric, metric_code
from consilience.registry import did_you_mean

logger = logging.getLogger(__name__)

RESULT = ["layer_x", "layer_y", "n", "value", "null_mean", "null_sd", "p", "failure"]
COLUMNS = [
    *("dataset", "metric", "model_x", "model_y", "group_x", "group_y", "reduction"),
    *RESULT[:6],
    *("z", "p", "calibrated", "failure"),
]


def pairs_across(
    groups: Mapping[str, str], models: Sequence[str], *, both_orders: bool = False
) -> list[tuple[str, str]]:
    """Returns the pairs of models to align: those whose groups differ; all without groups."""
    ranked = sorted(models, key=lambda model: (groups.get(model, ""), model))
    pairs = [
        (x, y) for x, y in itertools.combinations(ranked, 2) if not groups or groups[x] != groups[y]
    ]
    return pairs + [(y, x) for x, y in pairs] if both_orders else pairs


def alignment_problems(study: Any, columns: Sequence[str]) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Yields (key, problem) for all that is wrong with a study's block `alignment`."""
    settings = study.settings["alignment"]
    wanted, across = settings["metrics"], settings["across"]
    for name in wanted:
        if name not in study.metrics:
            hint = did_you_mean(name, study.metrics)
            yield "alignment.metrics", f"{name!r} is not among the study's metrics{hint}"
            continue
        facts = METRICS[study.metrics[name]["metric"]].class_facts
        if facts.inputs != ("features",):
            yield "alignment.metrics", f"{name!r} does not compare layers; leave it out"
        elif not facts.paired:
            yield "alignment.metrics", f"{name!r} takes each model alone, so no null; leave it out"
    if across and across not in columns:
        yield (
            "alignment.across",
            f"no column {across!r} in the models{did_you_mean(across, columns)}",
        )
    elif wanted:
        groups = {model: row.get(across, "") for model, row in study.models.items() if across}
        if not any(pairs_across(groups, models) for models in study.models_on.values()):
            yield (
                "alignment.across",
                f"no dataset has two models that differ in {across!r}; add models or a dataset of "
                "both kinds (image+text), or set it to null for all pairs",
            )


@dataclass
class _Job:
    """The pairs of one dataset and metric: what they need, and what is known of them."""

    metric: Metric
    preprocessing: Preprocessing
    folder: Path
    layers: Mapping[str, pd.DataFrame]
    parts: Parts
    permutations: int
    key: str
    """Hash of all that decides a pair's rows, besides the features."""
    rows: np.ndarray | None
    """The rows of the files that a view of another dataset consists of; None for all."""
    known: dict[str, list[tuple]] = field(default_factory=dict)

    def load(self, model: str) -> Forms:
        listed = self.layers[model].to_dict("records")
        loads = {r["layer"]: partial(self._features, r["file"], r["layer"]) for r in listed}
        return prepare_layers(self.metric, self.preprocessing, self.parts, loads)

    def _features(self, file: str, layer: str) -> np.ndarray:
        return read_layer(self.folder / file, layer, self.rows)

    def pair_key(self, x: str, y: str) -> str:
        sides = [self.layers[m][["layer", "hash"]].to_dict("list") for m in (x, y)]
        return digest([self.key, *sides])

    def outcome(self, x: str, y: str, forms: Callable[[str], Forms]) -> list[tuple]:
        names = tuple(self.layers[m]["layer"].tolist() for m in (x, y))
        try:
            orders = self.parts.orders(self.permutations)
            found = reduce_layers(self.metric, forms(x), forms(y), names, orders)
        except MetricError as error:
            logger.warning("no alignment of %s and %s: %s", x, y, error)
            n = self.parts.n
            return [(r, None, None, n, None, None, None, None, str(error)) for r in REDUCTIONS]
        return [
            (r.reduction, *(r.layers or (None, None)), r.n, r.value, *_null(r.null), None)
            for r in found
        ]


def _null(null: Null) -> tuple[float, float, float]:
    return null.mean, null.sd, null.p


def make_alignment(  # noqa: PLR0913 - the settings of one job, all but the files by keyword
    manifest: str | Path,
    out: str | Path,
    *,
    dataset: str,
    metric_id: str,
    spec: Mapping[str, Any],
    groups: Mapping[str, str],
    permutations: int,
    seed: int,
    store: str | Path | None = None,
    fresh: bool = False,
    threads: int = 1,
) -> None:
    """Writes results/alignment/{dataset}/{metric}.parquet: one row per pair and reduction.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        out: the table to write.
        dataset: id of the dataset.
        metric_id: id of the metric variant.
        spec: as in `consilience.similarity.make_similarity`.
        groups: {model: group}; pairs of one group are left out. Empty: all pairs.
        permutations: of the samples, for the null.
        seed: of the study.
        store: where finished pairs are kept between runs; it is a cache.
        fresh: compute all pairs again, whatever the store holds.
        threads: how many pairs are computed at a time; none of it changes a value.
    """
    metric = get_metric(spec["metric"], **spec["parameters"])
    check_paired(metric)
    listed = read_table(manifest)
    rows = listed.attrs.pop("rows", None)  # a view's manifest says which rows of the files it has
    layers = dict(iter(listed.groupby("model", sort=True)))
    job = _Job(
        metric,
        Preprocessing(**spec["preprocessing"]),
        Path(manifest).parent,
        layers,
        Parts(int(listed["n"].iloc[0]), derive_seed("alignment", seed, dataset)),
        permutations,
        digest(
            [
                spec["metric"],
                spec["parameters"],
                spec["preprocessing"],
                permutations,
                seed,
                dataset,
                metric_code(metric),
                code_of(__name__),
            ]
        ),
        None if rows is None else np.array(rows, dtype=np.int64),
    )
    pairs = pairs_across(groups, list(layers), both_orders=not metric.facts.symmetric)
    path = Path(store) if store else None
    if path and path.exists() and not fresh:
        _read_store(job, path)
    _fill(job, pairs, path, threads)
    found = [
        (dataset, metric_id, x, y, groups.get(x, ""), groups.get(y, ""), *row)
        for x, y in pairs
        for row in job.known[job.pair_key(x, y)]
    ]
    table = pd.DataFrame(found, columns=[*COLUMNS[:6], "reduction", *RESULT])
    table = calibrate(table.astype(_TYPES), metric.facts)[COLUMNS]
    metadata = {
        "spec": dict(spec),
        "facts": metric.facts.as_dict(),
        "null": {"kind": "monte_carlo", "count": permutations, "seed": seed},
        "halves": {part: len(r) for part, r in job.parts.rows.items() if part != "all"},
        "layers": {model: lines["layer"].tolist() for model, lines in layers.items()},
        "samples_hash": listed["samples_hash"].iloc[0],
        "versions": {"consilience": __version__, "numpy": np.__version__},
    }
    write_table(table, out, metadata)


_TYPES = {
    **dict.fromkeys(("value", "null_mean", "null_sd", "p"), "float64"),
    **dict.fromkeys(("layer_x", "layer_y", "failure"), "string"),
    "n": "int64",
}
_SAVE_SECONDS = 60.0
_HELD = 2**31
"""Bytes that prepared forms may take together, about; those of two models are always held."""


def _fill(job: _Job, pairs: Sequence[tuple[str, str]], store: Path | None, threads: int) -> None:
    """Computes the pairs that the store does not know, and saves them as they come."""
    missing = [(x, y) for x, y in pairs if job.pair_key(x, y) not in job.known]
    logger.info("%d pairs: %d to compute", len(pairs), len(missing))
    if not missing:
        return
    widest = max(int(rows["d"].max()) for rows in job.layers.values())
    largest = job.metric.prepared_bytes(job.parts.n, widest)
    deepest = max(len(rows) for rows in job.layers.values())
    forms = lru_cache(max(2 * threads, _HELD // (2 * largest * deepest)))(job.load)
    saved = time.monotonic()
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        done = pool.map(lambda pair: job.outcome(*pair, forms), missing)
        for (x, y), rows in zip(missing, done, strict=True):
            job.known[job.pair_key(x, y)] = rows
            if time.monotonic() - saved > _SAVE_SECONDS:
                _write_store(job, store)
                saved = time.monotonic()
    _write_store(job, store)


def _read_store(job: _Job, store: Path) -> None:
    try:
        table = read_table(store)
    except DataError as error:
        logger.warning("finished pairs are computed again: %s", error)
        return
    if table.attrs.get("key") != job.key:
        logger.info("the metric, its settings or its code have changed: all pairs are new")
        return
    for key, rows in table.groupby("key", sort=False):
        values = rows[["reduction", *RESULT]].itertuples(index=False)
        job.known[key] = [tuple(None if pd.isna(v) else v for v in row) for row in values]


def _write_store(job: _Job, store: Path | None) -> None:
    if store is not None:
        rows = [(key, *row) for key, found in sorted(job.known.items()) for row in found]
        table = pd.DataFrame(rows, columns=["key", "reduction", *RESULT])
        write_table(table.astype(_TYPES), store, {"key": job.key})


__all__ = [
    "REDUCTIONS",
    "Reduced",
    "align",
    "alignment_problems",
    "make_alignment",
    "pairs_across",
]
