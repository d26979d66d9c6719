"""K22: the page's script library is packed once, and not where that would end the process."""

import logging

import pytest

from consilience.errors import DataError
from consilience.explorer import library


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """Counts how often the library is packed."""
    calls = []

    def pack(**_):
        calls.append(1)
        return "let x = '</script>';"

    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path))
    monkeypatch.setattr(library.vl_convert, "javascript_bundle", pack)
    return calls


def script():
    return library.script_library.__wrapped__()


def test_it_is_packed_once_and_damage_is_seen(packed, tmp_path, caplog):
    assert script() == script() == "let x = '<\\/script>';"
    assert len(packed) == 1
    (path,) = (tmp_path / "explorer").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        assert script() == "let x = '<\\/script>';"
    assert len(packed) == 2 and "is damaged and made again" in caplog.text


def test_a_limit_of_address_space_is_one_sentence(packed, monkeypatch):
    monkeypatch.setattr(library, "_addresses", lambda: 6 << 30)
    with pytest.raises(DataError, match=r"takes 66 GB of address space .* may have 6 "):
        script()
    assert not packed
    monkeypatch.setattr(library, "_addresses", lambda: library.ADDRESSES)
    script()
    monkeypatch.setattr(library, "_addresses", lambda: 6 << 30)
    assert script() and len(packed) == 1


def test_a_cache_that_cannot_be_written_costs_time_only(packed, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path / "file")
    assert script()  # a folder that is none
    monkeypatch.setattr(library, "atomic", _full)
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path)
    assert script() and script() and len(packed) == 3


def _full(path):
    raise library.StorageError(f"{path} cannot be written")
