"""Studies and catalogues: read, checked as a whole, resolved to plain values.

A study selects models, datasets and metrics by id or by query; catalogues define them. All
problems are reported at once, each with its file, place, offence and remedy.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from consilience.config.catalogs import Row, add_own, read_metric_files, read_rows, read_variants
from consilience.config.caused import check_causes
from consilience.config.checks import (
    check_across,
    check_derived,
    check_metrics,
    check_renames,
    check_sources,
    find_parents,
)
from consilience.config.compared import check_pairs
from consilience.config.grounded import check_grounding, read_tests
from consilience.config.origins import DEFAULT, Origins
from consilience.config.queries import select_rows
from consilience.config.recipes import Training, companions, expand, read_recipes, rows_of
from consilience.config.selection import resolve, select
from consilience.config.shape import Problems, check_shape, read_schema, with_defaults
from consilience.config.sharded import check_shards
from consilience.config.trust import check_models, without_consent
from consilience.errors import ConfigError
from consilience.files import ROOT, find
from consilience.metrics import METRICS, metric_code, metric_of
from consilience.registry import did_you_mean
from consilience.renames import of_study
from consilience.similarity import sharing_of


class Known(dict[str, Any]):
    """A mapping of the study's ids whose missing keys are explained: targets are typed by hand."""

    def __init__(
        self, what: str, entries: Mapping[str, Any], hints: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(entries)
        self._what, self._hints = what, hints or {}

    def like(self, entries: Mapping[str, Any]) -> "Known":
        """Returns other entries whose missing keys are explained in the same way."""
        return Known(self._what, entries, self._hints)

    def __missing__(self, name: str) -> None:
        if name in self._hints:
            raise ConfigError(self._hints[name])
        raise ConfigError(f"the study has no {self._what} {name!r}{did_you_mean(name, self)}")


@dataclass(frozen=True)
class Study:
    """A checked study with everything resolved."""

    settings: dict[str, Any]
    """The study with all defaults filled in."""
    models: dict[str, Row]
    datasets: dict[str, Row]
    metrics: dict[str, dict[str, Any]]
    """For each metric id: metric, parameters, preprocessing, layers, permutations; its own file."""
    labels: dict[str, str]
    """For each metric id: its name in figures."""
    parents: dict[str, Row] = field(default_factory=dict)
    """Datasets that the study does not select, but views of them, or models trained on them."""
    trainings: dict[str, Training] = field(default_factory=dict)
    """The models that are trained: those of the study, and those that come with them."""
    tests: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """For each recipe what is known of its models: see `consilience.config.grounded`."""

    @cached_property
    def touched(self) -> dict[str, Row]:
        """The datasets of the study, those that they are views of, and those of trainings."""
        return {**self.parents, **self.datasets}

    @cached_property
    def chains(self) -> dict[str, list[str]]:
        """For each dataset itself, its parent, … to the one that has features of its own."""
        found = {}
        for dataset in self.touched:
            chain = [dataset]
            while parent := self.touched[chain[-1]].get("parent"):
                chain.append(parent)
            found[dataset] = chain
        return Known("dataset", found)

    @cached_property
    def models_on(self) -> dict[str, list[str]]:
        """For each dataset the models that run on it, by id: those of its modality.

        A model whose column `runs_on` names datasets runs on these and on views of them alone.
        """
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
                    if self._runs_on(model, dataset)
                )
                for dataset, row in self.touched.items()
            },
        )

    def _runs_on(self, model: str, dataset: str) -> bool:
        named = self.models[model].get("runs_on", "")
        return not named or bool(set(map(str.strip, named.split(","))) & set(self.chains[dataset]))

    @cached_property
    def extraction(self) -> dict[str, Row]:
        """For each model the cells that decide its features, without metadata."""
        rows = {
            name: {k: v for k, v in _without_metadata(row, "models").items() if k != "runs_on"}
            for name, row in self.models.items()
        }
        return Known("model", rows)

    @cached_property
    def sampling(self) -> dict[str, Row]:
        """For each dataset the cells that decide its samples, without metadata."""
        rows = {name: _without_metadata(row, "datasets") for name, row in self.touched.items()}
        return Known("dataset", rows)

    @cached_property
    def extracted(self) -> Known:
        """The rows of `sampling` of datasets that have features of their own: all but views."""
        hints = {
            name: f"{name!r} is a view and has no features of its own: they are those of "
            f"{chain[-1]!r}, in results/features/{chain[-1]}"
            for name, chain in self.chains.items()
            if len(chain) > 1
        }
        own = {
            name: {key: cell for key, cell in row.items() if key != "group"}  # only draws know it
            for name, row in self.sampling.items()
            if name not in hints
        }
        return Known("dataset", own, hints)

    @cached_property
    def metric_code(self) -> dict[str, str]:
        """For each metric the hash of the code that decides its values."""
        return {name: metric_code(metric_of(spec)) for name, spec in self.metrics.items()}

    @cached_property
    def shared(self) -> dict[str, list[str]]:
        """For all products and neighbour lists that metrics share, the ids of these metrics."""
        return sharing_of(self.metrics)

    @cached_property
    def labelled(self) -> dict[str, bool]:
        """For each metric whether it takes what only the samples have, such as their classes."""
        return Known(
            "metric",
            {
                name: bool(METRICS[spec["metric"]].class_facts.shared)
                for name, spec in self.metrics.items()
            },
        )

    def groups(self, columns: Sequence[str], query: str | None = None) -> dict[str, Row]:
        """Returns {model: {column: value}} for the models that the query selects."""
        chosen = select_rows(query, self.models)[0] if query else self.models
        return {model: {c: self.models[model].get(c, "") for c in columns} for model in chosen}


