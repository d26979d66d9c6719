"""Parquet of other tools: which columns are layers, and which together are one matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from consilience.errors import FeaturesError
from consilience.limits.tables import check_footer


def read_columns(path: Path, named: Sequence[str], layer: str) -> dict[str, Any]:
    """Returns {layer, or name of ids or labels: values} of a Parquet file.

    A column of lists is a layer. If there is none, the other columns are the units of one; their
    order is that of the file.

    Args:
        path: the file.
        named: the columns that are ids or labels.
        layer: the name of the layer that columns of units make.

    Raises:
        FeaturesError: a column is neither, or the units of a layer are not all of one kind.
    """
    file = pq.ParquetFile(path)
    check_footer(file, path, path)
    table = file.read()
    index = _index(table.schema)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    found = {name: columns[name].to_pylist() for name in named if name in columns}
    rest = {name: x for name, x in columns.items() if name not in found}
    lists = [name for name, x in rest.items() if _is_list(x.type)]
    units = [name for name in rest if name not in lists and name not in index]
    _check_units(rest, units, lists, named, path)
    for name in lists:
        found[name] = np.array(rest[name].to_pylist(), np.float64)
    if units:
        found[layer] = np.stack([rest[name].to_numpy() for name in units], axis=1)
    return found


def _index(schema: pa.Schema) -> set[str]:
    """Returns the columns that pandas made of an index without a name."""
    return {name for name in schema.names if name.startswith("__index_level_")}


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _check_units(
    columns: dict[str, Any],
    units: Sequence[str],
    lists: Sequence[str],
    named: Sequence[str],
    path: Path,
) -> None:
    """Raises FeaturesError unless columns that are no lists can be the units of one layer."""
    if not units:
        return
    remedy = f"leave it out, or call it one of {', '.join(named)} if it is that"
    if lists:
        raise FeaturesError(
            f"{path}: the column {units[0]!r} stands beside the layer {lists[0]!r}, which is a "
            f"column of lists, and is none itself; {remedy}"
        )
    kinds = {name: columns[name].type for name in units}
    for name, kind in kinds.items():
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == pa.bool_()):
            raise FeaturesError(f"{path}: the column {name!r} holds {kind}, no numbers; {remedy}")
    whole = [name for name, kind in kinds.items() if not pa.types.is_floating(kind)]
    if 0 < len(whole) < len(units):
        raise FeaturesError(
            f"{path}: the column {whole[0]!r} holds whole numbers ({kinds[whole[0]]}) and others "
            f"fractions, so that it may be no unit; {remedy}, or write all units in one type"
        )
