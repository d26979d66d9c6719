"""The draw of samples: exact, nested, independent of order, and tied to the source by hash."""

import hashlib
import json
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from consilience import files
from consilience.datasets import Sample, open_dataset
from consilience.datasets._base import Listing
from consilience.errors import ConfigError, DataError
from consilience.samples import (
    COLUMNS,
    Samples,
    choose_samples,
    hash_samples,
    iterate,
    make_samples,
    read_samples,
    share_equally,
    share_test,
)

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def toy(sizes, split="", order=0):
    """A dataset of text samples with the given class sizes, enumerated in some order."""
    samples = [
        Sample(f"{split}{label}-{i}", f"line {label}-{i}", split, label, f"text {label} {i}")
        for label, size in enumerate(sizes)
        for i in range(size)
    ]
    random.Random(order).shuffle(samples)
    return Listing(tuple(samples), tuple(f"class {i}" for i in range(len(sizes))), verified=True)


def row(**cells):
    return {"dataset": "toy", "source": "packaged", "name": "-", "modality": "text"} | cells


def counts(table):
    return sorted(Counter(table["label"].tolist()).values())


# --- quotas ---------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=8), cap=st.integers(1, 100))
def test_equal_shares_are_those_of_dealing_in_turn(sizes, cap):
    dealt = [0] * len(sizes)
    while sum(dealt) < min(cap, sum(sizes)):
        for i, size in enumerate(sizes):
            if dealt[i] < size and sum(dealt) < cap:
                dealt[i] += 1
    assert share_equally(sizes, cap) == dealt


@pytest.mark.parametrize(
    ("sizes", "share", "expected"),
    [
        ([100], "0.29", [29]),  # as floats, 0.29 × 100 < 29
        ([10, 10, 10], "0.25", [3, 3, 2]),  # 7.5 is rounded up
        ([4, 8], "0.25", [1, 2]),
        ([2] * 10, "0.1", [1] * 10),  # both sides of every class come before the total of 2
        ([1, 1, 1, 5], "0.5", [0, 0, 0, 4]),  # classes of one stay in train
        ([3, 3], "0.9", [2, 2]),
        ([1], "0.5", [0]),
        ([5, 5], "0", [0, 0]),
    ],
)
def test_test_shares_by_hand(sizes, share, expected):
    assert share_test(sizes, Fraction(share)) == expected


@given(sizes=SIZES, percent=st.integers(1, 99))
def test_test_shares_are_exact_where_they_can_be(sizes, percent):
    share = Fraction(percent, 100)
    quotas = share_test(sizes, share)
    low, high = sum(n >= 2 for n in sizes), sum(max(n - 1, 0) for n in sizes)
    wanted = int(share * sum(sizes) + Fraction(1, 2))
    assert sum(quotas) == min(max(wanted, low), high)
    assert all(0 < q < n for q, n in zip(quotas, sizes, strict=True) if n >= 2)
    if low == len(sizes) and all(1 <= share * n <= n - 1 for n in sizes):
        assert all(abs(q - share * n) < 1 for q, n in zip(quotas, sizes, strict=True))


# --- the draw -------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, cap=st.integers(1, 60), seed=st.integers(0, 5))
def test_cap_is_exact_and_classes_share_it_equally(sizes, cap, seed):
    dataset = toy(sizes)
    table = choose_samples(dataset, row(cap=str(cap)), seed)
    assert len(table) == min(cap, sum(sizes))
    # Which classes give the remainder depends on the seed; how many give how much does not.
    assert counts(table) == sorted(n for n in share_equally(sorted(sizes), cap) if n)
    assert table["row"].tolist() == list(range(len(table)))
    position = {sample.id: i for i, sample in enumerate(dataset)}
    assert table["id"].map(position).is_monotonic_increasing


@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, caps=st.tuples(st.integers(1, 40), st.integers(1, 40)), order=st.integers(1, 9))
def test_draw_is_nested_and_ignores_the_order_of_the_source(sizes, caps, order):
    small, large = (set(choose_samples(toy(sizes), row(cap=str(c)), 0)["id"]) for c in sorted(caps))
    assert small <= large
    one, other = (
        choose_samples(toy(sizes, order=o), row(cap=str(caps[0])), 0).set_index("id").sort_index()
        for o in (0, order)
    )
    pd.testing.assert_frame_equal(one.drop(columns="row"), other.drop(columns="row"))


def test_draw_is_the_lowest_hashes():
    listing = Listing(tuple(Sample(f"s{i}", "-", text="a") for i in range(50)), verified=True)

    def priority(id_):
        return hashlib.sha256(f'["7","toy","cap","{id_}"]'.encode()).hexdigest()

    expected = sorted((s.id for s in listing), key=priority)[:9]
    assert set(choose_samples(listing, row(cap="9"), 7)["id"]) == set(expected)


