"""Parquet within limits: what its footer declares, and what its pages really hold."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from consilience.errors import RefusedError
from consilience.limits import LIMITS, VARIABLE, hold, hold_unpacked, limit
from consilience.limits.footers import count_values
from consilience.limits.reading import regular

_BATCH = 1 << 16
_AT_ONCE = 1 << 32
"""Bytes that the rows read at a time may take at most."""
_FREE_ROWS = 1_000_000
"""Rows that a table of results may have, however small its file is."""


def check_footer(file: pq.ParquetFile, source: str | Path | bytes, place: object) -> None:
    """Raises RefusedError if a file's footer declares more than the limits or its size allow.

    Args:
        file: opened; nothing but the footer is read.
        source: what was opened: a path, or the bytes.
        place: for the message.
    """
    found = file.metadata
    hold("samples", found.num_rows, place, "rows")
    groups = [found.row_group(i) for i in range(found.num_row_groups)]
    cells, size = count_values(source), _size(source)
    hold_unpacked(max(8 * cells, sum(group.total_byte_size for group in groups)), size, place)


def _size(source: str | Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else Path(source).stat().st_size


def rows_at_once(file: pq.ParquetFile, wanted: int) -> int:
    """Returns how many rows are read at a time, at most `wanted`.

    A value that is stored once and repeated is at most as long as its row group.
    """
    found = file.metadata
    sizes = [found.row_group(i).total_byte_size for i in range(found.num_row_groups)]
    return max(1, min(wanted, _AT_ONCE // max(1, *sizes, 1)))


def read_whole(source: str | Path | bytes, place: object) -> pa.Table:
    """Returns all of a table of results that a stranger wrote, if it is of a size that can be.

    Texts are kept once each until it is known how long they are together: a file of some bytes can
    repeat a long one many times. A table of results has a number of 8 bytes in a row, so that one
    row for each byte, or a million, is more than any.

    Args:
        source: a path, or the bytes.
        place: for the message.

    Raises:
        RefusedError: it declares, or holds, more than the limits allow.
    """
    size = _size(source)

    def opened(**options: Any) -> pq.ParquetFile:  # noqa: ANN401
        given = pa.BufferReader(source) if isinstance(source, bytes) else source
        return pq.ParquetFile(given, **options)

    schema = opened().schema_arrow
    texts = [field.name for field in schema if _is_text(field.type)]
    file = opened(read_dictionary=texts, page_checksum_verification=True)
    check_footer(file, source, place)
    rows, factor = file.metadata.num_rows, LIMITS["ratio"].most
    if rows > max(_FREE_ROWS, size * limit("ratio") // factor):
        more = -(-rows * factor // max(1, size))
        raise RefusedError(
            f"{place} has {size:,} bytes and declares {rows:,} rows, more than it can hold; if it "
            f"is sound, set {VARIABLE}=ratio={more}"
        )
    batches: list[pa.RecordBatch] = []
    held = 0
    for batch in file.iter_batches(batch_size=_BATCH):
        held += sum(map(_length, batch.columns))
        hold_unpacked(held, size, place, "bundle_bytes")
        batches.append(batch)
    return pa.Table.from_batches(batches, file.schema_arrow).cast(schema)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_binary(kind)


def _length(column: pa.Array) -> int:
    """Returns the bytes of a column, of texts as if each were written out."""
    if not pa.types.is_dictionary(column.type):
        return column.nbytes
    lengths = pc.binary_length(column.dictionary)
    return (pc.sum(pc.take(lengths, column.indices)).as_py() or 0) + 4 * len(column)


def read_data_frame(path: Path) -> pd.DataFrame:
    """Returns a table that other tools wrote: Parquet, or text with commas.

    Raises:
        RefusedError: it is no regular file, or declares more than the limits allow.
        FileNotFoundError, OSError, ValueError: as pandas.
    """
    regular(path)
    if path.suffix != ".parquet":
        hold("text_bytes", path.stat().st_size, path, "bytes")
        return pd.read_csv(path)
    check_footer(pq.ParquetFile(path), path, path)
    return pd.read_parquet(path)
