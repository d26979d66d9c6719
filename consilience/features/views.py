"""Features of views: rows of another dataset's features, by reference and never as a copy."""

from collections.abc import Sequence
from pathlib import Path

from consilience.features.manifest import write_manifest
from consilience.features.store import check_samples, content_hash, read_header
from consilience.files import atomic, digest, read_table, write_table
from consilience.samples import read_chain


def make_manifest(
    features: Sequence[str | Path], samples: Sequence[str | Path], out: str | Path
) -> None:
    """Writes features/{dataset}/manifest.parquet of a dataset or of a view.

    A view's manifest names the files of the dataset that it is a view of. `n` is the view's, `hash`
    is of the file's content and of the rows together, and the metadata `rows` are the view's rows
    in those files.

    Args:
        features: features files of all models.
        samples: empty, or for a view its samples, its parent's, … to those of the features.
        out: the file to write.

    Raises:
        FeaturesError: as `write_manifest`, or features of other samples than the last ones.
        DataError: samples that do not belong together.
    """
    if len(samples) < 2:
        write_manifest(features, out)
        return
    view, rows, source = read_chain(samples)
    for path in features:
        check_samples(read_header(path), source.hash, path)
    with atomic(out) as temporary:
        write_manifest(features, temporary)
        table = read_table(temporary)
    metadata, table.attrs = table.attrs, {}
    mark = content_hash(rows)
    table["n"] = len(rows)
    table["hash"] = [digest([hash_, mark]) for hash_ in table["hash"]]
    table["samples_hash"] = view.hash
    outputs = [
        {**line, "n": len(rows), "hash": digest([line["hash"], mark])}
        for line in metadata["outputs"]
    ]
    own = {"dataset": view.row["dataset"], "samples_hash": view.hash, "rows": rows.tolist()}
    write_table(table, out, metadata | own | {"outputs": outputs})
