"""ReSi's store of similarities of pairs (results.parquet), scored by our own functions.

A row is one comparison of two layers by one measure; what is compared stands in its id alone. Which
models form a group follows from the names of their settings.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from consilience.errors import DataError
from consilience.files import natural_order
from consilience.grounding.cases import (
    ACCURACY,
    ACCURACY_DIFFERENCE,
    AUGMENTATION,
    DESIGNED,
    LABELS,
    LAYERS,
    OUTPUT,
    Case,
)
from consilience.grounding.closeness import Closeness
from consilience.grounding.gate import Gate
from consilience.grounding.published.names import ANSWERS, MEASURES, dataset_of, metric_of, test_of
from consilience.grounding.scores import Judge
from consilience.grounding.tables import SAMPLES
from consilience.pairs.correlations import Floats
from consilience.pairs.draws import Draws

STORE = {"id", "metric", "metric_value", "larger_is_more_similar", "is_symmetric"}
STANDARD = "Normal"
"""ReSi's setting of models that nothing was done to."""
MATCHED = "BERT"
"""Of architectures whose models of one seed started from the same weights, besides graphs."""
UNSEEN = "whether groups behave differently is not in the table"
RELABELLINGS = 999


class Layer(NamedTuple):
    """A layer of one model on one data set, as an id names it."""

    setting: str
    architecture: str
    trained: str
    seed: str
    dataset: str
    layer: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What models that are compared have in common."""
        return self.architecture, self.trained, self.dataset

    @property
    def model(self) -> str:
        """The model among those of its place."""
        return f"{self.setting}.{self.seed}"


Key = tuple[tuple[str, str, str], str]
"""What models have in common, and a measure."""


def score_pairs(
    table: pd.DataFrame, name: str, draws: int, seed: int
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Returns rows of grounding and samples of every measure on every test that a store holds.

    Groups of a test are the settings that are called after it, and the standard models where the
    test has them (labels, augmentation). Models of graphs and of BERT that share a seed started
    from the same weights, whatever their group, as ReSi trained them; with and without such pairs
    there is a row, and metrics are ranked without.

    Args:
        table: with the columns of `STORE`.
        name: of the file, which may tell the domain.
        draws: resamples of models.
        seed: of resamples and relabellings.

    Returns:
        Rows with the columns of `COLUMNS` of grounding, `name` and `same`; samples with those of
        `SAMPLES`.

    Raises:
        DataError: no id is of the form of ReSi's.
    """
    kept, answers = _parse(table)
    judge = Judge(Draws(seed, draws, 0), RELABELLINGS, seed)
    rows, samples = [], []
    for (place, measure), part in kept.items():
        if measure not in MEASURES and measure in ANSWERS:
            continue
        own, metric = metric_of(measure)
        named = {"name": own, "metric": metric, "same": own != metric}
        for case in cases_of(place, part, name, answers):
            found = _judge(judge, case, part, answers.get(place, {}))
            rows += [row | named for row in found.rows]
            common = {"metric": metric, "domain": case.domain, "recipe": case.recipe,
                      "test": case.test}  # fmt: skip
            samples += [common | sample._asdict() for sample in found.samples]
    return rows, pd.DataFrame(samples, columns=SAMPLES)


def _judge(judge: Judge, case: Case, part: pd.DataFrame, apart: Mapping[str, Any]) -> Any:  # noqa: ANN401
    inside = part["model_x"] == part["model_y"]
    table = part[inside] if case.test == LAYERS else part[~inside]
    table = table.copy()
    sides = [table[[f"model_{s}", f"layer_{s}"]].set_axis(["model", "layer"], axis=1) for s in "xy"]
    known = pd.concat(sides).drop_duplicates()
    table.attrs = {
        "facts": {"larger_is_more_similar": bool(part["larger"].iloc[0])},
        "layers": {
            model: sorted(rows["layer"], key=natural_order)
            for model, rows in known.groupby("model")
        },
    }
    given = {measure: _matrix(case.models, apart[measure]) for measure in _measures(case)}
    gate = Gate(True, UNSEEN if case.test in DESIGNED else "")
    return judge.score(case, Closeness(table, case.dataset), gate, given, np.nan)


def _measures(case: Case) -> Sequence[str]:
    return [ACCURACY_DIFFERENCE] if case.test == ACCURACY else case.measures


def _matrix(models: Sequence[str], pairs: Mapping[tuple[str, str], float]) -> Floats:
    found = np.full((len(models), len(models)), np.nan)
    for i, j in combinations(range(len(models)), 2):
        value = pairs.get((models[i], models[j]), pairs.get((models[j], models[i]), np.nan))
        found[i, j] = found[j, i] = value
    return found


# Tests


