"""Reliability: similarities on halves of the stimuli, from which their noise is known.

Every dataset is split S times at random into two halves without a common stimulus; all models and
all metrics see the same halves. Each half has no stimulus twice, as in drawing with replacement:
copies are each other's nearest neighbours, which metrics of neighbours would take for structure.
Where samples come in groups, such as captions of one picture, a group is the stimulus.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience import __version__
from consilience.code import code_of
from consilience.errors import ConfigError, DataError
from consilience.files import derive_seed, digest, table_digest, write_table
from consilience.forms.groups import unit_count
from consilience.metrics import metric_code
from consilience.samples.draw import HALVES, halve
from consilience.similarity import Engine, list_items, similarity_table

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
LEAST = 4
"""Fewest stimuli of a half."""


def halves_of(
    n: int, splits: int, *, seed: int, dataset: str, groups: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the rows of both halves of every split, in the samples' order; n odd leaves one out.

    Args:
        n: number of stimuli.
        splits: number of splits.
        seed: study seed.
        dataset: id of the dataset; the halves depend on nothing else but the groups.
        groups: (n,) see `consilience.forms.groups`; these are the stimuli then, and kept whole.

    Raises:
        DataError: too few stimuli.
    """
    count = unit_count(groups, n)
    if count < len(HALVES) * LEAST:
        units = "samples" if groups is None else "groups of samples"
        raise DataError(
            f"dataset {dataset!r} has {count} {units}; halves need at least "
            f"{len(HALVES) * LEAST}: set `reliability: {{splits: 0}}`, or give it more samples"
        )
    for split in range(splits):
        split_seed = derive_seed(seed, "reliability", dataset, split)
        yield halve(n, split_seed, equal=True, groups=groups)


def make_reliability(  # noqa: PLR0913 - all but the files by name
    manifest: str | Path,
    out: str | Path,
    *,
    dataset: str,
    metric_id: str,
    spec: Mapping[str, Any],
    splits: int,
    seed: int,
    samples: str | Path | None = None,
    engine: Engine | None = None,
) -> None:
    """Writes results/reliability/{dataset}/{metric}.parquet: similarities on halves.

    They are those of the last layers, or of the logits for metrics that compare logits.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        out: the table to write.
        dataset: id of the dataset.
        metric_id: id of the metric variant.
        spec: its metric, parameters and preprocessing.
        splits: number of splits into two halves.
        seed: study seed.
        samples: samples/{dataset}.parquet, for metrics that need labels.
        engine: threads and memory.

    Raises:
        ConfigError: no splits.
        DataError: too few samples, or no labels where the metric needs them.
        FeaturesError: a model has no logits, and the metric compares them.
    """
    if splits < 1:
        raise ConfigError(f"reliability: splits is {splits}; it must be at least 1 to make halves")
    engine = engine or Engine()
    listing = list_items(
        manifest,
        {**spec, "layers": "last"},
        dataset=dataset,
        metric_id=metric_id,
        samples=samples,
        keep=engine.max_memory,
    )
    parts, groups = [], listing.task.groups
    parted = halves_of(listing.n, splits, seed=seed, dataset=dataset, groups=groups)
    for split, halves in enumerate(parted):
        for half, rows in zip(HALVES, halves, strict=True):
            items = [item.subset(rows, f"{split}{half}") for item in listing.items]
            table = similarity_table(listing.task.subset(rows), items, engine)
            failed = int(table["value"].isna().sum())
            if failed:
                logger.warning("split %d, half %s: %d pairs have no value", split, half, failed)
            parts.append(table.assign(split=split, half=half, n=len(rows)))
    table = pd.concat(parts, ignore_index=True).assign(dataset=dataset, metric=metric_id)
    metadata = {
        "spec": listing.spec,
        "splits": splits,
        "seed": seed,
        "n": listing.n,
        "code": digest([metric_code(listing.task.metric), code_of(__name__)]),
        "device": listing.task.device_kind(engine.device, listing.n // 2),
        "manifest": table_digest(manifest),
        "samples_hash": listing.samples_hash,
        **listing.task.groups_given,
        "versions": {"consilience": __version__, "numpy": np.__version__},
    }
    write_table(table[COLUMNS], out, metadata)
