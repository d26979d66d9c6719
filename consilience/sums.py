"""Sums by which damage shows: of arrays at the pace of memory, and of the values of tables."""

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SUMMED = 1 << 20
"""Bytes that are summed together: what a processor keeps at hand."""
_ROW = 4096


def check_sum(x: np.ndarray, before: str = "") -> str:
    """Returns 16 hexadecimal digits for type, shape and bytes of an array, at the pace of memory.

    For what was damaged: any word that changes, and any two that change places, give another sum.
    It is no hash: whoever wants to finds arrays of the same sum.

    Args:
        x: the array.
        before: a sum that this one goes on from.
    """
    flat = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    blocks = (flat[start : start + SUMMED] for start in range(0, flat.size, SUMMED))
    return check_sum_of(blocks, x.dtype, x.shape, before)


def check_sum_of(
    blocks: Iterable[np.ndarray], dtype: np.dtype, shape: Sequence[int], before: str = ""
) -> str:
    """Returns the `check_sum` of an array whose bytes come in blocks of `SUMMED`, the last shorter.

    Words of 8 bytes are summed along the rows and along the columns of a matrix, block by block.
    Cost: 3 to 4 GB a second, five times as much as a SHA-256.

    Args:
        blocks: of bytes.
        dtype: of the array.
        shape: of the array.
        before: a sum that this one goes on from.
    """
    total = hashlib.blake2b(f"{before}{dtype.str}{tuple(shape)}".encode(), digest_size=8)
    for block in blocks:
        whole = block.size // _ROW * _ROW
        words = block[:whole].view(np.uint64).reshape(-1, _ROW // 8)
        total.update(np.add.reduce(words, axis=0).data)
        total.update(np.add.reduce(words, axis=1).data)
        total.update(block[whole:].data)
    return total.hexdigest()


def values_hash(table: pa.Table) -> bytes:
    """Returns the SHA-256 of the values of a table, column by column, in their order.

    It depends on the values alone: not on chunks, dictionaries, or what lies below empty cells.
    """
    total = hashlib.sha256()
    for column in table.columns:
        _add_values(total, column.combine_chunks())
    return total.hexdigest().encode()


def _add_values(total: Any, array: pa.Array) -> None:  # noqa: ANN401 - what hashlib gives
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    total.update(np.packbits(valid).data if array.null_count else b"all")
    if array.null_count:
        array = array.drop_null()
    kind = array.type
    if pa.types.is_null(kind):
        return
    if pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            _add_values(total, pc.struct_field(array, [place]))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        total.update(np.asarray(pc.list_value_length(array), np.int64).data)
        _add_values(total, array.flatten())
    elif pa.types.is_boolean(kind):
        total.update(np.packbits(array.to_numpy(zero_copy_only=False)).data)
    elif pa.types.is_primitive(kind):
        width, content = kind.bit_width // 8, array.buffers()[1]
        start = array.offset * width
        total.update(memoryview(content)[start : start + len(array) * width] if content else b"")
    else:  # text and bytes
        array = array.cast(pa.large_binary())
        offsets = np.frombuffer(array.buffers()[1], np.int64, len(array) + 1, 8 * array.offset)
        total.update(np.diff(offsets).data)
        total.update(memoryview(array.buffers()[2] or b"")[offsets[0] : offsets[-1]])


def damaged_member(path: str | Path) -> str:
    """Returns the name of a member of a zip that has another check sum; "" if all are sound.

    For formats whose libraries do not look, such as PyTorch's; what is no zip has no members.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() or ""
    except zipfile.BadZipFile:
        return ""
