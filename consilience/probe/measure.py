"""The probe table of one model on one dataset, as the workflow makes it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.features import check_samples, read_header, read_layer
from consilience.files import write_table
from consilience.probe.labels import read_labels
from consilience.probe.linear import ProbeSettings, few_shot, probe
from consilience.probe.logits import LOGITS, has_logits, parse_columns, restricted_accuracy
from consilience.probe.neighbors import knn
from consilience.probe.scores import LINEAR
from consilience.probe.zero_shot import read_classes, zero_shot
from consilience.samples import read_chain

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
    groups: np.ndarray | None = None
    """(n,) see `consilience.forms.groups`."""
    rows: np.ndarray | None = None
    """The rows of the features that count, for datasets that are a view of another; all if None."""

    def read(self, tensor: str) -> np.ndarray:
        """Returns a tensor of the features file: (n, …)."""
        return read_layer(self.path, tensor, self.rows)

    def fitted(self, layer: str, settings: ProbeSettings, extras: Extras) -> pd.DataFrame:
        """Returns the rows of one layer that need training rows."""
        x, given = self.read(layer), {"n_classes": len(self.classes)}
        drawn = {"salt": self.salt, "groups": self.groups}
        table = probe(x, self.labels, self.train, settings, **given, **drawn)
        tables = [table.assign(kind=LINEAR)]
        if extras.few_shot:
            table = few_shot(
                x, self.labels, self.train, extras.few_shot, extras.draws, settings,
                **given, **drawn,
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
    check_samples(header, source.hash, features_path, source.row["dataset"])
    labels, train = read_labels(samples)
    dataset, model = samples.row["dataset"], header["model"]["model"]
    salt, groups = (seed, dataset), samples.groups
    task = _Task(Path(features_path), labels, train, samples.classes, salt, groups, rows)
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


def _choose_layers(layer: str, layers: Sequence[str]) -> list[str]:
    return {"all": list(layers), "last": [layers[-1]]}.get(layer, [layer])
