"""Whether what a study and its tables say can be shown together: said before anything is drawn."""

from collections.abc import Mapping
from typing import Any

from consilience.errors import DataError

REMEDY = "run snakemake all_explorer again, or ask for the bundle again"


def check_study(study: Mapping[str, Any]) -> None:
    """Raises DataError unless a study names models, datasets, metrics and labels by texts."""
    for kind in ("settings", "models", "datasets", "metrics", "labels"):
        if not isinstance(study.get(kind), Mapping):
            raise DataError(f"the study has no mapping {kind!r}; {REMEDY}")
        if odd := [name for name in study[kind] if not isinstance(name, str)]:
            raise DataError(f"the study names {odd[0]!r} among its {kind}, no text; {REMEDY}")
    for metric, label in study["labels"].items():
        if not isinstance(label, str):
            raise DataError(f"the label of the metric {metric!r} is {label!r}, no text; {REMEDY}")
    for kind in ("models", "datasets"):
        for name, row in study[kind].items():
            if not isinstance(row, Mapping):
                raise DataError(f"{kind[:-1]} {name!r} of the study is no row of cells; {REMEDY}")


def check_known(found: Mapping[str, set[str]], known: Mapping[str, list[str]], place: str) -> None:
    """Raises DataError if a table is of a dataset, metric or model that the study has not.

    Args:
        found: {kind: ids of the table}.
        known: {kind: ids of the study}.
        place: the table, for the message.
    """
    for kind, ids in found.items():
        if unknown := sorted(ids - set(known[kind]), key=str):
            raise DataError(
                f"{place} has the {kind[:-1]} {unknown[0]!r}, none of the study's; {REMEDY}"
            )
