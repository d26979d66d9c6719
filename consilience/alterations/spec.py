"""What an alteration is: read from a recipe, or from the column `alteration` of datasets.tsv."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from consilience.errors import ConfigError
from consilience.registry import did_you_mean

DRAWS = ("own", "shared")
"""Each model has a draw of its own, or all share one."""
MISSES = ("wrong", "uniform")
"""A shortcut that misses shows one of the other classes, or any class."""
UNMASKED = ("keep", "hide")
"""Nodes of no part show their true class, or nothing."""
OPERATIONS = ("synonym", "swap", "delete", "insert")
"""What happens to a text."""
AUGMENTS = {
    "image": ("noise", "flip", "shift"),
    "text": ("eda",),
    "graph": ("drop_edges",),
}
"""Augmentations of a modality."""
DERIVED_SEED = 2024
"""The one draw of derived datasets."""


@dataclass(frozen=True)
class Labels:
    """Labels are replaced."""

    rate: float
    """Share of samples whose label is replaced."""
    rule: str = "wrong"
    """`wrong`: one of the other classes; `uniform`: any; `new:K`: one of K classes more."""
    draw: str = "own"

    @property
    def new(self) -> int:
        """K, how many classes more there are; 0 for other rules."""
        return int(self.rule.partition(":")[2] or 0)


@dataclass(frozen=True)
class Shortcut:
    """The class is written onto stimuli."""

    rate: float
    """Share of samples that show their true class."""
    miss: str = "wrong"
    draw: str = "own"
    unmasked: str = "keep"


@dataclass(frozen=True)
class Augmentation:
    """Stimuli are varied; what is 0 or empty is not done."""

    noise: float = 0.0
    """Largest variance of the noise of a picture, whose values are 0 to 255."""
    flip: float = 0.0
    """Probability that a picture is mirrored, left and right."""
    shift: int = 0
    """Most pixels that a picture is moved by, in both directions."""
    eda: float = 0.0
    """Share of the words of a text that an operation touches."""
    operations: tuple[str, ...] = OPERATIONS
    synonyms: str = ""
    """Folder with WordNet's data files."""
    drop_edges: float = 0.0
    """Probability that an undirected edge is left out."""

    @property
    def used(self) -> tuple[str, ...]:
        """Names of what is done."""
        every = (name for names in AUGMENTS.values() for name in names)
        return tuple(name for name in every if getattr(self, name))


@dataclass(frozen=True)
class Alteration:
    """What is altered; None: nothing."""

    labels: Labels | None = None
    shortcut: Shortcut | None = None
    augmentation: Augmentation | None = None


@dataclass(frozen=True)
class Derived:
    """A dataset that shows another one's stimuli under an alteration, with one fixed draw."""

    of: str
    """The dataset whose samples, caps and splits it shares."""
    alteration: Alteration
    split: str = ""
    """Only these samples of it, then one pool; empty for all."""
    seed: int = DERIVED_SEED


def read_alteration(cells: Mapping[str, Any], place: str) -> Alteration:
    """Returns the alteration of a recipe's variant.

    Args:
        cells: `labels`, `shortcut` and `augmentation`, each a mapping, as far as they are there;
            other keys are left alone.
        place: where they stand, for messages.

    Raises:
        ConfigError: an unknown key or a value that it cannot have.
    """
    kinds = {"labels": Labels, "shortcut": Shortcut, "augmentation": Augmentation}
    found = {}
    for key, kind in kinds.items():
        if cells.get(key) is not None:
            found[key] = _read(kind, cells[key], f"{place}, {key}")
    return Alteration(**found)


def check_modality(alteration: Alteration, modality: str, place: str) -> None:
    """Raises ConfigError if stimuli of a modality cannot be altered so."""
    kinds = set(modality.split("+"))
    if alteration.shortcut and not kinds & AUGMENTS.keys():
        raise ConfigError(
            f"{place}: shortcuts are written onto pictures, texts or nodes of graphs, not "
            f"{modality}"
        )
    able = [name for kind in sorted(kinds) for name in AUGMENTS.get(kind, ())]
    used = alteration.augmentation.used if alteration.augmentation else ()
    if other := [name for name in used if name not in able]:
        raise ConfigError(
            f"{place}: {other[0]} is no augmentation of modality {modality}"
            f"{did_you_mean(other[0], able)}"
        )


def _read(kind: type, cells: Any, place: str) -> Any:  # noqa: ANN401
    """Returns a `Labels`, `Shortcut` or `Augmentation` of a mapping."""
    if not isinstance(cells, Mapping):
        raise ConfigError(f"{place}: {cells!r} is no mapping of keys to values")
    known = [field.name for field in fields(kind)]
    for key, value in cells.items():
        if key not in known:
            raise ConfigError(f"{place}: unknown key {key!r}{did_you_mean(str(key), known)}")
        if problem := _problem(key, value):
            raise ConfigError(f"{place}: {key} is {value!r}, and it is {problem}")
    if "rate" in known and "rate" not in cells:
        raise ConfigError(f"{place}: no rate; write a number from 0 to 1")
    if "operations" in cells:
        cells = {**cells, "operations": tuple(cells["operations"])}
    made = kind(**cells)
    if isinstance(made, Augmentation) and made.eda:
        _check_operations(made, place)
    return made


