"""How many values a Parquet footer declares, read from the footer itself.

pyarrow 26 gives the number of a column chunk by an accessor that ends the process where the notes
on sizes beside it contradict each other; reading the chunk is an error like any other. A footer is
one structure of Thrift's compact protocol: fields with numbers, of which all but a few are skipped.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from consilience.errors import RefusedError

_ROW_GROUPS, _COLUMNS, _CHUNK, _VALUES = 4, 1, 3, 5
"""Field numbers of the format: of the footer, a row group, a column chunk and what it notes."""
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
_MAGIC, _DEPTH = 4, 32


def count_values(metadata: pq.FileMetaData) -> int:
    """Returns how many values all column chunks together declare.

    Raises:
        RefusedError: a number of values below 0, or fields nested deeper than the format has them.

    Cost: a microsecond per field of the footer, of which a column chunk has some thirty.
    """
    sink = pa.BufferOutputStream()
    metadata.write_metadata_file(sink)
    reader = _Compact(memoryview(sink.getvalue()).cast("B")[_MAGIC:])
    total = 0
    for field, kind in reader.fields():
        if (field, kind) != (_ROW_GROUPS, _LIST):
            reader.skip(kind)
            continue
        for _ in range(reader.items()):
            total += _of_group(reader)
    return total


def _of_group(reader: "_Compact") -> int:
    total = 0
    for field, kind in reader.fields():
        if (field, kind) != (_COLUMNS, _LIST):
            reader.skip(kind)
            continue
        for _ in range(reader.items()):
            total += _of_chunk(reader)
    return total


def _of_chunk(reader: "_Compact") -> int:
    total = 0
    for field, kind in reader.fields():
        if (field, kind) != (_CHUNK, _STRUCT):
            reader.skip(kind)
            continue
        for inner, its in reader.fields():
            if inner == _VALUES and its in _INTEGERS:
                total += reader.integer()
            else:
                reader.skip(its)
    if total < 0:
        raise RefusedError(f"a column declares {total} values")
    return total


class _Compact:
    """A position in what the compact protocol wrote."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._at = content, 0

    def _byte(self) -> int:
        value = self._content[self._at]
        self._at += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def integer(self) -> int:
        """Reads an integer: signs take turns, 0, −1, 1, −2, …."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yields number and kind of each field of a structure; read its value before the next."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self.integer()
            yield number, head & 15

    def items(self) -> int:
        """Reads the head of a list of structures and returns how many there are."""
        count, kind = self._list()
        if kind != _STRUCT:
            raise RefusedError(f"a list of the footer is of kind {kind}, and structures are meant")
        return count

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        return (self._varint() if head >> 4 == 15 else head >> 4), head & 15

    def skip(self, kind: int, depth: int = 0) -> None:
        """Leaves out a value."""
        if depth > _DEPTH:
            raise RefusedError(f"its fields are nested more than {_DEPTH} times")
        if kind in _INTEGERS:
            self._varint()
        elif kind == _BINARY:
            length = self._varint()  # which moves on
            self._at += length
        elif kind in (_BYTE, _DOUBLE):
            self._at += 1 if kind == _BYTE else 8
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in (_LIST, _SET):
            count, inner = self._list()
            self._skip_items([inner] * count, depth)
        elif kind == _MAP and (count := self._varint()):
            kinds = self._byte()
            self._skip_items([kinds >> 4, kinds & 15] * count, depth)

    def _skip_items(self, kinds: list[int], depth: int) -> None:
        for kind in kinds:
            if kind in (_TRUE, _FALSE):  # here each has a byte of its own
                self._at += 1
            else:
                self.skip(kind, depth + 1)