def test_draw_depends_on_seed_and_dataset_alone():
    dataset = toy([40, 40])

    def drawn(seed, **cells):
        return tuple(choose_samples(dataset, row(cap="20", **cells), seed)["id"])

    assert drawn(0) == drawn(0, name="other", note="x")
    assert len({drawn(0), drawn(1), drawn(0, dataset="toy2")}) == 3


def test_pool_is_parted_by_class_and_splits_of_the_source_are_kept():
    table = choose_samples(toy([40, 20, 1]), row(test_share="0.2"), 0)
    test = table[table["split"] == "test"]
    assert Counter(test["label"].tolist()) == {0: 8, 1: 4}
    assert set(choose_samples(toy([9, 9]), row(test_share="0"), 0)["split"]) == {"train"}

    both = Listing(
        toy([9, 9], "train").samples + toy([5, 2], "test").samples, ("a", "b"), verified=True
    )
    table = choose_samples(both, row(cap="6"), 0)
    assert table.groupby("split").size().to_dict() == {"test": 6, "train": 6}
    assert all(
        id_.startswith(split) for id_, split in zip(table["id"], table["split"], strict=True)
    )
    assert counts(table[table["split"] == "test"]) == [2, 4]


def test_unlabelled_pool():
    dataset = Listing(tuple(Sample(f"{i}", "-", text="a") for i in range(10)), verified=True)
    table = choose_samples(dataset, row(), 0)
    assert (table["split"] == "test").sum() == 3  # 2.5, rounded half up
    assert table["label"].isna().all()
    assert dict(table.dtypes.astype(str)) == COLUMNS


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"cap": "0"}, "column cap: '0' is not a whole number from 1"),
        ({"cap": "2.5"}, "column cap"),
        ({"test_share": "1"}, "column test_share: '1' is not a number from 0 to below 1"),
        ({"test_share": "-0.1"}, "column test_share"),
        ({"skip_corrupt": "maybe"}, "column skip_corrupt"),
    ],
)
def test_cells_that_cannot_be_used(cells, message):
    with pytest.raises(ConfigError, match=message):
        choose_samples(toy([3]), row(**cells), 0)


@pytest.mark.parametrize(
    ("samples", "modality", "message"),
    [
        ([], "text", "holds no samples"),
        ([Sample("a", "f:1", text="x"), Sample("a", "f:9", text="y")], "text", "'a' .f:1 and f:9."),
        ([Sample("a", "f:1", label=2, text="x")], "text", "label 2 is not among the 2 classes"),
        ([Sample("a", "f:1", label=-1, text="x")], "text", "label -1 is not among"),
        ([Sample("a", "f:1", split="dev", text="x")], "text", "'dev' is neither train nor test"),
        ([Sample("a", "f:1", text="x")], "image+text", "f:1.: it has no picture"),
        ([Sample("a", "f:1", text="")], "text", "it has no text"),
        ([Sample("a", "f:1", text="x")], "vector", "f:1.: it has no vector"),
        ([Sample("a", "f:1", text="x")], "graph", "f:1.: it is no node of a graph"),
        ([Sample("a", "f:1", vector=np.ones((2, 2)))], "vector", "shape .2, 2., is not one row"),
        ([Sample("a", "f:1", vector=np.array([0, np.nan]))], "vector", "is not one row of finite"),
        (
            [Sample("a", "-", label=0, text="x"), Sample("b", "-", text="x")],
            "text",
            "1 of 2 samples have no label",
        ),
        (
            [Sample("a", "-", split="test", text="x"), Sample("b", "-", text="x")],
            "text",
            "1 of 2 samples have no split",
        ),
    ],
)
def test_inconsistent_datasets(samples, modality, message):
    dataset = Listing(tuple(samples), ("p", "q"), verified=True)
    with pytest.raises(DataError, match=message):
        choose_samples(dataset, row(modality=modality), 0)


# --- damaged pictures -----------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two classes with ten pictures each."""
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(10):
            picture = Image.new("RGB", (8, 8), (20 * i, 0, ord(label)))
            picture.save(tmp_path / "data" / label / f"{i}.png")
    return tmp_path / "data"


def folder_row(path, **cells):
    return row(source="folder", name=str(path), modality="image", cap="8") | cells


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def test_damaged_picture_stops_the_draw_and_writes_nothing(pictures, tmp_path):
    table = choose_samples(open_dataset(folder_row(pictures)), folder_row(pictures), 0)
    damage(pictures / table["id"][3])
    out = tmp_path / "out" / "toy.parquet"
    with pytest.raises(DataError, match=rf"1 of 8 .*skip_corrupt(.|\n)*{table['id'][3]}"):
        make_samples(folder_row(pictures), 0, out)
    assert not out.exists()


