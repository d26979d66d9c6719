"""Two models, all pairs of some, and all pairs of layers of two."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from consilience.api.extracting import extract
from consilience.api.loading import Model
from consilience.api.measures import DEFAULT, Given, Measure, find_measure
from consilience.api.shown import Comparison, SimilarityTable
from consilience.api.values import Features, items_for
from consilience.calibration import NULL, NullKind, Permutations
from consilience.errors import ConfigError, FeaturesError, MetricError
from consilience.features.activations import reduce
from consilience.forms.groups import group_codes
from consilience.registry import did_you_mean
from consilience.similarity import Engine, Item, Task
from consilience.similarity import pairwise as all_pairs
from consilience.similarity.engine.blocks import all_pairs as pairs_among
from consilience.similarity.engine.wanted import Pairs, Wanted
from consilience.similarity.items import with_null
from consilience.similarity.over_units import UNITS

Null = NullKind | Literal["auto"] | None
NULLS = ("auto", "closed_form", "monte_carlo", None)


@dataclass(frozen=True)
class _Across(Wanted):
    """All pairs of a layer of one model and a layer of another, or of one model's own layers."""

    x: str = ""
    y: str = ""

    def pairs(self, items: Sequence[Item], *, symmetric: bool) -> Pairs:
        first, second = ([i for i in items if i.model == name] for name in (self.x, self.y))
        if self.x == self.y:
            return pairs_among(first, symmetric=symmetric)
        return [(i, j) for i in first for j in second]


def compare(
    x: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    metric: Given = DEFAULT,
    *,
    null: Null = "auto",
    permutations: int = 0,
    labels: Any = None,  # noqa: ANN401
    groups: Any = None,  # noqa: ANN401
    reduction: str | None = None,
    **settings: Any,  # noqa: ANN401
) -> Comparison:
    """Returns the similarity of two models on the same n samples, and what chance would give.

    Args:
        x: features of one model: (n, d) array or torch tensor, `Features` of one layer, the path
            of a features file of one layer, or {input: array} for a metric of several inputs.
        y: the same of the other, (n, d'), of the same samples in the same order.
        metric: id of a variant of config/metrics.yaml, which does what a study does (it divides
            rows by their norms, unless its entry says otherwise); name of a registered metric, of
            features as they are; an entry as in that catalogue; or a `Metric`.
        null: `auto`: the closed form of metrics that have one, otherwise as many permutations as
            `permutations` says; or `closed_form`, `monte_carlo`, None.
        permutations: of the samples, for a null without a closed form; 0: there is none
            (`monte_carlo` then takes 1000).
        labels: (n,) classes as whole numbers, for metrics that take them.
        groups: (n,) what each sample is one of, such as the picture that a caption is of.
        reduction: `mean`, `flatten`: makes (n, d) of maps (n, channels, h, w) or tokens
            (n, tokens, d).
        **settings: parameters of the metric, and `row_normalize`, `center` or `clip` to do
            otherwise before it.

    Raises:
        ConfigError: an unknown metric, parameter or null, with the nearest known one.
        FeaturesError: features that are not finite, or not of the same samples.
        MetricError: the metric is not defined for them.

    Cost: that of the metric, for two models.

    Example:
        >>> x = np.sin(np.arange(48) ** 2).reshape(16, 3)
        >>> round(compare(x, x + np.roll(x, 1, axis=0), "cka").value, 4)
        0.5784
    """
    measure = find_measure(metric, settings)
    sides = {"x": _one(measure, "x", x, reduction), "y": _one(measure, "y", y, reduction)}
    table = _table(measure, sides, null, permutations, labels, groups, _Across(x="x", y="y"))
    row = table.iloc[0]
    if pd.isna(row["value"]):
        raise MetricError(row["failure"])
    numbers = {name: None if pd.isna(row[name]) else float(row[name]) for name in (*NULL, *UNITS)}
    note = None if pd.isna(row["note"]) else str(row["note"])
    found = {"n": table.attrs["n"], "null": table.attrs["null"], "measure": measure, "note": note}
    return Comparison(value=float(row["value"]), **numbers, **found)


