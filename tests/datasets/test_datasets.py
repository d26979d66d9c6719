"""Dataset sources: packaged sets against independent readings; shards and folders with faults."""

import http.server
import io
import pickle
import shutil
import sys
import tarfile
import threading
from collections import Counter
from functools import partial
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from consilience import files
from consilience.datasets import list_sources, open_dataset
from consilience.datasets._base import tree_digest
from consilience.errors import ConfigError, DataError
from consilience.samples import choose_samples, make_samples, read_samples


def row(source, name, **cells):
    return {"dataset": "toy", "source": source, "name": str(name), "modality": "image"} | cells


def pixels(picture):
    return np.asarray(picture).astype(int)


def picture_bytes(value, suffix="png", size=(8, 6)):
    """A picture that can be told from others by its pixels."""
    stream = io.BytesIO()
    array = np.full((*size[::-1], 3), value, np.uint8)
    array[0, 0] = (255, value, 0)
    options = {"webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(array).save(stream, {"jpg": "jpeg"}.get(suffix, suffix), **options)
    return stream.getvalue()


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_shards(root, split="test", shards=2, each=4, suffix="png"):
    """Shards in the usual layout: sample i has pixels of value i and the label i % 3."""
    root.mkdir(exist_ok=True)
    (root / "classnames.txt").write_text("cat\ndog\ncrane\n", encoding="utf-8")
    for shard in range(shards):
        numbers = range(shard * each, (shard + 1) * each)
        members = [
            member
            for i in numbers
            for member in (
                (f"s{i:04d}.cls", str(i % 3).encode()),
                (f"s{i:04d}.{suffix}", picture_bytes(i, suffix)),
            )
        ]
        write_tar(root / split / f"{shard}.tar", members)
    (root / split / "nshards.txt").write_text(f"{shards}\n", encoding="utf-8")
    return root


def shards_row(root, **cells):
    return row("webdataset", root, splits="test") | cells


# --- all sources ----------------------------------------------------------------------------------


def test_sources_by_file_name():
    assert {"folder", "packaged", "webdataset"} <= set(list_sources())
    with pytest.raises(ConfigError, match="unknown dataset source 'foldr'; did you mean 'folder'"):
        open_dataset(row("foldr", "-"))


def test_composites_show_all_three_parts_of_their_class():
    """Told by plain rules: the colour of most coloured pixels, and the corners of the shape."""
    dataset = list(open_dataset(row("packaged", "composites:192")))
    names = open_dataset(row("packaged", "composites:1")).classes
    assert len(names) == len(set(names)) == 64
    colors = {"blue": (40, 70, 220), "green": (20, 150, 60), "purple": (150, 40, 170),
              "red": (210, 40, 40)}  # fmt: skip
    filled, ink = {}, {}
    for sample in dataset:
        shape, digit, color = names[sample.label].split("_")
        pixels = np.asarray(sample.image()).astype(int)
        assert pixels.shape == (16, 16, 3)
        near = {c: int((abs(pixels - rgb).sum(2) < 30).sum()) for c, rgb in colors.items()}
        assert max(near, key=near.get) == color
        filled.setdefault(shape, []).append((pixels.max(2) > 30).mean())
        ink.setdefault(digit, []).append((pixels.min(2) > 150).sum())
    means = {shape: np.mean(values) for shape, values in filled.items()}
    assert sorted(means, key=means.get) == ["triangle", "cross", "circle", "square"]
    assert set(ink) == {"0", "1", "4", "7"} and all(min(values) > 3 for values in ink.values())
    assert sorted({sample.label for sample in dataset[:64]}) == list(range(64))
    more = list(open_dataset(row("packaged", "composites:200")))
    assert [s.image().tobytes() for s in more[:5]] == [s.image().tobytes() for s in dataset[:5]]


@pytest.mark.parametrize(
    ("splits", "problem"),
    [
        ("test,../x", "'../x' is not the plain name"),
        ("test,test", "'test' is named twice"),
        ("train,extra", "'extra' is neither train nor test"),
    ],
)
def test_splits_that_cannot_be_used(tmp_path, splits, problem):
    with pytest.raises(ConfigError, match=problem):
        open_dataset(shards_row(write_shards(tmp_path / "d"), splits=splits))


# --- packaged: shapes -----------------------------------------------------------------------------


def test_shapes_show_what_the_text_says():
    dataset = list(open_dataset(row("packaged", "shapes:60")))
    assert Counter(sample.label for sample in dataset) == {0: 15, 1: 15, 2: 15, 3: 15}
    rgb = {"red": (255, 0, 0), "black": (0, 0, 0), "blue": (0, 0, 255), "green": (0, 128, 0)}
    filled = {}
    for sample in dataset:
        article, color, shape = sample.text.split()
        assert article == ("an" if color == "orange" else "a")
        picture = pixels(sample.image())
        assert picture.shape == (64, 64, 3)
        inside = (picture != 255).any(axis=2)
        assert not (inside[0] & inside[-1]).any()
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        filled.setdefault(shape, []).append(box.mean())
        if color in rgb:
            assert (picture == rgb[color]).all(axis=2).sum() > 0.5 * inside.sum()
    means = {shape: np.mean(values) for shape, values in filled.items()}
    # Share of the bounding box: square 1, circle π/4, triangle 1/2, star less.
    assert means["square"] > 0.95
    assert abs(means["circle"] - np.pi / 4) < 0.06
    assert abs(means["triangle"] - 0.5) < 0.1
    assert means["star"] < means["triangle"]


def test_shapes_are_the_same_for_every_number():
    few, many = (list(open_dataset(row("packaged", f"shapes{n}"))) for n in (":7", ""))
    assert len(many) == 64
    assert [(s.id, s.label, s.text) for s in few] == [(s.id, s.label, s.text) for s in many[:7]]
    for one, other in zip(few, many[:7], strict=True):
        assert (pixels(one.image()) == pixels(other.image())).all()


@pytest.mark.parametrize(
    ("name", "cells", "problem"),
    [
        ("shapes:0", {}, "number of shapes must be from 1"),
        ("composites:0", {}, "number of pictures must be from 1"),
        ("shapes:x", {}, "number of shapes"),
        ("digits:5", {}, "takes nothing after the colon"),
        ("shapes", {"splits": "train,test"}, "leave the cell blank"),
        ("opnmoji", {}, "did you mean 'openmoji'"),
    ],
)
def test_packaged_rows_that_cannot_be_used(name, cells, problem):
    with pytest.raises(ConfigError, match=problem):
        open_dataset(row("packaged", name, **cells))


# --- packaged: real data --------------------------------------------------------------------------


def open_real(name, **cells):
    try:
        return open_dataset(row("packaged", name, **cells))
    except DataError as error:
        if "not installed" in str(error) or "no such file" in str(error):
            pytest.skip(f"the demo's data are not installed: {error}")
        raise


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits  # noqa: PLC0415

    dataset, expected = open_dataset(row("packaged", "digits")), load_digits()
    samples = list(dataset)
    assert [s.label for s in samples] == expected.target.tolist()
    for index in (0, 5, 1796):
        picture = samples[index].image()
        assert picture.size == (96, 96)
        ink = (255 - pixels(picture.convert("L").resize((8, 8), Image.Resampling.BOX))) * 16 / 255
        assert np.corrcoef(ink.ravel(), expected.images[index].ravel())[0, 1] > 0.97


@pytest.mark.real
def test_openmoji_concepts():
    open_real("openmoji")
    from consilience.datasets.packaged.emoji import list_concepts  # noqa: PLC0415

    concepts = list_concepts()
    assert len(concepts) == len({c.id for c in concepts}) == len({c.name for c in concepts}) == 1164
    assert Counter(concept.category for concept in concepts) == {
        "Objects": 261,
        "Travel & Places": 194,
        "People & Body": 173,
        "Smileys & Emotion": 166,
        "Animals & Nature": 152,
        "Food & Drink": 133,
        "Activities": 85,
    }
    names = {concept.name for concept in concepts}
    assert {"grinning face", "farmer", "alarm clock"} <= names
    assert names.isdisjoint({"man farmer", "woman", "clock face one oclock", "phoenix"})


@pytest.mark.real
def test_openmoji_styles_are_paired():
    styles = {name: open_real(name) for name in ("openmoji", "openmoji_line", "openmoji_color")}
    keys = {tuple((s.id, s.label, s.text) for s in dataset) for dataset in styles.values()}
    assert len(keys) == 1
    concepts = keys.pop()
    assert len(concepts) == 1158
    assert ("1f600", 5, "grinning face") in concepts
    assert styles["openmoji"].classes[5] == "Smileys & Emotion"
    position = [id_ for id_, _, _ in concepts].index("1f600")
    full, line, color = (pixels(list(d)[position].image()) for d in styles.values())
    assert full.shape == (128, 128, 3)
    assert (full[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert np.ptp(line, axis=2).max() == 0  # black and white
    yellow = (np.abs(color - (252, 234, 43)).max(axis=2) < 4).mean()
    assert yellow > 0.4  # the face is a yellow disc
    black_full, black_line, black_color = ((p.max(2) < 60).mean() for p in (full, line, color))
    assert black_color == 0
    assert black_line > 0.03
    assert abs(black_full - black_line) < 0.02
    # The border: 6 % of the drawing on each side, so 6 / 112 of the picture.
    columns = np.flatnonzero((full != 255).any(axis=(0, 2)))
    assert abs(columns[0] - 128 * 6 / 112) <= 2


@pytest.mark.real
def test_every_openmoji_drawing_of_a_style_is_drawn():
    dataset = list(open_real("openmoji_line"))
    for sample in dataset[::60]:
        assert pixels(sample.image()).min() < 100


@pytest.mark.real
def test_other_drawings_than_pinned_are_refused(monkeypatch):
    open_real("openmoji")
    from consilience.datasets.packaged import emoji  # noqa: PLC0415

    monkeypatch.setattr(emoji, "DRAWINGS_DIGEST", "0" * 64)
    with pytest.raises(DataError, match=r"tree digest .*, expected 000"):
        open_dataset(row("packaged", "openmoji"))


@pytest.mark.real
def test_photo_crops():
    dataset = open_real("photo_crops")
    skimage_data = pytest.importorskip("skimage.data")
    from consilience.datasets.packaged.photos import overlap  # noqa: PLC0415

    samples = list(dataset)
    assert len(samples) == len({s.id for s in samples}) == 1020
    assert set(Counter(s.label for s in samples).values()) == {60}
    corners = {c: [] for c in dataset.classes}
    for sample in samples:
        corners[dataset.classes[sample.label]].append(sample.image.args[1])
    x, y = corners["coffee"][17]
    sample = next(s for s in samples if s.id == "coffee/17")
    assert (pixels(sample.image()) == skimage_data.coffee()[y : y + 96, x : x + 96]).all()
    shared = {
        name: max(overlap(a, b) for a, b in combinations(places, 2)) / 96**2
        for name, places in corners.items()
    }
    assert shared["retina"] == 0
    assert max(shared.values()) < 0.85  # page.png has only 384 × 191 pixels


@pytest.mark.real
def test_movie_snippets():
    dataset = open_real("movie_snippets", modality="text")
    samples = list(dataset)
    outer = files.locate("sdist:vaderSentiment-3.3.2.tar.gz")
    with tarfile.open(outer) as tar:
        inner = tar.extractfile(
            "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        ).read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as tar:
        raw = tar.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt").read()
    lines = [line.split(b"\t") for line in raw.split(b"\r\n")]
    assert len(lines) == 10605
    expected = {i.decode(): float(score) for i, score, _ in lines if abs(float(score)) > 0.5}
    assert {s.id: s.label for s in samples} == {i: int(v > 0) for i, v in expected.items()}
    assert samples[0].text.startswith("The Rock is destined")
    assert all(s.text == s.text.strip() and s.image is None for s in samples)


@pytest.mark.real
def test_damaged_source_archive_is_refused(tmp_path, monkeypatch):
    open_real("movie_snippets")
    content = files.locate("sdist:vaderSentiment-3.3.2.tar.gz").read_bytes()
    copy = tmp_path / "share" / "consilience" / "vaderSentiment-3.3.2.tar.gz"
    copy.parent.mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    copy.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cannot read .*hutto_ICWSM_2014"):
        open_dataset(row("packaged", "movie_snippets"))
    write_tar(copy.with_suffix(".tar"), [])
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(copy, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(inner), io.BytesIO())
    with pytest.raises(DataError, match="has the SHA-256 e3b0c442"):  # that of nothing
        open_dataset(row("packaged", "movie_snippets"))


def test_samples_can_be_sent_to_worker_processes(tmp_path):
    write_shards(tmp_path / "d")
    for cells in (
        row("packaged", "shapes:1"),
        row("packaged", "digits"),
        shards_row(tmp_path / "d"),
    ):
        sample = next(iter(open_dataset(cells)))
        copy = pickle.loads(pickle.dumps(sample))
        assert (pixels(copy.image()) == pixels(sample.image())).all()


# --- shards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "jpeg"])
def test_shards_are_read_in_order(tmp_path, suffix):
    root = write_shards(tmp_path / "d", shards=3, each=5, suffix=suffix)
    dataset = open_dataset(shards_row(root))
    for _ in range(2):
        samples = list(dataset)
        assert [s.id for s in samples] == [f"test/s{i:04d}" for i in range(15)]
        assert [s.label for s in samples] == [i % 3 for i in range(15)]
        assert [s.split for s in samples] == [""] * 15
    values = [pixels(s.image())[3, 4] for s in samples]
    tolerance = 40 if suffix in ("jpg", "jpeg") else 0
    assert all(np.abs(v - i).max() <= tolerance for i, v in enumerate(values))
    assert dataset.classes == ("cat", "dog", "crane")
    assert samples[7].origin == f"test/1.tar:s0007.{suffix}"


def test_every_process_reads_all_shards_by_number(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    root = write_shards(tmp_path / "d", shards=12, each=1)
    assert [s.id for s in open_dataset(shards_row(root))] == [f"test/s{i:04d}" for i in range(12)]


def test_splits_become_train_and_test(tmp_path):
    root = write_shards(write_shards(tmp_path / "d", "train", shards=3), "val")
    cells = shards_row(root, splits="train, val", cap="6")
    table = choose_samples(open_dataset(cells), cells, 0)
    assert table.groupby("split").size().to_dict() == {"test": 6, "train": 6}
    assert set(table.loc[table["split"] == "test", "id"].str.partition("/")[0]) == {"val"}
    assert {s.split for s in open_dataset(shards_row(root, splits="val"))} == {""}


def test_texts_and_odd_keys(tmp_path):
    root = tmp_path / "d"
    members = [("a b/1.txt", " eine Häsin\n".encode()), ("a b/1.png", picture_bytes(1))]
    write_tar(root / "test" / "0.tar", [*members, ("%2.txt", b"two")])
    (root / "test" / "nshards.txt").write_text("1")
    samples = list(open_dataset(shards_row(root)))
    assert [(s.id, s.label, s.text) for s in samples] == [
        ("test/a%20b/1", None, "eine Häsin"),
        ("test/%252", None, "two"),
    ]
    assert samples[1].image is None


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("a.png", b"x"), ("a.npy", b"x")], "a.png: its npy is no plain array of numbers"),
        ([("a.png", b"x"), ("a.cls", b"cat")], "0.tar:a.png: its cls is b'cat', not a whole"),
        ([("a.gif", b"x"), ("a.cls", b"0")], r"no picture .*among its members \(cls, gif\)"),
        ([("a.txt", b"\xff")], "its txt is not UTF-8"),
        ([("a.png", b"x"), ("a.png", b"y")], "a.png: duplicate file name"),
    ],
)
def test_members_that_cannot_be_used(tmp_path, members, problem):
    write_tar(tmp_path / "test" / "0.tar", members)
    (tmp_path / "test" / "nshards.txt").write_text("1")
    with pytest.raises(DataError, match=problem):
        list(open_dataset(shards_row(tmp_path)))


def test_layout_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="neither a folder nor an http"):
        open_dataset(shards_row(tmp_path / "none"))
    root = write_shards(tmp_path / "d")
    with pytest.raises(ConfigError, match="column splits is blank"):
        open_dataset(shards_row(root, splits=""))
    with pytest.raises(DataError, match=r"no train/nshards.txt .*the split 'train' does not exist"):
        open_dataset(shards_row(root, splits="train"))
    (root / "test" / "nshards.txt").write_text("many")
    with pytest.raises(DataError, match="holds 'many', not a number of shards"):
        open_dataset(shards_row(root))


