"""The pair store: values of pairs that were computed before, kept between runs.

One file per (dataset, metric) beside the table that is made of it. An outcome is found again by
what decides it: the content of both features, the metric's parameters and preprocessing, the kind
of device, and the code. What an outcome consists of is the step's own: one row for a pair of
layers, several for a pair of models of which several things are said. It is a cache: deleting it is
always safe. Beside an outcome stands what it took to compute, which is measured and so differs
from run to run; nothing but a table of costs reads it.

Code is the closure of the metric's module and of what fills a store (`ENGINE`): all that reads
features and computes, and none of what only selects, draws or reports.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from consilience.code import code_of
from consilience.errors import DataError
from consilience.files import digest, read_table, write_table
from consilience.leftovers import discard, discard_folder
from consilience.metrics import Metric, Preprocessing, metric_code
from consilience.renames import adopt_store

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """The value of a pair and its null, or the reason why there is none."""

    value: float | None = None
    failure: str | None = None
    null_mean: float | None = None
    null_sd: float | None = None
    p: float | None = None
    ties: float | None = None
    note: str | None = None
    """What is to be said of p, or of the units."""
    value_units: float | None = None
    low_units: float | None = None
    high_units: float | None = None


ENGINE = ("consilience.similarity.engine.sharing", "consilience.similarity.items")
"""What fills a store from features files and a metric: the modules that lead to all of it."""
KEYS = ["spec", "hash_x", "hash_y"]
SECONDS = "seconds"
Key = tuple[str, str]


@dataclass
class PairStore:
    """Outcomes by (content hash of x, content hash of y) for one metric as it stands."""

    row: ClassVar[type] = Outcome
    """A line of the file."""
    types: ClassVar[dict[str, str]] = {
        **dict.fromkeys(Outcome._fields, "float64"),
        **dict.fromkeys(("failure", "note"), "string"),
    }
    """Of the columns of a line."""
    made_by: ClassVar[tuple[str, ...]] = ENGINE

    path: Path | None
    spec: str
    code: str
    device: str = "cpu"
    """The kind of device that outcomes are computed on."""
    outcomes: dict[Key, Any] = field(default_factory=dict)
    seconds: dict[Key, float] = field(default_factory=dict)
    """What an outcome took: CPU seconds on one core; missing where that is not known."""
    others: pd.DataFrame | None = None
    """Rows of other parameters with the same code, kept for the day they come back."""
    shelf: Path | None = None
    """Folder of the prepared forms that are kept between runs (`similarity.shelf`)."""

    @classmethod
    def open(
        cls,
        path: str | Path | None,
        metric: Metric,
        preprocessing: Preprocessing,
        given: Mapping[str, Any] | None = None,
        *,
        device: str = "cpu",
        fresh: bool = False,
    ) -> "PairStore":
        """Returns the store at `path`, empty if there is none, if it is damaged, or if `fresh`.

        Args:
            path: the file; None: outcomes are kept in memory.
            metric: with its parameters.
            preprocessing: of the features.
            given: what else decides the outcomes (the null, labels), in plain JSON types.
            device: the kind that outcomes are computed on (`Task.device_kind`).
            fresh: whatever the file holds is not taken.
        """
        code = digest([metric_code(metric), code_of(*cls.made_by)])
        what = {"metric": metric.class_facts.name, "parameters": metric.parameters}
        spec = digest([what, vars(preprocessing), given, code, device])
        store = cls(Path(path) if path else None, spec, code, device)
        if store.path:
            store.shelf = store.path.with_suffix("")
            adopt_store(store.path)
        if store.path and fresh:
            discard(store.shelf)
            discard_folder(store.path)
        elif store.path and store.path.exists():
            store._read()
        return store

    def _read(self) -> None:
        try:
            table = read_table(self.path)
        except DataError as error:
            logger.warning("the pair store is started anew: %s", error)
            discard_folder(self.path)
            return
        if table.attrs.get("code") != self.code:
            logger.info("the code has changed: all pairs are computed again")
            return
        mine = table["spec"] == self.spec
        self.others = table[~mine]
        lines = table.loc[mine, [*KEYS[1:], *self.row._fields]].itertuples(index=False)
        row, isna = self.row, pd.isna
        self.seconds = _seconds(table[mine])
        self._take(
            ((x, y), row(*(None if isna(cell) else cell for cell in cells)))
            for x, y, *cells in lines
        )

    def write(self) -> None:
        """Replaces the file by all outcomes known now, atomically."""
        if self.path is None:
            return
        lines = [(self.spec, *key, *row) for key, row in self._lines()]
        table = pd.DataFrame(lines, columns=[*KEYS, *self.row._fields])
        keys = zip(table["hash_x"], table["hash_y"], strict=True)
        spent = [self.seconds.get(key) for key in keys]
        table[SECONDS] = pd.Series(spent, dtype="float32")  # times have no more digits
        if self.others is not None and len(self.others):
            table = pd.concat([self.others, table])
        write_table(table.astype(self.types), self.path, {"code": self.code})

    def take(self, other: "PairStore") -> None:
        """Takes up what another store of the same task knows; what is known here stays."""
        self.outcomes = {**other.outcomes, **self.outcomes}
        self.seconds = {**other.seconds, **self.seconds}
        kept = [rows for rows in (self.others, other.others) if rows is not None and len(rows)]
        self.others = pd.concat(kept).drop_duplicates(KEYS) if kept else None

    def _take(self, lines: Iterable[tuple[Key, Any]]) -> None:
        """Takes up the lines of the file."""
        self.outcomes.update(lines)

    def _lines(self) -> Iterable[tuple[Key, Any]]:
        """Returns the lines of the file, the pairs in one order."""
        return sorted(self.outcomes.items())


def _seconds(table: pd.DataFrame) -> dict[Key, float]:
    known = table[table[SECONDS].notna()]
    keys = zip(known["hash_x"], known["hash_y"], strict=True)
    return dict(zip(keys, known[SECONDS].tolist(), strict=True))


def read_seconds(path: str | Path, spec: str) -> dict[Key, float]:
    """Returns what the outcomes of a task took, as far as a store knows it; nothing of no store.

    Args:
        path: of a store.
        spec: `PairStore.spec` of the task.
    """
    if not Path(path).exists():
        return {}
    try:
        table = read_table(path)
    except DataError:
        return {}
    return _seconds(table[table["spec"] == spec]) if SECONDS in table else {}


class RowsStore(PairStore):
    """Outcomes of several rows each, in their order: `outcomes` holds lists of them."""

    def _take(self, lines: Iterable[tuple[Key, Any]]) -> None:
        for key, row in lines:
            self.outcomes.setdefault(key, []).append(row)

    def _lines(self) -> Iterable[tuple[Key, Any]]:
        return [(key, row) for key in sorted(self.outcomes) for row in self.outcomes[key]]