def _without_metadata(row: Row, schema: str) -> Row:
    columns = read_schema(schema)["properties"]
    return {key: cell for key, cell in row.items() if key in columns and cell}


def load_study(config: Mapping[str, Any], where: str | Origins = DEFAULT) -> Study:
    """Returns the checked study of a configuration.

    Args:
        config: the configuration as Snakemake merged it.
        where: the files that its keys come from, or the name of one, for messages.

    Raises:
        ConfigError: lists every problem found.
    """
    problems = Problems()
    origins = Origins(((where, config),)) if isinstance(where, str) else where
    given = without_consent(config, origins, problems)
    problems.stop()
    settings = with_defaults(given, read_schema("study"))
    check_shape(settings, "study", origins.place, problems)
    problems.stop()
    settings = of_study(settings)
    models = read_rows(settings["catalogs"]["models"], "model", problems)
    datasets = read_rows(settings["catalogs"]["datasets"], "dataset", problems)
    files = read_metric_files(settings["catalogs"]["metric_modules"], origins, problems)
    variants = read_variants(settings["catalogs"]["metrics"], problems)
    check_renames(settings["catalogs"], (models, datasets, variants), problems)
    recipes = read_recipes(settings["catalogs"]["recipes"], problems)
    problems.stop()
    variants = add_own(variants, files, problems)
    trainings = expand(recipes, datasets, settings["seed"], settings["models"], problems)
    tests = read_tests(recipes, trainings, problems)
    models |= rows_of(trainings, models, problems)
    problems.stop()
    chosen_models = select(settings["models"], models, "models", origins, problems)
    chosen_datasets = select(settings["datasets"], datasets, "datasets", origins, problems)
    parents = find_parents(chosen_datasets, datasets, problems)
    needed = companions(trainings, chosen_models)
    for training in needed.values():
        used = {name: datasets[name] for name in training.datasets if name not in chosen_datasets}
        parents |= used
    check_derived({**parents, **chosen_datasets}, datasets, problems)
    chosen_metrics = select(settings["metrics"], variants, "metrics", origins, problems)
    study = Study(
        settings,
        chosen_models,
        chosen_datasets,
        Known(
            "metric",
            {m: resolve(v, settings["similarity"], files) for m, v in chosen_metrics.items()},
        ),
        {m: variant.get("label", m) for m, variant in chosen_metrics.items()},
        parents,
        needed,
        tests,
    )
    check_metrics(study, problems)
    check_sources(study, problems)
    check_models(study.models, origins, problems)
    check_across(study, models, origins, problems)
    check_grounding(study, origins, problems)
    check_causes(study, origins, problems)
    check_pairs(study, origins, problems)
    check_shards(study, origins, problems)
    problems.stop()
    return study


def use_clone(folder: str | Path) -> None:
    """Makes processes started from here import the package in `folder`, not an installed copy."""
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(folder), *(path for path in others if path and path != str(folder))]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


__all__ = ["ROOT", "Known", "Problems", "Study", "find", "load_study", "use_clone"]
