"""What the explorer's page takes of a study, and what it says of it."""

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from consilience.config.origins import Origins
from consilience.files import ROOT, file_digest
from consilience.metrics import without_file
from consilience.results import RESULT_FILES

if TYPE_CHECKING:
    from consilience.config import Study

UNSAID = (
    "features", "train", "similarity", "fresh", "plots", "explorer", "results", "grounding",
    "identifiability", "factors", "causes",
)  # fmt: skip
"""Blocks that change no page: how a machine works through a study, and what metrics say already."""


class Page:
    """The part of a plan that is about the page."""

    study: "Study"
    origins: Origins
    settings: dict[str, Any]
    labelled: list[str]
    related: list[str]
    accuracy: list[str]
    curves: list[str]
    grouped: bool
    grounded: list[str]
    cases: list[dict[str, Any]]
    some_pairs: bool
    metrics_of_all_pairs: Callable[[], list[str]]

    def each(self, name: str, **wildcards: Iterable[str]) -> list[str]:
        """Returns the paths of a kind of file for all combinations of wildcard values."""
        raise NotImplementedError

    @property
    def described(self) -> dict[str, Any]:
        """What the page says of the study."""
        features, probe = self.settings["features"], self.settings["probe"]
        settings = {key: value for key, value in self.settings.items() if key not in UNSAID}
        settings["features"] = {key: features[key] for key in ("dtype", "autocast")}
        if self.cases:
            settings["grounding"] = self.settings["grounding"]
        settings["probe"] = {k: probe[k] for k in probe if k not in ("device", "datasets")}
        study = self.study
        return {
            "settings": settings,
            "models": study.models,
            "datasets": study.datasets,
            "metrics": {m: without_file(spec) for m, spec in study.metrics.items()},
            "labels": study.labels,
        }

    @property
    def pages(self) -> list[str]:
        """The page and what it is of; none of a study that has nothing to show on it."""
        names = ("explorer", "explorer_study") if self.cases or not self.some_pairs else ()
        return [path for name in names for path in self.each(name)]

    @property
    def page_tables(self) -> dict[str, list[str]]:
        """The tables that the page shows, under the names by which it takes them.

        Of a study that has only some pairs of models these are those of grounding.
        """
        datasets, metrics = self.study.datasets, self.study.metrics
        made = {
            "similarity": (
                [] if self.some_pairs else self.each("similarity", dataset=datasets, metric=metrics)
            ),
            "consistency": self.each("consistency", metric=self.metrics_of_all_pairs()),
            "consistency_differences": (
                self.each("consistency_differences", metric=metrics) if self.grouped else []
            ),
            "behavior": self.each("behavior", dataset=self.labelled),
            "relation": self.each("relation", metric=self.related),
            "accuracy": self.accuracy,
            "sensitivity": self.curves,
            "grounding": self.each("grounding", metric=self.grounded),
            "grounding_summary": self.each("grounding_summary") if self.cases else [],
            "grounding_differences": self.each("grounding_differences") if self.cases else [],
        }
        shown = {name: file.on_page for name, file in RESULT_FILES.items() if file.on_page}
        return {place: made[name] for name, place in shown.items()}

    @property
    def configfiles(self) -> list[str]:
        """The files that the commands on the page name; none for the default study."""
        names = [name for name, _ in self.origins.files]
        return [] if self.origins.is_default else [os.path.relpath(name) for name in names]

    @property
    def page_parts(self) -> list[str]:
        """Hashes of the page's own files, which are no code of Python."""
        return [file_digest(p) for p in sorted((ROOT / "consilience/explorer").glob("page.*"))]
