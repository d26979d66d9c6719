"""Checks of a resolved study that look further than its shape."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from consilience import datasets as dataset_sources
from consilience import models as model_sources
from consilience.config.catalogs import Row
from consilience.config.selection import frame, run_query
from consilience.config.shape import Problems
from consilience.errors import ConfigError
from consilience.metrics import get_metric
from consilience.registry import did_you_mean

if TYPE_CHECKING:
    from consilience.config import Study


def check_metrics(study: "Study", problems: Problems) -> None:
    """Notes metrics that are not known, take other parameters, or compare no features."""
    for name, spec in study.metrics.items():
        try:
            metric = get_metric(spec["metric"], **spec["parameters"])
        except ConfigError as error:
            problems.add(f"metrics catalogue ({name})", str(error))
            continue
        if metric.facts.input != "features":
            problems.add(
                f"metrics catalogue ({name})",
                f"metric {spec['metric']!r} compares {metric.facts.input}, which features files do "
                "not hold; take it out of the study and call it from Python",
            )


def check_sources(study: "Study", problems: Problems) -> None:
    """Notes sources that are not known."""
    known = model_sources.list_sources()
    for name, row in study.models.items():
        if row["source"] not in known:
            hint = did_you_mean(row["source"], known)
            problems.add(f"model {name!r}", f"unknown source {row['source']!r}{hint}")
    known = dataset_sources.list_sources()
    for name, row in study.datasets.items():
        if row["source"] not in known:
            hint = did_you_mean(row["source"], known)
            problems.add(f"dataset {name!r}", f"unknown source {row['source']!r}{hint}")


def check_across(study: "Study", models: Mapping[str, Row], where: str, problems: Problems) -> None:
    """Notes what does not go together: datasets without models, columns that are not there."""
    if problems.lines:  # ids that do not exist would only be reported again
        return
    for dataset, row in study.datasets.items():
        if not study.models_on[dataset]:
            problems.add(
                f"{where}: datasets",
                f"{dataset!r} holds {row['modality']} and no model of the study takes that; "
                "leave it out or add a model",
            )
    columns = list(frame(models).columns)
    settings = study.settings["consistency"]
    group = study.settings["plots"]["group"]
    places = [("consistency.groups", column) for column in settings["groups"]]
    for place, column in places + ([("plots.group", group)] if group else []):
        if column not in columns:
            hint = did_you_mean(column, columns)
            problems.add(f"{where}: {place}", f"no column {column!r} in the models{hint}")
    if settings["models"]:
        run_query(settings["models"], study.models, f"{where}: consistency.models", problems)
    for name, query in settings["sets"].items():
        run_query(query, study.models, f"{where}: consistency.sets.{name}", problems)
    for anchor in settings["anchors"]:
        if anchor not in study.models:
            hint = did_you_mean(anchor, study.models)
            problems.add(f"{where}: consistency.anchors", f"no model {anchor!r} in the study{hint}")
