"""Alterations by planted truths: exact shares, nested rates, ids instead of positions, uniformity.

Tests of uniformity are chi-square tests at the level of 0.001 on draws that are always the same:
they hold or fail for good.
"""

import colorsys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from consilience.alterations.draws import choose_share, floor_share, keys, order_ids, uniforms
from consilience.alterations.graphs import append_classes, drop_edges, node_keys, show_nodes
from consilience.alterations.labels import alter_labels, count_classes
from consilience.alterations.pictures import (
    add_noise,
    augment_picture,
    augment_pictures,
    picture_generator,
    shift_picture,
)
from consilience.alterations.shortcuts import (
    add_token,
    class_tokens,
    disc_places,
    draw_disc,
    show_classes,
)
from consilience.alterations.spec import (
    Alteration,
    Augmentation,
    Derived,
    Labels,
    Shortcut,
    check_modality,
    parse_cell,
    read_alteration,
)
from consilience.alterations.synonyms import read_synonyms
from consilience.alterations.texts import edit_text
from consilience.errors import ConfigError, DataError

N, C = 6000, 5
IDS = [f"s{i}" for i in range(N)]
LABELS = np.arange(N) % C
LEVEL = 0.001


def is_uniform(counts):
    return stats.chisquare(counts).pvalue > LEVEL


# --- draws ----------------------------------------------------------------------------------------


def test_numbers_of_ids_are_uniform_and_independent():
    u, v = uniforms(IDS, "a", 0), uniforms(IDS, "b", 0)
    assert u.min() >= 0 and u.max() < 1
    assert is_uniform(np.histogram(u, 20, (0, 1))[0])
    assert is_uniform(np.histogram2d(u, v, 6, ((0, 1), (0, 1)))[0].ravel())
    assert len(set(keys(IDS, "a", 0).tolist())) == N
    assert not np.array_equal(u, uniforms(IDS, "a", 1))
    # parts do not run into one another
    assert not np.array_equal(uniforms(IDS, "a", "b c"), uniforms(IDS, "a b", "c"))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 100), st.randoms(use_true_random=False))
def test_shares_are_exact_nested_and_of_ids(n, percent, random):
    ids = IDS[:n]
    chosen = choose_share(ids, percent / 100, "x")
    assert chosen.sum() == percent * n // 100
    more = choose_share(ids, 1 if percent > 50 else percent / 50, "x")
    assert (more | ~chosen).all()
    order = random.sample(range(n), n)
    assert (
        choose_share([ids[i] for i in order], percent / 100, "x").tolist() == chosen[order].tolist()
    )


def test_a_share_is_of_the_number_as_it_is_written():
    assert floor_share(0.29, 100) == 29
    assert int(0.29 * 100) == 28
    assert sorted(order_ids(IDS[:9], "x").tolist()) == list(range(9))


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["wrong", "uniform", "new:3"])
def test_labels_are_replaced_by_the_rule(rule):
    given_rule = Labels(rate=0.25, rule=rule)
    new = alter_labels(IDS, LABELS, C, given_rule, seed=0, model=1)
    classes = count_classes(given_rule, C)
    assert classes == (8 if rule == "new:3" else C)
    changed = new != LABELS
    if rule == "uniform":
        assert N // 4 * 0.7 < changed.sum() < N // 4 * 0.9
    else:
        assert changed.sum() == N // 4
    whole = alter_labels(IDS, LABELS, C, Labels(1.0, rule), seed=0, model=1)
    np.testing.assert_array_equal(new[changed], whole[changed])  # nested, with the same new label
    half = alter_labels(IDS, LABELS, C, Labels(0.5, rule), seed=0, model=1)
    np.testing.assert_array_equal(new[changed], half[changed])
    if rule == "wrong":
        assert (whole != LABELS).all()
        for label in range(C):
            counts = np.bincount(whole[label == LABELS], minlength=C)
            assert counts[label] == 0 and is_uniform(np.delete(counts, label))
    elif rule == "uniform":
        assert is_uniform(np.bincount(whole, minlength=C))
        table = stats.contingency.crosstab(whole, LABELS).count
        assert stats.chi2_contingency(table).pvalue > LEVEL
    else:
        assert is_uniform(np.bincount(whole)[C:]) and whole.min() == C


