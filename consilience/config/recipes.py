"""Recipes: what is trained, expanded to models before a study selects.

A recipe's model has the id `{recipe}.{variant}.{seed}`, a row as any other model, and a `spec`: all
that decides its weights besides the samples and the code. Metadata are in the row alone, so that
an edit of them trains nothing.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from consilience.config.altered import INDEX, check_alterations
from consilience.config.catalogs import Row, read_yaml
from consilience.config.objectives import check_objective, objective_options
from consilience.config.shape import Problems, check_shape, read_schema, with_defaults
from consilience.errors import ConfigError
from consilience.files import canonical_json, derive_seed
from consilience.networks import CLASSES, check_options, split_name
from consilience.registry import did_you_mean
from consilience.results import id_problem

logger = logging.getLogger(__name__)

Recipe = dict[str, Any]

MOST_VARIANTS = 10_000
"""Of a sweep."""
MOST_MODELS = 100_000
"""Of all recipes of a study."""

SOURCE = "trained"
"""The column `source` of a model that is trained."""
SEEDS = ("init", "order", "draw", "noise")
STANDARD = "standard"
"""The variant of a recipe without variants."""
ALTERATIONS = ("labels", "shortcut", "augmentation")
_RATES = {"labels": "labels_rate", "shortcut": "shortcut_rate"}
_SPLIT = {
    "kind": "split_kind", "overlap": "overlap", "side": "side", "draw": "split_draw",
    "design": "split_design", "parts": "split_parts",
}  # fmt: skip
"""Metadata columns of alterations, and of keys of `overlap`."""
_WHOLE = (
    *("options", "columns", "input", "training", "objective_options", "overlap", "tests"),
    *ALTERATIONS,
)
"""Blocks that are laid over each other key by key."""


@dataclass(frozen=True)
class Training:
    """One model that a recipe trains."""

    row: Row
    spec: dict[str, Any]
    group: str
    """`{recipe}.{variant}`: models that differ in their seeds alone, and that one job trains."""
    split: str = ""
    """The split of which the model learns one side: its variant's, or its own; empty: none."""

    @property
    def datasets(self) -> list[str]:
        """The dataset that it learns from, and the other one that it is scored on, if any."""
        return [self.spec["dataset"], *filter(None, [self.spec["test"]])]


def read_recipes(names: Sequence[str], problems: Problems) -> dict[str, Recipe]:
    """Returns the recipes of YAML catalogues by id, with what they extend laid under them."""
    recipes: dict[str, Recipe] = {}
    for name in names:
        content = read_yaml(name, problems)
        if content is None:
            continue
        before = len(problems.lines)
        check_shape(content, "recipes", name, problems)
        if problems.lines[before:] or not isinstance(content, Mapping):
            continue
        for recipe in sorted(set(recipes) & set(content)):
            problems.add(name, f"the recipe {recipe!r} is defined twice; rename one")
        recipes |= {recipe: given or {} for recipe, given in content.items()}
    found = {}
    for recipe in recipes:
        if (whole := _extended(recipe, recipes, problems)) is not None:
            found[recipe] = whole
    return found


def _extended(name: str, recipes: Mapping[str, Recipe], problems: Problems) -> Recipe | None:
    chain = [name]
    while (below := recipes[chain[-1]].get("extends")) is not None:
        if below not in recipes or below in chain:
            hint = did_you_mean(below, recipes) if below not in recipes else "; it is its own base"
            problems.add(f"recipe {name!r}", f"`extends` names {below!r}{hint}")
            return None
        chain.append(below)
    whole: Recipe = {}
    for one in reversed(chain):
        given = {key: value for key, value in recipes[one].items() if key != "extends"}
        if {"variants", "sweep"} & set(given):
            whole = {k: v for k, v in whole.items() if k not in ("variants", "sweep")}
        whole = lay(whole, given)
    return whole


def lay(below: Mapping[str, Any], above: Mapping[str, Any]) -> Recipe:
    """Returns a recipe laid over another: blocks key by key, all else whole."""
    merged = dict(below)
    for key, value in above.items():
        both = key in _WHOLE and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both else value
    if "training" in above and {"steps", "epochs"} & set(above["training"]):
        given = set(above["training"])  # one of the two replaces the other
        other = {"steps", "epochs"} - given
        merged["training"] = {k: v for k, v in merged["training"].items() if k not in other}
    return merged


