"""Queries over the columns of a catalogue: a small language that runs nothing.

    query      := comparison | not query | query and query | query or query | ( query )
    comparison := value OP value [OP value …]           OP is one of == != < <= > >=
                | column in [value, …]                  and `not in`
                | column in 'pattern'                   `*` in it stands for any letters, or none
    value      := column | 'text' | number

A column whose name is no word, or a word of Python, stands in backticks. Python's own parser reads
a query; this module judges every piece of what it found and evaluates it itself. Names that are no
column, calls, attributes and arithmetic are refused, so a query of a stranger can do nothing but
select rows.

What comparisons mean: cells are texts. With a text they are compared letter by letter, as are two
columns. With a number a cell counts as the number that it says. One that says none equals no
number; it is neither smaller nor larger than one: a blank cell is not selected, another one is an
error. A row that lacks a column has a blank cell there.
"""

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from consilience.errors import ConfigError
from consilience.registry import did_you_mean

MOST_LETTERS = 10_000
"""Of a query; what needs more is a list of ids."""
DEEPEST = 50
"""Levels of a query within each other."""

Row = Mapping[str, str]
Condition = Callable[[Row], bool]
_ORDER = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_TOKEN = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|[#`'"]""", re.DOTALL)
_PLACE = "_column_{}_"
_PATTERNS = {"startswith": "{}*", "endswith": "*{}", "contains": "*{}*"}
_KINDS = "a query has comparisons of columns, `and`, `or`, `not`, `in` and parentheses alone"

_WRITTEN = (
    "a text stands in quotes, a column that is a word of Python or has other signs in backticks"
)


class Query(NamedTuple):
    """A query that was read."""

    holds: Condition
    """Whether a row is selected; raises ConfigError for a cell that cannot be compared."""
    columns: tuple[str, ...]
    """The columns that it asks for, sorted."""


class _Column(NamedTuple):
    name: str


def select_rows(text: str, rows: Mapping[str, Row]) -> tuple[list[str], tuple[str, ...]]:
    """Returns the ids of the rows that a query selects, in their order, and the columns it uses.

    Raises:
        ConfigError: as `read_query` says, or a cell cannot be compared with a number.

    Cost: comparisons × rows.
    """
    columns = dict.fromkeys(column for row in rows.values() for column in row)
    query = read_query(text, columns)
    return [name for name, row in rows.items() if query.holds(row)], query.columns


def read_query(text: str, columns: Collection[str]) -> Query:
    """Returns what a query says of rows with these columns.

    Raises:
        ConfigError: it is none, names another column, or is too long or too deep.
    """
    if len(text) > MOST_LETTERS:
        raise ConfigError(f"it has {len(text):,} letters, at most {MOST_LETTERS:,}; list ids")
    code, quoted, texts = _without_backticks(text)
    tree = _parse(code)
    pieces = list(ast.walk(tree))
    constants = [n for n in pieces if isinstance(n, ast.Constant)]
    if any(isinstance(n, ast.JoinedStr) for n in pieces) or any(
        isinstance(n.value, bytes) for n in constants
    ):
        raise ConfigError("a letter stands before the quotes of a text; take it out")
    if sum(isinstance(n.value, str) for n in constants) != texts:
        raise ConfigError("two texts stand side by side; put a comma or an operator between them")
    names = {n.id for n in pieces if isinstance(n, ast.Name)}
    if not set(quoted) <= names:
        raise ConfigError("a backtick stands in a place where no column can be")
    reader = _Reader(columns, quoted)
    holds = reader.condition(tree)
    return Query(holds, tuple(sorted(reader.used)))


def _without_backticks(text: str) -> tuple[str, dict[str, str], int]:
    """Returns a query with a word for each name in backticks, these names, and how many texts."""
    quoted: dict[str, str] = {}
    texts = 0

    def change(found: re.Match[str]) -> str:
        nonlocal texts
        piece = found[0]
        if piece in ("#", "`", "'", '"'):
            what = "a comment" if piece == "#" else f"no second {piece}"
            raise ConfigError(f"it has {what}; take it out, or close what it opens")
        if piece[0] != "`":
            texts += 1
            return piece
        word = _PLACE.format(len(quoted))
        quoted[word] = piece[1:-1]
        return f" {word} "

    return _TOKEN.sub(change, text.replace("\n", " ")).strip(), quoted, texts


def _parse(code: str) -> ast.expr:
    """Returns the tree of a query, no deeper than `DEEPEST`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below
            tree = ast.parse(code, mode="eval").body
    except SyntaxError as error:
        near = code[max((error.offset or 1) - 1, 0) :][:30]
        hint = "write == for what is the same" if re.match("=[^=]", near) else _WRITTEN
        said = error.msg.partition("; ")[0]
        raise ConfigError(f"{said} near {near!r}; {hint}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ConfigError(f"it cannot be understood; {_KINDS}") from None
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [part for node in level for part in ast.iter_child_nodes(node)]
    if level:
        raise ConfigError(f"it is more than {DEEPEST} levels deep; write it with fewer parentheses")
    return tree


class _Reader:
    """Makes conditions of the pieces of a query.

    Args:
        columns: that there are.
        quoted: for each word that stands for a name in backticks this name.
    """

    def __init__(self, columns: Collection[str], quoted: Mapping[str, str]) -> None:
        self.columns, self.quoted = columns, quoted
        self.used: set[str] = set()

    def condition(self, node: ast.expr) -> Condition:
        """Returns what a piece that is true or false says of a row."""
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(part) for part in node.values]
            every = all if isinstance(node.op, ast.And) else any
            return lambda row: every(part(row) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.condition(node.operand)
            return lambda row: not inner(row)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            parts = list(map(self.comparison, sides, node.ops, sides[1:]))
            return lambda row: all(part(row) for part in parts)
        if isinstance(node, ast.Name | ast.Constant):
            shown = self.said(node)
            raise ConfigError(f"{shown} is no condition; compare it, as in `{shown} == 'x'`")
        raise ConfigError(self.refusal(node))

    def comparison(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Condition:
        """Returns what one comparison says of a row."""
        if isinstance(sign, ast.In | ast.NotIn):
            found = self.membership(left, right)
            return found if isinstance(sign, ast.In) else lambda row: not found(row)
        if type(sign) not in _ORDER:
            raise ConfigError("a query has no `is`; write == or !=")
        if isinstance(right, ast.List | ast.Tuple):
            raise ConfigError(f"{self.said(right)} is a list; write `in` or `not in` before it")
        one, other = self.value(left), self.value(right)
        if not isinstance(one, _Column) and not isinstance(other, _Column):
            raise ConfigError(f"`{self.said(left)}` is compared with no column")
        return _compared(one, type(sign), other)

    def membership(self, left: ast.expr, right: ast.expr) -> Condition:
        """Returns whether a column's cell is in a list, or fits a pattern."""
        column = self.value(left)
        if not isinstance(column, _Column):
            hint = ""
            if isinstance(column, str) and isinstance(right, ast.Name):
                hint = f"; write `{self.said(right)} in '*{column}*'`"
            raise ConfigError(f"before `in` stands a column, not {self.said(left)}{hint}")
        if isinstance(right, ast.Constant) and isinstance(right.value, str):
            if "*" not in right.value:
                raise ConfigError(
                    f"the pattern {right.value!r} has no `*`; write == for what is the same, "
                    f"'*{right.value}*' for what holds it, or [{right.value!r}] for a list"
                )
            pieces = right.value.split("*")
            return lambda row: _fits(row.get(column.name, ""), pieces)
        if not isinstance(right, ast.List | ast.Tuple):
            raise ConfigError(f"after `in` stands a list or a pattern, not {self.said(right)}")
        values = [self.value(item) for item in right.elts]
        if any(isinstance(value, _Column) for value in values):
            raise ConfigError(f"{self.said(right)} holds a column; put texts in quotes")
        words = {value for value in values if isinstance(value, str)}
        numbers = [value for value in values if not isinstance(value, str)]

        def holds(row: Row) -> bool:
            cell = row.get(column.name, "")
            return cell in words or (bool(numbers) and _number(cell) in numbers)

        return holds

    def value(self, node: ast.expr) -> Any:  # noqa: ANN401 - a column, a text or a number
        """Returns what can be compared."""
        if isinstance(node, ast.Name):
            name = self.quoted.get(node.id, node.id)
            if name not in self.columns:
                raise ConfigError(f"there is no column {name!r}{did_you_mean(name, self.columns)}")
            self.used.add(name)
            return _Column(name)
        negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd)
        found = node.operand if negative else node
        if isinstance(found, ast.Constant):
            value = found.value
            if isinstance(value, str) and not negative:
                return value
            if isinstance(value, int | float) and not isinstance(value, bool):
                if abs(value) > 1e300 or not math.isfinite(value):
                    raise ConfigError(f"the number {str(value)[:20]} is too large")
                return -value if negative and isinstance(node.op, ast.USub) else value
            raise ConfigError(
                f"{self.said(node)} is neither a text nor a number; cells are texts, so write "
                f"'{self.said(node)}' in quotes, or '' for a blank cell"
            )
        raise ConfigError(self.refusal(node))

    def said(self, node: ast.AST) -> str:
        """Returns a piece as the query has it, shortened."""
        text = ast.unparse(node)
        for word, name in self.quoted.items():
            text = text.replace(word, f"`{name}`")
        return text if len(text) <= 80 else f"{text[:80]}…"

    def refusal(self, node: ast.expr) -> str:
        """Returns why a piece is no part of a query, and what to write."""
        shown = self.said(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
            return f"`{shown}` has & or |; write `and` or `or`"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            return f"`{shown}` has ~; write `not`"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of, name = node.func.value, node.func.attr
            texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
            if name in _PATTERNS and isinstance(of, ast.Attribute) and len(texts) == 1:
                pattern = _PATTERNS[name].format(texts[0])
                return f"`{shown}` is a call; write `{self.said(of.value)} in {pattern!r}`"
            if name == "isin":
                return f"`{shown}` is a call; write `{self.said(of)} in [...]`"
            if name in ("isna", "isnull"):
                return f"`{shown}` is a call; write `{self.said(of)} == ''`"
        return f"`{shown}` cannot stand here; {_KINDS}"


def _compared(one: Any, sign: type[ast.cmpop], other: Any) -> Condition:  # noqa: ANN401
    """Returns whether one value of a row, or what is given, is to the other as a sign says."""
    compare = _ORDER[sign]
    if not any(isinstance(side, int | float) for side in (one, other)):
        return lambda row: compare(_text(one, row), _text(other, row))
    sides = (one, other)

    def holds(row: Row) -> bool:
        found = [_number(row.get(s.name, "")) if isinstance(s, _Column) else s for s in sides]
        if None not in found:
            return compare(*found)
        cell = row.get(sides[found.index(None)].name, "")
        if cell and sign not in (ast.Eq, ast.NotEq):
            raise ConfigError(
                f"a cell is {cell[:80]!r}, which is neither smaller nor larger than a number; "
                "leave such rows out by a condition before it, or put the number in quotes"
            )
        return sign is ast.NotEq

    return holds


def _text(side: Any, row: Row) -> str:  # noqa: ANN401
    return row.get(side.name, "") if isinstance(side, _Column) else side


def _number(cell: str) -> float | None:
    """Returns the number that a cell says; None if it says none."""
    if len(cell) > 400 or not _NUMBER.fullmatch(cell.strip()):
        return None
    text = cell.strip().lower()
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text)


def _fits(cell: str, pieces: list[str]) -> bool:
    """Returns whether a cell begins and ends as said and holds the other pieces in order."""
    first, *middle, last = pieces
    if len(cell) < len(first) + len(last) or not cell.startswith(first):
        return False
    place, end = len(first), len(cell) - len(last)
    for piece in middle:
        found = cell.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return cell.endswith(last)
