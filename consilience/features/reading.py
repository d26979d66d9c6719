"""Features files: read without a deep-learning library, and no more of them than is asked for.

Whoever reads a layer reads it here, and gets the content that was written: what a layer holds is
compared with the hash in the file's header (`consilience.features.soundness`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from consilience.errors import FeaturesError, RefusedError
from consilience.features.container import again, loaded, opened, picked, read_entries
from consilience.features.soundness import check_tensor
from consilience.files import METADATA_KEY
from consilience.limits.reading import parse_json
from consilience.places import check_file
from consilience.registry import did_you_mean

_KEY = METADATA_KEY.decode()
_KINDS = {
    "layers": list,
    "model": dict,
    "dataset": str,
    "samples_hash": str,
    "n": int,
    "dtype": str,
    "shapes": dict,
    "hashes": dict,
}
"""What every header has, and of which type."""


def read_header(path: str | Path) -> dict[str, Any]:
    """Returns the header of a features file (see `write_features`) without reading features.

    Raises:
        FeaturesError: the file is missing, damaged, or no features file.
        DataError: it is of another dataset or model than its place among results says.
    """
    with opened(path) as stream:
        text, names = (stream.metadata() or {}).get(_KEY), list(stream.keys())
    if text is None:
        raise FeaturesError(f"{path} is no features file: its header is missing; {again(path)}")
    header = parse_json(text, f"{path} is no features file: its header")
    if not isinstance(header, dict):
        raise RefusedError(f"{path} is no features file: its header is no mapping; {again(path)}")
    if "layers" not in header:
        raise FeaturesError(
            f"{path} is no features file: its header names no layers, as that of trained weights; "
            "features of a model lie in results/features/{dataset}/{model}.safetensors"
        )
    if wrong := _wrong(header, names):
        raise RefusedError(f"{path} is no features file: its header has {wrong}; {again(path)}")
    model = header.get("model", {}).get("model")
    said = {"dataset": header.get("dataset"), "model": model}
    check_file(path, {kind: name for kind, name in said.items() if name is not None})
    return header


def _wrong(header: Mapping[str, Any], names: Sequence[str]) -> str:
    """Returns what of a header is not as `write_features` writes it, or ""."""
    for key, kind in _KINDS.items():
        if not isinstance(header.get(key), kind):
            return f"no {key} of the type {kind.__name__}"
    if not isinstance(header["model"].get("model"), str):
        return "no name of the model"
    tensors = [*header["layers"], *header.get("outputs", [])]
    if not header["layers"] or not all(isinstance(name, str) for name in tensors):
        return "no list of layers"
    for name in tensors:
        if name not in names or name not in header["shapes"] or name not in header["hashes"]:
            return f"{name!r}, of which the file has no tensor, shape or hash"
    return ""


def read_layer(path: str | Path, layer: str, rows: Any = None) -> np.ndarray:  # noqa: ANN401
    """Returns the features (n, d) of one layer, or of an output; other tensors are not read.

    Args:
        path: the features file.
        layer: name of the layer or output.
        rows: indexes of the rows wanted, in any order; only these are read from the disk.

    The content of the whole tensor is compared with the hash of the header: see `check_tensor`.

    Raises:
        FeaturesError: the file is missing, damaged or edited, or has no such layer or rows.
    """
    entries, metadata = read_entries(path)
    if layer not in entries:
        raise FeaturesError(f"{path} has no layer {layer!r}{did_you_mean(layer, entries)}")
    if rows is None:
        x = loaded(path, entries[layer])
        check_tensor(path, layer, entries[layer], metadata, x)
        return x
    check_tensor(path, layer, entries[layer], metadata)
    rows, n = np.asarray(rows), entries[layer].shape[0]
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise FeaturesError(
            f"{path}: rows must be a list of indexes, not {rows.dtype} {rows.shape}"
        )
    if rows.size and (rows.min() < 0 or rows.max() >= n):
        wrong = int(rows.min() if rows.min() < 0 else rows.max())
        raise FeaturesError(f"{path}: layer {layer!r} has the rows 0 to {n - 1}, not {wrong}")
    return picked(path, entries[layer], rows)


def check_content(path: str | Path, name: str, x: np.ndarray) -> None:
    """Raises FeaturesError unless `x`, read otherwise, is what a features file holds as `name`.

    A file without a header of ours is not judged.
    """
    entries, metadata = read_entries(path)
    if _KEY in metadata:
        check_tensor(path, name, entries[name], metadata, x)


def check_same_stimuli(headers: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises FeaturesError if features files are of other samples, or of another order of them.

    Args:
        headers: {what a message calls the features: header, or nothing where none is known}. What
            has no `samples_hash`, such as an array, is taken to be of the same samples.
    """
    known = {name: header for name, header in headers.items() if header.get("samples_hash")}
    if not known:
        return
    first, *others = known
    for name in others:
        if known[name]["samples_hash"] != known[first]["samples_hash"]:
            one, other = (
                f"{key} is of dataset {known[key].get('dataset')!r} "
                f"(samples {known[key]['samples_hash'][:12]})"
                for key in (first, name)
            )
            raise FeaturesError(
                f"{one}, and {other}: only features of the same samples in the same order compare; "
                "extract both models on one dataset"
            )


def check_samples(
    header: Mapping[str, Any], samples_hash: str, path: str | Path, dataset: str | None = None
) -> None:
    """Raises FeaturesError unless the features of `header` belong to the samples of that hash.

    With `dataset` DataError, too, if they are of another one: one of other pictures may have
    samples of the same ids and labels.
    """
    if dataset is not None:
        check_file(path, {"dataset": header.get("dataset")}, dataset=dataset)
    if header["samples_hash"] != samples_hash:
        raise FeaturesError(
            f"{path} holds features of other samples (hash {header['samples_hash'][:12]}, expected "
            f"{samples_hash[:12]}); {again(path)}"
        )
