"""The pair store: values of pairs that were computed before, kept between runs.

One file per (dataset, metric) beside its similarity table. A value is found again by what decides
it: the content of both features, the metric's parameters and preprocessing, the kind of device, and
the code.
It is a cache: deleting it is always safe.

Code is the closure of the metric's module and of what fills a store (`ENGINE`): all that reads
features and computes, and none of what only selects, draws or reports.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from consilience.code import code_of
from consilience.errors import DataError
from consilience.files import digest, read_table, write_table
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


ENGINE = ("consilience.similarity.engine.sharing", "consilience.similarity.items")
"""What fills a store from features files and a metric: the modules that lead to all of it."""
COLUMNS = ["spec", "hash_x", "hash_y", *Outcome._fields]


@dataclass
class PairStore:
    """Outcomes by (content hash of x, content hash of y) for one metric as it stands."""

    path: Path | None
    spec: str
    code: str
    device: str = "cpu"
    """The kind of device that outcomes are computed on."""
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    others: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))
    """Rows of other parameters with the same code, kept for the day they come back."""

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
        code = digest([metric_code(metric), code_of(*ENGINE)])
        what = {"metric": metric.class_facts.name, "parameters": metric.parameters}
        spec = digest([what, vars(preprocessing), given, code, device])
        store = cls(Path(path) if path else None, spec, code, device)
        if store.path:
            adopt_store(store.path)
        if store.path and fresh:
            shutil.rmtree(store.path.with_suffix(""), ignore_errors=True)  # the shelf beside it
        elif store.path and store.path.exists():
            store._read()
        return store

    def _read(self) -> None:
        try:
            table = read_table(self.path)
        except DataError as error:
            logger.warning("the pair store is started anew: %s", error)
            return
        if table.attrs.get("code") != self.code:
            logger.info("the code has changed: all pairs are computed again")
            return
        mine = table["spec"] == self.spec
        self.others = table[~mine]
        rows = table.loc[mine, COLUMNS[1:]].itertuples(index=False)
        for hash_x, hash_y, *outcome in rows:
            self.outcomes[hash_x, hash_y] = Outcome(*(None if pd.isna(v) else v for v in outcome))

    def write(self) -> None:
        """Replaces the file by all outcomes known now, atomically."""
        if self.path is None:
            return
        rows = [(self.spec, *key, *outcome) for key, outcome in sorted(self.outcomes.items())]
        table = pd.DataFrame(rows, columns=COLUMNS)
        table = pd.concat([self.others, table]) if len(self.others) else table
        types = dict.fromkeys(Outcome._fields, "float64") | {"failure": "string"}
        write_table(table.astype(types), self.path, {"code": self.code})
