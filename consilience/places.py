"""Whether a file of results is what its place says: of that dataset, model and metric.

Files are told apart by what they say of themselves, never by where they lie alone: one that was put
into the place of another would be read for it without a word.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.errors import DataError
from consilience.renames import present
from consilience.results import RESULT_FILES, place_of

DECIDES_NOTHING = True
_REMEDY = "it was put there by other means; delete it and run snakemake again"
_COLUMNS = {("transfer", "model"): "model_x"}
"""Columns of other names than what they say, by kind of file."""


def check_table(path: str | Path, table: pd.DataFrame, **meant: str) -> None:
    """Raises DataError if a table is of another dataset, model or metric than its place says.

    It tells by its columns of these names, or else by its metadata.

    Args:
        path: where it lies; outside of a folder of results a place says nothing.
        table: as it was read.
        **meant: {"dataset": id, …} of the job, beside what the place says.
    """
    name, place = place_of(path)
    for kind, wanted in [*place.items(), *meant.items()]:
        column = _COLUMNS.get((name, kind), kind)
        if column in table and len(table):
            for said in table[column].unique():
                _compare(path, kind, said, wanted)
        else:
            facts = table.attrs.get("row") if "row" in table.attrs else table.attrs
            if isinstance(facts, Mapping) and kind in facts:
                _compare(path, kind, facts[kind], wanted)


def check_columns(path: str | Path, table: pd.DataFrame, name: str) -> None:
    """Raises DataError if a table lacks a column of its kind of file: it is of another kind."""
    if lost := [column for column in RESULT_FILES[name].columns if column not in table]:
        raise DataError(f"{path} has no column {lost[0]!r}, so it is no table of {name}: {_REMEDY}")


def check_kind(path: str | Path, kind: str) -> None:
    """Raises DataError if a table says that it is of another kind of file than its place is for.

    Args:
        path: where it lies.
        kind: what it says; "" in tables of versions that said nothing.
    """
    meant = place_of(path)[0]
    if kind and meant and kind != meant:
        raise DataError(
            f"{path} is a table of {kind}, and would be taken for one of {meant}: {_REMEDY}"
        )


def check_file(path: str | Path, said: Mapping[str, Any], **meant: str) -> None:
    """Raises DataError if a file says that it is of another dataset or model than it should be.

    Args:
        path: the file; its place says what it should be of.
        said: {"dataset": id, "model": id}, as far as the file says.
        **meant: what the job says that it should be of.
    """
    for kind, name in [*place_of(path)[1].items(), *meant.items()]:
        if kind in said:
            _compare(path, kind, said[kind], name)


def _compare(path: str | Path, kind: str, said: Any, meant: str) -> None:  # noqa: ANN401
    now = present(f"{kind}s", said) if isinstance(said, str) else said
    if said != meant and now != present(f"{kind}s", meant):
        raise DataError(
            f"{path} is of {kind} {said!r}, and would be taken for that of {meant!r}: {_REMEDY}"
        )
