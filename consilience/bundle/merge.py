"""Several bundles as one: what all agree on is united, what contradicts is refused.

Nothing is invented: pairs of models that no lab compared are absent. What belongs to a whole set of
models, such as consistency, is not taken over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.bundle.archive import Bundle, open_bundle
from consilience.errors import DataError
from consilience.files import canonical_json, new_folder, write_table
from consilience.results import STUDY_FILE, ResultFile, kind_of

SAME = {
    "samples_hash": ("dataset", "other samples"),
    "spec": ("metric", "another specification"),
    "code": ("metric", "other code"),
    "groups": ("table", "other groups of samples"),
}
"""Metadata of similarity tables on which all bundles must agree, of what, and what it means."""
DECIDING = {
    "source",
    "name",
    "weights",
    "sha256",
    "revision",
    "layers",
    "pool",
    "input_size",
    "transform",
}
"""Cells of a model's row that decide its features; all others are metadata."""
TOLERANCE = 1e-6
"""Relative difference of values that two machines may compute from the same features."""
MOST_SHOWN = 20


@dataclass
class Merged:
    """What a merge found.

    Attributes:
        tables: {name: table}.
        study: rows of all bundles.
        notes: what the reader must know of the united tables.
        conflicts: why bundles cannot be united.
    """

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def merge_bundles(
    paths: Sequence[str | Path], out: str | Path, signers: Sequence[str | Path] = ()
) -> Merged:
    """Writes the union of bundles (zips, folders, or results folders) as a new results folder.

    Rows on one dataset by one metric are united if samples, specification and code agree. Beside
    the tables, `merge.json` says what was merged and what is absent. With `signers`, files of
    public keys, every bundle must be signed by one of them.

    Raises:
        DataError: `out` exists, a bundle is damaged, or bundles contradict: all reasons at once.
    """
    out = Path(out)
    if out.exists():
        raise DataError(f"{out} exists; a merge writes a new folder: choose another name")
    bundles = [open_bundle(path, signers) for path in paths]
    merged = Merged()
    merged.study = _merge_studies(bundles, merged)
    names = sorted({name for bundle in bundles for name in bundle.files})
    for name in names:
        parts = [(b, b.table(name)) for b in bundles if name in b.files]
        if not _kind(name).of_a_set:
            merged.tables[name] = _merge_table(name, parts, merged)
    _check_metadata(bundles, merged)
    _check_features(bundles, merged)
    if merged.conflicts:
        raise DataError(_refusal(merged.conflicts))
    if any(_kind(name).of_a_set for name in names):
        merged.notes.append(
            "consistency and the relation of similarity and behavior belong to a whole set of "
            "models and are not merged: measure them on the united tables "
            "(consilience.consistency.make_consistency, consilience.behavior)"
        )
    _write(merged, bundles, out)
    return merged


def _refusal(conflicts: Sequence[str]) -> str:
    shown = "\n".join(f"  {conflict}" for conflict in conflicts[:MOST_SHOWN])
    more = len(conflicts) - MOST_SHOWN
    rest = f"\n  and {more} more" if more > 0 else ""
    return f"nothing is merged, the bundles contradict ({len(conflicts)} times):\n{shown}{rest}"


def _write(merged: Merged, bundles: Sequence[Bundle], out: Path) -> None:
    sources = [{"path": Path(b.path).name, "sha256": b.digest()} for b in bundles]
    with new_folder(out) as folder:
        for name, table in merged.tables.items():
            write_table(table, folder / name, table.attrs)
        (folder / STUDY_FILE).parent.mkdir(parents=True, exist_ok=True)
        (folder / STUDY_FILE).write_text(canonical_json(merged.study), encoding="utf8")
        said = {"sources": sources, "notes": merged.notes}
        (folder / "merge.json").write_text(canonical_json(said), encoding="utf8")


