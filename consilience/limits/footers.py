"""How many values a Parquet footer declares, read from the footer itself.

pyarrow 26 gives the number of a column chunk by an accessor that ends the process on some damaged
files, where reading them is an error like any other. A footer is one structure of Thrift's compact
protocol: fields with numbers, of which all but a few are skipped here.
"""

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from consilience.errors import RefusedError
from consilience.limits.reading import regular

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
_VALUES = ((4, (_LIST,)), (1, (_LIST,)), (3, (_STRUCT,)), (5, _INTEGERS))
"""Numbers and kinds of fields: row groups, their column chunks, what these note, its values."""
_TAIL, _DEPTH = 8, 32


def count_values(source: str | Path | bytes) -> int:
    """Returns how many values all column chunks of a Parquet file together declare.

    Args:
        source: the file, or what it holds; pyarrow has opened it, so that it has a footer.

    Raises:
        RefusedError: its footer contradicts itself.

    Cost: a microsecond per field of the footer, of which a column chunk has some thirty.
    """
    try:
        return _total(_Compact(_footer(source)), _VALUES)
    except IndexError:
        raise RefusedError(f"{_name(source)}: its footer breaks off; make the file again") from None
    except ValueError as error:
        raise RefusedError(f"{_name(source)}: its footer {error}; make the file again") from None


def _name(source: str | Path | bytes) -> str:
    return "the table" if isinstance(source, bytes) else str(source)


def _footer(source: str | Path | bytes) -> bytes:
    """Returns the footer; the last eight bytes are its length and four letters."""
    with io.BytesIO(source) if isinstance(source, bytes) else regular(source).open("rb") as stream:
        end = stream.seek(-_TAIL, os.SEEK_END)
        length = int.from_bytes(stream.read(_TAIL)[:4], "little")
        stream.seek(max(0, end - length))
        return stream.read(length)


def _total(reader: "_Compact", path: Sequence[tuple[int, tuple[int, ...]]]) -> int:
    """Returns the sum of the integers at the end of a path of fields, each within the last."""
    (number, kinds), *rest = path
    total = 0
    for field, kind in reader.fields():
        if field != number or kind not in kinds:
            reader.skip(kind)
        elif rest:
            count = reader.items() if kind == _LIST else 1
            total += sum(_total(reader, rest) for _ in range(count))
        elif (value := reader.integer()) < 0:
            raise ValueError(f"declares {value} values of a column")
        else:
            total += value
    return total


class _Compact:
    """A position in what the compact protocol wrote."""

    def __init__(self, content: bytes) -> None:
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
            raise ValueError(f"has a list of kind {kind}, and structures are meant")
        return count

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        return self._count(self._varint() if head >> 4 == 15 else head >> 4), head & 15

    def _count(self, count: int) -> int:
        """Returns a number of items, each of which takes a byte at least."""
        if count > len(self._content) - self._at:
            raise IndexError
        return count

    def skip(self, kind: int, depth: int = 0) -> None:
        """Leaves out a value."""
        if depth > _DEPTH:
            raise ValueError(f"nests its fields more than {_DEPTH} times")
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
        elif kind == _MAP and (count := self._count(self._varint())):
            kinds = self._byte()
            self._skip_items([kinds >> 4, kinds & 15] * count, depth)

    def _skip_items(self, kinds: list[int], depth: int) -> None:
        for kind in kinds:
            if kind in (_TRUE, _FALSE):  # here each has a byte of its own
                self._at += 1
            else:
                self.skip(kind, depth + 1)
