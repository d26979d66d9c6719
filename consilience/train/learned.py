"""Tables of what was trained, from the headers of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.files import write_table
from consilience.networks.weights import read_trained
from consilience.results import RESULT_FILES

_NUMBERS = ("loss_train", "loss_test", "accuracy_train", "accuracy_test")
"""Columns that may have no value at all."""
_NOTE = "{} gives a network no head that tells classes; probes of its features give an accuracy"


def make_learned(
    rows: Mapping[str, Mapping[str, str]],
    weights: Sequence[str | Path],
    table: str | Path,
    curves: str | Path,
) -> None:
    """Writes train/learned.parquet and train/curves.parquet.

    Args:
        rows: for each model its recipe, variant and seed, and the hash `learnt` of its spec.
        weights: for each model, in the same order, its file.
        table: the first file to write.
        curves: the second.

    Raises:
        ModelError: a file cannot be read, was damaged or edited, or is of another model.
    """
    headers = {
        # What a header says is sealed with its tensors.
        model: read_trained(path, rows[model]["learnt"]).header
        for model, path in zip(rows, map(Path, weights), strict=True)
    }
    found = [{"model": m, **_named(rows[m]), **_line(h)} for m, h in headers.items()]
    points = [
        {"model": model, **_named(rows[model]), "step": step, "loss": loss}
        for model, header in headers.items()
        for step, loss in zip(*(header["history"][key] for key in ("step", "loss")), strict=True)
    ]
    for name, path, lines in (("learned", table, found), ("learned_curves", curves, points)):
        frame = pd.DataFrame(lines, columns=list(RESULT_FILES[name].columns))
        write_table(frame.astype({c: float for c in _NUMBERS if c in frame}), path, {})


def _named(row: Mapping[str, str]) -> dict[str, Any]:
    return {"recipe": row["recipe"], "variant": row["variant"], "seed": int(row["seed"])}


def _line(header: Mapping[str, Any]) -> dict[str, Any]:
    spec, scores = header["spec"], header["scores"]
    train, test = scores["train"], scores.get("test") or {}
    return {
        "architecture": spec["architecture"],
        "objective": spec["objective"],
        "dataset": spec["dataset"],
        "test": (spec["test"] or spec["dataset"]) if test else "",
        "status": header["status"],
        "steps": header["steps"],
        "parameters": header["parameters"],
        "loss_train": train["loss"],
        "accuracy_train": train["accuracy"],
        "loss_test": test.get("loss"),
        "accuracy_test": test.get("accuracy"),
        "chance_loss": header["chance_loss"],
        "n_train": train["n"],
        "n_test": test.get("n"),
        "note": "" if train["accuracy"] is not None else _NOTE.format(spec["objective"]),
    }
