"""All attacks of a study in one table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from consilience.files import digest, read_table, write_table


def make_successes(paths: Sequence[str | Path], out: str | Path) -> None:
    """Writes results/transfer/successes.parquet: the rows of all models that are attacked.

    Args:
        paths: results/transfer/{dataset}/{model}.parquet, of one study.
        out: the table to write.
    """
    tables = [read_table(path) for path in paths]
    key = ["dataset", "model_x", "model_y", "eps", "steps", "momentum"]
    found = pd.concat(tables, ignore_index=True).sort_values(key, ignore_index=True)
    settings = sorted({digest(table.attrs["settings"]) for table in tables})
    write_table(found, out, {"settings": settings})
