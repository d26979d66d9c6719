"""Graphs as PyTorch Geometric and the Open Graph Benchmark lay them out, on small ones of ours."""

import gzip
import importlib.util
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from consilience.datasets import look_for, ogb, open_dataset, pyg
from consilience.errors import ConfigError, DataError

N, CLASSES = 12, 3
X = np.random.default_rng(0).integers(0, 3, (N, 5)).astype(np.float32)
PAIRS = np.array([(i, (i + 1) % N) for i in range(N)] + [(3, 3), (0, 1)])
LABELS = np.arange(N) % CLASSES
PARTS = {"train": [0, 4, 2], "validation": [5, 7], "test": [11, 9, 8, 1]}
REST = [3, 6, 10]


def row(source, name, **cells):
    return {"dataset": "g", "source": source, "name": str(name), "modality": "graph"} | cells


def mask(part):
    return torch.from_numpy(np.isin(np.arange(N), PARTS[part]))


def tensors(**others):
    masks = {name: mask(part) for part, name in pyg.MASKS.items()}
    return {
        "x": torch.from_numpy(X),
        "edge_index": torch.from_numpy(PAIRS.T.copy()),
        "y": torch.from_numpy(LABELS),
        **masks,
        **others,
    }


def write_processed(root, inner="Cora", **others):
    """What `InMemoryDataset.save` writes, without the class that it names: see the test below."""
    folder = root / inner / "processed"
    folder.mkdir(parents=True)
    torch.save((tensors(**others), None), folder / "data.pt")
    return root


def write_raw(root, **others):
    """The four files of `raw`."""
    folder = root / "raw"
    folder.mkdir(parents=True)
    ones = np.ones(len(PAIRS))
    graph = sparse.csr_array((ones, (PAIRS[:, 0], PAIRS[:, 1])), shape=(N, N))
    kept = {"data": graph.data, "indices": graph.indices, "indptr": graph.indptr}
    np.savez(folder / "adj_full.npz", **kept, shape=np.array(graph.shape))
    np.save(folder / "feats.npy", others.get("feats", X.astype(np.float64)))
    classes = {str(i): int(label) for i, label in enumerate(LABELS)} | others.get("classes", {})
    (folder / "class_map.json").write_text(json.dumps(classes))
    roles = {key: PARTS[part] for part, key in pyg.ROLES.items()} | others.get("roles", {})
    (folder / "role.json").write_text(json.dumps(roles))
    return root


def write_ogb(root, split="time", **others):
    """The files that the library of the benchmark reads."""
    tables = {"raw/edge": PAIRS, "raw/node-feat": X - 1.5, "raw/node-label": LABELS[:, None]}
    tables |= {f"split/{split}/{ogb.SPLITS[p]}": np.array([r]).T for p, r in PARTS.items()}
    for name, table in (tables | others).items():
        path = root / "ogbn_arxiv" / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (",".join(map(str, line)) for line in np.asarray(table).tolist())
        with gzip.open(path, "wt") as stream:
            stream.write("\n".join(lines) + "\n")
    return root


def check(dataset, x):
    np.testing.assert_allclose(dataset.graph.x.toarray(), x, atol=1e-7)
    wanted = {(a, b) for a, b in PAIRS.tolist() if a != b}
    wanted |= {(b, a) for a, b in wanted}
    found = [tuple(pair) for pair in dataset.graph.edges.T.tolist()]
    assert found == sorted(wanted, key=lambda pair: (pair[1], pair[0]))
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.classes == ("class 0", "class 1", "class 2")
    parts = {part: sorted(rows.tolist()) for part, rows in dataset.parts.items()}
    assert parts == {part: sorted(rows) for part, rows in (PARTS | {"rest": REST}).items()}
    of_split = {s.node: s.split for s in dataset}
    assert of_split == dict.fromkeys(PARTS["train"], "train") | dict.fromkeys(PARTS["test"], "test")
    assert [s.id for s in dataset] == [str(s.node) for s in dataset]


def normalized(x):
    sums = x.sum(1, keepdims=True)
    return x / np.where(sums, sums, 1)


def test_processed_files_of_pyg(tmp_path):
    write_processed(tmp_path / "p")
    cells = {"splits": "train,test"}
    check(open_dataset(row("pyg", f"Planetoid/Cora:{tmp_path / 'p'}", **cells)), normalized(X))
    write_processed(tmp_path / "f", inner="", y=torch.from_numpy(LABELS[:, None]))
    check(open_dataset(row("pyg", f"Flickr:{tmp_path / 'f'}", **cells)), X)


