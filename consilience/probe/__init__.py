"""Probes: how well labels can be read off frozen features.

Each way is a `kind` of row: `linear` (a linear classifier fitted to its optimum), `few_shot` (the
same from k rows per class), `knn` (a vote of neighbours), `zero_shot` (class names through a text
tower), and `logits` (the model's own classifier, restricted to the classes of the dataset).
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.features import check_samples, read_header, read_layer
from consilience.files import read_table, write_table
from consilience.probe.linear import (
    ProbeSettings,
    draw_shots,
    few_shot,
    normalize_features,
    probe,
    split_validation,
)
from consilience.probe.logits import parse_columns, restrict, restricted_accuracy
from consilience.probe.neighbors import knn
from consilience.probe.scores import LINEAR, top_accuracy
from consilience.probe.zero_shot import embed_classes, make_prompts, read_classes, zero_shot
from consilience.samples import Samples, read_chain

log = logging.getLogger(__name__)

LOGITS = "logits"
"""The tensor of a features file that holds the model's own classifier, and the kind of its row."""
TYPES = {
    "seed": "Int64",
    "converged": "boolean",
    "iterations": "Int64",
    "kind": "str",
    "k": "Int64",
}
"""Columns that only some kinds of rows have."""


@dataclass(frozen=True)
class Extras:
    """What is measured beside the linear probe."""

    few_shot: tuple[int, ...] = ()
    """Numbers of training rows per class."""
    draws: int = 5
    """How often these rows are drawn."""
    knn: tuple[int, ...] = ()
    """Numbers of neighbours."""
    prompts: str | Path | None = None
    """Class embeddings of the model's text tower, see `make_prompts`."""
    logit_columns: str = ""
    """The dataset's cell of that name, see `parse_columns`."""


_EXTRAS = {field.name for field in fields(Extras)}


@dataclass(frozen=True)
class _Task:
    """One model on one dataset."""

    path: Path
    labels: np.ndarray
    train: np.ndarray
    classes: tuple[str, ...]
    salt: tuple[str | int, ...]
    rows: np.ndarray | None = None
    """The rows of the features that count, for datasets that are a view of another; all if None."""

    def read(self, tensor: str) -> np.ndarray:
        """Returns a tensor of the features file: (n, …)."""
        return read_layer(self.path, tensor, self.rows)

    def fitted(self, layer: str, settings: ProbeSettings, extras: Extras) -> pd.DataFrame:
        """Returns the rows of one layer that need training rows."""
        x, given = self.read(layer), {"n_classes": len(self.classes)}
        table = probe(x, self.labels, self.train, settings, **given, salt=self.salt)
        tables = [table.assign(kind=LINEAR)]
        if extras.few_shot:
            table = few_shot(
                x, self.labels, self.train, extras.few_shot, extras.draws, settings,
                **given, salt=self.salt,
            )  # fmt: skip
            tables.append(table.assign(kind="few_shot"))
        if extras.knn:
            table = knn(x, self.labels, self.train, extras.knn, **given)
            tables.append(table.assign(kind="knn"))
        return _stack(tables).assign(layer=layer)

    def given(self, layers: Sequence[str], extras: Extras) -> Iterator[dict[str, Any]]:
        """Yields the rows that need no training rows."""
        if extras.prompts:
            embeddings = read_classes(extras.prompts, self.classes)
            found = zero_shot(self.read(layers[-1]), self.labels, ~self.train, embeddings)
            yield {"kind": "zero_shot", "layer": layers[-1], **found, **self._counts()}
        columns = parse_columns(extras.logit_columns)
        if columns and has_logits(self.path, columns.outputs):
            found = restricted_accuracy(
                self.read(LOGITS), self.labels, ~self.train, columns, len(self.classes)
            )
            yield {"kind": LOGITS, "layer": LOGITS, **found, **self._counts()}

    def _counts(self) -> dict[str, int]:
        n_test, n_classes = int((~self.train).sum()), len(self.classes)
        return {"n_train": 0, "n_test": n_test, "n_classes": n_classes, "n_absent": 0}


def has_logits(path: str | Path, outputs: int | None = None) -> bool:
    """Returns whether a features file holds logits, and as many as asked for."""
    shape = read_header(path)["shapes"].get(LOGITS)
    if shape and outputs is not None and shape[1] != outputs:
        log.info("%s has %d logits, not %d: left out", path, shape[1], outputs)
        return False
    return shape is not None


