"""Tables written by hand: which cell of a line belongs to which column.

Cells are separated by one tab, and a line ends at its line break alone. Quotes around a whole cell
are those of a spreadsheet and none of it. A line may end early, since
editors strip blank cells at the end: what it lacks is then blank. But a line that lacks a cell in
the middle looks the same, and all that follows stands one column too far left. Such a line is taken
only if what it says fits its columns better than it would fit further to the right: by the rules of
the schema, and by what other lines say in these columns. Otherwise it is refused.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from consilience.config.shape import Problems, read_schema, validator_of
from consilience.files import lines_of

WHOLE = "write every cell, blank ones too, with one tab between"
"""What to do about a line that may lack a cell in the middle."""
_NUMBER = re.compile(r"[-+]?[0-9][0-9_,.]*([eE][-+]?[0-9]+)?")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_OTHERS = {"spaces": re.compile(r" {2,}| (?=\S)"), "commas": re.compile(","), ";": re.compile(";")}


def read_cells(
    text: str, name: str, schema: str, problems: Problems
) -> list[tuple[int, int, dict[str, str]]]:
    """Returns (line number, its cells, {column: cell}) of a table's lines.

    Comments and blank lines are none.

    Args:
        text: the table.
        name: of its file, for messages.
        schema: of workflow/schemas, what its columns may hold.
        problems: to add to. Of a heading that cannot be read no line is returned.
    """
    lines = lines_of(text)
    top = next((n for n, line in enumerate(lines) if line.strip() and not _is_note(line)), 0)
    header = _split(lines[top]) if lines else []
    rows = [
        (number, _split(line))
        for number, line in enumerate(lines[top + 1 :], start=top + 2)
        if line.strip() and not line.startswith("#")
    ]
    for _, cells in rows:
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()  # a spreadsheet's empty cells beside the table
    while header and not header[-1] and not any(len(c) >= len(header) and c[-1] for _, c in rows):
        header.pop()  # a spreadsheet's empty column
        rows = [(number, cells[: len(header)]) for number, cells in rows]
    if problem := _odd_header(header, read_schema(schema)):
        problems.add(f"{name} line {top + 1}", problem)
        return []
    columns = _Columns(header, schema, [cells for _, cells in rows])
    found = []
    for number, cells in rows:
        if problem := columns.odd(cells):
            problems.add(f"{name} line {number}", problem)
            continue
        blank = [""] * (len(header) - len(cells))
        found.append((number, len(cells), dict(zip(header, [*cells, *blank], strict=True))))
    return found


def _is_note(line: str) -> bool:
    """Whether a line above the heading is a comment; a heading may begin with # too."""
    return line.startswith("#") and "\t" not in line


def _split(line: str) -> list[str]:
    """Returns the cells of a line, without the quotes that a spreadsheet puts around some."""
    cells = map(str.strip, line.split("\t"))
    return [c[1:-1].replace('""', '"').strip() if _QUOTED.fullmatch(c) else c for c in cells]


def _odd_header(header: Sequence[str], schema: Mapping[str, Any]) -> str | None:
    known = set(schema["properties"])
    for what, between in _OTHERS.items():
        for cell in header:
            if len(known & {part.strip(' "') for part in between.split(cell)}) > 1:
                return f"{cell!r}: columns are separated by {what}; separate cells by one tab each"
    for place, column in enumerate(header, start=1):
        if not column and len(header) > 1:
            return f"column {place} of {len(header)} has no name; give it one or remove it"
        if header.index(column) != place - 1:
            return f"the column {column!r} is there twice; rename or remove one"
        wanted = column.lstrip("# ").lower()
        if wanted in schema["required"] and wanted not in header:
            return f"the column {column!r} is to be called {wanted!r}; rename it"
    return None


