"""Where the independent value of each metric comes from: what its tests declare.

A test that holds a metric to a value which other code or other arithmetic gave says so by the
marker `@pytest.mark.reference("cka", by="thingsvision")`. A metric for which there is no such value
says why, `none="…"` instead of `by`. The tests are read, not imported.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from consilience.config import ROOT
from consilience.errors import ConfigError

TESTS = ROOT / "tests" / "metrics"
MARKER = "pytest.mark.reference"


class Independent(NamedTuple):
    """One test's declaration for one metric."""

    metric: str
    test: str
    by: str
    """Whose value it is; empty: there is none."""
    none: str
    """Why there is none."""


def read_independent(folder: Path = TESTS) -> list[Independent]:
    """Returns the declarations of all tests in a folder, by file and line.

    Raises:
        ConfigError: a declaration names no metric, or says neither or both of `by` and `none`.
    """
    paths = sorted(folder.glob("test_*.py"))
    return [found for path in paths for found in _of_file(path)]


def _of_file(path: Path) -> Iterator[Independent]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == MARKER:
                yield from _of_marker(mark, f"{path.name}::{node.name}")


def _of_marker(mark: ast.Call, test: str) -> Iterator[Independent]:
    try:
        names = [ast.literal_eval(argument) for argument in mark.args]
        said = {keyword.arg: ast.literal_eval(keyword.value) for keyword in mark.keywords}
    except ValueError:
        raise ConfigError(f"{test}: write the marker `reference` with plain texts") from None
    if not names or set(said) not in ({"by"}, {"none"}) or not all(said.values()):
        raise ConfigError(
            f"{test}: the marker `reference` takes the names of metrics, and by= whose value it "
            "is, or none= why there is no independent one"
        )
    for name in names:
        yield Independent(name, test, said.get("by", ""), said.get("none", ""))


def checked_against(metric: str, declared: Sequence[Independent]) -> str:
    """Returns whose values a metric's tests hold it to, or why there are none.

    Raises:
        ConfigError: nothing is declared for it.
    """
    own = [found for found in declared if found.metric == metric]
    if not own:
        raise ConfigError(
            f"metric {metric!r} has no independent value: compare it with other code or with its "
            f'definition in a test in tests/metrics, marked @{MARKER}("{metric}", by="…")'
        )
    by = list(dict.fromkeys(found.by for found in own if found.by))
    return "; ".join(by) or f"nothing independent: {own[0].none}"
