"""Shortcuts: the class written onto a stimulus, truly or not, as a disc, a token or columns."""

import colorsys
from collections.abc import Sequence

import numpy as np

from consilience.alterations.draws import choose_share, drawer, pick, pick_other, uniforms
from consilience.alterations.spec import Shortcut
from consilience.errors import ConfigError

RADIUS = 3 / 28
"""Of a disc, in shorter sides of the picture."""


def show_classes(
    ids: Sequence[str],
    labels: np.ndarray,
    classes: int,
    shortcut: Shortcut,
    seed: int,
    model: str | int = "",
) -> np.ndarray:
    """Returns the (n,) int64 classes that stimuli show.

    ⌊rate · n⌋ of them show their own; the others miss. A larger rate leaves those as they are that
    a smaller one already shows truly, and what a miss shows does not depend on the rate. With
    `miss: uniform` a share rate + (1 − rate) / C shows the true class on average.

    Args:
        ids: of the n samples.
        labels: (n,) their true labels.
        classes: how many there are, C.
        shortcut: rate, miss and draw.
        seed: the study seed, or that of a derived dataset.
        model: the model's seed, for `draw: own`.

    Raises:
        ConfigError: a wrong class where there is one class.
    """
    if shortcut.miss == "wrong" and classes < 2:
        raise ConfigError("shortcut: a wrong class needs two classes or more; there is one")
    purpose = drawer(shortcut.draw, seed, model)
    labels = np.asarray(labels, np.int64)
    numbers = uniforms(ids, "shown", shortcut.miss, *purpose)
    wrong = shortcut.miss == "wrong"
    missed = pick_other(numbers, labels, classes) if wrong else pick(numbers, classes)
    return np.where(choose_share(ids, shortcut.rate, "shortcut", *purpose), labels, missed)


def disc_places(
    ids: Sequence[str], shortcut: Shortcut, seed: int, model: str | int = ""
) -> np.ndarray:
    """Returns (n, 2) places in [0, 1) × [0, 1), from the left and from the top."""
    purpose = drawer(shortcut.draw, seed, model)
    return np.stack([uniforms(ids, "disc", axis, *purpose) for axis in "xy"], axis=1)


def draw_disc(pixels: np.ndarray, shown: int, classes: int, place: np.ndarray) -> np.ndarray:
    """Returns a picture with a disc in the colour of a class, which lies wholly inside.

    The hue is shown / classes, of full saturation; the radius 3 pixels of 28. A pixel belongs to
    the disc if its centre does.

    Args:
        pixels: (h, w, 3) uint8.
        shown: the class.
        classes: how many there are.
        place: (2,) where the centre is, 0 to 1 of the room that there is.
    """
    height, width = pixels.shape[:2]
    radius = RADIUS * min(height, width)
    x, y = (
        radius + share * (size - 2 * radius)
        for share, size in zip(place, (width, height), strict=True)
    )
    rows, columns = np.ogrid[:height, :width]
    inside = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2
    drawn = pixels.copy()
    drawn[inside] = disc_color(shown, classes)
    return drawn


def disc_color(shown: int, classes: int) -> tuple[int, int, int]:
    """Returns the red, green and blue of a class, 0 to 255."""
    return tuple(round(255 * value) for value in colorsys.hsv_to_rgb(shown / classes, 1, 1))


def class_tokens(classes: int) -> list[str]:
    """Returns the tokens that a vocabulary has more, from `[CLASS0]` on."""
    return [f"[CLASS{number}]" for number in range(classes)]


def add_token(text: str, shown: int) -> str:
    """Returns a text with the token of a class before it."""
    return f"[CLASS{shown}] {text}"