def pairwise(  # noqa: PLR0913 - options by name
    features: Mapping[str, Any] | Sequence[Features],
    metric: Given = DEFAULT,
    *,
    null: Null = "auto",
    permutations: int = 0,
    labels: Any = None,  # noqa: ANN401
    groups: Any = None,  # noqa: ANN401
    reduction: str | None = None,
    dataset: str = "",
    threads: int = 1,
    **settings: Any,  # noqa: ANN401
) -> SimilarityTable:
    """Returns the similarities of all pairs of models, self pairs included, as a long table.

    Values are those of `results/similarity`, to the last digit, for the same features.

    Args:
        features: {model: what `compare` takes}, or some `Features`; each layer of `Features` and of
            features files is compared.
        metric: as in `compare`.
        null: as in `compare`.
        permutations: as in `compare`.
        labels: as in `compare`.
        groups: as in `compare`.
        reduction: as in `compare`.
        dataset: id for the column; by default that of the features, if they know it.
        threads: that compute; none of them changes a value.
        **settings: as in `compare`.

    Returns:
        Columns dataset, metric, model_x, layer_x, model_y, layer_y, value, null_mean, null_sd, z,
        p, calibrated, ties, failure, note, hash_x, hash_y (docs/results.md says what they mean);
        one row per unordered pair of layers of a symmetric metric, else one per ordered pair.
        `attrs` says how it was made.

    Raises:
        ConfigError: as `compare`.
        FeaturesError: as `compare`. Pairs that the metric is not defined for have no value, and
            `failure` says why.

    Cost: as the workflow: every layer is prepared once, and every pair compared once.
    """
    measure = find_measure(metric, settings)
    given = features if isinstance(features, Mapping) else _named(features)
    if isinstance(features, Features):
        given = {features.model: features}
    items = {name: _reduced(measure, name, source, reduction) for name, source in given.items()}
    return _table(measure, items, null, permutations, labels, groups, None, dataset, threads)


def layers(  # noqa: PLR0913 - options by name
    model_x: Any,  # noqa: ANN401
    model_y: Any = None,  # noqa: ANN401
    data: Any = None,  # noqa: ANN401
    metric: Given = DEFAULT,
    *,
    null: Null = "auto",
    permutations: int = 0,
    labels: Any = None,  # noqa: ANN401
    threads: int = 1,
    batch_size: int = 8,
    **settings: Any,  # noqa: ANN401
) -> SimilarityTable:
    """Returns the similarity of every layer of one model with every layer of another.

    Args:
        model_x: a model (`load_model`), its id in config/models.tsv or its row, of which then all
            layers are taken (`layers: all`); or its features: `Features`, a features file, or
            {layer: (n, d) array} in order of depth.
        model_y: the other one; None: the layers of model_x with each other.
        data: what both see, see `extract`; not needed where both are features.
        metric: as in `compare`.
        null: as in `compare`.
        permutations: as in `compare`.
        labels: as in `compare`.
        threads: that compute; none of them changes a value.
        batch_size: samples per forward pass.
        **settings: as in `compare`.

    Returns:
        the columns of `pairwise`, a row for each layer of x (`layer_x`) and each of y, both in
        order of depth; `cs.plot.layers` draws it.

    Raises:
        ConsilienceError: as `extract` and `compare`.

    Cost: a forward pass of each model over the data, and one comparison per pair of layers.
    """
    measure = find_measure(metric, settings)
    x = _features(model_x, data, batch_size)
    y = x if model_y is None else _features(model_y, data, batch_size)
    name_x = x.model or "x"
    name_y = name_x if y is x else y.model or "y"
    if y is not x and name_x == name_y:
        name_x, name_y = f"{name_x} (x)", f"{name_y} (y)"
    items = {name: items_for(measure.metric, name, f) for name, f in ((name_x, x), (name_y, y))}
    wanted = _Across(x=name_x, y=name_y)
    dataset = x.dataset or y.dataset
    table = _table(measure, items, null, permutations, labels, None, wanted, dataset, threads)
    table.attrs["pair"] = [name_x, name_y]
    return table


def _features(model: Any, data: Any, batch_size: int) -> Features:  # noqa: ANN401
    """Returns the features of a model's layers, as they are given or extracted now."""
    if isinstance(model, Features):
        return model
    if isinstance(model, Path) or (isinstance(model, str) and Path(model).is_file()):
        return Features.read(model)
    if isinstance(model, Mapping) and not {"source", "name"} <= set(model):
        return Features("", {str(layer): _array(x) for layer, x in model.items()})
    if data is None:
        raise ConfigError("give what both models are to see as `data`, or their features")
    named = isinstance(model, str) or (isinstance(model, Mapping) and not model.get("layers"))
    return extract(model, data, batch_size=batch_size, **({"layers": "all"} if named else {}))


