"""The manifest: which features a dataset has, and by their hashes whether they are the same.

That of a view names rows of another dataset's features, by reference and never as a copy.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.errors import DataError, FeaturesError
from consilience.features.container import content_hash
from consilience.features.reading import check_samples, read_header, read_layer
from consilience.features.versions import mixed_versions
from consilience.files import atomic, digest, read_table, write_table
from consilience.forms.inputs import has_sample_rows
from consilience.places import check_file
from consilience.samples import Samples, read_chain


def make_manifest(
    features: Sequence[str | Path], samples: Sequence[str | Path], out: str | Path
) -> None:
    """Writes features/{dataset}/manifest.parquet of a dataset or of a view.

    A view's manifest names the files of the dataset that it is a view of. `n` is the view's, `hash`
    is of the file's content and of the rows together, and the metadata `rows` are the view's rows
    in those files. Where samples come in groups, the metadata `groups` number them row by row.

    Args:
        features: features files of all models.
        samples: for a view its samples, its parent's, … to those of the features; of a dataset
            that may have groups its samples; else empty.
        out: the file to write.

    Raises:
        FeaturesError: as `write_manifest`, or features of other samples than the last ones.
        DataError: samples that do not belong together.
    """
    if not samples:
        write_manifest(features, out)
        return
    view, rows, source = read_chain(samples)
    for path in features:
        check_samples(read_header(path), source.hash, path, source.row["dataset"])
    grouped = {} if view.groups is None else {"groups": view.groups.tolist()}
    if rows is None:
        write_manifest(features, out, grouped)
        return
    with atomic(out) as temporary:
        write_manifest(features, temporary)
        table = read_table(temporary)
    metadata, table.attrs = table.attrs, {}
    table["n"] = len(rows)
    table["hash"] = [hash_of_rows(hash_, rows) for hash_ in table["hash"]]
    table["samples_hash"] = view.hash
    outputs = [
        {**line, "n": len(rows), "hash": hash_of_rows(line["hash"], rows)}
        if has_sample_rows(line["output"])
        else line
        for line in metadata["outputs"]
    ]
    own = {"dataset": view.row["dataset"], "samples_hash": view.hash, "rows": rows.tolist()}
    write_table(table, out, metadata | own | {"outputs": outputs} | grouped)


def write_manifest(
    paths: Iterable[str | Path], out: str | Path, more: Mapping[str, Any] | None = None
) -> None:
    """Writes features/{dataset}/manifest.parquet: one row per model and layer.

    Columns: model, layer, position (of the layer, from 0), n, d, dtype, hash (of the content),
    samples_hash, file (relative to the manifest); sorted by model and position, whatever the order
    of `paths`. The metadata: `dataset`, `samples_hash`, `outputs` (a list of {model, output, n, d,
    hash, file}), `headers` ({model: hash of its features' header}), `mixed_versions` (see
    `consilience.features.versions`), and what `more` holds.

    Raises:
        FeaturesError: no files, one model twice, or files over different samples (names both).
    """
    headers = {Path(path): read_header(path) for path in paths}
    if not headers:
        raise FeaturesError(f"{out}: a manifest needs at least one features file")
    _check_together(headers)
    table, metadata = manifest_of(headers, Path(out))
    write_table(table, out, metadata | (more or {}))


def manifest_of(
    headers: Mapping[Path, Mapping[str, Any]], out: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns the table and the metadata of `write_manifest` for headers by path."""
    rows = [row for path, header in headers.items() for row in _rows(path, header, out)]
    table = pd.DataFrame(rows).sort_values(["model", "position"], ignore_index=True)
    outputs = [row for path, header in headers.items() for row in _outputs(path, header, out)]
    first = next(iter(headers.values()))
    metadata = {
        "dataset": first["dataset"],
        "samples_hash": first["samples_hash"],
        "outputs": sorted(outputs, key=lambda row: (row["model"], row["output"])),
        "headers": {header["model"]["model"]: digest(header) for header in headers.values()},
        "mixed_versions": mixed_versions({h["model"]["model"]: h for h in headers.values()}),
    }
    return table, metadata


def read_manifest(manifest: Path, samples: Samples) -> pd.DataFrame:
    """Returns the table of a manifest.

    Raises:
        DataError: it is of another dataset, or of other samples than these.
    """
    table = read_table(manifest)
    if set(table["samples_hash"]) != {samples.hash}:
        raise DataError(
            f"{manifest} is of other samples than dataset {samples.row['dataset']!r} has now; "
            "delete it and run snakemake again"
        )
    check_file(manifest, table.attrs, dataset=samples.row["dataset"])
    return table


def hash_of_rows(hash_: str, rows: np.ndarray | None) -> str:
    """Returns what a manifest says is the hash of some rows (int64) of a tensor; None: of all."""
    return hash_ if rows is None else digest([hash_, content_hash(rows)])


def read_listed(
    manifest: str | Path,
    listed: pd.DataFrame,
    model: str,
    name: str,
    rows: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Returns a layer or an output of a model as a manifest lists it: of a view, the view's rows.

    Args:
        manifest: the path of the manifest; features files lie beside it.
        listed: its table.
        model: the model.
        name: of the layer or output.
        rows: which of the dataset's samples, if not all.

    Raises:
        FeaturesError: the file is missing or damaged, or holds other features than the manifest
            lists.
    """
    columns = (listed[column].tolist() for column in ("model", "layer", "file", "hash"))
    lines = [line[2:] for line in zip(*columns, strict=True) if line[:2] == (model, name)]
    for row in listed.attrs.get("outputs", ()):
        if (row["model"], row["output"]) == (model, name):
            lines.append((row["file"], row["hash"]))
    if not lines:
        raise FeaturesError(f"{manifest} lists no {name!r} of model {model!r}")
    file, hash_ = lines[0]
    whole = None
    if "rows" in listed.attrs and has_sample_rows(name):
        whole = np.array(listed.attrs["rows"], dtype=np.int64)
    own = whole if rows is None else np.asarray(rows) if whole is None else whole[rows]
    path = Path(manifest).parent / file
    x = read_layer(path, name, own)
    check_listed(path, name, hash_, whole, manifest)
    return x


def check_listed(
    path: str | Path, name: str, hash_: str, rows: np.ndarray | None, manifest: str | Path
) -> None:
    """Raises FeaturesError if a features file holds another tensor than a manifest lists.

    Args:
        path: the features file.
        name: of the tensor.
        hash_: as the manifest's line has it.
        rows: the rows of the file that the line is of; None for all.
        manifest: for the message.
    """
    if hash_of_rows(read_header(path)["hashes"].get(name, ""), rows) != hash_:
        raise FeaturesError(
            f"{path} holds other features of {name!r} than {manifest} lists; "
            f"delete {Path(manifest).name} and run snakemake again"
        )


def _check_together(headers: Mapping[Path, Mapping[str, Any]]) -> None:
    first, *_ = headers
    seen: dict[str, Path] = {}
    for path, header in headers.items():
        check_file(path, {"dataset": header["dataset"]}, dataset=headers[first]["dataset"])
        if header["samples_hash"] != headers[first]["samples_hash"]:
            raise FeaturesError(
                f"{first} and {path} hold features of different samples; delete the older one "
                "and run snakemake again"
            )
        twin = seen.setdefault(header["model"]["model"], path)
        if twin != path:
            raise FeaturesError(f"{twin} and {path} are both of model {header['model']['model']!r}")


def _rows(path: Path, header: Mapping[str, Any], out: Path) -> Iterator[dict[str, Any]]:
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
            "file": _beside(path, out),
        }


def _outputs(path: Path, header: Mapping[str, Any], out: Path) -> Iterator[dict[str, Any]]:
    for name in header.get("outputs", ()):
        yield {
            "model": header["model"]["model"],
            "output": name,
            "n": header["shapes"][name][0],
            "d": header["shapes"][name][1],
            "hash": header["hashes"][name],
            "file": _beside(path, out),
        }


def _beside(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path, out.parent)).as_posix()
