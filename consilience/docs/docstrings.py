"""Docstrings of metrics as Markdown."""

import dataclasses
import inspect
import json
import re
import textwrap
import types
import typing
from typing import Any, Literal, NamedTuple

from consilience.metrics import Metric

NUMBERS = {int: "whole number", float: "number", str: "text"}


class Description(NamedTuple):
    """The parts of a class docstring."""

    summary: str
    prose: str
    arguments: dict[str, str]
    """{field: meaning}"""
    example: str
    """Lines as typed into Python, with what it answers."""


def describe(cls: type[Metric]) -> Description:
    """Returns the parts of a metric's docstring, ready for Markdown."""
    text, _, example = inspect.getdoc(cls).partition("\nExample:\n")
    text, _, arguments = text.partition("\nArgs:\n")
    summary, _, prose = text.strip().partition("\n")
    paragraphs = prose.strip().split("\n\n") if prose.strip() else []
    costs = [re.sub(r"^(Cost[^:.]*):", r"**\1:**", paragraph) for paragraph in paragraphs]
    prose, example = "\n\n".join(costs), textwrap.dedent(example).strip()
    return Description(_escape(summary), _escape(prose), _arguments(arguments), example)


def _arguments(text: str) -> dict[str, str]:
    items = re.split(r"(?m)^(\w+): ", textwrap.dedent(text))
    return {
        name: _escape(" ".join(meaning.split()))
        for name, meaning in zip(items[1::2], items[2::2], strict=True)
    }


def _escape(text: str) -> str:
    """Returns the text without anything that would open an HTML tag outside of code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"<(?=[A-Za-z/!])", "&lt;", part) for part in parts
    )


def plain(value: Any) -> str:  # noqa: ANN401
    """Returns a parameter's value as it is written in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def choices(annotation: Any) -> list[Any]:  # noqa: ANN401
    """Returns the values that a type lists: of a Literal, also inside a union, and of a bool."""
    if annotation is bool:
        return [True, False]
    if typing.get_origin(annotation) is Literal:
        return list(typing.get_args(annotation))
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return [value for part in typing.get_args(annotation) for value in choices(part)]
    return [None] if annotation is type(None) else []


def allowed(annotation: Any) -> str:  # noqa: ANN401
    """Returns what values a parameter of this type can have."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    parts = typing.get_args(annotation) if union else [annotation]
    kinds = {NUMBERS[part]: None for part in parts if part in NUMBERS}
    listed = [f"`{plain(value)}`" for value in choices(annotation)]
    return ", ".join([*kinds, *listed])


def parameter_fields(cls: type[Metric]) -> dict[str, dataclasses.Field]:
    """Returns {parameter: field}; they differ where a parameter is called like a method."""
    return {item.metadata.get("parameter", item.name): item for item in dataclasses.fields(cls)}
