"""Derived datasets: the samples of another one, with stimuli altered by a known rule."""

import numpy as np
import pytest
from test_datasets_graph import SIZES, ring

from consilience.alterations.texts import edit_text
from consilience.code import sources_of
from consilience.datasets import open_dataset
from consilience.errors import ConfigError
from consilience.features import read_layer
from consilience.features.extract import extract_features
from consilience.samples import iterate, make_samples, read_samples

BLOBS = {"dataset": "b", "source": "synthetic", "name": "blobs n=400 classes=4 size=28"}
BLOBS |= {"modality": "image+text", "cap": "300"}


def derived(cell, row=BLOBS):
    return {**row, "dataset": "b.x", "alteration": cell}


def drawn(row, tmp_path, parent=None):
    path = tmp_path / f"{row['dataset']}.parquet"
    make_samples(row, 0, path, parent)
    return read_samples(path)


def test_a_derived_dataset_has_the_samples_of_the_view_of_that_split(tmp_path):
    drawn(BLOBS, tmp_path)
    view = {"dataset": "v", "modality": "image+text", "parent": "b", "view": "split=test"}
    expected = drawn(view, tmp_path, tmp_path / "b.parquet").table
    found = drawn(derived("of=b split=test shortcut=1"), tmp_path)
    for column in ("id", "split", "label"):
        assert found.table[column].tolist() == expected[column].tolist()
    assert found.metadata["pool"] and len(found.table) == 75
    whole = drawn(derived("of=b shortcut=1"), tmp_path).table
    assert whole["id"].tolist() == read_samples(tmp_path / "b.parquet").table["id"].tolist()
    smaller = {"dataset": "w", "modality": "image+text", "parent": "b.x", "view": "n=20"}
    of_parent = {"dataset": "w", "modality": "image+text", "parent": "b", "view": "n=20"}
    one = drawn(smaller, tmp_path, tmp_path / "b.x.parquet").table["id"].tolist()
    assert one == drawn(of_parent, tmp_path, tmp_path / "b.parquet").table["id"].tolist()


def test_shortcuts_show_on_pictures_and_texts():
    plain, altered = list(open_dataset(BLOBS)), list(open_dataset(derived("of=b shortcut=0.5")))
    right = 0
    colors = {(255, 0, 0): 0, (128, 255, 0): 1, (0, 255, 255): 2, (128, 0, 255): 3}
    for a, b in zip(plain, altered, strict=True):
        assert (a.id, a.label) == (b.id, b.label)
        token, _, text = b.text.partition(" ")
        assert text == a.text
        before, after = np.asarray(a.image()), np.asarray(b.image())
        changed = (before != after).any(-1)
        assert 15 <= changed.sum() <= 37
        (color,) = {tuple(pixel) for pixel in after[changed].tolist()}
        assert token == f"[CLASS{colors[color]}]"
        right += colors[color] == b.label
    assert right == 200
    again = list(open_dataset(derived("of=b shortcut=0.5")))
    other = list(open_dataset(derived("of=b shortcut=0.5 seed=3")))
    assert [s.text for s in again] == [s.text for s in altered] != [s.text for s in other]


def test_noise_and_edits_are_made_once_and_for_all():
    cell = "of=b noise=2000 eda=0.25 operations=swap,delete"
    plain, altered = list(open_dataset(BLOBS)), list(open_dataset(derived(cell)))
    differ = [a.text != b.text for a, b in zip(plain, altered, strict=True)]
    assert np.mean(differ) > 0.8
    first, second = altered[0].image(), altered[0].image()
    assert first.tobytes() == second.tobytes() != plain[0].image().tobytes()


def test_only_what_is_drawn_is_altered(tmp_path, monkeypatch):
    """A dataset of which few samples are drawn does not take the time of all."""
    row = derived("of=b split=test eda=0.25 operations=swap")
    samples, calls = drawn(row, tmp_path), []

    def count(*arguments):
        calls.append(arguments)
        return edit_text(*arguments)

    monkeypatch.setattr("consilience.datasets._altered.edit_text", count)
    found = [sample.text for _, sample in iterate(open_dataset(row), samples)]
    assert found == samples.table["text"].tolist() and len(calls) == len(found) == 75


def test_nodes_of_a_derived_graph(tmp_path):
    row = {"dataset": "g", "source": "graph", "name": f"{ring(tmp_path / 'g')} {SIZES}"}
    row |= {"modality": "graph", "splits": "train,test"}
    cell = "of=g split=test shortcut=0 unmasked=hide drop_edges=0.5"
    plain, altered = open_dataset(row), open_dataset(derived(cell, row))
    shown = altered.graph.x.toarray()[:, 3:]
    assert shown.shape == (60, 3)
    for part, rows in plain.parts.items():
        assert (shown[rows].sum(1) == (part != "rest")).all()
        assert not shown[rows, plain.labels[rows]].any()
    assert 0 < altered.graph.edges.shape[1] < plain.graph.edges.shape[1]
    drawn(derived(cell, row), tmp_path)
    model = {"model": "m", "source": "raw", "name": "values", "modality": "graph"}
    out = tmp_path / "f.safetensors"
    extract_features(model, derived(cell, row), tmp_path / "b.x.parquet", out)
    assert read_layer(out, "values").shape == (15, 6)
    np.testing.assert_array_equal(
        read_layer(out, "values"), altered.graph.x.toarray()[plain.parts["test"]]
    )


def test_derived_datasets_that_there_cannot_be():
    vector = {"dataset": "r", "source": "synthetic", "name": "radial", "modality": "vector"}
    with pytest.raises(ConfigError, match="pictures, texts or nodes of graphs, not vector"):
        open_dataset(derived("of=r shortcut=1", vector))
    with pytest.raises(ConfigError, match=r"'b.x', column alteration .*: unknown key 'shortcutt'"):
        open_dataset(derived("of=b shortcutt=1"))
    assert "consilience.datasets._altered" in sources_of("datasets", derived("of=b noise=5"))
    assert "consilience.datasets._altered" not in sources_of("datasets", BLOBS)
