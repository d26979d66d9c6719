"""Features files and their manifest: writing with checks, reading without a deep-learning library.

A features file is a safetensors file of one (n, d) tensor per layer. The format keeps neither the
order of its tensors nor that of its metadata, so the whole header is one JSON text under one key:
then equal content gives equal bytes.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from consilience.errors import FeaturesError
from consilience.files import METADATA_KEY, atomic, canonical_json, write_table
from consilience.registry import did_you_mean

logger = logging.getLogger(__name__)

DTYPES = ("float32", "float16")
_KEY = METADATA_KEY.decode()
_REQUIRED = ("model", "dataset", "samples_hash")


def write_features(
    out: str | Path,
    features: Mapping[str, np.ndarray],
    header: Mapping[str, Any],
    ids: Sequence[str],
    dtype: str = "float32",
) -> None:
    """Writes features/{dataset}/{model}.safetensors, or nothing if the features are not sound.

    Args:
        out: the file to write.
        features: {layer: (n, d)}, in layer order.
        header: at least the model's row (with the key `model`), the dataset's id and the samples
            hash, under the keys `model`, `dataset`, `samples_hash`; anything JSON-like beside it.
            Added here: n, dtype, layers in order, and {layer: …} as shapes and (content) hashes.
        ids: the n sample ids, in samples order.
        dtype: `float32` or `float16`, how features are stored.

    Raises:
        FeaturesError: no layers, a layer that is not (n, d), or a value that is not finite.
    """
    check_dtype(dtype)
    absent = [key for key in _REQUIRED if key not in header]
    if absent or not features:
        lack = f"without {', '.join(absent)} in the header" if absent else "without any layer"
        raise FeaturesError(f"{out}: features cannot be written {lack}")
    place = f"model {header['model']['model']!r}, dataset {header['dataset']!r}"
    stored = {}
    for layer, x in features.items():
        check_block(x, ids, f"{place}, layer {layer!r}")
        stored[layer] = store_as(np.ascontiguousarray(x), dtype)
        check_finite(stored[layer], ids, f"{place}, layer {layer!r}")
        if len(ids) > 1 and bool((stored[layer] == stored[layer][0]).all()):
            logger.warning("%s, layer %r: all %d samples are alike", place, layer, len(ids))
    whole = {
        **header,
        "n": len(ids),
        "dtype": dtype,
        "layers": list(stored),
        "shapes": {layer: list(x.shape) for layer, x in stored.items()},
        "hashes": {layer: content_hash(x) for layer, x in stored.items()},
    }
    with atomic(out) as temporary:
        save_file(stored, temporary, metadata={_KEY: canonical_json(whole)})


def check_dtype(dtype: str) -> None:
    """Raises FeaturesError unless features can be stored as `dtype`."""
    if dtype not in DTYPES:
        raise FeaturesError(f"unknown dtype {dtype!r}{did_you_mean(dtype, DTYPES)}")


def check_block(x: np.ndarray, ids: Sequence[str], place: str) -> None:
    """Raises FeaturesError unless `x` is (n, d) with one row per id and d ≥ 1."""
    if x.ndim != 2 or len(x) != len(ids) or x.shape[1] == 0:
        raise FeaturesError(
            f"{place}: features of shape {x.shape} for {len(ids)} samples; expected one row each"
        )


def store_as(x: np.ndarray, dtype: str) -> np.ndarray:
    """Returns `x` in the stored type; what is too large for it becomes infinite, unannounced."""
    with np.errstate(over="ignore"):
        return x.astype(dtype, copy=False)


def check_finite(x: np.ndarray, ids: Sequence[str], place: str) -> None:
    """Raises FeaturesError naming the first sample with a value that is NaN or infinite.

    Args:
        x: (n, d) features as they are to be stored.
        ids: the n sample ids.
        place: model, dataset and layer, for the message.
    """
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        remedy = "turn autocast off, or check the weights and this sample"
        if x.dtype == np.float16:
            remedy = f"store float32, {remedy}"
        raise FeaturesError(
            f"{place}: {len(bad)} of {len(ids)} samples have values that are not finite, first "
            f"{ids[bad[0]]!r}; {remedy}"
        )


def content_hash(x: np.ndarray) -> str:
    """Returns the SHA-256 over type, shape and bytes of an array."""
    total = hashlib.sha256(f"{x.dtype.str}{x.shape}".encode())
    total.update(np.ascontiguousarray(x).data)
    return total.hexdigest()


def read_header(path: str | Path) -> dict[str, Any]:
    """Returns the header of a features file (see `write_features`) without reading features.

    Raises:
        FeaturesError: the file is missing, damaged, or no features file.
    """
    with _open(path) as stream:
        text = (stream.metadata() or {}).get(_KEY)
    if text is None:
        raise FeaturesError(f"{path} is no features file: its header is missing; {_again(path)}")
    return json.loads(text)


def read_layer(path: str | Path, layer: str) -> np.ndarray:
    """Returns the features (n, d) of one layer; the other layers are not read.

    Raises:
        FeaturesError: the file is missing or damaged, or has no such layer.
    """
    with _open(path) as stream:
        if layer not in stream.keys():  # noqa: SIM118 - not a mapping
            hint = did_you_mean(layer, stream.keys())
            raise FeaturesError(f"{path} has no layer {layer!r}{hint}")
        return stream.get_tensor(layer)


@contextmanager
def _open(path: str | Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="numpy") as stream:
            yield stream
    except FileNotFoundError as error:
        raise FeaturesError(f"{path}: no such features file; run snakemake to make it") from error
    except (SafetensorError, OSError) as error:
        raise FeaturesError(f"{path} cannot be read ({error}); {_again(path)}") from error


def _again(path: str | Path) -> str:
    return f"delete {Path(path).name} and run snakemake again"


def check_samples(header: Mapping[str, Any], samples_hash: str, path: str | Path) -> None:
    """Raises FeaturesError unless the features of `header` belong to the samples of that hash."""
    if header["samples_hash"] != samples_hash:
        raise FeaturesError(
            f"{path} holds features of other samples (hash {header['samples_hash'][:12]}, expected "
            f"{samples_hash[:12]}); {_again(path)}"
        )


def write_manifest(paths: Iterable[str | Path], out: str | Path) -> None:
    """Writes features/{dataset}/manifest.parquet: one row per model and layer.

    Columns: model, layer, position (of the layer, from 0), n, d, dtype, hash (of the content),
    samples_hash, file (relative to the manifest); sorted by model and position, whatever the order
    of `paths`.

    Raises:
        FeaturesError: no files, one model twice, or files over different samples (names both).
    """
    headers = {Path(path): read_header(path) for path in paths}
    if not headers:
        raise FeaturesError(f"{out}: a manifest needs at least one features file")
    _check_together(headers)
    rows = [row for path, header in headers.items() for row in _rows(path, header, Path(out))]
    table = pd.DataFrame(rows).sort_values(["model", "position"], ignore_index=True)
    first = next(iter(headers.values()))
    metadata = {"dataset": first["dataset"], "samples_hash": first["samples_hash"]}
    write_table(table, out, metadata)


def _check_together(headers: Mapping[Path, Mapping[str, Any]]) -> None:
    first, *_ = headers
    seen: dict[str, Path] = {}
    for path, header in headers.items():
        if header["samples_hash"] != headers[first]["samples_hash"]:
            raise FeaturesError(
                f"{first} and {path} hold features of different samples; delete the older one "
                "and run snakemake again"
            )
        twin = seen.setdefault(header["model"]["model"], path)
        if twin != path:
            raise FeaturesError(f"{twin} and {path} are both of model {header['model']['model']!r}")


def _rows(path: Path, header: Mapping[str, Any], out: Path) -> Iterator[dict[str, Any]]:
    file = Path(os.path.relpath(path, out.parent)).as_posix()
    for position, layer in enumerate(header["layers"]):
        yield {
            "model": header["model"]["model"],
            "layer": layer,
            "position": position,
            "n": header["n"],
            "d": header["shapes"][layer][1],
            "dtype": header["dtype"],
            "hash": header["hashes"][layer],
            "samples_hash": header["samples_hash"],
            "file": file,
        }
