"""Source `pyg`: nodes of a graph as PyTorch Geometric lays it out (modality `graph`).

The column `name` is a dataset of the library (Fey and Lenssen 2019) and the folder that was its
`root`, such as `Planetoid/Cora:data/planetoid` or `Flickr:data/flickr`. Without a folder the data
lie in `pyg` of the cache folder, where `all_prefetch` puts what it fetches (`Flickr`).

Read is `processed/data.pt`, which the library writes when it opens a dataset, or of datasets laid
out as Flickr is the four files in `raw`. Nothing in a file is run and nothing of the library is
imported: pickles, which `raw` of Planetoid holds, are refused, and so is a `data.pt` with more than
tensors. Whoever trusts such files opens them once with the library, which then writes `data.pt`:

```
python -c "from torch_geometric.datasets import Planetoid; Planetoid('data/planetoid', 'Cora')"
```

Ids are the numbers of the nodes. The official masks are the parts `train`, `validation` and `test`,
all other nodes `rest`, and the column `splits` names what is wanted of them, as for `graph`; blank
for all nodes as one pool. Edges count in both directions, self loops not. Features are as stored,
but those of Planetoid divided by their sum, as is usual.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from consilience import files
from consilience.datasets._graph import Nodes, make_nodes, normalize_rows, part_roles
from consilience.datasets._hub import is_offline
from consilience.errors import ConfigError, DataError, check_reached
from consilience.limits import hold_unpacked
from consilience.limits.arrays import check_npy, check_npz, check_tensors, check_zip
from consilience.limits.pickles import reason
from consilience.limits.reading import DAMAGED, parse_json, read_text

MASKS = {"train": "train_mask", "validation": "val_mask", "test": "test_mask"}
ROLES = {"train": "tr", "validation": "va", "test": "te"}
"""Part, and its key in `role.json`."""
RAW = ("adj_full.npz", "feats.npy", "class_map.json", "role.json")
FETCHED = ("Flickr",)
"""Datasets that the library can fetch and lay out without reading a pickle."""
PLANETOID = "Planetoid"
_CLASS = "torch_geometric.data.data.Data"
"""The one name in a `data.pt` that stands for no tensor."""

Arrays = tuple[sparse.csr_array, np.ndarray, np.ndarray, dict[str, np.ndarray]]
"""Features (n, f), pairs (m, 2), labels (n,) and the rows of each part."""


def open(row: Mapping[str, Any]) -> Nodes:
    """Returns the graph that `row["name"]` names.

    Raises:
        ConfigError: a name of another form, or parts that there are not.
        DataError: files that are missing, would run code, or hold no graph with classes and masks.
    """
    place, kind, root = _parse(row)
    roles = part_roles(row, place)
    if is_remote(row):
        prefetch(row)
    try:
        folder = _folder(kind, root)
        path = folder / "processed" / "data.pt"
        x, *others = _read_processed(path) if path.is_file() else _read_raw(folder / "raw")
        x = normalize_rows(x) if kind.startswith(f"{PLANETOID}/") else x
        return make_nodes(x, *others, roles)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def look_for(row: Mapping[str, Any]) -> None:
    """Raises an error if a folder that the row names lacks the files."""
    place, kind, root = _parse(row)
    part_roles(row, place)
    if not is_remote(row) and not _is_there(_folder(kind, root)):
        raise DataError(f"{place}: {_lacking(kind, root)}")


def is_remote(row: Mapping[str, Any]) -> bool:
    """Returns whether the data are those of the cache folder."""
    return ":" not in str(row["name"])


def prefetch(row: Mapping[str, Any]) -> None:
    """Fetches the data into the cache, by the library, unless they are there.

    Raises:
        DataError: they cannot be had, or not without running what is in them.
    """
    place, kind, root = _parse(row)
    if not is_remote(row) or _is_there(_folder(kind, root)):
        return
    if kind not in FETCHED:
        raise DataError(f"{place}: {_lacking(kind, root)}")
    if is_offline():
        raise DataError(
            f"{place}: {kind} was never fetched, and HF_HUB_OFFLINE forbids to do so now; run "
            f"`snakemake all_prefetch` where there is a network, or name a folder: {kind}:FOLDER"
        )
    try:
        from torch_geometric import datasets  # noqa: PLC0415 - only to fetch

        getattr(datasets, kind)(str(root))
    except ImportError as error:
        raise DataError(
            f"{place}: torch-geometric cannot be imported ({error}), which is to fetch it; install "
            "it: pip install --no-deps -r envs/graph.txt"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{place}: torch-geometric cannot fetch {kind} ({error}); lay it into {root}/raw "
            f"({', '.join(RAW)}) by hand"
        ) from error


def _parse(row: Mapping[str, Any]) -> tuple[str, str, Path]:
    """Returns the place for messages, the dataset, and the `root` that the library would have."""
    name = str(row["name"]).strip()
    place = f"dataset {row.get('dataset')!r}, column name ({name!r})"
    kind, colon, folder = name.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9]+(/[A-Za-z0-9._-]+)?", kind) or (colon and not folder):
        raise ConfigError(
            f"{place}: write a dataset of PyTorch Geometric and its folder, such as "
            "Planetoid/Cora:data/planetoid, or the dataset alone"
        )
    cached = files.cache_folder() / "pyg" / kind.partition("/")[0]
    return place, kind, Path(folder).expanduser() if colon else cached


def _folder(kind: str, root: Path) -> Path:
    """Returns the folder that holds `raw` and `processed`."""
    return root / kind.partition("/")[2]


def _is_there(folder: Path) -> bool:
    if (folder / "processed" / "data.pt").is_file():
        return True
    return all((folder / "raw" / name).is_file() for name in RAW)


def _lacking(kind: str, root: Path) -> str:
    """Returns what a folder lacks, and how it comes there."""
    name, _, inner = kind.partition("/")
    given = ", ".join(map(repr, filter(None, [str(root), inner])))
    return (
        f"{_folder(kind, root)} holds no processed/data.pt (files in raw that are pickles are not "
        "read: they could run code); open it once with PyTorch Geometric, which writes it: "
        f'python -c "from torch_geometric.datasets import {name}; {name}({given})"'
    )


def _read_processed(path: Path) -> Arrays:
    """Returns the arrays of a `data.pt`, of which nothing is run.

    Raises:
        DataError: it holds more than tensors, or not all that is needed.
    """
    import torch  # noqa: PLC0415 - a plan loads no deep-learning library

    check_zip(path)
    stand_in = type("Data", (), {})  # never made, only named in the file
    try:
        with torch.serialization.safe_globals([(stand_in, _CLASS)]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        check_reached(error, path)
        raise DataError(
            f"{path} is damaged, or holds more than tensors, which could run code "
            f"({reason(error)}); delete it and have PyTorch Geometric 2.4 or later "
            "write it again"
        ) from error
    found = content[0] if isinstance(content, tuple) and content else {}
    wanted = ("x", "edge_index", "y", *MASKS.values())
    kept = found if isinstance(found, dict) else {}
    lacking = [key for key in wanted if not isinstance(kept.get(key), torch.Tensor)]
    if lacking:
        raise DataError(f"{path} has no tensor {lacking[0]!r}; name a graph with classes and masks")
    size = path.stat().st_size
    hold_unpacked(sum(kept[key].numel() * kept[key].element_size() for key in wanted), size, path)
    check_tensors({k: kept[k] for k in wanted if "sparse" not in str(kept[k].layout)}, size, path)
    arrays = {key: kept[key].to_dense().numpy() for key in wanted}
    n = len(arrays["x"])
    labels = arrays["y"][:, 0] if arrays["y"].shape == (n, 1) else arrays["y"]
    for mask in MASKS.values():
        if arrays[mask].shape != (n,):
            shape = arrays[mask].shape
            raise DataError(f"{path}: {mask} has the shape {shape}, and there is one split of {n}")
    parts = {part: np.flatnonzero(arrays[mask]) for part, mask in MASKS.items()}
    return sparse.csr_array(arrays["x"]), arrays["edge_index"].T, labels, parts


def _read_raw(folder: Path) -> Arrays:
    """Returns the arrays of the four files that GraphSAINT (Zeng et al. 2020) defines.

    Raises:
        DataError: one is missing, damaged, or holds Python objects; a sample of several classes.
    """
    for name in RAW:
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file, nor a processed/data.pt beside raw")
    try:
        check_npz(folder / "adj_full.npz")
        check_npy(folder / "feats.npy")
        with np.load(folder / "adj_full.npz", allow_pickle=False) as file:
            given = (file["data"], file["indices"], file["indptr"])
            adjacency = sparse.csr_array(given, shape=tuple(file["shape"])).tocoo()
        x = sparse.csr_array(np.load(folder / "feats.npy", allow_pickle=False))
        classes, roles = (parse_json(read_text(folder / name), folder / name) for name in RAW[2:])
        labels = np.full(x.shape[0], -1)
        for node, label in classes.items():
            labels[int(node)] = int(label)
        parts = {part: np.array(roles[key], np.int64) for part, key in ROLES.items()}
    except DAMAGED as error:
        check_reached(error, folder)
        raise DataError(
            f"{folder}: the files are damaged, hold Python objects, which are not read, or several "
            f"classes of a node ({type(error).__name__}: {error}); fetch them again"
        ) from error
    return x, np.stack([adjacency.row, adjacency.col], 1).astype(np.int64), labels, parts
