"""Pictures that are varied: mirrored, moved, and with noise."""

from collections.abc import Sequence

import numpy as np

from consilience.alterations.draws import generator
from consilience.alterations.spec import Augmentation


def picture_generator(
    id_: str, epoch: int, seed: int, model: str | int = ""
) -> np.random.Generator:
    """Returns the random numbers of one picture in one epoch of one model."""
    return generator("picture", seed, model, epoch, id_)


def augment_picture(pixels: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Returns a picture mirrored, moved and with noise, as far as `how` says so.

    Args:
        pixels: (h, w) or (h, w, 3) uint8.
        how: `flip`, `shift` and `noise`.
        rng: the random numbers of this picture (`picture_generator`).
    """
    if how.flip and rng.random() < how.flip:
        pixels = pixels[:, ::-1]
    if how.shift:
        down, right = rng.integers(-how.shift, how.shift + 1, 2)
        pixels = shift_picture(pixels, int(down), int(right))
    if how.noise:
        pixels = add_noise(pixels, how.noise, rng)
    return np.ascontiguousarray(pixels)


def augment_pictures(
    pixels: np.ndarray,
    ids: Sequence[str],
    how: Augmentation,
    epoch: int,
    seed: int,
    model: str | int = "",
) -> np.ndarray:
    """Returns (n, h, w) or (n, h, w, 3) uint8 pictures of one epoch, each by its own id."""
    return np.stack(
        [
            augment_picture(picture, how, picture_generator(id_, epoch, seed, model))
            for picture, id_ in zip(pixels, ids, strict=True)
        ]
    )


def add_noise(pixels: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """Returns a picture plus Gaussian noise, rounded and cut to 0 … 255.

    The variance is uniform in (0, most) and new for each picture; every value of every channel has
    noise of its own.
    """
    deviation = np.float32(np.sqrt(rng.uniform(0, most)))
    noise = deviation * rng.standard_normal(pixels.shape, np.float32)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def shift_picture(pixels: np.ndarray, down: int, right: int) -> np.ndarray:
    """Returns a picture moved by whole pixels; what it leaves is black."""
    moved = np.zeros_like(pixels)
    height, width = pixels.shape[:2]
    rows, columns = (slice(max(0, s), max(0, n + min(0, s)))
                     for s, n in ((down, height), (right, width)))  # fmt: skip
    back = (slice(max(0, -s), max(0, n + min(0, -s)))
            for s, n in ((down, height), (right, width)))  # fmt: skip
    moved[rows, columns] = pixels[tuple(back)]
    return moved
