"""Graphs: a small one with planted facts in Cora's layout, and Cora where it is installed."""

import importlib.util
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consilience.datasets import open_dataset
from consilience.datasets._graph import draw_parts, make_edges
from consilience.errors import ConfigError, DataError
from consilience.features import extract, read_layer
from consilience.features.extract import extract_features
from consilience.samples import choose_samples, make_samples, read_samples


def row(name, **cells):
    return {"dataset": "g", "source": "graph", "name": str(name), "modality": "graph"} | cells


def write_graph(folder, ids, subjects, features, relations):
    folder.mkdir(exist_ok=True)
    nodes = {"nodeId": ids, "labels": ["Paper"] * len(ids), "subject": subjects}
    pq.write_table(pa.table(nodes | {"features": features}), folder / "nodes.parquet")
    columns = [list(column) for column in zip(*relations, strict=True)] or [[], []]
    table = {"sourceNodeId": columns[0], "targetNodeId": columns[1]}
    pq.write_table(pa.table(table), folder / "relations.parquet")
    return folder


def ring(folder, n=60, classes=3):
    """Node 7i + 3 has the class i % classes and cites the one after it."""
    ids = [7 * i + 3 for i in range(n)]
    features = [[1 + i % 2, 0, i % classes] for i in range(n)]
    relations = [(ids[i], ids[(i + 1) % n]) for i in range(n)]
    return write_graph(folder, ids, [i % classes for i in range(n)], features, relations)


SIZES = "train=4 validation=10 test=15"


def test_a_graph_is_what_its_files_say(tmp_path):
    ids, words = [30, 10, 20], [[1, 1, 0, 0], [0, 0, 0, 0], [0, 3, 0, 1]]
    relations = [(10, 30), (30, 10), (20, 20), (20, 30), (20, 30)]
    folder = write_graph(tmp_path / "g", ids, [1, 0, 1], words, relations)
    dataset = open_dataset(row(f"{folder} train=0 validation=0 test=0"))
    assert dataset.graph.x.dtype == np.float32
    expected = [[0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0.75, 0, 0.25]]
    np.testing.assert_array_equal(dataset.graph.x.toarray(), expected)
    # 10-30 and 20-30 are rows 1-0 and 2-0: by target, then source
    assert dataset.graph.edges.tolist() == [[1, 2, 0, 0], [0, 0, 1, 2]]
    found = [(s.id, s.label, s.node, s.split, s.vector.tolist()) for s in dataset]
    assert found == [
        ("30", 1, 0, "", expected[0]),
        ("10", 0, 1, "", expected[1]),
        ("20", 1, 2, "", expected[2]),
    ]
    assert dataset.classes == ("class 0", "class 1")


def test_edges_are_a_set_of_pairs_in_both_directions():
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 12, (40, 2))
    wanted = {(a, b) for a, b in pairs.tolist() if a != b}
    wanted |= {(b, a) for a, b in wanted}
    found = make_edges(pairs, 12)
    assert found.T.tolist() == [list(p) for p in sorted(wanted, key=lambda p: (p[1], p[0]))]
    assert np.array_equal(found, make_edges(rng.permutation(pairs)[:, ::-1], 12))


def test_parts_have_their_sizes_and_share_no_node(tmp_path):
    dataset = open_dataset(row(f"{ring(tmp_path / 'g')} {SIZES}", splits="train,test"))
    parts = dataset.parts
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 12,
        "validation": 10,
        "test": 15,
        "rest": 23,
    }
    assert sorted(np.concatenate(list(parts.values()))) == list(range(60))
    assert np.bincount(dataset.labels[parts["train"]]).tolist() == [4, 4, 4]
    split = {s.node: s.split for s in dataset}
    assert {node for node, s in split.items() if s == "test"} == set(parts["test"].tolist())
    assert {node for node, s in split.items() if s == "train"} == set(parts["train"].tolist())
    validation = open_dataset(row(f"{tmp_path / 'g'} {SIZES}", splits="validation"))
    assert [s.node for s in validation] == parts["validation"].tolist()
    assert {s.split for s in validation} == {""}


def test_parts_are_drawn_by_ids_not_by_places_and_are_nested():
    rng = np.random.default_rng(1)
    ids = [str(i) for i in rng.permutation(10**6)[:90]]
    labels = np.arange(90) % 3
    small, large = ({"train": t, "validation": 9, "test": e} for t, e in ((5, 10), (5, 30)))

    def named(order, sizes, seed=0):
        parts = draw_parts([ids[i] for i in order], labels[order], sizes, seed)
        return {name: {ids[order[row]] for row in rows} for name, rows in parts.items()}

    straight = named(np.arange(90), small)
    assert straight == named(rng.permutation(90), small)
    assert straight["test"] < named(np.arange(90), large)["test"]
    assert straight["train"] < named(np.arange(90), small | {"train": 8})["train"]
    assert straight["test"] != named(np.arange(90), small, seed=1)["test"]


