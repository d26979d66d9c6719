"""The overview of grounding as a LaTeX table, with rules of the package booktabs."""

import re
from collections.abc import Iterator, Mapping

import pandas as pd

SIGNS = {"failed": r"\texttimes", "constant": "$=$", "too_small": "--"}
"""What stands for a value where there is none."""
_NAMES = {"accuracy_difference": "", "jsd": "JSD", "disagreement": "disagreement"}


def latex_overview(table: pd.DataFrame) -> str:
    """Returns metrics by tests and recipes: the best value bold, what may be the best underlined.

    Values of tests that do not count are in brackets; below the metrics stands chance.

    Args:
        table: of the figure `grounding_overview`.
    """
    columns = list(
        dict.fromkeys(zip(table["test"], table["measure"], table["recipe"], strict=True))
    )
    cells = {
        (row["metric"], (row["test"], row["measure"], row["recipe"])): row
        for row in table.to_dict("records")
    }
    metrics = list(dict.fromkeys(table["metric"]))
    lines = [
        "% \\usepackage{booktabs,textcomp}; bold: best, underlined: not told from it, in brackets:",
        "% the test does not count",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        *_heads(columns),
        r"\midrule",
    ]
    for metric in metrics:
        values = [_cell(cells.get((metric, column))) for column in columns]
        lines.append(_line(escape(metric), values))
    chances = [
        next(row["chance"] for (_, key), row in cells.items() if key == column)
        for column in columns
    ]
    lines += [r"\midrule", _line("chance", [_number(value) for value in chances]), r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", ""])


def _heads(columns: list[tuple[str, str, str]]) -> Iterator[str]:
    """Yields the lines above the numbers: tests, their measures where there are any, recipes."""
    yield _spanned([test for test, _, _ in columns])
    measures = [_NAMES.get(measure, measure) for _, measure, _ in columns]
    if any(measures):
        yield _spanned(measures)
    yield _line("metric", [escape(recipe) for _, _, recipe in columns])


def _spanned(names: list[str]) -> str:
    """Returns a line in which equal neighbours are one cell over their columns."""
    cells, start = [], 0
    while start < len(names):
        end = start
        while end < len(names) and names[end] == names[start]:
            end += 1
        cells.append(rf"\multicolumn{{{end - start}}}{{c}}{{{escape(names[start])}}}")
        start = end
    return _line("", cells)


def _line(name: str, cells: list[str]) -> str:
    return " & ".join([name, *cells]) + r" \\"


def _cell(row: Mapping | None) -> str:
    if row is None:
        return ""
    if pd.isna(row["value"]):
        return SIGNS.get(row["status"], escape(row["status"]))
    text = _number(row["value"])
    if row["told"] == "best":
        return rf"\textbf{{{text}}}"
    if row["told"] == "maybe":
        return rf"\underline{{{text}}}"
    return text if row["status"] == "ok" else f"({text})"


def _number(value: float) -> str:
    if pd.isna(value):
        return ""
    text = f"{abs(value):.2f}"
    return f"$-${text}" if value < 0 and float(text) else text


def escape(text: str) -> str:
    """Returns text whose signs mean themselves in LaTeX."""
    text = text.replace("\\", r"\textbackslash ")
    return re.sub(r"([&%$#_{}])", r"\\\1", text).replace("^", r"\^{}").replace("~", r"\~{}")