def test_raw_files_of_flickr(tmp_path):
    root = write_raw(tmp_path / "f")
    dataset = open_dataset(row("pyg", f"Flickr:{root}", splits="train,test"))
    check(dataset, X)
    pool = open_dataset(row("pyg", f"Flickr:{root}"))
    assert [s.node for s in pool] == list(range(N)) and {s.split for s in pool} == {""}
    only = open_dataset(row("pyg", f"Flickr:{root}", splits="validation"))
    assert [s.node for s in only] == PARTS["validation"]


def test_files_of_ogb(tmp_path):
    root = write_ogb(tmp_path)
    check(open_dataset(row("ogb", f"ogbn-arxiv:{root}", splits="train,test")), X - 1.5)
    look_for(row("ogb", f"ogbn-arxiv:{root}"))


HERE = importlib.util.find_spec("torch_geometric") is not None


@pytest.mark.skipif(not HERE, reason="torch-geometric, which writes such files, is an extra")
@pytest.mark.filterwarnings("ignore")
def test_what_pyg_itself_writes(tmp_path):
    from torch_geometric.data import Data, InMemoryDataset  # noqa: PLC0415
    from torch_geometric.datasets import Flickr  # noqa: PLC0415

    path = tmp_path / "p" / "Cora" / "processed" / "data.pt"
    path.parent.mkdir(parents=True)
    InMemoryDataset.save([Data(**tensors())], str(path))
    cells = {"splits": "train,test"}
    name = f"Planetoid/Cora:{tmp_path / 'p'}"
    check(open_dataset(row("pyg", name, **cells)), normalized(X))
    root = write_raw(tmp_path / "f")
    Flickr(str(root))
    assert (root / "processed" / "data.pt").is_file()
    check(open_dataset(row("pyg", f"Flickr:{root}", **cells)), X)


class Trap:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_nothing_in_a_file_is_run(tmp_path):
    trap = Trap(tmp_path / "sprung")
    raw = tmp_path / "raw" / "Cora" / "raw"
    raw.mkdir(parents=True)
    (raw / "ind.cora.x").write_bytes(pickle.dumps(trap))
    cells = row("pyg", f"Planetoid/Cora:{tmp_path / 'raw'}")
    hint = rf"could run code\); .* Planetoid\('{tmp_path / 'raw'}', 'Cora'\)"
    with pytest.raises(DataError, match=hint):
        look_for(cells)
    with pytest.raises(DataError, match="no such file, nor a processed"):
        open_dataset(cells)
    write_processed(tmp_path / "more", extra=trap)
    with pytest.raises(DataError, match="holds more than tensors"):
        open_dataset(row("pyg", f"Planetoid/Cora:{tmp_path / 'more'}"))
    write_raw(tmp_path / "objects", feats=np.array([[trap]] * N, dtype=object))
    with pytest.raises(DataError, match="hold Python objects"):
        open_dataset(row("pyg", f"Flickr:{tmp_path / 'objects'}"))
    assert not (tmp_path / "sprung").exists()
    pickle.loads((raw / "ind.cora.x").read_bytes())  # the trap is one
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ({"y": None}, "has no tensor 'y'"),
        ({"y": torch.zeros(N, 3)}, "classes of the shape"),
        ({"y": torch.full((N,), -1)}, "nodes without a class"),
        ({"train_mask": torch.ones(N, 2, dtype=torch.bool)}, "one split of 12"),
        ({"train_mask": torch.ones(N, dtype=torch.bool)}, "in two splits"),
        ({"edge_index": torch.tensor([[0], [N]])}, "an edge of the node 12"),
        ({"x": torch.full((N, 2), torch.nan)}, "no finite numbers"),
    ],
)
def test_processed_files_that_are_no_graph(tmp_path, others, problem):
    write_processed(tmp_path, **others)
    with pytest.raises(DataError, match=problem):
        open_dataset(row("pyg", f"Planetoid/Cora:{tmp_path}"))


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ({"classes": {"3": [1, 0]}}, "several classes of a node"),
        ({"classes": {"99": 1}}, "IndexError"),
        ({"roles": {"tr": [0, 99]}}, "a split names the node 99"),
    ],
)
def test_raw_files_that_are_no_graph(tmp_path, others, problem):
    write_raw(tmp_path, **others)
    with pytest.raises(DataError, match=problem):
        open_dataset(row("pyg", f"Flickr:{tmp_path}"))


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ({"raw/edge": [[0.5, 1]]}, "holds fractions"),
        ({"raw/edge": [["a", 1]]}, "no table of numbers"),
        ({"raw/node-label": [["", 1]] * N}, "blank cells"),
        ({"raw/node-label": [[0, 1]] * N}, "several classes of a node"),
        ({"raw/node-label": [[0]] * 3}, "features of 12 nodes"),
        ({"split/sales/train": [[0]]}, "several splits"),
    ],
)
def test_files_of_ogb_that_are_no_graph(tmp_path, others, problem):
    write_ogb(tmp_path, **others)
    with pytest.raises(DataError, match=problem):
        open_dataset(row("ogb", f"ogbn-arxiv:{tmp_path}"))