def expand(
    recipes: Mapping[str, Recipe],
    datasets: Mapping[str, Row],
    seed: int,
    wanted: str | Sequence[str],
    problems: Problems,
) -> dict[str, Training]:
    """Returns the models that recipes train, by id.

    Recipes of data that the study's catalogue of datasets does not have are left out, unless the
    study asks for their models by name: ours need not fit everybody's catalogue. If the study lists
    ids, so are those of data that the catalogue has otherwise; a query might mean them.

    Args:
        recipes: of `read_recipes`.
        datasets: all rows of the catalogue.
        seed: of the study.
        wanted: the key `models` of the study, ids or a query.
        problems: to add to.
    """
    found: dict[str, Training] = {}
    texts = [wanted] if isinstance(wanted, str) else wanted
    for name, recipe in recipes.items():
        unnamed = not any(name in text for text in texts)
        if unnamed and (text := _unfit(recipe, datasets, certain=not isinstance(wanted, str))):
            logger.info("recipe %r is left out: %s", name, text)
            continue
        for variant, swept, whole in _variants(name, recipe, problems):
            place = f"recipe {name!r}, variant {variant!r}"
            before = len(problems.lines)
            _check(place, whole, datasets, problems)
            if problems.lines[before:]:
                break  # the other variants would say the same
            if len(found) + len(_numbers(whole["seeds"])) > MOST_MODELS:
                problems.add(place, f"recipes make more than {MOST_MODELS:,} models; make fewer")
                return found
            made = {
                model: _training(model, name, variant, number, swept, whole, datasets, seed)
                for number in _numbers(whole["seeds"])
                for model in [f"{name}.{variant}.{number}"]
            }
            if odd := next(filter(None, map(id_problem, made)), ""):
                problems.add(place, f"its model {odd}")
                break
            if len(made) > 1 and _are_one([one.spec for one in made.values()]):
                pair = " and ".join(map(repr, list(made)[:2]))
                problems.add(place, f"its models {pair} have the same seeds; give one `own`")
            found |= made
    return found


