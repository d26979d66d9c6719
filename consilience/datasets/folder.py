"""Source `folder`: pictures in folders, `CLASS/file`, `SPLIT/CLASS/file`, or just `file`.

The column `name` is the folder. With a blank column `splits` its subfolders are the classes; with
`splits` they are the splits, and those of each split are the classes. A folder that holds pictures
and no subfolders is unlabelled. Ids are the paths relative to the folder, with `/`; the order is
that of the ids. Symbolic links are followed. `sha256` may name the digest of all files used
(`consilience.datasets._base.tree_digest`), which spares trying every picture.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

from consilience.datasets import Sample
from consilience.datasets._base import ROLES, Listing, check_tree, decode, pixel_span, split_roles
from consilience.errors import DataError
from consilience.limits.reading import walk

log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def open(row: Mapping[str, Any]) -> Listing:
    """Returns the dataset in the folder `row["name"]`.

    Raises:
        DataError: the folder or a split is missing, holds no picture, or mixes pictures with
            class folders.
    """
    root = _root(row)
    found: dict[str, tuple[Path, str, str | None]] = {}
    ignored, classes_of = 0, {}
    for base, role in _bases(root, row):
        pictures, others = _scan(base)
        ignored += others
        classes_of[base.name] = {label for _, label in pictures if label is not None}
        for path, label in pictures:
            found[path.relative_to(root).as_posix()] = (path, role, label)
    if ignored:
        log.warning("%s: %d files are not pictures and were ignored", root, ignored)
    classes = tuple(sorted({label for _, _, label in found.values() if label is not None}))
    _check_splits(classes, root, row)
    _check_classes(classes_of, row)
    number = {name: index for index, name in enumerate(classes)}
    span = pixel_span(row)
    verified = check_tree(row, ((id_, path) for id_, (path, _, _) in found.items()))
    samples = (
        Sample(
            id=id_,
            origin=str(path),
            split=role,
            label=None if label is None else number[label],
            image=partial(decode, path, str(path), span),
        )
        for id_, (path, role, label) in sorted(found.items())
    )
    return Listing(tuple(samples), classes, verified)


def look_for(row: Mapping[str, Any]) -> None:
    """Raises DataError if the folder, or that of a split, is not there."""
    list(_bases(_root(row), row))


def _check_splits(classes: Sequence[str], root: Path, row: Mapping[str, Any]) -> None:
    """Raises DataError if folders that would be the classes are all called like splits."""
    if len(classes) > 1 and not row.get("splits") and all(name in ROLES for name in classes):
        raise DataError(
            f"dataset {row.get('dataset')!r}: the folders of {root} are called like splits "
            f"({', '.join(classes)}) and would be taken as classes; write those to read into the "
            f"column splits, such as `{classes[0]}`"
        )


def _check_classes(classes_of: Mapping[str, Set[str]], row: Mapping[str, Any]) -> None:
    """Raises DataError if all pictures of a split lie in a folder that is no class of another."""
    for split, own in classes_of.items():
        others = sorted(set().union(*(c for s, c in classes_of.items() if s != split)))
        if len(own) == 1 and others and not own & set(others):
            raise DataError(
                f"dataset {row.get('dataset')!r}: all pictures of the split {split!r} lie in the "
                f"folder {min(own)!r}, which is no class of the others ({', '.join(others[:3])}, "
                "…) and would be taken as one; move them into folders of their classes, or read "
                "one split alone"
            )


def _root(row: Mapping[str, Any]) -> Path:
    root = Path(row["name"]).expanduser()
    if not root.is_dir():
        raise DataError(
            f"dataset {row.get('dataset')!r}: {root} is not a folder; correct the column name"
        )
    return root


def _bases(root: Path, row: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yields the folders that hold classes, with the role of their split."""
    roles = split_roles(row)
    if not roles:
        yield root, ""
    for split, role in roles.items():
        if not (root / split).is_dir():
            present = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "none"
            raise DataError(
                f"dataset {row.get('dataset')!r}: {root} has no folder {split!r}; "
                f"there are: {present}"
            )
        yield root / split, role


def _scan(base: Path) -> tuple[list[tuple[Path, str | None]], int]:
    """Returns (picture, class) for all pictures under a folder, and the number of other files."""
    flat, ignored = _pictures(base, deep=False)
    labelled: list[tuple[Path, str | None]] = []
    for folder in sorted(p for p in base.iterdir() if p.is_dir() and p.name[0] != "."):
        pictures, others = _pictures(folder, deep=True)
        ignored += others
        labelled += [(path, folder.name) for path in pictures]
        if not pictures:
            log.warning("%s holds no picture and is not taken as a class", folder)
    if flat and labelled:
        raise DataError(
            f"{base} holds pictures ({flat[0].name}, …) beside class folders "
            f"({labelled[0][1]}, …); move the pictures into a class or the classes away"
        )
    if not flat and not labelled:
        raise DataError(f"{base} holds no picture ({', '.join(sorted(SUFFIXES))})")
    return labelled or [(path, None) for path in flat], ignored


def _pictures(folder: Path, *, deep: bool) -> tuple[list[Path], int]:
    """Returns the pictures in a folder (and below, if `deep`) and the number of other files."""
    pictures: list[Path] = []
    others = 0
    seen: set[str] = set()
    for top, below, names in walk(folder, links=True):
        # A link to a parent would never end.
        real = os.path.realpath(top)
        if not deep or real in seen:
            below.clear()
        if real in seen:
            continue
        seen.add(real)
        below[:] = [name for name in below if name[0] != "."]
        paths = [Path(top, name) for name in names if name[0] != "."]
        pictures += [path for path in paths if path.suffix.lower() in SUFFIXES]
        others += sum(path.suffix.lower() not in SUFFIXES for path in paths)
    return pictures, others
