"""What a study makes of factors, such as the objective, that its models were chosen by."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consilience.config.catalogs import Row
from consilience.results import Results

if TYPE_CHECKING:
    from consilience.config import Study

MATCHED_SETTINGS = ("groups", "anchors", "methods", "bootstrap", "min_models")
"""Keys of the block `consistency` that consistency matched for accuracy takes too."""


class Factored:
    """The part of a plan that is about factors."""

    study: "Study"
    results: Results
    settings: dict[str, Any]
    clusters: str
    clustered: list[str]
    consistency_models: dict[str, Row]
    accuracy: list[str]

    def each(self, name: str, **wildcards: Iterable[str]) -> list[str]:
        """Returns the paths of a kind of file for all combinations of wildcard values."""
        raise NotImplementedError

    def metrics_of_all_pairs(self) -> list[str]:
        """Returns the metrics that have similarities of all pairs."""
        raise NotImplementedError

    @property
    def _factors(self) -> dict[str, Any]:
        """The block of the study; empty if it is not asked for."""
        return self.settings["factors"] or {}

    @property
    def matched(self) -> list[str]:
        """The metrics whose consistency is matched for accuracy."""
        asked = self._factors and self.accuracy
        return self.metrics_of_all_pairs() if asked else []

    @property
    def shared_out(self) -> list[str]:
        """The metrics of which it is told what factors explain."""
        return self.metrics_of_all_pairs() if self._factors else []

    @property
    def dimensioned(self) -> list[str]:
        """The datasets on which it is told how universal dimensions are."""
        if not self._factors:
            return []
        return [d for d in self.study.datasets if len(self.study.models_on[d]) > 1]

    @property
    def dimension_shares(self) -> list[str]:
        """The table of what factors explain of it, if there is one."""
        return [self.results["dimension_shares"]] if self.dimensioned else []

    @property
    def factor_models(self) -> dict[str, Row]:
        """The models that count, with the factors and the column of their families."""
        columns = [*self._factors.get("columns", []), *self.clustered]
        return self.study.groups(
            list(dict.fromkeys(columns)), self.settings["consistency"]["models"]
        )

    @property
    def matched_settings(self) -> dict[str, Any]:
        """What consistency matched for accuracy takes as it is."""
        taken = {key: self.settings["consistency"][key] for key in MATCHED_SETTINGS}
        return taken | {"clusters": self.clusters}

    @property
    def share_settings(self) -> dict[str, Any]:
        """What decides the shares of factors."""
        return {"columns": self._factors.get("columns", []), "clusters": self.clusters}

    @property
    def dimension_settings(self) -> dict[str, Any]:
        """What decides how universal a dimension is."""
        return {
            k: self._factors[k] for k in ("columns", "dimensions", "predictors") if self._factors
        }
