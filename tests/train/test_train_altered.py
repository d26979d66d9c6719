"""What is learnt under the alterations of a recipe: each by what a network is given."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from given import INPUT
from PIL import Image
from scipy import sparse

from consilience.alterations.splits import collapse_labels, deal_classes, read_split
from consilience.datasets import Sample
from consilience.datasets._graph import Graph
from consilience.errors import ConfigError
from consilience.networks.graphs import neighbours
from consilience.samples import make_samples, read_samples
from consilience.train.altered import TEST, TRAIN, Stimuli, alter, one_side
from consilience.train.inputs import open_data
from consilience.train.sources import Sources, class_names
from consilience.train.split import make_split

N, CLASSES = 40, 4


def spec(alterations, modality="image", **changes):
    given = {
        "dataset": "given",
        "architecture": "small:cnn",
        "modality": modality,
        "objective": "classes",
        "input": {**INPUT, "size": 16, "channels": 3},
        "weights": "",
        "alterations": alterations,
        "seeds": {"study": 0, "draw": 1},
    }
    return given | changes


def pictures():
    grey = Image.fromarray(np.full((16, 16, 3), 100, np.uint8))
    return [Sample(f"s{i:02d}", "here", label=i % CLASSES, image=lambda: grey) for i in range(N)]


def texts():
    return [Sample(f"s{i:02d}", "here", label=i % CLASSES, text="one two three") for i in range(N)]


def labels_of(stimuli):
    return np.array([sample.label for sample in stimuli.samples])


def test_nothing_is_altered_without_a_word():
    given = Stimuli(pictures(), CLASSES)
    assert alter(given, None, spec({}), TRAIN) is given


def test_labels_are_replaced_in_training_only():
    given, before = Stimuli(pictures(), CLASSES), labels_of(Stimuli(pictures(), CLASSES))
    for rate in (0.25, 0.5):
        how = spec({"labels": {"rate": rate}})
        assert (labels_of(alter(given, None, how, TRAIN)) != before).sum() == rate * N
        assert (labels_of(alter(given, None, how, TEST)) == before).all()
    new = alter(given, None, spec({"labels": {"rate": 1.0, "rule": "new:5"}}), TRAIN)
    assert new.classes == CLASSES + 5
    assert set(labels_of(new)) <= set(range(CLASSES, CLASSES + 5))
    # What is scored has as many classes, or a head of nine would not fit.
    assert alter(given, None, spec({"labels": {"rate": 1.0, "rule": "new:5"}}), TEST).classes == 9


def test_draws_are_of_a_model_or_shared():
    def drawn(model, draw):
        how = spec({"labels": {"rate": 0.5, "draw": draw}}, seeds={"study": 0, "draw": model})
        return labels_of(alter(Stimuli(pictures(), CLASSES), None, how, TRAIN)).tolist()

    assert drawn(1, "own") != drawn(2, "own")
    assert drawn(1, "shared") == drawn(2, "shared")


def test_discs_are_learnt_and_clean_pictures_scored():
    given, how = Stimuli(pictures(), CLASSES), spec({"shortcut": {"rate": 1.0}})
    data = open_data(alter(given, None, how, TRAIN), how)
    colors = [set(map(tuple, x.permute(1, 2, 0).reshape(-1, 3).tolist())) for x in data.inputs]
    # Red, chartreuse, cyan and violet: hues 0, 1/4, 1/2, 3/4 of full saturation.
    wanted = [(255, 0, 0), (128, 255, 0), (0, 255, 255), (128, 0, 255)]
    assert all(wanted[i % CLASSES] in color for i, color in enumerate(colors))
    clean = open_data(alter(given, None, how, TEST), how)
    assert (clean.inputs == 100).all()


def test_tokens_are_learnt_as_words():
    how = spec({"shortcut": {"rate": 1.0}}, "text", architecture="small:transformer")
    learnt = alter(Stimuli(texts(), CLASSES), None, how, TRAIN)
    assert [sample.text for sample in learnt.samples[:2]] == [
        "[CLASS0] one two three", "[CLASS1] one two three",
    ]  # fmt: skip
    data = open_data(learnt, how)
    first = {tuple(row) for row in data.inputs[:CLASSES].tolist()}
    assert len(first) == CLASSES  # the tokens are words of the vocabulary


def test_texts_are_edited_once():
    how = spec({"augmentation": {"eda": 0.5, "operations": ["delete"]}}, "text")
    learnt = alter(Stimuli(texts(), CLASSES), None, how, TRAIN)
    assert {len(sample.text.split()) for sample in learnt.samples} == {2}
    assert learnt.vary is None
    assert alter(Stimuli(texts(), CLASSES), None, how, TEST).samples[0].text == "one two three"


def test_pictures_vary_with_the_epoch_and_the_id_alone():
    how = spec({"augmentation": {"noise": 400.0}})
    data = open_data(alter(Stimuli(pictures(), CLASSES), None, how, TRAIN), how)
    rows = torch.tensor([3, 7, 1])
    one, _ = data.take_varied(rows, 0)
    again, _ = data.take_varied(rows.flip(0), 0)
    assert torch.equal(one, again.flip(0))
    assert not torch.equal(one, data.take_varied(rows, 1)[0])
    still, _ = data.take(rows)
    assert (still == still[0, 0, 0, 0]).all()
    scored = open_data(alter(Stimuli(pictures(), CLASSES), None, how, TEST), how)
    assert torch.equal(scored.take_varied(rows, 0)[0], still)


class Nodes:
    """A ring of nodes: 8 to learn from, 4 to choose by, 20 to be scored, the rest of no part."""

    ids = tuple(f"n{i}" for i in range(N))
    labels = np.arange(N) % CLASSES

    def __init__(self):
        self.parts = {
        "train": np.arange(8), "validation": np.arange(8, 12), "test": np.arange(12, 32),
        "rest": np.arange(32, N),
    }  # fmt: skip

    @property
    def graph(self):
        rows = np.arange(N)
        edges = np.stack([np.r_[rows, (rows + 1) % N], np.r_[(rows + 1) % N, rows]])
        x = sparse.csr_array(np.ones((N, 2), np.float32))
        return Graph(x, edges[:, np.lexsort(edges)])


@pytest.mark.parametrize(("unmasked", "seen"), [("keep", 1), ("hide", 0)])
def test_nodes_show_their_class_where_they_are_learnt(unmasked, seen):
    nodes = Nodes()
    samples = [Sample(f"n{i}", "here", label=i % CLASSES, node=i) for i in range(8)]
    how = spec({"shortcut": {"rate": 1.0, "unmasked": unmasked}}, "graph")
    found = alter(Stimuli(samples, CLASSES, nodes.graph), nodes, how, TRAIN)
    shown = found.graph.x.toarray()[:, 2:]
    own = shown[np.arange(N), nodes.labels]
    assert (own[:12] == 1).all()  # training and validation, of which all show it
    assert (own[12:32] == 0).all()  # what is scored shows another one
    assert (shown[12:32].sum(1) == 1).all()
    assert (own[32:] == seen).all()
    again = alter(Stimuli(samples, CLASSES, nodes.graph), nodes, how, TEST)
    assert (again.graph.x != found.graph.x).nnz == 0  # the same graph in both


def test_edges_are_left_out_in_both_directions_and_anew_in_every_epoch():
    nodes = Nodes()
    samples = [Sample(f"n{i}", "here", label=i % CLASSES, node=i) for i in range(8)]
    how = spec({"augmentation": {"drop_edges": 0.5}}, "graph")
    vary = alter(Stimuli(samples, CLASSES, nodes.graph), nodes, how, TRAIN).vary
    edges = torch.from_numpy(nodes.graph.edges)
    kept = [vary.edges(edges, epoch) for epoch in range(3)]
    assert all({(a, b) for a, b in k.T.tolist()} == {(b, a) for a, b in k.T.tolist()} for k in kept)
    assert all(10 < k.shape[1] < 70 for k in kept)
    assert len({tuple(k.flatten().tolist()) for k in kept}) == 3
    for one in kept:  # what networks of PyTorch Geometric take, and graphs that are left so
        dense = torch.zeros(N, N).index_put((one[1], one[0]), torch.ones(one.shape[1]))
        assert torch.equal(neighbours(one, N).to_dense(), dense)


def test_one_side_of_a_split_by_classes():
    given = Stimuli(pictures(), CLASSES)
    ids, labels = [s.id for s in given.samples], labels_of(given)
    split = deal_classes(ids, labels, CLASSES, read_split({"kind": "task", "overlap": 0.5}, ""), 0)
    sides = {side: one_side(given, split.table, side, TRAIN) for side in "xy"}
    for side, found in sides.items():
        assert found.classes == 2
        assert len(found.samples) == N / 2
        scored = one_side(given, split.table, side, TEST)
        assert [s.id for s in scored.samples] == [s.id for s in found.samples]
    shared = {s.id: s.label for s in sides["x"].samples}
    both = [s for s in sides["y"].samples if s.id in shared]
    assert len(both) == N / 4
    assert {s.label for s in both} == {0} == {shared[s.id] for s in both}


def test_classes_are_those_that_a_network_tells():
    samples = SimpleNamespace(classes=("a_u", "a_v", "b_u", "b_v"))
    ids, labels = [f"s{i}" for i in range(N)], np.arange(N) % CLASSES
    rule = read_split({"kind": "labels", "parts": [1]}, "")
    parts = collapse_labels(ids, labels, samples.classes, rule)[0].table
    task = deal_classes(ids, labels, CLASSES, read_split({"kind": "task"}, ""), 0).table
    new = {"labels": {"rate": 0.5, "rule": "new:2"}}

    def named(table, alterations, side="y"):
        learnt = Sources({}, samples, table)
        return class_names(learnt, spec(alterations, overlap={"side": side}))

    assert named(None, {}) == list(samples.classes)
    assert named(None, new) == [*samples.classes, "new 0", "new 1"]
    assert named(parts, {}) == ["a_u|b_u", "a_v|b_v"]
    sides = [named(task, {}, side) for side in "xy"]
    assert sorted(sides[0] + sides[1]) == list(samples.classes)
    for side, names in zip("xy", sides, strict=True):
        own = task[task[f"side_{side}"]].drop_duplicates("new_label").set_index("new_label")
        assert names == [samples.classes[own["label"][k]] for k in range(2)]


def test_a_split_is_a_file(tmp_path):
    row = {"dataset": "digits", "source": "synthetic", "name": "radial classes=4 n=200",
           "modality": "vector", "splits": "train,test"}  # fmt: skip
    make_samples(row, 0, tmp_path / "samples.parquet")
    out = tmp_path / "split.parquet"
    rule = {"kind": "data", "overlap": 0.5, "size": 10}
    make_split(tmp_path / "samples.parquet", out, dataset="d", rule=rule, rows="train", seed=0)
    table = pd.read_parquet(out)
    samples = read_samples(tmp_path / "samples.parquet").table.set_index("id")
    assert (samples.loc[table["id"], "split"] == "train").all()
    assert table["side_x"].sum() == table["side_y"].sum() == 40
    assert (table["side_x"] & table["side_y"]).sum() == 20
    counts = table[table["side_x"]].groupby("label").size()
    assert counts.tolist() == [10] * 4
    before = out.read_bytes()
    make_split(tmp_path / "samples.parquet", out, dataset="d", rule=rule, rows="train", seed=0)
    assert out.read_bytes() == before


def test_what_cannot_be_altered_so():
    how = spec({"augmentation": {"eda": 0.5, "operations": ["swap"]}})
    with pytest.raises(ConfigError, match="eda is no augmentation of modality image"):
        alter(Stimuli(pictures(), CLASSES), None, how, TRAIN)