@pytest.mark.parametrize(
    ("source", "name", "problem"),
    [
        ("pyg", "Planetoid Cora", "write a dataset of PyTorch Geometric"),
        ("pyg", "Flickr:", "write a dataset of PyTorch Geometric"),
        ("ogb", "arxiv:data", "write a dataset of the benchmark"),
        ("ogb", "ogbn-proteins", "is not fetched here"),
    ],
)
def test_names_that_cannot_be_used(source, name, problem):
    with pytest.raises(ConfigError, match=problem):
        look_for(row(source, name))
    with pytest.raises(ConfigError, match="unknown part 'tst'"):
        look_for(row("ogb", "ogbn-arxiv:x", splits="tst"))


def test_what_lacks_is_said_while_planning_unless_it_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path))
    for source, name in (("pyg", "Flickr"), ("pyg", "Planetoid/Cora"), ("ogb", "ogbn-arxiv")):
        module = {"pyg": pyg, "ogb": ogb}[source]
        look_for(row(source, name))
        assert module.is_remote(row(source, name))
        assert not module.is_remote(row(source, f"{name}:x"))
        with pytest.raises(DataError, match=r"no processed/data\.pt|no such file"):
            look_for(row(source, f"{name}:{tmp_path}"))


def test_data_are_fetched_beforehand_only(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for source, name in (("pyg", "Flickr"), ("ogb", "ogbn-arxiv")):
        with pytest.raises(DataError, match="never fetched, and HF_HUB_OFFLINE forbids"):
            open_dataset(row(source, name))
    with pytest.raises(DataError, match="open it once with PyTorch Geometric"):
        pyg.prefetch(row("pyg", "Planetoid/Cora"))
    write_raw(tmp_path / "pyg" / "Flickr")
    check(open_dataset(row("pyg", "Flickr", splits="train,test")), X)


def test_an_archive_of_ogb_is_laid_out(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "cache"))
    source = write_ogb(tmp_path / "made") / "ogbn_arxiv"

    def fetched(url, path):
        assert url.endswith("arxiv.zip")
        path.parent.mkdir(parents=True)
        with zipfile.ZipFile(path, "w") as archive:
            for file in source.rglob("*.gz"):
                archive.write(file, f"arxiv/{file.relative_to(source)}")
            archive.writestr("../outside.csv.gz", b"")
            archive.writestr("arxiv/processed/data_processed", b"")

    monkeypatch.setattr(ogb, "fetch", fetched)
    cells = row("ogb", "ogbn-arxiv", splits="train,test")
    ogb.prefetch(cells)
    ogb.prefetch(cells)  # nothing is left to do
    check(open_dataset(cells), X - 1.5)
    laid = sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert laid == sorted(path.name for path in source.rglob("*.gz"))


def test_derived_datasets_of_them(tmp_path):
    root = write_ogb(tmp_path)
    cells = {"splits": "test", "alteration": "of=g shortcut=0 miss=wrong"}
    dataset = open_dataset(row("ogb", f"ogbn-arxiv:{root}", **cells))
    assert [s.node for s in dataset] == sorted(PARTS["test"])
    shown = dataset.graph.x.toarray()[:, 5:]
    assert (shown.sum(1) == 1).all()
    assert (shown[REST].argmax(1) == LABELS[REST]).all()
    drawn = np.concatenate(list(PARTS.values()))
    assert (shown[drawn].argmax(1) != LABELS[drawn]).all()
    for sample in dataset:
        np.testing.assert_array_equal(sample.vector[5:], shown[sample.node])
    dropped = {"splits": "test", "alteration": "of=g drop_edges=0.5"}
    fewer = open_dataset(row("ogb", f"ogbn-arxiv:{root}", **dropped))
    assert 0 < fewer.graph.edges.shape[1] < 2 * N
