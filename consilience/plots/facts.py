"""The figures of a study, each registered with the facts that plan, report and documents read.

A figure is a function that returns a matplotlib figure and the table that it shows. Its facts say
from which result tables its arguments come, for what there is one (a metric, a grouping, the study)
and when a study has it. They are read without matplotlib, and everything else follows from them:
rule, script, report and documents know no figure by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Protocol

from consilience.plots.inputs import Inputs, read_inputs
from consilience.registry import Registry

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Plan(Protocol):
    """What figures ask of the plan of a study.

    The class of all plans is not named here: an edit of what it rests on redraws no figure.

    Attributes:
        study: models, datasets, metrics, labels and `groups`.
        settings: the study's settings.
        group: the grouping that colours the models, or None.
        group_columns: the metadata columns that figures show.
        layer_pairs: pairs of models whose layers a figure compares.
        clusters: the column that says which models are of one family, or `none`.
        models_by_family: all models with that column.
        grouped: whether consistency is measured for groups, sets or anchors.
        distributions: {end of the file's name: (grouping, column of partners or None)}.
        labelled: datasets with labels.
        probed: whether any model is probed on any dataset.
        halved: datasets with similarities on halves of the stimuli.
        paired: datasets with an alignment.
        curve_datasets: datasets with curves.
        curve_metrics: metrics with curves; empty if the study asks for none.
        cases: tests of recipes, as `consilience.grounding.cases.Case` has them.
        thresholds: by how much their groups must behave differently.
        grounded_on: datasets on which tests compare models.
        answered: those, and the ones on which it is seen how groups behave.
        costed: whether the study says what metrics took to compute.
        metric_modules: the module of each metric, without its package.
        trained: models that the workflow trains.
        vectors: how to open each dataset of vectors.
        matched: metrics whose consistency is matched for accuracy.
        identified: datasets on which pairs of classifiers are compared.
        trend_settings: how closeness is followed over widths; empty if nothing is compared.
        constructions: kinds of constructed models.
        lacks: kinds of result files that the study has not, as it has only some pairs of models.
        whole: the paths of what is of all pairs, or a refusal.
        recovery_datasets: datasets on which models are recovered from data.
        recovering: metrics that can, if the study asks for it.
        published_tables: what is made of published tables, if the study names any.
        published_modules: the module of each metric of these and of the study.
        caused: metrics of pairs of models with a known overlap.
        caused_on: datasets on which these are compared.
        overlapping: the pairs, as `consilience.causes.selection.Pair` has them.
        effect_metrics: those metrics, and `published` where published tables are named.
        published_figures: published figures of causes that such tables allow.
        published_forms: what such tables are of, by their names.
        transfers: tables of attacks.
    """

    study: Any
    settings: Mapping[str, Any]
    group: str | None
    group_columns: Sequence[str]
    layer_pairs: Sequence[Sequence[str]]
    clusters: str
    models_by_family: Mapping[str, Mapping[str, str]]
    grouped: bool
    distributions: Mapping[str, tuple[str, str | None]]
    labelled: Iterable[str]
    probed: bool
    halved: Iterable[str]
    paired: Sequence[str]
    curve_datasets: Iterable[str]
    curve_metrics: Sequence[str]
    cases: Sequence[Mapping[str, Any]]
    thresholds: Mapping[str, float]
    grounded_on: Sequence[str]
    answered: Sequence[str]
    costed: bool
    metric_modules: Mapping[str, str]
    trained: Sequence[str]
    vectors: Mapping[str, Any]
    matched: Sequence[str]
    identified: Sequence[str]
    trend_settings: Mapping[str, Any]
    constructions: Sequence[str]
    lacks: Container[str]
    whole: Callable[[list[str]], Any]
    recovery_datasets: Sequence[str]
    recovering: Sequence[str]
    published_tables: Sequence[str]
    published_modules: Mapping[str, str]
    caused: Sequence[str]
    caused_on: Sequence[str]
    overlapping: Sequence[Mapping[str, Any]]
    effect_metrics: Sequence[str]
    published_figures: Sequence[str]
    published_forms: Iterable[tuple[str, str, str, str]]
    transfers: Sequence[str]


class Results(Protocol):
    """Where the files of a study lie.

    Attributes:
        folder: of its figures.
    """

    folder: str

    def __getitem__(self, kind: str) -> str:
        """Returns the path of a kind of file as a pattern of `{dataset}` and `{metric}`."""

    def records(self, kind: str) -> str:
        """Returns the folder of the study's `logs` or `benchmarks`."""


@dataclass(frozen=True)
class Scope:
    """For what a figure is drawn.

    Attributes:
        wildcard: the part of the file's name that says for which; empty for the whole study.
        among: which there are in a study.
        text: in words.
    """

    wildcard: str
    among: Callable[[Plan], Iterable[str]]
    text: str


METRIC = Scope("metric", lambda plan: plan.study.metrics, "metric")
CURVE_METRIC = Scope("metric", lambda plan: plan.curve_metrics, "metric with curves")
ALIGNED_METRIC = Scope(
    "metric",
    lambda plan: plan.settings["alignment"]["metrics"] if plan.paired else (),
    "metric with alignment",
)
DATASET = Scope("dataset", lambda plan: plan.study.datasets, "dataset")
GROUPING = Scope("grouping", lambda plan: plan.distributions, "grouping")
STUDY = Scope("", lambda _: ("",), "study")


@dataclass(frozen=True)
class Condition:
    """When a study has what a figure shows, in words and as a function of its plan."""

    text: str
    holds: Callable[[Plan], Any]


ALWAYS = Condition("", lambda _: True)


def every_dataset(plan: Plan) -> Iterable[str]:
    """Returns all datasets of a study."""
    return plan.study.datasets


@dataclass(frozen=True)
class Files:
    """Result files of one kind that a figure reads.

    Attributes:
        kind: as results name it, and as the input of the figure's job is called. A place in its
            path that the figure's scope does not fill stands for all datasets or metrics.
        datasets: which datasets count.
        of_tests: whether the pairs that tests of grounding need are enough, where the files are of
            pairs of models.
    """

    kind: str
    datasets: Callable[[Plan], Iterable[str]] = every_dataset
    of_tests: bool = False

    def lacking(self, plan: Plan) -> bool:
        """Returns whether a study has not what is to be read here."""
        return self.kind in plan.lacks and not self.of_tests

    def paths(self, plan: Plan, wildcard: str, results: Results) -> list[str]:
        """Returns the paths, with `{wildcard}` left open."""
        pattern = results[self.kind]
        known = {"dataset": self.datasets, "metric": METRIC.among}
        places = [part for _, part, _, _ in Formatter().parse(pattern) if part]
        filled = [p for p in places if p != wildcard]
        return [
            pattern.format(**{wildcard: f"{{{wildcard}}}"} | dict(zip(filled, v, strict=True)))
            for v in product(*(list(known[place](plan)) for place in filled))
        ]


@dataclass(frozen=True)
class Material:
    """What a figure is drawn from: paths by their kind, and what the plan says, by name."""

    files: Mapping[str, Sequence[str | Path]]
    said: Mapping[str, Any]

    @cached_property
    def similarity(self) -> Inputs:
        """The similarity tables of one metric, read once."""
        said = self.said
        return read_inputs(
            self.files["similarity"], said["models"], said.get("label", ""), said.get("only")
        )


@dataclass(frozen=True)
class Source:
    """Where an argument of a figure's function comes from.

    Attributes:
        make: the argument from the material.
        reads: the files that it takes.
        said: {name: value} that it takes from the plan; the second argument is the metric, dataset
            or grouping that the figure is for.
    """

    make: Callable[[Material], Any]
    reads: tuple[Files, ...] = ()
    said: Mapping[str, Callable[[Plan, str], Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What holds for a figure whatever the study.

    Attributes:
        function: draws it.
        per: for what there is one.
        takes: {argument of the function: where it comes from}.
        category: its place in the report.
        caption: what it shows, for a reader who sees nothing else of the study.
        when: when a study has what it shows.
        latex: decimals with which its table is also written as LaTeX, or what writes it; None: it
            is not.
    """

    function: Callable[..., tuple[Figure, pd.DataFrame]]
    per: Scope
    takes: Mapping[str, Source]
    category: str
    caption: str
    when: Condition
    latex: int | Callable[[pd.DataFrame], str] | None = None

    @property
    def name(self) -> str:
        """The name of the function, of the rule (after `plot_`) and of the files."""
        return self.function.__name__

    @property
    def module(self) -> str:
        """The module whose closure decides the figure."""
        return self.function.__module__

    @property
    def summary(self) -> str:
        """What the function says of itself, in a line."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def ending(self) -> str:
        """The part of the files' names that says for what the figure is, as a pattern."""
        return f"{{{self.per.wildcard}}}" if self.per.wildcard else ""

    @property
    def labels(self) -> dict[str, str]:
        """What the report calls the figure, as patterns."""
        metric = self.per.wildcard == "metric"
        further = "" if metric or not self.ending else f", {self.ending}"
        name = self.name.replace("_", " ") + further
        return {"figure": name, "metric": self.ending if metric else "all"}

    def reads(self) -> dict[str, Files]:
        """Returns the files that all arguments take, by kind.

        Raises:
            ValueError: two arguments take one kind of different datasets.
        """
        found: dict[str, Files] = {}
        for files in (files for source in self.takes.values() for files in source.reads):
            if found.setdefault(files.kind, files) != files:
                raise ValueError(
                    f"figure {self.name!r}: one argument takes {files.kind!r} of other datasets "
                    "than another"
                )
        return found

    def inputs(self, plan: Plan, results: Results) -> dict[str, Any]:
        """Returns the paths that the figure reads, by kind, as patterns of its wildcard.

        Of what the study lacks, a function for the figure's job that refuses it.
        """
        found = {}
        for kind, files in self.reads().items():
            paths = files.paths(plan, self.per.wildcard, results)
            found[kind] = plan.whole(paths) if files.lacking(plan) else paths
        return found

    def stem(self, results: Results) -> str:
        """Returns the path of the figure's files without their endings, as a pattern."""
        return f"{results.folder}/figures/{self.name}" + (f"_{self.ending}" if self.ending else "")

    def further(self, results: Results) -> dict[str, str]:
        """Returns the files beside those that every figure has, by their endings."""
        return {} if self.latex is None else {"tex": f"{self.stem(results)}.tex"}

    def record(self, place: str, results: Results) -> str:
        """Returns the path of a record of the figure's job, without its ending, as a pattern.

        Args:
            place: `logs` or `benchmarks`; a study with a folder of its own has one there too.
            results: where the study's files lie.
        """
        return f"{results.records(place)}/plot_{self.name}/{self.ending or 'all'}"

    def values(self, plan: Plan) -> list[str]:
        """Returns for which metrics, datasets or groupings a study has the figure."""
        lacking = any(files.lacking(plan) for files in self.reads().values())
        return list(self.per.among(plan)) if not lacking and self.when.holds(plan) else []

    def said(self, plan: Plan, value: str) -> dict[str, Any]:
        """Returns what the arguments take from the plan, for one metric, dataset or grouping."""
        asked = {name: f for source in self.takes.values() for name, f in source.said.items()}
        return {name: function(plan, value) for name, function in asked.items()}

    def arguments(self, material: Material) -> dict[str, Any]:
        """Returns the arguments of the function."""
        return {name: source.make(material) for name, source in self.takes.items()}


FIGURES: Registry[Facts] = Registry("figure", "consilience.plots")
"""All figures by name: any public function in this folder that `register` decorates."""


def register(
    *,
    per: Scope,
    takes: Mapping[str, Source],
    category: str,
    caption: str,
    when: Condition = ALWAYS,
    latex: int | Callable[[pd.DataFrame], str] | None = None,
) -> Callable[[Callable], Callable]:
    """Returns a decorator that registers a figure under the name of its function.

    Args:
        per: see `Facts`, as for the others.
        takes: arguments that are not listed keep their defaults.
        category: of the report.
        caption: in full sentences, as reStructuredText.
        when: always, if not given.
        latex: see `Facts`.
    """

    def enter(function: Callable) -> Callable:
        facts = Facts(function, per, takes, category, caption, when, latex)
        unknown = set(takes) - set(inspect.signature(function).parameters)
        if unknown:
            raise ValueError(f"figure {facts.name!r} has no argument {', '.join(sorted(unknown))}")
        facts.reads()
        FIGURES.register(facts.name)(facts)
        return function

    return enter
