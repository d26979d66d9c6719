"""What is compared: layers from a dataset's features manifest, from features files, or arrays."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from consilience.calibration import Permutations
from consilience.errors import DataError, FeaturesError
from consilience.features import check_listed, content_hash, read_header, read_layer
from consilience.files import read_table
from consilience.forms.groups import (
    arrangements,
    describe,
    fingerprint,
    group_codes,
    unit_count,
)
from consilience.forms.inputs import INPUTS, given_inputs, model_inputs, read_given
from consilience.layers import last_layers
from consilience.metrics import Metric, Preprocessing, metric_of, without_file
from consilience.places import check_file
from consilience.samples import read_samples
from consilience.similarity.task import Item, Offer, Task, make_item

logger = logging.getLogger(__name__)

GROUP_PERMUTATIONS = 199
"""For metrics whose closed-form null does not hold for groups, unless a study says how many."""
ARRAY_LAYER = "features"
"""The layer name of features given as an array."""


@dataclass(frozen=True)
class Listing:
    """The task and the items of one dataset and metric."""

    task: Task
    items: list[Item]
    spec: dict[str, Any]
    """Metric, parameters, preprocessing and layers, as they are used."""
    n: int
    samples_hash: str

    @property
    def layers(self) -> dict[str, list[str]]:
        """The names of each model's layers, in their order."""
        names: dict[str, list[str]] = {}
        for item in self.items:
            names.setdefault(item.model, []).append(item.layer)
        return names


def list_items(
    manifest: str | Path,
    spec: Mapping[str, Any],
    *,
    dataset: str,
    metric_id: str,
    samples: str | Path | None = None,
    keep: int = 0,
) -> Listing:
    """Returns what is compared; items of a view consist of its rows of the parent's features.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        spec: {"metric": name, "parameters": {…}, "preprocessing": {…}, "layers": `all`, or `last`
            for the last layer of each model}. Metrics that take no features compare an output
            of every model, such as `logits`, as it is; further inputs are taken as they are.
            A metric of a file of the user's own names it as "file", which is then run.
        dataset: id of the dataset.
        metric_id: id of the metric variant, for messages.
        samples: samples/{dataset}.parquet, for metrics of what samples have, such as labels.
        keep: bytes that features may take to be read once; else each use reads them again.

    Raises:
        FeaturesError: a model lacks the main input, or all of them another one. Where some lack
            another one, their pairs fail with that reason.
        DataError: samples lack what the metric takes of them, or the manifest or they are of
            another dataset.
    """
    metric = metric_of(spec)
    main = metric.facts.main
    if main != "features":
        as_it_is = {"row_normalize": False, "center": False}
        spec = {**spec, "preprocessing": as_it_is, "layers": main}
    table = read_table(manifest)
    check_file(manifest, table.attrs, dataset=dataset)
    attrs, table.attrs = table.attrs, {}
    if spec["layers"] != "all":
        table = table[table["layer"] == table["model"].map(last_layers(table))]
    n, samples_hash = int(table["n"].iloc[0]), table["samples_hash"].iloc[0]
    shared = {
        name: _of_samples(name, samples, samples_hash, metric_id) for name in metric.facts.shared
    }
    lines = table.to_dict("records")
    found = [_found(metric, line, attrs.get("outputs", ())) for line in lines]
    _check_found(metric, found, lines, dataset, metric_id)
    read = _reader(manifest, attrs.get("rows"), keep=_bytes(found) <= keep)
    items = [
        make_item(
            metric,
            line["model"],
            line["layer"] if main == "features" else main,
            {name: Offer((row["n"], row["d"]), row["hash"], read(name, row)) for name, row in own},
        )
        for line, own in zip(lines, [rows.items() for rows in found], strict=True)
    ]
    task = Task(
        metric,
        Preprocessing(**spec["preprocessing"]),
        shared=shared,
        groups=group_codes(attrs.get("groups")) if INPUTS[main].per_sample else None,
        group_rows=spec.get("group_rows", "apart"),
    )
    task, items = take_groups(task, items)
    n = items[0].shape[0] if task.pooled else n
    return Listing(task, items, without_file(spec), n, samples_hash)


