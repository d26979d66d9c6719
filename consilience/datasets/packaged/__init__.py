"""Source `packaged`: data that come inside Python packages, or are drawn on the spot.

The column `name` picks a builder, one module each: `openmoji`, `openmoji_line`, `openmoji_color`,
`digits`, `photo_crops`, `movie_snippets`, `shapes` and `composites` (`shapes:N` for N of them), and
`wordnet_glosses:FOLDER`, whose file comes with Debian's package wordnet-base
(`/usr/share/wordnet`). None needs a network, and no data package is imported: its files are found,
checked against the SHA-256 pinned in the builder's module, and read. Every set is one pool, so the
column `splits` stays blank.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from consilience.datasets import Dataset
from consilience.errors import ConfigError
from consilience.registry import Registry, did_you_mean

BUILDERS: Registry[Callable[[str], Dataset]] = Registry("packaged dataset", __name__)
"""Name to builder; a builder is called with what follows the colon in the column `name`."""


def open(row: Mapping[str, Any]) -> Dataset:
    """Returns the dataset that `row["name"]` names.

    Raises:
        ConfigError: no such builder, or splits are named.
        DataError: the package is not installed or its files are others than pinned.
    """
    if str(row.get("splits") or "").strip():
        raise ConfigError(
            f"dataset {row.get('dataset')!r}, column splits ({row['splits']!r}): packaged data "
            "are one pool; leave the cell blank and set test_share"
        )
    name, _, argument = str(row["name"]).partition(":")
    return BUILDERS[name](argument)


def look_for(row: Mapping[str, Any]) -> None:
    """Raises an error if there is no such builder, or what its argument names is not there.

    The latter is told by `look_for(argument)` of the builder's module, if it has one.
    """
    name, _, argument = str(row["name"]).partition(":")
    if name not in BUILDERS:
        raise ConfigError(f"unknown packaged dataset {name!r}{did_you_mean(name, BUILDERS)}")
    module = sys.modules[BUILDERS[name].__module__]
    if hasattr(module, "look_for"):
        module.look_for(argument)


def refuse_argument(name: str, argument: str) -> None:
    """Raises ConfigError if something follows the name of a builder that takes nothing."""
    if argument:
        raise ConfigError(f"packaged dataset {name!r} takes nothing after the colon: {argument!r}")
