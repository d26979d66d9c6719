"""Checks of a resolved study that look further than its shape."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from consilience import datasets as dataset_sources
from consilience import models as model_sources
from consilience.alignment import alignment_problems
from consilience.alterations.spec import check_modality
from consilience.config.catalogs import Row
from consilience.config.groups import AUTO
from consilience.config.origins import Origins
from consilience.config.selection import frame, run_query
from consilience.config.shape import Problems, read_schema
from consilience.errors import ConfigError
from consilience.files import find
from consilience.metrics import METRICS, get_metric
from consilience.pairs.families import NONE
from consilience.plots import FIGURES
from consilience.plots.asked import fitting
from consilience.registry import did_you_mean
from consilience.renames import problems as problems_of_renames
from consilience.results import file_problem, same_on_disk
from consilience.samples.draw import read_derived
from consilience.samples.groups import parse_group
from consilience.samples.views import parse_view

if TYPE_CHECKING:
    from consilience.config import Study


def check_renames(
    catalogs: Mapping[str, Sequence[str]],
    read: tuple[Mapping[str, Row], Mapping[str, Row], Mapping[str, Any]],
    problems: Problems,
) -> None:
    """Notes renames that contradict the catalogues: models, datasets and metrics, as read."""
    known = dict(zip(("models", "datasets", "metrics"), read, strict=True))
    ours = [k for k in known if any(name.startswith(f"config/{k}.") for name in catalogs[k])]
    columns = {column for rows in read[:2] for row in rows.values() for column in row}
    columns |= {c for schema in ("models", "datasets") for c in read_schema(schema)["properties"]}
    names = {**known, "registered": METRICS, "columns": columns}
    for place, text in problems_of_renames(names, complete=[*ours, "registered"]):
        problems.add(place, text)


def check_metrics(study: "Study", problems: Problems) -> None:
    """Notes metrics that are not known or take other parameters."""
    for name, spec in study.metrics.items():
        try:
            get_metric(spec["metric"], **spec["parameters"])
        except ConfigError as error:
            problems.add(f"metrics catalogue ({name})", str(error))


def check_sources(study: "Study", problems: Problems) -> None:
    """Notes sources that are not known, or whose models cannot read what a row says."""
    known = model_sources.list_sources()
    for name, row in study.models.items():
        if row["source"] not in known:
            hint = did_you_mean(row["source"], known)
            problems.add(f"model {name!r}", f"unknown source {row['source']!r}{hint}")
            continue
        try:
            model_sources.check_modality(row)
        except ConfigError as error:
            problems.add(f"model {name!r}", str(error))
    sources = dataset_sources.list_sources()
    for name, row in study.touched.items():
        if not row.get("parent") and row["source"] not in sources:
            hint = did_you_mean(row["source"], sources)
            problems.add(f"dataset {name!r}", f"unknown source {row['source']!r}{hint}")
        try:
            rule = parse_group(row)
        except ConfigError as error:
            problems.add(f"dataset {name!r}", str(error))
            continue
        if rule.kind == "file" and not find(rule.value).is_file():
            problems.add(f"dataset {name!r}", f"column group: {rule.value}: there is no such file")


def check_derived(chosen: Mapping[str, Row], known: Mapping[str, Row], problems: Problems) -> None:
    """Notes altered datasets that cannot be made, or are not of the dataset that they name."""
    for name, row in chosen.items():
        try:
            derived = read_derived(row)
            if derived:
                place = f"dataset {name!r}, column alteration ({row['alteration']!r})"
                check_modality(derived.alteration, row["modality"], place)
        except ConfigError as error:
            problems.add(f"dataset {name!r}", str(error))
            continue
        if derived and derived.of not in known:
            hint = did_you_mean(derived.of, known)
            problems.add(
                f"dataset {name!r}", f"it is of {derived.of!r}, not in the catalogue{hint}"
            )
        elif derived and (other := _differing(row, known[derived.of])):
            problems.add(
                f"dataset {name!r}",
                f"its column {other} is {row.get(other, '')!r} and that of {derived.of!r}, whose "
                f"stimuli it alters, {known[derived.of].get(other, '')!r}; write the same",
            )


def _differing(row: Row, other: Row) -> str:
    """Returns the first column, of those that decide samples, in which two rows differ."""
    own = ("dataset", "alteration", "labels")
    columns = [name for name in read_schema("datasets")["properties"] if name not in own]
    return next((c for c in columns if row.get(c, "") != other.get(c, "")), "")


def find_parents(
    chosen: Mapping[str, Row], known: Mapping[str, Row], problems: Problems
) -> dict[str, Row]:
    """Returns the datasets that the chosen ones are views of; notes views that cannot be made."""
    parents: dict[str, Row] = {}
    for dataset in chosen:
        name, seen = dataset, [dataset]
        while parent := known[name].get("parent"):
            problem = _view_problem(known[name], parent, known)
            if parent in seen:
                problem = f"it is a view of itself ({' of '.join([*seen, parent])})"
            if problem:
                problems.add(f"dataset {name!r}", problem)
                break
            parents |= {parent: known[parent]} if parent not in chosen else {}
            name = parent
            seen.append(name)
    return parents


def _view_problem(row: Row, parent: str, known: Mapping[str, Row]) -> str:
    if parent not in known:
        return f"its parent {parent!r} is not in the catalogue{did_you_mean(parent, known)}"
    if other := set(row["modality"].split("+")) - set(known[parent]["modality"].split("+")):
        return f"it holds {' and '.join(sorted(other))}, which its parent {parent!r} does not"
    try:
        view = parse_view(row)
    except ConfigError as error:
        return str(error)
    if view.classes and not find(view.classes).is_file():
        return f"column view: {view.classes}: no such table of classes"
    return ""


def check_across(
    study: "Study", models: Mapping[str, Row], where: Origins, problems: Problems
) -> None:
    """Notes what does not go together: datasets without models, columns that are not there."""
    if problems.lines:  # ids that do not exist would only be reported again
        return
    for dataset, row in study.datasets.items():
        if not study.models_on[dataset]:
            problems.add(
                where.place("datasets"),
                f"{dataset!r} holds {row['modality']} and no model of the study takes that; "
                "leave it out or add a model",
            )
    columns = list(frame(models).columns)
    _check_names(study, where, problems)
    settings = study.settings["consistency"]
    group = study.settings["plots"]["group"]
    places = [("consistency.groups", column) for column in settings["groups"]]
    if settings["clusters"] not in (AUTO, NONE):
        places.append(("consistency.clusters", settings["clusters"]))
    factors = (study.settings["factors"] or {"columns": []})["columns"]
    places += [("factors.columns", column) for column in factors]
    for place, column in places + ([("plots.group", group)] if group else []):
        if column not in columns:
            hint = did_you_mean(column, columns)
            problems.add(where.place(place), f"no column {column!r} in the models{hint}")
    _check_factors(study, [c for c in factors if c in columns], where, problems)
    if settings["models"]:
        run_query(settings["models"], study.models, where.place("consistency.models"), problems)
    _check_sets(study, where, problems)
    for key, text in alignment_problems(study, columns):
        problems.add(where.place(key), text)
    _check_probes_and_curves(study, models, where, problems)
    _check_pairs(study, where, problems)


def _check_names(study: "Study", where: Origins, problems: Problems) -> None:
    """Notes ids that are one file on disks that know no capitals, and columns that name no file."""
    settings = study.settings["consistency"]
    splits = {training.split for training in study.trainings.values()}
    kinds: list[tuple[str, Iterable[str]]] = [
        ("models", [*study.models, *study.trainings]),
        ("datasets", study.touched),
        ("metrics", study.metrics),
        ("splits", splits - {""}),
        ("consistency.sets", settings["sets"]),
    ]
    for key, names in kinds:
        for one, other in same_on_disk(names):
            problems.add(
                where.place(key),
                f"{one!r} and {other!r} differ in capitals alone, and are one file on the disks of "
                "many machines; rename one",
            )
    for column in settings["groups"]:
        if problem := file_problem(column):
            problems.add(
                where.place("consistency.groups"),
                f"the column {column[:80]!r} names figures: {problem}; rename it",
            )


def _check_factors(
    study: "Study", columns: Sequence[str], where: Origins, problems: Problems
) -> None:
    """Notes factors that have one value only."""
    for column in columns:
        if len({row.get(column, "") for row in study.models.values()}) < 2:
            problems.add(
                where.place("factors.columns"),
                f"all models have one {column!r}; name columns in which they differ",
            )


def _check_pairs(study: "Study", where: Origins, problems: Problems) -> None:
    """Notes pairs of classifiers that are asked for where no two of an architecture meet."""
    if study.settings["identifiability"] is None:
        return
    for dataset in study.datasets:
        kinds = [study.models[m].get("architecture", "") for m in study.models_on[dataset]]
        if any(kinds.count(kind) > 1 for kind in kinds):
            return
    problems.add(
        where.place("identifiability"),
        "pairs are of models of one architecture, and no dataset has two of them; add seeds to a "
        "recipe, or leave the block out",
    )


def _check_sets(study: "Study", where: Origins, problems: Problems) -> None:
    """Notes queries for named sets that cannot be used, and anchors that the study lacks."""
    settings = study.settings["consistency"]
    for name, query in settings["sets"].items():
        run_query(query, study.models, where.place(f"consistency.sets.{name}"), problems)
    for anchor in settings["anchors"]:
        if anchor not in study.models:
            hint = did_you_mean(anchor, study.models)
            problems.add(
                where.place("consistency.anchors"), f"no model {anchor!r} in the study{hint}"
            )


def _check_probes_and_curves(
    study: "Study", models: Mapping[str, Row], where: Origins, problems: Problems
) -> None:
    """Notes curves of what the study does not have, and text towers that do not exist."""
    named = [
        ("sensitivity.metrics", study.settings["sensitivity"]["metrics"], study.metrics),
        ("sensitivity.datasets", study.settings["sensitivity"]["datasets"], study.datasets),
        ("probe.datasets", study.settings["probe"]["datasets"] or [], study.datasets),
    ]
    for key, names, known in named:
        for name in sorted(set(names) - set(known)):
            hint = did_you_mean(name, known)
            problems.add(where.place(key), f"{name!r} is not in the study{hint}")
    for name in study.settings["plots"]["figures"]:
        if not fitting([name]):
            hint = did_you_mean(name, FIGURES)
            problems.add(where.place("plots.figures"), f"there is no figure {name!r}{hint}")
    for position, pair in enumerate(study.settings["plots"]["layers"]):
        for name in sorted(set(pair) - set(study.models)):
            hint = did_you_mean(name, study.models)
            place = where.place(f"plots.layers[{position}]")
            problems.add(place, f"{name!r} is not in the study{hint}")
    for model, row in study.models.items():
        tower = row.get("text_tower")
        if tower and models.get(tower, {}).get("modality") != "text":
            texts = [name for name, row in models.items() if row["modality"] == "text"]
            problems.add(
                f"model {model!r}: text_tower",
                f"{tower!r} is no text model of the catalogue{did_you_mean(tower, texts)}",
            )
