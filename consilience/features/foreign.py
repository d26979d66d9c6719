"""Features that other tools wrote: read as arrays, with what their files say about the rows.

Nothing in a file is executed: NumPy without pickles, PyTorch with weights only. Besides plain files
the layouts of some tools are known:

- thingsvision: a folder with `features.npy`, `.pt` or `.hdf5`, or with numbered blocks of its rows
  (`features_0-512.npy`, … or `features_1.npy`, …; see `consilience.features.numbered`), and
  `file_names.txt`, one name per row;
- CLIP_benchmark and similarity_consistency: a folder with `features_train.pt`,
  `targets_train.pt`, `features_test.pt`, `targets_test.pt`;
- platonic-rep: a `.pt` file with `feats` (n, layers, d).

Layers have the order of the file. Safetensors keeps none, HDF5 only where it tracks the order of
creation; there it is the natural order of their names, `layer_9` before `layer_10`.
"""

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from consilience.errors import FeaturesError, RefusedError, check_reached
from consilience.features.columns import read_columns
from consilience.features.hdf5 import read_datasets
from consilience.features.numbered import in_order, is_block, layer_order, names_rows
from consilience.features.reading import check_content, read_header
from consilience.features.tensors import load_tensors
from consilience.files import lines_of
from consilience.limits.arrays import check_npy, check_npz
from consilience.limits.reading import DAMAGED, read_text, regular
from consilience.registry import did_you_mean
from consilience.sums import damaged_member

LAYER = "features"
"""The name of a layer that has none."""
KEPT, NATURAL = "the order of the file", "the natural order of their names"
"""Where the order of layers comes from."""
ID_KEYS = ("ids", "id", "file_names")
LABEL_KEYS = ("labels", "targets", "label")
"""What arrays and columns are called that hold no features."""
_NAMES = "file_names.txt"


@dataclass(frozen=True)
class Piece:
    """Features over rows that follow one another."""

    layers: Mapping[str, np.ndarray]
    ids: tuple[str, ...] | None = None
    """What the file calls its rows."""
    labels: np.ndarray | None = None
    split: str = ""
    """`train` or `test`, if the piece is of one split only."""
    samples_hash: str = ""
    """Of the samples, if the file was written here."""
    layer_order: str = KEPT
    blocks: tuple[str, ...] = ()
    """What its rows were put together from, in their order."""

    @property
    def rows(self) -> int:
        """The number of rows of the first layer."""
        return len(next(iter(self.layers.values())))


@dataclass(frozen=True)
class Foreign:
    """What a file or folder holds."""

    pieces: tuple[Piece, ...]
    files: tuple[Path, ...]


