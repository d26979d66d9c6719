"""The generated tables of config/README.md."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from consilience.config import ROOT
from consilience.docs.docstrings import plain
from consilience.metrics import METRICS, Facts, Metric


def tables() -> dict[str, str]:
    """Returns the generated tables by the name of their place in the page."""
    return {
        "study": table(["key", "default", "meaning"], _keys(_schema("study"))),
        "models": table(["column", "values", "meaning"], _columns(_schema("models"))),
        "datasets": table(["column", "values", "meaning"], _columns(_schema("datasets"))),
        "metrics": table(
            ["metric", "parameters (defaults)", "range", "more similar", "same after", "cite"],
            _facts(),
        ),
    }


def fill(page: str) -> str:
    """Returns the page with the text between `<!-- NAME -->` and `<!-- end -->` replaced."""
    for name, content in tables().items():
        start = f"<!-- generated: {name} -->\n"
        before, found, rest = page.partition(start)
        if not found:
            raise ValueError(f"config/README.md has no place for the table {name!r}: add {start!r}")
        after = rest[rest.index("<!-- end -->") :]
        page = f"{before}{start}{content}\n{after}"
    return page


def _schema(name: str) -> dict[str, Any]:
    path = ROOT / "workflow" / "schemas" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf8"))


def table(header: list[str], rows: Iterable[tuple[str, ...]]) -> str:
    """Returns a Markdown table."""
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
        yield (
            f"[`{name}`](metrics.md#{name})",
            _parameters(metric),
            span(metric.facts),
            "larger" if metric.facts.larger_is_more_similar else "smaller",
            same_after(metric.facts),
            metric.facts.citation,
        )


def _parameters(metric: Metric) -> str:
    return ", ".join(f"`{name}: {plain(value)}`" for name, value in metric.parameters.items())


def span(facts: Facts) -> str:
    """Returns the range of a metric."""
    return " … ".join(f"{bound:g}".replace("inf", "∞") for bound in facts.bounds)


def same_after(facts: Facts) -> str:
    """Returns the maps of the units that change nothing."""
    return ", ".join(sorted(facts.invariant_to)).replace("_", " ")