def test_missing_shard_is_named(tmp_path):
    root = write_shards(tmp_path / "d", shards=3)
    (root / "test" / "1.tar").unlink()
    with pytest.raises(DataError, match=r"shard test/1.tar is missing: test/nshards.txt says 3"):
        list(open_dataset(shards_row(root)))


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda content: content[: 512 * 2 + 100], id="inside a header"),
        pytest.param(lambda content: content[:1024], id="between two members"),
        pytest.param(lambda content: content[:520], id="inside a member"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"<html>" * 200, id="another file"),
        pytest.param(lambda content: content[:1030] + b"XY" + content[1032:], id="bad header"),
    ],
)
def test_shard_that_is_cut_off_or_damaged(tmp_path, harm):
    root = write_shards(tmp_path / "d")
    shard = root / "test" / "1.tar"
    shard.write_bytes(harm(shard.read_bytes()))
    with pytest.raises(DataError, match=r"shard test/1.tar .*(damaged or cut off|cannot be read)"):
        list(open_dataset(shards_row(root)))


def test_key_repeated_in_another_shard_is_refused(tmp_path):
    root = write_shards(tmp_path / "d")
    shutil.copy(root / "test" / "0.tar", root / "test" / "1.tar")
    with pytest.raises(DataError, match=r"'test/s0000' .test/0.tar:s0000.png and test/1.tar:s0000"):
        choose_samples(open_dataset(shards_row(root)), shards_row(root), 0)


