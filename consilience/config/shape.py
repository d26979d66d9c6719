"""The shape of studies and catalogue rows: schemas, their defaults, and problems in words."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from consilience.errors import ConfigError
from consilience.files import ROOT
from consilience.registry import did_you_mean
from consilience.results import id_problem

INSTALLED = Path(__file__).parents[1] / "schemas"
"""Where schemas are when the package was installed without its project."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?")
MOST_SHOWN = 200
"""Problems that a message lists."""
LARGEST = 2**63 - 1
"""A whole number that a study may say; tables and hashes hold no larger one."""
_ODD = re.compile(r"[\0-\x08\x0e-\x1b\x7f\ud800-\udfff\ufeff]")
"""Signs that are part of no text, and of no path."""
_FORMATS = jsonschema.FormatChecker(formats=())
_FORMATS.checks("id")(lambda value: not isinstance(value, str) or not id_problem(value))


def _place_problem(text: str) -> str:
    """Returns why a text can be no path, name or address, in words; "" if it can."""
    longest = max(len(part.encode("utf8", "replace")) for part in text.split("/"))
    if longest > 255 or len(text) > 4000:
        return f"it has {longest} letters between slashes, at most 255, and 4,000 in all"
    return ""


_FORMATS.checks("place")(lambda value: not isinstance(value, str) or not _place_problem(value))


class Problems:
    """Collects problems, to be raised together."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, place: str, text: str) -> None:
        """Notes one problem at a place."""
        self.lines.append(f"{place}: {text}")

    def stop(self) -> None:
        """Raises ConfigError with all problems noted so far, if there are any."""
        if self.lines:
            count = "1 problem" if len(self.lines) == 1 else f"{len(self.lines)} problems"
            more = len(self.lines) - MOST_SHOWN
            rest = [f"… and {more:,} more"] if more > 0 else []
            lines = [f"the study has {count}", *self.lines[:MOST_SHOWN], *rest]
            raise ConfigError("\n  ".join(lines))


@cache
def read_schema(name: str) -> dict[str, Any]:
    """Returns a JSON Schema of workflow/schemas, or of those installed with the package."""
    path = ROOT / "workflow" / "schemas" / f"{name}.yaml"
    if not path.exists():
        path = INSTALLED / path.name
    return yaml.safe_load(path.read_text(encoding="utf8"))


def validator_of(schema: Mapping[str, Any]) -> jsonschema.Draft202012Validator:
    """Returns what judges values by a schema, and by `format: id` with `id_problem`."""
    return jsonschema.Draft202012Validator(schema, format_checker=_FORMATS)


def with_defaults(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a mapping in which absent keys have the schema's defaults, nested too."""
    filled = dict(value)
    for key, part in schema.get("properties", {}).items():
        if key not in filled and "default" in part:
            filled[key] = part["default"]
        if isinstance(filled.get(key), Mapping):
            filled[key] = with_defaults(filled[key], part)
        elif key in filled:
            filled[key] = _as_meant(filled[key], part)
    return filled


def _as_meant(value: Any, part: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Returns a value in the type that its schema asks for, if it says the same."""
    kind = part.get("type")
    if isinstance(value, str):  # `--config fresh=true`, `--config 'features={batch_size: 64}'`
        return _read_text(value, kind if isinstance(kind, list) else [kind])
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)  # 1.0e+3 is a whole number to JSON, and none to Python
    if kind == "array" and isinstance(value, list):
        return [_as_meant(each, part.get("items", {})) for each in value]
    return value


def _read_text(text: str, kinds: Sequence[str]) -> Any:  # noqa: ANN401
    """Returns what a text says in the first of the schema's types that it can be read as."""
    word = text.strip().lower()
    for kind in kinds:
        if kind == "null" and word in ("null", "none", "~"):
            return None
        if kind == "boolean" and word in ("true", "false"):
            return word == "true"
        if kind == "integer" and re.fullmatch(r"[+-]?[0-9]{1,18}", word):
            return int(word)
        if kind == "number" and re.fullmatch(
            r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", word
        ):
            return float(word)
    return text


def check_shape(
    value: Any,  # noqa: ANN401
    schema: str,
    place: str | Callable[[str], str],
    problems: Problems,
) -> None:
    """Notes where a value does not have the shape that a schema describes.

    Args:
        value: of a study, a row, or a catalogue.
        schema: a name of workflow/schemas.
        place: where the value stands, or what says where a key of it does.
        problems: to add to.
    """
    if odd := list(_odd(value)):  # what JSON cannot say, no schema can judge
        for path, text in odd:
            problems.add(place(path) if callable(place) else f"{place}: {path}", text)
        return
    validator = validator_of(read_schema(schema))
    for error in sorted(validator.iter_errors(value), key=lambda e: [str(p) for p in e.path]):
        path = ".".join(str(part) for part in error.path)
        for text in _say(error):
            if callable(place):
                problems.add(place(path or text.split("'")[1]), text)
            else:
                problems.add(f"{place}: {path}" if path else place, text)


def _odd(value: Any, path: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Yields (place, what is wrong) of keys that are no texts and of values that are no JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, f"{value} is no number to compute with; give another one"
    elif isinstance(value, int) and abs(value) > LARGEST:
        yield path, f"a number of {value.bit_length()} bits; the largest is {LARGEST:,}"
    elif isinstance(value, str) and (odd := _ODD.search(value)):
        yield path, f"it holds the sign {odd[0]!r}, which no text has; take it out"
    elif not isinstance(value, str | int | float | list | Mapping | None):
        yield path, f"{value} is a {type(value).__name__} to YAML; put it in quotes"
    parts = value.items() if isinstance(value, Mapping) else ()
    parts = enumerate(value) if isinstance(value, list) else parts
    for key, part in parts:
        inner = f"{path}.{key}".lstrip(".")
        if isinstance(value, Mapping) and not isinstance(key, str):
            yield inner, f"the key {key!r} is no text; correct it or put it in quotes"
        yield from _odd(part, inner)


def _say(error: jsonschema.ValidationError) -> Iterator[str]:
    """Yields what is wrong and what to do, in words."""
    rule, wanted, found = error.validator, error.validator_value, error.instance
    shown = _short(repr(found))
    if rule == "additionalProperties" and isinstance(found, Mapping):
        known = error.schema.get("properties", {})
        for key in sorted(set(found) - set(known)):
            yield f"unknown key {_short(repr(key))}{did_you_mean(str(key)[:80], known)}"
    elif rule == "required":
        for key in sorted(set(wanted) - set(found)):
            yield f"{key!r} is missing; add it"
    elif rule == "enum":
        yield f"{shown} is not possible{did_you_mean(str(found)[:80], map(str, wanted))}"
    elif rule == "format":
        yield id_problem(found) if wanted == "id" else _place_problem(found)
    elif rule == "pattern":
        yield f"{shown} does not have the form {wanted}"
    elif rule == "anyOf" and "title" in error.schema:
        yield f"{shown} is not {error.schema['title']}"
    elif rule == "anyOf":
        yield f"{shown} is neither a query nor a list of ids"
    else:
        yield f"{_short(error.message)}; see config/README.md"


def _short(text: str) -> str:
    """Returns a text that a message can hold."""
    return text if len(text) <= 300 else f"{text[:200]} … {text[-80:]}"
