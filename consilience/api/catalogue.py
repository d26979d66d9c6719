"""Rows and metric variants by name: of the clone's catalogues, or of those installed with it."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from consilience.config.catalogs import read_rows
from consilience.config.origins import Origins
from consilience.config.shape import Problems, check_shape, read_schema
from consilience.config.trust import check_models
from consilience.errors import ConfigError
from consilience.files import ROOT
from consilience.registry import did_you_mean
from consilience.renames import of_row, of_variants, present

Row = dict[str, str]
VARIANTS = "metrics.yaml"


def path_of(name: str) -> Path:
    """Returns a catalogue: that of the clone, or the one that was installed with the package."""
    clone = ROOT / "config" / name
    return clone if clone.exists() else Path(str(files("consilience") / "catalogue" / name))


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Returns the metric variants of config/metrics.yaml by id."""
    return of_variants(yaml.safe_load(path_of(VARIANTS).read_text(encoding="utf8")))


@cache
def rows(kind: str) -> dict[str, Row]:
    """Returns the rows of config/models.tsv or config/datasets.tsv by id.

    Args:
        kind: `models` or `datasets`.

    Raises:
        ConfigError: the catalogue cannot be read.
    """
    problems = Problems()
    path = str(path_of(f"{kind}.tsv"))
    found = read_rows([path], kind.removesuffix("s"), problems)
    _stop(problems, path)
    return found


def row_of(kind: str, given: str | Mapping[str, Any], cells: Mapping[str, Any]) -> Row:
    """Returns the row of a model or dataset, checked.

    Args:
        kind: `models` or `datasets`.
        given: its id in the catalogue; or its row, {column: cell}, in which the id may be missing.
        cells: of further columns, over those of the row.

    Raises:
        ConfigError: an unknown id or column, or a cell that cannot be; or code of its own that the
            environment variable CONSILIENCE_TRUST does not name.
    """
    key = kind.removesuffix("s")
    if isinstance(given, str):
        known, given = rows(kind), present(kind, given)
        if given not in known:
            raise ConfigError(
                f"there is no {key} {given!r} in config/{kind}.tsv{did_you_mean(given, known)}"
            )
        given = known[given]
    text = {column: "" if cell is None else str(cell) for column, cell in given.items()}
    text |= {column: "" if cell is None else str(cell) for column, cell in cells.items()}
    row = of_row({key: text.get("name", "").rpartition("/")[2].replace(":", "."), **text})
    problems = Problems()
    place = f"{key} {row[key]!r}"
    if unknown := sorted(set(cells) - set(_columns(kind))):
        problems.add(place, f"no column {unknown[0]!r}{did_you_mean(unknown[0], _columns(kind))}")
    check_shape(row, kind, place, problems)
    if kind == "models" and not problems.lines:
        check_models({row[key]: row}, Origins(), problems)
    _stop(problems, place)
    return row


def _columns(kind: str) -> list[str]:
    """Returns the columns that the catalogue has, or may have."""
    return sorted({*read_schema(kind)["properties"], *next(iter(rows(kind).values()))})


def _stop(problems: Problems, place: str) -> None:
    """Raises ConfigError with all problems noted, in a sentence each."""
    if problems.lines:
        raise ConfigError("\n  ".join(problems.lines).removeprefix(f"{place}: {place}"))