def test_labels_of_an_id_do_not_depend_on_place_or_company():
    rule = Labels(1.0, "wrong")
    whole = alter_labels(IDS, LABELS, C, rule, 0, 1)
    order = np.random.default_rng(0).permutation(N)[:500]
    part = alter_labels([IDS[i] for i in order], LABELS[order], C, rule, 0, 1)
    np.testing.assert_array_equal(part, whole[order])


def test_draws_are_own_or_shared_and_of_a_seed():
    def drawn(draw, seed, model):
        return alter_labels(IDS[:200], LABELS[:200], C, Labels(0.5, "wrong", draw), seed, model)

    shared, own = drawn("shared", 0, 1), drawn("own", 0, 1)
    np.testing.assert_array_equal(shared, drawn("shared", 0, 2))
    np.testing.assert_array_equal(own, drawn("own", 0, 1))
    for other in (drawn("own", 0, 2), drawn("own", 1, 1), shared):
        assert (own != other).mean() > 0.3
    assert (shared != drawn("shared", 1, 1)).mean() > 0.3
    # of the altered 100 of 200, two independent draws have about 50 in common
    both = ((own != LABELS[:200]) & (shared != LABELS[:200])).sum()
    assert 30 < both < 70


def test_one_class_has_no_wrong_label():
    with pytest.raises(ConfigError, match="a wrong label needs two classes"):
        alter_labels(IDS[:2], LABELS[:2] * 0, 1, Labels(1.0), 0)
    with pytest.raises(ConfigError, match="a wrong class needs two"):
        show_classes(IDS[:2], LABELS[:2] * 0, 1, Shortcut(1.0), 0)


# --- shortcuts ------------------------------------------------------------------------------------


def test_shortcuts_show_as_many_classes_as_they_say():
    for rate in (0.0, 0.3, 1.0):
        shown = show_classes(IDS, LABELS, C, Shortcut(rate, "wrong"), 0)
        assert (shown == LABELS).sum() == rate * N
    none = show_classes(IDS, LABELS, C, Shortcut(0.0, "uniform"), 0)
    table = stats.contingency.crosstab(none, LABELS).count
    assert stats.chi2_contingency(table).pvalue > LEVEL  # it says nothing of the class
    half = show_classes(IDS, LABELS, C, Shortcut(0.5, "uniform"), 0)
    share = (half == LABELS).mean()
    assert abs(share - (0.5 + 0.5 / C)) < 4 * np.sqrt(0.5 * 0.2 * 0.8 / N)
    little, much = (show_classes(IDS, LABELS, C, Shortcut(rate, "wrong"), 0) for rate in (0.3, 0.6))
    assert (much[little == LABELS] == LABELS[little == LABELS]).all()
    np.testing.assert_array_equal(little[much != LABELS], much[much != LABELS])


def test_discs_lie_inside_and_have_the_colour_of_the_class():
    grey = np.full((28, 40, 3), 77, np.uint8)
    places = disc_places(IDS, Shortcut(1.0), 0)
    assert is_uniform(np.histogram2d(*places.T, 5, ((0, 1), (0, 1)))[0].ravel())
    for place in [*places[:20], np.zeros(2), np.ones(2)]:
        drawn = draw_disc(grey, 2, C, place)
        inside = (drawn != 77).any(-1)
        assert 20 <= inside.sum() <= 37  # the area of radius 3 is 28.3
        color = [round(255 * v) for v in colorsys.hsv_to_rgb(2 / C, 1, 1)]
        assert (drawn[inside] == color).all()
        rows, columns = np.nonzero(inside)
        x, y = 3 + place * (np.array([40, 28]) - 6)
        np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], [x, y], atol=0.35)
        assert np.hypot(columns + 0.5 - x, rows + 0.5 - y).max() <= 3
    assert (grey == 77).all()
    assert (draw_disc(np.zeros((224, 224, 3), np.uint8), 0, C, places[0]) != 0).any(-1).sum() > 1700


def test_tokens_stand_before_texts():
    assert add_token("a dog", 3) == "[CLASS3] a dog"
    assert class_tokens(2) == ["[CLASS0]", "[CLASS1]"]