def _array(x: Any) -> Any:  # noqa: ANN401
    return x.detach().cpu().numpy() if hasattr(x, "detach") else x


def _named(features: Sequence[Features]) -> dict[str, Features]:
    """Returns features by the names of their models."""
    if not isinstance(features, Sequence) or not all(isinstance(f, Features) for f in features):
        raise FeaturesError(
            "features are a mapping, {model: array, features file or Features}, or a list of "
            f"Features; this is a {type(features).__name__}"
        )
    names = [f.model for f in features]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FeaturesError(f"two features are of {twice[0]!r}; name them: {{name: features, …}}")
    return dict(zip(names, features, strict=True))


def _one(measure: Measure, side: str, source: Any, reduction: str | None) -> list[Item]:  # noqa: ANN401
    """Returns the only layer of what is given."""
    items = _reduced(measure, side, source, reduction)
    if len(items) > 1:
        names = ", ".join(repr(item.layer) for item in items)
        raise FeaturesError(
            f"{side} has {len(items)} layers ({names}); give one of them, as features[layer], or "
            "compare all by cs.layers"
        )
    return items


def _reduced(
    measure: Measure,
    model: str,
    source: Any,  # noqa: ANN401
    reduction: str | None,
) -> list[Item]:
    if isinstance(source, Model):
        raise FeaturesError(f"{model} is a model; compare what it makes: cs.extract(model, data)")
    if reduction and not isinstance(source, str | Path | Mapping):
        source = reduce(source, reduction)
    return items_for(measure.metric, model, source)


def _table(  # noqa: PLR0913, PLR0917 - one place where tables are made
    measure: Measure,
    items: Mapping[str, Collection[Item]],
    null: Null,
    permutations: int,
    labels: Any,  # noqa: ANN401
    groups: Any,  # noqa: ANN401
    wanted: Wanted | None,
    dataset: str = "",
    threads: int = 1,
) -> SimilarityTable:
    """Returns the table of some pairs, as the workflow would make it."""
    first = next((item for own in items.values() for item in own), None)
    if first is None:
        raise FeaturesError("there are no features to compare; give at least one model")
    kind, drawn = _null(measure, null, permutations, groups, first.shape[0])
    found = all_pairs(
        measure.metric,
        {name: list(own) for name, own in items.items()},
        null=kind,
        permutations=drawn,
        labels=labels,
        groups=groups,
        group_rows=measure.group_rows,
        preprocessing=measure.preprocessing,
        engine=Engine(threads=threads),
        wanted=wanted,
    )
    table = SimilarityTable(found)
    origins = {i.origin.get("dataset") or "" for own in items.values() for i in own}
    table.insert(0, "dataset", dataset or (origins.pop() if len(origins) == 1 else ""))
    table.insert(1, "metric", measure.name)
    table.attrs |= {
        "spec": measure.spec(),
        "facts": measure.metric.facts.as_dict(),
        "label": measure.label,
        "words": str(measure),
        "way": measure.way,
        "null": kind,
        "layers": {name: [item.layer for item in own] for name, own in items.items()},
        "n": first.shape[0],
    }
    return table


def _null(
    measure: Measure,
    null: Null,
    permutations: int,
    groups: Any,  # noqa: ANN401
    n: int,
) -> tuple[NullKind | None, Permutations]:
    """Returns which null a table has, as a study would choose it where nobody did."""
    if null not in NULLS:
        hint = did_you_mean(str(null), [kind for kind in NULLS if kind])
        raise ConfigError(f"null cannot be {null!r}{hint}")
    if permutations < 0 or permutations == 1:
        raise ConfigError(f"permutations is {permutations}: a null takes 2 or more, 0 is none")
    if null != "auto":
        return null, Permutations(permutations or 1000)
    pooled = measure.group_rows == "mean"
    codes = None if pooled else group_codes(groups, n)
    task = Task(measure.metric, measure.preprocessing, groups=codes, group_rows=measure.group_rows)
    task = with_null(task, permutations)
    return task.null, task.permutations