def read_foreign(path: str | Path) -> Foreign:
    """Returns the features of a file or of a folder in a known layout.

    Raises:
        FeaturesError: nothing is there, the format is unknown, or the content is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise FeaturesError(f"{path}: no such file or folder")
    if path.is_dir():
        return _read_folder(path)
    piece = _read_file(path)
    names = path.parent / _NAMES
    if piece.ids is None and names.exists() and re.fullmatch(r"features(_\d+)?", path.stem):
        return Foreign((_named(piece, names),), (path, names))
    return Foreign((piece,), (path,))


def read_ids(path: str | Path) -> tuple[str, ...]:
    """Returns ids from a text file, one per line."""
    path = Path(path)
    if not path.is_file():
        raise FeaturesError(f"{path}: no such file of ids")
    ids = lines_of(read_text(path))
    while ids and not ids[-1]:
        ids.pop()
    return tuple(ids)


def choose_layers(layers: Mapping[str, Any], wanted: Sequence[str], place: str) -> list[str]:
    """Returns the names that patterns select, in the order of the layers.

    `last` is the last one, nothing or `all` are all of them.

    Raises:
        FeaturesError: a pattern selects nothing.
    """
    if not wanted or list(wanted) == ["all"]:
        return list(layers)
    chosen: set[str] = set()
    for pattern in wanted:
        found = [name for name in layers if fnmatch.fnmatchcase(name, pattern)]
        if pattern == "last" and not found:
            found = list(layers)[-1:]
        if not found:
            raise FeaturesError(f"{place} has no layer {pattern!r}{did_you_mean(pattern, layers)}")
        chosen.update(found)
    return [name for name in layers if name in chosen]


def _read_folder(path: Path) -> Foreign:
    splits = [path / f"features_{split}.pt" for split in ("train", "test")]
    if any(file.exists() for file in splits):
        return _read_splits(path)
    whole = [path / f"features.{end}" for end in ("npy", "pt", "hdf5", "h5")]
    files, blocks = [file for file in whole if file.exists()][:1], _block_files(path)
    if files and blocks:
        raise FeaturesError(
            f"{path} holds {files[0].name} and blocks of rows ({blocks[0].name}, …); move away "
            "what is not meant, or give the file itself"
        )
    if files:
        piece = _read_file(files[0])
    elif blocks:
        piece, files = _joined({file: _read_file(file) for file in blocks}, path)
    else:
        there = ", ".join(sorted(file.name for file in path.iterdir())[:3]) or "nothing"
        raise FeaturesError(
            f"{path} holds neither features_train.pt, features_test.pt, features.npy, .pt or .hdf5 "
            f"nor blocks of rows (features_0-512.npy, … or features_0.npy, …), but {there}; give "
            "the file itself, or call blocks so"
        )
    names = path / _NAMES
    if names.exists():
        return Foreign((_named(piece, names),), (*files, names))
    return Foreign((piece,), tuple(files))


def _block_files(path: Path) -> list[Path]:
    """Returns the files of a folder that hold blocks of rows, in no order of theirs."""
    files = [
        file for file in sorted(path.glob("features_[0-9]*")) if file.suffix.lower() in _READERS
    ]
    ends = sorted({file.suffix for file in files})
    if len(ends) > 1:
        raise FeaturesError(
            f"{path} holds blocks of rows as {' and as '.join(ends)}; move away those that are "
            "not meant"
        )
    return files


def _joined(found: Mapping[Path, Piece], path: Path) -> tuple[Piece, list[Path]]:
    """Returns the piece that files of blocks make together, and the files in the order of rows."""
    by_stem = {file.stem: file for file in found}
    order = in_order({stem: found[file].rows for stem, file in by_stem.items()}, str(path))
    files = [by_stem[stem] for stem in order]
    pieces = [found[file] for file in files]
    for file, piece in found.items():
        if set(piece.layers) != set(pieces[0].layers):
            raise FeaturesError(
                f"{path}: {files[0].name} has the layers {', '.join(pieces[0].layers)}, "
                f"{file.name} {', '.join(piece.layers)}; write all blocks with the same layers"
            )
    layers = {
        name: _stacked({file.name: found[file].layers[name] for file in files}, name, path)
        for name in pieces[0].layers
    }
    ids = [piece.ids for piece in pieces if piece.ids is not None]
    labels = [piece.labels for piece in pieces if piece.labels is not None]
    piece = Piece(
        layers,
        tuple(one for own in ids for one in own) if len(ids) == len(pieces) else None,
        np.concatenate(labels) if len(labels) == len(pieces) else None,
        layer_order=pieces[0].layer_order,
        blocks=tuple(file.name for file in files),
    )
    return piece, files


def _stacked(blocks: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    try:
        return np.concatenate(list(blocks.values()))
    except ValueError:
        shapes = {block: x.shape for block, x in blocks.items()}
        first = next(iter(shapes))
        other = next((b for b in shapes if shapes[b][1:] != shapes[first][1:]), first)
        raise FeaturesError(
            f"{path}: the blocks of {name!r} do not fit together ({first} has the shape "
            f"{shapes[first]}, {other} {shapes[other]}); write them again"
        ) from None


def _read_splits(path: Path) -> Foreign:
    pieces, files = [], []
    for split in ("train", "test"):
        features, targets = path / f"features_{split}.pt", path / f"targets_{split}.pt"
        if not features.exists():
            continue
        labels = _numbers(load_tensors(targets), targets, "targets") if targets.exists() else None
        piece = _read_file(features)
        pieces.append(replace(piece, ids=None, labels=labels, split=split, samples_hash=""))
        files += [file for file in (features, targets) if file.exists()]
    return Foreign(tuple(pieces), tuple(files))


def _named(piece: Piece, names: Path) -> Piece:
    return replace(piece, ids=read_ids(names))


def _read_file(path: Path) -> Piece:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise FeaturesError(
            f"{path}: cannot read {path.suffix or 'a file without suffix'}; use "
            f"{', '.join(_READERS)} (pickles are refused: they can execute code)"
        )
    try:
        return reader(regular(path))
    except (*DAMAGED, pa.ArrowException) as error:
        check_reached(error, path)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise FeaturesError(f"{path}: cannot be read ({reason})") from None


def _piece(table: Mapping[str, Any], path: Path) -> Piece:
    """Returns the piece that a table of arrays is: layers, and ids and labels by their names."""
    ids = next((table[key] for key in ID_KEYS if key in table), None)
    labels = next((table[key] for key in LABEL_KEYS if key in table), None)
    rest = {k: v for k, v in table.items() if k not in (*ID_KEYS, *LABEL_KEYS)}
    blocks = [name for name in rest if names_rows(name)]
    if blocks:
        rest, blocks = _without_blocks(rest, blocks, path)
    layers: dict[str, np.ndarray] = {}
    for name, value in rest.items():
        layers |= _layers(name, _numbers(value, path, name), path)
    if not layers:
        raise FeaturesError(f"{path} holds no features")
    return Piece(
        layers,
        None if ids is None else tuple(_text(one) for one in _plain(ids)),
        None if labels is None else _numbers(labels, path, "labels"),
        blocks=tuple(blocks),
    )


def _without_blocks(
    table: Mapping[str, Any], names: Sequence[str], path: Path
) -> tuple[dict[str, Any], list[str]]:
    """Returns a table with its blocks of rows as one layer, and the blocks in their order."""
    arrays = {name: _numbers(table[name], path, name) for name in names}
    for name, x in arrays.items():
        if x.ndim == 0 or LAYER in table:
            why = f"{LAYER!r} beside it" if LAYER in table else "no rows"
            raise FeaturesError(
                f"{path}: {name!r} is called like a block of rows and there is {why}; rename it"
            )
    order = in_order({name: len(x) for name, x in arrays.items()}, str(path))
    rest = {name: value for name, value in table.items() if name not in arrays}
    return {**rest, LAYER: _stacked({name: arrays[name] for name in order}, LAYER, path)}, order


def _layers(name: str, x: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    if name == "feats" and x.ndim == 3:  # platonic-rep: (n, layers, d)
        return {f"layer_{i}": x[:, i] for i in range(x.shape[1])}
    if x.ndim != 2:
        remedy = "reduce maps and tokens first (consilience.features.activations)"
        if x.ndim < 2:
            remedy = "stack the vectors of all samples, or leave it out if it is no layer"
        raise FeaturesError(
            f"{path}: {name!r} has the shape {x.shape}, expected (samples, units); {remedy}"
        )
    return {name: x}


def _plain(ids: Any) -> Any:  # noqa: ANN401
    """Returns ids as plain values: of one column too, and of a tensor."""
    listed = ids.tolist() if hasattr(ids, "tolist") else ids
    column = getattr(ids, "ndim", 1) == 2 and ids.shape[1] == 1
    return [one for (one,) in listed] if column else listed


def _text(one: Any) -> str:  # noqa: ANN401
    return one.decode("utf8") if isinstance(one, bytes) else str(one)


def _numbers(value: Any, path: Path, name: str) -> np.ndarray:  # noqa: ANN401
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        value = value.numpy()
    x = np.asarray(value)
    if x.dtype.kind not in "fiub":
        raise FeaturesError(
            f"{path}: {name!r} holds {x.dtype}, which are no numbers; call it one of "
            f"{', '.join(ID_KEYS)} if it names the rows, else leave it out"
        )
    return x


def _read_npy(path: Path) -> Piece:
    check_npy(path)
    return _piece({LAYER: np.load(path, allow_pickle=False)}, path)


def _read_npz(path: Path) -> Piece:
    check_npz(path)
    with np.load(path, allow_pickle=False) as arrays:
        return _piece({name: arrays[name] for name in arrays.files}, path)


def _read_pt(path: Path) -> Piece:
    found = load_tensors(path)
    if damaged := damaged_member(path):  # PyTorch does not look
        raise FeaturesError(f"{path} is damaged: {damaged} has another check sum; write it again")
    if not isinstance(found, Mapping):
        return _piece({LAYER: found}, path)
    if "feats" in found:
        found = {key: found[key] for key in ("feats", *ID_KEYS) if key in found}
    return _piece({str(key): value for key, value in found.items()}, path)


def _read_h5(path: Path) -> Piece:
    found: dict[str, Any]
    found, kept = read_datasets(path)
    blocks = [name for name in found if is_block(name)]
    if blocks:  # thingsvision's blocks of one matrix
        found, blocks = _without_blocks(found, blocks, path)
    piece = _piece(found, path)
    return replace(piece, layer_order=KEPT if kept else NATURAL, blocks=tuple(blocks))


def _read_parquet(path: Path) -> Piece:
    return _piece(read_columns(path, (*ID_KEYS, *LABEL_KEYS), LAYER), path)


def _read_safetensors(path: Path) -> Piece:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - as torch

    try:
        header = read_header(path)
        names = header["layers"]
    except RefusedError:  # a features file that is damaged
        raise
    except FeaturesError:
        header, names = {}, None
    try:
        with safe_open(path, framework="pt") as stream:
            order = names or sorted(stream.keys(), key=layer_order)
            found = {name: stream.get_tensor(name) for name in order}
    except (SafetensorError, ImportError) as error:
        raise FeaturesError(f"{path}: cannot be read ({error})") from None
    for name in names or ():
        check_content(path, name, found[name].numpy())
    piece = _piece(found, path)
    samples_hash = header.get("samples_hash", "")
    return replace(piece, samples_hash=samples_hash, layer_order=KEPT if names else NATURAL)


_READERS: dict[str, Callable[[Path], Piece]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".h5": _read_h5,
    ".hdf5": _read_h5,
    ".parquet": _read_parquet,
    ".safetensors": _read_safetensors,
}
