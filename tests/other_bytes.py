"""Tables of the same values in other bytes, as one bit of Parquet's notes beside them makes it."""

import pyarrow.parquet as pq


def in_other_bytes(path):
    """Writes a table again, its metadata kept, so that its bytes are others and its values not."""
    before, arrow = path.read_bytes(), pq.read_table(path)
    pq.write_table(arrow, path, compression="gzip", use_dictionary=False,
                   use_compliant_nested_type=False)  # fmt: skip
    assert path.read_bytes() != before
