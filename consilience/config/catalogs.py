"""Catalogue files: where they are and what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from consilience.config.cells import WHOLE, read_cells
from consilience.config.once import load_once
from consilience.config.origins import Origins
from consilience.config.shape import Problems, check_shape
from consilience.config.trust import allow
from consilience.errors import ConfigError
from consilience.files import find, text_of
from consilience.metrics import keep_metrics, load_metrics
from consilience.renames import of_row, of_variants

Row = dict[str, str]


def read_rows(names: Sequence[str], key: str, problems: Problems) -> dict[str, Row]:
    """Returns the rows of TSV catalogues by id."""
    rows: dict[str, Row] = {}
    for name in names:
        text = _read_text(name, problems) or ""
        for number, count, cells in read_cells(text, name, f"{key}s", problems):
            row, before = of_row(cells), len(problems.lines)
            place = f"{name} line {number} ({row.get(key, '?')})"
            check_shape(row, f"{key}s", place, problems)
            if count < len(cells) and problems.lines[before:]:
                short = f"; {count} cells for {len(cells)} columns: if one is missing, {WHOLE}"
                problems.lines[before:] = [line + short for line in problems.lines[before:]]
            if row.get(key) in rows:
                problems.add(place, f"the {key} {row[key]!r} is defined twice; rename one")
            rows[row.get(key, "")] = row
    return rows


def _read_text(name: str, problems: Problems) -> str | None:
    """Returns a catalogue's text; None and a problem if there is none."""
    path = find(name)
    if not path.is_file():
        problems.add(name, "no such catalogue; correct the path under `catalogs`")
        return None
    try:
        return text_of(path, name)
    except ConfigError as error:
        problems.add(*str(error).split(": ", 1))
        return None


def read_yaml(name: str, problems: Problems) -> Any:  # noqa: ANN401
    """Returns what a YAML catalogue says, {} if it is empty; None and a problem if it cannot be."""
    text = _read_text(name, problems)
    if text is None:
        return None
    try:
        return load_once(text) or {}
    except yaml.YAMLError as error:
        problems.add(name, f"not valid YAML ({' '.join(str(error).split())})")
        return None


def read_variants(names: Sequence[str], problems: Problems) -> dict[str, dict[str, Any]]:
    """Returns the metric variants of YAML catalogues by id."""
    variants: dict[str, dict[str, Any]] = {}
    for name in names:
        content = read_yaml(name, problems)
        if content is None:
            continue
        check_shape(content, "metrics", name, problems)
        if not isinstance(content, Mapping):
            continue
        for variant in sorted(set(variants) & set(content)):
            problems.add(name, f"the metric {variant!r} is defined twice; rename one")
        variants |= content if problems.lines else of_variants(content)
    return variants


def read_metric_files(names: Sequence[str], origins: Origins, problems: Problems) -> dict[str, str]:
    """Runs the files of a study's own metrics that the user lets run, and returns {metric: file}.

    Metrics of other files, which a study before had, are forgotten.
    """
    keep_metrics(names)
    found: dict[str, str] = {}
    for position, name in enumerate(names):
        place = origins.place(f"catalogs.metric_modules[{position}]")
        if find(name).is_file() and not allow(name, place, "is a program", origins, problems):
            continue
        try:
            metrics = load_metrics(name)
        except ConfigError as error:
            problems.add(place, str(error))
            continue
        check_shape({metric: {"metric": metric} for metric in metrics}, "metrics", place, problems)
        found |= dict.fromkeys(metrics, name)
    return found


def add_own(
    variants: Mapping[str, dict[str, Any]], files: Mapping[str, str], problems: Problems
) -> dict[str, dict[str, Any]]:
    """Returns the variants and, by their own names, the metrics of a study's own files.

    Args:
        variants: of the catalogues.
        files: {metric: its file}.
        problems: a variant of another metric that is called like one of these is added to it.
    """
    for metric in sorted(set(files) & set(variants)):
        if (other := variants[metric]["metric"]) != metric:
            text = f"the catalogue has a variant {metric!r} of the metric {other!r}"
            problems.add(files[metric], f"{text}; give yours another name")
    return {**{metric: {"metric": metric} for metric in files}, **variants}
