"""What factors explain of similarities and of the universality of dimensions, as files."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.factors.matching import read_tables
from consilience.factors.shares import shares_of
from consilience.files import digest, read_table, table_digest, write_table
from consilience.pairs.families import MIN_FAMILIES, NONE, Clusters, read_clusters
from consilience.pairs.matrix import Similarity

logger = logging.getLogger(__name__)

SHARES = {
    "dataset": "str",
    "factor": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "unique": "float64",
    "n": "int64",
    "clusters": "str",
    "n_families": "int64",
    "status": "str",
}
"""Columns of the tables of shares, with their types; that of similarities has `metric` before."""
ALL = "*"
"""Instead of a dataset: the mean over all of them."""
RANK = "dimension"
"""The factor that says which principal direction of its model a dimension is."""

Part = tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]


def make_shares(
    similarity: Sequence[str | Path],
    models: pd.DataFrame,
    out: str | Path,
    *,
    columns: Sequence[str],
    clusters: str,
) -> None:
    """Writes factors/shares/{metric}.parquet: what factors explain of similarities of pairs.

    The levels of a factor are its unordered pairs of values, such as `masked – rotation`; those of
    the families (`clusters`) whether both models are of one.

    Args:
        similarity: one similarity file per dataset, of one metric.
        models: metadata by id, of those that count.
        out: the file to write.
        columns: the factors.
        clusters: the metadata column of the families, or `none`.
    """
    metric, given, hashes = read_tables(similarity, list(models.index))
    families = read_clusters(models, clusters, list(models.index))
    parts = {name: _of_pairs(one, models, columns, families) for name, one in given.items()}
    rows = _rows(parts, families)
    whole = pd.DataFrame(rows, columns=list(SHARES)).astype(SHARES)
    whole.insert(0, "metric", metric)
    facts = {"similarity": hashes, "models": digest(models.astype(str).to_dict("index"))}
    write_table(whole, out, facts)


def _of_pairs(
    given: Similarity, models: pd.DataFrame, columns: Sequence[str], families: Clusters
) -> Part:
    i, j = np.triu_indices(len(given.models), 1)
    known = np.isfinite(given.matrix[i, j])
    i, j = i[known], j[known]
    factors = {}
    for column in columns:
        _, codes = np.unique(
            models.loc[list(given.models), column].astype(str), return_inverse=True
        )
        low, high = np.minimum(codes[i], codes[j]), np.maximum(codes[i], codes[j])
        factors[column] = low * (codes.max() + 1) + high
    own = np.array(families.names(given.models), object)
    if families and families.column not in factors:
        factors[families.column] = (own[i] == own[j]).astype(int)
    return given.matrix[i, j], factors, np.column_stack([own[i], own[j]]).astype(str)


def make_dimension_shares(
    dimensions: Sequence[str | Path],
    models: pd.DataFrame,
    out: str | Path,
    *,
    columns: Sequence[str],
    clusters: str,
) -> None:
    """Writes factors/dimension_shares.parquet: what factors explain of universality.

    Args:
        dimensions: files of `make_dimensions`, one per dataset.
        models: metadata by id, of those that count.
        out: the file to write.
        columns: the factors; besides there are the families and the rank of a dimension.
        clusters: the metadata column of the families, or `none`.
    """
    families = read_clusters(models, clusters, list(models.index))
    parts = {}
    for path in dimensions:
        table = read_table(path)
        (dataset,) = table["dataset"].unique()
        values, names = table["value"].to_numpy(float), table["model"].tolist()
        if not np.isfinite(values).all():
            raise DataError(f"{path} has dimensions without a value; delete it and run again")
        own = np.array(families.names(names), object).astype(str)
        levels = {c: models.loc[names, c].astype(str).to_numpy() for c in columns}
        if families and families.column not in levels:
            levels[families.column] = own
        levels[RANK] = table["dimension"].to_numpy()
        factors = {c: np.unique(x, return_inverse=True)[1] for c, x in levels.items()}
        parts[str(dataset)] = values, factors, own[:, None]
    whole = pd.DataFrame(_rows(parts, families), columns=list(SHARES)).astype(SHARES)
    facts = {"dimensions": {str(Path(p).stem): table_digest(p) for p in dimensions}}
    write_table(whole, out, facts)


def _rows(parts: Mapping[str, Part], families: Clusters) -> list[dict[str, object]]:
    rows = []
    for name, chosen in [*((n, [p]) for n, p in parts.items()), (ALL, list(parts.values()))]:
        count = len(np.unique(np.concatenate([own.ravel() for _, _, own in chosen])))
        for factor, share in shares_of(chosen).items():
            row = {"dataset": name, "factor": factor, **share._asdict()}
            rows.append(
                row | {"n": sum(len(values) for values, _, _ in chosen), "n_families": count,
                       "clusters": families.column if families else NONE,
                       "status": _status(share.value, share.low, count)}
            )  # fmt: skip
    return rows


def _status(value: float, low: float, families: int) -> str:
    if np.isnan(value):
        return "all values are equal, or other factors tell all levels"
    if families < MIN_FAMILIES:
        return f"ok; no interval: {families} families, at least {MIN_FAMILIES} are needed"
    return "ok" if np.isfinite(low) else "ok; no interval: a level has no value without a family"
