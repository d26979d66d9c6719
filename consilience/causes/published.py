"""Result tables of ReprSimCauses (Li et al. 2025), and tables of their form, as pairs of models.

Long tables with the columns `seed`, `frac_overlap` or `partition`, perhaps `metric`, and one column
of values for each evaluation set. What they are of is told by the file's name, as the published
ones are called, or by columns `kind`, `family` and `train_set`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from consilience.errors import DataError, check_reached
from consilience.limits.reading import DAMAGED
from consilience.limits.tables import read_data_frame

MISSING = -1.0
"""What stands where the evaluation set is empty."""
LEVELS = {"partition1": 0.0, "partition2": 0.5, "partition3": 1.0}
"""Share of the parts of labels that both models have: none, one of two, all."""
VALUES = {
    **dict.fromkeys(
        ["source", "file", "kind", "family", "train_set", "dataset", "metric", "draw"], "str"
    ),
    "overlap": "float64",
    "pair": "str",
    "value": "float64",
    "as_published": "float64",
    "published": "bool",
    "parameters": "float64",
    "note": "str",
}
"""Columns of a table of published pairs, with their types."""
PARAMETERS = {
    "resnet18": 11_176_512, "resnet50": 23_508_032, "resnet101": 42_500_160,
    "resnet152": 58_143_808, "vit_tiny_patch16_224": 5_524_416, "vit_small_patch32_224": 22_493_952,
    "vit_base_patch32_224": 87_455_232, "vit_large_patch32_224": 305_510_400,
    "Llama-3.2-1B-Instruct": 1.24e9, "Llama-3.2-3B-Instruct": 3.21e9,
    "Llama-3.2-11B-Vision-Instruct": 10.7e9,
}  # fmt: skip
"""Weights without the head (of timm's networks), or as their publishers count them."""
TYPES = {"resnet": "resnet", "vit": "vit", "nanogpt": "nanogpt", "Llama": "llama", "unet": "unet"}
"""Beginnings of networks, and the types over which the publication averages."""
SINGLE = ("accuracy", "transfer_asr", "normal_asr")
"""Metrics of which a pair has a value for either model, or direction."""
KEPT_MISSING = "nanogpt_all_task_platonic"
"""The file whose missing rows the publication counts as values of -1."""
_KINDS = {"ds": "data", "task": "task"}
_SIMILARITY, _ACCURACY, _TRANSFER, _JAILBREAK = "similarity", "accuracy", "transfer", "jailbreak"
_LLAMA = r"(?P<kind>ds|task)_meta-llama_(?P<family>.+?)"
_FORMS = [
    (_SIMILARITY, r"(?P<kind>ds|task)_platonic_ffcv_(?P<family>.+)_(?P<train_set>[^_]+)"),
    (_SIMILARITY, r"csd_platonic_ffcv_(?P<family>.+)"),
    (_SIMILARITY, r"resnet_partition_platonic"),
    (_SIMILARITY, r"resnet_(?P<train_set>[^_]+)_(?P<kind>ds|task)_platonic"),
    (_SIMILARITY, r"(?P<family>nanogpt)_(?P<train_set>[^_]+)_(?P<kind>ds|task)_platonic"),
    (_SIMILARITY, r"diffusion_(?P<train_set>[^_]+)_(?P<kind>ds|task)"),
    (_ACCURACY, r"(?P<kind>ds|task)_acc_(?P<family>.+)_(?P<train_set>[^_]+)"),
    (_ACCURACY, r"csd_acc_ffcv_(?P<family>.+)"),
    (_ACCURACY, r"resnet_(?P<train_set>[^_]+)_(?P<kind>ds|task)_platonic_acc"),
    (_ACCURACY, r"resnet_partition_platonic_acc"),
    (_TRANSFER, r"(?P<kind>ds|task)_transfer_asr_(?P<family>.+)_(?P<train_set>[^_]+)"),
    (_JAILBREAK, rf"(?P<judge>gpt5_judge_)?{_LLAMA}_jailbreaking"),
    (_SIMILARITY, _LLAMA),
]
_QUARTER = "the published code counts a quarter of the pictures: compare with no other"
_NOTES = {
    "edit_distance_knn": _QUARTER,
    "lcs_knn": _QUARTER,
    "svcca": "the published value is the best of four random ones",
}
_MOVING = ("ood_one", "overlap", "common", "OOD_for_one", "OOD_for_all")
"""Evaluation sets whose classes or corpora follow the overlap, where classes are split."""


@dataclass(frozen=True)
class Named:
    """What the name of a published file says."""

    stem: str
    form: str
    """`similarity`, `accuracy`, `transfer` or `jailbreak`; empty: nothing is said."""
    kind: str = ""
    family: str = ""
    train_set: str = ""
    judge: str = ""


def read_name(path: str | Path) -> Named:
    """Returns what the name of a file says; a name of another form says nothing."""
    stem = Path(path).stem
    for form, pattern in _FORMS:
        if found := re.fullmatch(pattern, stem):
            given = {key: value for key, value in found.groupdict().items() if value}
            kind = _KINDS.get(given.get("kind", ""), "labels")
            family = given.get("family") or (
                "unet" if stem.startswith("diffusion") else "resnet18_from_scratch"
            )
            train_set = given.get("train_set") or (
                "colorshapedigit" if kind == "labels" else _llama_set(kind)
            )
            return Named(stem, form, kind, family, train_set, given.get("judge", ""))
    return Named(stem, "")


def _llama_set(kind: str) -> str:
    return "tinycodes" if kind == "data" else "all"


def read_published(path: str | Path, source: str = "") -> pd.DataFrame:
    """Returns the rows of one published file, with the columns of `VALUES`.

    A value of -1 is missing. What is not one value per pair of models, such as the accuracies of
    both, or attacks in both directions, stays as it is: see `as_pairs`.

    Args:
        path: a .csv or .parquet file.
        source: under which name its rows stand; that of the file, if not given.

    Raises:
        DataError: another form, a value that is no number, or one pair with two values.
    """
    path = Path(path)
    table, repeats = _read(path)
    named = read_name(path)
    overlap = _overlap(path, table)
    kept = ["seed", "metric", "frac_overlap", "partition", "model0", "model1", "model_idx",
            "model", "kind", "family", "train_set"]  # fmt: skip
    sets = [column for column in table.columns if column not in kept]
    if not sets:
        raise DataError(f"{path}: there is no column of values beside {', '.join(table.columns)}")
    facts = _facts(path, named, table)
    parts = [_of_set(path, table, column, named, overlap).assign(**facts) for column in sets]
    found = pd.concat(parts, ignore_index=True)
    said = zip(found["metric"], found["dataset"], found["kind"], strict=True)
    found["note"] = [_note(*row, repeats) for row in said]
    found = found.assign(source=source or path.stem, file=path.name)
    return found[list(VALUES)].astype(VALUES)


def _read(path: Path) -> tuple[pd.DataFrame, int]:
    """Returns a table without repeated headers and rows, and how many these were."""
    try:
        table = read_data_frame(path)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except (*DAMAGED, pa.ArrowException) as error:
        check_reached(error, path)
        raise DataError(f"{path} is no readable table ({error})") from error
    lacking = [c for c in ("seed",) if c not in table.columns]
    if lacking or not {"frac_overlap", "partition"} & set(table.columns):
        raise DataError(
            f"{path} has the columns {', '.join(map(str, table.columns))}; a table of pairs has "
            "`seed`, `frac_overlap` or `partition`, perhaps `metric`, and columns of values"
        )
    before = len(table)
    table = table[table["seed"].astype(str) != "seed"]
    directions = {"transfer_asr", "normal_asr"} <= set(table.columns)
    table = table if directions else table.drop_duplicates()
    return table.reset_index(drop=True), before - len(table)


def _overlap(path: Path, table: pd.DataFrame) -> pd.Series:
    """Returns the overlap of each row."""
    if "frac_overlap" in table:
        found = _numbers(path, table, "frac_overlap")
        if not found.between(0, 1).all():
            raise DataError(f"{path}: frac_overlap is {found[~found.between(0, 1)].iloc[0]}, and "
                            "it is a share from 0 to 1")  # fmt: skip
        return found
    unknown = sorted(set(table["partition"]) - set(LEVELS))
    if unknown:
        raise DataError(f"{path}: partition is {unknown[0]!r}; known: {', '.join(LEVELS)}")
    return table["partition"].map(LEVELS)


def _numbers(path: Path, table: pd.DataFrame, column: str) -> pd.Series:
    found = pd.to_numeric(table[column], errors="coerce")
    if found.isna().any():
        first = table[column][found.isna()].iloc[0]
        raise DataError(f"{path}: {column} holds {str(first)!r}, which is no number")
    return found.astype(float)


def _facts(path: Path, named: Named, table: pd.DataFrame) -> dict[str, Any]:
    """Returns kind, network and training set, as columns or else the name say them."""
    facts = {}
    for key in ("kind", "family", "train_set"):
        facts[key] = table[key].astype(str) if key in table else getattr(named, key)
        if isinstance(facts[key], str) and not facts[key]:
            raise DataError(
                f"{path}: its name does not say the {key}, as those of the published tables do "
                f"(task_platonic_ffcv_resnet18_cifar100.csv); add a column {key!r}"
            )
    family = facts["family"] if isinstance(facts["family"], str) else ""
    return facts | {"parameters": PARAMETERS.get(family, np.nan)}


def _of_set(
    path: Path, table: pd.DataFrame, column: str, named: Named, overlap: pd.Series
) -> pd.DataFrame:
    """Returns the pairs of one column of values, one row per metric, draw, overlap and pair."""
    value = _numbers(path, table, column)
    metric = table["metric"].astype(str) if "metric" in table else _metric(named, column)
    pair = _pair(table)
    rows = pd.DataFrame(
        {"draw": table["seed"].astype(str), "overlap": overlap, "as_published": value}
    ).assign(metric=metric, pair=pair, dataset=_dataset(named, column))
    keys = ["metric", "draw", "overlap", "pair", "dataset"]
    if "metric" in table:
        twice = rows[rows.duplicated(keys)]
        if len(twice):
            row = twice.iloc[0]
            raise DataError(
                f"{path}: {row['metric']} of seed {row['draw']} at overlap {row['overlap']:g} has "
                f"two different values in {column}; keep one of them"
            )
    missing = rows["as_published"] == MISSING
    counted = ~missing | (named.stem == KEPT_MISSING)
    return rows.assign(value=rows["as_published"].mask(missing), published=counted)


def _pair(table: pd.DataFrame) -> pd.Series:
    """Returns what tells the rows of one draw and overlap apart."""
    if "model0" in table:
        return table["model0"] + " " + table["model1"]
    if "model" in table:
        return table["model"].astype(str)
    if "model_idx" in table:
        return "model " + table["model_idx"].astype(str)
    number = pd.Series(0, table.index)
    if "metric" not in table and "frac_overlap" in table:
        number = table.groupby(["seed", "frac_overlap"]).cumcount()
    plain = pd.Series("", table.index)
    return "direction " + (number + 1).astype(str) if number.any() else plain


def _metric(named: Named, column: str) -> str:
    return "accuracy" if named.form == _ACCURACY else column


def _dataset(named: Named, column: str) -> str:
    """Returns on what is measured: the column, or what the form of the file says."""
    if named.form in (_ACCURACY, _TRANSFER):
        return named.train_set
    if named.form == _JAILBREAK:
        return "prompts_gpt5" if named.judge else "prompts"
    return column.removeprefix("metric_")


def _note(metric: str, dataset: str, kind: str, repeats: int) -> str:
    said = [_NOTES.get(metric, "")]
    if kind == "task" and dataset in _MOVING:
        said.append("the evaluation set follows the overlap")
    if repeats:
        said.append(f"{repeats} repeated rows are left out")
    return "; ".join(filter(None, said))


def as_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per pair of models, of rows of both of a pair or of both directions.

    These are averaged. Accuracies of models whose labels differ are of no pair: they lose their
    value.

    Args:
        table: of `read_published` or `read_sources`.
    """
    several = ~table["metric"].isin(SINGLE)
    parts = [table[several]]
    rest = table[~several]
    if len(rest):
        keys = [c for c in VALUES if c not in ("pair", "value", "as_published", "published")]
        means = {"value": "mean", "as_published": "mean", "published": "all"}
        rest = rest.groupby(keys, sort=False, as_index=False, dropna=False).agg(means)
        alone = rest["kind"] == "labels"
        rest = rest.assign(
            pair="", value=rest["value"].mask(alone), published=rest["published"] & ~alone
        )
        rest.loc[alone, "note"] = "accuracies of single models, no pairs"
        parts.append(rest[list(VALUES)].astype(VALUES))
    return pd.concat(parts, ignore_index=True)


def figure_of(named: Named) -> str:
    """Returns which published figure a file is drawn in; empty: none.

    Network type, training set and kind for images and text; `labels`, `transfer_KIND`,
    `jailbreak_KIND`; `scratch_…` for networks trained from scratch.
    """
    if named.form in (_TRANSFER, _JAILBREAK):
        return f"{named.form}_{named.kind}"
    if named.form != _SIMILARITY:
        return ""
    scratch = named.family.endswith("_from_scratch")
    if named.kind == "labels":
        return "scratch_labels" if scratch else "labels"
    start = "scratch" if scratch else type_of(named.family)
    return f"llama_{named.kind}" if start == "llama" else f"{start}_{named.train_set}_{named.kind}"


def type_of(family: str) -> str:
    """Returns the type of a network, over which the publication averages; else its own name."""
    return next((name for start, name in TYPES.items() if family.startswith(start)), family)


def read_sources(sources: Mapping[str, Sequence[str | Path]]) -> pd.DataFrame:
    """Returns the pairs of all files of all sources: {name: files}.

    Raises:
        DataError: see `read_published`, or one source names a file twice.
    """
    parts = []
    for source, paths in sources.items():
        names = [Path(path).name for path in paths]
        for name in sorted(set(names)):
            if names.count(name) > 1:
                raise DataError(f"published tables {source!r}: {name} is there twice; name it once")
        parts += [read_published(path, source) for path in paths]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=list(VALUES)).astype(VALUES)
    )


def headline(table: pd.DataFrame) -> pd.Series:
    """Returns which rows of pairs or effects are those that the publication's own table is of.

    CKA (diffusion: CKNNA) on the test set of the training set (data), on the classes or corpora
    that one of both models knows (task), and for labels; of models trained from scratch none.
    """
    metric = table["metric"] == np.where(table["family"] == "unet", "cknna", "cka")
    nanogpt = table["family"] == "nanogpt"
    task = table["dataset"].isin(["ood_one", "OOD_for_one"]) & (table["kind"] == "task")
    own = (table["dataset"] == table["train_set"]) | (table["dataset"] == "train_ds")
    data = own & (table["kind"] == "data")
    labels = (table["dataset"] == "partition_metric") & (table["kind"] == "labels")
    scratch = table["family"].str.endswith("_from_scratch")
    return metric & (nanogpt | task | data | labels) & ~scratch


def two_levels(table: pd.DataFrame, column: str = "mi_published") -> dict[str, float]:
    """Returns {kind: mean} of a column of effects, as the publication averages it.

    The mean over evaluation sets of a file, then over files of a type of network, then over types.

    Args:
        table: effects of published files.
        column: of the effects.
    """
    rows = table[headline(table)]
    files = (
        rows.assign(type=rows["family"].map(type_of))
        .groupby(["kind", "type", "file"])[column]
        .mean()
    )
    means = files.groupby(["kind", "type"]).mean().groupby("kind").mean()
    return {str(kind): float(value) for kind, value in means.items()}
