"""Builder `photo_crops`: 1,020 crops of 17 photographs that come inside scikit-image.

The pictures are scikit-image's own examples, mostly in the public domain (the list of sources is in
its data folder): photographs, textures, microscopy, astronomy and a printed page. Left out are the
synthetic ones, the second half of a stereo pair, which nearly repeats the first, and one of two
printed pages. The label is the picture a crop is from.

Crops lie where they overlap least: one after the other, each takes the best of 16 places drawn from
a fixed seed, best being the smallest overlap with any earlier crop of the picture. Sixty crops of
96 pixels fit without overlap only into the largest pictures, so crops of one picture can share
pixels, also across train and test: good for comparing representations, too easy as a benchmark.
"""

from functools import cache, lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from consilience import files
from consilience.datasets import Sample
from consilience.datasets._base import Listing, decode
from consilience.datasets.packaged import BUILDERS, refuse_argument

FOLDER = "package:skimage/data"
PHOTOS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "cell.png": "8d23a7fb81f7cc877cd09f330357fc7f595651306e84e17252f6e0a1b3f61515",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "clock_motion.png": "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "coins.png": "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
    "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    "moon.png": "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    "retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}
"""File name to SHA-256."""
SIZE = 96
"""Pixels per side of a crop."""
CROPS = 60
"""Crops per picture."""
PLACES = 16
"""Places tried for each crop."""


@BUILDERS.register("photo_crops")
def open_photo_crops(argument: str) -> Listing:
    """Returns the crops picture by picture; ids are `astronaut/00` to `rocket/59`.

    Raises:
        DataError: scikit-image is not installed or its files are others.
    """
    refuse_argument("photo_crops", argument)
    classes = tuple(Path(name).stem for name in PHOTOS)
    samples = []
    for label, (name, sha256) in enumerate(PHOTOS.items()):
        path = files.locate(f"{FOLDER}/{name}", sha256)
        with Image.open(path) as picture:
            corners = place_crops(picture.size, classes[label])
        for index, corner in enumerate(corners):
            samples.append(_sample(path, label, index, corner))
    return Listing(tuple(samples), classes, verified=True)


def _sample(path: Path, label: int, index: int, corner: tuple[int, int]) -> Sample:
    return Sample(
        id=f"{path.stem}/{index:02d}",
        origin=f"{path.name} at x, y = {corner[0]}, {corner[1]}",
        label=label,
        image=partial(crop, path, corner),
    )


@cache
def place_crops(size: tuple[int, int], seed: str) -> tuple[tuple[int, int], ...]:
    """Returns the upper left corners (x, y) of `CROPS` crops in a picture of the given size."""
    corners = np.empty((0, 2), int)
    for index in range(CROPS):
        places = np.array([_place(size, seed, index, attempt) for attempt in range(PLACES)])
        shared = np.maximum(SIZE - np.abs(places[:, None] - corners), 0).prod(axis=2)
        best = shared.max(axis=1, initial=0).argmin()  # of equal ones the first
        corners = np.concatenate([corners, places[best : best + 1]])
    return tuple((int(x), int(y)) for x, y in corners)


def _place(size: tuple[int, int], seed: str, index: int, attempt: int) -> tuple[int, int]:
    # Hashes instead of a generator: the same places in every version of every library.
    number = files.derive_seed("photo_crops", seed, index, attempt)
    x_places, y_places = size[0] - SIZE + 1, size[1] - SIZE + 1
    return number % x_places, number // x_places % y_places


def overlap(a: tuple[int, int], b: tuple[int, int]) -> int:
    """Returns the number of pixels that two crops share."""
    return max(0, SIZE - abs(a[0] - b[0])) * max(0, SIZE - abs(a[1] - b[1]))


def crop(path: Path, corner: tuple[int, int]) -> Image.Image:
    """Returns one crop, (SIZE, SIZE) pixels, in RGB."""
    x, y = corner
    return _photo(path).crop((x, y, x + SIZE, y + SIZE))


@lru_cache(maxsize=2)
def _photo(path: Path) -> Image.Image:
    # Crops come picture by picture, so each picture is decoded once per pass.
    return decode(path, str(path))
