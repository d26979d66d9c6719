"""Results of a study as data frames, and consistency of tables in memory."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.consistency import Consistency, consistency_tables
from consilience.errors import DataError
from consilience.files import read_table
from consilience.layers import last_layers
from consilience.registry import did_you_mean
from consilience.results import RESULT_FILES, list_tables, read_study

HOW = "tables"
"""Key of `attrs` under which a frame of several tables has what each says of itself."""


class ResultTables(Mapping[str, pd.DataFrame]):
    """The tables of a study: {name: data frame}, each of all datasets, models and metrics.

    Names are those of docs/results.md, such as `similarity`, `consistency`, `consistency_means` or
    `probe`. A table is read when it is asked for, and kept.

    Attributes:
        folder: of the study.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._paths: dict[str, list[Path]] = {}
        for file, path in list_tables(self.folder, read_study(self.folder)):
            self._paths.setdefault(file.name, []).append(path)
        if not self._paths:
            raise DataError(
                f"{folder} holds no results; give the folder of a study, such as results or "
                "results/mini"
            )
        self._frames: dict[str, pd.DataFrame] = {}

    @cached_property
    def models(self) -> pd.DataFrame:
        """Metadata of the study's models, by id; empty if the folder does not say."""
        rows = (read_study(self.folder) or {}).get("models", {})
        return pd.DataFrame(list(rows.values()), index=list(rows)).fillna("")

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._paths:
            raise DataError(
                f"{self.folder} has no tables {name!r}{did_you_mean(str(name), self._paths)}"
            )
        if name not in self._frames:
            self._frames[name] = self._read(name)
        return self._frames[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __repr__(self) -> str:
        wide = max(map(len, self._paths))
        lines = [
            f"  {name:<{wide}}  {len(paths):>4}  {RESULT_FILES[name].what}"
            for name, paths in self._paths.items()
        ]
        return "\n".join([f"results in {self.folder}: name, files, what they are", *lines])

    def _read(self, name: str) -> pd.DataFrame:
        """Returns all tables of a kind, with columns for what their paths alone say."""
        parts, said = [], {}
        for path in self._paths[name]:
            part = read_table(path)
            ids = RESULT_FILES[name].matches(path.relative_to(self.folder).as_posix()) or {}
            for place, (column, value) in enumerate(ids.items()):
                if column not in part:
                    part.insert(place, column, value)
            said[path.relative_to(self.folder).as_posix()], part.attrs = part.attrs, {}
            parts.append(part)
        frame = pd.concat(parts, ignore_index=True)
        frame.attrs = {HOW: said}
        return frame


def read_results(folder: str | Path = "results") -> ResultTables:
    """Returns the tables of a study's folder, one tidy data frame of each kind.

    Args:
        folder: of the study: `results`, or `results/NAME` of another than the default study.

    Raises:
        DataError: there are no results, or a table is damaged or lies in another one's place.

    Cost: that of the tables that are asked for.
    """
    return ResultTables(folder)


def consistency(
    tables: Any,  # noqa: ANN401
    *,
    models: pd.DataFrame | None = None,
    groups: Sequence[str] = (),
    clusters: str | None = None,
    layers: Mapping[str, str] | None = None,
    **settings: Any,  # noqa: ANN401
) -> Consistency:
    """Returns how similarities of models carry over between datasets, with intervals.

    Args:
        tables: {dataset: table of `pairwise`}, or a data frame with the column `dataset`, of one
            metric; at least two datasets.
        models: metadata by model id, for `groups` and `clusters`.
        groups: columns of the metadata to group by.
        clusters: the column that says which models are of one family; None: models count one by
            one, which is too sure of itself where some share weights or pretraining.
        layers: {model: layer}; by default each model's last one.
        **settings: `methods`, `bootstrap`, `permutations`, `seed`, `anchors`, `sets`,
            `min_models` of `consilience.consistency.consistency_tables`.

    Returns:
        `table` (a row per pair of datasets, set of models and method), `means`, `differences` and
        `influence`, as in results/consistency.

    Raises:
        ConfigError: an unknown column, method or setting.
        DataError: fewer than two datasets, tables of several metrics, or a model that `models`
            does not have.

    Cost: as the workflow: seconds for tens of models.
    """
    found = by_dataset(tables)
    if len(found) < 2:
        raise DataError(
            f"consistency is of two datasets or more; this is {', '.join(found) or 'none'}"
        )
    last = {m: layer for t in found.values() for m, layer in order_of(t).items()}
    if models is None:
        names = {m for t in found.values() for side in "xy" for m in t[f"model_{side}"]}
        models = pd.DataFrame(index=sorted(names))
    chosen = {**last, **(layers or {})}
    return consistency_tables(
        found, models, groups=groups, clusters=clusters, layers=chosen, **settings
    )


def by_dataset(tables: Any, metric: str | None = None) -> dict[str, pd.DataFrame]:  # noqa: ANN401
    """Returns {dataset: plain similarity table of one metric}, with its metadata.

    Args:
        tables: {dataset: table}, or a data frame with the column `dataset`.
        metric: its id; may be left out where there is one.

    Raises:
        DataError: no such columns or metric, or several metrics and none is named.
    """
    if isinstance(tables, pd.DataFrame):
        if "dataset" not in tables:
            raise DataError("the table has no column 'dataset'; give {dataset: table}")
        said = _said(tables)
        parts = {}
        for name, part in tables.groupby("dataset", sort=False):
            own = pd.DataFrame(part)
            own.attrs = said.get(str(name), dict(tables.attrs))
            parts[str(name)] = own
    else:
        parts = {str(name): pd.DataFrame(table) for name, table in tables.items()}
        for name, table in tables.items():
            parts[str(name)].attrs = dict(table.attrs)
    return {name: _of_metric(part, metric) for name, part in parts.items()}


def _said(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Returns the metadata of each dataset's tables; of several metrics those that they share."""
    found: dict[str, dict[str, Any]] = {}
    for path, attrs in table.attrs.get(HOW, {}).items():
        found.setdefault(Path(path).parent.name, {}).update(
            {"layers": attrs["layers"]} if "layers" in attrs else {}
        )
    return found


def _of_metric(table: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    if "metric" not in table:
        raise DataError("the table has no column 'metric'; tables of cs.pairwise have one")
    known = sorted(map(str, table["metric"].unique()))
    if metric is None and len(known) > 1:
        raise DataError(f"the table is of {len(known)} metrics; name one: {', '.join(known)}")
    if metric is not None and metric not in known:
        raise DataError(f"the table has no metric {metric!r}{did_you_mean(metric, known)}")
    if len(known) < 2:
        return table
    part = table[table["metric"] == metric]
    part.attrs = dict(table.attrs)
    return part


def order_of(table: pd.DataFrame) -> dict[str, str]:
    """Returns the last layer of each model, as far as a table says it."""
    return last_layers(table) if "layers" in table.attrs else {}