def take_groups(task: Task, items: list[Item]) -> tuple[Task, list[Item]]:
    """Returns a task and its items with one row for each group if `group_rows` is `mean`.

    So a model of pictures, of which each is there once for each of its captions, has one row per
    picture, and one of texts the mean over its captions; rows are independent then. What the
    samples have, such as labels, is that of a group's first row.
    """
    if task.group_rows != "mean" or task.groups is None:
        return task, items
    groups = task.groups
    first = np.unique(groups, return_index=True)[1]
    shared = {name: x[first] for name, x in task.shared.items()}
    pooled = fingerprint(groups), unit_count(groups, len(groups))
    task = replace(task, shared=shared, groups=None, pooled=pooled)
    return task, [item.pooled(groups) for item in items]


_Rows = dict[str, Mapping[str, Any]]
"""For each input of a metric that a model has, its row of the manifest or of its outputs."""


def _found(metric: Metric, line: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> _Rows:
    """Returns where the model of a manifest's line has what the metric takes."""
    own = {row["output"]: row for row in outputs if row["model"] == line["model"]}
    own["features"] = {**line, "output": line["layer"]}
    return {name: own[name] for name in model_inputs(metric.facts.inputs) if name in own}


def _check_found(
    metric: Metric,
    found: Sequence[_Rows],
    lines: Sequence[Mapping[str, Any]],
    dataset: str,
    metric_id: str,
) -> None:
    """Raises FeaturesError for models without the main input, or an input that no model has."""
    models = sorted({line["model"] for line in lines})
    for name in model_inputs(metric.facts.inputs):
        without = sorted(
            {line["model"] for line, own in zip(lines, found, strict=True) if name not in own}
        )
        if without and (name == metric.facts.main or without == models):
            raise FeaturesError(
                f"metric {metric_id!r} compares {INPUTS[name].article}, and {len(without)} of "
                f"{len(models)} models on dataset {dataset!r} have none: {', '.join(without)}; "
                "leave out the metric, or these models, in a study of its own"
            )


def _bytes(found: Sequence[_Rows]) -> int:
    """Returns the size of all inputs in the widest type that they have."""
    return sum(8 * int(row["n"]) * int(row["d"]) for own in found for row in own.values())


def _reader(
    manifest: str | Path, rows: Sequence[int] | None, *, keep: bool
) -> Callable[[str, Mapping[str, Any]], Callable[[], np.ndarray]]:
    """Returns (input, its row of the manifest) -> what reads it: once if `keep`, or at each use.

    Args:
        manifest: the features files lie beside it.
        rows: the rows of the files that a view of another dataset consists of; None for all.
        keep: whether what was read is kept.
    """
    wanted = None if rows is None else np.array(rows, dtype=np.int64)
    reads = {True: partial(_read, manifest, wanted), False: partial(_read, manifest, None)}
    if keep:
        reads = {key: cache(read) for key, read in reads.items()}
    folder = Path(manifest).parent
    return lambda name, row: partial(
        reads[INPUTS[name].per_sample], folder / row["file"], row["output"], row["hash"]
    )


def items_of(metric: Metric, model: str, source: Any) -> list[Item]:  # noqa: ANN401
    """Returns the items of one model.

    Args:
        metric: decides which inputs are taken.
        model: its id.
        source: path of a features file, of which each layer is an item, or its logits for a metric
            of logits; the array of the main input; or {input: array}.

    Raises:
        FeaturesError: an array is missing or not sound, or the file lacks the main input.
    """
    if isinstance(source, str | Path):
        return _items_of_file(metric, model, source)
    names, main = metric.facts.inputs, metric.facts.main
    arrays = given_inputs(names, source, f"model {model!r}")
    several = isinstance(source, Mapping)
    place = f"model {model!r}" if several else f"{main} of model {model!r}"
    checked = read_given(names, arrays if several else arrays[main], place)
    # arrays as given are kept, not their float64 copies
    offers = {
        name: Offer(x.shape, content_hash(x), partial(_given, arrays[name]))
        for name, x in checked.items()
    }
    return [make_item(metric, model, ARRAY_LAYER, offers)]


def _given(x: Any) -> Any:  # noqa: ANN401
    return x


def _items_of_file(metric: Metric, model: str, path: str | Path) -> list[Item]:
    header, main = read_header(path), metric.facts.main

    def offer(name: str) -> Offer:
        shape = tuple(header["shapes"][name])
        return Offer(shape, header["hashes"][name], partial(read_layer, path, name))

    outputs = {name: offer(name) for name in header.get("outputs", ()) if name in INPUTS}
    if main == "features":
        offers = {layer: {**outputs, "features": offer(layer)} for layer in header["layers"]}
    elif main in outputs:
        offers = {main: outputs}
    else:
        raise FeaturesError(
            f"{path} has no output {main!r}, which metric {metric.facts.name!r} compares; give the "
            f"array of another tensor, or extract features of a model that has {main}"
        )
    origin = {key: header[key] for key in ("dataset", "samples_hash") if key in header}
    return [
        replace(make_item(metric, model, layer, own), origin=origin)
        for layer, own in offers.items()
    ]


def _read(
    manifest: str | Path, rows: np.ndarray | None, path: Path, name: str, hash_: str
) -> np.ndarray:
    x = read_layer(path, name, rows)
    check_listed(path, name, hash_, rows, manifest)
    return x


def _of_samples(
    name: str, samples: str | Path | None, samples_hash: str, metric_id: str
) -> np.ndarray:
    """Returns an input (n,) that the samples table has, of the samples that features are of."""
    if samples is None:
        raise DataError(f"metric {metric_id!r} needs {name}: give the samples table")
    read = read_samples(samples)
    if read.hash != samples_hash:
        raise DataError(f"{samples} holds other samples than the features; run snakemake again")
    column = read.table[INPUTS[name].column]
    if missing := int(column.isna().sum()):
        raise DataError(
            f"metric {metric_id!r} needs {name}, and {missing} of {len(column)} samples of "
            f"dataset {read.row['dataset']!r} have none; leave the metric out of studies with it"
        )
    return INPUTS[name].check(column.to_numpy(), name)


def with_null(task: Task, permutations: int) -> Task:
    """Returns the task with the null that a study gives it.

    Args:
        task: without a null.
        permutations: for the null of metrics without a closed form, and of all where samples come
            in groups; 0: they have none, or for groups `GROUP_PERMUTATIONS` if they are cheap.
    """
    metric = task.metric
    if not metric.facts.paired:
        return task
    if task.groups is not None:
        return _with_null_of_groups(task, permutations)
    if metric.has_closed_form:
        return replace(task, null="closed_form")
    if not permutations:
        return task
    return replace(task, null="monte_carlo", permutations=Permutations(permutations))


def _with_null_of_groups(task: Task, permutations: int) -> Task:
    """Returns the task with the null that permutes whole groups, where that can be had."""
    text, count = describe(task.groups), permutations
    if not permutations and task.metric.has_closed_form and not task.is_tiled(len(task.groups)):
        count = GROUP_PERMUTATIONS
    if not count:
        if task.metric.has_closed_form:
            logger.warning(
                "%s: the closed-form null holds for independent samples only, so there is none; "
                "similarity.permutations above 0 permutes whole groups, a pass each",
                text,
            )
        return task
    if arrangements(task.groups) < 2:
        logger.warning("%s, no two of one size: they cannot change places; there is no null", text)
        return task
    permuted = Permutations(count)
    if words := permuted.words(task.groups):
        logger.warning(words)
    return replace(task, null="monte_carlo", permutations=permuted)
