"""What a library knows of the weights that it publishes, and what of it a local file is to have.

A library gives each set of published weights (a tag) its preprocessing, and sometimes the network
an activation or a change of the pictures. A file by itself says none of it. So the tag is named in
the row, or recognised by the file, or all tags of the architecture agree; else nobody can say.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from consilience.files import canonical_json
from consilience.models._weights import HUB, Weights, cell, fail

logger = logging.getLogger(__name__)

_IN_NAME = re.compile(r"[-_]([0-9a-f]{8,64})\.[a-z0-9.]+$")
_IN_PATH = re.compile(r"/([0-9a-f]{64})/")
_CACHED = re.compile(r"models--([^/]+?)--([^/]+)/")


@dataclass(frozen=True)
class Published:
    """One set of weights of a library, by its tag."""

    tag: str
    places: tuple[str, ...]
    """Addresses of its file, and hub repositories as `OWNER/REPOSITORY`."""
    settings: Mapping[str, Any]
    """What the library sets for it, beside the weights."""

    @property
    def names(self) -> set[str]:
        """The names of its file that tell it apart: with digits of the hash, or not checked so."""
        files = {PurePosixPath(place).name for place in self.places if "://" in place}
        unchecked = not any(_IN_PATH.search(place) for place in self.places)
        return {name for name in files if _IN_NAME.search(name) or unchecked}

    def has_digest(self, digest: str) -> bool:
        """Returns whether a SHA-256 is the one that name or address of its file tells."""
        found = [
            match[1]
            for place in self.places
            for match in (_IN_NAME.search(place), _IN_PATH.search(place))
            if match
        ]
        return any(digest.startswith(digits) for digits in found)


def settle(
    row: Mapping[str, Any],
    weights: Weights,
    published: Sequence[Published],
    stated: str,
    remedy: str,
) -> Weights:
    """Returns the weights of a local file with the tag whose settings they get, and why.

    Args:
        row: row of models.tsv.
        weights: of a local file.
        published: the sets of weights that the library has for this architecture; settings that the
            row gives itself are left out.
        stated: the tag that the row names; empty if none.
        remedy: what a row may say instead, such as `name` = ARCHITECTURE/TAG.

    Returns:
        `weights` with `like` (empty if the library publishes none) and a note for the header.

    Raises:
        ModelError: the file is not known and the settings of the tags differ.
    """
    like, why, known = _settled(row, weights, published, stated, remedy)
    note = f"of {like or 'the architecture'}: {why}"
    logger.info("%s: settings %s", weights.path, note)
    return replace(weights, like=like, known=known, notes={**weights.notes, "settings": note})


def _settled(
    row: Mapping[str, Any],
    weights: Weights,
    published: Sequence[Published],
    stated: str,
    remedy: str,
) -> tuple[str, str, bool]:
    if stated:
        _check_stated(row, weights, published, stated)
        return stated, "the row names them", False
    if not published:
        return "", "the library publishes no weights of this architecture", False
    known, why = _recognised(row, weights, published)
    among = known or published
    if len({canonical_json(one.settings) for one in among}) > 1:
        _refuse(row, weights, among, remedy)
    if known:
        return known[0].tag, why, True
    if not published[0].settings:
        return "", "the row gives them", False
    one = "its only published weights" if len(published) == 1 else "all its published weights agree"
    return published[0].tag, f"the file is not known; {one}", False


def _check_stated(
    row: Mapping[str, Any], weights: Weights, published: Sequence[Published], stated: str
) -> None:
    """Raises ModelError if the file is known to be another than the row says, and it matters."""
    named = [one for one in published if one.tag == stated]
    known = [one for one in published if weights.sha256 and one.has_digest(weights.sha256)]
    if named and known and all(one.settings != named[0].settings for one in known):
        tag = known[0].tag
        fail(row, f"name says {stated!r}, and {weights.path} is {tag!r} by its hash; correct one")


def _recognised(
    row: Mapping[str, Any], weights: Weights, published: Sequence[Published]
) -> tuple[list[Published], str]:
    text, path = cell(row, "weights"), str(weights.path or "")
    if found := [one for one in published if weights.sha256 and one.has_digest(weights.sha256)]:
        return found, "known by the hash of the file"
    repositories = {"/".join(match) for match in _CACHED.findall(path)}
    if text.startswith(HUB):
        repositories.add(text.removeprefix(HUB).rpartition("/")[0])
    if found := [one for one in published if repositories & set(one.places)]:
        return found, "known by the repository of the file"
    names = {PurePosixPath(text).name, PurePosixPath(path).name}
    found = [one for one in published if names & one.names]
    return found, "known by the name of the file"


def _refuse(
    row: Mapping[str, Any], weights: Weights, among: Sequence[Published], remedy: str
) -> None:
    """Raises ModelError, with the settings that differ and what may be written."""
    parts = []
    for key in among[0].settings:
        values: dict[str, list[str]] = {}
        for one in among:
            values.setdefault(_short(one.settings[key]), []).append(one.tag)
        if len(values) > 1:
            said = [f"{value} ({_some(tags)})" for value, tags in values.items()]
            parts.append(f"{key} {' or '.join(said)}")
    fail(
        row,
        f"{weights.path} is none of the library's files by hash or name, and what the library sets "
        f"for the published weights of this architecture differs: {'; '.join(parts)}. Write "
        f"{remedy}",
    )


def _short(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, list | tuple):
        return "×".join(f"{x:g}" if isinstance(x, float) else str(x) for x in value)
    return str(value)


def _some(tags: Sequence[str]) -> str:
    return ", ".join(tags[:3]) + (f" and {len(tags) - 3} more" if len(tags) > 3 else "")
