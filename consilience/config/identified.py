"""What a study makes of the closeness of its classifiers' predictions."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consilience.results import Results

if TYPE_CHECKING:
    from consilience.config import Study

DISTANCE_SETTINGS = ("sets", "weight", "combine", "type", "draw")
"""Keys of the block `identifiability` that decide the distance of a pair."""
TREND_SETTINGS = ("min_accuracy", "min_models", "bootstrap")
"""Those of the trend over widths."""


class Identified:
    """The part of a plan that is about identifiability."""

    study: "Study"
    results: Results
    settings: dict[str, Any]

    def each(self, name: str, **wildcards: Iterable[str]) -> list[str]:
        """Returns the paths of a kind of file for all combinations of wildcard values."""
        raise NotImplementedError

    @property
    def _identifiability(self) -> dict[str, Any]:
        """The block of the study; empty if it is not asked for."""
        return self.settings["identifiability"] or {}

    @property
    def identified(self) -> list[str]:
        """The datasets on which pairs of classifiers are compared: those with two models."""
        if not self._identifiability:
            return []
        return [d for d in self.study.datasets if len(self.study.models_on[d]) > 1]

    @property
    def distance_settings(self) -> dict[str, Any]:
        """What decides the distance of a pair."""
        return self._chosen(DISTANCE_SETTINGS)

    @property
    def trend_settings(self) -> dict[str, Any]:
        """What decides the trend over widths."""
        return self._chosen(TREND_SETTINGS)

    def _chosen(self, keys: Iterable[str]) -> dict[str, Any]:
        given = self._identifiability
        return {key: given[key] for key in keys} if given else {}

    @property
    def classifiers(self) -> dict[str, dict[str, str]]:
        """For each model the metadata that pairs are chosen and ordered by."""
        return {
            model: {
                "architecture": row.get("architecture") or row["name"],
                "width": row.get("width", ""),
            }
            for model, row in self.study.models.items()
        }

    @property
    def trends(self) -> list[str]:
        """The trend over widths, if there is one."""
        return [self.results["identifiability_trend"]] if self.identified else []

    @property
    def constructions(self) -> list[str]:
        """Which constructed models there are."""
        wanted = self._identifiability.get("constructed", {})
        return [kind for kind in ("kl", "perturbed") if wanted.get(kind)]

    @property
    def constructed(self) -> list[str]:
        """The tables of constructed models."""
        return [self.results[f"constructed_{kind}"] for kind in self.constructions]

    @property
    def construction_seed(self) -> int:
        """Of constructed models."""
        return self._identifiability.get("constructed", {}).get("seed", 0)
