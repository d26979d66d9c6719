"""Source `ogb`: nodes of a graph of the Open Graph Benchmark (modality `graph`).

The column `name` is a dataset with a class per node (Hu et al. 2020) and the folder that the
library `ogb` was given as `root`, such as `ogbn-arxiv:data/ogb`. Without a folder the data lie in
`ogb` of the cache folder, where `all_prefetch` puts what it fetches (`ogbn-arxiv`). Read is

```
ROOT/ogbn_arxiv/raw/edge.csv.gz         two numbers of nodes a line
ROOT/ogbn_arxiv/raw/node-feat.csv.gz    the features of a node a line
ROOT/ogbn_arxiv/raw/node-label.csv.gz   the class of a node a line
ROOT/ogbn_arxiv/split/NAME/train.csv.gz, valid.csv.gz, test.csv.gz   a number of a node a line
```

and neither the library nor the pickles in `processed`. The official split, the one folder in
`split`, gives the parts `train`, `validation` and `test`, all other nodes are `rest`, and the
column `splits` names what is wanted of them, as for `graph`; blank for all nodes as one pool. Ids
are the numbers of the nodes, features are as stored, edges count in both directions.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv
from scipy import sparse

from consilience import files
from consilience.datasets._graph import Nodes, make_nodes, part_roles
from consilience.datasets._roots import fetch
from consilience.errors import ConfigError, DataError, check_reached
from consilience.limits.arrays import GzipWithin, check_zip
from consilience.limits.reading import DAMAGED
from consilience.registry import did_you_mean

FETCHED = {"ogbn-arxiv": "http://snap.stanford.edu/ogb/data/nodeproppred/arxiv.zip"}
"""Where the makers keep a dataset."""
EDGES, FEATURES, LABELS = (f"raw/{name}.csv.gz" for name in ("edge", "node-feat", "node-label"))
SPLITS = {"train": "train", "validation": "valid", "test": "test"}
"""Part, and how its file is called."""
_MEMBER = re.compile(r"[\w-]+/(raw/[\w-]+\.csv\.gz|split/[\w-]+/(?:train|valid|test)\.csv\.gz)")
"""What of an archive is taken, below its one folder."""


def open(row: Mapping[str, Any]) -> Nodes:
    """Returns the graph that `row["name"]` names.

    Raises:
        ConfigError: a name of another form, or parts that there are not.
        DataError: files that are missing, damaged, or hold no graph with a class per node.
    """
    place, _, folder = _parse(row)
    roles = part_roles(row, place)
    if is_remote(row):
        prefetch(row)
    try:
        split = _split_folder(folder)
        x = sparse.csr_array(_numbers(folder / FEATURES, np.float32))
        pairs, labels = (_numbers(folder / name, np.int64) for name in (EDGES, LABELS))
        if labels.shape[1] != 1 or pairs.shape[1] != 2:
            raise DataError(f"{folder}: several classes of a node, or edges of more than two nodes")
        parts = {
            part: _numbers(split / f"{name}.csv.gz", np.int64)[:, 0]
            for part, name in SPLITS.items()
        }
        return make_nodes(x, pairs, labels[:, 0], parts, roles)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def look_for(row: Mapping[str, Any]) -> None:
    """Raises an error if a folder that the row names lacks the files."""
    place, kind, folder = _parse(row)
    part_roles(row, place)
    if is_remote(row):
        if kind not in FETCHED:
            hint = did_you_mean(kind, FETCHED)
            raise ConfigError(f"{place}: {kind} is not fetched here{hint}; name its folder too")
        return
    try:
        _split_folder(folder)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def is_remote(row: Mapping[str, Any]) -> bool:
    """Returns whether the data are those of the cache folder."""
    return ":" not in str(row["name"])


def prefetch(row: Mapping[str, Any]) -> None:
    """Fetches the data into the cache from their makers, unless they are there.

    Raises:
        DataError: they cannot be fetched, or what came is no archive of them.
    """
    look_for(row)
    place, kind, folder = _parse(row)
    if not is_remote(row) or _is_there(folder):
        return
    archive = folder.parent / f"{kind}.zip"
    try:
        fetch(FETCHED[kind], archive)
    except DataError as error:
        raise DataError(f"{place}: {error}; or name a folder: {kind}:FOLDER") from error
    try:
        check_zip(archive)
        with zipfile.ZipFile(archive) as found:
            for name in found.namelist():
                if member := _MEMBER.fullmatch(name):
                    with files.atomic(folder / member[1]) as temporary:
                        temporary.write_bytes(found.read(name))
    except DAMAGED as error:
        check_reached(error, archive)
        raise DataError(f"{place}: {archive} is no whole archive ({error}); delete it") from error
    archive.unlink()


def _parse(row: Mapping[str, Any]) -> tuple[str, str, Path]:
    """Returns the place for messages, the dataset, and the folder that holds `raw` and `split`."""
    name = str(row["name"]).strip()
    place = f"dataset {row.get('dataset')!r}, column name ({name!r})"
    kind, colon, root = name.partition(":")
    if not re.fullmatch(r"ogbn-[a-z0-9]+", kind) or (colon and not root):
        raise ConfigError(
            f"{place}: write a dataset of the benchmark and its folder, such as "
            "ogbn-arxiv:data/ogb, or ogbn-arxiv alone"
        )
    folder = Path(root).expanduser() if colon else files.cache_folder() / "ogb"
    return place, kind, folder / kind.replace("-", "_")


def _split_folder(folder: Path) -> Path:
    """Returns the folder of the split; raises DataError if a file is not there."""
    named = sorted(path for path in (folder / "split").glob("*") if path.is_dir())
    if len(named) > 1:
        raise DataError(f"{folder / 'split'} has several splits; leave one of its folders there")
    split = named[0] if named else folder / "split" / "NAME"
    wanted = [folder / name for name in (EDGES, FEATURES, LABELS)]
    for path in [*wanted, *(split / f"{name}.csv.gz" for name in SPLITS.values())]:
        if not path.is_file():
            raise DataError(f"{path}: no such file; lay the dataset there as the library ogb does")
    return split


def _is_there(folder: Path) -> bool:
    try:
        return bool(_split_folder(folder))
    except DataError:
        return False


def _numbers(path: Path, kind: type) -> np.ndarray:
    """Returns the numbers of a table without a head, (lines, columns).

    Raises:
        DataError: it cannot be unpacked, or holds something else, or blanks.
    """
    head = csv.ReadOptions(autogenerate_column_names=True)
    try:
        with GzipWithin(path) as stream:
            table = csv.read_csv(stream, read_options=head)
        if any(column.null_count for column in table.columns):
            raise DataError(f"{path} has blank cells; fetch it again")
        found = np.stack([column.to_numpy() for column in table.columns], 1)
        numbers = found.astype(kind)
    except (*DAMAGED, pa.ArrowException) as error:
        check_reached(error, path)
        raise DataError(f"{path} is damaged, or no table of numbers ({error})") from error
    if np.issubdtype(kind, np.integer) and (numbers != found).any():
        raise DataError(f"{path} holds fractions, and whole numbers are meant")
    return numbers
