"""Studies and catalogues: read, checked as a whole, resolved to plain values.

A study selects models, datasets and metrics by id or by query; catalogues define them. All
problems are reported at once, each with its file, place, offence and remedy.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import yaml

from consilience import datasets as dataset_sources
from consilience import models as model_sources
from consilience.errors import ConfigError
from consilience.metrics import METRICS, get_metric, metric_code
from consilience.registry import did_you_mean

Row = dict[str, str]

ROOT = Path(__file__).parents[1]
"""The project: the folder that holds Snakefile, config and workflow."""


class Known(dict[str, Any]):
    """A mapping of the study's ids whose missing keys are explained: targets are typed by hand."""

    def __init__(self, what: str, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self._what = what

    def __missing__(self, name: str) -> None:
        raise ConfigError(f"the study has no {self._what} {name!r}{did_you_mean(name, self)}")


@dataclass(frozen=True)
class Study:
    """A checked study with everything resolved."""

    settings: dict[str, Any]
    """The study with all defaults filled in."""
    models: dict[str, Row]
    datasets: dict[str, Row]
    metrics: dict[str, dict[str, Any]]
    """For each metric id: metric, parameters, preprocessing, layers, permutations."""
    labels: dict[str, str]
    """For each metric id: its name in figures."""

    @cached_property
    def models_on(self) -> dict[str, list[str]]:
        """For each dataset the models whose modality it has, by id."""
        by_modality: dict[str, list[str]] = {}
        for model, cells in self.models.items():
            by_modality.setdefault(cells["modality"], []).append(model)
        return Known(
            "dataset",
            {
                dataset: sorted(
                    model
                    for modality in row["modality"].split("+")
                    for model in by_modality.get(modality, [])
                )
                for dataset, row in self.datasets.items()
            },
        )

    @cached_property
    def extraction(self) -> dict[str, Row]:
        """For each model the cells that decide its features, without metadata."""
        rows = {name: _without_metadata(row, "models") for name, row in self.models.items()}
        return Known("model", rows)

    @cached_property
    def sampling(self) -> dict[str, Row]:
        """For each dataset the cells that decide its samples, without metadata."""
        rows = {name: _without_metadata(row, "datasets") for name, row in self.datasets.items()}
        return Known("dataset", rows)

    @cached_property
    def metric_code(self) -> dict[str, str]:
        """For each metric the hash of the code that decides its values."""
        return {
            name: metric_code(get_metric(spec["metric"], **spec["parameters"]))
            for name, spec in self.metrics.items()
        }

    def groups(self, columns: Sequence[str], query: str | None = None) -> dict[str, Row]:
        """Returns {model: {column: value}} for the models that the query selects."""
        table = _frame(self.models)
        table = table.query(query) if query else table
        return {model: {c: self.models[model].get(c, "") for c in columns} for model in table.index}


def _without_metadata(row: Row, schema: str) -> Row:
    columns = _schema(schema)["properties"]
    return {key: cell for key, cell in row.items() if key in columns and cell}


class Problems:
    """Collects problems, to be raised together."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, place: str, text: str) -> None:
        """Notes one problem at a place."""
        self.lines.append(f"{place}: {text}")

    def stop(self) -> None:
        """Raises ConfigError with all problems noted so far, if there are any."""
        if self.lines:
            count = "1 problem" if len(self.lines) == 1 else f"{len(self.lines)} problems"
            raise ConfigError("\n  ".join([f"the study has {count}", *self.lines]))


def load_study(config: Mapping[str, Any], where: str = "config/config.yaml") -> Study:
    """Returns the checked study of a configuration.

    Args:
        config: the configuration as Snakemake merged it.
        where: its file, for messages.

    Raises:
        ConfigError: lists every problem found.
    """
    problems = Problems()
    settings = _with_defaults(config, _schema("study"))
    _check_shape(settings, "study", where, problems)
    problems.stop()
    models = _read_rows(settings["catalogs"]["models"], "model", problems)
    datasets = _read_rows(settings["catalogs"]["datasets"], "dataset", problems)
    variants = _read_variants(settings["catalogs"]["metrics"], problems)
    problems.stop()
    chosen_models = _select(settings["models"], models, "models", where, problems)
    chosen_datasets = _select(settings["datasets"], datasets, "datasets", where, problems)
    chosen_metrics = _select(settings["metrics"], variants, "metrics", where, problems)
    study = Study(
        settings,
        chosen_models,
        chosen_datasets,
        Known(
            "metric", {m: _resolve(v, settings["similarity"]) for m, v in chosen_metrics.items()}
        ),
        {m: variant.get("label", m) for m, variant in chosen_metrics.items()},
    )
    _check_metrics(study, variants, problems)
    _check_sources(study, problems)
    _check_across(study, models, where, problems)
    problems.stop()
    return study


def use_clone(folder: str | Path) -> None:
    """Makes processes started from here import the package in `folder`, not an installed copy."""
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(folder), *(path for path in others if path and path != str(folder))]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


# --- shape ---------------------------------------------------------------------------------------


@cache
def _schema(name: str) -> dict[str, Any]:
    path = ROOT / "workflow" / "schemas" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf8"))


def _with_defaults(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a mapping in which absent keys have the schema's defaults, nested too."""
    filled = dict(value)
    for key, part in schema.get("properties", {}).items():
        if key not in filled and "default" in part:
            filled[key] = part["default"]
        if isinstance(filled.get(key), Mapping):
            filled[key] = _with_defaults(filled[key], part)
        elif part.get("type") == "boolean":  # `--config fresh=true` arrives as a text
            filled[key] = {"true": True, "false": False}.get(filled.get(key), filled.get(key))
    return filled


def _check_shape(value: Any, schema: str, place: str, problems: Problems) -> None:  # noqa: ANN401
    validator = jsonschema.Draft202012Validator(_schema(schema))
    for error in sorted(validator.iter_errors(value), key=lambda e: [str(p) for p in e.path]):
        path = ".".join(str(part) for part in error.path)
        for text in _say(error):
            problems.add(f"{place}: {path}" if path else place, text)


def _say(error: jsonschema.ValidationError) -> Iterator[str]:
    """Yields what is wrong and what to do, in words."""
    rule, wanted, found = error.validator, error.validator_value, error.instance
    if rule == "additionalProperties" and isinstance(found, Mapping):
        known = error.schema.get("properties", {})
        for key in sorted(set(found) - set(known)):
            yield f"unknown key {key!r}{did_you_mean(str(key), known)}"
    elif rule == "required":
        for key in sorted(set(wanted) - set(found)):
            yield f"{key!r} is missing; add it"
    elif rule == "enum":
        yield f"{found!r} is not possible{did_you_mean(str(found), map(str, wanted))}"
    elif rule == "pattern":
        yield f"{found!r} does not have the form {wanted}"
    elif rule == "anyOf":
        yield f"{found!r} is neither a query nor a list of ids"
    else:
        yield f"{error.message}; see config/README.md"


# --- catalogues ----------------------------------------------------------------------------------


def find(name: str) -> Path:
    """Returns a catalogue's path: in the working folder if it is there, else in the project."""
    return Path(name) if Path(name).exists() else ROOT / name


def _read_rows(names: Sequence[str], key: str, problems: Problems) -> dict[str, Row]:
    """Returns the rows of TSV catalogues by id."""
    rows: dict[str, Row] = {}
    for name in names:
        for number, row in _read_tsv(name, problems):
            place = f"{name} line {number} ({row.get(key, '?')})"
            _check_shape(row, f"{key}s", place, problems)
            if row.get(key) in rows:
                problems.add(place, f"the {key} {row[key]!r} is defined twice; rename one")
            rows[row.get(key, "")] = row
    return rows


def _read_tsv(name: str, problems: Problems) -> list[tuple[int, Row]]:
    path = find(name)
    if not path.exists():
        problems.add(name, "no such catalogue; correct the path under `catalogs`")
        return []
    lines = path.read_text(encoding="utf8").splitlines()
    header = lines[0].split("\t") if lines else []
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) > len(header):
            problems.add(
                f"{name} line {number}",
                f"{len(cells)} cells for {len(header)} columns; cells are separated by one tab",
            )
            continue
        cells += [""] * (len(header) - len(cells))
        rows.append((number, dict(zip(header, map(str.strip, cells), strict=True))))
    return rows