# --- graphs ---------------------------------------------------------------------------------------


def test_nodes_show_classes_in_columns_and_those_outside_keep_or_hide_theirs():
    ids, labels = IDS[:90], LABELS[:90]
    train, test = np.arange(0, 40), np.arange(50, 80)
    outside = np.setdiff1d(np.arange(90), [*train, *test])
    for unmasked in ("keep", "hide"):
        shortcut = Shortcut(0.5, "wrong", unmasked=unmasked)
        shown = show_nodes(ids, labels, C, [(train, 0.5), (test, 0.0)], shortcut, 0, 1)
        assert (shown[train] == labels[train]).sum() == 20
        assert (shown[test] != labels[test]).all()
        x = sparse.random_array((90, 7), density=0.3, rng=0, format="csr", dtype=np.float32)
        wide = append_classes(x, shown, C)
        assert wide.dtype == np.float32 and wide.shape == (90, 12) and wide.format == "csr"
        np.testing.assert_array_equal(wide.toarray()[:, :7], x.toarray())
        columns = wide.toarray()[:, 7:]
        if unmasked == "keep":
            assert (shown[outside] == labels[outside]).all()
            np.testing.assert_array_equal(columns, np.eye(C)[shown])
        else:
            assert not columns[outside].any() and (columns[train].sum(1) == 1).all()


