"""The tables of docs/statistics.md, quoted from benchmarks/, so that no number is typed twice."""

from typing import NamedTuple

from consilience.config import ROOT
from consilience.docs.tables import MARK, outside

FOLDER = ROOT / "benchmarks"


class Quote(NamedTuple):
    """One table of a page."""

    page: str
    """Its name in benchmarks/."""
    heading: str = ""
    """What the heading above the table begins with; empty for the first table of the page."""
    rows: tuple[str, ...] = ()
    """What rows to quote begin with; none: all."""
    command: str = ""
    """What makes the page, where it is not there yet."""


POWER = "python benchmarks/power.py"
FAMILIES = "python benchmarks/consistency.py families"
QUOTES = {
    "models": Quote("consistency.md", "Intervals over models:"),
    "stimuli": Quote("consistency.md", "Intervals over models and stimuli"),
    "mantel": Quote("consistency.md", "p-values where"),
    "differences": Quote("consistency.md", "Differences between two groups"),
    "family_intervals": Quote("consistency_families.md", "coverage", command=FAMILIES),
    "family_p": Quote("consistency_families.md", "null", command=FAMILIES),
    "family_differences": Quote("consistency_families.md", "differences", command=FAMILIES),
    "family_means": Quote("consistency_families.md", "means", command=FAMILIES),
    "family_spearman": Quote("consistency_families.md", "spearman", command=FAMILIES),
    "family_kendall": Quote("consistency_families.md", "kendall\n", command=FAMILIES),
    "family_kendall_p": Quote("consistency_families.md", "kendall_null", command=FAMILIES),
    "family_joint": Quote("consistency_families.md", "joint", command=FAMILIES),
    "found": Quote("power.md", "difference", command=POWER),
    "told": Quote("power.md", "consistency", command=POWER),
    "tails": Quote("null_tails.md", "Type-I error"),
    "ties": Quote("ties.md"),
    "units": Quote("units.md", "Two populations", command="python benchmarks/units.py FOLDER …"),
    "overlap_slopes": Quote("causes.md", "Intervals of a slope"),
    "overlap_p": Quote("causes.md", "p at or below"),
    "overlap_information": Quote("causes.md", "Estimates of information"),
    "copies": Quote("groups.md", rows=("cka |", "mutual_knn |")),
}
"""By the name of the place in docs/statistics.md."""


def fill_statistics(page: str) -> str:
    """Returns docs/statistics.md with its tables replaced.

    Raises:
        ValueError: a table has no place, or a place no table; a page has no such table.
    """
    outside(page)
    places = [mark.split()[2] for mark in MARK.findall(page) if "generated" in mark]
    if sorted(places) != sorted(QUOTES):
        raise ValueError(
            f"docs/statistics.md has places for {', '.join(sorted(places))}; "
            f"the tables are {', '.join(sorted(QUOTES))}"
        )
    for name, quote in QUOTES.items():
        before, start, rest = page.partition(f"<!-- generated: {name} -->\n")
        page = f"{before}{start}{quoted(quote)}\n{rest[rest.index('<!-- end -->') :]}"
    return page


def quoted(quote: Quote) -> str:
    """Returns a table of a page and where it is from, or how it is made.

    Raises:
        ValueError: the page has no such table.
    """
    path = FOLDER / quote.page
    if not path.is_file():
        return f"(`{quote.command}` writes this table.)"
    text = path.read_text(encoding="utf8")
    if quote.heading:
        parts = [part for part in text.split("\n## ")[1:] if part.startswith(quote.heading)]
        text = parts[0] if parts else ""
    lines, found = text.splitlines(), []
    for line in lines:
        if line.startswith("| "):
            found.append(line)
        elif found:
            break
    if len(found) < 3:
        raise ValueError(f"benchmarks/{quote.page} has no table under {quote.heading!r}")
    head, rule, *rows = found
    kept = [r for r in rows if not quote.rows or r.removeprefix("| ").startswith(quote.rows)]
    source = f"From [benchmarks/{quote.page}](../benchmarks/{quote.page})."
    return "\n".join([head, rule, *kept, "", source])
