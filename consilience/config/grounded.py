"""What a study grounds: the tests of its recipes, checked, and their files."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from consilience.alterations.spec import parse_cell
from consilience.config.origins import Origins
from consilience.config.recipes import Recipe, Training
from consilience.config.shape import Problems
from consilience.forms.inputs import model_inputs
from consilience.grounding.cases import OUTPUT, OUTPUTS, PREDICTED
from consilience.grounding.published.names import MEASURES
from consilience.metrics import METRICS
from consilience.registry import did_you_mean
from consilience.samples.views import parse_view

if TYPE_CHECKING:
    from consilience.config import Study
    from consilience.results import Results

APART = ("recovery", "published")
"""Keys of the block that need no recipe."""
RELATED = {"PWCCA": "pwcca", "SVCCA": "svcca", "EigenspaceOverlapScore": "eigenspace_overlap",
           "GeometryScore": "geometry_score"}  # fmt: skip
"""Metrics of ours of the same kind as measures of ReSi that are none of ours."""
GATES = ("informative", "uninformative", "altered")
"""Keys of a test that name datasets on which it is seen whether its groups behave differently."""
THRESHOLDS = ("min_labels", "min_shortcuts", "min_augmentation")
DRAWN = ("bootstrap", "permutations")
LEAST = 2
"""Models of a variant that a test needs."""

Test = dict[str, Any]
"""Of a recipe: `groups`, which are {variant: models}, `on`, `gate` and `measures`."""


def read_tests(
    recipes: Mapping[str, Recipe], trainings: Mapping[str, Training], problems: Problems
) -> dict[str, dict[str, Test]]:
    """Returns the tests of every recipe that trains anything, with the models of their variants."""
    members: dict[str, dict[str, list[str]]] = {}
    for model, training in trainings.items():
        variants = members.setdefault(training.row["recipe"], {})
        variants.setdefault(training.row["variant"], []).append(model)
    return {
        name: {
            test: _read(f"recipe {name!r}, test {test!r}", recipes[name], given, variants, problems)
            for test, given in recipes[name].get("tests", {}).items()
        }
        for name, variants in members.items()
    }


def _read(
    place: str,
    recipe: Recipe,
    given: Mapping[str, Any],
    variants: Mapping[str, list[str]],
    problems: Problems,
) -> Test:
    named = given.get("groups") or [given["models"]]
    for variant in named:
        if variant not in variants:
            hint = did_you_mean(variant, variants)
            problems.add(place, f"there is no variant {variant!r}{hint}")
        elif len(variants[variant]) < LEAST:
            problems.add(
                place,
                f"the variant {variant!r} has one model, and a test needs {LEAST}; raise `seeds`",
            )
    default = [*recipe.get("runs_on", []), recipe.get("test"), recipe["dataset"]]
    return {
        "groups": {variant: variants.get(variant, []) for variant in named},
        "on": given.get("on") or next(filter(None, default)),
        "gate": {key: given[key] for key in GATES if key in given},
        "measures": given.get("measures", list(OUTPUTS)),
    }


def check_grounding(study: "Study", where: Origins, problems: Problems) -> None:
    """Notes tests whose models or datasets the study lacks, and a block that grounds nothing."""
    if study.settings["grounding"] is None:
        return
    found = False
    for recipe, test, given in wanted(study):
        found = True
        place = f"recipe {recipe!r}, test {test!r}"
        lacking = [m for models in given["groups"].values() for m in models]
        lacking = [model for model in lacking if model not in study.models]
        if lacking:
            problems.add(
                place,
                f"the study lacks its model {lacking[0]!r} ({len(lacking)} in all); select them, "
                "or leave the test out of `grounding.tests`",
            )
            continue
        for dataset in dict.fromkeys([given["on"], *given["gate"].values()]):
            _check_dataset(study, place, dataset, given, problems)
    _check_recovery(study, where, problems)
    if not found and not any(study.settings["grounding"][key] for key in APART):
        problems.add(
            where.place("grounding"),
            "no recipe of the study's models has any of the tests asked for; add `tests` to a "
            "recipe, ask for `recovery`, which needs none, or leave the block out",
        )


def _check_recovery(study: "Study", where: Origins, problems: Problems) -> None:
    given = study.settings["grounding"]["recovery"] or {}
    for dataset in given.get("datasets", ()):
        if dataset not in study.datasets:
            hint = did_you_mean(dataset, study.datasets)
            problems.add(
                where.place("grounding"), f"`recovery` names {dataset!r}, no dataset of it{hint}"
            )


def _check_dataset(
    study: "Study", place: str, dataset: str, given: Test, problems: Problems
) -> None:
    if dataset not in study.datasets:
        hint = did_you_mean(dataset, study.datasets)
        problems.add(place, f"the dataset {dataset!r} is not in the study{hint}; select it")
        return
    on = set(study.models_on[dataset])
    other = [m for models in given["groups"].values() for m in models if m not in on]
    if other:
        problems.add(
            place,
            f"{other[0]!r} does not run on {dataset!r}; name that in `runs_on` of its recipe or "
            "variant",
        )


def wanted(study: "Study") -> Iterator[tuple[str, str, Test]]:
    """Yields (recipe, name, test) of those asked for, of recipes that the study has models of."""
    chosen = {row["recipe"] for m, row in study.models.items() if m in study.trainings}
    tests = study.settings["grounding"]["tests"]
    for recipe in sorted(chosen & set(study.tests)):
        for test in tests:
            if test in study.tests[recipe]:
                yield recipe, test, study.tests[recipe][test]


class Grounded:
    """The part of a plan that is about grounding."""

    study: "Study"
    results: "Results"
    settings: dict[str, Any]

    def each(self, name: str, **wildcards: Iterable[str]) -> list[str]:
        """Returns the paths of a kind of file for all combinations of wildcard values."""
        raise NotImplementedError

    @cached_property
    def cases(self) -> list[dict[str, Any]]:
        """The tests of all recipes of the study, as `consilience.grounding.cases.Case` has them."""
        if not self.settings["grounding"]:
            return []
        return [self._case(*found) for found in wanted(self.study)]

    def _case(self, recipe: str, test: str, given: Test) -> dict[str, Any]:
        models = [model for models in given["groups"].values() for model in models]
        return {
            "recipe": recipe,
            "test": test,
            "dataset": given["on"],
            "domain": self.study.models[models[0]]["modality"],
            "groups": given["groups"],
            "starts": {model: self._start(model) for model in models},
            "measures": given["measures"] if test == OUTPUT else [],
            "gate": given["gate"],
        }

    def _start(self, model: str) -> str:
        """Returns what the weights of a model were drawn from, or taken from."""
        spec = self.study.trainings[model].spec
        return spec["weights"] or str(spec["seeds"]["init"])

    @property
    def grounded_on(self) -> list[str]:
        """The datasets on which tests compare models."""
        return list(dict.fromkeys(case["dataset"] for case in self.cases))

    @property
    def answered(self) -> list[str]:
        """The datasets on which answers are asked for: those, and those of gates."""
        gates = [dataset for case in self.cases for dataset in case["gate"].values()]
        return list(dict.fromkeys([*self.grounded_on, *gates]))

    def answering(self, dataset: str) -> list[str]:
        """Returns the models whose answers on a dataset tests need."""
        found: dict[str, None] = {}
        for case in self.cases:
            if dataset in (case["dataset"], *case["gate"].values()):
                found |= dict.fromkeys(m for models in case["groups"].values() for m in models)
        return list(found)

    def answer_sets(self, dataset: str) -> list[list[str]]:
        """Returns the sets of models whose answers on a dataset are compared with one another."""
        found = [
            sorted(model for models in case["groups"].values() for model in models)
            for case in self.cases
            if case["test"] in PREDICTED and case["dataset"] == dataset
        ]
        return [list(models) for models in dict.fromkeys(map(tuple, found))]

    def held_out(self, dataset: str) -> bool:
        """Returns whether no model of a test learnt from any sample of a dataset.

        Where one learnt from it, or from what it is a view or an alteration of, only samples of a
        test split were kept from it: all, of `split=test`, or those that this dataset calls so.
        """
        learnt = {self.study.trainings[model].spec["dataset"] for model in self.answering(dataset)}
        chain = [self.study.touched[name] for name in self.study.chains[dataset]]
        if any(row.get("parent") and parse_view(row).split == "test" for row in chain):
            return True
        origin = self.study.chains[dataset][-1]
        if cell := self.study.touched[origin].get("alteration"):
            derived = parse_cell(cell, f"dataset {origin!r}")
            return derived.split == "test" or derived.of not in learnt
        return origin not in learnt

    @property
    def grounded(self) -> list[str]:
        """The metrics that are grounded: all of the study, if it has any test."""
        return list(self.study.metrics) if self.cases else []

    @property
    def costed(self) -> bool:
        """Whether the study says what metrics took to compute."""
        return any(path.endswith("/costs.parquet") for path in self.grounding_ranks)

    @property
    def metric_modules(self) -> dict[str, str]:
        """The module of each metric that is grounded, without its package."""
        specs = {metric: self.study.metrics[metric] for metric in self.grounded}
        return {
            metric: "" if "file" in spec else METRICS[spec["metric"]].__module__.rpartition(".")[2]
            for metric, spec in specs.items()
        }

    @property
    def thresholds(self) -> dict[str, float]:
        """By how much groups must behave differently."""
        return self._grounding(THRESHOLDS)

    @property
    def grounding_draws(self) -> dict[str, int]:
        """How often models are drawn and relabelled."""
        return self._grounding(DRAWN)

    def _grounding(self, keys: Iterable[str]) -> dict[str, Any]:
        given = self.settings["grounding"]
        return {key: given[key] for key in keys} if given else {}

    @property
    def grounding_ranks(self) -> list[str]:
        """The tables over all metrics, if there are any."""
        names = ("grounding_ranks", "grounding_summary", "grounding_differences",
                 "grounding_costs")  # fmt: skip
        return [self.results[name] for name in names] if self.cases else []

    @property
    def published(self) -> dict[str, list[str]]:
        """For each source the published tables that are to stand beside the study's ranks."""
        given = self.settings["grounding"]
        return {name: list(files) for name, files in given["published"].items()} if given else {}

    @property
    def published_files(self) -> list[str]:
        """All of these tables."""
        return [file for files in self.published.values() for file in files]

    @property
    def published_modules(self) -> dict[str, str]:
        """The module of each metric of the study and of ReSi, without its package."""
        named = {measure.variant or name: RELATED.get(name, measure.variant)
                 for name, measure in MEASURES.items()}  # fmt: skip
        found = {}
        for name, variant in named.items():
            registered = max((m for m in METRICS if variant.startswith(m)), key=len, default="")
            if registered:
                found[name] = METRICS[registered].__module__.rpartition(".")[2]
        return found | self.metric_modules

    @property
    def published_tables(self) -> list[str]:
        """What is made of them, if there are any."""
        names = ("", "_cases", "_domains")
        return [self.results[f"grounding_published{end}"] for end in names if self.published]

    @property
    def _recovery(self) -> dict[str, Any]:
        """The block `grounding.recovery`; empty if it is not asked for."""
        return (self.settings["grounding"] or {}).get("recovery") or {}

    @property
    def recovery_datasets(self) -> list[str]:
        """The datasets on which models are recovered: of those asked for, those with two models."""
        if not self._recovery:
            return []
        wanted = self._recovery["datasets"] or list(self.study.datasets)
        return [dataset for dataset in wanted if len(self.study.models_on[dataset]) > 1]

    @property
    def recovery_settings(self) -> dict[str, Any]:
        """How data are made; empty if there are none."""
        return {key: value for key, value in self._recovery.items() if key != "datasets"}

    @property
    def recovery(self) -> list[str]:
        """The tables of recovery."""
        names = ("grounding_recovery", "grounding_recovered")
        on = self.recovery_datasets
        return [p for n in names for p in self.each(n, dataset=on, metric=self.study.metrics)]

    @property
    def recovering(self) -> list[str]:
        """The metrics that can be asked of which model data are: those of features alone."""
        metrics = self.study.metrics if self.recovery_datasets else {}
        inputs = {m: METRICS[spec["metric"]].class_facts.inputs for m, spec in metrics.items()}
        return [m for m, names in inputs.items() if tuple(model_inputs(names)) == ("features",)]
