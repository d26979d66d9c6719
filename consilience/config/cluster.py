"""What is odd in the file of a cluster's partitions, which the SLURM plug-in reads by itself."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_SEXAGESIMAL = re.compile(r"[0-9]+(:[0-5]?[0-9])+")


def odd_settings(settings: Any) -> list[str]:  # noqa: ANN401 - of an executor plug-in
    """Returns `odd_times` of the partitions that an executor reads, if it does."""
    path = getattr(settings, "partition_config", None)
    return odd_times(path) if path else []


def odd_times(path: str | Path) -> list[str]:
    """Returns a sentence for each time written so that YAML reads another one than is meant.

    YAML 1.1 takes an unquoted `1:30:45` for a number of base 60, here 5,445; the plug-in takes a
    number for minutes and a text for a time, here 91 minutes.
    """
    path = Path(path)
    try:
        root = yaml.compose(path.read_text(encoding="utf8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []  # the plug-in says so
    return [
        f"{path} line {node.start_mark.line + 1}: {key} {node.value} without quotes is "
        f"{yaml.safe_load(node.value):,} minutes to YAML; write minutes, or put it in quotes"
        for key, node in _scalars(root)
        if node.style is None and _SEXAGESIMAL.fullmatch(node.value)
    ]


def _scalars(node: yaml.Node | None, key: str = "") -> Iterator[tuple[str, yaml.ScalarNode]]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from _scalars(value, str(name.value))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _scalars(value, key)
    elif isinstance(node, yaml.ScalarNode):
        yield key, node
