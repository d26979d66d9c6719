"""Which models of a study are aligned with which, and what may be wrong with asking for it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consilience.metrics import METRICS
from consilience.registry import did_you_mean


def pairs_across(
    groups: Mapping[str, str], models: Sequence[str], *, both_orders: bool = False
) -> list[tuple[str, str]]:
    """Returns the pairs of models to align: those whose groups differ; all without groups."""
    ranked = sorted(models, key=lambda model: (groups.get(model, ""), model))
    pairs = [
        (x, y) for x, y in itertools.combinations(ranked, 2) if not groups or groups[x] != groups[y]
    ]
    return pairs + [(y, x) for x, y in pairs] if both_orders else pairs


def alignment_problems(study: Any, columns: Sequence[str]) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Yields (key, problem) for all that is wrong with a study's block `alignment`."""
    settings = study.settings["alignment"]
    wanted, across = settings["metrics"], settings["across"]
    for name in wanted:
        if name not in study.metrics:
            hint = did_you_mean(name, study.metrics)
            yield "alignment.metrics", f"{name!r} is not among the study's metrics{hint}"
            continue
        facts = METRICS[study.metrics[name]["metric"]].class_facts
        if facts.inputs != ("features",):
            yield "alignment.metrics", f"{name!r} does not compare layers; leave it out"
        elif not facts.paired:
            yield "alignment.metrics", f"{name!r} takes each model alone, so no null; leave it out"
    if across and across not in columns:
        yield (
            "alignment.across",
            f"no column {across!r} in the models{did_you_mean(across, columns)}",
        )
    elif wanted:
        groups = {model: row.get(across, "") for model, row in study.models.items() if across}
        if not any(pairs_across(groups, models) for models in study.models_on.values()):
            yield (
                "alignment.across",
                f"no dataset has two models that differ in {across!r}; add models or a dataset of "
                "both kinds (image+text), or set it to null for all pairs",
            )
