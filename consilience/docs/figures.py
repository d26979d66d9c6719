"""The list of figures, config/figures.md, from their facts."""

from consilience.docs.tables import table
from consilience.plots import FIGURES, Facts

INTRODUCTION = """# Figures

A figure is written to `figures/` below the folder of results as `.svg`, `.pdf` and `.png`
(300 dpi), beside a `.csv` with the numbers that it shows; a table for print is also written as
`.tex`. `snakemake results/figures/NAME.png` draws one. A study has those for which it has what
they show. This page is written by `make docs` from the facts that stand beside each function in
`consilience/plots/`; a new figure is a module there, and its test.
"""


def figure_page() -> str:
    """Returns the whole page: a table of figures for each category of the report."""
    parts = [INTRODUCTION]
    for category in sorted({facts.category for facts in FIGURES.values()}):
        rows = (_row(facts) for facts in FIGURES.values() if facts.category == category)
        heading = ["file", "shows", "drawn for", "from", "if there are"]
        parts.append(f"## {category}\n\n{table(heading, rows)}\n")
    return "\n".join(parts)


def _row(facts: Facts) -> tuple[str, ...]:
    name = facts.name + (f"_{facts.ending}" if facts.ending else "")
    read = ", ".join(f"`{kind}`" for kind in facts.reads()) or "the study's rows"
    per = f"every {facts.per.text}" if facts.ending else "the study"
    return f"`{name}`", facts.caption, per, read, facts.when.text
