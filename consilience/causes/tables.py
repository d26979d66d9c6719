"""The tables of causes as the workflow makes them: pairs, published pairs, and effects."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.causes.effects import MAX_LOSS, OK, OWN, PAIRS, effects
from consilience.causes.published import VALUES, as_pairs, read_sources
from consilience.errors import DataError
from consilience.files import file_digest, read_table, table_digest, write_table
from consilience.layers import last_layers

logger = logging.getLogger(__name__)

CLOSE = 1e-6
"""Shares that differ by less are the same but for rounding."""


def make_causes(
    similarity: str | Path,
    out: str | Path,
    *,
    dataset: str,
    metric_id: str,
    pairs: Sequence[Mapping[str, Any]],
    learned: str | Path | None = None,
    splits: Mapping[str, str | Path] | None = None,
    sides: Mapping[str, str] | None = None,
) -> None:
    """Writes causes/{dataset}/{metric}.parquet: pairs with a known overlap, and their similarity.

    Models are compared by their last layers. Nothing is computed: values and nulls are those of the
    similarity table, losses those of training, and the overlap reached that of the split files.

    Args:
        similarity: similarity/{dataset}/{metric}.parquet.
        out: the table to write, with the columns of `PAIRS`.
        dataset: its id.
        metric_id: id of the metric variant.
        pairs: fields of `consilience.causes.selection.Pair`.
        learned: train/learned.parquet, if any model is trained here.
        splits: for each model that learnt one side of a split its file.
        sides: for each of them which side, `x` or `y`.

    Raises:
        DataError: two models of a pair are not of the split that their columns say.
    """
    table = read_table(similarity)
    rows = pd.DataFrame(list(pairs))
    if rows.empty:
        found = pd.DataFrame(columns=list(PAIRS)).astype(PAIRS)
    else:
        rows["overlap"] = rows["overlap"].astype(float)
        reached = _reached(rows, splits or {}, sides or {})
        found = rows.assign(dataset=dataset, metric=metric_id, overlap_reached=reached)
        found = _with_similarity(found, table)
        found = _with_training(found, None if learned is None else read_table(learned))
        found = found.reindex(columns=list(PAIRS)).astype(PAIRS)
    metadata = {"similarity": table_digest(similarity), "facts": table.attrs.get("facts", {})}
    write_table(found, out, metadata)


def _with_similarity(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Adds layers, value, null and failure of each pair, in whichever order the table has it."""
    last = last_layers(table)
    keys = ["model_x", "layer_x", "model_y", "layer_y"]
    kept = ["value", "null_mean", "z", "calibrated", "failure"]
    listed = table[
        (table["layer_x"] == table["model_x"].map(last))
        & (table["layer_y"] == table["model_y"].map(last))
    ]
    known = listed.set_index(["model_x", "model_y"])[kept]
    rows = rows.assign(layer_x=rows["model_x"].map(last), layer_y=rows["model_y"].map(last))
    found = []
    for x, y in zip(rows["model_x"], rows["model_y"], strict=True):
        pair = (x, y) if (x, y) in known.index else (y, x)
        given = known.loc[pair].to_dict() if pair in known.index else {}
        found.append(given or {"failure": "the similarity table does not hold the pair"})
    values = pd.DataFrame(found, index=rows.index).reindex(columns=kept)
    values["failure"] = values["failure"].fillna("")
    return pd.concat([rows.drop(columns=[k for k in keys if k not in rows]), values], axis=1)


def _with_training(rows: pd.DataFrame, learned: pd.DataFrame | None) -> pd.DataFrame:
    """Adds sizes, losses and accuracies; those of models that are not trained here are missing."""
    columns = ["accuracy_test", "loss_train", "n_train", "parameters"]
    if learned is None:
        learned = pd.DataFrame(columns=["model", *columns])
    known = learned.set_index("model").reindex(columns=columns)
    for side in "xy":
        models = rows[f"model_{side}"]
        rows = rows.assign(
            **{
                f"accuracy_{side}": models.map(known["accuracy_test"]).astype(float),
                f"train_loss_{side}": models.map(known["loss_train"]).astype(float),
            }
        )
    n_train = rows["model_y"].map(known["n_train"]).astype(float).astype("Int64")
    parameters = rows["model_y"].map(known["parameters"]).astype(float)
    return rows.assign(n_train=n_train, parameters=parameters)


