"""Which figures a study draws: those that it has, of those that it asks for."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from consilience.errors import ConfigError
from consilience.plots.facts import FIGURES, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consilience.results import Results


def fitting(patterns: Sequence[str]) -> list[str]:
    """Returns the names of figures that fit any of the patterns (`*`: any letters)."""
    return [name for name in FIGURES if any(fnmatchcase(name, one) for one in patterns)]


def targets(plan: Plan, results: Results) -> list[str]:
    """Returns the images of the figures that a study has and asks for.

    Raises:
        ConfigError: it asks by name for one that it has not.
    """
    asked = plan.settings["plots"]["figures"]
    found = []
    for name in fitting(asked):
        facts = FIGURES[name]
        values = facts.values(plan)
        if not values and name in asked:
            raise ConfigError(
                f"plots.figures: the study has no {name!r}; config/figures.md says what it is "
                "drawn from, and when there is one"
            )
        stem = f"{facts.stem(results)}.png"
        found += [stem.replace(facts.ending or "{}", value) for value in values]
    return found