def _merge_studies(bundles: Sequence[Bundle], merged: Merged) -> dict[str, Any]:
    """Returns the rows of all; deciding cells that differ are conflicts, metadata a note."""
    study: dict[str, Any] = {"settings": bundles[0].study["settings"]}
    for kind in ("models", "datasets"):
        study[kind] = {}
        for bundle in bundles:
            for name, row in bundle.study[kind].items():
                known = study[kind].setdefault(name, row)
                _compare_rows(f"{kind[:-1]} {name!r}", known, row, merged)
    for kind in ("metrics", "labels"):
        study[kind] = {
            name: value for b in reversed(bundles) for name, value in b.study[kind].items()
        }
    for name, bundle in ((n, b) for b in bundles for n in b.study["metrics"]):
        if bundle.study["metrics"][name] != study["metrics"][name]:
            merged.conflicts.append(
                f"metric {name!r}: {bundle.path} has {bundle.study['metrics'][name]}, "
                f"{bundles[0].path} or another has {study['metrics'][name]}; rename one of them"
            )
    probed = [b for b in bundles if "probe/accuracy.parquet" in b.files]
    settings = [b.study["settings"].get("probe") for b in probed]
    if any(found != settings[0] for found in settings):
        merged.conflicts.append("the probes have other settings (probe: in the studies)")
    return study


def _compare_rows(what: str, x: Mapping[str, str], y: Mapping[str, str], merged: Merged) -> None:
    for cell in sorted({*x, *y}):
        left, right = x.get(cell) or "", y.get(cell) or ""
        if left == right:
            continue
        said = f"{what}: {cell} is {left!r} in one bundle and {right!r} in another"
        if cell in DECIDING and what.startswith("model "):
            merged.conflicts.append(f"{said}; give one of them another id")
        elif f"{said}; the first is kept" not in merged.notes:
            merged.notes.append(f"{said}; the first is kept")


def _merge_table(
    name: str, parts: Sequence[tuple[Bundle, pd.DataFrame]], merged: Merged
) -> pd.DataFrame:
    kind = _kind(name)
    (_, first), *more = parts
    if not more and kind.name != "similarity":
        return first
    key = [column for column in kind.key if column in first]
    whole = pd.concat([table for _, table in parts], ignore_index=True)
    twice = whole.duplicated(key, keep=False)
    _compare_values(name, whole[twice], key, merged)
    united = whole.drop_duplicates(key).sort_values(key, kind="stable", ignore_index=True)
    united.attrs = dict(first.attrs)
    if kind.name != "similarity" and all("layers" in table.attrs for _, table in parts):
        united.attrs["layers"] = _layers(name, parts, merged)
    if kind.name == "similarity":
        united = _finish(name, united, parts, merged)
    return united


def _kind(name: str) -> ResultFile:
    return kind_of(name)[0]


def _check_metadata(bundles: Sequence[Bundle], merged: Merged) -> None:
    """A dataset has one set of samples, a metric one specification and one code, everywhere."""
    known: dict[tuple[str, str, str], tuple[Any, str]] = {}
    for bundle in bundles:
        for name in bundle.files:
            made, ids = kind_of(name)
            if set(ids) != {"dataset", "metric"}:
                continue
            found = bundle.table(name).attrs
            ids = {**ids, "table": name}
            for key, (kind, meaning) in SAME.items():
                # samples are those of a dataset in every step; how a metric is used differs
                place = (key, "" if kind == "dataset" else made.name, ids[kind])
                value, where = known.setdefault(place, (found.get(key), bundle.path))
                said = (
                    f"{kind} {ids[kind]!r}: {meaning} in {bundle.path} ({_short(found.get(key))}) "
                    f"than in {where} ({_short(value)})"
                )
                if value != found.get(key) and said not in merged.conflicts:
                    merged.conflicts.append(said)


def _short(value: Any) -> str:  # noqa: ANN401
    return f"{value[:12]}…" if isinstance(value, str) and len(value) == 64 else str(value)


def _compare_values(name: str, rows: pd.DataFrame, key: Sequence[str], merged: Merged) -> None:
    """Notes rows that several bundles have and that disagree."""
    if rows.empty:
        return
    # Hashes of features have a sentence of their own.
    columns = [c for c in rows if c not in key and not str(c).startswith("hash_")]
    group = rows.groupby(list(key), sort=False, dropna=False).ngroup().to_numpy()
    first = rows.drop_duplicates(list(key)).iloc[group]  # groups are numbered as they appear
    apart = {column: _differ(rows[column], first[column]) for column in columns}
    bad: dict[int, set[str]] = {}
    for column, wrong in apart.items():
        for number in group[wrong]:
            bad.setdefault(int(number), set()).add(column)
    named = rows[list(key)].drop_duplicates()
    for number in sorted(bad):
        place, said = _said(tuple(named.iloc[number])), ", ".join(sorted(bad[number]))
        merged.conflicts.append(f"{name}: {place}: other values in the column {said}")


