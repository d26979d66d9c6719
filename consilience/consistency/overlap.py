"""Which datasets share stimuli: their similarities then agree for a further reason."""

import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from consilience.files import read_table

COUNTER = re.compile(r"(.*/)?[A-Za-z]?[_-]?[0-9]+(\.[A-Za-z]+)?")
"""Ids that only count (`000017`, `test/s0000017.jpg`): equal ones say nothing by themselves."""


def read_overlaps(paths: Iterable[str | Path]) -> dict[tuple[str, str], float]:
    """Returns the overlap of every two datasets from `results/samples/{dataset}.parquet`."""
    ids, rows = {}, {}
    for path in sorted(map(Path, paths)):
        table = read_table(path)
        ids[path.stem] = frozenset(table["id"].astype(str))
        rows[path.stem] = table.attrs.get("row", {})
    return overlaps(ids, rows)


def overlaps(
    ids: Mapping[str, frozenset[str]], rows: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str], float]:
    """Returns, for every two datasets in alphabetical order, the share of common stimuli.

    The share is that of the smaller dataset. Stimuli are common if their ids are equal; ids that
    only count are compared between datasets of one origin alone: views of one parent, or rows
    that open the same data.

    Args:
        ids: {dataset: ids of its samples}.
        rows: {dataset: cells of its row}; `parent`, `source` and `name` are looked at.
    """
    origins = {name: _origins(name, rows) for name in ids}
    found = {}
    for x, y in combinations(sorted(ids), 2):
        common = ids[x] & ids[y]
        if not origins[x] & origins[y]:
            common = {name for name in common if not COUNTER.fullmatch(name)}
        found[x, y] = len(common) / max(min(len(ids[x]), len(ids[y])), 1)
    return found


def _origins(dataset: str, rows: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Returns the dataset, its parents, and the data that its row opens."""
    found: set[str] = set()
    while dataset and dataset not in found:
        found.add(dataset)
        row = rows.get(dataset, {})
        if row.get("source") and row.get("name"):
            found.add(f"{row['source']}:{row['name']}")
        dataset = str(row.get("parent") or "")
    return found
