"""What a study compares on one dataset by one metric, read from the dataset's features manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.calibration import Permutations
from consilience.errors import DataError, FeaturesError
from consilience.features import read_layer
from consilience.files import read_table
from consilience.layers import last_layers
from consilience.metrics import Preprocessing, get_metric
from consilience.samples import read_samples
from consilience.similarity.task import Item, Task


@dataclass(frozen=True)
class Listing:
    """The task and the items of one dataset and metric."""

    task: Task
    items: list[Item]
    spec: dict[str, Any]
    """Metric, parameters, preprocessing and layers, as they are used."""
    n: int
    samples_hash: str

    @property
    def layers(self) -> dict[str, list[str]]:
        """The names of each model's layers, in their order."""
        names: dict[str, list[str]] = {}
        for item in self.items:
            names.setdefault(item.model, []).append(item.layer)
        return names


def list_items(
    manifest: str | Path,
    spec: Mapping[str, Any],
    *,
    dataset: str,
    metric_id: str,
    samples: str | Path | None = None,
    keep: int = 0,
) -> Listing:
    """Returns what is compared; items of a view consist of its rows of the parent's features.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        spec: {"metric": name, "parameters": {…}, "preprocessing": {…}, "layers": `all`, or `last`
            for the last layer of each model}. Metrics of logits take the output `logits` of every
            model, as it is.
        dataset: id of the dataset, for messages.
        metric_id: id of the metric variant, for messages.
        samples: samples/{dataset}.parquet, for metrics that need labels.
        keep: bytes that features may take to be read once; else each use reads them again.

    Raises:
        FeaturesError: a model has no logits, and the metric compares them.
        DataError: samples have no label, and the metric needs them.
    """
    metric = get_metric(spec["metric"], **spec["parameters"])
    if metric.facts.input == "logits":
        as_it_is = {"row_normalize": False, "center": False}
        spec = {**spec, "preprocessing": as_it_is, "layers": "logits"}
    table = read_table(manifest)
    attrs, table.attrs = table.attrs, {}
    if spec["layers"] != "all":
        last = table["layer"] == table["model"].map(last_layers(table))
        table = table[last]
    if spec["layers"] == "logits":
        table = _logits(table, attrs["outputs"], dataset, metric_id)
    samples_hash = table["samples_hash"].iloc[0]
    labels = None
    if metric.facts.needs_labels:
        labels = _labels(samples, samples_hash, metric_id)
    rows = None if attrs.get("rows") is None else np.array(attrs["rows"], dtype=np.int64)
    size = int((table["n"] * table["d"]).sum()) * 8  # the widest type that features have
    read = cache(partial(_read, rows)) if size <= keep else partial(_read, rows)
    folder = Path(manifest).parent
    items = [
        Item(
            line["model"],
            line["layer"],
            (line["n"], line["d"]),
            line["hash"],
            partial(read, folder / line["file"], line["layer"]),
        )
        for line in table.to_dict("records")
    ]
    task = Task(metric, Preprocessing(**spec["preprocessing"]), labels=labels)
    return Listing(task, items, dict(spec), int(table["n"].iloc[0]), samples_hash)


def _read(rows: np.ndarray | None, path: Path, layer: str) -> np.ndarray:
    return read_layer(path, layer, rows)


def _logits(
    table: pd.DataFrame, outputs: list[dict[str, Any]], dataset: str, metric_id: str
) -> pd.DataFrame:
    """Returns one row for the logits of each model that has a row in the table."""
    found = {line["model"]: line for line in outputs if line["output"] == "logits"}
    without = sorted(set(table["model"]) - set(found))
    if without:
        raise FeaturesError(
            f"metric {metric_id!r} compares logits, and {len(without)} of {len(table)} models on "
            f"dataset {dataset!r} have none: {', '.join(without)}; leave out the metric, or these "
            "models, in a study of its own"
        )
    lines = pd.DataFrame([found[model] for model in table["model"]])
    return lines.assign(layer="logits", samples_hash=table["samples_hash"].to_numpy())


def _labels(samples: str | Path | None, samples_hash: str, metric_id: str) -> np.ndarray:
    """Returns the labels (n,) of the samples that the features are of."""
    if samples is None:
        raise DataError(f"metric {metric_id!r} needs labels: give the samples table")
    read = read_samples(samples)
    if read.hash != samples_hash:
        raise DataError(f"{samples} holds other samples than the features; run snakemake again")
    missing = int(read.table["label"].isna().sum())
    if missing:
        raise DataError(
            f"metric {metric_id!r} needs labels, and {missing} of {len(read.table)} samples of "
            f"dataset {read.row['dataset']!r} have none; leave the metric out of studies with it"
        )
    return read.table["label"].to_numpy(np.int64)


def with_null(task: Task, permutations: int) -> Task:
    """Returns the task with the null that a study gives it.

    Args:
        task: without a null.
        permutations: for the null of metrics without a closed form; 0: they have none.
    """
    metric = task.metric
    if not metric.facts.paired:
        return task
    if metric.has_closed_form:
        return replace(task, null="closed_form")
    if not permutations:
        return task
    return replace(task, null="monte_carlo", permutations=Permutations(permutations))