_CHOICES = {"draw": DRAWS, "miss": MISSES, "unmasked": UNMASKED}
_RULES: dict[str, tuple[Callable[[Any], Any], str]] = {
    **dict.fromkeys(
        ("rate", "flip", "eda", "drop_edges"),
        (lambda v: _is_number(v) and 0 <= v <= 1, "a number from 0 to 1"),
    ),
    "noise": (lambda v: _is_number(v) and 0 <= v < float("inf"), "a number from 0, a variance"),
    "shift": (lambda v: _is_number(v) and isinstance(v, int) and v >= 0, "a whole number from 0"),
    "rule": (
        lambda v: re.fullmatch(r"wrong|uniform|new:[1-9]\d*", str(v)),
        "wrong, uniform, or new:K with K classes more",
    ),
    "operations": (
        lambda v: isinstance(v, list | tuple) and v and set(v) <= set(OPERATIONS),
        f"a list of {', '.join(OPERATIONS)}",
    ),
    "synonyms": (lambda v: isinstance(v, str), "a folder"),
    **{
        key: (lambda v, choices=choices: v in choices, " or ".join(choices))
        for key, choices in _CHOICES.items()
    },
}
"""For each key when a value fits, and what it is to be."""


def _is_number(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int | float) and not isinstance(value, bool)


def _problem(key: str, value: Any) -> str:  # noqa: ANN401
    """Returns what a value should be, or "" if it is that."""
    fits, wanted = _RULES[key]
    return "" if fits(value) else wanted


def _check_operations(found: Augmentation, place: str) -> None:
    if "synonym" in found.operations and not found.synonyms:
        raise ConfigError(
            f"{place}: synonyms are of WordNet, and no folder of it is named; write it as "
            "`synonyms`, or write `operations: [swap, delete, insert]` to do without"
        )


FORMS = {
    "of": r"\S+",
    "split": r"train|test",
    "seed": r"[0-9]{1,9}",
    "shortcut": r"[01]|0?\.\d+|1\.0+",
    "miss": "|".join(MISSES),
    "unmasked": "|".join(UNMASKED),
    "noise": r"[0-9]{1,9}(\.[0-9]{1,9})?",
    "eda": r"1|0?\.\d+|1\.0+",
    "operations": r"[a-z]+(,[a-z]+)*",
    "synonyms": r"\S+",
    "drop_edges": r"1|0?\.\d+|1\.0+",
}
"""Keys of a cell and the form of their values."""


def parse_cell(cell: str, place: str) -> Derived:
    """Returns what the column `alteration` says: `key=value` with blanks between.

    Raises:
        ConfigError: an unknown key, one given twice, a value that it cannot have, no `of`, or
            nothing that is altered.
    """
    found: dict[str, str] = {}
    for part in cell.split():
        key, _, value = part.partition("=")
        problem = ""
        if key not in FORMS:
            problem = f"unknown key {key!r}{did_you_mean(key, FORMS)}"
        elif key in found:
            problem = f"{key!r} is given twice"
        elif not re.fullmatch(FORMS[key], value):
            problem = f"{part!r} does not have the form {key}={FORMS[key]}"
        if problem:
            raise ConfigError(f"{place}: {problem}")
        found[key] = value
    if "of" not in found:
        raise ConfigError(f"{place}: write of=DATASET, the dataset whose samples these are")
    alteration = _from_cell(found, place)
    if alteration == Alteration():
        raise ConfigError(f"{place}: nothing is altered; write shortcut, noise, eda or drop_edges")
    seed = int(found.get("seed", DERIVED_SEED))
    return Derived(found["of"], alteration, found.get("split", ""), seed)


def _from_cell(found: Mapping[str, str], place: str) -> Alteration:
    shortcut: dict[str, Any] = {key: found[key] for key in ("miss", "unmasked") if key in found}
    if "shortcut" in found:
        shortcut |= {"rate": float(Fraction(found["shortcut"])), "draw": "shared"}
    elif shortcut:
        raise ConfigError(f"{place}: {next(iter(shortcut))} is said of a shortcut; write its rate")
    numbers = {key: float(found[key]) for key in ("noise", "eda", "drop_edges") if key in found}
    more: dict[str, Any] = {key: found[key] for key in ("synonyms",) if key in found}
    if "operations" in found:
        more["operations"] = found["operations"].split(",")
    return read_alteration(
        {"shortcut": shortcut or None, "augmentation": {**numbers, **more} or None}, place
    )