def cases_of(
    place: tuple[str, str, str], part: pd.DataFrame, name: str, answers: Mapping[Any, Any]
) -> Iterator[Case]:
    """Yields the tests that the pairs of models of one place allow."""
    architecture, trained, dataset = place
    known, domain = dataset_of(trained, dataset, name)
    common = {"recipe": f"{architecture} {known or trained}", "dataset": dataset, "domain": domain}
    across = part[part["model_x"] != part["model_y"]]
    models = sorted({*across["model_x"], *across["model_y"]})
    groups = _groups(models)
    matched = domain == "graph" or architecture.startswith(MATCHED)
    starts = {model: model.rpartition(".")[2] for model in models} if matched else {}
    for test in DESIGNED:
        chosen = [s for s in groups if test_of(s) == test]
        if test in (LABELS, AUGMENTATION) and chosen and STANDARD in groups:
            chosen = [STANDARD, *chosen]
        if len(chosen) > 1 and _has_cross(across, chosen):
            named = {setting: groups[setting] for setting in chosen}
            yield Case(test=test, groups=named, starts=starts, **common)
    given = answers.get(place, {})
    if STANDARD in groups:
        standard = {STANDARD: groups[STANDARD]}
        if ACCURACY_DIFFERENCE in given:
            yield Case(test=ACCURACY, groups=standard, **common)
        if measures := [m for m in ANSWERS.values() if m in given and m != ACCURACY_DIFFERENCE]:
            yield Case(test=OUTPUT, groups=standard, measures=measures, **common)
    inside = part[part["model_x"] == part["model_y"]]
    for setting, models in _groups(inside["model_x"]).items():
        named = common | {"recipe": f"{common['recipe']} {setting}"}
        yield Case(test=LAYERS, groups={setting: models}, **named)


def _groups(models: Any) -> dict[str, list[str]]:  # noqa: ANN401 - any sequence
    """Returns {setting: models}, in natural order, so that rates rise."""
    found: dict[str, list[str]] = {}
    for model in sorted(set(models), key=natural_order):
        found.setdefault(model.rpartition(".")[0], []).append(model)
    return found


def _has_cross(across: pd.DataFrame, settings: Sequence[str]) -> bool:
    x, y = (across[f"model_{s}"].str.rpartition(".")[0] for s in "xy")
    return bool((x.isin(settings) & y.isin(settings) & (x != y)).any())


# Ids


def _parse(table: pd.DataFrame) -> tuple[dict[Key, pd.DataFrame], dict[Any, Any]]:
    """Returns the pairs of layers by place and measure, and how far answers differ by place."""
    lines, answers = [], []
    columns = ["id", "metric_value", "larger_is_more_similar", "is_symmetric"]
    for id_, value, larger, symmetric in table[columns].itertuples(index=False):
        parts = str(id_).split("___")
        sides = [parse_layer(part) for part in parts[:2]]
        if len(parts) == 3 and all(sides) and sides[0].place == sides[1].place:
            x, y = sorted(sides, key=str) if symmetric else sides
            lines.append((x.place, parts[2], x.model, x.layer, y.model, y.layer, value, larger))
        elif len(parts) == 3 and parts[2] in ANSWERS:
            answers.append((*parts, value))
    if not lines:
        first = table["id"].iloc[0] if len(table) else ""
        raise DataError(
            f"no id of the store is of the form setting__architecture__data__seed__data__layer, "
            f"twice, and measure, with ___ between; the first is {first!r}"
        )
    names = ["place", "measure", "model_x", "layer_x", "model_y", "layer_y", "value", "larger"]
    frame = pd.DataFrame(lines, columns=names)
    value = frame["value"].astype(float)
    frame["value"] = value.where(np.isfinite(value))
    same = (frame["model_x"] == frame["model_y"]) & (frame["layer_x"] == frame["layer_y"])
    frame = frame[~same].assign(metric=frame["measure"])
    keys = names[:6]
    frame = frame.sort_values("value", kind="stable", key=lambda v: v.isna())
    frame = frame.drop_duplicates(keys)  # of repeated pairs the first that has a value
    places = frame["place"].unique()
    parts = {key: part for key, part in frame.groupby(["place", "measure"], sort=True)}
    return parts, _answers(answers, frame, places)


def parse_layer(text: str) -> Layer | None:
    """Returns the layer that one side of an id names; None if it is of another form."""
    parts = text.split("__")
    return Layer(*parts) if len(parts) == len(Layer._fields) else None


def _answers(
    lines: Sequence[tuple[str, str, str, float]],
    frame: pd.DataFrame,
    places: Any,  # noqa: ANN401
) -> dict[Any, dict[str, dict[tuple[str, str], float]]]:
    """Returns {place: {measure: {(model, model): value}}}.

    Ids of answers name a model as DOMAIN_architecture_data_setting_seed, parts of which may hold
    underscores too: they are found by the models of whose layers there are pairs.
    """
    models: dict[Any, list[str]] = {place: [] for place in places}
    for place, part in frame.groupby("place"):
        models[place] = sorted({*part["model_x"], *part["model_y"]})
    of = {
        (f"{place[0]}_{place[1]}_{model.replace('.', '_')}", place[2]): (place, model)
        for place, names in models.items()
        for model in names
    }
    found: dict[Any, dict[str, dict[tuple[str, str], float]]] = {}
    for x, y, measure, value in lines:
        sides = [of.get(_answer(side)) for side in (x, y)]
        if all(sides) and sides[0][0] == sides[1][0] and np.isfinite(value):
            pairs = found.setdefault(sides[0][0], {}).setdefault(ANSWERS[measure], {})
            pairs.setdefault((sides[0][1], sides[1][1]), float(value))
    return found


def _answer(text: str) -> tuple[str, str]:
    """Returns the model, without its domain, and the data set of one side of an id of answers."""
    model, _, rest = text.partition("__")
    return re.sub(r"^[A-Z]+_", "", model), rest.partition("__")[0]