def test_damaged_webp_in_a_shard(tmp_path):
    root = write_shards(tmp_path / "d", suffix="webp", each=6)
    shard = root / "test" / "1.tar"
    content = shard.read_bytes()
    with tarfile.open(shard) as tar:
        member = tar.getmember("s0008.webp")
    start = member.offset_data
    shard.write_bytes(
        content[: start + 12] + bytes(member.size - 12) + content[start + member.size :]
    )
    out = tmp_path / "out.parquet"
    with pytest.raises(DataError, match=r"test/s0008: test/1.tar:s0008.webp: .*cannot be decoded"):
        make_samples(shards_row(root), 0, out)
    assert not out.exists()
    make_samples(shards_row(root, skip_corrupt="yes"), 0, out)
    assert "test/s0008" not in read_samples(out).table["id"].tolist()
    assert len(read_samples(out).table) == 11
    assert files.read_table(out).attrs["corrupt"] == ["test/s0008"]


def test_shards_proven_by_their_digest(tmp_path):
    root = write_shards(tmp_path / "d")
    names = [f"test/{i}.tar" for i in range(2)]
    sha256 = tree_digest((name, files.file_digest(root / name)) for name in names)
    assert not open_dataset(shards_row(root)).verified
    assert open_dataset(shards_row(root, sha256=sha256)).verified
    with pytest.raises(DataError, match=f"the tree digest {sha256}, the column sha256 says 00"):
        open_dataset(shards_row(root, sha256="00"))