def _are_one(specs: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether all that decides models is the same."""
    return all(spec == specs[0] for spec in specs)


def _unfit(recipe: Recipe, datasets: Mapping[str, Row], *, certain: bool) -> str:
    """Returns why a recipe does not fit a catalogue of datasets, or "" if it does.

    Unless it is certain that nobody selects the recipe, only what it is learnt from counts.
    """
    learnt = [name for key in ("dataset", "test") if (name := recipe.get(key))]
    if not certain:
        data = recipe.get("dataset")
        return f"there is no dataset {data!r}" if data and data not in datasets else ""
    for name in (*learnt, *recipe.get("runs_on", [])):
        if name not in datasets:
            return f"there is no dataset {name!r}"
    for name in learnt:
        if text := _untrainable(recipe, datasets, name):
            return f"the dataset {name!r} {text}"
    return ""


def _variants(name: str, recipe: Recipe, problems: Problems) -> Iterator[tuple[str, Row, Recipe]]:
    """Yields (name of the variant, its metadata columns, recipe with the variant laid over it)."""
    base = {k: v for k, v in recipe.items() if k not in ("variants", "sweep")}
    many = prod(map(len, recipe.get("sweep", {}).values())) > MOST_VARIANTS
    if many or ("variants" in recipe and "sweep" in recipe):
        least = f"a sweep of more than {MOST_VARIANTS:,} variants; vary less"
        both = "variants and a sweep; give one of them"
        problems.add(f"recipe {name!r}", f"has {least if many else both}")
        return
    plain = {} if "sweep" in recipe else {STANDARD: {}}
    for variant, given in (recipe.get("variants") or plain).items():
        if {"variants", "sweep", "extends", "tests"} & set(given or {}):
            problems.add(f"recipe {name!r}, variant {variant!r}", "a variant has none of its own")
            continue
        yield variant, {}, lay(base, given or {})
    keys = list(recipe.get("sweep", {}))
    seen: set[str] = set()
    if len({_last(key) for key in keys}) < len(keys):
        problems.add(f"recipe {name!r}, sweep", "two keys have the same last word; use `variants`")
    elif keys:
        for values in product(*recipe["sweep"].values()):
            whole, columns = base, {}
            for key, value in zip(keys, values, strict=True):
                block, inner = key.rpartition(".")[0], _last(key)
                whole = lay(whole, {block: {inner: value}} if block else {key: value})
                columns[inner] = str(value)
            before = len(problems.lines)
            check_shape({name: whole}, "recipes", f"recipe {name!r}, sweep", problems)
            if problems.lines[before:]:
                return
            variant = "-".join(f"{k}{v}" if v[:1].isdigit() else v for k, v in columns.items())
            if variant in seen or id_problem(variant):
                why = "is there twice" if variant in seen else "is no id, which names files"
                problems.add(
                    f"recipe {name!r}, sweep", f"the variant {variant!r} {why}; use `variants`"
                )
                return
            seen.add(variant)
            yield variant, columns, whole


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _numbers(seeds: float | Sequence[float]) -> Sequence[int]:
    return [int(k) for k in seeds] if isinstance(seeds, list) else range(int(seeds))


def _check(place: str, whole: Recipe, datasets: Mapping[str, Row], problems: Problems) -> None:
    """Notes what a recipe lacks or names that is not there."""
    for key in ("dataset", "architecture", "training", "seeds"):
        if key not in whole:
            problems.add(place, f"{key!r} is missing; add it")
    named = [(f"the {key}", whole[key]) for key in ("dataset", "test") if whole.get(key)]
    for what, name in [*named, *(("`runs_on`:", name) for name in whole.get("runs_on", []))]:
        if name not in datasets:
            hint = did_you_mean(name, datasets)
            problems.add(place, f"{what} {name!r} is not in the catalogue of datasets{hint}")
    for what, name in named:
        if text := _untrainable(whole, datasets, name):
            problems.add(place, f"{what} {name!r} {text}")
    taken = {*read_schema("models")["properties"], "recipe", "variant", "seed", "init"}
    for column in sorted(
        (taken | {"architecture", "training_set"}) & set(whole.get("columns", {}))
    ):
        problems.add(place, f"columns: {column!r} is a column of every model; call yours otherwise")
    if "training" in whole and len({"steps", "epochs"} & set(whole["training"])) != 1:
        problems.add(place, "training has either `steps` or `epochs`; give one of them")
    try:
        check_alterations(place, whole, datasets)
        split_name(whole.get("architecture", "small:mlp"))
        check_options(whole.get("architecture", "small:mlp"), whole.get("options", {}))
        check_objective(whole, datasets)
    except ConfigError as error:
        problems.add(place, str(error))


def _untrainable(whole: Recipe, datasets: Mapping[str, Row], name: str) -> str:
    """Returns why nothing can be learnt of a dataset, or "" if nothing is seen to forbid it."""
    row = datasets.get(name, {})
    if row.get("parent"):
        return "is a view; name a dataset that has a source"
    if row.get("labels") == "no" and whole.get("objective", CLASSES) == CLASSES:
        return "has no labels to learn; name another one, or an objective that needs none"
    first = datasets.get(whole.get("dataset", ""), row).get("modality", "").split("+")[0]
    modality = whole.get("modality", first)
    if row and modality not in row["modality"].split("+"):
        return f"holds {row['modality']}, not {modality}"
    return ""


def _training(
    model: str,
    recipe: str,
    variant: str,
    number: int,
    swept: Row,
    whole: Recipe,
    datasets: Mapping[str, Row],
    seed: int,
) -> Training:
    """Returns one model of a checked recipe."""
    schema = read_schema("recipes")["$defs"]["recipe"]["properties"]
    dataset, test = whole["dataset"], whole.get("test", "")
    modality = whole.get("modality", datasets[dataset]["modality"].split("+")[0])
    named = {"recipe": recipe, "variant": variant, "seed": number}
    options = {k: v for k, v in whole.get("options", {}).items() if not isinstance(v, list | dict)}
    filled = {**options, **named, **swept}
    overlap, split = dict(whole.get("overlap") or {}), ""
    if overlap:
        of_model = overlap.get("draw") == INDEX
        overlap |= {"draw": number} if of_model else {}
        split = model if of_model else f"{recipe}.{variant}"
    spec = {
        "architecture": whole["architecture"],
        "options": dict(whole.get("options", {})),
        "dataset": dataset,
        "test": test,
        "split": whole.get("split", "all" if test else "train"),
        "modality": modality,
        "objective": whole.get("objective", CLASSES),
        **objective_options(whole),
        "input": with_defaults(whole.get("input", {}), schema["input"]),
        "training": with_defaults(whole["training"], schema["training"]),
        "alterations": {key: whole[key] for key in ALTERATIONS if whole.get(key)},
        "overlap": overlap,
        "weights": _filled(whole.get("weights", ""), filled),
        "keys": whole.get("keys", ""),
        "seeds": {
            purpose: _seed(whole.get(purpose, "own"), purpose, seed, recipe, model, number)
            for purpose in SEEDS
        }
        | {"study": seed},
    }
    columns = {key: _filled(str(value), filled) for key, value in whole.get("columns", {}).items()}
    free = {**options, **_altered_columns(spec), **swept, **columns}
    fixed = {
        "model": model,
        "source": SOURCE,
        "name": whole["architecture"],
        "modality": modality,
        "layers": whole.get("layers", ""),
        "pool": whole.get("pool", ""),
        "runs_on": ",".join(dict.fromkeys(whole.get("runs_on") or filter(None, [dataset, test]))),
        **{key: str(value) for key, value in named.items()},
        "architecture": whole["architecture"].partition(":")[2],
        "training_set": dataset,
        "init": str(number),
    }
    of_rows = read_schema("models")["properties"]  # what a swept `weights` names is in the spec
    family = {"family": f"{recipe}.{variant}"}  # seeds of one variant, unless `columns` say more
    row = {**family, **{k: str(v) for k, v in free.items() if k not in of_rows}, **fixed}
    # The order of keys in a recipe means nothing.
    return Training(row, json.loads(canonical_json(spec)), f"{recipe}.{variant}", split)


def _altered_columns(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the metadata columns that say what was altered, as far as anything was."""
    how, split = spec["alterations"], spec["overlap"]
    rates = {column: how[key]["rate"] for key, column in _RATES.items() if key in how}
    named = {column: split[key] for key, column in _SPLIT.items() if key in split}
    if "parts" in split:
        named["split_parts"] = " ".join(map(str, split["parts"]))
    varied = how.get("augmentation", {})
    words = " ".join(f"{key}={varied[key]}" for key in sorted(varied) if key != "synonyms")
    return {**rates, **({"augmentation": words} if words else {}), **named}


def _filled(text: str, values: Mapping[str, Any]) -> str:
    """Returns a text with values in place of `{key}`; what a value says is not filled in again."""
    return re.sub(r"\{([^{}]*)\}", lambda m: str(values.get(m[1], m[0])), text)


def _seed(rule: str | int, purpose: str, study: int, recipe: str, model: str, number: int) -> int:
    """Returns the seed of one purpose: see `init` in the schema of recipes."""
    if rule == "own":
        return derive_seed(study, "train", purpose, model)
    if rule == "matched":
        return derive_seed(study, "train", purpose, recipe, number)
    return number if rule == INDEX else int(rule)


def rows_of(
    trainings: Mapping[str, Training], models: Mapping[str, Row], problems: Problems
) -> dict[str, Row]:
    """Returns the rows of models that recipes train; notes ids that a catalogue has already."""
    for model in sorted(set(trainings) & set(models)):
        recipe = trainings[model].row["recipe"]
        problems.add(f"model {model!r}", f"the recipe {recipe!r} makes this id too; rename one")
    columns = sorted({column for row in models.values() for column in row})
    return {
        model: {**dict.fromkeys(columns, ""), **training.row}
        for model, training in trainings.items()
    }


def companions(trainings: Mapping[str, Training], chosen: Mapping[str, Row]) -> dict[str, Training]:
    """Returns the trainings of the chosen models, and of those that one job trains with them."""
    groups = {trainings[model].group for model in chosen if model in trainings}
    return {model: one for model, one in trainings.items() if one.group in groups}
