"""Tables that others wrote again: what was edited is not believed, in any kind of column."""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from other_bytes import in_other_bytes
from test_faults_features import JOB, MODELS, write

from consilience.errors import DataError
from consilience.features import write_manifest
from consilience.files import read_table, write_table
from consilience.metrics import Preprocessing, get_metric
from consilience.reliability import make_reliability
from consilience.similarity.store import Outcome, PairStore

TABLE = pd.DataFrame(
    {
        "text": ["a", "bc", None, ""],
        "number": [0.5, -0.0, np.nan, 1e300],
        "small": np.array([1, 2, 3, 4], np.float32),
        "whole": pd.array([1, None, 3, 4], dtype="Int64"),
        "yes": pd.array([True, False, None, True], dtype="boolean"),
        "list": [["a"], [], ["b", "c"], None],
        "none": [None] * 4,
    }
)


def rewrite(path, change):
    """Writes a table as another program would: other values, all the metadata kept."""
    arrow = pq.read_table(path)
    pq.write_table(change(arrow), path, use_compliant_nested_type=False, write_page_checksum=True)


def put(column, values):
    def change(arrow):
        place = arrow.schema.get_field_index(column)
        kind = arrow.schema.field(place).type
        return arrow.set_column(place, arrow.schema.field(place), pa.array(values, kind))

    return change


@pytest.fixture
def path(tmp_path):
    write_table(TABLE, tmp_path / "x.parquet", {"spec": "s"})
    return tmp_path / "x.parquet"


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("text", ["a", "bd", None, ""]),
        ("text", ["ab", "c", None, ""]),
        ("text", ["a", "bc", "", None]),
        ("number", [0.5, 0.0, None, 1e300]),
        ("number", [0.5, -0.0, None, np.nextafter(1e300, 2e300)]),
        ("number", [0.5, -0.0, np.nan, 1e300]),  # a number that is none, and not a missing one
        ("small", [1, 2, 4, 3]),
        ("whole", [1, 3, None, 4]),
        ("yes", [True, None, False, True]),
        ("list", [["a"], ["b"], ["c"], None]),
        ("list", [["a"], None, ["b", "c"], []]),
    ],
)
def test_an_edited_value_is_not_believed(path, column, values):
    rewrite(path, put(column, values))
    with pytest.raises(DataError, match=r"x\.parquet was changed after it was written; delete it"):
        read_table(path)


def test_rows_and_columns_that_changed_places_are_not_believed(path):
    rewrite(path, lambda arrow: arrow.take([1, 0, 2, 3]))
    with pytest.raises(DataError, match="was changed"):
        read_table(path)


def test_the_same_values_in_other_bytes_are_the_same_table(path):
    """Chunks, compression and dictionaries of pages belong to the writer, not to the table."""
    expected, before = read_table(path), path.read_bytes()
    chunks = pa.concat_tables([pq.read_table(path).slice(k, 1) for k in range(4)])
    pq.write_table(chunks, path, row_group_size=1, compression="gzip", use_dictionary=False,
                   use_compliant_nested_type=False)  # fmt: skip
    assert path.read_bytes() != before
    pd.testing.assert_frame_equal(read_table(path), expected)
    write_table(TABLE.head(0), path, {})
    assert len(read_table(path)) == 0


def test_what_is_made_of_it_does_not_change_with_its_bytes(tmp_path):
    """Hashes that a table notes of what it was made of are of values."""
    paths = [write(tmp_path, model, seed=k) for k, model in enumerate(MODELS)]
    manifest, out = paths[0].parent / "manifest.parquet", tmp_path / "x.parquet"
    write_manifest(paths, manifest)

    def made():
        make_reliability(manifest, out, splits=1, seed=0, **JOB)
        return out.read_bytes()

    before = made()
    in_other_bytes(manifest)
    assert made() == before


def test_a_table_that_pandas_wrote_is_none_of_ours(path):
    read_table(path).to_parquet(path)
    with pytest.raises(DataError, match="was not written by consilience, or another program"):
        read_table(path)


@pytest.mark.parametrize("text", [b"null", b"[1]", b"{", b"\xff"])
def test_metadata_that_are_no_names_are_refused(path, text):
    arrow = pq.read_table(path).replace_schema_metadata({b"consilience": text})
    pq.write_table(arrow, path, use_compliant_nested_type=False)
    with pytest.raises(DataError, match="its metadata are "):
        read_table(path)


def test_a_table_of_an_earlier_version_is_read_with_its_own_check(path):
    expected, arrow = read_table(path), pq.read_table(path)
    kept = {k: v for k, v in arrow.schema.metadata.items() if b"values" not in k}
    pq.write_table(arrow.replace_schema_metadata(kept), path, use_compliant_nested_type=False)
    pd.testing.assert_frame_equal(read_table(path), expected)
    rewrite(path, lambda arrow: arrow.slice(1))
    with pytest.raises(DataError, match="was changed"):
        read_table(path)


def test_an_edited_pair_store_starts_anew(tmp_path, caplog):
    path, metric = tmp_path / "m.parquet", get_metric("cka")
    store = PairStore.open(path, metric, Preprocessing())
    store.outcomes["x", "y"] = Outcome(0.5)
    store.write()
    assert PairStore.open(path, metric, Preprocessing()).outcomes
    rewrite(path, put("value", [0.8]))
    with caplog.at_level(logging.WARNING):
        assert PairStore.open(path, metric, Preprocessing()).outcomes == {}
    assert "the pair store is started anew" in caplog.text
