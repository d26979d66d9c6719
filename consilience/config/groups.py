"""Which groups of models a study looks at."""

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from consilience.config.catalogs import Row
from consilience.plots import FIGURES, targets
from consilience.plots.facts import Facts
from consilience.results import Results

if TYPE_CHECKING:
    from consilience.config import Study

CONSISTENCY_SETTINGS = (
    "groups", "anchors", "methods", "bootstrap", "permutations", "min_models",
)  # fmt: skip
"""Keys of the block `consistency` that its step takes as they are."""


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
        return self.study.groups(settings["groups"], settings["models"])

    @property
    def consistency_settings(self) -> dict[str, Any]:
        """What the step takes as it is."""
        return {key: self.settings["consistency"][key] for key in CONSISTENCY_SETTINGS}

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
