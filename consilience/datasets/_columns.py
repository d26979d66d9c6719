"""Columns of Parquet files: which one holds pictures, texts, labels or ids, and whether it can."""

import logging
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from consilience.datasets._base import group_column
from consilience.errors import ConfigError, DataError
from consilience.registry import did_you_mean

log = logging.getLogger(__name__)

KINDS = ("image", "text", "pair", "label", "id")
_LABELS = ("label", "class", "target", "category", "intent")
"""Words in the names of columns that are labels in many datasets."""
_ONE = {
    "image": "one picture (bytes, or a record of bytes and path)",
    "text": "a text, or a list of texts",
    "pair": "one text",
    "label": "one label",
    "id": "one id (a whole number or a text)",
    "group": "one name of what it belongs to",
}


def choose_columns(
    row: Mapping[str, Any], schemas: Mapping[str, pa.Schema], place: str
) -> dict[str, str]:
    """Returns {kind: column}: what the row names, and the defaults that the modality needs.

    Args:
        row: row of datasets.tsv.
        schemas: {file: its schema} of all files, which must agree on these columns.
        place: the dataset, for messages.

    Raises:
        ConfigError: the column `columns` holds something unknown.
        DataError: a file lacks a column, or the column cannot hold what it should.
    """
    first, schema = next(iter(schemas.items()))
    named = _named(row, place)
    wanted = {kind: named.get(kind, kind) for kind in str(row["modality"]).split("+")} | named
    if group := group_column(row):
        wanted["group"] = group
    for kind, column in wanted.items():
        if column not in schema.names:
            hint = did_you_mean(column, schema.names)
            remedy = hint if kind == "group" else _remedy(kind, schema)
            if kind != "group" and "did you mean" in hint:
                meant = hint.split("'")[1]
                remedy = f"{hint} Write `{kind}={meant}` into the column columns"
            raise DataError(f"{place}: no column {column!r} for the {kind}{remedy}")
    if "label" not in named and (having := _having("label", schemas)):
        wanted["label"] = "label"
        first = having
    for name, other in schemas.items():
        for kind, column in wanted.items():
            _check_column(other, kind, column, name, first)
    if "label" not in wanted:
        _tell_labels(schema, place)
    return wanted


def _named(row: Mapping[str, Any], place: str) -> dict[str, str]:
    cell = str(row.get("columns") or "")
    named: dict[str, str] = {}
    for part in cell.split():
        kind, _, column = part.partition("=")
        problem = ""
        if not column:
            problem = (
                f"{part!r} is not KIND=COLUMN (names with blanks cannot be given: rename them)"
            )
        elif kind not in KINDS:
            problem = f"{part!r} is unknown{did_you_mean(kind, KINDS)}"
        elif kind in named:
            problem = f"{kind!r} is given twice"
        if problem:
            raise ConfigError(f"{place}, column columns ({cell!r}): {problem}")
        named[kind] = column
    return named


def _having(column: str, schemas: Mapping[str, pa.Schema]) -> str:
    return next((name for name, schema in schemas.items() if column in schema.names), "")


def _check_column(schema: pa.Schema, kind: str, column: str, name: str, first: str) -> None:
    """Raises DataError if a file lacks a column, has it twice, or holds in it what cannot be."""
    if column not in schema.names:
        raise DataError(
            f"{name} has no column {column!r} for the {kind}, which {first} has (there are "
            f"{', '.join(schema.names)}); write it into all files, or move away what belongs to "
            "another dataset"
        )
    if schema.names.count(column) > 1:
        raise DataError(f"{name} has two columns {column!r}; rename one")
    found = _plain(schema.field(column).type)
    single = kind in ("pair", "label", "id", "group")
    holds = not pa.types.is_nested(found) if single else _holds(found, kind)
    binary = pa.types.is_binary(found) or pa.types.is_large_binary(found)
    if kind == "id" and binary:
        holds = False
    if not holds and not pa.types.is_null(found) and not (kind == "text" and binary):
        also = "; or rename it: samples without one have no label" if kind == "label" else ""
        raise DataError(
            f"{name}: the column {column!r} holds {found} for each sample, and what is read as "
            f"the {kind} is {_ONE[kind]}; name another column in the column columns "
            f"({kind}=COLUMN), or write {_ONE[kind]} for each{also}"
        )


def _tell_labels(schema: pa.Schema, place: str) -> None:
    """Logs columns that may be the labels of a dataset that has none."""
    could = [
        field.name
        for field in schema
        if any(word in field.name.lower() for word in _LABELS) and _holds(field.type, "label")
    ]
    if could:
        log.warning(
            "%s: no column 'label', so samples have no labels; if %s are meant, write `label=%s` "
            "into the column columns", place, " or ".join(could), could[0],
        )  # fmt: skip


def _remedy(kind: str, schema: pa.Schema) -> str:
    """Returns how to name a column of a kind, with those that could be meant by their type."""
    could = [field.name for field in schema if _holds(field.type, kind)]
    there = ", ".join(schema.names)
    meant = f", of which {' or '.join(could)} could be meant" if could else ""
    example = (could or ["COLUMN"])[0]
    return f"; there are {there}{meant}: write `{kind}={example}` into the column columns"


def _plain(found: pa.DataType) -> pa.DataType:
    """Returns the type of the values, where a column keeps each once and refers to it."""
    return found.value_type if pa.types.is_dictionary(found) else found


def _holds(found: pa.DataType, kind: str) -> bool:
    """Returns whether a column of this type could hold pictures, texts, labels or ids."""
    types, found = pa.types, _plain(found)
    is_text = types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)
    if kind == "image":
        nested = types.is_struct(found) and found.get_field_index("bytes") >= 0
        return nested or types.is_binary(found) or types.is_large_binary(found)
    if kind == "text":
        is_list = types.is_list(found) or types.is_large_list(found)
        return is_text or (is_list and _holds(found.value_type, "text"))
    return is_text or types.is_integer(found)
