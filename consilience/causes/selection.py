"""Which pairs of models tell of a cause: chosen by the metadata columns of models alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from consilience.errors import ConfigError

Row = Mapping[str, str]

NESTED, BY_PAIRS = "nested", "pairs"
LABELS = "labels"
X = "x"
"""The side that is the same at all overlaps of a nested split."""
UNTRAINED, TWIN, SAME_INIT, SELF = "untrained", "twin", "same_init", "self"
CONTROLS = (UNTRAINED, TWIN, SAME_INIT)
"""Values of the column `control`; pairs of a model with itself need none."""


@dataclass(frozen=True)
class Model:
    """What the columns of one model say of its data."""

    name: str
    family: str
    """Values of the columns that tell networks apart."""
    train_set: str
    kind: str
    """Column `split_kind`: data, task, corpus or labels; empty: not one side of a split."""
    side: str
    draw: str
    overlap: float
    design: str
    parts: tuple[str, ...]
    control: str
    seed: str

    @classmethod
    def of(cls, name: str, row: Row, families: Sequence[str]) -> "Model":
        """Returns a model by its row of the catalogue."""
        return cls(
            name,
            " ".join(filter(None, (row.get(column, "") for column in families))),
            row.get("training_set", ""),
            row.get("split_kind", ""),
            row.get("side", ""),
            row.get("split_draw", "") or "0",
            _overlap(name, row.get("overlap", "")),
            row.get("split_design", "") or NESTED,
            tuple((row.get("split_parts") or "").split()),
            row.get("control", ""),
            row.get("seed", "") or row.get("init", ""),
        )


@dataclass(frozen=True)
class Pair:
    """Two models, and by how much their data overlap."""

    kind: str
    family: str
    train_set: str
    draw: str
    block: str
    """Pairs of a draw with other seeds are not exchanged for one another."""
    overlap: float | None
    """None: of models that are not trained."""
    control: str
    model_x: str
    model_y: str


def _overlap(name: str, cell: str) -> float:
    try:
        found = float(cell or 0)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise ConfigError(
            f"model {name!r}: its column overlap is {cell!r}, and it is a share from 0 to 1"
        )
    return found


def select_pairs(
    models: Mapping[str, Row], *, families: Sequence[str] = ("architecture",), reference: str = "x"
) -> list[dict[str, Any]]:
    """Returns the pairs of a study, as fields of `Pair`.

    Models of one family, training set and kind are compared. Of a split's sides, x is compared
    with the models of side y and the same draw: by `pairs`, of the same overlap; `nested`, of every
    overlap, for its data are the same at all. Where both sides have several
    seeds, those of one number. Models of kind `labels` see the same samples: those of one seed
    whose labels have as many parts are compared, and the overlap is the share of common parts.

    Of controls, untrained models of one draw are compared with one another, `twin` and `same_init`
    with side x, which is also compared with itself.

    Args:
        models: the rows of the catalogue.
        families: columns that tell networks apart.
        reference: the side, `x` or `y`, whose model is `model_x` of a pair.

    Raises:
        ConfigError: an overlap that is no share.
    """
    known = [Model.of(name, row, families) for name, row in sorted(models.items())]
    groups = {(m.kind, m.family, m.train_set) for m in known if m.kind and not m.control}
    found = []
    for kind, family, train_set in sorted(groups):
        own = [m for m in known if m.family == family and m.train_set == train_set]
        own = [m for m in own if m.kind == kind or (m.control and not m.kind)]
        found += _of_group(own, kind)
    if reference != X:
        found = [replace(p, model_x=p.model_y, model_y=p.model_x) for p in found]
    return [asdict(pair) for pair in dict.fromkeys(found)]


def _of_group(models: Sequence[Model], kind: str) -> Iterator[Pair]:
    plain = [m for m in models if not m.control]
    first = plain if kind == LABELS else [m for m in plain if m.side == X]
    yield from _of_labels(plain) if kind == LABELS else _of_sides(plain, first, kind)
    yield from _of_controls(models, first, kind)


def _of_sides(plain: Sequence[Model], first: Sequence[Model], kind: str) -> Iterator[Pair]:
    for other in plain:
        if other not in first:
            for one in _references(first, other):
                yield _pair(one, other, other.overlap, kind)


def _of_controls(models: Sequence[Model], first: Sequence[Model], kind: str) -> Iterator[Pair]:
    for other in (m for m in models if m.control in (TWIN, SAME_INIT) and kind != LABELS):
        overlap = 1.0 if other.control == TWIN else other.overlap
        for one in _references(first, other, any_overlap=True):
            yield _pair(one, other, overlap, kind, other.control)
    for one in first:
        yield _pair(one, one, 1.0, kind, SELF)
    for one, other in combinations([m for m in models if m.control == UNTRAINED], 2):
        if one.draw == other.draw:
            yield _pair(one, other, None, kind, UNTRAINED)


def _references(first: Sequence[Model], other: Model, *, any_overlap: bool = False) -> list[Model]:
    """Returns the models of the reference side that a model is compared with."""
    found = [m for m in first if m.draw == other.draw]
    if other.design == BY_PAIRS and not any_overlap:
        found = [m for m in found if m.overlap == other.overlap]
    for column in ("overlap", "seed"):  # as close as there is
        alike = [m for m in found if getattr(m, column) == getattr(other, column)]
        found = alike or found
    return found


def _of_labels(models: Sequence[Model]) -> Iterator[Pair]:
    for one, other in combinations(models, 2):
        if (one.seed, len(one.parts)) == (other.seed, len(other.parts)) and one.parts:
            overlap = len({*one.parts} & {*other.parts}) / len(one.parts)
            yield Pair(LABELS, one.family, one.train_set, one.seed, "", overlap, "",
                       one.name, other.name)  # fmt: skip


def _pair(one: Model, other: Model, overlap: float | None, kind: str, control: str = "") -> Pair:
    draw = other.seed if kind == LABELS else other.draw
    return Pair(
        kind, one.family, one.train_set, draw, other.seed, overlap, control, one.name, other.name
    )


def lacking(models: Mapping[str, Row], pairs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the models that are one side of a split, or a control, and in no pair."""
    used = {pair[f"model_{side}"] for pair in pairs for side in "xy"
            if pair["control"] != SELF}  # fmt: skip
    sided = (name for name, row in models.items() if row.get("split_kind") or row.get("control"))
    return [name for name in sided if name not in used]
