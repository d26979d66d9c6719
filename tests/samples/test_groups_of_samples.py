"""Groups of samples: how they are found, and that every draw keeps them whole."""

import io
import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from consilience.datasets import Sample, open_dataset
from consilience.datasets._base import Listing
from consilience.errors import ConfigError, DataError
from consilience.probe import knn, probe, read_labels
from consilience.probe.linear import draw_shots, split_validation
from consilience.samples import choose_samples, make_samples, read_samples
from consilience.samples.groups import parse_group


def picture(value):
    """A small picture of one grey level, as PNG."""
    stream = io.BytesIO()
    Image.new("RGB", (6, 6), (value,) * 3).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def write_pairs(folder, pictures=60, captions=5, classes=6, **columns):
    """Pictures with several captions each, in two files."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, numbers in enumerate(np.array_split(np.arange(pictures), 2)):
        count = lambda i: captions if isinstance(captions, int) else captions[i % len(captions)]  # noqa: E731
        table = {
            "image": [picture(int(i)) for i in numbers],
            "text": [[f"caption {j} of {i}" for j in range(count(i))] for i in numbers],
            "label": rng.integers(0, classes, len(numbers)).tolist(),
        } | {name: [make(i) for i in numbers] for name, make in columns.items()}
        pq.write_table(pa.table(table), folder / f"part-{part}.parquet")
    return folder


def pairs_row(folder, **cells):
    row = {"dataset": "d", "source": "huggingface", "name": str(folder), "modality": "image+text"}
    return row | {"captions": "all"} | cells


def drawn(row, folder, seed=0, parent=None):
    make_samples(row, seed, folder / f"{row['dataset']}.parquet", parent)
    return read_samples(folder / f"{row['dataset']}.parquet")


def splits_of(samples):
    """For each group the splits that its samples are in."""
    return samples.table.groupby("group")["split"].agg(set)


def plain(ids, labels=None, **cells):
    """A dataset of texts with the given ids."""
    labels = [0] * len(ids) if labels is None else labels
    made = (Sample(i, f"line {i}", "", c, f"text {i}") for i, c in zip(ids, labels, strict=True))
    return Listing(tuple(made), tuple(f"class {c}" for c in range(max(labels) + 1)), verified=True)


def text_row(**cells):
    return {"dataset": "toy", "source": "packaged", "name": "-", "modality": "text"} | cells


# --- captions of one picture ----------------------------------------------------------------------


def test_no_picture_is_in_train_and_test_and_random_labels_are_read_at_chance(tmp_path):
    write_pairs(tmp_path / "d", pictures=300)
    found = []
    for seed in range(5):
        samples = drawn(pairs_row(tmp_path / "d"), tmp_path, seed)
        assert splits_of(samples).map(len).max() == 1
        labels, train = read_labels(samples)
        assert train.sum() == 5 * 225
        x = np.random.default_rng(seed).normal(size=(300, 32))[samples.groups]
        found.append(knn(x, labels, train, [1])["top1"][0])
    assert np.mean(found) == pytest.approx(1 / 6, abs=0.06)  # 75 pictures × 5: sd 0.02


def test_the_group_of_a_caption_is_its_picture(tmp_path):
    write_pairs(tmp_path / "d", pictures=4, captions=(1, 2))
    samples = drawn(pairs_row(tmp_path / "d"), tmp_path)
    assert (samples.table["group"] == samples.table["id"].str.split("#").str[0]).all()
    assert samples.groups.tolist() == [0, 1, 1, 2, 3, 3]
    text = "4 groups of 1 to 2 samples"
    assert samples.metadata["groups"] == {"n": 4, "largest": 2, "text": text}


def test_the_log_says_how_many_groups_there_are(tmp_path, caplog):
    write_pairs(tmp_path / "d", pictures=10)
    with caplog.at_level(logging.INFO):
        drawn(pairs_row(tmp_path / "d"), tmp_path)
    assert "dataset d: 10 groups of 5 samples" in caplog.text


def test_without_groups_there_is_no_column(tmp_path):
    write_pairs(tmp_path / "d", pictures=10)
    for cells in ({"captions": "first"}, {"group": "none"}):
        samples = drawn(pairs_row(tmp_path / "d", **cells), tmp_path)
        assert "group" not in samples.table and samples.groups is None
        assert "groups" not in samples.metadata


def test_a_hash_of_samples_is_one_of_stimuli_and_not_of_groups(tmp_path):
    write_pairs(tmp_path / "d", pictures=10, captions=1, scene=lambda i: f"s{i // 2}")
    alone = drawn(pairs_row(tmp_path / "d", captions="first", test_share="0.5"), tmp_path)
    table = alone.table.assign(group=[f"s{i // 2}" for i in range(10)])
    from consilience.samples import hash_samples  # noqa: PLC0415 - for this alone

    assert hash_samples(table) == alone.hash


# --- how groups are found -------------------------------------------------------------------------


def test_groups_by_a_column_of_the_source(tmp_path):
    write_pairs(tmp_path / "d", pictures=12, captions=1, scene=lambda i: f"s{i // 3}")
    row = pairs_row(tmp_path / "d", captions="first", group="column=scene")
    samples = drawn(row, tmp_path)
    assert samples.table["group"].tolist() == [f"s{i // 3}" for i in range(12)]
    with pytest.raises(DataError, match=r"no column 'scenes' for the group; did you mean 'scene'"):
        open_dataset({**row, "group": "column=scenes"})


def test_groups_by_a_pattern_of_the_id():
    ids = [f"video{i // 4:02d}_frame{i % 4}" for i in range(40)]
    table = choose_samples(plain(ids), text_row(group=r"id=(video\d+)_"), 0)
    assert table["group"].tolist() == [id_[:7] for id_ in ids]
    assert table.groupby("group")["split"].nunique().max() == 1
    with pytest.raises(DataError, match=r"does not match 1 of 41 ids, such as 'still'"):
        choose_samples(plain([*ids, "still"]), text_row(group=r"id=(video\d+)_"), 0)


@pytest.mark.parametrize(("cell", "problem"), [
    ("id=video", "0 groups in parentheses"), ("id=(a)(b)", "2 groups in parentheses"),
    ("id=(", "no regular expression"), ("conten", "did you mean 'content'"),
    ("content=x", "is not one of"), ("id=", "is not one of"), ("file=nowhere.tsv", "no such file"),
    ("column=scene", "the source gives no sample such a group"),
])  # fmt: skip
def test_cells_that_cannot_be_used_are_named(cell, problem):
    with pytest.raises(ConfigError, match=f"dataset 'toy', column group .*{problem}"):
        choose_samples(plain(["a", "b"]), text_row(group=cell), 0)


def test_groups_by_a_table(tmp_path):
    path = tmp_path / "groups.tsv"
    path.write_text("group\tid\nfirst\ta\nfirst\tb\n\tc\n")
    table = choose_samples(plain(list("abcd")), text_row(group=f"file={path}"), 0)
    assert table["group"].fillna("-").tolist() == ["first", "first", "-", "-"]
    path.write_text("group\tid\nfirst\tA\n")
    with pytest.raises(DataError, match=r"none of its 1 ids is a sample's; .* like 'a', .* 'A'"):
        choose_samples(plain(list("abcd")), text_row(group=f"file={path}"), 0)
    path.write_text("group\tid\nfirst\ta\nsecond\ta\n")
    with pytest.raises(ConfigError, match="line 3: 'a' is in two groups"):
        choose_samples(plain(list("abcd")), text_row(group=f"file={path}"), 0)


def test_equal_pictures_are_one_group_whatever_they_are_called(tmp_path):
    for name, value in (("a/1", 3), ("a/2", 9), ("b/3", 3), ("b/4", 7), ("b/5", 9)):
        path = tmp_path / "p" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (value,) * 3).save(path, compress_level=value)
    row = {"dataset": "d", "source": "folder", "name": str(tmp_path / "p"), "modality": "image"}
    samples = drawn(row | {"group": "content"}, tmp_path)
    assert samples.groups.tolist() == [0, 1, 0, 2, 1]
    texts = tuple(Sample(f"t{i}", "", text=text) for i, text in enumerate(("x", "y", "x")))
    table = choose_samples(Listing(texts, (), True), text_row(group="content"), 0)
    assert table["group"].nunique() == 2
    vectors = tuple(Sample(f"v{i}", "", vector=np.array([i % 3, 1.0])) for i in range(5))
    row = text_row(group="content", modality="vector")
    table = choose_samples(Listing(vectors, (), True), row, 0)
    assert table["group"].tolist() == [*table["group"][:3], *table["group"][:2]]


def test_members_of_shards_name_groups(tmp_path):
    import tarfile  # noqa: PLC0415 - for this alone

    (tmp_path / "w" / "test").mkdir(parents=True)
    (tmp_path / "w" / "test" / "nshards.txt").write_text("1")
    with tarfile.open(tmp_path / "w" / "test" / "0.tar", "w") as archive:
        for i in range(6):
            for suffix, text in (("txt", f"text {i}"), ("scene", f"s{i // 2}")):
                member = tarfile.TarInfo(f"{i:03d}.{suffix}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
    row = {"dataset": "w", "source": "webdataset", "name": str(tmp_path / "w"), "modality": "text",
           "splits": "test", "group": "column=scene"}  # fmt: skip
    assert drawn(row, tmp_path).table["group"].tolist() == ["s0", "s0", "s1", "s1", "s2", "s2"]


# --- draws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(5,), (1, 2, 5, 3)])
def test_caps_keep_groups_whole_and_larger_ones_contain_smaller_ones(sizes):
    groups = np.repeat(np.arange(40), [sizes[i % len(sizes)] for i in range(40)])
    ids = [f"g{g:02d}-{i}" for i, g in enumerate(groups)]
    dataset = plain(ids, (groups % 4).tolist())
    before = set()
    for cap in (10, 16, 25, 31, 60, 1000):
        table = choose_samples(dataset, text_row(group="id=(g[0-9]+)-", cap=str(cap)), 0)
        found = set(table["id"])
        assert (before <= found and cap - len(found) < max(sizes)) or cap == 1000
        counted = table.groupby("group").size() if "group" in table else pd.Series(dtype=int)
        whole = {f"g{g:02d}": int((groups == g).sum()) for g in range(40)}
        assert all(whole[name] == size for name, size in counted.items())
        before = found


def test_a_cap_below_one_group_is_refused():
    ids = [f"g{i // 5}-{i}" for i in range(40)]
    with pytest.raises(DataError, match="a cap of 4 is less than one group, which has 5 to 5 sam"):
        choose_samples(plain(ids), text_row(group="id=(g[0-9]+)-", cap="4"), 0)


def test_published_draws_of_single_samples_refuse_groups():
    ids = [f"g{i // 5}-{i}" for i in range(40)]
    row = text_row(group="id=(g[0-9]+)-", cap="10", rule="similarity_consistency")
    with pytest.raises(ConfigError, match="draws single samples, and these come in groups"):
        choose_samples(plain(ids), row, 0)


@pytest.mark.parametrize("view", ["half=a", "half=b", "n=23", "per_class=7", "split=train half=a"])
def test_views_keep_groups_whole(tmp_path, view):
    write_pairs(tmp_path / "d")
    parent = drawn(pairs_row(tmp_path / "d"), tmp_path)
    row = {"dataset": "v", "parent": "d", "view": view, "modality": "text"}
    samples = drawn(row, tmp_path, parent=tmp_path / "d.parquet")
    assert (samples.table.groupby("group").size() == 5).all() and len(samples.table)
    assert splits_of(samples).map(len).max() == 1
    if "=7" in view:
        assert samples.table.groupby("label").size().max() == 5
    if view == "n=23":
        assert samples.table.groupby("split").size().tolist() == [20] or len(samples.table) <= 46
    assert set(samples.table["group"]) <= set(parent.table["group"])


def test_halves_of_views_share_no_group_and_hold_all(tmp_path):
    write_pairs(tmp_path / "d", pictures=31)
    parent = drawn(pairs_row(tmp_path / "d"), tmp_path)
    found = []
    for half in "ab":
        row = {"dataset": half, "parent": "d", "view": f"half={half}", "modality": "text"}
        found.append(set(drawn(row, tmp_path, parent=tmp_path / "d.parquet").table["group"]))
    assert not found[0] & found[1] and found[0] | found[1] == set(parent.table["group"])


def test_a_view_may_group_the_samples_of_its_parent(tmp_path):
    write_pairs(tmp_path / "d", captions=1, pictures=40)
    drawn(pairs_row(tmp_path / "d", captions="first"), tmp_path)
    row = {"dataset": "v", "parent": "d", "view": "n=400", "modality": "text"}
    samples = drawn(row | {"group": r"id=:(\d)"}, tmp_path, parent=tmp_path / "d.parquet")
    assert samples.groups is not None and splits_of(samples).map(len).max() == 1
    with pytest.raises(ConfigError, match="a view has its parent's"):
        drawn(row | {"group": "content"}, tmp_path, parent=tmp_path / "d.parquet")


def test_groups_across_the_splits_of_a_source_are_moved_to_train_with_a_word(caplog):
    made = [Sample(f"{s}{i}", "", s, 0, f"text {i}") for s in ("train", "test") for i in range(8)]
    made = [m for m in made if m.split == "train" or m.id != "test0"]
    dataset = Listing((*made, Sample("test9", "", "test", 0, "text 9")), ("class",), True)
    table = choose_samples(dataset, text_row(group=r"id=([0-9]+)"), 0)
    assert table.loc[table["split"] == "test", "id"].tolist() == ["test9"]
    assert "7 groups (such as '1') have samples in train and in test; their 7 test" in caplog.text
    dataset = Listing(tuple(made), ("class",), True)
    with pytest.raises(DataError, match="no other test sample is there; name one split"):
        choose_samples(dataset, text_row(group=r"id=([0-9]+)"), 0)


# --- probes ---------------------------------------------------------------------------------------


def test_validation_rows_are_whole_groups():
    groups = np.repeat(np.arange(30), 4)
    labels = groups % 3
    held_out = split_validation(labels, 0.2, 1, groups)
    assert held_out.reshape(30, 4).all(axis=1).sum() == held_out.sum() / 4 == 6
    for label in range(3):
        assert held_out[labels == label].sum() == 8


def test_shots_are_of_different_groups():
    groups = np.repeat(np.arange(30), 4)
    labels, train = groups % 3, groups < 24
    for seed in range(20):
        chosen = draw_shots(labels, train, 5, seed, groups)
        assert chosen.sum() == 15 and len(set(groups[chosen])) == 15
        fewer = draw_shots(labels, train, 2, seed, groups)
        assert (chosen >= fewer).all()


def test_the_penalty_is_not_chosen_on_copies():
    """On random labels and copies, single rows held out are known by heart; groups are not."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(80), 5)
    labels, x = rng.integers(0, 2, 80)[groups], rng.normal(size=(80, 60))[groups]
    train = groups < 60
    alone = probe(x, labels, train)["val_top1"].mean()
    whole = probe(x, labels, train, groups=groups)["val_top1"].mean()
    assert alone > 0.95 and whole < 0.8


def test_a_samples_table_with_a_group_in_both_splits_is_not_probed(tmp_path):
    write_pairs(tmp_path / "d", pictures=10)
    samples = drawn(pairs_row(tmp_path / "d"), tmp_path)
    samples.table.loc[0, "split"] = "test" if samples.table.loc[0, "split"] == "train" else "train"
    with pytest.raises(DataError, match="1 groups have samples in train and in test"):
        read_labels(samples)


def test_rules_in_words():
    assert parse_group({"dataset": "d"}).kind == ""
    assert parse_group({"dataset": "d", "group": "id=(a=b)"}).value == "(a=b)"
