"""Names of before: what a model, dataset, metric, parameter or column was called, and is now.

The table is config/renames.yaml. It is a file of its own and no column of the catalogues, because
it must outlive the row, knows kinds that have no catalogue, and is read where no study is at hand.
Whoever reads a name that an older study, result or bundle may hold asks here; a name that was never
changed comes back as it is. What is found under a former name is told once per process.
"""

import itertools
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from consilience.errors import ConfigError

logger = logging.getLogger(__name__)

TABLE = Path(__file__).parents[1] / "config" / "renames.yaml"
INSTALLED = Path(__file__).parent / "catalogue" / "renames.yaml"
"""Where the table lies if the package is installed without its project."""
KINDS = {
    "models": "model",
    "datasets": "dataset",
    "metrics": "metric",
    "registered": "registered metric",
    "parameters": "parameter",
    "columns": "column",
}
STUDY_KEYS = {
    "models": "models",
    "datasets": "datasets",
    "metrics": "metrics",
    "consistency.models": "models",
    "consistency.groups": "columns",
    "consistency.clusters": "columns",
    "consistency.sets": "models",
    "consistency.anchors": "models",
    "similarity.sharded": "metrics",
    "alignment.metrics": "metrics",
    "alignment.across": "columns",
    "sensitivity.metrics": "metrics",
    "sensitivity.datasets": "datasets",
    "plots.group": "columns",
    "plots.layers": "models",
}
"""Keys of a study that hold names, in lists, alone or in queries, and of what kind."""
QUERIES = ("models", "datasets", "consistency.models", "consistency.sets")
"""Of them those whose texts are queries."""
CELLS = {"parent": "datasets", "text_tower": "models"}
"""Columns of catalogues whose cells are names."""
ID_COLUMNS = {
    f"{kind.removesuffix('s')}{side}": kind
    for kind in ("models", "datasets", "metrics")
    for side in ("", "_x", "_y")
}
"""Columns of results whose cells are names."""
_WORD = re.compile(r"'[^']*'|\"[^\"]*\"|[A-Za-z_]\w*")
"""A text or a name in a query."""


class Rename(NamedTuple):
    """One line of the table."""

    now: str
    since: str
    line: int


def present(kind: str, name: str) -> str:
    """Returns what a thing is called now; warns if `name` is a former one."""
    table = _read(TABLE).get(kind, {})
    if name not in table:
        return name
    now, since, _ = table[name]
    _warn(kind, name, now, since)
    return now


@cache
def _warn(kind: str, name: str, now: str, since: str) -> None:
    logger.warning(
        "the %s %r is called %r since %s; the former name still works",
        KINDS[kind],
        name,
        now,
        since,
    )


def former(kind: str, name: str) -> list[str]:
    """Returns all that a thing was called before."""
    return [old for old, rename in _read(TABLE).get(kind, {}).items() if rename.now == name]


