"""Where the arguments of figures come from: the result tables and settings that several share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from consilience.plots.facts import Condition, Files, Plan, Source, every_dataset
from consilience.plots.inputs import read_models, read_rows

Asked = Callable[[Plan, str], Any]

GROUPED = Condition("groups, sets or anchors to measure consistency for", lambda plan: plan.grouped)
PROBED = Condition("probes", lambda plan: plan.probed)
TRAINED = Condition("trained models", lambda plan: plan.trained)
SEVERAL_METRICS = Condition("two metrics or more", lambda plan: len(plan.study.metrics) > 1)


def from_plan(name: str, of: Asked) -> Source:
    """Returns an argument that is what the plan says.

    Args:
        name: of the parameter of the figure's job.
        of: its value by the plan and by the metric, dataset or grouping that the figure is for.
    """
    return Source(lambda material: material.said[name], said={name: of})


def from_tables(
    kind: str,
    read: Callable[[Sequence[str | Path]], Any] = read_rows,
    datasets: Callable[[Plan], Iterable[str]] = every_dataset,
) -> Source:
    """Returns an argument that is read from result files.

    Args:
        kind: of the files.
        read: makes the argument of the paths; all rows in one table, if not given.
        datasets: which count.
    """
    return Source(lambda m: read(m.files[kind]), (Files(kind, datasets),))


MODELS_SAID: Mapping[str, Asked] = {
    "models": lambda plan, _: plan.study.groups(plan.group_columns),
}
METRIC_SAID: Mapping[str, Asked] = MODELS_SAID | {
    "label": lambda plan, metric: plan.study.labels[metric],
}

MODELS = Source(lambda m: read_models(m.said["models"]), said=MODELS_SAID)
FAMILIES = Source(
    lambda m: read_models(m.said["families"]),
    said={"families": lambda plan, _: plan.models_by_family},
)
"""The column of the families of all models."""
CLUSTERS = from_plan("clusters", lambda plan, _: plan.clusters)
GROUP = from_plan("group", lambda plan, _: plan.group)
LABEL = from_plan("label", METRIC_SAID["label"])
LABELS = from_plan("labels", lambda plan, _: plan.study.labels)
CONSISTENCY = from_tables("consistency")
ACCURACY = from_tables("accuracy")
LEARNED = from_tables("learned")


def similarity_files(datasets: Callable[[Plan], Iterable[str]] = every_dataset) -> Files:
    """Returns the similarity tables of some datasets."""
    return Files("similarity", datasets)


def from_similarity(
    datasets: Callable[[Plan], Iterable[str]] = every_dataset, only: Asked | None = None
) -> dict[str, Source]:
    """Returns the arguments `tables`, `axis` and `layers` of a figure of one metric.

    Args:
        datasets: which count.
        only: the models to draw, if not all.
    """
    said = METRIC_SAID | ({"only": only} if only else {})
    reads = (similarity_files(datasets),)
    return {
        "tables": Source(lambda m: m.similarity.tables, reads, said),
        "axis": Source(lambda m: m.similarity.axis, reads, said),
        "layers": Source(lambda m: m.similarity.layers, reads, said),
    }
