"""Whether features of one dataset were made under different versions of what decides their input.

Pillow decides pixels (13.0 resizes tall pictures otherwise than 12.2 does), the libraries of models
resize and crop, tokenizers cut texts. Where models saw other pixels or tokens, part of their
difference is that.
"""

from collections.abc import Mapping
from typing import Any

from consilience.limits.reading import parse_json

DECIDING = ("pillow", "torchvision", "timm", "open_clip_torch", "transformers", "tokenizers")
"""Packages that decide pixels or tokens; others move the last digits at most."""
_SHOWN = 3


def mixed_versions(headers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns a sentence for each package of `DECIDING` of which models used several versions.

    Args:
        headers: {model: header of its features}.

    Example:
        >>> headers = {m: {"provenance": {"libraries": f'{{"pillow": "{v}"}}'}} for m, v in
        ...            (("a", "12.2.0"), ("b", "13.0.0"), ("c", "13.0.0"))}
        >>> mixed_versions(headers)
        ['pillow 12.2.0 (a) and 13.0.0 (b, c)']
    """
    found: dict[str, dict[str, list[str]]] = {}
    for model, header in sorted(headers.items()):
        text = header.get("provenance", {}).get("libraries") or "{}"
        libraries = parse_json(text, f"the header of the features of model {model!r}")
        for package in DECIDING:
            if package in libraries:  # what a build is for (`+cpu`) is no other version
                version = libraries[package].partition("+")[0]
                found.setdefault(package, {}).setdefault(version, []).append(model)
    return [
        f"{package} {' and '.join(f'{version} ({_shown(own)})' for version, own in by.items())}"
        for package, by in found.items()
        if len(by) > 1
    ]


def say_mixed(sentences: list[str], dataset: str) -> str:
    """Returns what a log or a report says of mixed versions, in one sentence."""
    return (
        f"dataset {dataset!r}: features were made under different versions of what decides pixels "
        f"or tokens: {'; '.join(sentences)}; extract all anew under one to compare like with like"
    )


def _shown(models: list[str]) -> str:
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    return ", ".join(models[:_SHOWN]) + more
