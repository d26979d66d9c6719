"""Builder `composites`: a handwritten digit on a coloured shape, in 64 classes of three parts.

`composites` gives 2,560 pictures, `composites:N` N of them; the first ones are the same for every
N. A class is named by shape, digit and colour, such as `circle_3_red`: 4 of each, and the classes
take turns. So one set of pictures has seven sets of labels: of all three parts, of two of them, or
of one (`overlap: {kind: labels, parts: [0, 2]}` of a recipe). The idea is that of ColorShapeDigit
of Li et al. (2025), at 16 pixels; shapes stand at places, and in sizes, of their own.

The digits 0, 1, 4 and 7 are those of `digits`, as they come with scikit-learn, each about 180
times: one digit is on pictures of several classes.
"""

from functools import partial
from itertools import product

import numpy as np
from PIL import Image, ImageDraw

from consilience import files
from consilience.datasets import Sample
from consilience.datasets._base import Listing
from consilience.datasets.packaged import BUILDERS
from consilience.datasets.packaged.digits import FILE, SHA256
from consilience.errors import ConfigError

SHAPES = ("circle", "cross", "square", "triangle")
DIGITS = ("0", "1", "4", "7")
COLORS = {"blue": (40, 70, 220), "green": (20, 150, 60), "purple": (150, 40, 170),
          "red": (210, 40, 40)}  # fmt: skip
CLASSES = tuple("_".join(parts) for parts in product(SHAPES, DIGITS, COLORS))
SIZE = 16
"""Pixels per side of the picture."""
COUNT, MOST = 2560, 100_000
_FINE = 4  # drawn this much larger and reduced, for smooth edges
_DARKEST = 16


@BUILDERS.register("composites")
def open_composites(argument: str) -> Listing:
    """Returns `argument` pictures (2,560 if blank); ids are `00000`, ….

    Raises:
        ConfigError: the number is not a whole number from 1 to 100,000.
        DataError: the file of digits is missing or another one.
    """
    if argument and not (argument.isdecimal() and 1 <= int(argument) <= MOST):
        raise ConfigError(
            f"packaged dataset 'composites:{argument}': the number of pictures must be from 1 to "
            f"{MOST}"
        )
    table = np.loadtxt(files.locate(FILE, SHA256), delimiter=",", dtype=np.uint8)
    written = {digit: table[table[:, -1] == int(digit), :-1] for digit in DIGITS}
    samples = (_sample(index, written) for index in range(int(argument or COUNT)))
    return Listing(tuple(samples), CLASSES, verified=True)


def _sample(index: int, written: dict[str, np.ndarray]) -> Sample:
    label = index % len(CLASSES)
    shape, digit, color = CLASSES[label].split("_")
    ink = written[digit][files.derive_seed("composites", index, "digit") % len(written[digit])]
    x, y, size = (files.derive_seed("composites", index, key) % 3 for key in ("x", "y", "size"))
    return Sample(
        id=f"{index:05d}",
        origin=f"composite {index}",
        label=label,
        image=partial(draw, shape, COLORS[color], ink.tobytes(), (x - 1, y - 1, 6 + size / 2)),
    )


def draw(
    shape: str, color: tuple[int, int, int], ink: bytes, place: tuple[int, int, float]
) -> Image.Image:
    """Returns a picture of a shape in a colour on black, with a white digit in its middle.

    Args:
        shape: one of `SHAPES`.
        color: of it.
        ink: 64 values from 0 to 16 of a digit, row by row.
        place: of the middle, in pixels off that of the picture, and half the shape's height.
    """
    canvas = Image.new("RGB", (SIZE * _FINE, SIZE * _FINE), "black")
    pen = ImageDraw.Draw(canvas)
    x, y, reach = (value * _FINE for value in (SIZE / 2 + place[0], SIZE / 2 + place[1], place[2]))
    box = [x - reach, y - reach, x + reach, y + reach]
    if shape == "circle":
        pen.ellipse(box, color)
    elif shape == "square":
        pen.rectangle(box, color)
    elif shape == "triangle":
        wide = 1.2 * reach
        pen.polygon([(x, y - wide), (x - wide, y + reach), (x + wide, y + reach)], fill=color)
    else:
        half = reach / 2.2
        pen.rectangle([x - half, y - reach, x + half, y + reach], color)
        pen.rectangle([x - reach, y - half, x + reach, y + half], color)
    small = np.asarray(canvas.resize((SIZE, SIZE), Image.Resampling.BOX), np.float64)
    share = np.frombuffer(ink, np.uint8).reshape(8, 8, 1) / _DARKEST
    left, top = 4 + place[0], 4 + place[1]
    digit = small[top : top + 8, left : left + 8]
    small[top : top + 8, left : left + 8] = digit + share * (255 - digit)
    return Image.fromarray(np.floor(small + 0.5).astype(np.uint8))