def of_study(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a study's settings with present names in all keys of `STUDY_KEYS`."""
    changed = dict(settings)
    for place, kind in STUDY_KEYS.items():
        block, _, key = place.rpartition(".")
        part = changed.get(block) if block else changed
        if isinstance(part, Mapping) and part.get(key):
            new = {**part, key: _of_value(part[key], kind, query=place in QUERIES)}
            changed = {**changed, block: new} if block else new
    return changed


def _of_value(value: Any, kind: str, *, query: bool) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {key: _of_value(each, kind, query=query) for key, each in value.items()}
    if isinstance(value, str):
        return of_query(value, kind) if query else present(kind, value)
    if any(isinstance(each, list) for each in value):
        return [[present(kind, name) for name in each] for each in value]
    return list(dict.fromkeys(present(kind, name) for name in value))


def of_query(query: str, kind: str) -> str:
    """Returns a query over a catalogue with present columns and, in its texts, present ids."""

    def change(found: re.Match[str]) -> str:
        word = found[0]
        if word[0] in "'\"":
            return f"{word[0]}{present(kind, word[1:-1])}{word[0]}"
        return present("columns", word)

    return _WORD.sub(change, query)


def of_row(row: Mapping[str, str]) -> dict[str, str]:
    """Returns a catalogue's row with present columns, and present names in `CELLS`."""
    columns = _present_columns(row)
    renamed = {columns.get(column, column): cell for column, cell in row.items()}
    return {
        column: present(CELLS[column], cell) if column in CELLS and cell else cell
        for column, cell in renamed.items()
    }


def of_metric(name: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns a registered metric's present name, and its parameters by their present names."""
    name = present("registered", name)
    known = {key: present("parameters", f"{name}.{key}") for key in parameters}
    new = {key: now if now != f"{name}.{key}" else key for key, now in known.items()}
    return name, {new[key]: value for key, value in parameters.items()}


def of_variants(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns metric variants by id with present names of registered metrics and parameters."""
    changed = {}
    for name, variant in variants.items():
        rest = {key: value for key, value in variant.items() if key != "metric"}
        registered, rest = of_metric(variant["metric"], rest)
        changed[name] = {**rest, "metric": registered}
    return changed


def of_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of results with present columns; the same object if none was renamed."""
    renamed = _present_columns(table.columns)
    return table.rename(columns=renamed) if renamed else table


def of_table(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of results with present columns and ids, also in its metadata."""
    table = of_columns(table)
    attrs = dict(table.attrs)
    for column in (c for c in ID_COLUMNS if c in table and _read(TABLE).get(ID_COLUMNS[c])):
        names = {name: present(ID_COLUMNS[column], name) for name in table[column].unique()}
        table = table.assign(**{column: table[column].map(names)})
    if isinstance(attrs.get("layers"), Mapping):
        attrs["layers"] = {present("models", m): names for m, names in attrs["layers"].items()}
    if isinstance(spec := attrs.get("spec"), Mapping) and "metric" in spec:
        attrs["spec"] = _of_spec(spec)
    table.attrs = attrs
    return table


def _of_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    name, parameters = of_metric(spec["metric"], spec.get("parameters", {}))
    return {**spec, "metric": name, **({"parameters": parameters} if parameters else {})}


def of_results(
    study: Mapping[str, Any], names: Collection[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns what a bundle says of its study in present names, and {present table: table}.

    Where something is there by both names, as in a folder of results that was used before and
    after, that of the present name counts.
    """
    changed = {**study, "settings": of_study(study["settings"])}
    for kind in ("models", "datasets"):
        rows = {name: of_row(row) for name, row in _by_present(kind, study[kind]).items()}
        column = kind.removesuffix("s")
        changed[kind] = {n: {**r, column: n} if column in r else r for n, r in rows.items()}
    changed["metrics"] = {
        name: _of_spec(spec) if isinstance(spec, Mapping) else spec
        for name, spec in _by_present("metrics", study["metrics"]).items()
    }
    changed["labels"] = _by_present("metrics", study["labels"])
    tables: dict[str, str] = {}
    for name in names:
        step, *ids = name.removesuffix(".parquet").split("/")
        ids = [present("metrics", present("datasets", part)) for part in ids]
        new = "/".join([step, *ids]) + ".parquet"
        if new not in tables or name == new:
            tables[new] = name
    for name in sorted(set(names) - set(tables.values())):
        logger.warning("%s is left out: it is also there by its present name", name)
    return changed, tables


def _by_present(kind: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {present name: entry}; an entry by its present name wins over one by a former."""
    renamed = {present(kind, name): entry for name, entry in entries.items()}
    return {name: entries.get(name, entry) for name, entry in renamed.items()}


def adopt_store(path: Path) -> None:
    """Moves to `path` a pair store, and its folder, that lie where former ids put them.

    Nothing happens if there is a store at `path`, or none under a former id of the dataset or of
    the metric in it.
    """
    if path.exists():
        return
    for old in _former_paths(path):
        if old.exists():
            logger.warning("the pair store %s is taken over as %s", old, path)
            path.parent.mkdir(parents=True, exist_ok=True)
            for source, target in ((old.with_suffix(""), path.with_suffix("")), (old, path)):
                if source.exists() and not target.exists():
                    with suppress(FileNotFoundError):  # another job was quicker
                        source.rename(target)
            return


def _former_paths(path: Path) -> Iterator[Path]:
    """Yields the paths that differ in former ids, in the file's name and the folders it lies in."""
    parts = [*path.parts[:-1], path.stem]
    names = [
        [part, *former("datasets", part), *(former("metrics", part) if last else ())]
        for last, part in ((number == len(parts) - 1, part) for number, part in enumerate(parts))
    ]
    for chosen in itertools.islice(itertools.product(*names), 1, None):
        yield Path(*chosen[:-1], f"{chosen[-1]}{path.suffix}")


def problems(
    known: Mapping[str, Collection[str]], complete: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Returns (place, what is wrong) of lines that contradict what exists.

    Args:
        known: {kind: names that exist}; a former name must not be one of them.
        complete: the kinds of which `known` has all, so that a present name must be one of them.
    """
    found = []
    for kind, names in known.items():
        for name, rename in _read(TABLE).get(kind, {}).items():
            place = f"{TABLE.name} line {rename.line} ({name})"
            if name in names:
                text = f"the {KINDS[kind]} {name!r} is a former name of {rename.now!r} and exists"
                found.append((place, f"{text}; give yours another name"))
            if kind in complete and rename.now not in names:
                found.append((place, f"there is no {KINDS[kind]} {rename.now!r}; correct `now`"))
    return found


def _present_columns(columns: Iterable[str]) -> dict[str, str]:
    """Returns {column: its present name} of those that were renamed and not made anew."""
    known = _read(TABLE).get("columns", {})
    columns = list(columns) if known else []
    return {
        column: present("columns", column)
        for column in columns
        if column in known and known[column].now not in columns
    }


@cache
def _read(path: Path) -> dict[str, dict[str, Rename]]:
    """Returns {kind: {former name: rename}}, each with its last present name.

    Raises:
        ConfigError: names the line that is no rename, stands twice, or leads back to itself.
    """
    path = path if path.exists() else INSTALLED
    if not path.exists():
        return {}
    try:
        root = yaml.compose(path.read_text(encoding="utf8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: not valid YAML ({' '.join(str(error).split())})") from None
    table = {}
    for kind, _, block in _entries(root, path):
        if kind not in KINDS:
            raise ConfigError(f"{path.name}: unknown kind {kind!r}; known: {', '.join(KINDS)}")
        table[kind] = _resolved(dict(_renames(block, path)), path)
    return table


def _entries(node: yaml.Node | None, path: Path) -> Iterator[tuple[str, int, yaml.Node]]:
    """Yields (key, line, value) of a mapping; an empty file or block has none."""
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~")):
        return
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path.name} line {node.start_mark.line + 1}: expected `name: …`")
    seen = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            raise ConfigError(f"{path.name} line {line}: {key.value!r} stands twice; drop one line")
        seen.add(key.value)
        yield key.value, line, value


def _renames(block: yaml.Node, path: Path) -> Iterator[tuple[str, Rename]]:
    for name, line, value in _entries(block, path):
        said = {key: node.value for key, _, node in _entries(value, path)}
        if set(said) != {"now", "since"} or not all(isinstance(v, str) for v in said.values()):
            raise ConfigError(
                f"{path.name} line {line}: {name!r} must be {{now: PRESENT, since: VERSION}}"
            )
        yield name, Rename(said["now"], said["since"], line)


def _resolved(table: dict[str, Rename], path: Path) -> dict[str, Rename]:
    """Returns the table with what was renamed twice under its last name."""
    last = {}
    for name, rename in table.items():
        now, seen = rename.now, {name}
        while now in table:
            if now in seen:
                raise ConfigError(
                    f"{path.name} line {rename.line}: {name!r} leads back to {now!r}; what is "
                    "called so now cannot be a former name"
                )
            seen.add(now)
            now = table[now].now
        last[name] = rename._replace(now=now)
    return last
