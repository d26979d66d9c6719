"""The accuracies of a study, gathered from its probe tables."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from consilience.errors import DataError
from consilience.files import read_table, write_table


def make_accuracy(probe_paths: Sequence[str | Path], out: str | Path) -> None:
    """Writes probe/accuracy.parquet: one row per dataset, model, layer, kind and k.

    Args:
        probe_paths: probe tables of several models and datasets.
        out: the Parquet file to write, with the columns `dataset, model, layer, accuracy` (top-1 on
            the test split, mean over seeds or draws), `balanced_accuracy, top5, seeds, kind, k,
            sd` (of the accuracy, over seeds or draws).

    Raises:
        DataError: a table is of another model or dataset than its place says, or two are of one.
    """
    tables = [read_table(path) for path in probe_paths]
    seen: dict[tuple[str, str], str | Path] = {}
    for path, found in zip(probe_paths, tables, strict=True):
        for place in dict.fromkeys(zip(found["dataset"], found["model"], strict=True)):
            if seen.setdefault(place, path) != path:
                raise DataError(
                    f"{seen[place]} and {path} are both of model {place[1]!r} on {place[0]!r}; "
                    "delete them and run snakemake again"
                )
    table = pd.concat(tables, ignore_index=True)
    keys = ["dataset", "model", "layer", "kind", "k"]
    by = table.groupby(keys, sort=True, dropna=False)
    means = by[["top1", "balanced_accuracy", "top5"]].mean()
    means = means.rename(columns={"top1": "accuracy"})
    means = means.assign(seeds=by.size(), sd=by["top1"].std()).reset_index()
    columns = ["accuracy", "balanced_accuracy", "top5", "seeds"]
    write_table(means[[*keys[:3], *columns, "kind", "k", "sd"]], out, {"probes": len(probe_paths)})
