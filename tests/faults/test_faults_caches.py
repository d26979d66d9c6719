"""Caches: damaged files, folders in their place, files exchanged; values stay the same."""

import logging
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_shelf import METRICS, always_tiled, table  # noqa: F401 - a fixture

from consilience import files
from consilience.datasets.packaged import emoji
from consilience.errors import DataError
from consilience.files import atomic
from consilience.metrics import get_metric
from consilience.notes import keep, kept
from consilience.similarity.shelf import Shelf, Steps
from consilience.train.course import read_checkpoint

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><g id="color"><path d="M0 0h9v{}h-9z"/></g></svg>'


@pytest.mark.parametrize(
    ("name", "parameters", "pattern"),
    [*((*metric, "*.safetensors") for metric in METRICS), (*METRICS[3], "*.steps")],
)
def test_exchanged_files_of_a_shelf_are_seen(name, parameters, pattern, tmp_path, caplog):
    """Known: two files of the shelf exchanged, and both tables of a family came out wrong."""
    metric, store = get_metric(name, **parameters), tmp_path / "m.parquet"
    table(metric, "abc", store)
    paths = sorted((tmp_path / "m").rglob(pattern))
    other = shutil.copy(paths[0], tmp_path / "other")
    shutil.copy(paths[1], paths[0])
    shutil.copy(other, paths[1])
    with caplog.at_level(logging.WARNING):
        found = table(metric, "abcd", store)
    pd.testing.assert_frame_equal(found, table(metric, "abcd"), check_exact=True)
    assert "of other features, and made again" in caplog.text


def test_a_file_of_another_shelf_is_not_taken(tmp_path):
    """One of the same features, but of other neighbours."""
    arrays = {"x": np.arange(4.0)}
    first, second = (Shelf(tmp_path / name / "k", 10**6) for name in "ab")
    third = Shelf(tmp_path / "c" / "other", 10**6)
    first.put("key", arrays, {"n": 1})
    for shelf, taken in ((second, True), (third, False)):
        shelf.folder.mkdir(parents=True)
        shutil.copy(first.folder / "key.safetensors", shelf.folder / "key.safetensors")
        assert bool(shelf.get("key")) == taken


def test_the_sum_of_steps_knows_their_order(tmp_path):
    """Known: a sum and a parity stay the same if words change places."""
    rng, path = np.random.default_rng(0), tmp_path / "x.steps"
    tiles = [rng.integers(0, 2**16, size, dtype=np.uint16) for size in (4000, 3000, 3)]
    steps = Steps(path)
    steps.fill(lambda: tiles)
    sizes, content = [tile.size for tile in tiles], path.read_bytes()

    def is_sound():
        kept = Steps.kept(path, sizes, steps.checksum)
        assert not kept.sound  # nobody has looked yet
        for number in range(len(sizes)):
            kept[number]
        return kept.sound

    assert is_sound()
    for i, j in ((0, 8), (8, 5000), (800, 13_000), (7992, 8000)):
        words = bytearray(content)
        words[i : i + 8], words[j : j + 8] = words[j : j + 8], words[i : i + 8]
        assert bytes(words) != content
        path.write_bytes(words)
        assert not is_sound()
    path.write_bytes(content[:-2])
    assert Steps.kept(path, sizes, steps.checksum) is None


@pytest.mark.parametrize(("name", "parameters"), METRICS)
def test_folders_in_place_of_cache_files_are_no_obstacle(name, parameters, tmp_path):
    metric, store = get_metric(name, **parameters), tmp_path / "m.parquet"
    expected = table(metric, "abc", store)
    for path in [store, *(tmp_path / "m").rglob("*.*")]:
        path.unlink()
        (path / "inside").mkdir(parents=True)
        (path / "inside" / "x").write_text("x")
    pd.testing.assert_frame_equal(table(metric, "abc", store), expected, check_exact=True)
    assert store.is_file()
    shutil.rmtree(tmp_path / "m")
    (tmp_path / "m").write_text("a file in place of the shelf")
    found = table(metric, "abcd", store)
    pd.testing.assert_frame_equal(found, table(metric, "abcd"), check_exact=True)


def test_a_folder_in_place_of_a_result_is_said(tmp_path):
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(DataError, match=r"x\.parquet is a folder, and a file is to be there"):
        files.write_table(pd.DataFrame({"a": [1]}), tmp_path / "x.parquet", {})
    with pytest.raises(DataError, match=r"x\.parquet is not a readable Parquet file"):
        files.read_table(tmp_path / "x.parquet")
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "a" / "x"):
        with pytest.raises(DataError, match=r"file is a file, and a folder is"), atomic(path):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x.parquet"]


def test_what_is_kept_is_found_by_its_key_alone(tmp_path):
    path = tmp_path / "cache" / "k.json"
    assert kept(path, "k") is None
    keep(path, "k", {"a": [1, None, "x"]})
    assert kept(path, "k") == {"a": [1, None, "x"]}
    assert kept(path, "other") is None
    content = path.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        assert kept(path, "k") in (None, {"a": [1, None, "x"]})
    for text in ("", "[]", "null", "3", "{}", '{"value": 1}', "[" * 100_000):
        path.write_text(text)
        assert kept(path, "k") is None
    path.unlink()
    path.mkdir()
    assert kept(path, "k") is None
    keep(path, "k", 1)
    assert kept(path, "k") == 1


def test_drawn_pictures_are_those_that_were_asked_for(tmp_path, monkeypatch):
    """Exchanged, damaged, absent, a folder: drawn again."""
    pytest.importorskip("resvg_py")
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path))
    first, second = (np.asarray(emoji.picture(SVG.format(k), "full", "x")) for k in (9, 4))
    assert not np.array_equal(first, second)
    one, other = sorted((tmp_path / "openmoji").iterdir())
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())

    def drawn():
        return [np.asarray(emoji.picture(SVG.format(k), "full", "x")) for k in (9, 4)]

    np.testing.assert_array_equal(drawn(), [first, second])
    with Image.open(one) as stored:
        Image.fromarray(255 - np.asarray(stored)).save(one)  # without the note
    np.testing.assert_array_equal(drawn(), [first, second])
    one.write_bytes(content[: len(content) // 2])
    np.testing.assert_array_equal(drawn(), [first, second])
    one.unlink()
    one.mkdir()
    np.testing.assert_array_equal(drawn(), [first, second])


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path, caplog):
    """PyTorch loads a flipped bit of a tensor without a word."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.checkpoint"
    torch.save({"keys": ["k"], "weights": torch.arange(1000.0)}, path)
    assert read_checkpoint(path)["keys"] == ["k"]
    content = bytearray(path.read_bytes())
    content[content.index(np.arange(1000, dtype=np.float32).tobytes()) + 1002] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert read_checkpoint(path) is None
    assert "another check sum); training begins anew" in caplog.text
    path.unlink()
    path.mkdir()
    assert read_checkpoint(path) is None
