"""What Parquet footers declare, read by us as pyarrow reads it, and heads that break off."""

import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consilience.errors import FeaturesError, RefusedError
from consilience.features.foreign import read_foreign
from consilience.limits.footers import _Compact, count_values


def by_pyarrow(metadata):
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    return sum(g.column(i).num_values for g in groups for i in range(g.num_columns))


@pytest.mark.parametrize(
    "options", [{}, {"row_group_size": 3}, {"use_dictionary": False, "write_statistics": False},
                {"compression": "zstd", "data_page_version": "2.0", "write_page_index": True}]
)  # fmt: skip
def test_values_are_counted_as_pyarrow_counts_them(tmp_path, options):
    columns = {
        "text": ["a", None, "bc"] * 7,
        "list": [[1, 2, 3], [], None] * 7,
        "nested": [[["x"], ["y", "z"]], [[]], []] * 7,
        "struct": [{"a": 1, "b": [1.5, 2.5]}, None, {"a": None, "b": []}] * 7,
        "map": pa.array([[("k", 1), ("l", 2)], [], None] * 7, pa.map_(pa.string(), pa.int64())),
        **{f"column {k}": np.arange(21.0) for k in range(20)},  # more than a short list holds
    }
    table = pa.table(columns, metadata={"note": "ü" * 500})
    pq.write_table(table, tmp_path / "x.parquet", **options)
    path = tmp_path / "x.parquet"
    expected = by_pyarrow(pq.ParquetFile(path).metadata)
    assert count_values(path) == count_values(path.read_bytes()) == expected > 21 * 24
    pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    assert count_values(tmp_path / "none.parquet") == 0


def test_what_is_skipped_is_of_its_length_and_depth():
    """Every kind of the compact protocol, and a structure that never ends its fields."""
    double, text, numbers = b"\x17" + bytes(8), b"\x18\x03abc", b"\x19\x35\x02\x04\x06"
    bools, mapping = b"\x19\x32\x01\x02\x01", b"\x1b\x01\x85\x01x\x07"
    content = b"".join(
        [b"\x11\x12\x13\x07", double, text, numbers, bools, mapping, b"\x1c\x00\x00"]
    )
    reader = _Compact(content)
    kinds = []
    for _, kind in reader.fields():
        kinds.append(kind)
        reader.skip(kind)
    assert kinds == [1, 2, 3, 7, 8, 9, 9, 11, 12]


@pytest.mark.parametrize(
    ("footer", "said"),
    [
        (b"\x49" + b"\x1c" * 99, "nests its fields more than 32 times"),
        (b"\x18\x7f", "breaks off"),
        (b"\x19\xf1\xff\xff\xff\xff\xff\x07", "breaks off"),  # 2^40 items of no bytes
        (b"\x49\x15\x02", "has a list of kind 5, and structures are meant"),
        (b"\x49\x1c\x19\x1c\x3c\x56\x01\x00\x00\x00\x00", "declares -1 values of a column"),
        (b"\x49", "breaks off"),
    ],
)
def test_a_footer_that_contradicts_itself_is_refused(footer, said):
    content = b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"
    with pytest.raises(RefusedError, match=f"the table: its footer {said}"):
        count_values(content)


def test_an_array_whose_head_breaks_off_is_refused(tmp_path):
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(64)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(FeaturesError, match=r"x\.npy: cannot be read"):
        read_foreign(tmp_path / "x.npy")