def test_damaged_pictures_are_replaced_by_the_next_in_priority(pictures, tmp_path, caplog):
    def drawn(cap):
        cells = folder_row(pictures, cap=str(cap))
        return choose_samples(open_dataset(cells), cells, 0)["id"].tolist()

    one_class = [[i for i in drawn(cap) if i[0] == "a"] for cap in (8, 10, 12)]
    assert [len(ids) for ids in one_class] == [4, 5, 6]
    fifth = (set(one_class[1]) - set(one_class[0])).pop()
    sixth = (set(one_class[2]) - set(one_class[1])).pop()
    damaged = [one_class[0][0], fifth]  # the first replacement is damaged as well
    kept = set(drawn(8)) - set(damaged)
    for id_ in damaged:
        damage(pictures / id_)
    unused = (set(map(str, (p.relative_to(pictures) for p in pictures.glob("b/*")))) - kept).pop()
    damage(pictures / unused)

    out = tmp_path / "toy.parquet"
    make_samples(folder_row(pictures, skip_corrupt="yes"), 0, out)
    assert set(read_samples(out).table["id"]) == kept | {sixth}
    assert files.read_table(out).attrs["corrupt"] == sorted(damaged)
    assert all(id_ in caplog.text for id_ in damaged)
    assert unused not in caplog.text  # never chosen, never opened


def test_nothing_but_damaged_pictures(pictures):
    for path in pictures.glob("*/*.png"):
        damage(path)
    cells = folder_row(pictures, skip_corrupt="yes")
    with pytest.raises(DataError, match="all 20 pictures are damaged"):
        choose_samples(open_dataset(cells), cells, 0)


# --- files ----------------------------------------------------------------------------------------


def shapes_row(**cells):
    return row(name="shapes:40", modality="image+text", cap="30") | cells


def test_file_round_trip_and_same_bytes(tmp_path):
    for name in ("one", "two"):
        make_samples(shapes_row(), 3, tmp_path / f"{name}.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()

    samples = read_samples(tmp_path / "one.parquet")
    expected = choose_samples(open_dataset(shapes_row()), shapes_row(), 3)
    pd.testing.assert_frame_equal(samples.table, expected)
    assert samples.classes == ("circle", "square", "triangle", "star")
    assert samples.row == shapes_row()
    lines = expected[["id", "split", "label", "text"]].astype(object).to_numpy().tolist()
    plain = json.dumps(lines, separators=(",", ":")).encode()
    assert samples.hash == hashlib.sha256(plain).hexdigest()

    metadata = files.read_table(tmp_path / "one.parquet").attrs
    assert metadata["n"] == {"test": 8, "train": 22}
    totals = [sum(n) for n in zip(*metadata["class_counts"].values(), strict=True)]
    assert sorted(totals) == [7, 7, 8, 8]
    assert (metadata["seed"], metadata["corrupt"]) == (3, [])


def test_hash_sees_what_a_stimulus_is_and_nothing_else():
    table = choose_samples(toy([5, 5]), row(), 0)
    hashes = [hash_samples(table.assign(row=0, parent_row=4))]
    assert hashes == [hash_samples(table)]
    for column, value in [("id", "x"), ("split", "test"), ("label", 1), ("text", "y")]:
        hashes.append(hash_samples(table.assign(**{column: value})))
    hashes.append(hash_samples(table[::-1]))
    assert len(set(hashes)) == len(hashes)


def test_changed_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "toy.parquet"
    make_samples(shapes_row(), 0, path)
    table = files.read_table(path)
    files.write_table(table.assign(label=0), path, table.attrs)
    with pytest.raises(DataError, match="changed after it was written"):
        read_samples(path)
    files.write_table(table.drop(columns="label"), path, table.attrs)
    with pytest.raises(DataError, match="not a samples table"):
        read_samples(path)


# --- streaming ------------------------------------------------------------------------------------


@pytest.fixture
def drawn():
    dataset = toy([6, 6])
    table = choose_samples(dataset, row(cap="7"), 0)
    return dataset, Samples(table, hash_samples(table), dataset.classes, row(cap="7"))


def test_iterate_yields_the_chosen_in_order(drawn):
    dataset, samples = drawn
    pairs = list(iterate(dataset, samples))
    assert [number for number, _ in pairs] == list(range(7))
    assert [sample.id for _, sample in pairs] == samples.table["id"].tolist()


def test_iterate_refuses_another_order_missing_or_changed_samples(drawn):
    dataset, samples = drawn
    backwards = Listing(dataset.samples[::-1], dataset.classes)
    with pytest.raises(DataError, match=r"expected the sample .* in row 0"):
        list(iterate(backwards, samples))

    last = samples.table["id"].iloc[-1]
    missing = Listing(tuple(s for s in dataset if s.id != last), dataset.classes)
    with pytest.raises(DataError, match=f"1 of 7 samples are missing .* from '{last}' on"):
        list(iterate(missing, samples))

    relabelled = [Sample(s.id, s.origin, s.split, 1 - s.label, s.text) for s in dataset]
    with pytest.raises(DataError, match="the data changed since the draw"):
        list(iterate(Listing(tuple(relabelled), dataset.classes), samples))
