"""What models answer on one dataset: how often they are right, and how far any two differ."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from consilience.features import read_listed, read_manifest
from consilience.files import derive_seed, write_table
from consilience.grounding.cases import ACCURACY_DIFFERENCE, OUTPUTS
from consilience.metrics import get_metric
from consilience.pairs.correlations import correlations
from consilience.pairs.inference import PairSet
from consilience.probe import LOGITS, has_logits, parse_columns, restrict
from consilience.samples import Samples, read_samples
from consilience.similarity import pairwise

logger = logging.getLogger(__name__)

ACCURACIES = ["dataset", "model", "n", "accuracy", "accuracy_a", "accuracy_b"]
PAIRS = ["dataset", "measure", "model_x", "model_y", "value"]


def make_answers(  # noqa: PLR0913 - all but the files by name
    manifest: str | Path,
    samples_path: str | Path,
    accuracies: str | Path,
    pairs: str | Path,
    *,
    dataset: str,
    models: Sequence[str],
    sets: Sequence[Sequence[str]],
    held_out: bool,
    logit_columns: str = "",
    seed: int = 0,
) -> None:
    """Writes grounding/accuracies/{dataset}.parquet and grounding/answers/{dataset}.parquet.

    Answers are the models' own logits on samples that no model learnt from.

    Args:
        manifest: the dataset's features manifest; features files lie beside it.
        samples_path: results/samples/{dataset}.parquet.
        accuracies: the first table: of each model, with the columns of `ACCURACIES`.
        pairs: the second table: of each two models of a set, with the columns of `PAIRS`.
        dataset: id of the dataset.
        models: whose answers are read.
        sets: models that are compared with one another.
        held_out: whether no model learnt from any sample, so that all count, and not those of the
            test split alone.
        logit_columns: the dataset's cell of that name, see `consilience.probe.parse_columns`.
        seed: of the study.

    Raises:
        DataError: the manifest is of other samples.
    """
    samples = read_samples(samples_path)
    n = len(samples.table)
    rows = np.arange(n) if held_out else np.flatnonzero(samples.table["split"] == "test")
    logits = read_logits(Path(manifest), samples, models, logit_columns, rows)
    halves = half_of(samples.table["id"].astype(str).to_numpy()[rows], seed)
    labels = samples.table["label"].to_numpy(float, na_value=np.nan)[rows]
    scored = [
        {"dataset": dataset, "model": model, "n": len(rows), **accuracy_of(x, labels, halves)}
        for model, x in logits.items()
    ]
    write_table(pd.DataFrame(scored, columns=ACCURACIES), accuracies, {"seed": seed})
    accuracy = {row["model"]: row["accuracy"] for row in scored}
    found: dict[tuple[str, str, str], float] = {}
    for chosen in sets:
        found |= dict(_compare([m for m in sorted(chosen) if m in logits], logits, accuracy))
    lines = [(dataset, *key, value) for key, value in sorted(found.items())]
    table = pd.DataFrame(lines, columns=PAIRS).astype({"value": "float64"})
    write_table(table, pairs, {"logits": sorted(logits)})


def _compare(
    models: Sequence[str], logits: dict[str, np.ndarray], accuracy: dict[str, float]
) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Yields ((measure, model, model), value) of every two models."""
    for x, y in combinations(models, 2):
        yield (ACCURACY_DIFFERENCE, x, y), abs(accuracy[x] - accuracy[y])
    for measure in OUTPUTS if len(models) > 1 else ():
        table = pairwise(get_metric(measure), {model: logits[model] for model in models})
        for row in table[table["model_x"] != table["model_y"]].itertuples():
            x, y = sorted((row.model_x, row.model_y))
            yield (measure, x, y), row.value


def half_of(ids: np.ndarray, seed: int) -> np.ndarray:
    """Returns (n,) whether a sample is of the first half, by its id and not by its position."""
    start = str(derive_seed(seed, "grounding", "halves")).encode()
    marks = [hashlib.sha256(start + b" " + id_.encode()).digest() for id_ in ids]
    first = np.zeros(len(ids), dtype=bool)
    first[sorted(range(len(ids)), key=marks.__getitem__)[: (len(ids) + 1) // 2]] = True
    return first


def accuracy_of(logits: np.ndarray, labels: np.ndarray, first: np.ndarray) -> dict[str, float]:
    """Returns the share of right answers, of all samples and of both halves.

    Args:
        logits: (n, C); columns beyond the dataset's classes are never right.
        labels: (n,) true classes, missing where there is none.
        first: (n,) whether a sample is of the first half.
    """
    if np.isnan(labels).any() or labels.max() >= logits.shape[1]:
        return dict.fromkeys(("accuracy", "accuracy_a", "accuracy_b"), float("nan"))
    right = logits.argmax(axis=1) == labels
    parts = (right, right[first], right[~first])
    names = ("accuracy", "accuracy_a", "accuracy_b")
    return {
        name: float(part.mean()) if part.size else float("nan")
        for name, part in zip(names, parts, strict=True)
    }


def read_logits(
    manifest: Path,
    samples: Samples,
    models: Sequence[str],
    logit_columns: str,
    rows: np.ndarray,
) -> dict[str, np.ndarray]:
    """Returns {model: (rows, C) logits} of those of the models that have any.

    Raises:
        DataError: the manifest is of other samples.
    """
    table = read_manifest(manifest, samples)
    columns = parse_columns(logit_columns)
    files = dict(zip(table["model"], table["file"], strict=True))
    found = {}
    for model in sorted(set(models) & set(files)):
        path = manifest.parent / files[model]
        if has_logits(path, columns.outputs if columns else None):
            whole = read_listed(manifest, table, model, LOGITS, rows)
            found[model] = restrict(whole, columns, len(samples.classes)) if columns else whole
    if missing := sorted(set(models) - set(found)):
        logger.info("without logits: %s", ", ".join(missing))
    return found


def reliability(table: pd.DataFrame, models: Sequence[str]) -> float:
    """Returns Spearman's correlation of accuracy gaps between both halves of the stimuli.

    Args:
        table: accuracies on one dataset.
        models: whose gaps.
    """
    known = table.set_index("model").reindex(models)
    a, b = (known[f"accuracy_{half}"].to_numpy(float) for half in "ab")
    i, j = np.triu_indices(len(models), 1)
    pairs = PairSet(np.abs(a[i] - a[j]), np.abs(b[i] - b[j]), i, j, (len(models),)).block()
    if len(pairs.first) < 3:
        return float("nan")
    return float(correlations(pairs, np.ones((len(models), 1)), "spearman")[0, 0])
