"""Variants of metrics, as config/metrics.yaml lists them: which keys are whose."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from consilience.metrics._base import METRICS

BEFORE = ("row_normalize", "center", "clip")
"""What is done to features before a metric, unless the metric has a parameter of that name."""
_OURS = ("metric", "label", "group_rows", *BEFORE)


class Variant(NamedTuple):
    """A named variant of a metric."""

    metric: str
    label: str | None
    """Its name in figures, if it has one of its own."""
    parameters: dict[str, Any]
    """Of the metric."""
    before: dict[str, Any]
    """What it says of `BEFORE`."""


def split_variant(entry: Mapping[str, Any]) -> Variant:
    """Returns the parts of a variant: a key that the metric has as a parameter is a parameter.

    Args:
        entry: {"metric": name, …}; the metric need not be known, nor its parameters.
    """
    name = entry["metric"]
    own = METRICS[name]().parameters if name in METRICS else {}
    parameters = {k: v for k, v in entry.items() if k in own or k not in _OURS}
    before = {k: entry[k] for k in BEFORE if k in entry and k not in own}
    return Variant(name, entry.get("label"), parameters, before)
