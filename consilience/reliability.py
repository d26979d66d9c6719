"""Reliability: similarities on halves of the stimuli, from which their noise is known.

Every dataset is split S times at random into two halves without a common stimulus; all models and
all metrics see the same halves. Each half has no stimulus twice, as in drawing with replacement:
copies are each other's nearest neighbours, which metrics of neighbours would take for structure.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience import __version__
from consilience.errors import ConfigError, DataError
from consilience.features import read_layer
from consilience.files import derive_seed, file_digest, read_table, write_table
from consilience.metrics import Preprocessing, get_metric
from consilience.similarity import Engine, Item, Task, similarity_table

logger = logging.getLogger(__name__)

COLUMNS = [
    "dataset",
    "metric",
    "split",
    "half",
    "n",
    "model_x",
    "layer_x",
    "model_y",
    "layer_y",
    "value",
]
HALVES = ("a", "b")
LEAST = 4
"""Fewest stimuli of a half."""


def halves_of(n: int, splits: int, *, seed: int, dataset: str) -> Iterator[tuple[Any, Any]]:
    """Yields the rows of both halves of every split, in the samples' order; n odd leaves one out.

    Args:
        n: number of stimuli.
        splits: number of splits.
        seed: study seed.
        dataset: id of the dataset; the halves depend on nothing else.

    Raises:
        DataError: too few stimuli.
    """
    if n < len(HALVES) * LEAST:
        raise DataError(
            f"dataset {dataset!r} has {n} samples; halves need at least {len(HALVES) * LEAST}: "
            "set `reliability: {splits: 0}`, or give it more samples"
        )
    for split in range(splits):
        generator = np.random.default_rng(derive_seed(seed, "reliability", dataset, split))
        order = generator.permutation(n)
        size = n // 2
        yield np.sort(order[:size]), np.sort(order[size : 2 * size])


def make_reliability(
    manifest: str | Path,
    out: str | Path,
    *,
    dataset: str,
    metric_id: str,
    spec: Mapping[str, Any],
    splits: int,
    seed: int,
    engine: Engine | None = None,
) -> None:
    """Writes results/reliability/{dataset}/{metric}.parquet: similarities of last layers on halves.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        out: the table to write.
        dataset: id of the dataset.
        metric_id: id of the metric variant.
        spec: its metric, parameters and preprocessing.
        splits: number of splits into two halves.
        seed: study seed.
        engine: threads and memory.

    Raises:
        ConfigError: no splits.
        DataError: too few samples.
    """
    if splits < 1:
        raise ConfigError(f"reliability: splits is {splits}; it must be at least 1 to make halves")
    engine = engine or Engine()
    metric = get_metric(spec["metric"], **spec["parameters"])
    task = Task(metric, Preprocessing(**spec["preprocessing"]))
    listed = read_table(manifest)
    view = listed.attrs.get("rows")  # a view of a parent has some rows of the parent's features
    listed = listed.groupby("model", as_index=False, sort=True).tail(1)
    n = int(listed["n"].iloc[0])
    view = np.arange(n) if view is None else np.array(view, dtype=np.int64)
    read = _reader(listed, engine.max_memory)
    parts = []
    for split, halves in enumerate(halves_of(n, splits, seed=seed, dataset=dataset)):
        for half, rows in zip(HALVES, halves, strict=True):
            salt = f"{split}{half}"
            items = [
                _item(Path(manifest).parent, line, view[rows], read, salt)
                for line in listed.to_dict("records")
            ]
            table = similarity_table(task, items, engine)
            failed = int(table["value"].isna().sum())
            if failed:
                logger.warning("split %d, half %s: %d pairs have no value", split, half, failed)
            parts.append(table.assign(split=split, half=half, n=len(rows)))
    table = pd.concat(parts, ignore_index=True).assign(dataset=dataset, metric=metric_id)
    metadata = {
        "spec": dict(spec),
        "splits": splits,
        "seed": seed,
        "n": n,
        "manifest": file_digest(manifest),
        "samples_hash": str(listed["samples_hash"].iloc[0]),
        "versions": {"consilience": __version__, "numpy": np.__version__},
    }
    write_table(table[COLUMNS], out, metadata)


def _reader(listed: pd.DataFrame, max_memory: int) -> Callable[[Path, str], np.ndarray]:
    """Returns what reads a layer: once if all of them fit into the memory, else for each half."""
    size = int((listed["n"] * listed["d"]).sum()) * 4
    return cache(read_layer) if size <= max_memory else read_layer


def _item(
    folder: Path,
    line: Mapping[str, Any],
    rows: np.ndarray,
    read: Callable[[Path, str], np.ndarray],
    salt: str,
) -> Item:
    """Returns some rows of a layer; `salt` tells them from other rows of it."""
    path = folder / line["file"]
    whole = Item(
        line["model"],
        line["layer"],
        (len(rows), line["d"]),
        f"{line['hash']}{salt}",
        partial(read, path, line["layer"]),
    )
    return replace(whole, load=lambda: whole.load()[rows])
