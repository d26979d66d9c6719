"""What a study attacks: which models, whose pictures, and who else is to be misled."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from consilience.config.trainings import Group, rule_names
from consilience.config.victims import ALIKE, Victims, attacked_on, find_victims
from consilience.files import digest
from consilience.results import Results, id_problem

if TYPE_CHECKING:
    from consilience.config import Study

ATTACK = ("eps", "steps", "momentum", "images")
"""Keys of the block `causes.transfer` that decide a success."""


class Transferred:
    """The part of a plan that is about attacks."""

    study: "Study"
    results: Results
    settings: dict[str, Any]
    overlapping: list[dict[str, Any]]
    extracted: dict[str, Any]
    each: Callable[..., list[str]]

    @property
    def _attack(self) -> dict[str, Any]:
        """The block of the study; empty if it is not asked for."""
        return (self.settings["causes"] or {}).get("transfer") or {}

    @property
    def attack_settings(self) -> dict[str, Any]:
        """What decides a success."""
        return {key: self._attack[key] for key in ATTACK} if self._attack else {}

    @cached_property
    def victims(self) -> Victims:
        """See `find_victims`; empty if the study asks for none."""
        return find_victims(self.study, self.overlapping) if self._attack else {}

    @cached_property
    def groups_attacked(self) -> list[Group]:
        """The jobs of attacks: of all models of one draw, which are each other's victims."""
        members: dict[tuple[str, ...], list[str]] = {}
        for model, others in self.victims.items():
            told = next(iter(others.values()))
            key = (*(told[name] for name in ALIKE), attacked_on(self.study, model))
            members.setdefault(key, []).append(model)
        named: dict[str, list[str]] = {}
        for key, models in sorted(members.items()):
            name = ".".join(key)
            # Values of columns may hold any sign.
            plain = name if not id_problem(name) else f"{key[0]}.{digest(list(key))[:12]}"
            named[plain] = models
        rules = rule_names(named)
        return [
            Group(name, tuple(models), attacked_on(self.study, models[0]), "", rules[name])
            for name, models in named.items()
        ]

    def attack_of(self, group: Group) -> dict[str, Any]:
        """Returns all that decides the tables of a job besides the samples and the weights."""
        return {
            "models": list(group.models),
            "victims": {model: self.victims[model] for model in group.models},
            "row": self.extracted[group.dataset]["row"],
            "learnt": {model: self.learnt(model) for model in group.models},
            **self.attack_settings,
            "seed": self.settings["seed"],
        }

    @property
    def transfers(self) -> list[str]:
        """The tables of all attacks."""
        found = [
            self.each("transfer", dataset=[group.dataset], model=group.models)
            for group in self.groups_attacked
        ]
        return [path for paths in found for path in paths]

    @property
    def successes(self) -> list[str]:
        """What they say together, if there are any."""
        return [self.results["successes"]] if self.transfers else []