def _read_variants(names: Sequence[str], problems: Problems) -> dict[str, dict[str, Any]]:
    variants: dict[str, dict[str, Any]] = {}
    for name in names:
        path = find(name)
        if not path.exists():
            problems.add(name, "no such catalogue; correct the path under `catalogs`")
            continue
        try:
            content = yaml.safe_load(path.read_text(encoding="utf8")) or {}
        except yaml.YAMLError as error:
            problems.add(name, f"not valid YAML ({' '.join(str(error).split())})")
            continue
        _check_shape(content, "metrics", name, problems)
        for variant in sorted(set(variants) & set(content)):
            problems.add(name, f"the metric {variant!r} is defined twice; rename one")
        variants |= content
    return variants


# --- selection -----------------------------------------------------------------------------------


def _frame(rows: Mapping[str, Row]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def _select(
    wanted: str | Sequence[str], known: Mapping[str, Any], key: str, where: str, problems: Problems
) -> dict[str, Any]:
    """Returns the entries that a list of ids or a query names, by id: their order means nothing."""
    if isinstance(wanted, str):
        chosen = _query(wanted, known, f"{where}: {key}", problems)
        return {name: known[name] for name in sorted(chosen)}
    for position, name in enumerate(wanted):
        if name not in known:
            problems.add(
                f"{where}: {key}[{position}]",
                f"{name!r} is not in the catalogue{did_you_mean(name, known)}",
            )
    return {name: known[name] for name in sorted(set(wanted) & set(known))}


def _query(query: str, rows: Mapping[str, Row], place: str, problems: Problems) -> list[str]:
    table = _frame(rows)
    try:
        chosen = list(table.query(query).index)
    except Exception as error:
        columns = ", ".join(table.columns)
        problems.add(place, f"the query {query!r} cannot be read ({error}); columns: {columns}")
        return []
    if not chosen:
        used = [column for column in table.columns if column in query]
        values = "; ".join(f"{c}: {', '.join(sorted(set(table[c])))}" for c in used)
        problems.add(place, f"the query {query!r} selects nothing; values there are: {values}")
    return chosen


def _resolve(variant: Mapping[str, Any], similarity: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a metric variant with what is done to the features before it."""
    ours = ("metric", "label", "row_normalize")
    parameters = {k: v for k, v in variant.items() if k not in ours}
    takes_center = "center" in _parameter_names(variant["metric"])
    preprocessing = {
        "row_normalize": variant.get("row_normalize", similarity["row_normalize"]),
        "center": similarity["center"],
    }
    if "center" in parameters and not takes_center:
        preprocessing["center"] = parameters.pop("center")
    return {
        "metric": variant["metric"],
        "parameters": parameters,
        "preprocessing": preprocessing,
        "layers": similarity["layers"],
        "permutations": similarity["permutations"],
    }


def _parameter_names(name: str) -> list[str]:
    return list(METRICS[name]().parameters) if name in METRICS else []


# --- checks that look further --------------------------------------------------------------------


def _check_metrics(study: Study, variants: Mapping[str, Any], problems: Problems) -> None:
    for name, spec in study.metrics.items():
        try:
            metric = get_metric(spec["metric"], **spec["parameters"])
        except ConfigError as error:
            problems.add(f"metrics catalogue ({name})", str(error))
            continue
        if metric.facts.input == "unembedding":
            problems.add(
                f"metrics catalogue ({name})",
                f"metric {spec['metric']!r} compares unembeddings, whose rows are no samples; take "
                "it out of the study and call it from Python",
            )


def _check_sources(study: Study, problems: Problems) -> None:
    known = model_sources.list_sources()
    for name, row in study.models.items():
        if row["source"] not in known:
            hint = did_you_mean(row["source"], known)
            problems.add(f"model {name!r}", f"unknown source {row['source']!r}{hint}")
    known = dataset_sources.list_sources()
    for name, row in study.datasets.items():
        if row["source"] not in known:
            hint = did_you_mean(row["source"], known)
            problems.add(f"dataset {name!r}", f"unknown source {row['source']!r}{hint}")


def _check_across(study: Study, models: Mapping[str, Row], where: str, problems: Problems) -> None:
    if problems.lines:  # ids that do not exist would only be reported again
        return
    for dataset, row in study.datasets.items():
        if not study.models_on[dataset]:
            problems.add(
                f"{where}: datasets",
                f"{dataset!r} holds {row['modality']} and no model of the study takes that; "
                "leave it out or add a model",
            )
    columns = list(_frame(models).columns)
    settings = study.settings["consistency"]
    group = study.settings["plots"]["group"]
    places = [("consistency.groups", column) for column in settings["groups"]]
    for place, column in places + ([("plots.group", group)] if group else []):
        if column not in columns:
            hint = did_you_mean(column, columns)
            problems.add(f"{where}: {place}", f"no column {column!r} in the models{hint}")
    if settings["models"]:
        _query(settings["models"], study.models, f"{where}: consistency.models", problems)


__all__ = ["Problems", "Study", "find", "load_study", "use_clone"]
