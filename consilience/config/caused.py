"""What a study makes of causes: pairs with a known overlap, and published ones."""

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.causes.published import figure_of, read_name
from consilience.causes.selection import CONTROLS, SELF, lacking, select_pairs
from consilience.config.compared import NEEDS_ALL, SOME
from consilience.config.origins import Origins
from consilience.config.shape import Problems
from consilience.config.victims import check_transfer
from consilience.errors import ConfigError
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from consilience.config import Study
    from consilience.results import Results

DRAWN = ("permutations", "max_loss")


def check_causes(study: "Study", where: Origins, problems: Problems) -> None:
    """Notes a block without pairs, columns that no model has, and models in no pair."""
    given = study.settings["causes"]
    if given is None:
        return
    place = where.place("causes")
    columns = {column for row in study.models.values() for column in row}
    for column in given["family"]:
        if column not in columns:
            hint = did_you_mean(column, sorted(columns))
            problems.add(place, f"`family` names {column!r}, no column of the models{hint}")
    for model, row in study.models.items():
        if row.get("control", "") not in ("", *CONTROLS):
            problems.add(
                f"model {model!r}",
                f"its column control is {row['control']!r}; known: {', '.join(CONTROLS)}",
            )
    _check_published(given["published"], place, problems)
    try:
        pairs = _pairs_of(study)
    except ConfigError as error:
        problems.add(place, str(error))
        return
    check_transfer(study, pairs, where, problems)
    if pairs and study.settings["similarity"]["pairs"] == SOME:
        problems.add(place, NEEDS_ALL)
    if not pairs and not given["published"]:
        problems.add(
            place,
            "no two models of the study have a known overlap; select models of recipes with "
            "`overlap`, of both sides, name `published` tables, or leave the block out",
        )
    elif pairs and (alone := lacking(study.models, pairs)):
        problems.add(
            place,
            f"{alone[0]!r} ({len(alone)} in all) has no model of the other side with its draw, "
            "network and training set; select that too, or leave this one out",
        )


def _check_published(sources: dict[str, list[str]], place: str, problems: Problems) -> None:
    for name, files in sources.items():
        stems = [Path(file).name for file in files]
        for file in sorted(set(stems)):
            if stems.count(file) > 1:
                problems.add(place, f"`published`, {name!r}: {file} is there twice; name it once")


def _pairs_of(study: "Study") -> list[dict[str, Any]]:
    given = study.settings["causes"]
    return select_pairs(study.models, families=given["family"], reference=given["reference"])


class Caused:
    """The part of a plan that is about causes."""

    study: "Study"
    results: "Results"
    settings: dict[str, Any]
    trained: list[str]
    split_of: Callable[[str], str]

    def each(self, name: str, **wildcards: Iterable[str]) -> list[str]:
        """Returns the paths of a kind of file for all combinations of wildcard values."""
        raise NotImplementedError

    @property
    def _causes(self) -> dict[str, Any]:
        """The block of the study; empty if it is not asked for."""
        return self.settings["causes"] or {}

    @cached_property
    def overlapping(self) -> list[dict[str, Any]]:
        """All pairs of models with a known overlap, as `consilience.causes.selection.Pair`."""
        return _pairs_of(self.study) if self._causes else []

    def overlapping_on(self, dataset: str) -> list[dict[str, Any]]:
        """Returns those of models that run on a dataset."""
        on = set(self.study.models_on[dataset])
        return [p for p in self.overlapping if p["model_x"] in on and p["model_y"] in on]

    @property
    def caused_on(self) -> list[str]:
        """The datasets on which any such pair is compared."""
        if not self._causes:
            return []
        return [
            dataset
            for dataset in self.study.datasets
            if any(pair["control"] != SELF for pair in self.overlapping_on(dataset))
        ]

    @property
    def caused(self) -> list[str]:
        """The metrics by which they are compared: all of the study, if there are any."""
        return list(self.study.metrics) if self.caused_on else []

    @property
    def cause_tables(self) -> list[str]:
        """The tables of pairs."""
        return self.each("causes", dataset=self.caused_on, metric=self.caused)

    @property
    def cause_settings(self) -> dict[str, Any]:
        """What decides effects, besides the pairs."""
        return {key: self._causes[key] for key in DRAWN} if self._causes else {}

    def sides_on(self, dataset: str) -> dict[str, str]:
        """Returns for each model of such a pair that learnt one side of a split which one."""
        found = {}
        for pair in self.overlapping_on(dataset):
            for model in (pair["model_x"], pair["model_y"]):
                if overlap := self._overlap_of(model):
                    found[model] = overlap["side"]
        return dict(sorted(found.items()))

    def _overlap_of(self, model: str) -> dict[str, Any]:
        training = self.study.trainings.get(model)
        return training.spec["overlap"] if training else {}

    def split_files(self, dataset: str) -> dict[str, str]:
        """Returns for each of these models the file of its split."""
        return {model: self.split_of(model) for model in self.sides_on(dataset)}

    def splits_on(self, dataset: str) -> list[str]:
        """Returns these files."""
        return sorted(set(self.split_files(dataset).values()))

    @property
    def cause_learned(self) -> list[str]:
        """What says how well models learnt, if any of a pair is trained here."""
        used = {pair[f"model_{side}"] for pair in self.overlapping for side in "xy"}
        return [self.results["learned"]] if used & set(self.trained) else []

    # Published tables

    @property
    def published_causes(self) -> dict[str, list[str]]:
        """For each source the published tables of pairs."""
        return {name: list(files) for name, files in self._causes.get("published", {}).items()}

    @property
    def published_cause_files(self) -> list[str]:
        """All of these tables."""
        return [file for files in self.published_causes.values() for file in files]

    @property
    def published_pairs(self) -> list[str]:
        """What is read from them, if there are any."""
        return [self.results["causes_published"]] if self.published_causes else []

    @property
    def effects(self) -> list[str]:
        """The effects of all, if there are any."""
        any_pairs = self.cause_tables or self.published_causes
        return [self.results["causes_effects"]] if any_pairs else []

    @property
    def effect_metrics(self) -> list[str]:
        """For what effects are drawn: metrics of pairs, and `published` for published ones."""
        similar = any(form == "similarity" for form, *_ in self.published_forms)
        return [*self.caused, *(["published"] if similar else [])]

    @property
    def published_figures(self) -> list[str]:
        """The published figures that the published tables allow."""
        names = {figure_of(read_name(file)) for file in self.published_cause_files}
        return sorted(filter(None, names))

    @property
    def published_forms(self) -> set[tuple[str, str, str, str]]:
        """(form, kind, network, training set) of each, as the names of the files say."""
        names = map(read_name, self.published_cause_files)
        return {(n.form, n.kind, n.family, n.train_set) for n in names if n.form}
