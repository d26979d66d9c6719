"""Features made elsewhere become a features file, once it is certain which row is which sample."""

import importlib.metadata
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from consilience import __version__
from consilience.errors import FeaturesError
from consilience.features.foreign import (
    Foreign,
    Piece,
    choose_layers,
    read_foreign,
    read_ids,
)
from consilience.features.numbered import listed
from consilience.features.store import write_features
from consilience.files import canonical_json, digest, file_digest, natural_order
from consilience.models.imported import ORDERS
from consilience.registry import did_you_mean
from consilience.samples import Samples, read_samples

logger = logging.getLogger(__name__)

REMEDIES = {
    "ids": "--ids FILE, one per line",
    "samples": "--order samples",
    "subset": "--order subset",
}
"""How the command `consilience import` is told what rows are."""


def import_features(
    path: str | Path,
    samples_path: str | Path,
    model: str,
    out: str | Path,
    *,
    order: str = "ids",
    ids_path: str | Path | None = None,
    layers: Sequence[str] = (),
) -> None:
    """Writes a features file from features that another tool made.

    Args:
        path: a file or folder that `features.foreign` reads.
        samples_path: samples/{dataset}.parquet, the samples that the features are of.
        model: id of the model.
        out: the features file to write.
        order: a key of `consilience.models.imported.ORDERS`; `samples` is a promise that only the
            caller can make.
        ids_path: text file with the id of each row, for files that do not hold their own.
        layers: names or patterns of the layers to take (default: all).

    Raises:
        FeaturesError: the file cannot be read, or its rows are not beyond doubt the samples.
    """
    if not Path(samples_path).is_file():
        raise FeaturesError(f"{samples_path}: no such samples table; run snakemake to make it")
    samples = read_samples(samples_path)
    taken, provenance = aligned(path, samples, order=order, ids_path=ids_path, layers=layers)
    header = {
        "model": {"model": model, "source": "imported", "name": str(path)},
        "dataset": samples.row["dataset"],
        "samples_hash": samples.hash,
        "provenance": provenance,
        "consilience": __version__,
    }
    write_features(out, taken, header, samples.table["id"].tolist())


