"""Builder `shapes`: drawn shapes with a sentence each, for tests and first tries; needs no package.

`shapes` gives 64 pictures, `shapes:N` N of them; the first ones are the same for every N. The label
is the shape; colour, place and size are drawn from a fixed seed. The text names colour and shape.
"""

import math
from functools import partial

from PIL import Image, ImageDraw

from consilience import files
from consilience.datasets import Sample
from consilience.datasets._base import Listing
from consilience.datasets.packaged import BUILDERS
from consilience.errors import ConfigError

CLASSES = ("circle", "square", "triangle", "star")
COLORS = ("red", "orange", "green", "blue", "purple", "black")
SIZE = 64
"""Pixels per side of the picture."""
_SMALLEST, _LARGEST = 10, 26
_FINE = 4  # drawn this much larger and reduced, for smooth edges


@BUILDERS.register("shapes")
def open_shapes(argument: str) -> Listing:
    """Returns `argument` shapes (64 if blank), the classes taking turns; ids are `00000`, ….

    Raises:
        ConfigError: the number is not a whole number from 1 to 100,000.
    """
    if argument and not (argument.isdecimal() and 1 <= int(argument) <= 100_000):
        raise ConfigError(
            f"packaged dataset 'shapes:{argument}': the number of shapes must be from 1 to 100000"
        )
    return Listing(tuple(map(_sample, range(int(argument or 64)))), CLASSES, verified=True)


def _sample(index: int) -> Sample:
    label = index % len(CLASSES)
    color = COLORS[files.derive_seed("shapes", index, "color") % len(COLORS)]
    article = "an" if color[0] in "aeiou" else "a"
    return Sample(
        id=f"{index:05d}",
        origin=f"shape {index}",
        label=label,
        text=f"{article} {color} {CLASSES[label]}",
        image=partial(draw, CLASSES[label], color, *_position(index)),
    )


def _position(index: int) -> tuple[int, int, int]:
    """Returns centre x, y and radius of a shape, which lies wholly inside the picture."""
    radius = _SMALLEST + files.derive_seed("shapes", index, "radius") % (_LARGEST - _SMALLEST + 1)
    room = SIZE - 2 * radius
    x, y = (radius + files.derive_seed("shapes", index, axis) % room for axis in "xy")
    return x, y, radius


def draw(shape: str, color: str, x: int, y: int, radius: int) -> Image.Image:
    """Returns a picture of one shape, inside the circle around (x, y), on white."""
    canvas = Image.new("RGB", (SIZE * _FINE, SIZE * _FINE), "white")
    pen = ImageDraw.Draw(canvas)
    center, reach = (x * _FINE, y * _FINE), radius * _FINE
    if shape == "circle":
        pen.ellipse(
            [center[0] - reach, center[1] - reach, center[0] + reach, center[1] + reach], color
        )
    else:
        pen.polygon(_corners(shape, center, reach), fill=color)
    return canvas.resize((SIZE, SIZE), Image.Resampling.BOX)


def _corners(shape: str, center: tuple[int, int], reach: int) -> list[tuple[float, float]]:
    """Returns the corners of a regular shape on (a star: on and in) the circle around `center`."""
    count, inner = {"square": (4, 1.0), "triangle": (3, 1.0), "star": (10, 0.4)}[shape]
    turn = math.pi / 4 if shape == "square" else 0.0
    corners = []
    for i in range(count):
        angle = turn + 2 * math.pi * i / count - math.pi / 2
        distance = reach * (inner if i % 2 else 1.0)
        corners.append(
            (center[0] + distance * math.cos(angle), center[1] + distance * math.sin(angle))
        )
    return corners