# --- shards from an address -----------------------------------------------------------------------


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; remembers what was asked for; can break off."""

    def __init__(self, *args, asked, broken, **options):
        self.asked, self.broken = asked, broken
        super().__init__(*args, **options)

    def do_GET(self):
        self.asked.append(self.path)
        if self.path in self.broken:
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(bytes(700))
            self.close_connection = True
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """(address, requested paths, paths that break off) of a server of tmp_path/d."""
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    asked, broken = [], set()
    folder = str(tmp_path / "d")
    handler = partial(Handler, asked=asked, broken=broken, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked, broken
        running.shutdown()


def test_address_gives_what_the_folder_gives_and_is_fetched_once(tmp_path, server):
    root = write_shards(tmp_path / "d", shards=3)
    address, asked, _ = server
    local = [(s.id, s.label, s.origin) for s in open_dataset(shards_row(root))]
    for _ in range(2):
        dataset = open_dataset(shards_row(address + "/"))
        assert [(s.id, s.label, s.origin) for s in dataset] == local
    assert dataset.classes == ("cat", "dog", "crane")
    shards = [f"/test/{i}.tar" for i in range(3)]
    assert sorted(asked) == ["/classnames.txt", *shards, "/test/nshards.txt"]
    fetched = sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())
    assert fetched == ["0.tar", "1.tar", "2.tar", "classnames.txt", "nshards.txt"]


def test_two_jobs_may_fetch_at_once(tmp_path, server):
    write_shards(tmp_path / "d", shards=4, each=8)
    results = []

    def read():
        results.append([s.id for s in open_dataset(shards_row(server[0]))])

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[f"test/s{i:04d}" for i in range(32)]] * 3
    assert not [p for p in (tmp_path / "cache").rglob(".*")]  # no temporary files


def test_faults_of_an_address(tmp_path, server):
    root = write_shards(tmp_path / "d", shards=3)
    address, _, broken = server
    with pytest.raises(DataError, match=r"no train/nshards.txt .*404"):
        open_dataset(shards_row(address, splits="train"))
    (root / "test" / "2.tar").rename(root / "kept.tar")
    with pytest.raises(DataError, match=r"shard test/2.tar is missing: .* says 3 shards .*404"):
        list(open_dataset(shards_row(address)))
    (root / "kept.tar").rename(root / "test" / "2.tar")
    broken.add("/test/2.tar")
    with pytest.raises(DataError, match="700 of 5000 bytes arrived"):
        list(open_dataset(shards_row(address)))
    assert not [p for p in (tmp_path / "cache").rglob("*2.tar*")]
    broken.clear()
    assert len(list(open_dataset(shards_row(address)))) == 12


def test_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    with pytest.raises(DataError, match=r"cannot be reached .*copy the dataset into a folder"):
        open_dataset(shards_row(f"http://127.0.0.1:{port}"))


# --- folders --------------------------------------------------------------------------------------


def write_pictures(root, *names):
    for value, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix[1:].lower()
        path.write_bytes(picture_bytes(value, suffix) if suffix in ("png", "jpg") else b"-")
    return root


def test_folder_of_classes(tmp_path, caplog):
    names = ("dog/b.png", "cat/deep/a.PNG", "cat/c.jpg", "cat/notes.md", "README", ".hidden/x.png")
    root = write_pictures(tmp_path / "d", *names)
    (root / "empty").mkdir()
    dataset = open_dataset(row("folder", root))
    assert dataset.classes == ("cat", "dog")
    expected = [("cat/c.jpg", 0), ("cat/deep/a.PNG", 0), ("dog/b.png", 1)]
    assert [(s.id, s.label) for s in dataset] == expected
    assert pixels(list(dataset)[1].image())[3, 4].tolist() == [1, 1, 1]
    assert "2 files are not pictures" in caplog.text
    assert "empty holds no picture" in caplog.text


def test_folder_of_splits_and_flat_folder(tmp_path):
    root = write_pictures(tmp_path / "d", "train/a/1.png", "train/b/2.png", "val/b/3.png")
    dataset = open_dataset(row("folder", root, splits="train,val"))
    assert [(s.id, s.split, s.label) for s in dataset] == [
        ("train/a/1.png", "train", 0),
        ("train/b/2.png", "train", 1),
        ("val/b/3.png", "test", 1),
    ]
    flat = open_dataset(row("folder", write_pictures(tmp_path / "f", "2.png", "1.png")))
    assert [(s.id, s.label) for s in flat] == [("1.png", None), ("2.png", None)]
    assert flat.classes == ()


def test_folder_links_are_followed_but_not_for_ever(tmp_path):
    root = write_pictures(tmp_path / "d", "a/1.png")
    write_pictures(tmp_path / "else", "2.png")
    (root / "b").symlink_to(tmp_path / "else", target_is_directory=True)
    (root / "a" / "3.png").symlink_to(tmp_path / "else" / "2.png")
    (root / "a" / "loop").symlink_to(root / "a", target_is_directory=True)
    assert [s.id for s in open_dataset(row("folder", root))] == ["a/1.png", "a/3.png", "b/2.png"]


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        open_dataset(row("folder", tmp_path / "none"))
    with pytest.raises(DataError, match="holds no picture"):
        open_dataset(row("folder", tmp_path))
    root = write_pictures(tmp_path / "d", "a/1.png")
    with pytest.raises(DataError, match="no folder 'test'; there are: a"):
        open_dataset(row("folder", root, splits="test"))
    write_pictures(root, "2.png")
    with pytest.raises(DataError, match="beside class folders"):
        open_dataset(row("folder", root))


def test_folder_proven_by_its_digest(tmp_path):
    root = write_pictures(tmp_path / "d", "a/1.png", "b/2.png")
    sha256 = tree_digest((n, files.file_digest(root / n)) for n in ("b/2.png", "a/1.png"))
    assert open_dataset(row("folder", root, sha256=sha256)).verified
    (root / "a" / "1.png").write_bytes(b"-")
    with pytest.raises(DataError, match="tree digest"):
        open_dataset(row("folder", root, sha256=sha256))


def test_pictures_of_other_modes(tmp_path):
    Image.new("L", (4, 4), 7).save(tmp_path / "grey.png")
    Image.new("RGBA", (4, 4), (1, 2, 3, 9)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    clear, deep, grey = open_dataset(row("folder", tmp_path))
    assert grey.image().getpixel((0, 0)) == (7, 7, 7)
    assert clear.image().getpixel((0, 0)) == (1, 2, 3)
    with pytest.raises(DataError, match=r"deep.png: pixels of mode I;16 .*convert the picture"):
        deep.image()
