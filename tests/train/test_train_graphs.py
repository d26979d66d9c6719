"""Graph networks against their formulas in dense matrices, and what is read of a graph."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from given import extractor_of, spec, train
from scipy import sparse

from consilience.datasets import Sample
from consilience.errors import ConfigError, DataError, ModelError
from consilience.files import file_digest
from consilience.networks import Task, build
from consilience.networks.graphs import neighbours, normalized, tensors_of
from consilience.networks.weights import read_header, read_trained
from consilience.train.altered import Stimuli
from consilience.train.inputs import open_data

NODES = 60
OPTIONS = {"hidden_channels": 8, "num_layers": 3, "dropout": 0.5, "norm": "BatchNorm"}


def make_graph():
    """Returns three groups of nodes with most edges inside, and a feature that tells the group."""
    rng = np.random.default_rng(0)
    group = np.arange(NODES) % 3
    close = rng.random((NODES, NODES)) < np.where(group[:, None] == group, 0.2, 0.02)
    close = np.triu(close, 1)
    target, source = np.nonzero(close | close.T)
    x = (rng.random((NODES, 10)) < 0.2).astype(np.float32)
    x[np.arange(NODES), group] += 1
    return SimpleNamespace(x=sparse.csr_array(x), edges=np.stack([source, target]))


GRAPH = make_graph()
ADJACENCY = np.zeros((NODES, NODES))
ADJACENCY[GRAPH.edges[1], GRAPH.edges[0]] = 1


def nodes(rows=range(NODES)):
    return [Sample(f"n{row}", f"n{row}", label=row % 3, node=row) for row in rows]


def given(architecture="pyg:GCN", **changes):
    training = {"lr": 0.02, "steps": 40, "batch_size": "all"}
    wanted = {"modality": "graph", "training": training, **changes}
    return spec(architecture, OPTIONS, **wanted)


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("torch_geometric", reason="the extra `graph` is not installed")


def test_matrices_of_neighbours_are_those_of_the_formulas():
    edges = torch.from_numpy(GRAPH.edges)
    assert np.array_equal(neighbours(edges, NODES).to_dense(), ADJACENCY)
    whole = ADJACENCY + np.eye(NODES)
    scale = np.diag(whole.sum(1) ** -0.5)
    assert np.allclose(normalized(edges, NODES).to_dense(), scale @ whole @ scale, atol=1e-6)
    x, same = tensors_of(GRAPH)
    assert np.array_equal(x.to_dense(), GRAPH.x.toarray())
    assert torch.equal(same, edges)


def expected_layer(architecture, conv, x):
    """Returns what a layer puts out, by its formula: GCN of Kipf and Welling, SAGE of means."""
    if architecture == "pyg:GCN":
        matrix = normalized(torch.from_numpy(GRAPH.edges), NODES).to_dense().double()
        return matrix @ x @ conv.lin.weight.double().T + conv.bias.double()
    matrix = torch.from_numpy(ADJACENCY / np.maximum(ADJACENCY.sum(1, keepdims=True), 1))
    mean = matrix @ x @ conv.lin_l.weight.double().T + conv.lin_l.bias.double()
    return mean + x @ conv.lin_r.weight.double().T


@pytest.mark.parametrize("architecture", ["pyg:GCN", "pyg:GraphSAGE"])
@pytest.mark.usefixtures("library")
def test_layers_are_those_of_the_formulas(architecture):
    task = Task("graph", (10,), 3)
    network = build(architecture, OPTIONS, task, 0).eval()
    seen = []
    for conv in network.convs:
        conv.register_forward_hook(lambda *found: seen.append((found[1][0], found[2])))
    with torch.no_grad():
        network(*tensors_of(GRAPH))
        for conv, (x, out) in zip(network.convs, seen, strict=True):
            wanted = expected_layer(architecture, conv, x.to_dense().double())
            assert torch.allclose(out.double(), wanted, atol=1e-5)


@pytest.mark.parametrize("architecture", ["pyg:GCN", "pyg:GraphSAGE", "pyg:GAT"])
@pytest.mark.usefixtures("library")
def test_graph_networks_learn_and_are_extracted(architecture, tmp_path):
    rows = list(range(0, NODES, 2))
    paths = [train(tmp_path / k, nodes(rows), given(architecture), graph=GRAPH) for k in "ab"]
    assert file_digest(paths[0]) == file_digest(paths[1])
    header = read_header(paths[0])
    assert header["scores"]["train"]["loss"] < 0.7 * header["chance_loss"]
    extractor, network = extractor_of(paths[0], layers="all"), read_trained(paths[0]).network()
    assert extractor.layers == ("convs.0", "convs.1", "features")
    extractor.begin(SimpleNamespace(graph=GRAPH))
    asked = nodes([7, 3, 50])
    found = extractor.extract([extractor.preprocess(node) for node in asked])
    seen = []
    network.convs[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        scores = network(*tensors_of(GRAPH))
    assert torch.equal(found["logits"], scores[[7, 3, 50]])
    assert torch.equal(found["features"], seen[0][[7, 3, 50]])
    assert extractor.unembedding is None
    learnt = extractor.extract(rows)["logits"]
    labels = torch.tensor(rows) % 3
    loss = torch.nn.functional.cross_entropy(learnt.double(), labels)
    assert float(loss) == pytest.approx(header["scores"]["train"]["loss"], rel=1e-5)


@pytest.mark.parametrize("architecture", ["pyg:GCN", "pyg:GAT"])
@pytest.mark.usefixtures("library")
def test_sparse_features_give_what_dense_ones_do(architecture):
    network = build(architecture, OPTIONS, Task("graph", (10,), 3), 0).eval()
    x, edges = tensors_of(GRAPH)
    with torch.no_grad():
        assert torch.allclose(network(x, edges), network(x.to_dense(), edges), atol=1e-5)


@pytest.mark.usefixtures("library")
def test_other_edges_are_seen():
    """What is kept between passes of one graph is not kept for another."""
    network = build("pyg:GCN", OPTIONS, Task("graph", (10,), 3), 0).eval()
    x, edges = tensors_of(GRAPH)
    with torch.no_grad():
        whole, fewer, again = network(x, edges), network(x, edges[:, 9:]), network(x, edges.clone())
    assert torch.equal(whole, again)
    assert not torch.allclose(whole, fewer)
    fresh = build("pyg:GCN", OPTIONS, Task("graph", (10,), 3), 0).eval()
    with torch.no_grad():
        assert torch.equal(fresh(x, edges[:, 9:]), fewer)


@pytest.mark.usefixtures("library")
def test_what_is_no_graph_of_the_network_is_refused(tmp_path):
    path = train(tmp_path, nodes(), given(training={"steps": 0, "batch_size": "all"}), graph=GRAPH)
    extractor = extractor_of(path)
    with pytest.raises(ModelError, match="no graph was given"):
        extractor.extract([0])
    with pytest.raises(DataError, match="has no graph"):
        extractor.begin(SimpleNamespace())
    narrow = SimpleNamespace(x=GRAPH.x[:, :4], edges=GRAPH.edges)
    with pytest.raises(DataError, match="4 features and the network takes 10"):
        extractor.begin(SimpleNamespace(graph=narrow))
    with pytest.raises(DataError, match="'p' is no node"):
        extractor.preprocess(Sample("p", "p"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("GCM", {}, "did you mean 'GCN'"),
        ("GCN", {"cached": True}, "'cached' is not free"),
        ("GCN", {"num_layers": 1}, "at least two layers"),
    ],
)
def test_options_of_graph_networks(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(f"pyg:{name}", options, Task("graph", (10,), 3))


def test_without_the_library_there_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch_geometric", None)
    monkeypatch.delitem(__import__("sys").modules, "torch_geometric.nn", raising=False)
    with pytest.raises(ConfigError, match=r"pip install --no-deps -r envs/graph.txt"):
        build("pyg:GCN", {}, Task("graph", (10,), 3))


def test_samples_without_a_graph_are_refused():
    with pytest.raises(DataError, match="has no graph that its samples are nodes of"):
        open_data(Stimuli(nodes(), 3), given())