def _differ(x: pd.Series, y: pd.Series) -> np.ndarray:
    """Returns which cells are neither equal nor both finite and within `TOLERANCE`."""
    none, other = x.isna().to_numpy(), y.isna().to_numpy()
    if all(pd.api.types.is_numeric_dtype(column) for column in (x, y)):
        same = _close(*(column.to_numpy(float, na_value=np.nan) for column in (x, y)))
    else:
        same = np.array([_alike(a, b) for a, b in zip(x, y, strict=True)], bool)
    return ~np.where(none | other, none & other, same)


def _close(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    size = np.maximum(np.maximum(np.abs(a), np.abs(b)), 1.0)
    with np.errstate(invalid="ignore"):
        near = np.isfinite(a) & np.isfinite(b) & (np.abs(a - b) <= TOLERANCE * size)
    return (a == b) | near


def _alike(a: Any, b: Any) -> bool:  # noqa: ANN401 - cells, lists among them
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return type(a) is type(b) and a == b
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
        return bool(_close(a.astype(float), b.astype(float)).all())
    return a.tolist() == b.tolist()


def _said(place: Any) -> str:  # noqa: ANN401
    return " ".join(map(str, place)) if isinstance(place, tuple) else str(place)


def _layers(
    name: str, parts: Sequence[tuple[Bundle, pd.DataFrame]], merged: Merged
) -> dict[str, list[str]]:
    """Returns the layers of the models of all parts, which must agree on them."""
    layers: dict[str, list[str]] = {}
    for bundle, part in parts:
        for model, names in part.attrs["layers"].items():
            if layers.setdefault(model, names) != names:
                merged.conflicts.append(
                    f"{name}: model {model!r} has the layers {', '.join(names)} in {bundle.path} "
                    f"and {', '.join(layers[model])} in another bundle"
                )
    return dict(sorted(layers.items()))


def _finish(
    name: str,
    table: pd.DataFrame,
    parts: Sequence[tuple[Bundle, pd.DataFrame]],
    merged: Merged,
) -> pd.DataFrame:
    """Puts a similarity table in the order of its makers and says which pairs nobody compared."""
    layers = _layers(name, parts, merged)
    place = {(m, own): k for m in layers for k, own in enumerate(layers[m])}
    order = pd.DataFrame(
        {
            f"{what}_{side}": [
                m if what == "model" else place.get((m, own), 0)
                for m, own in zip(table[f"model_{side}"], table[f"layer_{side}"], strict=True)
            ]
            for side in "xy"
            for what in ("model", "layer")
        }
    ).sort_values(list(_kind(name).key))
    united = table.loc[order.index].reset_index(drop=True)
    found = {frozenset(pair) for pair in zip(united["model_x"], united["model_y"], strict=True)}
    absent = len(layers) * (len(layers) + 1) // 2 - len(found)
    if absent:
        merged.notes.append(f"{name}: {absent} pairs of models that no bundle compared are absent")
    united.attrs = {**table.attrs, "layers": layers, "absent_pairs": absent}
    if devices := sorted({part.attrs["device"] for _, part in parts if "device" in part.attrs}):
        united.attrs["device"] = ", ".join(devices)
    return united


def _check_features(bundles: Sequence[Bundle], merged: Merged) -> None:
    """One model, layer and dataset has one set of features, whatever the metric."""
    known: dict[tuple[str, ...], tuple[str, str]] = {}
    said = set()
    for bundle in bundles:
        for name in (n for n in bundle.files if n.startswith("similarity/")):
            table = bundle.table(name)
            for side in "xy":
                columns = [f"model_{side}", f"layer_{side}", f"hash_{side}"]
                if not set(columns) <= set(table):
                    continue
                for model, layer, found in table[columns].drop_duplicates().to_numpy():
                    key = (name.split("/")[1], str(model), str(layer))
                    value, where = known.setdefault(key, (str(found), bundle.path))
                    if value != str(found) and key not in said:
                        said.add(key)
                        merged.conflicts.append(
                            f"dataset {key[0]!r}: model {model!r}, layer {layer!r} has other "
                            f"features in {bundle.path} ({_short(str(found))}) than in {where} "
                            f"({_short(value)}); give one of the models another id"
                        )
