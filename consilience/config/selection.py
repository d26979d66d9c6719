"""What a study selects from the catalogues, by id or by query."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from consilience.config.catalogs import Row
from consilience.config.origins import Origins
from consilience.config.shape import Problems
from consilience.metrics import split_variant
from consilience.registry import did_you_mean


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
    table = frame(rows)
    try:
        chosen = list(table.query(query).index)
    except Exception as error:
        columns = ", ".join(table.columns)
        problems.add(place, f"the query {query!r} cannot be read ({error}); columns: {columns}")
        return []
    if not chosen:
        used = [column for column in table.columns if column in query]
        values = "; ".join(f"{c}: {', '.join(sorted(set(table[c]) - {''}))}" for c in used)
        problems.add(place, f"the query {query!r} selects nothing; values there are: {values}")
    return chosen


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
