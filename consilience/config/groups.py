"""Which groups of models a study looks at."""

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from consilience.config.catalogs import Row
from consilience.config.shape import read_schema
from consilience.pairs.families import MIN_FAMILIES, NONE
from consilience.plots import FIGURES, targets
from consilience.plots.facts import Facts
from consilience.results import Results

if TYPE_CHECKING:
    from consilience.config import Study

CONSISTENCY_SETTINGS = (
    "groups", "anchors", "methods", "bootstrap", "permutations", "min_models",
)  # fmt: skip
"""Keys of the block `consistency` that its step takes as they are."""
AUTO = "auto"
"""As a column of families: `FAMILY` where most models have one."""
FAMILY = "family"
"""The column of the families where a study names no other one."""


class Groups:
    """The part of a plan that is about groups, sets and anchors."""

    study: "Study"
    results: Results
    settings: dict[str, Any]

    @property
    def sets(self) -> dict[str, list[str]]:
        """The models of each named set."""
        named = self.settings["consistency"]["sets"]
        return {name: sorted(self.study.groups([], query)) for name, query in named.items()}

    @property
    def consistency_models(self) -> dict[str, Row]:
        """The models that consistency counts, with the columns that it is measured for."""
        settings = self.settings["consistency"]
        columns = [*settings["groups"], *self.clustered, *self.warned]
        return self.study.groups(list(dict.fromkeys(columns)), settings["models"])

    @property
    def consistency_settings(self) -> dict[str, Any]:
        """What the step takes as it is, and the columns by which models may go together."""
        taken = {key: self.settings["consistency"][key] for key in CONSISTENCY_SETTINGS}
        return taken | {"clusters": self.clusters, "warn": self.warned}

    @cached_property
    def clusters(self) -> str:
        """The column that says which models are of one family, or `none`."""
        settings = self.settings["consistency"]
        if settings["clusters"] != AUTO:
            return settings["clusters"]
        cells = [row[FAMILY] for row in self.study.groups([FAMILY], settings["models"]).values()]
        return FAMILY if cells and 2 * sum(map(bool, cells)) >= len(cells) else NONE

    @property
    def clustered(self) -> list[str]:
        """The column of the families, if there is one."""
        return [self.clusters] if self.clusters != NONE else []

    @property
    def models_by_family(self) -> dict[str, Row]:
        """All models with their family, for steps that take models for the sample."""
        return self.study.groups(self.clustered)

    @cached_property
    def warned(self) -> list[str]:
        """Further metadata columns by which models may cluster: filled, with repeated values."""
        known = {*read_schema("models")["properties"], *self.clustered}
        rows = self.study.groups([], self.settings["consistency"]["models"])
        columns = dict.fromkeys(c for m in rows for c in self.study.models[m] if c not in known)
        found = []
        for column in columns:
            cells = [cell for m in rows if (cell := self.study.models[m].get(column))]
            if 2 * len(cells) >= len(rows) and MIN_FAMILIES <= len(set(cells)) < len(cells):
                found.append(column)
        return sorted(found)

    @property
    def group(self) -> str | None:
        """The grouping that colours the models, in every figure."""
        first = next(iter(self.settings["consistency"]["groups"]), None)
        return self.settings["plots"]["group"] or first

    @property
    def grouped(self) -> bool:
        """Whether consistency is measured for more than all models."""
        settings = self.settings["consistency"]
        return any(settings[key] for key in ("groups", "sets", "anchors"))

    @property
    def group_columns(self) -> list[str]:
        """The metadata columns that figures show, the one that colours first."""
        columns = [self.group, *self.settings["consistency"]["groups"]]
        return list(filter(None, dict.fromkeys(columns)))

    @cached_property
    def distributions(self) -> dict[str, tuple[str, str | None]]:
        """Groupings whose distributions are drawn: {figure: (grouping, column of partners)}."""
        settings = self.settings["consistency"]
        shown: dict[str, tuple[str, str | None]] = {c: (c, None) for c in settings["groups"]}
        if settings["sets"]:
            shown["set"] = ("set", None)
        if settings["anchors"]:
            by_group = {f"anchor_{c}": ("anchor", c) for c in settings["groups"]}
            shown |= by_group or {"anchor": ("anchor", None)}
        return shown

    @property
    def layer_pairs(self) -> list[list[str]]:
        """Pairs of models whose layers a figure compares; none where last layers alone are."""
        layered = self.settings["similarity"]["layers"] == "all"
        return self.settings["plots"]["layers"] if layered else []

    @property
    def figures(self) -> list[Facts]:
        """All figures that there are; a study has those of which it has what they show."""
        return list(FIGURES.values())

    @property
    def drawn(self) -> list[str]:
        """The figures of the study."""
        return targets(self, self.results)

    @property
    def distribution_pattern(self) -> str:
        """A pattern of the ends of such figures' names, which may hold any sign of a column."""
        return "|".join(map(re.escape, self.distributions))
