"""The alignment table of one dataset and metric, as the workflow makes it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from consilience import __version__
from consilience.alignment.across import pairs_across
from consilience.alignment.layers import (
    REDUCTIONS,
    LayerForms,
    LayerSplit,
    Reduced,
    check_paired,
    prepare_layers,
    reduce_layers,
)
from consilience.calibration import NULL, Permutations, calibrate
from consilience.errors import MetricError
from consilience.files import derive_seed, digest, write_table
from consilience.forms.groups import subset
from consilience.metrics import Metric, Preprocessing, metric_of, without_file
from consilience.similarity.engine.blocks import ByPairs, fill_by_pairs, missing_pairs
from consilience.similarity.items import Listing, list_items
from consilience.similarity.store import RowsStore
from consilience.similarity.task import Engine, Item

logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """One reduction of a pair of models, or the reason why there is none."""

    reduction: str
    layer_x: str | None = None
    layer_y: str | None = None
    n: int = 0
    value: float | None = None
    null_mean: float | None = None
    null_sd: float | None = None
    p: float | None = None
    failure: str | None = None


COLUMNS = [
    *("dataset", "metric", "model_x", "model_y", "group_x", "group_y"),
    *("reduction", "layer_x", "layer_y", "n", "value", *NULL, "failure", "note"),
]


class AlignmentStore(RowsStore):
    """Known pairs of models: a row for each reduction."""

    row = Row
    types: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("value", "null_mean", "null_sd", "p"), "float64"),
        **dict.fromkeys(("layer_x", "layer_y", "failure"), "string"),
        "n": "int64",
    }
    made_by = (*RowsStore.made_by, "consilience.alignment.table")


@dataclass(frozen=True)
class _Model:
    """A model with all its layers, as an item of the loop over pairs."""

    name: str
    layers: Sequence[Item]

    @cached_property
    def hash(self) -> str:
        """The hash of what its layers are and what they are called."""
        return digest([[item.layer for item in self.layers], [item.hash for item in self.layers]])


class _Prepared(NamedTuple):
    """A model that is ready to be compared."""

    name: str
    layers: tuple[str, ...]
    forms: LayerForms


@dataclass(frozen=True)
class _Work:
    """How models are prepared and compared."""

    metric: Metric
    preprocessing: Preprocessing
    split: LayerSplit
    permutations: int
    within_groups: bool = False

    def prepare(self, model: _Model) -> _Prepared | MetricError:
        """Returns the prepared layers of a model, or the error that all its pairs then have."""
        loads = {item.layer: item.loads[item.main] for item in model.layers}
        try:
            forms = prepare_layers(
                self.metric,
                self.preprocessing,
                self.split,
                loads,
                within_groups=self.within_groups,
            )
        except MetricError as error:
            logger.warning("no alignment of model %s: %s", model.name, error)
            return error
        return _Prepared(model.name, tuple(loads), forms)

    def outcome(self, x: _Prepared | MetricError, y: _Prepared | MetricError) -> list[Row]:
        """Returns the rows of two models; where there is no value, they say why."""
        for side in (x, y):
            if isinstance(side, MetricError):
                return self._failed(side)
        try:
            orders = self.split.orders(self.permutations)
            found = reduce_layers(self.metric, x.forms, y.forms, (x.layers, y.layers), orders)
        except MetricError as error:
            logger.warning("no alignment of %s and %s: %s", x.name, y.name, error)
            return self._failed(error)
        return [_row(reduced) for reduced in found]

    def _failed(self, error: MetricError) -> list[Row]:
        return [Row(name, n=self.split.n, failure=str(error)) for name in REDUCTIONS]

    def form_bytes(self, model: _Model) -> int:
        """Returns what the prepared layers take, on all samples and on both halves, about."""
        return 2 * sum(self.metric.prepared_bytes(*item.shape) for item in model.layers)


def _row(found: Reduced) -> Row:
    null, layers = found.null, found.layers or (None, None)
    return Row(found.reduction, *layers, found.n, found.value, null.mean, null.sd, null.p)


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
    metric = metric_of(spec)
    check_paired(metric)
    ids = {"dataset": dataset, "metric_id": metric_id}
    listing = list_items(manifest, {**spec, "layers": "all"}, **ids)
    task = listing.task
    split = LayerSplit(listing.n, derive_seed("alignment", seed, dataset), task.groups)
    for name, rows in split.rows.items():
        if words := Permutations(permutations).words(subset(task.groups, rows)):
            logger.warning("%s samples: %s", name, words)
    within = task.group_rows == "within"
    work = _Work(metric, task.preprocessing, split, permutations, within)
    given = {"permutations": permutations, "seed": seed, "dataset": dataset}
    given |= task.groups_given
    known = AlignmentStore.open(store, metric, work.preprocessing, given, fresh=fresh)
    pairs = _pairs(listing, groups, both_orders=not metric.facts.symmetric)
    how = ByPairs(work.prepare, work.outcome, work.form_bytes, batch=4)
    fill_by_pairs(known, missing_pairs(known, pairs), how, Engine(threads=threads))
    found = [
        (dataset, metric_id, x.name, y.name, groups.get(x.name, ""), groups.get(y.name, ""), *row)
        for x, y in pairs
        for row in known.outcomes[x.hash, y.hash]
    ]
    table = pd.DataFrame(found, columns=[*COLUMNS[:6], *Row._fields])
    table = calibrate(table.astype(AlignmentStore.types), metric.facts)[COLUMNS]
    metadata = {
        "spec": without_file(spec),
        "facts": metric.facts.as_dict(),
        "null": {"kind": "monte_carlo", "count": permutations, "seed": seed},
        "code": known.code,
        "device": known.device,
        "halves": {name: len(rows) for name, rows in split.halves.items()},
        "layers": listing.layers,
        "samples_hash": listing.samples_hash,
        **task.groups_given,
        "versions": {"consilience": __version__, "numpy": np.__version__},
    }
    write_table(table, out, metadata)


def _pairs(
    listing: Listing, groups: Mapping[str, str], *, both_orders: bool
) -> list[tuple[_Model, _Model]]:
    layers: dict[str, list[Item]] = {}
    for item in sorted(listing.items, key=lambda item: item.model):  # layers keep their order
        layers.setdefault(item.model, []).append(item)
    models = {name: _Model(name, items) for name, items in layers.items()}
    across = pairs_across(groups, list(models), both_orders=both_orders)
    return [(models[x], models[y]) for x, y in across]
