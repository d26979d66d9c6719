"""`consilience summary`: what came out of a study, in one screen."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.cli import power
from consilience.errors import DataError
from consilience.files import read_table
from consilience.pairs.sets import ALL
from consilience.probe.scores import LINEAR
from consilience.results import RESULT_FILES, list_tables, read_study

SIMULATED = 16
"""Most models of studies like which some are simulated, in a few seconds."""


def add(commands: Any) -> None:  # noqa: ANN401
    """Adds the command to the parser's commands."""
    command = commands.add_parser(
        "summary",
        help="what came out of a study, in one screen",
        description="Prints the main numbers of a folder of results and where the files lie.",
    )
    command.set_defaults(run=_summary)
    command.add_argument("results", nargs="?", default="results", help="the folder of a study")


def _summary(arguments: argparse.Namespace) -> int:
    print(summarize(Path(arguments.results)))
    return 0


def summarize(results: Path) -> str:
    """Returns the main numbers of a results folder and where the files lie.

    Raises:
        DataError: there are no results in the folder.
    """
    tellers = (_probe, _similarity, _consistency, _groups, _places)
    parts = [tell(results) for tell in tellers]
    text = "\n\n".join(part for part in parts if part)
    if not text:
        raise DataError(f"{results} holds no results; run `snakemake` first")
    return text


def _read(results: Path, name: str) -> pd.DataFrame:
    tables = [read_table(path) for _, path in list_tables(results, read_study(results), name=name)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _probe(results: Path) -> str:
    table = _read(results, "accuracy")
    if table.empty:
        return ""
    linear = table[table["kind"] == LINEAR] if "kind" in table else table
    linear = linear.assign(model=linear["model"].replace(_variants(results)))
    wide = 100 * linear.pivot_table(index="model", columns="dataset", values="accuracy")
    shown = wide.to_string(float_format="{:.1f}".format, na_rep="–")
    return f"Probe accuracy on the test split, % (mean over seeds)\n{shown}"


def _variants(results: Path) -> dict[str, str]:
    """Returns for each model that a recipe makes with other seeds what all of these are called."""
    rows = (read_study(results) or {}).get("models", {})
    named = {m: f"{row['recipe']}.{row['variant']}" for m, row in rows.items() if row.get("recipe")}
    counts = Counter(named.values())
    return {m: f"{name} ({counts[name]})" for m, name in named.items() if counts[name] > 1}


def _similarity(results: Path) -> str:
    table = _read(results, "similarity")
    if table.empty:
        return ""
    pairs = table[(table["model_x"] != table["model_y"]) & table["value"].notna()]
    wide = pairs.pivot_table(index="metric", columns="dataset", values="value", aggfunc="median")
    failed = int(table["value"].isna().sum())
    note = f"; {failed} pairs have no value, see the column `failure`" if failed else ""
    shown = wide.to_string(float_format="{:.3f}".format, na_rep="–")
    return f"Similarity, median over pairs of models and layers{note}\n{shown}"


def _consistency(results: Path) -> str:
    table = _read(results, "consistency")
    if table.empty:
        return ""
    rows = table[(table["grouping"] == "all") & (table["method"] == "pearson")]
    rows = rows[rows["value"].notna()]
    lines = [
        f"  {row.metric:<18} {row.dataset_x} – {row.dataset_y}: "
        f"{row.value:.2f} {_interval(row)}, p {_chance(row.p)}"
        for row in rows.itertuples()
    ]
    head = "Consistency of all models, Pearson r [95 % interval over models], Mantel p"
    return "\n".join([head, *lines, *_power(rows)])


def _groups(results: Path) -> str:
    from consilience.plots.families import headline  # noqa: PLC0415 - slow to import

    table = _read(results, "consistency_means")
    if table.empty:
        return ""
    inner = (table["grouping"] != ALL) & (table["group_x"] == table["group_y"])
    rows = headline(table[inner & (table["method"] == "pearson")])
    lines = [
        f"  {row.metric:<18} {row.grouping} {row.group_x}: {row.value:.2f} "
        f"[{row.low:.2f}, {row.high:.2f}]"
        for row in rows[rows["low"].notna()].itertuples()
    ]
    head = "Consistency within groups, mean Pearson r over pairs of datasets [95 % interval]"
    return "\n".join([head, *lines]) if lines else ""


def _power(rows: pd.DataFrame) -> list[str]:
    """Returns what so many models can show; larger studies take `consilience power --results`."""
    design = power.design_of(rows)
    return [power.can_show(design)] if design and design.models <= SIMULATED else []


def _interval(row: Any) -> str:  # noqa: ANN401
    """Returns the interval of a row, or why there is none."""
    if pd.notna(row.low) and pd.notna(row.high):
        return f"[{row.low:.2f}, {row.high:.2f}]"
    why = row.status.removeprefix("ok").strip(" ,;:()") or f"of {row.n_models} models"
    return f"[no interval: {why}]"


def _chance(p: float) -> str:
    return "missing" if pd.isna(p) else f"= {p:.3f}"


def _places(results: Path) -> str:
    kinds = dict.fromkeys(file.step for file in RESULT_FILES.values() if file.summarized)
    counts = {kind: sum(path.is_file() for path in _visible(results / kind)) for kind in kinds}
    lines = [f"  {results / kind}/  {count} files" for kind, count in counts.items() if count]
    page = results / RESULT_FILES["explorer"].pattern
    if page.is_file():
        lines.append(f"  {page}  to look around: open it in a browser")
    return "\n".join(["Where it lies", *lines]) if lines else ""


def _visible(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