# The truth of splits


def _reached(
    rows: pd.DataFrame, splits: Mapping[str, str | Path], sides: Mapping[str, str]
) -> list[float]:
    """Returns the overlap of the data of each pair, as the split files tell it.

    Raises:
        DataError: it is not the one asked for, up to the rounding of a count.
    """
    known = {model: _side(read_table(path), sides[model]) for model, path in splits.items()}
    found = []
    for row in rows.itertuples():
        x, y = known.get(row.model_x), known.get(row.model_y)
        if x is None or y is None:
            found.append(np.nan)
            continue
        if row.kind == "labels":  # the same samples; what overlaps are the parts of labels
            found.append(float(row.overlap))
            continue
        mine, other = (x.classes, y.classes) if row.kind == "task" else (x.ids, y.ids)
        share = len(mine & other) / max(len(mine), len(other), 1)
        finest = 1 / max(len(x.classes) if row.kind == "task" else x.smallest, 1)
        plain = not row.control
        if plain and abs(share - row.overlap) > finest / 2 + CLOSE:
            raise DataError(
                f"{row.model_x!r} and {row.model_y!r} should have {row.overlap:g} of their data in "
                f"common and have {share:.3g}, so they are not of one draw; give both sides of a "
                "split the same kind, draw, size and design"
            )
        found.append(share)
    return found


class _Side:
    """The samples of one side of a split, and their classes."""

    def __init__(self, ids: Iterable[str], classes: Sequence[Any]) -> None:
        self.ids = set(ids)
        self.classes = set(classes)
        counts = pd.Series(list(classes)).value_counts()
        self.smallest = int(counts.min()) if len(counts) else 0


def _side(table: pd.DataFrame, side: str) -> _Side:
    rows = table[table[f"side_{side}"]]
    return _Side(rows["id"], rows["label"].tolist())


# Published pairs and effects


def make_published(sources: Mapping[str, Sequence[str | Path]], out: str | Path) -> None:
    """Writes causes/published.parquet: the pairs of published tables, with the columns of `VALUES`.

    Args:
        sources: {name: files}.
        out: the table to write.
    """
    hashes = {name: [file_digest(path) for path in paths] for name, paths in sources.items()}
    write_table(read_sources(sources), out, {"sources": hashes})


def make_effects(
    tables: Sequence[str | Path],
    published: Sequence[str | Path],
    out: str | Path,
    *,
    permutations: int = 999,
    max_loss: float = MAX_LOSS,
    seed: int = 0,
) -> None:
    """Writes causes/effects.parquet: how values follow overlap, with the columns of `EFFECTS`.

    Args:
        tables: of `make_causes`.
        published: of `make_published`.
        out: the table to write.
        permutations: of the p-values.
        max_loss: training loss from which on models count as not fitted.
        seed: of the study.
    """
    parts = [read_table(path).assign(source=OWN, file="", note="") for path in tables]
    parts += [as_pairs(read_table(path)).assign(control="") for path in published]
    parts = [part for part in parts if len(part)]
    columns = list({c: None for part in parts for c in part} or {**PAIRS, **VALUES, "control": ""})
    parts = [part.reindex(columns=columns) for part in parts]
    together = pd.concat(parts or [pd.DataFrame(columns=columns)], ignore_index=True)
    if parts and "published" in together:
        own = together["published"].isna()
        together["as_published"] = together["as_published"].where(~own, together["value"])
        together["published"] = together["published"].where(~own, True).astype(bool)
    if "block" in together:
        together["block"] = together["block"].fillna("")
    found = effects(together, permutations=permutations, max_loss=max_loss, seed=seed)
    for row in found[(found["status"] != OK) & (found["source"] == OWN)].itertuples():
        where = f"{row.kind}, {row.family}, {row.train_set}, on {row.dataset} by {row.metric}"
        logger.warning("%s: %s (%s)", where, row.status, row.note)
    hashes = {str(Path(path).name): table_digest(path) for path in published}
    hashes |= {f"{Path(p).parent.name}/{Path(p).stem}": table_digest(p) for p in tables}
    settings = {"permutations": permutations, "max_loss": max_loss, "seed": seed}
    write_table(found, out, {"settings": settings, "tables": hashes})
