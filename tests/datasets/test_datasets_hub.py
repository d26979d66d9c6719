"""Sources that fetch, against a hub of our own on this machine; Parquet; synthetic data."""

import http.server
import io
import json
import math
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_datasets import picture_bytes, pixels, row, shards_row, write_shards, write_tar

from consilience.datasets import _hub, _roots, open_dataset
from consilience.errors import ConfigError, DataError
from consilience.probe import make_probe
from consilience.samples import choose_samples, make_samples, read_samples

COMMITS = {"main": "a" * 40, "old": "b" * 40}


class Hub(http.server.BaseHTTPRequestHandler):
    """What the hub's client asks for: facts about a revision, and files of a commit."""

    def __init__(self, *args, folder, asked, faults, **options):
        self.folder, self.asked, self.faults = folder, asked, faults
        super().__init__(*args, **options)

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.asked.append(self.path)
        for part, fault in self.faults.items():
            if part in self.path and fault == "hang":
                time.sleep(5)
                return
            if part in self.path:
                self.reply(fault, b"")
                return
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "datasets"]:
            self.facts("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        else:
            self.file(self.folder.joinpath(*parts[1:3], *parts[5:]), parts[4], body)

    def facts(self, repo, revision):
        commit = COMMITS.get(revision, revision)
        root = self.folder / repo
        if not root.is_dir():
            self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif commit not in COMMITS.values():
            self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            names = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
            facts = {"id": repo, "sha": commit, "siblings": [{"rfilename": n} for n in names]}
            self.reply(200, json.dumps(facts).encode())

    def file(self, path, commit, body):
        if not path.is_file():
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hash(content):x}"'}
        self.reply(200, content, headers, body)

    def reply(self, status, content, headers=None, body=True):
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": len(content)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """(folder of repositories, requests, {part of a path: status or "hang"}) of a hub."""
    from huggingface_hub import close_session, constants  # noqa: PLC0415

    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "*")
    close_session()  # another test's may go through a proxy that is not there
    folder, asked, faults = tmp_path / "repositories", [], {}

    def handler(*args, **options):
        return Hub(*args, folder=folder, asked=asked, faults=faults, **options)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        serve = partial(running.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_port}")
        yield folder, asked, faults
        running.shutdown()
    close_session()


def hub_shards(folder, **options):
    (folder / "lab").mkdir(parents=True, exist_ok=True)
    return write_shards(folder / "lab" / "birds", **options)


def listed(dataset):
    return [(s.id, s.label, s.origin) for s in dataset]


# --- shards on the hub ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lab/birds", "hf://datasets/lab/birds"])
def test_a_repository_gives_what_the_folder_gives(hub, name, monkeypatch):
    local = listed(open_dataset(shards_row(hub_shards(hub[0], shards=2))))
    dataset = open_dataset(shards_row(name))
    assert listed(dataset) == local
    assert dataset.classes == ("cat", "dog", "crane")
    assert dataset.pin == {"revision": COMMITS["main"]}
    # by its commit it needs no network, nor does anything in jobs that follow
    hub[1].clear()
    assert listed(open_dataset(shards_row(name, revision=COMMITS["main"]))) == local
    assert not [path for path in hub[1] if path.startswith("/api")]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub[1].clear()
    assert listed(open_dataset(shards_row(name))) == local
    assert hub[1] == []


def test_samples_pin_the_commit_that_a_branch_stood_for(hub, tmp_path, monkeypatch):
    hub_shards(hub[0])
    make_samples(shards_row("lab/birds", revision="main"), 0, tmp_path / "s.parquet")
    assert read_samples(tmp_path / "s.parquet").pin == {"revision": COMMITS["main"]}
    monkeypatch.setitem(COMMITS, "main", "c" * 40)  # the branch moves on
    cells = shards_row("lab/birds") | read_samples(tmp_path / "s.parquet").pin
    assert open_dataset(cells).pin == {"revision": "a" * 40}
    assert open_dataset(shards_row("lab/birds")).pin == {"revision": "c" * 40}


def test_without_network_what_was_never_fetched_is_named(hub, monkeypatch):
    hub_shards(hub[0])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        DataError,
        match=r"lab/birds at 'main' is no folder here and was never fetched.*all_prefetch",
    ):
        open_dataset(shards_row("lab/birds"))
    with pytest.raises(DataError, match=r"nshards.txt was never fetched, and HF_HUB_OFFLINE"):
        open_dataset(shards_row("http://127.0.0.1:9/birds"))
    assert hub[1] == []


@pytest.mark.parametrize(
    ("cells", "fault", "problem"),
    [
        ({"name": "lab/brids"}, {}, "lab/brids at 'main': no such repository .nor folder here"),
        ({"revision": "v9"}, {}, "lab/birds at 'v9': no such revision"),
        ({"splits": "train"}, {}, r"no train/nshards.txt"),
        ({}, {"/api/": 500}, "lab/birds at 'main': it answers 500"),
        ({}, {"1.tar": 500}, "lab/birds, test/1.tar: "),
        ({}, {"/api/": 403}, "lab/birds at 'main': it answers 403"),
        ({}, {"/api/": "hang"}, "lab/birds at 'main': no proper answer .ReadTimeout"),
        ({}, {"1.tar": "hang"}, "lab/birds, test/1.tar: "),
    ],
)
def test_faults_of_the_hub_end_soon_and_are_named(hub, monkeypatch, cells, fault, problem):
    from huggingface_hub import file_download  # noqa: PLC0415
    from huggingface_hub.utils import _http  # noqa: PLC0415

    hub_shards(hub[0])
    # the client tries six times: a minute each and half a minute of pauses, here much shorter
    monkeypatch.setattr(_hub, "TIMEOUT", 0.3)
    monkeypatch.setattr(file_download, "_ETAG_RETRY_TIMEOUT", 0.3)
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None))
    hub[2].update(fault)
    start = time.monotonic()
    with pytest.raises(DataError, match=problem):
        list(open_dataset(shards_row("lab/birds", **cells)))
    assert time.monotonic() - start < 10


def test_a_shard_that_the_hub_cuts_off_is_named(hub):
    root = hub_shards(hub[0])
    whole = (root / "test" / "1.tar").read_bytes()
    (root / "test" / "1.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"shard test/1.tar .* is damaged or cut off"):
        list(open_dataset(shards_row("lab/birds")))


def test_an_address_that_answers_500_or_hangs(hub, monkeypatch, tmp_path):
    import os  # noqa: PLC0415

    monkeypatch.setattr(_roots, "TIMEOUT", 0.5)
    address = os.environ["HF_ENDPOINT"] + "/somewhere"
    hub[2]["/somewhere"] = 500
    with pytest.raises(DataError, match="the server answers 500"):
        open_dataset(shards_row(address))
    hub[2]["/somewhere"] = "hang"
    start = time.monotonic()
    with pytest.raises(DataError, match=r"cannot be reached .*timed out"):
        open_dataset(shards_row(address))
    assert time.monotonic() - start < 4
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


# --- several labels -------------------------------------------------------------------------------


def npy(values):
    stream = io.BytesIO()
    np.save(stream, np.array(values))
    return stream.getvalue()


def write_multilabel(root, marks):
    members = [
        member
        for i, values in enumerate(marks)
        for member in ((f"s{i:03d}.png", picture_bytes(i)), (f"s{i:03d}.npy", npy(values)))
    ]
    write_tar(root / "test" / "0.tar", members)
    (root / "test" / "nshards.txt").write_text("1")
    (root / "classnames.txt").write_text("cat\ndog\ncrane\n")


def test_several_labels_are_stored_and_not_probed(tmp_path):
    write_multilabel(tmp_path / "d", [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    assert [s.labels for s in open_dataset(shards_row(tmp_path / "d"))] == [
        (0, 2), (), (1,), (0, 1, 2)]  # fmt: skip
    make_samples(shards_row(tmp_path / "d"), 0, tmp_path / "s.parquet")
    table = read_samples(tmp_path / "s.parquet").table
    assert table["labels"].tolist() == ["0,2", "", "1", "0,1,2"]
    assert table["label"].isna().all()
    from consilience.features import write_features  # noqa: PLC0415

    header = {"model": {"model": "m"}, "dataset": "toy"}
    header["samples_hash"] = read_samples(tmp_path / "s.parquet").hash
    write_features(tmp_path / "f.safetensors", {"a": np.eye(4)}, header, list("abcd"))
    with pytest.raises(
        DataError, match="'toy' has several labels per sample, and a probe predicts"
    ):
        make_probe(tmp_path / "f.safetensors", tmp_path / "s.parquet", tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("marks", "problem"),
    [
        ([[0, 2, 0]], r"its npy is of shape \(3,\) .*one 0 or 1 for each class"),
        ([[[0], [1]]], r"its npy is of shape \(2, 1\)"),
        ([[0, 0, 0, 1]], "its label 3 is not among the 3 classes"),
    ],
)
def test_labels_that_are_no_marks(tmp_path, marks, problem):
    write_multilabel(tmp_path / "d", marks)
    with pytest.raises(DataError, match=problem):
        choose_samples(open_dataset(shards_row(tmp_path / "d")), shards_row(tmp_path / "d"), 0)


# --- Parquet --------------------------------------------------------------------------------------


def write_tables(root, splits=("train", "test"), n=6, names=("cat", "dog", "crane"), **columns):
    """Tables as the hub has them; sample i has pixels of value i."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    for offset, split in enumerate(splits):
        numbers = range(100 * offset, 100 * offset + n)
        content = {
            "image": [{"bytes": picture_bytes(i), "path": f"{i}.png"} for i in numbers],
            "text": [[f"first {i}", f"second {i}"] for i in numbers],
            "label": [i % 3 for i in numbers],
            "key": [f"k{i}" for i in numbers],
        }
        content |= {name: make(numbers) for name, make in columns.items()}
        table = pa.table({name: cells for name, cells in content.items() if cells is not None})
        notes = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(notes) if names else "{}"})
        for part in range(2):
            path = root / "data" / f"{split}-{part:05d}-of-00002.parquet"
            pq.write_table(table.slice(part * n // 2, n // 2), path)
    return root


def tables_row(root, **cells):
    return row("huggingface", root, modality="image+text", splits="train,test") | cells


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_tables_of_a_folder_and_of_the_hub(hub, tmp_path, where):
    write_tables(hub[0] / "lab" / "pairs")
    name = hub[0] / "lab" / "pairs" if where == "folder" else "lab/pairs"
    dataset = open_dataset(tables_row(name))
    samples = list(dataset)
    assert dataset.classes == ("cat", "dog", "crane")
    assert [s.split for s in samples] == ["train"] * 6 + ["test"] * 6
    assert samples[4].id == "data/train-00001-of-00002.parquet:1"
    assert (samples[4].label, samples[4].text) == (1, "first 4")
    assert (pixels(samples[4].image())[2, 2] == 4).all()
    pin = {} if where == "folder" else {"revision": COMMITS["main"]}
    assert dataset.pin == pin
    make_samples(tables_row(name), 0, tmp_path / "s.parquet")
    assert len(read_samples(tmp_path / "s.parquet").table) == 12


def test_captions_are_the_first_another_or_all(tmp_path):
    write_tables(tmp_path / "d")
    texts = {}
    for captions in ("", "1", "all"):
        samples = list(open_dataset(tables_row(tmp_path / "d", captions=captions)))[:4]
        texts[captions] = [s.text for s in samples]
    assert texts[""] == ["first 0", "first 1", "first 2", "first 3"]
    assert texts["1"] == ["second 0", "second 1", "second 2", "second 3"]
    assert texts["all"] == ["first 0", "second 0", "first 1", "second 1"]
    name = "data/train-00000-of-00002.parquet"
    assert [s.id for s in samples[:3]] == [f"{name}:0#0", f"{name}:0#1", f"{name}:1#0"]
    assert (pixels(samples[3].image()) == pixels(samples[2].image())).all()
    with pytest.raises(DataError, match=r"parquet:0: it has 2 captions, none of the number 2"):
        list(open_dataset(tables_row(tmp_path / "d", captions="2")))


def test_columns_by_name_and_labels_that_are_texts(tmp_path):
    write_tables(tmp_path / "d", names=(), text=lambda ns: None, label=lambda ns: None,
                 caption=lambda ns: [f"c {n}" for n in ns],
                 kind=lambda ns: ["zebra" if n % 2 else "ant" for n in ns])  # fmt: skip
    columns = "text=caption label=kind id=key"
    dataset = open_dataset(tables_row(tmp_path / "d", columns=columns, splits="test"))
    assert dataset.classes == ("ant", "zebra")
    assert [(s.id, s.label, s.text, s.split) for s in dataset][:2] == [
        ("k100", 0, "c 100", ""), ("k101", 1, "c 101", "")]  # fmt: skip
    text = row("huggingface", tmp_path / "d", modality="text", columns="text=caption")
    assert [s.image for s in open_dataset(text)] == [None] * 12
    assert open_dataset(text).classes == ()


@pytest.mark.parametrize("names", [(), ("cat", "dog", "crane")])
@pytest.mark.parametrize("kind", [list, dict])
def test_several_labels_of_a_row_are_refused_by_the_name_of_the_column(tmp_path, names, kind):
    several = {list: lambda i: [i % 3, 1][: i % 3], dict: lambda i: {"a": i, "b": 0}}[kind]
    write_tables(tmp_path / "d", names=names, label=lambda ns: [several(i) for i in ns])
    with pytest.raises(
        DataError, match=r"parquet: the column 'label' holds (list|struct)<.*one label"
    ):
        open_dataset(tables_row(tmp_path / "d"))
    dataset = open_dataset(tables_row(tmp_path / "d", columns="label=key"))
    assert len(dataset.classes) == 12


@pytest.mark.parametrize(
    ("cells", "error", "problem"),
    [
        ({"columns": "picture=a"}, ConfigError, "column columns .*'picture=a' is unknown"),
        (
            {"columns": "text=txt"},
            DataError,
            "no column 'txt' for the text; did you mean 'text'",
        ),
        ({"splits": "validation"}, DataError, "no Parquet file of the split 'validation'; there"),
        ({"name": "no/where/"}, DataError, "no/where.* at 'main'|neither a folder nor a hub"),
        ({"name": "./nowhere"}, DataError, "neither a folder nor a hub repository"),
    ],
)
def test_rows_that_tables_cannot_serve(hub, tmp_path, cells, error, problem):
    write_tables(tmp_path / "d")
    with pytest.raises(error, match=problem):
        list(open_dataset(tables_row(tmp_path / "d", **cells)))


def test_tables_that_are_damaged(tmp_path):
    root = write_tables(tmp_path / "d")
    path = root / "data" / "test-00001-of-00002.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"test-00001-of-00002.parquet .* damaged or cut off"):
        list(open_dataset(tables_row(root)))
    write_tables(root, image=lambda ns: [{"bytes": None, "path": f"{n}.png"} for n in ns])
    with pytest.raises(DataError, match="its picture is not in the file"):
        make_samples(tables_row(root), 0, tmp_path / "s.parquet")
    for file in root.rglob("*.parquet"):
        file.unlink()
    with pytest.raises(DataError, match=r"holds no Parquet files; .*refs/convert/parquet"):
        open_dataset(tables_row(root))


# --- synthetic ------------------------------------------------------------------------------------


def synthetic(name="blobs", **cells):
    return open_dataset(row("synthetic", name, modality="image+text") | cells)


def accuracy(dataset):
    """Share of samples whose class has the nearest mean picture, means from the other half."""
    x = np.array([np.asarray(s.image(), float).ravel() for s in dataset])
    y = np.array([s.label for s in dataset])
    means = np.array([x[::2][y[::2] == c].mean(0) for c in range(max(y) + 1)])
    far = ((x[1::2, None] - means[None]) ** 2).sum(-1)
    return (far.argmin(1) == y[1::2]).mean()


def test_blobs_are_as_hard_as_they_say():
    easy, hard, none = (
        synthetic(f"blobs n=100 classes=5 size=8 noise={noise}") for noise in ("0", "0.5", "1")
    )
    assert accuracy(easy) == 1
    assert accuracy(hard) > 0.8
    assert accuracy(none) < 0.4
    words = Counter(word for s in easy for word in s.text.split() if s.label == 0)
    assert len(words) <= 6
    assert len({np.asarray(s.image()).tobytes() for s in easy}) == 5


def test_blobs_are_the_same_for_every_number_and_other_for_another_seed():
    few, many = list(synthetic("blobs n=12")), list(synthetic("blobs n=40"))[:12]
    other = list(synthetic("blobs n=12 seed=1"))
    for a, b, c in zip(few, many, other, strict=True):
        assert (a.id, a.label, a.text) == (b.id, b.label, b.text)
        assert a.image().tobytes() == b.image().tobytes() != c.image().tobytes()
    assert few[3].image().size == (32, 32)


@pytest.mark.parametrize(
    ("name", "cells", "problem"),
    [
        ("blob", {}, "unknown kind; did you mean 'blobs'"),
        ("blobs m=3", {}, "unknown parameter 'm'"),
        ("blobs noise=2", {}, "'noise=2' does not have the form"),
        ("blobs", {"splits": "train"}, "one pool; leave the column splits blank"),
    ],
)
def test_synthetic_rows_that_cannot_be_used(name, cells, problem):
    with pytest.raises(ConfigError, match=problem):
        synthetic(name, **cells)


def radial(name="radial", **cells):
    return open_dataset(row("synthetic", name, modality="vector") | cells)


def test_radial_points_are_the_published_ones():
    train = list(radial("radial classes=4 n=20000 seed=0", splits="train"))
    np.testing.assert_allclose(train[0].vector, [0.377191, -0.396315], atol=1e-6)
    assert train[0].vector.dtype == np.float32
    assert np.bincount([s.label for s in train]).tolist() == [4980, 4927, 5058, 5035]
    both = list(radial("radial", splits="train,test"))
    test = [s for s in both if s.split == "test"]
    assert (len(both), len(test), test[0].id) == (22000, 2000, "test/0000000")
    np.testing.assert_allclose(test[0].vector, [1.036753, 2.464855], atol=1e-6)
    assert np.bincount([s.label for s in test]).tolist() == [490, 513, 490, 507]


def test_radial_classes_are_sectors_of_half_a_turn():
    for classes in (1, 3, 6):
        dataset = radial(f"radial classes={classes} n=400 seed=5")
        assert len(dataset.classes) == classes
        for sample in dataset:
            x, y = map(float, sample.vector)
            width = math.pi / classes
            turn = math.acos(x / math.hypot(x, y))  # of the half of the plane that y >= 0 is
            turn = turn if y >= 0 else math.pi - turn
            assert sample.label * width <= turn + 1e-9 and turn - 1e-9 <= (sample.label + 1) * width
    few = [s.vector.tolist() for s in radial("radial n=10")]
    assert few == [s.vector.tolist() for s in radial("radial n=30")][:10]


@pytest.mark.parametrize(
    ("name", "cells", "problem"),
    [
        ("radial noise=0.5", {}, "unknown parameter 'noise'"),
        ("radial classes=0", {}, "'classes=0' does not have the form"),
        ("radial", {"splits": "train,validation"}, "there are the splits train and test"),
    ],
)
def test_radial_rows_that_cannot_be_used(name, cells, problem):
    with pytest.raises(ConfigError, match=problem):
        radial(name, **cells)


def test_names_of_repositories_and_of_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/birds").mkdir(parents=True)
    assert _hub.named_repo("lab/birds") == "lab/birds"
    assert _hub.named_repo("hf://datasets/lab/birds/sub") == "lab/birds/sub"
    for local in ("data/birds", "./lab/birds", "/lab/birds", "http://x/lab", "birds"):
        assert _hub.named_repo(local) == ""


def test_two_texts_are_one_sample(tmp_path):
    table = {"one": ["It rains.", "b"], "two": ["It is wet.", "c"], "label": [0, 1]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    cells = {"modality": "text", "columns": "text=one pair=two", "splits": ""}
    row = {"dataset": "d", "source": "huggingface", "name": str(tmp_path)} | cells
    assert [s.text for s in open_dataset(row)] == ["It rains. [SEP] It is wet.", "b [SEP] c"]
    pq.write_table(pa.table(table | {"two": ["x", None]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="it has no two texts"):
        list(open_dataset(row))
    with pytest.raises(DataError, match="no column 'three' for the pair"):
        open_dataset(row | {"columns": "text=one pair=three"})
