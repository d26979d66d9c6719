"""What a study trains, and which jobs are of several models: from what, and what decides each."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

from consilience.code import code_of
from consilience.config import Study
from consilience.config.imports import Imports
from consilience.config.wildcards import looked_up
from consilience.files import digest
from consilience.networks import modules_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consilience.config.presence import Presence
    from consilience.results import Results


MOST_EXTRACTED = 60
"""Models whose features on a dataset one job makes."""


@dataclass(frozen=True)
class Group:
    """Models that one job trains, or makes features of."""

    name: str
    """`{recipe}.{variant}`, the recipe or the id of the only one."""
    models: tuple[str, ...]
    dataset: str
    """That they learn from."""
    test: str
    """Another dataset that they are scored on; empty: none."""
    rule: str
    """The ending of the names of its rules."""


class Trainings(Imports):
    """The part of a plan about training, and features and probes of which a job makes several."""

    study: Study
    results: "Results"
    settings: dict[str, Any]
    code: Callable[..., str]
    extraction: dict[str, Any]
    extracted: dict[str, Any]
    presence: "Presence"

    groups_attacked: "list[Group]"
    towers: dict[str, str]

    def features(self, dataset: str, model: str) -> str:
        """Returns the features of a model on a dataset, or on the one that this is a view of."""
        raise NotImplementedError

    def each(self, name: str, **wildcards: "Iterable[str]") -> list[str]:
        """Returns the paths of a kind of file for all combinations of wildcard values."""
        raise NotImplementedError

    @cached_property
    def groups_trained(self) -> list[Group]:
        """The jobs of training: of all models of the variants that the study has models of."""
        together = self.settings["train"]["together"]
        members: dict[str, list[str]] = {}
        if together == "recipe":
            members = self._by_recipe()
        elif together:
            for model, training in self.study.trainings.items():
                members.setdefault(training.group, []).append(model)
        else:
            members = {m: [m] for m in self.study.trainings if m in self.study.models}
        rules = rule_names(members)
        return [
            Group(name, tuple(models), *(self._datasets(models[0])), rules[name])
            for name, models in sorted(members.items())
        ]

    def _by_recipe(self) -> dict[str, list[str]]:
        """For each recipe its models, in parts if they do not all learn from the same dataset."""
        alike: dict[tuple[str, ...], list[str]] = {}
        for model, training in self.study.trainings.items():
            divided = "split" if training.spec["overlap"] else ""
            kind = (training.row["recipe"], *self._datasets(model), divided)
            alike.setdefault(kind, []).append(model)
        parts: dict[str, list[list[str]]] = {}
        for (recipe, *_), models in alike.items():
            parts.setdefault(recipe, []).append(models)
        return _named(parts)

    def _datasets(self, model: str) -> tuple[str, str]:
        spec = self.study.trainings[model].spec
        return spec["dataset"], spec["test"]

    @cached_property
    def trained(self) -> list[str]:
        """The models of the study that are trained."""
        return [model for model in self.study.models if model in self.study.trainings]

    def weights(self, model: str) -> list[str]:
        """Returns the weights that a model's features are made from, if the workflow makes them."""
        return self.each("train", model=[model]) if model in self.study.trainings else []

    def learnt(self, model: str) -> str:
        """Returns the hash of what a model learns and how, by which its weights are known."""
        training = self.study.trainings.get(model)
        return digest(training.spec) if training else ""

    def start_of(self, model: str) -> dict[str, str]:
        """Returns the cell `weights` of what a model's training starts from, if it is trained."""
        training = self.study.trainings.get(model)
        return {"weights": training.spec["weights"]} if training else {}

    def training_inputs(self, group: Group) -> dict[str, Any]:
        """Returns the samples that a job learns from and scores on."""
        names = {"samples": group.dataset, **({"test": group.test} if group.test else {})}
        found = {key: self.results.of("samples", dataset=name) for key, name in names.items()}
        if self.study.trainings[group.models[0]].spec["overlap"]:
            found["split"] = sorted(set(map(self.split_of, group.models)))
        return found

    def split_of(self, model: str) -> str:
        """Returns the file of the split of which a model learns one side."""
        return self.results.of("split", split=self.study.trainings[model].split)

    @cached_property
    def splits(self) -> dict[str, Any]:
        """For each split with a known overlap what it is of, and by which rule."""
        found = {}
        for training in self.study.trainings.values():
            spec = training.spec
            if spec["overlap"]:
                rule = {key: value for key, value in spec["overlap"].items() if key != "side"}
                facts = {"dataset": spec["dataset"], "rule": rule, "rows": spec["split"]}
                found[training.split] = {**facts, "seed": self.settings["seed"]}
        return found

    @property
    def splits_by_dataset(self) -> dict[str, list[str]]:
        """For each dataset its splits, which one job makes."""
        found: dict[str, list[str]] = {}
        for split, facts in sorted(self.splits.items()):
            found.setdefault(facts["dataset"], []).append(split)
        return found

    def training_of(self, group: Group) -> dict[str, Any]:
        """Returns all that decides the models of a job besides the samples."""
        rows = {name: self.extracted[name] for name in (group.dataset, group.test) if name}
        specs = {model: self.study.trainings[model].spec for model in group.models}
        modules = {name for spec in specs.values() for name in modules_of(spec["architecture"])}
        variants: dict[str, dict[str, Any]] = {}
        for model, spec in specs.items():
            variants.setdefault(self.study.trainings[model].group, {})[model] = spec
        return {
            "models": list(specs),
            "variants": list(variants.values()),
            "train": rows[group.dataset],
            "test": rows.get(group.test),
            "splits": {m: self.split_of(m) for m, spec in specs.items() if spec["overlap"]},
            "autocast": self.settings["train"]["autocast"],
            "code": [self.code("train"), code_of(*sorted(modules))],
        }

    @property
    def learned_rows(self) -> dict[str, dict[str, str]]:
        """For each trained model what tells it from others of its recipe, and what it learns."""
        keys = ("recipe", "variant", "seed")
        return {
            model: {
                **{key: self.study.models[model][key] for key in keys},
                "learnt": self.learnt(model),
            }
            for model in self.trained
        }

    @property
    def named_alike(self) -> dict[str, list[str]]:
        """For each name the rules that are made for groups and that it stands for."""
        return {
            "train": [f"train_{group.rule}" for group in self.groups_trained],
            "features": [
                *(f"features_{group.rule}" for group in self.groups_extracted),
                *(["features_imported"] if self.imported else []),
            ],
            "probe": [f"probe_{group.rule}" for group in self.groups_probed],
            "transfer": [f"transfer_{group.rule}" for group in self.groups_attacked],
        }

    # Features of what is trained

    @property
    def weights_input(self) -> dict[str, Any]:
        """The weights that features are made from, as an input; nothing if nothing is trained."""
        return {"weights": looked_up(lambda wc: self.weights(wc.model))} if self.trained else {}

    @cached_property
    def groups_extracted(self) -> list[Group]:
        """The models whose features on a dataset one job makes: those of a recipe.

        Starting a job takes as long as the features of several small models; no job has more than
        `MOST_EXTRACTED` of them, so that a cluster still works side by side.
        """
        if not self.settings["train"]["together"]:
            return []
        alike: dict[tuple[str, ...], list[str]] = {}
        for model in self.trained:
            row = self.study.models[model]
            kind = (row["recipe"], row["modality"], row.get("runs_on", ""))
            alike.setdefault(kind, []).append(model)
        parts: dict[str, list[list[str]]] = {}
        for (recipe, *_), models in sorted(alike.items()):
            size = ceil(len(models) / ceil(len(models) / MOST_EXTRACTED))
            cuts = range(0, len(models), size)
            parts.setdefault(recipe, []).extend(models[i : i + size] for i in cuts)
        named = {name: models for name, models in _named(parts).items() if len(models) > 1}
        rules = rule_names(named)
        return [
            Group(name, tuple(models), *self._datasets(models[0]), rules[name])
            for name, models in named.items()
        ]

    def extractions_of(self, group: Group) -> Callable[[Any], Any]:
        """For the job of a group's features all that decides them besides samples and weights."""

        def find(wc: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - wildcards
            for model in group.models:
                self.presence.need_features(wc.dataset, model)
            return [(self.extraction[m], self.extracted[wc.dataset]) for m in group.models]

        return looked_up(find)

    @cached_property
    def groups_probed(self) -> list[Group]:
        """The models whose probes on a dataset one job makes: as with features.

        Models that name classes from prompts have a job each, which waits for a text tower.
        """
        return [g for g in self.groups_extracted if not set(g.models) & set(self.towers)]

    def features_of(self, group: Group) -> Callable[[Any], Any]:
        """For the job of a group's probes the features that it reads."""
        return looked_up(lambda wc: [self.features(wc.dataset, m) for m in group.models])


def _named(parts: "dict[str, list[list[str]]]") -> dict[str, list[str]]:
    """Returns the lists of each recipe under its name, with a number where there are several."""
    return {
        recipe if len(lists) == 1 else f"{recipe}.{number}": models
        for recipe, lists in parts.items()
        for number, models in enumerate(lists, 1)
    }


def rule_names(groups: "Iterable[str]") -> dict[str, str]:
    """Returns for each group words of letters, digits and underscores that no other one has."""
    plain = {name: re.sub(r"\W", "_", name) for name in groups}
    counts = Counter(plain.values())
    return {
        name: word if counts[word] == 1 else f"{word}_{digest(name)[:8]}"
        for name, word in plain.items()
    }