def make_probe(
    features_path: str | Path,
    samples_path: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    layer: str = "last",
    seed: int = 0,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Writes `probe/{dataset}/{model}.parquet`: how well the labels can be read off, in each way.

    A dataset without training rows has no rows that need them.

    Args:
        features_path: `features/{dataset}/{model}.safetensors`.
        samples_path: `samples/{dataset}.parquet`; for a view a list: its own, its parent's, …
            to those that the features are of.
        out: the Parquet file to write; its metadata holds the settings and the samples hash.
        layer: the name of a layer, `last`, or `all`.
        seed: the study seed.
        **settings: fields of `ProbeSettings` and of `Extras`.

    Raises:
        ConfigError: the settings cannot be used.
        DataError: the dataset has no labels, or too few rows in a split.
        FeaturesError: the features are damaged, lack the layer, or belong to other samples.
    """
    beside = {name: settings.pop(name) for name in _EXTRAS & set(settings)}
    chosen, extras = ProbeSettings(**settings), Extras(**beside)
    samples, rows, source = read_chain(samples_path)
    header = read_header(features_path)
    check_samples(header, source.hash, features_path)
    labels, train = read_labels(samples)
    dataset, model = samples.row["dataset"], header["model"]["model"]
    task = _Task(Path(features_path), labels, train, samples.classes, (seed, dataset), rows)
    given = list(task.given(header["layers"], extras))
    layers = _choose_layers(layer, header["layers"]) if train.any() or not given else []
    tables = [task.fitted(name, chosen, extras) for name in layers]
    table = _stack([*tables, *([pd.DataFrame(given)] if given else [])])
    table = table.assign(dataset=dataset, model=model)
    first = ["dataset", "model", "layer"]
    table = table[[*first, *(c for c in table if c not in first)]]
    settings = {k: v for k, v in asdict(chosen).items() if k != "device"}
    metadata = {"settings": settings, "seed": seed, "samples_hash": samples.hash}
    write_table(table, out, metadata)


def _stack(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns the rows of tables, with the columns of all kinds."""
    typed = [
        table.assign(**{c: pd.NA for c in TYPES if c not in table}).astype(TYPES)
        for table in tables
    ]
    return pd.concat(typed, ignore_index=True)


def make_accuracy(probe_paths: Sequence[str | Path], out: str | Path) -> None:
    """Writes probe/accuracy.parquet: one row per dataset, model, layer, kind and k.

    Args:
        probe_paths: probe tables of several models and datasets.
        out: the Parquet file to write, with the columns `dataset, model, layer, accuracy` (top-1 on
            the test split, mean over seeds or draws), `balanced_accuracy, top5, seeds, kind, k,
            sd` (of the accuracy, over seeds or draws).
    """
    table = pd.concat([read_table(path) for path in probe_paths], ignore_index=True)
    keys = ["dataset", "model", "layer", "kind", "k"]
    by = table.groupby(keys, sort=True, dropna=False)
    means = by[["top1", "balanced_accuracy", "top5"]].mean()
    means = means.rename(columns={"top1": "accuracy"})
    means = means.assign(seeds=by.size(), sd=by["top1"].std()).reset_index()
    columns = ["accuracy", "balanced_accuracy", "top5", "seeds"]
    write_table(means[[*keys[:3], *columns, "kind", "k", "sd"]], out, {"probes": len(probe_paths)})


def read_labels(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels (n,) and whether each row is for training (n,).

    Raises:
        DataError: samples without labels, or a split that is neither train nor test.
    """
    dataset, table = samples.row["dataset"], samples.table
    missing = int(table["label"].isna().sum())
    if table["labels"].notna().any():
        raise DataError(
            f"dataset {dataset!r} has several labels per sample, and a probe predicts one; write "
            "`no` into its column labels, or take it out of the study"
        )
    if missing:
        raise DataError(
            f"dataset {dataset!r}: {missing} of {len(table)} samples have no label, so there is "
            "nothing to probe; take it out of the datasets that the study probes"
        )
    other = sorted(set(table["split"]) - {"train", "test"})
    if other:
        raise DataError(
            f"dataset {dataset!r}: unknown splits {other}; a probe needs train and test"
        )
    return table["label"].to_numpy(np.int64), (table["split"] == "train").to_numpy()


def _choose_layers(layer: str, layers: Sequence[str]) -> list[str]:
    return {"all": list(layers), "last": [layers[-1]]}.get(layer, [layer])


__all__ = [
    "LINEAR",
    "LOGITS",
    "Extras",
    "ProbeSettings",
    "draw_shots",
    "embed_classes",
    "few_shot",
    "has_logits",
    "knn",
    "make_accuracy",
    "make_probe",
    "make_prompts",
    "normalize_features",
    "parse_columns",
    "probe",
    "read_labels",
    "restrict",
    "restricted_accuracy",
    "split_validation",
    "top_accuracy",
    "zero_shot",
]
