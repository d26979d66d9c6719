"""Prefetch: what a study needs from elsewhere, fetched where there is a network.

Jobs then run with `HF_HUB_OFFLINE=1`. Nothing is imported to tell what is remote: a plan must not
load a deep-learning library.
"""

import importlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from consilience import datasets, models
from consilience.errors import ConsilienceError, DataError
from consilience.files import write_table

log = logging.getLogger(__name__)

Row = Mapping[str, str]

LOCAL_MODELS = frozenset({"imported", "raw"})
"""Sources whose models are never fetched."""
TRAINED = "trained"
"""The source of models that are trained here: `weights` of their rows is what they start from."""
_LOCAL_PREFIXES = ("package:", "sdist:", "local-dir:")


def list_remote(model_rows: Mapping[str, Row], dataset_rows: Mapping[str, Row]) -> list[Row]:
    """Returns the rows that need something from elsewhere, each with its `kind`.

    A dataset does if its name is an address or a hub repository; a model if it has the library's
    own weights, or random ones in an architecture that only the hub describes; one that is trained
    if it starts from weights of an address or of the hub.
    """
    rows = [{"kind": "dataset", **row} for row in dataset_rows.values() if _is_remote_data(row)]
    models = [r for r in model_rows.values() if r["source"] != TRAINED and _is_remote_model(r)]
    starts: dict[str, Row] = {}  # many models start from the same
    for row in model_rows.values():
        if row["source"] == TRAINED and _is_elsewhere(row):
            starts.setdefault(row["weights"], {**row, "name": row["weights"]})
    return rows + [{"kind": "model", **row} for row in (*models, *starts.values())]


def _is_remote_data(row: Row) -> bool:
    """Returns what the row's source says; one that fetches nothing says nothing."""
    if row["source"] not in datasets.list_sources():
        return False
    source = importlib.import_module(f"{datasets.__name__}.{row['source']}")
    return hasattr(source, "is_remote") and source.is_remote(row)


def _is_remote_model(row: Row) -> bool:
    weights, name = row.get("weights", ""), row["name"]
    if row["source"] in LOCAL_MODELS:
        return False
    if _is_elsewhere(row):
        return True
    if _is_local(name) or _is_local(weights):
        return False
    if weights.startswith("random"):
        return row["source"] == "transformers"
    # what is left is blank or the library's name for weights, unless it reads like a path
    return not weights or not ("/" in weights or Path(weights).suffix)


def _is_elsewhere(row: Row) -> bool:
    weights = row.get("weights", "")
    return "://" in weights or weights.startswith("hf-hub:")


def _is_local(name: str) -> bool:
    return bool(name) and (name.startswith(_LOCAL_PREFIXES) or Path(name).expanduser().exists())


def describe(rows: Sequence[Row]) -> str:
    """Returns what will be fetched, one line each."""
    if not rows:
        return "Nothing to fetch: all that the study needs is here"
    lines = [
        f"  {row['kind']} {row.get(row['kind'], '?')}: {row['source']} {row['name']}"
        + (f" at {row['revision']}" if row.get("revision") else "")
        for row in rows
    ]
    return "\n".join([f"Fetching, unless it is here already ({len(rows)}):", *lines])


def make_prefetch(rows: Sequence[Row], out: str | Path) -> None:
    """Fetches all that the rows of `list_remote` name, and writes the list of it.

    One failure does not keep the others from being fetched.

    Args:
        rows: rows of models.tsv and datasets.tsv with their `kind`.
        out: results/prefetch/fetched.parquet, written if all is here.

    Raises:
        DataError: lists what could not be fetched, and why.
    """
    failures = []
    for row in rows:
        what = f"{row['kind']} {row.get(row['kind'])!r}"
        log.info("%s: fetching %s", what, row["name"])
        try:
            fetch(row)
        except ConsilienceError as error:
            log.error("%s: %s", what, error)
            failures.append(f"{what}: {error}")
    if failures:
        raise DataError(
            "\n  ".join([f"{len(failures)} of {len(rows)} things were not fetched", *failures])
        )
    columns = ["kind", "id", "source", "name", "revision"]
    lines = [
        {**row, "id": row.get(row["kind"]), "revision": row.get("revision", "")} for row in rows
    ]
    write_table(pd.DataFrame(lines, columns=columns), out, {"rows": list(map(dict, rows))})


def fetch(row: Row) -> None:
    """Fetches what one row needs: by the source's own `prefetch`, or by loading the model once."""
    package = datasets if row["kind"] == "dataset" else models
    source = importlib.import_module(f"{package.__name__}.{row['source']}")
    if hasattr(source, "prefetch"):
        source.prefetch(row)
    elif row["kind"] == "model":
        models.load_model(row, "cpu")
