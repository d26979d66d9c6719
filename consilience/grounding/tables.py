"""The grounding of one metric as the workflow makes it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.files import read_table, table_digest, write_table
from consilience.grounding.answers import reliability
from consilience.grounding.cases import ACCURACY, ACCURACY_DIFFERENCE, LAYERS, Case
from consilience.grounding.closeness import Closeness
from consilience.grounding.gate import Thresholds, check_gate
from consilience.grounding.scores import OK, Judge
from consilience.pairs.correlations import Floats
from consilience.pairs.draws import Draws

logger = logging.getLogger(__name__)

COLUMNS = {
    "metric": "str",
    "domain": "str",
    "recipe": "str",
    "dataset": "str",
    "test": "str",
    "measure": "str",
    "score": "str",
    "group_x": "str",
    "group_y": "str",
    "same_seed": "str",
    "value": "float64",
    "chance": "float64",
    "lift": "float64",
    "low": "float64",
    "high": "float64",
    "p": "float64",
    "reliability": "float64",
    "n_models": "int64",
    "n_groups": "int64",
    "n_pairs": "int64",
    "n_failed": "int64",
    "status": "str",
    "note": "str",
}
"""Of the table of a metric, with their types."""
MODELS = ["metric", "recipe", "dataset", "model", "score", "value"]
SAMPLES = [
    "metric", "domain", "recipe", "test", "measure", "score", "status", "value", "models", "side",
    "left_out", "drawn", "p",
]  # fmt: skip


def make_grounding(  # noqa: PLR0913 - all but the files by name
    similarity: Sequence[str | Path],
    accuracies: Sequence[str | Path],
    answers: Sequence[str | Path],
    out: str | Path,
    models: str | Path,
    samples: str | Path,
    *,
    metric_id: str,
    cases: Sequence[Mapping[str, Any]],
    thresholds: Mapping[str, float],
    bootstrap: int = 1000,
    permutations: int = 999,
    seed: int = 0,
) -> None:
    """Writes grounding/{metric}.parquet: how well a metric finds what is known to be there.

    Args:
        similarity: the metric's similarity tables, one per dataset that cases compare models on.
        accuracies: tables of `make_answers`, one per dataset that cases name.
        answers: the others of `make_answers`.
        out: the table to write, with the columns of `COLUMNS`.
        models: the values of single models (test `layers`), with the columns of `MODELS`.
        samples: what ranks and differences are made of: each case's value without each of its
            models, and for resampled ones, with the columns of `SAMPLES`.
        metric_id: id of the metric variant.
        cases: fields of `Case`.
        thresholds: fields of `Thresholds`.
        bootstrap: resamples of the models.
        permutations: relabellings of the models.
        seed: of the study.
    """
    tables = {Path(path).parent.name: Path(path) for path in similarity}
    known = pd.concat([read_table(path) for path in accuracies], ignore_index=True)
    apart = pd.concat([read_table(path) for path in answers], ignore_index=True)
    accuracy = dict(
        zip(zip(known["dataset"], known["model"], strict=True), known["accuracy"], strict=True)
    )
    judge = Judge(Draws(seed, bootstrap, 0), permutations, seed)
    close: dict[str, Closeness] = {}
    rows, single, ranked = [], [], []
    for case in (Case(**fields) for fields in cases):
        if case.dataset not in close:
            close[case.dataset] = Closeness(read_table(tables[case.dataset]), case.dataset)
        gate = check_gate(case, accuracy, Thresholds(**thresholds))
        here = known[known["dataset"] == case.dataset]
        found = judge.score(
            case, close[case.dataset], gate, _apart(case, apart), reliability(here, case.models)
        )
        rows += found.rows
        single += found.models
        ranked += [
            {"domain": case.domain, "recipe": case.recipe, "test": case.test, **s._asdict()}
            for s in found.samples
        ]
    _tell(rows)
    hashes = {name: table_digest(path) for name, path in tables.items()}
    metadata = {"bootstrap": bootstrap, "permutations": permutations, "seed": seed,
                "thresholds": dict(thresholds), "similarity": hashes}  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS)).assign(metric=metric_id).astype(COLUMNS)
    write_table(table, out, metadata)
    write_table(pd.DataFrame(single, columns=MODELS).assign(metric=metric_id), models, metadata)
    write_table(pd.DataFrame(ranked, columns=SAMPLES).assign(metric=metric_id), samples, metadata)


def _apart(case: Case, answers: pd.DataFrame) -> dict[str, Floats]:
    """Returns for each measure of a case (m, m) how far its models' answers differ."""
    if case.test == LAYERS:
        return {}
    place, found = pd.Index(case.models), {}
    for measure in [ACCURACY_DIFFERENCE] if case.test == ACCURACY else case.measures:
        rows = answers[(answers["dataset"] == case.dataset) & (answers["measure"] == measure)]
        i, j = (place.get_indexer(rows[f"model_{side}"]) for side in "xy")
        kept = (i >= 0) & (j >= 0)
        matrix = np.full((len(place), len(place)), np.nan)
        matrix[i[kept], j[kept]] = matrix[j[kept], i[kept]] = rows["value"].to_numpy()[kept]
        found[measure] = matrix
    return found


def _tell(rows: Sequence[Mapping[str, Any]]) -> None:
    """Logs what has no value, or none that counts."""
    told = {(r["recipe"], r["test"], r["status"], r["note"]) for r in rows if r["status"] != OK}
    for recipe, test, status, note in sorted(told):
        logger.warning("recipe %r, test %r: %s (%s)", recipe, test, status, note)