def aligned(
    path: str | Path,
    samples: Samples,
    *,
    order: str = "ids",
    ids_path: str | Path | None = None,
    layers: Sequence[str] = (),
    remedies: Mapping[str, str] = REMEDIES,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns {layer: (n, d)} with the rows of the samples, and where they come from.

    Args:
        path: see `import_features`.
        samples: whose rows are wanted.
        order: see `import_features`.
        ids_path: see `import_features`.
        layers: see `import_features`.
        remedies: how each of `REMEDIES` is said by whoever asks, for messages.

    Raises:
        FeaturesError: see `import_features`.
    """
    if order not in ORDERS:
        raise FeaturesError(f"unknown order {order!r}{did_you_mean(order, ORDERS)}")
    foreign = read_foreign(path)
    if ids_path:
        foreign = _with_ids(foreign, read_ids(ids_path), path)
    names = choose_layers(foreign.pieces[0].layers, layers, str(path))
    table = samples.table
    first = foreign.pieces[0]
    if len(foreign.pieces) == 1 and first.samples_hash == samples.hash:
        rows, how = np.arange(len(table)), "the file names the same samples"
    elif order == "samples":
        rows, how = _in_order(foreign, table, path), ORDERS[order]
    else:
        rows, how = _by_id(foreign, table, path, order == "subset", remedies), ORDERS[order]
    taken = {name: _gather(foreign, rows, name, path) for name in names}
    provenance = {
        "architecture": "unknown",
        "weights": "imported",
        "weights_sha256": _digest(foreign),
        "revision": "",
        "transform": "unknown",
        "pooling": "unknown",
        "rows": how,
        "libraries": canonical_json({"numpy": importlib.metadata.version("numpy")}),
        **_orders(foreign.pieces[0], names, path),
    }
    return taken, provenance


def _orders(piece: Piece, taken: Sequence[str], path: str | Path) -> dict[str, str]:
    """Returns, and logs, the order of blocks of rows and which layer was taken as last."""
    orders = {}
    if piece.blocks:
        orders["blocks"] = listed(piece.blocks)
        logger.info("%s: blocks of rows, %s", path, orders["blocks"])
    if len(piece.layers) > 1:
        orders["last_layer"] = f"{taken[-1]} of {len(piece.layers)}, in {piece.layer_order}"
        logger.info("%s: the last layer is %s", path, orders["last_layer"])
    return orders


def _digest(foreign: Foreign) -> str:
    """Returns the SHA-256 of the file, or for several files of their names and hashes."""
    if len(foreign.files) == 1:
        return file_digest(foreign.files[0])
    return digest([[path.name, file_digest(path)] for path in foreign.files])


def _with_ids(foreign: Foreign, ids: tuple[str, ...], path: str | Path) -> Foreign:
    if len(foreign.pieces) > 1:
        raise FeaturesError(f"{path} holds splits apart, for which a list of ids is not understood")
    piece = foreign.pieces[0]
    return Foreign((replace(piece, ids=ids, samples_hash=""),), foreign.files)


def _by_id(
    foreign: Foreign,
    table: pd.DataFrame,
    path: str | Path,
    more: bool,
    remedies: Mapping[str, str],
) -> np.ndarray:
    """Returns for each sample the row of the file that has its id."""
    piece = foreign.pieces[0]
    if len(foreign.pieces) > 1 or piece.ids is None:
        raise FeaturesError(
            f"{path} does not say which row is which sample; give the ids ({remedies['ids']}), or "
            f"state that its rows are in the order of the samples ({remedies['samples']})"
        )
    if len(piece.ids) != piece.rows:
        raise FeaturesError(f"{path}: {len(piece.ids)} ids for {piece.rows} rows")
    wanted = table["id"].tolist()
    ids = _shortened(piece.ids, set(wanted))
    place = {name: row for row, name in enumerate(ids)}
    if len(place) < len(ids):
        twice = next(name for row, name in enumerate(ids) if place[name] != row)
        raise FeaturesError(f"{path}: two rows have the id {twice!r}")
    missing = [name for name in wanted if name not in place]
    if missing:
        raise FeaturesError(
            f"{path} lacks {len(missing)} of {len(wanted)} samples, first {missing[0]!r}; its own "
            f"ids begin with {ids[0]!r}"
        )
    if len(ids) > len(wanted) and not more:
        other = next(name for name in ids if name not in set(wanted))
        raise FeaturesError(
            f"{path} has {len(ids) - len(wanted)} rows of unknown ids, first {other!r}; if the "
            f"samples are meant to be a part of the file, say so ({remedies['subset']})"
        )
    return np.array([place[name] for name in wanted])


def _shortened(ids: Sequence[str], wanted: set[str]) -> list[str]:
    """Returns ids without so many leading folders that the samples are among them."""
    ids = [name.replace("\\", "/") for name in ids]
    deepest = max((name.count("/") for name in ids), default=0)
    for depth in range(deepest + 1):
        short = [name.split("/", depth)[-1] for name in ids]
        if wanted <= set(short):
            return short
    return ids


def _in_order(foreign: Foreign, table: pd.DataFrame, path: str | Path) -> np.ndarray:
    """Returns for each sample its row, counted through all pieces; labels must agree."""
    _warn_of_order(table["id"].tolist(), path)
    _check_ids(foreign, table["id"].tolist(), path)
    rows = []
    for piece in foreign.pieces:
        mine = np.arange(len(table))
        if piece.split and len(foreign.pieces) > 1:
            mine = np.flatnonzero((table["split"] == piece.split).to_numpy())
        what = f"{len(mine)} samples" + (f" of the split {piece.split}" if piece.split else "")
        if piece.rows != len(mine):
            raise FeaturesError(f"{path} has {piece.rows} rows for {what}; give ids instead")
        _check_labels(piece, table.iloc[mine], path)
        rows.append(mine)
    covered = np.concatenate(rows)
    if len(covered) < len(table):
        raise FeaturesError(f"{path} covers {len(covered)} of {len(table)} samples: a split lacks")
    return np.argsort(covered, kind="stable")


def _warn_of_order(ids: Sequence[str], path: str | Path) -> None:
    """Warns where samples stand in the order of letters, and that of numbers would be another."""
    by_number = sorted(ids, key=natural_order)
    if list(ids) != sorted(ids) or list(ids) == by_number:
        return
    row = next(row for row, name in enumerate(ids) if name != by_number[row])
    logger.warning(
        "%s: the samples are in alphabetical order of their ids, where row %d is %s; if the rows "
        "of the file count up, that row is %s: then give ids instead of the order samples",
        path, row, ids[row], by_number[row],
    )  # fmt: skip


def _check_ids(foreign: Foreign, wanted: Sequence[str], path: str | Path) -> None:
    """Raises FeaturesError if a file holds the ids of the samples, in another order than theirs."""
    own = foreign.pieces[0].ids if len(foreign.pieces) == 1 else None
    ids = _shortened(own or (), set(wanted))
    if sorted(ids) != sorted(wanted) or ids == wanted:
        return
    row = next(row for row, name in enumerate(ids) if name != wanted[row])
    raise FeaturesError(
        f"{path}: the rows are said to be in the order of the samples, and by the file's own ids "
        f"row {row} is {ids[row]!r}, where the sample is {wanted[row]!r}; leave the order to the "
        "ids, or take them out of the file if they are wrong"
    )


def _check_labels(piece: Piece, table: pd.DataFrame, path: str | Path) -> None:
    if piece.labels is None or piece.labels.ndim != 1 or table["label"].isna().any():
        return
    if len(piece.labels) != len(table):
        raise FeaturesError(f"{path}: {len(piece.labels)} labels for {len(table)} rows")
    wrong = np.flatnonzero(piece.labels != table["label"].to_numpy(np.int64))
    if len(wrong):
        row = wrong[0]
        raise FeaturesError(
            f"{path}: {len(wrong)} of {len(table)} labels are not those of the samples, first row "
            f"{row} ({piece.labels[row]}, sample {table['id'].iloc[row]!r} has "
            f"{table['label'].iloc[row]}): the rows are not in the order of the samples"
        )


def _gather(foreign: Foreign, rows: np.ndarray, name: str, path: str | Path) -> np.ndarray:
    try:
        x = np.concatenate([piece.layers[name] for piece in foreign.pieces])
    except (KeyError, ValueError) as error:
        raise FeaturesError(f"{path}: the splits do not fit together ({error})") from None
    expected = sum(piece.rows for piece in foreign.pieces)
    if len(x) != expected:
        raise FeaturesError(f"{path}: layer {name!r} has {len(x)} rows, others {expected}")
    chosen = x[rows]
    with np.errstate(over="ignore"):
        stored = chosen.astype(np.float32)
    if (
        chosen.dtype.itemsize > stored.dtype.itemsize
        and (lost := np.flatnonzero((np.isfinite(chosen) & ~np.isfinite(stored)).any(axis=1))).size
    ):
        raise FeaturesError(
            f"{path}: {len(lost)} of {len(chosen)} rows of layer {name!r} have values that float32 "
            f"cannot hold, first row {rows[lost[0]]} ({np.nanmax(np.abs(chosen[lost[0]])):.3g}); "
            "rescale them"
        )
    return stored