@pytest.mark.parametrize(
    ("name", "cells", "problem"),
    [
        ("{} size=3", {}, "unknown parameter 'size'"),
        ("{} seed=x", {}, "'seed=x' does not have the form"),
        ("{} train=4", {"splits": "train,tst"}, "'tst' is neither train nor test"),
        ("{} train=4", {"splits": "tst"}, "unknown part 'tst'; did you mean 'test'"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path, name, cells, problem):
    with pytest.raises(ConfigError, match=problem):
        open_dataset(row(name.format(ring(tmp_path / "g")), **cells))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ids": [1, 1]}, "1 nodes have the id of another one"),
        ({"relations": [(1, 5)]}, "a relation of the node 5, which is not there"),
        ({"features": [[1], [1, 2]]}, "nodes with 1 and with 2 features"),
        ({"features": [[1.0], [-1.0]]}, "features that are negative"),
        ({"subjects": [0, None]}, "the column 'subject' has empty cells"),
        ({"subjects": [0, -1]}, "the subject -1; subjects are counted from 0"),
        ({}, "are left for validation=500 and test=1000"),
    ],
)
def test_files_that_are_no_graph(tmp_path, change, problem):
    facts = {"ids": [1, 2], "subjects": [0, 1], "features": [[1], [2]], "relations": [(1, 2)]}
    write_graph(tmp_path / "g", **(facts | change))
    with pytest.raises(DataError, match=problem):
        open_dataset(row(f"{tmp_path / 'g'} train=1"))
    with pytest.raises(DataError, match="no such file; name `cora`, or a folder"):
        open_dataset(row(tmp_path))


def test_nodes_are_sampled_and_their_own_rows_extracted(tmp_path):
    cells = row(f"{ring(tmp_path / 'g')} {SIZES}", splits="train,test")
    make_samples(cells, 0, tmp_path / "s.parquet")
    samples = read_samples(tmp_path / "s.parquet")
    assert samples.metadata["n"] == {"test": 15, "train": 12}
    model = {"model": "values", "source": "raw", "name": "values", "modality": "graph"}
    extract_features(model, cells, tmp_path / "s.parquet", tmp_path / "f.safetensors")
    dataset = open_dataset(cells)
    rows = [dataset.ids.index(id_) for id_ in samples.table["id"]]
    found = read_layer(tmp_path / "f.safetensors", "values")
    np.testing.assert_array_equal(found, dataset.graph.x.toarray()[rows])


class Neighbours:
    """What a node's neighbours have on average: no sample alone says that."""

    layers, provenance = ("mean",), {"architecture": "mean"}

    def begin(self, dataset):
        source, target = dataset.graph.edges
        n = dataset.graph.x.shape[0]
        self._sums = np.zeros((n, dataset.graph.x.shape[1]), np.float32)
        np.add.at(self._sums, target, dataset.graph.x.toarray()[source])
        self._sums /= np.bincount(target, minlength=n)[:, None]

    def preprocess(self, sample):
        return sample.node

    def extract(self, batch):
        return {"mean": self._sums[np.asarray(batch)]}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_extractor_of_nodes_sees_their_graph(tmp_path, monkeypatch, workers):
    cells = row(f"{ring(tmp_path / 'g')} {SIZES}", splits="test")
    make_samples(cells, 0, tmp_path / "s.parquet")
    monkeypatch.setattr(extract, "load_model", lambda row, device: Neighbours())
    model = {"model": "mean", "source": "raw", "name": "x", "modality": "graph"}
    out = tmp_path / "f.safetensors"
    extract_features(model, cells, tmp_path / "s.parquet", out, batch_size=4, workers=workers)
    nodes = [sample.node for sample in open_dataset(cells)]
    x = open_dataset(cells).graph.x.toarray()
    expected = np.stack([(x[i - 1] + x[(i + 1) % 60]) / 2 for i in nodes])
    np.testing.assert_allclose(read_layer(out, "mean"), expected, atol=1e-7)


def test_cora_without_its_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="'graphdatascience' is not installed; install it: pip"):
        open_dataset(row("cora"))


HERE = importlib.util.find_spec("graphdatascience") is not None


@pytest.mark.skipif(not HERE, reason="the package graphdatascience, which holds Cora, is optional")
def test_cora_is_the_published_graph():
    dataset = open_dataset(row("cora", splits="train,test"))
    x, edges, y = dataset.graph.x, dataset.graph.edges, dataset.labels
    assert x.shape == (2708, 1433) and x.nnz == 49216
    np.testing.assert_allclose(x.sum(axis=1), 1, rtol=1e-5)
    assert sorted(np.bincount(y).tolist()) == [180, 217, 298, 351, 418, 426, 818]
    assert edges.shape == (2, 2 * 5278)
    assert math.isclose((y[edges[0]] == y[edges[1]]).mean(), 0.810, abs_tol=5e-4)
    assert np.bincount(edges[1], minlength=2708).min() > 0
    sizes = {name: len(rows) for name, rows in dataset.parts.items()}
    assert sizes == {"train": 140, "validation": 500, "test": 1000, "rest": 1068}
    table = choose_samples(dataset, row("cora", splits="train,test"), 0)
    assert table["split"].value_counts().to_dict() == {"test": 1000, "train": 140}