class _Columns:
    """The columns of a table, with what its lines say in them.

    Args:
        header: their names.
        schema: of workflow/schemas.
        rows: the cells of all lines.
    """

    def __init__(self, header: Sequence[str], schema: str, rows: Sequence[Sequence[str]]) -> None:
        self.header, self.schema = header, schema
        self.known = read_schema(schema)
        counts: list[dict[str, int]] = [{} for _ in header]
        for cells in rows:
            for count, cell in zip(counts, cells, strict=False):
                if cell:
                    count[cell] = count.get(cell, 0) + 1
        self.counts = counts
        self.numbers = [sum(map(_is_number, count)) for count in counts]

    def odd(self, cells: Sequence[str]) -> str | None:
        """Returns what is wrong with a line's number of cells; None: nothing."""
        missing = len(self.header) - len(cells)
        told = f"{len(cells)} cells for {len(self.header)} columns"
        if torn := next((cell for cell in cells if cell.startswith('"')), ""):
            return (
                f"{torn!r} begins with a quote that its cell does not close: a tab or a line break "
                "within quotes ends a cell too; take it out of the cell"
            )
        if len(cells) == 1 and missing and re.search(r"\S[ ,;]+\S", cells[0]):
            return f"{told}: cells are separated by one tab, not by spaces or commas"
        if missing < 0:
            return f"{told}; cells are separated by one tab"
        if not missing:
            return None
        moved = self._moved(cells, missing)
        if moved is None or not all(map(self._holds, self.header, cells)):
            return None  # of what cannot be in its column the schema speaks
        cell, column, other = moved
        return (
            f"{told}, so one may be missing in the middle: {cell!r} stands under {column!r} and "
            f"may belong under {other!r}; {WHOLE}"
        )

    def _holds(self, column: str, cell: str) -> bool:
        return _valid(self.schema, column, cell)

    def _moved(self, cells: Sequence[str], missing: int) -> tuple[str, str, str] | None:
        """Returns a cell that may belong elsewhere, its column and that one; None: all is clear."""
        own = self._fit(cells, cells)
        for gap in range(1, missing + 1):
            for start in reversed(range(len(cells))):
                if not cells[start]:
                    continue  # a blank cell more or less before it moves the same ones
                shifted = [*cells[:start], *[""] * gap, *cells[start:]]
                fit = self._fit(shifted, cells)
                # what no column's values tell may be moved among columns that are read, where
                # nonsense is found out, but not among those that are taken as they are
                free = any(
                    cell and column not in self.known["properties"]
                    for cell, column in zip(cells[start:], self.header[start:], strict=False)
                )
                if fit is None or (own is not None and (fit < own or (fit == own and not free))):
                    continue
                return cells[start], self.header[start], self.header[start + gap]
        return None

    def _fit(self, placed: Sequence[str], line: Sequence[str]) -> int | None:
        """Returns how many cells stand under columns that say the like in other lines; None: never.

        Args:
            placed: the cells by column.
            line: the cells as the line has them, which are no evidence for themselves.
        """
        fit = 0
        for place, column in enumerate(self.header):
            cell = placed[place] if place < len(placed) else ""
            if not cell:
                if column in self.known["required"] and not self._holds(column, ""):
                    return None
                continue
            if not self._holds(column, cell):
                return None
            count, own = self.counts[place], line[place] if place < len(line) else ""
            only = count.get(own) == 1  # no other line says the same
            others, numbers = len(count) - only, self.numbers[place] - (only and _is_number(own))
            numeric = _is_number(cell)
            if others and numbers == (0 if numeric else others):
                if column not in self.known["properties"]:
                    return None
            elif others and (numeric or count.get(cell, 0) > (cell == own)):
                fit += 1
        return fit


@lru_cache(maxsize=100_000)
def _is_number(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell))


@lru_cache(maxsize=100_000)
def _valid(schema: str, column: str, cell: str) -> bool:
    """Whether a column may hold a cell; any may, where the schema does not know the column."""
    wanted = read_schema(schema)["properties"].get(column)
    return wanted is None or validator_of(wanted).is_valid(cell)
