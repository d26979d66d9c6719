"""HDF5: its datasets in the order that they were written in, where the file keeps it."""

from pathlib import Path
from typing import Any

import numpy as np

from consilience.errors import FeaturesError
from consilience.features.numbered import layer_order
from consilience.limits import hold, hold_unpacked


def read_datasets(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    """Returns {path in the file: array} of all datasets, and whether the file keeps their order.

    Where a group does not track the order of creation, its members are in natural order of their
    names. Links to other places are not followed.

    Raises:
        FeaturesError: h5py is not installed.
    """
    try:
        import h5py  # noqa: PLC0415 - an extra
    except ImportError:
        raise FeaturesError(
            f"{path}: reading HDF5 takes h5py; run pip install 'consilience[hdf5]'"
        ) from None
    found: dict[str, np.ndarray] = {}
    kept: list[bool] = []
    sizes: list[int] = []
    seen: set[Any] = set()

    def walk(group: Any, depth: int = 1) -> None:  # noqa: ANN401
        hold("depth", depth, path, "groups in one another")
        seen.add(group)
        names, tracked = _members(group)
        kept.append(tracked)
        for name in names:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            node = group[name]
            if node in seen:  # another name of it
                continue
            if isinstance(node, h5py.Group):
                walk(node, depth + 1)
            elif isinstance(node, h5py.Dataset):
                seen.add(node)
                _check(node, path)
                sizes.append(node.nbytes)
                hold_unpacked(sum(sizes), path.stat().st_size, path)
                found[f"{group.name}/{name}".lstrip("/")] = node[()]

    with h5py.File(path, "r") as stream:
        walk(stream["/"])
    return found, all(kept)


def _check(node: Any, path: Path) -> None:  # noqa: ANN401
    """Raises FeaturesError if the values of a dataset lie in other files, which are not read."""
    if node.is_virtual or node.external:
        raise FeaturesError(
            f"{path}: {node.name!r} keeps its values in other files; write them into this one"
        )


def _members(group: Any) -> tuple[list[str], bool]:  # noqa: ANN401
    """Returns the names in a group in their order, and whether it is that of creation."""
    import h5py  # noqa: PLC0415 - an extra

    if not group.id.get_create_plist().get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED:
        return sorted(group, key=layer_order), False
    names: list[bytes] = []
    group.id.links.iterate(names.append, idx_type=h5py.h5.INDEX_CRT_ORDER)
    return [name.decode() for name in names], True
