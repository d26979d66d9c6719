"""Splits with a known overlap: counts by hand, nested sides, renumbered classes, chunks."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from consilience.alterations.splits import (
    SplitRule,
    collapse_labels,
    deal_chunks,
    deal_classes,
    deal_samples,
    read_split,
    side_size,
)
from consilience.errors import ConfigError, DataError

OVERLAPS = (0, 0.2, 0.4, 0.6, 0.8, 1)
SIZES = (21, 40, 33)
LABELS = np.repeat(np.arange(3), SIZES)
IDS = [f"s{i}" for i in range(len(LABELS))]


def sides(split):
    """The rows of side x and of side y, as sets."""
    return tuple(set(np.flatnonzero(split.table[f"side_{side}"]).tolist()) for side in "xy")


def data(overlap, **options):
    return deal_samples(IDS, LABELS, SplitRule("data", overlap, **options), 0)


@pytest.mark.parametrize("design", ["nested", "pairs"])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_every_class_gives_exact_numbers(overlap, design):
    split = data(overlap, design=design)
    x, y = sides(split)
    for label, n in enumerate(SIZES):
        own = set(np.flatnonzero(label == LABELS).tolist())
        half = n // 2
        assert len(x & own) == len(y & own) == half
        assert len(x & y & own) == round(overlap * half)
    table = split.table
    assert table.columns.tolist() == ["id", "label", "new_label", "side_x", "side_y"]
    assert (table["new_label"].isna() == ~(table["side_x"] | table["side_y"])).all()
    assert (table["new_label"].dropna() == table["label"][table["new_label"].notna()]).all()
    reached = sum(round(overlap * (n // 2)) for n in SIZES) / sum(n // 2 for n in SIZES)
    assert split.facts["overlap_reached"] == pytest.approx(reached)
    assert split.facts["overlap"] == overlap and split.facts["n_x"] == 10 + 20 + 16


def test_nested_sides_share_the_reference_and_exchange_as_little_as_can_be():
    splits = {a: sides(data(a, size=10)) for a in OVERLAPS}
    x = splits[0][0]
    assert all(other == x for other, _ in splits.values())
    assert splits[1][1] == x
    for (a, (_, y)), (b, (_, z)) in itertools.combinations(splits.items(), 2):
        assert len(y & z) == pytest.approx((1 - abs(a - b)) * 30)
    independent = [sides(data(a, size=10, design="pairs")) for a in (0, 0.2)]
    assert independent[0][0] != independent[1][0]


def test_a_split_depends_on_draw_seed_and_ids_alone():
    split = data(0.4)
    order = np.random.default_rng(0).permutation(len(IDS))
    moved = deal_samples([IDS[i] for i in order], LABELS[order], SplitRule("data", 0.4), 0)
    expected = split.table.iloc[order].reset_index(drop=True)
    assert moved.table.equals(expected)
    for other in (data(0.4, draw=1), deal_samples(IDS, LABELS, SplitRule("data", 0.4), 1)):
        assert sides(other)[0] != sides(split)[0]
    counts = np.zeros(21)
    for draw in range(400):
        counts += data(0, draw=draw).table["side_x"][:21]
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("n", [2, 7, 40, 41])
@pytest.mark.parametrize("overlap", [0, 0.3, 1 / 3, 0.5, 1])
def test_unconstrained_sides_are_the_largest_that_fit(n, overlap):
    size = side_size(n, overlap, "unconstrained")
    assert 2 * size - round(overlap * size) <= n < 2 * (size + 1) - round(overlap * (size + 1))
    labels = np.zeros(n, int)
    rule = SplitRule("data", overlap, mode="unconstrained", design="pairs")
    x, y = sides(deal_samples([str(i) for i in range(n)], labels, rule, 0))
    assert len(x) == len(y) == size and len(x & y) == round(overlap * size)
    assert len(x | y) <= n


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_classes_are_dealt_and_numbered_anew(overlap):
    classes, rng = 11, np.random.default_rng(0)
    labels = rng.integers(0, classes, 400)
    ids = [str(i) for i in range(400)]
    split = deal_classes(ids, labels, classes, SplitRule("task", overlap), 0)
    table, shared = split.table, round(overlap * 5)
    on = {side: table[table[f"side_{side}"]] for side in "xy"}
    of = {side: set(rows["label"]) for side, rows in on.items()}
    assert len(of["x"]) == len(of["y"]) == 5 and len(of["x"] & of["y"]) == shared
    for side, rows in on.items():
        pairs = rows[["label", "new_label"]].drop_duplicates()
        assert sorted(pairs["new_label"]) == list(range(5)) and len(pairs) == 5
        assert set(pairs["label"][pairs["new_label"] < shared]) == of["x"] & of["y"]
        assert len(rows) == np.isin(labels, list(of[side])).sum()
    assert split.facts["overlap_reached"] == shared / 5


def test_classes_keep_the_reference_and_may_have_a_size():
    labels, ids = np.repeat(np.arange(10), 30), [str(i) for i in range(300)]

    def dealt(overlap, **options):
        return deal_classes(ids, labels, 10, SplitRule("task", overlap, **options), 0).table

    numbers = [dealt(a)[["side_x"]].assign(new=dealt(a)["new_label"]) for a in OVERLAPS]
    for one in numbers:
        assert one[one["side_x"]].equals(numbers[0][numbers[0]["side_x"]])
    few, more = dealt(0.4, size=8), dealt(0.4, size=20)
    assert few.groupby("label")["side_x"].sum().isin([0, 8]).all()
    assert (more["side_x"] | ~few["side_x"]).all()
    assert not few["side_x"].equals(dealt(0.4, size=8, draw=1)["side_x"])


def test_streams_are_dealt_in_chunks():
    split = deal_chunks(16_079, 64, SplitRule("corpus", 1 / 3), 0)
    table = split.table
    assert len(table) == 80 and table["id"].iloc[7] == "chunk/07"
    assert (table["end"] - table["begin"] == 200).all() and table["end"].iloc[-1] == 16_000
    assert (table["begin"].to_numpy()[1:] == table["end"].to_numpy()[:-1]).all()
    x, y = sides(split)
    assert (len(x), len(y), len(x & y)) == (40, 40, 13)
    assert split.facts["overlap_reached"] == 13 / 40
    short = deal_chunks(1000, 64, SplitRule("corpus", 0.5), 0).table
    assert len(short) == 15 and (short["end"] - short["begin"] == 64).all()
    assert short["side_x"].sum() == 7
    with pytest.raises(DataError, match="a stream of 100 tokens has 1 chunks of a window of 64"):
        deal_chunks(100, 64, SplitRule("corpus"), 0)


def test_composite_classes_are_collapsed_to_their_parts():
    classes = [f"{s}_{d}_{c}" for s in ("disc", "box") for d in (7, 1) for c in ("red", "blue")]
    labels = np.arange(16) % 8
    ids = [str(i) for i in range(16)]
    split, names = collapse_labels(ids, labels, classes, SplitRule("labels", parts=(0, 2)))
    assert names == ("box_blue", "box_red", "disc_blue", "disc_red")
    found = [names[number] for number in split.table["new_label"]]
    parts = [classes[label].split("_") for label in labels]
    assert found == [f"{part[0]}_{part[2]}" for part in parts]
    assert split.table[["side_x", "side_y"]].all().all()
    with pytest.raises(DataError, match="'disc_7_red' has 3 parts, and part 3"):
        collapse_labels(ids, labels, classes, SplitRule("labels", parts=(3,)))


def test_splits_that_cannot_be_dealt():
    with pytest.raises(DataError, match="takes 24 of each; class 0 has 21"):
        data(0, size=12)
    with pytest.raises(DataError, match="takes 2 of each; class 5 has 1"):
        deal_samples(["a"], np.array([5]), SplitRule("data"), 0)
    with pytest.raises(DataError, match="needs two or more; there are 1"):
        deal_classes(["a"], np.array([0]), 1, SplitRule("task"), 0)
    with pytest.raises(DataError, match="size is 30 and class 0 has 21"):
        deal_classes(IDS, LABELS, 3, SplitRule("task", size=30), 0)


def test_rules_are_read_from_recipes():
    rule = read_split({"kind": "data", "overlap": 0.2, "size": 100}, "here")
    assert rule == SplitRule("data", 0.2, size=100)
    assert read_split({"kind": "labels", "parts": [0]}, "here") == SplitRule("labels", parts=(0,))
    assert replace(rule, draw=3).draw == 3


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({"overlap": 0.5}, "no kind; write one of: data, task"),
        ({"kind": "data", "overlab": 0.5}, "unknown key 'overlab'; did you mean 'overlap'"),
        ({"kind": "dat"}, "kind is 'dat', and it is one of"),
        ({"kind": "data", "overlap": 1.5}, "a number from 0 to 1"),
        ({"kind": "data", "size": -1}, "a whole number from 0"),
        ({"kind": "data", "mode": "unconstrained"}, "nested ones share side x; write"),
        (
            {"kind": "data", "mode": "unconstrained", "design": "pairs", "size": 5},
            "size is 5 and mode unconstrained",
        ),
        ({"kind": "labels"}, "parts go with kind labels"),
        ({"kind": "labels", "parts": "0"}, "a list of places"),
    ],
)
def test_rules_that_cannot_be_used(cells, problem):
    with pytest.raises(ConfigError, match=problem):
        read_split(cells, "here")
