"""What a study selects from the catalogues, by id or by query."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from consilience.config.catalogs import Row
from consilience.config.origins import Origins
from consilience.config.queries import select_rows
from consilience.config.shape import Problems
from consilience.errors import ConfigError
from consilience.metrics import split_variant
from consilience.registry import did_you_mean

_SHOWN = 200
"""Letters of a query that a message shows."""
_MOST = 30
"""Values of a column that a message lists."""


def frame(rows: Mapping[str, Row]) -> pd.DataFrame:
    """Returns rows as a table of texts."""
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def select(
    wanted: str | Sequence[str],
    known: Mapping[str, Any],
    key: str,
    origins: Origins,
    problems: Problems,
) -> dict[str, Any]:
    """Returns the entries that a list of ids or a query names, by id: their order means nothing."""
    if isinstance(wanted, str):
        chosen = run_query(wanted, known, origins.place(key), problems)
        return {name: known[name] for name in sorted(chosen)}
    for position, name in enumerate(wanted):
        if name not in known:
            problems.add(
                origins.place(f"{key}[{position}]"),
                f"{name!r} is not in the catalogue{did_you_mean(name, known)}",
            )
    return {name: known[name] for name in sorted(set(wanted) & set(known))}


def run_query(query: str, rows: Mapping[str, Row], place: str, problems: Problems) -> list[str]:
    """Returns the ids that a query over the columns selects; notes if it cannot or selects none."""
    shown = query if len(query) <= _SHOWN else f"{query[:_SHOWN]}…"
    try:
        chosen, columns = select_rows(query, rows)
    except ConfigError as error:
        known = ", ".join(_columns(rows))
        problems.add(place, f"the query {shown!r} cannot be read: {error} (columns: {known})")
        return []
    if not chosen:
        values = "; ".join(f"{column}: {_values(column, rows)}" for column in columns)
        problems.add(place, f"the query {shown!r} selects nothing; values there are: {values}")
    return chosen


def _columns(rows: Mapping[str, Row]) -> list[str]:
    return list(dict.fromkeys(column for row in rows.values() for column in row))


def _values(column: str, rows: Mapping[str, Row]) -> str:
    """Returns the cells of a column, in words."""
    found = sorted({row.get(column, "") for row in rows.values()} - {""})
    return ", ".join(found[:_MOST]) + (f", … ({len(found)} in all)" if len(found) > _MOST else "")


def resolve(
    variant: Mapping[str, Any], similarity: Mapping[str, Any], files: Mapping[str, str]
) -> dict[str, Any]:
    """Returns a metric variant with what is done to the features before it.

    Args:
        variant: as the catalogue has it.
        similarity: the settings of the study.
        files: {metric: file} of those that are no part of the package.
    """
    found = split_variant(variant)
    preprocessing = {
        "row_normalize": similarity["row_normalize"],
        "center": similarity["center"],
        "clip": similarity["clip"],
        **found.before,
    }
    group_rows = variant.get("group_rows", similarity["group_rows"])
    if not preprocessing["clip"]:
        del preprocessing["clip"]
    return {
        "metric": found.metric,
        "parameters": found.parameters,
        "preprocessing": preprocessing,
        "layers": similarity["layers"],
        "permutations": similarity["permutations"],
        **({"group_rows": group_rows} if group_rows != "apart" else {}),
        **({"file": files[found.metric]} if found.metric in files else {}),
    }