def test_edges_are_dropped_in_both_directions_anew_each_epoch():
    n, rng = 400, np.random.default_rng(0)
    pairs = np.unique(np.sort(rng.integers(0, n, (5000, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    edges = np.concatenate([pairs, pairs[:, ::-1]]).T
    nodes = node_keys(IDS[:n])
    left = drop_edges(edges, nodes, 0.2, 0, 1, epoch=3)
    kept = {tuple(edge) for edge in left.T.tolist()}
    assert kept == {(b, a) for a, b in kept} and kept < {tuple(e) for e in edges.T.tolist()}
    m = len(pairs)
    assert abs(left.shape[1] / 2 - 0.8 * m) < 4 * np.sqrt(0.16 * m)
    other = {tuple(e) for e in drop_edges(edges, nodes, 0.2, 0, 1, epoch=4).T.tolist()}
    both = len(kept & other) / 2  # independent epochs: 0.64 of the edges
    assert abs(both - 0.64 * m) < 4 * np.sqrt(0.64 * 0.36 * m)
    assert kept > {tuple(e) for e in drop_edges(edges, nodes, 0.5, 0, 1, epoch=3).T.tolist()}
    assert drop_edges(edges, nodes, 1.0, 0, 1, 0).shape == (2, 0)
    np.testing.assert_array_equal(drop_edges(edges, nodes, 0.0, 0, 1, 0), edges)
    # nodes in another order: the same edges between the same ids
    order = rng.permutation(n)
    place = np.argsort(order)
    moved = drop_edges(place[edges], node_keys([IDS[i] for i in order]), 0.2, 0, 1, epoch=3)
    assert {tuple(e) for e in order[moved].T.tolist()} == kept


# --- pictures -------------------------------------------------------------------------------------


def test_noise_has_a_variance_uniform_up_to_the_given_one():
    grey = np.full((64, 64), 128, np.uint8)
    noisy = [add_noise(grey, 900, picture_generator(id_, 0, 0)) for id_ in IDS[:400]]
    variances = np.array([picture.astype(float).var() for picture in noisy])
    assert stats.kstest(variances / 900, "uniform").pvalue > LEVEL
    assert np.abs(np.mean([p.mean() for p in noisy]) - 128) < 0.1
    again = add_noise(grey, 900, picture_generator(IDS[5], 0, 0))
    np.testing.assert_array_equal(again, noisy[5])
    for other in (picture_generator(IDS[5], 1, 0), picture_generator(IDS[5], 0, 0, 3)):
        assert (add_noise(grey, 900, other) != noisy[5]).mean() > 0.5
    dark = add_noise(np.zeros((20, 20, 3), np.uint8), 1e6, np.random.default_rng(0))
    assert set(np.unique(dark)[[0, -1]]) == {0, 255}


def test_pictures_are_mirrored_and_moved():
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert shift_picture(picture, 1, -2).tolist() == [[0, 0, 0, 0], [2, 3, 0, 0], [6, 7, 0, 0]]
    assert shift_picture(picture, -2, 1).tolist() == [[0, 8, 9, 10], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(shift_picture(picture, 0, 0), picture)
    assert not shift_picture(picture, 5, 0).any()
    how, seen = Augmentation(flip=0.5, shift=1), Counter()
    for id_ in IDS[:900]:
        seen[augment_picture(picture, how, picture_generator(id_, 0, 0)).tobytes()] += 1
    assert len(seen) == 18 and is_uniform(list(seen.values()))
    whole = augment_pictures(np.stack([picture] * 9), IDS[:9], how, 4, 0, 1)
    some = augment_pictures(np.stack([picture] * 3), IDS[6:3:-1], how, 4, 0, 1)
    np.testing.assert_array_equal(some, whole[6:3:-1])
    same = augment_picture(picture, Augmentation(), picture_generator("a", 0, 0))
    np.testing.assert_array_equal(same, picture)


# --- texts ----------------------------------------------------------------------------------------

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
SYNONYMS = {"two": ("pair", "couple"), "five": ("quint",)}


def edits(operation, share, synonyms=None, n=300):
    how = Augmentation(eda=share, operations=(operation,))
    return [edit_text(" ".join(WORDS), id_, how, 0, synonyms).split() for id_ in IDS[:n]]


def test_words_are_deleted_inserted_and_exchanged():
    for words in edits("delete", 0.25):
        assert len(words) == 6 and [w for w in WORDS if w in words] == words
    assert is_uniform(list(Counter(w for t in edits("delete", 0.25) for w in t).values()))
    assert {len(words) for words in edits("delete", 1.0)} == {1}
    for words in edits("insert", 0.25):
        assert len(words) == 10 and set(words) == set(WORDS)
    for words in edits("swap", 0.125):
        assert sorted(words) == sorted(WORDS)
        assert sum(a != b for a, b in zip(words, WORDS, strict=True)) == 2
    assert sum(words == WORDS for words in edits("swap", 1.0)) < 5
    assert {len(words) for words in edits("delete", 0.01)} == {7}  # one word at least
    assert edit_text("word", "a", Augmentation(eda=1, operations=("swap", "delete")), 0) == "word"


def test_synonyms_keep_punctuation_and_places():
    how = Augmentation(eda=1.0, operations=("synonym",))
    found = {edit_text("one (Two), five!", id_, how, 0, SYNONYMS) for id_ in IDS[:40]}
    assert found == {"one (pair), quint!", "one (couple), quint!"}
    some = edits("synonym", 0.125, SYNONYMS)
    assert {sum(a != b for a, b in zip(w, WORDS, strict=True)) for w in some} == {1}
    assert edit_text("one three", "a", how, 0, SYNONYMS) == "one three"
    assert set(edits("insert", 0.125, SYNONYMS)[0]) - set(WORDS)


def test_texts_are_edited_once_and_by_one_operation():
    how = Augmentation(eda=0.25, operations=("swap", "delete", "insert"))
    lengths = Counter(len(edit_text(" ".join(WORDS), id_, how, 0).split()) for id_ in IDS[:900])
    assert set(lengths) == {6, 8, 10} and is_uniform(list(lengths.values()))
    text = " ".join(WORDS)
    assert edit_text(text, "a", how, 0) == edit_text(text, "a", how, 0)
    assert len({edit_text(text, id_, how, 0) for id_ in IDS[:50]}) > 30
    assert edit_text(text, "a", Augmentation(), 0) == text


def test_synonyms_are_the_single_words_of_synsets(tmp_path):
    lines = {
        "data.noun": "00000010 05 n 03 dog 0 Domestic_dog 0 hound 0 001 @ 1 n 0000 | a dog",
        "data.verb": "00000010 30 v 02 chase 1 dog 0 000 00 | go after",
        "data.adj": "00000010 00 a 02 galore(ip) 0 many 0 000 | lots of",
        "data.adv": "  1 licence\n00000010 02 r 01 doggedly 0 000 | with persistence",
    }
    with pytest.raises(DataError, match="no such file; name the folder of WordNet"):
        read_synonyms(tmp_path)
    for name, text in lines.items():
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    assert read_synonyms(tmp_path) == {
        "dog": ("chase", "hound"),
        "hound": ("dog",),
        "chase": ("dog",),
        "galore": ("many",),
        "many": ("galore",),
    }
    (tmp_path / "data.adv").write_text("a b\n")
    with pytest.raises(DataError, match="'a b' is no line of WordNet's data"):
        read_synonyms(tmp_path)


# --- what is written ------------------------------------------------------------------------------


def test_alterations_are_read_from_recipes():
    cells = {
        "labels": {"rate": 0.25, "rule": "new:5", "draw": "shared"},
        "shortcut": {"rate": 1, "miss": "uniform", "unmasked": "hide"},
        "augmentation": {"eda": 0.5, "operations": ["swap"]},
        "seeds": 5,
    }
    found = read_alteration(cells, "here")
    assert found.labels == Labels(0.25, "new:5", "shared") and found.labels.new == 5
    assert found.shortcut == Shortcut(1, "uniform", "own", "hide")
    assert found.augmentation.used == ("eda",)
    assert read_alteration({}, "here") == Alteration()


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (
            {"labels": {"rate": 0.2, "rul": "wrong"}},
            "here, labels: unknown key 'rul'; did you mean",
        ),
        ({"labels": {"rate": 1.2}}, "rate is 1.2, and it is a number from 0 to 1"),
        ({"labels": {"rate": True}}, "rate is True, and it is"),
        ({"labels": {"rule": "wrong"}}, "no rate; write a number"),
        ({"labels": {"rate": 0.2, "rule": "new:0"}}, "new:K with K classes more"),
        ({"labels": 0.25}, "0.25 is no mapping"),
        ({"shortcut": {"rate": 1, "miss": "right"}}, "and it is wrong or uniform"),
        ({"augmentation": {"noise": -1}}, "a number from 0, a variance"),
        ({"augmentation": {"shift": 1.5}}, "a whole number from 0"),
        ({"augmentation": {"eda": 0.5}}, "synonyms are of WordNet, and no folder"),
        ({"augmentation": {"eda": 0.5, "operations": ["move"]}}, "a list of synonym, swap"),
    ],
)
def test_alterations_that_cannot_be_used(cells, problem):
    with pytest.raises(ConfigError, match=problem):
        read_alteration(cells, "here")


def test_modalities_have_their_augmentations():
    noise = Alteration(augmentation=Augmentation(noise=5))
    check_modality(noise, "image", "here")
    with pytest.raises(ConfigError, match="noise is no augmentation of modality text; known: eda"):
        check_modality(noise, "text", "here")
    with pytest.raises(ConfigError, match="pictures, texts or nodes of graphs, not vector"):
        check_modality(Alteration(shortcut=Shortcut(1)), "vector", "here")
    check_modality(Alteration(labels=Labels(1)), "vector", "here")


def test_cells_of_derived_datasets():
    found = parse_cell("of=cora split=test shortcut=.5 miss=uniform drop_edges=0.2 seed=7", "here")
    augmentation = Augmentation(drop_edges=0.2)
    alteration = Alteration(shortcut=Shortcut(0.5, "uniform", "shared"), augmentation=augmentation)
    assert found == Derived("cora", alteration, "test", 7)
    assert parse_cell("of=d noise=9", "here").seed == 2024


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("shortcut=1", "write of=DATASET"),
        ("of=d", "nothing is altered"),
        ("of=d shortcut=2", "'shortcut=2' does not have the form"),
        ("of=d noise=5 miss=wrong", "miss is said of a shortcut"),
        ("of=d eda=0.5", "synonyms are of WordNet"),
        ("of=d of=e noise=5", "'of' is given twice"),
        ("of=d nois=5", "unknown key 'nois'; did you mean 'noise'"),
    ],
)
def test_cells_that_cannot_be_used(cell, problem):
    with pytest.raises(ConfigError, match=problem):
        parse_cell(cell, "here")
