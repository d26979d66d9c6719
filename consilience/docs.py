"""Writes the generated parts of config/README.md: `python -m consilience.docs`.

Tables come from the schemas in workflow/schemas and from the facts of the metrics, so that a page
cannot say anything else than the code does.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from consilience.config import ROOT
from consilience.metrics import METRICS, Metric

PAGE = ROOT / "config" / "README.md"


def tables() -> dict[str, str]:
    """Returns the generated tables by the name of their place in the page."""
    return {
        "study": _table(["key", "default", "meaning"], _keys(_schema("study"))),
        "models": _table(["column", "values", "meaning"], _columns(_schema("models"))),
        "datasets": _table(["column", "values", "meaning"], _columns(_schema("datasets"))),
        "metrics": _table(
            ["metric", "parameters (defaults)", "range", "more similar", "same after", "cite"],
            _facts(),
        ),
    }


def fill(page: str) -> str:
    """Returns the page with the text between `<!-- NAME -->` and `<!-- end -->` replaced."""
    for name, table in tables().items():
        start = f"<!-- generated: {name} -->\n"
        before, found, rest = page.partition(start)
        if not found:
            raise ValueError(f"{PAGE} has no place for the table {name!r}: add {start!r}")
        after = rest[rest.index("<!-- end -->") :]
        page = f"{before}{start}{table}\n{after}"
    return page


def _schema(name: str) -> dict[str, Any]:
    path = ROOT / "workflow" / "schemas" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf8"))


def _table(header: list[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


def _keys(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    for key, part in schema["properties"].items():
        if part.get("properties"):
            yield f"**`{prefix}{key}`**", "", part["description"]
            yield from _keys(part, f"{prefix}{key}.")
        else:
            yield f"`{prefix}{key}`", _default(part), part["description"]


def _default(part: Mapping[str, Any]) -> str:
    if "default" not in part:
        return "required"
    value = part["default"]
    if value is None:
        return "empty"
    if isinstance(value, bool | list | float):
        text = yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n")
        return f"`{text.strip()}`"
    return f"`{value}`"


def _columns(schema: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for column, part in schema["properties"].items():
        required = column in schema["required"]
        values = " ".join(f"`{value}`" for value in part.get("enum", []) if value)
        note = " (required)" if required else ""
        yield f"`{column}`{note}", values, part["description"]


def _facts() -> Iterator[tuple[str, ...]]:
    for name, cls in METRICS.items():
        metric = cls()
        low, high = metric.facts.bounds
        yield (
            f"`{name}`",
            _parameters(metric),
            f"{low:g} … {high:g}",
            "larger" if metric.facts.larger_is_more_similar else "smaller",
            ", ".join(sorted(metric.facts.invariant_to)).replace("_", " "),
            metric.facts.citation,
        )


def _parameters(metric: Metric) -> str:
    return ", ".join(f"`{name}: {value}`" for name, value in metric.parameters.items())


def main(page: Path = PAGE) -> int:
    """Rewrites the page in place."""
    page.write_text(fill(page.read_text(encoding="utf8")), encoding="utf8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
