"""Builder `digits`: 1,797 handwritten digits of 8 × 8 pixels that come with scikit-learn.

Data: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository (CC BY 4.0);
this is its test part. Drawn dark on light, as ink is, because pretrained models know scans and
drawings on paper; enlarged with smooth interpolation, because hard pixel edges are texture to them.
"""

from functools import partial

import numpy as np
from PIL import Image

from consilience import files
from consilience.datasets import Sample
from consilience.datasets._base import Listing
from consilience.datasets.packaged import BUILDERS, refuse_argument

FILE = "package:sklearn/datasets/data/digits.csv.gz"
SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
SIZE = 96
"""Pixels per side of the picture."""
_DARKEST = 16


@BUILDERS.register("digits")
def open_digits(argument: str) -> Listing:
    """Returns the digits in the order of the file; ids are `0000` to `1796`.

    Raises:
        DataError: the file is missing or another one.
    """
    refuse_argument("digits", argument)
    table = np.loadtxt(files.locate(FILE, SHA256), delimiter=",", dtype=np.uint8)
    samples = (
        Sample(
            id=f"{index:04d}",
            origin=f"digits.csv.gz:{index + 1}",
            label=int(line[-1]),
            image=partial(draw, line[:-1].tobytes()),
        )
        for index, line in enumerate(table)
    )
    return Listing(tuple(samples), tuple("0123456789"), verified=True)


def draw(ink: bytes) -> Image.Image:
    """Returns the picture of 64 ink values from 0 (paper) to 16, row by row."""
    values = np.frombuffer(ink, np.uint8).reshape(8, 8).astype(np.float64)
    pixels = np.round(255 * (1 - values / _DARKEST)).astype(np.uint8)
    enlarged = Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return enlarged.convert("RGB")
