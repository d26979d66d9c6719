"""Which pairs of models a study compares, and what it has not if these are not all."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from consilience.config.origins import Origins
from consilience.config.shape import Problems
from consilience.config.wildcards import looked_up
from consilience.errors import ConfigError
from consilience.grounding.cases import LAYERS
from consilience.results import RESULT_FILES

if TYPE_CHECKING:
    from consilience.config import Study

SOME = "grounding"
"""Of the key `similarity.pairs`: only those pairs that tests need."""
NEEDS_ALL = (
    "it needs all pairs of models, and the study has those of its tests only; set "
    "`similarity.pairs: all`"
)


def check_pairs(study: "Study", where: Origins, problems: Problems) -> None:
    """Notes what a study asks for that needs more pairs than its similarity tables hold."""
    settings = study.settings
    if settings["similarity"]["pairs"] != SOME:
        return
    if settings["grounding"] is None:
        problems.add(
            where.place("similarity.pairs"),
            f"{SOME!r} compares the models of tests, and the study has no block `grounding`; add "
            "one, or leave the key out",
        )
    asked = {f"consistency.{key}": settings["consistency"][key]
             for key in ("groups", "sets", "anchors", "models")}  # fmt: skip
    asked["reliability.splits"] = settings["reliability"]["splits"]
    for key, value in asked.items():
        if value:
            problems.add(where.place(key), NEEDS_ALL)


class Compared:
    """The part of a plan that is about the pairs of similarity tables."""

    study: "Study"
    settings: dict[str, Any]
    cases: list[dict[str, Any]]
    grounded_on: list[str]
    sharing: dict[str, list[str]]

    @property
    def some_pairs(self) -> bool:
        """Whether similarity tables hold only those pairs that tests need."""
        return self.settings["similarity"]["pairs"] == SOME

    @property
    def compared(self) -> list[str]:
        """The datasets that have similarity tables."""
        return self.grounded_on if self.some_pairs else list(self.study.datasets)

    def pairs_on(self, dataset: str) -> dict[str, list[Any]] | None:
        """Returns the pairs that similarity tables of a dataset hold; None: all.

        Every test compares each two of its models, by their last layers, within its groups and
        across them; the test `layers` each two layers of a model.

        Raises:
            ConfigError: no test compares models on the dataset.
        """
        if not self.some_pairs:
            return None
        cases = [case for case in self.cases if case["dataset"] == dataset]
        if not cases:
            raise ConfigError(
                f"no test compares models on {dataset!r}, and `similarity.pairs: {SOME}` makes "
                "similarities for tests only; set `similarity.pairs: all`"
            )
        sets, layered = set(), set()
        for case in cases:
            models = tuple(sorted(m for group in case["groups"].values() for m in group))
            if case["test"] == LAYERS:
                layered.update(models)
            else:
                sets.add(models)
        alone = [one for one in sets if not any(set(one) < set(other) for other in sets)]
        return {"sets": [list(one) for one in sorted(alone)], "layered": sorted(layered)}

    def whole(self, paths: Sequence[str]) -> Any:  # noqa: ANN401 - paths, or a function
        """Returns inputs of a step that reads all pairs of models.

        In a study that has only some, asking for what is made of them is an error in words.
        """
        if not self.some_pairs:
            return paths
        return looked_up(_refuse)

    @property
    def lacks(self) -> set[str]:
        """The kinds of result files that are of all pairs, in a study that has only some."""
        kinds = (name for name, file in RESULT_FILES.items() if file.of_all_pairs)
        return set(kinds) if self.some_pairs else set()

    def metrics_of_all_pairs(self) -> list[str]:
        """Returns the metrics for which there are tables made of all pairs of models."""
        return [] if self.some_pairs else list(self.study.metrics)

    @property
    def cost_domains(self) -> dict[str, list[str]]:
        """For each dataset on which tests compare models the domains of these tests."""
        found: dict[str, dict[str, None]] = {}
        for case in self.cases:
            found.setdefault(case["dataset"], {})[case["domain"]] = None
        return {dataset: list(domains) for dataset, domains in found.items()}

    @property
    def sharers(self) -> dict[str, int]:
        """For each metric that may share work the number of those that share it."""
        return {metric: len(ids) for ids in self.sharing.values() for metric in ids}


def _refuse(wildcards: Any) -> Callable:  # noqa: ANN401
    raise ConfigError(f"{', '.join(wildcards) or 'this'}: {NEEDS_ALL}")
