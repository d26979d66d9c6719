"""What came out of a study, in one screen: `python -m consilience.cli.summary results`."""

import sys
from pathlib import Path

import pandas as pd

from consilience.errors import DataError
from consilience.files import read_table
from consilience.probe.scores import LINEAR


def summarize(results: Path) -> str:
    """Returns the main numbers of a results folder and where the files lie.

    Raises:
        DataError: there are no results in the folder.
    """
    parts = [_probe(results), _similarity(results), _consistency(results), _places(results)]
    text = "\n\n".join(part for part in parts if part)
    if not text:
        raise DataError(f"{results} holds no results; run `snakemake` first")
    return text


def _read(results: Path, pattern: str) -> pd.DataFrame:
    tables = [read_table(path) for path in sorted(results.glob(pattern))]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _probe(results: Path) -> str:
    table = _read(results, "probe/accuracy.parquet")
    if table.empty:
        return ""
    linear = table[table["kind"] == LINEAR] if "kind" in table else table
    wide = 100 * linear.pivot_table(index="model", columns="dataset", values="accuracy")
    shown = wide.to_string(float_format="{:.1f}".format, na_rep="–")
    return f"Probe accuracy on the test split, % (mean over seeds)\n{shown}"


def _similarity(results: Path) -> str:
    table = _read(results, "similarity/*/*.parquet")
    if table.empty:
        return ""
    pairs = table[(table["model_x"] != table["model_y"]) & table["value"].notna()]
    wide = pairs.pivot_table(index="metric", columns="dataset", values="value", aggfunc="median")
    failed = int(table["value"].isna().sum())
    note = f"; {failed} pairs have no value, see the column `failure`" if failed else ""
    shown = wide.to_string(float_format="{:.3f}".format, na_rep="–")
    return f"Similarity, median over pairs of models and layers{note}\n{shown}"


def _consistency(results: Path) -> str:
    table = _read(results, "consistency/*.parquet")
    if table.empty:
        return ""
    rows = table[(table["grouping"] == "all") & (table["method"] == "pearson")]
    rows = rows[rows["value"].notna()]
    lines = [
        f"  {row.metric:<18} {row.dataset_x} – {row.dataset_y}: "
        f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}], p = {row.p:.3f}"
        for row in rows.itertuples()
    ]
    head = "Consistency of all models, Pearson r [95 % interval over models], Mantel p"
    return "\n".join([head, *lines])


def _places(results: Path) -> str:
    kinds = ["similarity", "consistency", "probe", "behavior", "figures"]
    counts = {kind: sum(path.is_file() for path in _visible(results / kind)) for kind in kinds}
    lines = [f"  {results / kind}/  {count} files" for kind, count in counts.items() if count]
    page = results / "explorer" / "index.html"
    if page.is_file():
        lines.append(f"  {page}  to look around: open it in a browser")
    return "\n".join(["Where it lies", *lines]) if lines else ""


def _visible(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def main(arguments: list[str]) -> int:
    """Prints the summary of the folder that the command line names."""
    try:
        print(summarize(Path(arguments[0] if arguments else "results")))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
