"""What a study attacks: which models, whose pictures, and who else is to be misled."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from consilience.config.trainings import Group, rule_names
from consilience.networks import CLASSES
from consilience.results import Results

if TYPE_CHECKING:
    from consilience.config import Study
    from consilience.config.catalogs import Row
    from consilience.config.recipes import Training

ATTACK = ("eps", "steps", "momentum", "images")
"""Keys of the block `causes.transfer` that decide a success."""
ALIKE = ("recipe", "split_kind", "split_draw")
"""Columns in which an attacked model and its victims are alike."""
OPEN = ("overlap", "control")
"""Columns in which they are alike, or one of both is blank: it is meant for all of the others."""


class Transferred:
    """The part of a plan that is about attacks."""

    study: "Study"
    results: Results
    settings: dict[str, Any]

    def each(self, name: str, **wildcards: Iterable[str]) -> list[str]:
        """Returns the paths of a kind of file for all combinations of wildcard values."""
        raise NotImplementedError

    @property
    def _attack(self) -> dict[str, Any]:
        """The block of the study; empty if it is not asked for."""
        return (self.settings["causes"] or {}).get("transfer") or {}

    @property
    def attack_settings(self) -> dict[str, Any]:
        """What decides a success."""
        return {key: self._attack[key] for key in ATTACK} if self._attack else {}

    @property
    def attack_device(self) -> str:
        """Where networks are attacked."""
        return self._attack.get("device", "auto")

    @cached_property
    def victims(self) -> dict[str, dict[str, dict[str, Any]]]:
        """For each model that is attacked its victims, with what is said of the pair.

        Those are models of the other side of the same split: of the same recipe, kind and draw, and
        of one overlap and control as far as both models say one.
        """
        if not self._attack:
            return {}
        given = {m: self.study.models[m] for m in self.study.models if self._is_attacked(m)}
        alike: dict[tuple[str, ...], list[str]] = {}
        for model, row in given.items():
            alike.setdefault(_cells(row, ALIKE), []).append(model)
        found = {}
        for model, row in given.items():
            others = [m for m in alike[_cells(row, ALIKE)] if _are_partners(row, given[m])]
            if others:
                found[model] = {m: _told(row, given[m]) for m in others}
        return found

    def _is_attacked(self, model: str) -> bool:
        training = self.study.trainings.get(model)
        return bool(
            training
            and (training.spec["overlap"].get("side") and _classifies(training))
            and self._attacked_on(model)
        )

    def _attacked_on(self, model: str) -> str:
        """Returns the dataset whose pictures a model is attacked with; "": the study has none.

        It is the one that the recipe's models are scored on.
        """
        spec = self.study.trainings[model].spec
        dataset = spec["test"] or spec["dataset"]
        return dataset if dataset in self.study.datasets else ""

    @cached_property
    def groups_attacked(self) -> list[Group]:
        """The jobs of attacks: of all models of one draw of a recipe, which are each other's."""
        members: dict[tuple[str, ...], list[str]] = {}
        for model in self.victims:
            row = self.study.models[model]
            key = (*filter(None, _cells(row, ALIKE)), self._attacked_on(model))
            members.setdefault(key, []).append(model)
        named = {".".join(key): models for key, models in sorted(members.items())}
        rules = rule_names(named)
        return [
            Group(name, tuple(models), self._attacked_on(models[0]), "", rules[name])
            for name, models in named.items()
        ]

    def attack_of(self, group: Group) -> dict[str, Any]:
        """Returns all that decides the tables of a job besides the samples and the weights."""
        return {
            "models": list(group.models),
            "victims": {model: self.victims[model] for model in group.models},
            "row": self.study.datasets[group.dataset],
            **self.attack_settings,
            "seed": self.settings["seed"],
        }

    @property
    def attacked(self) -> list[str]:
        """The datasets whose pictures models are attacked with."""
        return sorted({group.dataset for group in self.groups_attacked})

    @property
    def transfers(self) -> list[str]:
        """The tables of all attacks."""
        groups = self.groups_attacked
        return [p for g in groups for p in self.each("transfer", dataset=[g.dataset], model=g.models)]


def _classifies(training: "Training") -> bool:
    """Returns whether a model learns the classes of pictures."""
    spec = training.spec
    learns = spec["training"].get("steps") or spec["training"].get("epochs") or spec["weights"]
    return bool(learns) and (spec["modality"], spec["objective"]) == ("image", CLASSES)


def _cells(row: "Row", columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(row.get(column, "") for column in columns)


def _are_partners(x: "Row", y: "Row") -> bool:
    """Returns whether models that are alike in `ALIKE` learnt two sides of one split."""
    pairs = list(zip(_cells(x, OPEN), _cells(y, OPEN), strict=True))
    return x["side"] != y["side"] and all(a == b or not (a and b) for a, b in pairs)


def _told(x: "Row", y: "Row") -> dict[str, Any]:
    """Returns what the table says of a pair."""
    overlap, control = (x.get(key) or y.get(key) or "" for key in OPEN)
    recipe, kind, draw = _cells(x, ALIKE)
    named: Mapping[str, str] = {"recipe": recipe, "kind": kind, "draw": draw, "control": control}
    sides = {"side_x": x["side"], "side_y": y["side"]}
    return {**named, **sides, "overlap": float(overlap) if overlap else None}
