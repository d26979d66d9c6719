"""Numbers of a page in one compressed text: columns of fixed-width numbers, found by name."""

import base64
import gzip
from dataclasses import dataclass, field
from typing import Any

import numpy as np

KINDS = {"float32": "f4", "uint32": "u4", "uint16": "u2"}
_ALIGN = 4


@dataclass
class Pack:
    """Columns under names; missing numbers are NaN in `float32` columns.

    `float32` holds seven digits: what a page shows, and more than its readers compare.
    """

    index: dict[str, list[Any]] = field(default_factory=dict)
    """{name: [byte offset, length, kind]}."""
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    def add(self, name: str, values: Any, kind: str = "float32") -> str:  # noqa: ANN401
        """Adds a column and returns its name."""
        column = np.asarray(values).astype(f"<{KINDS[kind]}").ravel()
        raw = column.tobytes()
        raw += b"\0" * (-len(raw) % _ALIGN)
        self.index[name] = [self._size, len(column), kind]
        self._parts.append(raw)
        self._size += len(raw)
        return name

    def text(self) -> str:
        """Returns all columns as base64 of gzip; equal columns give equal text."""
        packed = gzip.compress(b"".join(self._parts), compresslevel=9, mtime=0)
        return base64.b64encode(packed).decode("ascii")
