"""Features files: written with checks.

A features file is a safetensors file of one (n, d) tensor per layer, and beside them of what else
the model gives: further results per sample such as `logits`, and its `unembedding` (classes, d).
The format keeps neither the order of its tensors nor that of its metadata, so the whole header is
one JSON text under one key: then equal content gives equal bytes.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from consilience.errors import FeaturesError, StorageError
from consilience.features.container import Entry, write_tensors
from consilience.files import METADATA_KEY, atomic, canonical_json, storing
from consilience.registry import did_you_mean
from consilience.sums import check_sum

logger = logging.getLogger(__name__)

DTYPES = ("float32", "float16")
OUTPUT_DTYPE = "float32"
"""Outputs are few and some are sums, so they are never stored in half precision."""
UNEMBEDDING = "unembedding"
_KEY = METADATA_KEY.decode()
_REQUIRED = ("model", "dataset", "samples_hash")


def write_features(
    out: str | Path,
    features: Mapping[str, np.ndarray],
    header: Mapping[str, Any],
    ids: Sequence[str],
    dtype: str = "float32",
    *,
    outputs: Mapping[str, np.ndarray] | None = None,
    unembedding: np.ndarray | None = None,
) -> None:
    """Writes features/{dataset}/{model}.safetensors, or nothing if the features are not sound.

    Args:
        out: the file to write.
        features: {layer: (n, d)}, in layer order.
        header: at least the model's row (with the key `model`), the dataset's id and the samples
            hash, under the keys `model`, `dataset`, `samples_hash`; anything JSON-like beside it.
            Added here: n, dtype, layers in order, outputs in order (all tensors that are not
            layers), and {tensor: …} as shapes, (content) hashes and check sums.
        ids: the n sample ids, in samples order.
        dtype: `float32` or `float16`, how features are stored.
        outputs: {name: (n, c)}, further results per sample; stored as float32.
        unembedding: (classes, d), the weights of the classifier or of the output embedding.

    Raises:
        FeaturesError: no layers, a tensor of another shape, or a value that is not finite.
    """
    check_dtype(dtype)
    check_header(out, header, features)
    place = f"model {header['model']['model']!r}, dataset {header['dataset']!r}"
    stored = {}
    for name, x in {**features, **(outputs or {})}.items():
        spot = f"{place}, {'layer' if name in features else 'output'} {name!r}"
        check_block(x, ids, spot)
        stored[name] = store_as(x, dtype if name in features else OUTPUT_DTYPE)
        check_finite(stored[name], ids, spot, x)
    stored |= stored_unembedding(unembedding, dtype, place)

    def fill(tensors: dict[str, np.ndarray]) -> None:
        for name, x in stored.items():
            tensors[name][:] = x

    entries = {name: Entry(x.dtype, x.shape) for name, x in stored.items()}
    write_filled(out, list(features), entries, header, fill)


def write_filled(
    out: str | Path,
    layers: Sequence[str],
    entries: Mapping[str, Entry],
    header: Mapping[str, Any],
    fill: Callable[[dict[str, np.ndarray]], None],
) -> None:
    """Writes a features file that `fill` fills, so that it need not fit into memory.

    Args:
        out: the file to write.
        layers: which of the tensors are layers, in order.
        entries: type and shape of all tensors, in order.
        header: see `write_features`.
        fill: puts checked values into arrays that are views of the file.
    """
    place = f"model {header['model']['model']!r}, dataset {header['dataset']!r}"

    sums = dict.fromkeys(entries, "0" * 16)  # as long as they will be

    def fill_and_look(tensors: dict[str, np.ndarray]) -> None:
        fill(tensors)
        sums.update({name: check_sum(x) for name, x in tensors.items()})
        for layer in layers:
            if len(tensors[layer]) > 1 and _is_constant(tensors[layer]):
                count = len(tensors[layer])
                logger.warning("%s, layer %r: all %d samples are alike", place, layer, count)

    def describe(hashes: Mapping[str, str]) -> dict[str, str]:
        whole = {
            **header,
            "n": entries[layers[0]].shape[0],
            "dtype": entries[layers[0]].dtype.name,
            "layers": list(layers),
            "outputs": [name for name in entries if name not in layers],
            "shapes": {name: list(entry.shape) for name, entry in entries.items()},
            "hashes": dict(hashes),
            "sums": sums,
        }
        return {_KEY: canonical_json(whole)}

    with room_needed(out), atomic(out) as temporary:
        write_tensors(temporary, entries, fill_and_look, describe)


def _is_constant(x: np.ndarray) -> bool:
    return all(bool((x[i : i + 1024] == x[0]).all()) for i in range(0, len(x), 1024))


@contextmanager
def room_needed(path: str | Path) -> Iterator[None]:
    """Turns a full disk into one clear error; what was written before is kept."""
    try:
        with storing(path):
            yield
    except StorageError as error:
        raise FeaturesError(f"{error}; it goes on from the last shard that was written") from error


def check_header(out: str | Path, header: Mapping[str, Any], features: Mapping[str, Any]) -> None:
    """Raises FeaturesError if there are no layers or the header lacks what all files have."""
    absent = [key for key in _REQUIRED if key not in header]
    if absent or not features:
        lack = f"without {', '.join(absent)} in the header" if absent else "without any layer"
        raise FeaturesError(f"{out}: features cannot be written {lack}")


def stored_unembedding(x: np.ndarray | None, dtype: str, place: str) -> dict[str, np.ndarray]:
    """Returns {"unembedding": (classes, d)} as it is stored, or {} if there is none.

    Raises:
        FeaturesError: it is not a finite matrix.
    """
    if x is None:
        return {}
    stored = store_as(np.asarray(x), dtype)
    if stored.ndim != 2 or not stored.size or not np.isfinite(stored).all():
        raise FeaturesError(
            f"{place}: the unembedding of shape {stored.shape} is no finite matrix (classes, d); "
            "check the weights, or store float32"
        )
    return {UNEMBEDDING: stored}


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


def check_finite(
    x: np.ndarray,
    ids: Sequence[str],
    place: str,
    came: np.ndarray,
    remedy: str = "correct them where they come from",
) -> None:
    """Raises FeaturesError naming the first sample with a value that is NaN or infinite.

    Args:
        x: (n, d) features as they are to be stored.
        ids: the n sample ids.
        place: model, dataset and layer, for the message.
        came: (n, d) the features as they came, before they were stored as another type.
        remedy: what to do if they came so.
    """
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        first = np.asarray(came[bad[0]])
        if np.isfinite(first).all():  # and became infinite when it was stored
            raise FeaturesError(
                f"{place}: {len(bad)} of {len(ids)} samples have values that {x.dtype} cannot "
                f"hold, first {ids[bad[0]]!r} ({np.abs(first).max():.3g}, where "
                f"{np.finfo(x.dtype).max:.3g} is the largest); "
                + ("rescale them" if x.dtype == np.float32 else "set features.dtype to float32")
            )
        raise FeaturesError(
            f"{place}: {len(bad)} of {len(ids)} samples have values that are not finite, first "
            f"{ids[bad[0]]!r}; {remedy}"
        )
