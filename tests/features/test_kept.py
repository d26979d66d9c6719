"""What a process keeps of a dataset for the next model on it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from consilience.datasets import Sample
from consilience.features import kept
from consilience.features.batches import Chunk
from consilience.features.kept import Kept


def samples(count, opened, size=4):
    def decode(row):
        opened.append(row)
        return Image.fromarray(np.full((size, size, 3), row, np.uint8))

    for row in range(count):
        yield row, Sample(id=f"s{row}", origin="here", image=lambda row=row: decode(row))


def test_pictures_are_decoded_once_and_nobody_draws_on_what_is_kept():
    opened, store = [], Kept()
    store.turn_to("one")
    for _ in range(3):
        for row, sample in store.rows(samples(3, opened)):
            picture = sample.image()
            assert np.all(np.asarray(picture) == row)
            picture.putpixel((0, 0), (255, 255, 255))
    assert opened == [0, 1, 2]
    store.turn_to("two")
    assert all(sample.image() for _, sample in store.rows(samples(3, opened)))
    assert opened == [0, 1, 2] * 2


def test_samples_without_pictures_pass():
    store = Kept()
    store.turn_to("one")
    text = Sample(id="a", origin="here", text="x")
    assert list(store.rows([(0, text)])) == [(0, text)]


def test_a_dataset_that_is_too_large_is_not_kept(monkeypatch):
    opened, store = [], Kept()
    monkeypatch.setattr(kept, "LIMIT", 3 * 4 * 4 * 2)
    store.turn_to("one")
    for _ in range(2):
        for _, sample in store.rows(samples(3, opened)):
            sample.image()
    assert opened == [0, 1, 2] * 2
    store.turn_to("two")
    for _ in range(2):
        for _, sample in store.rows(samples(2, opened)):
            sample.image()
    assert opened[6:] == [0, 1]


@pytest.mark.parametrize("key", [None, "same"])
def test_inputs_are_made_once_for_models_that_take_the_same(key):
    made, store = [], Kept()
    store.turn_to("one")

    def make():
        for number in range(2):
            made.append(number)
            yield Chunk(number, 2 * number, torch.full((2, 3), float(number)))

    for _ in range(2):
        for number, chunk in enumerate(store.chunks(key, make)):
            assert (chunk.number, chunk.start) == (number, 2 * number)
            assert torch.equal(chunk.inputs, torch.full((2, 3), float(number)))
            chunk.inputs.add_(1)  # as a network may
    assert made == ([0, 1] if key else [0, 1, 0, 1])
    assert len(list(store.chunks("other", make))) == 2 and made[-2:] == [0, 1]


def test_a_pass_that_broke_off_or_holds_no_tensors_is_not_kept():
    store = Kept()
    store.turn_to("one")
    chunk = Chunk(0, 0, torch.zeros(2, 3))
    next(store.chunks("same", lambda: iter([chunk, replace(chunk, number=1)])))
    assert [c.number for c in store.chunks("same", lambda: iter([chunk]))] == [0]
    lists = Chunk(0, 0, [torch.zeros(2), torch.zeros(3)])
    for _ in range(2):
        assert [c.inputs for c in store.chunks("lists", lambda: iter([lists]))] == [lists.inputs]


class Net:
    """An extractor, as far as it is looked at."""

    def __init__(self, **provenance):
        self.network, self.provenance = torch.nn.Linear(2, 2), provenance


def test_a_small_network_is_loaded_once_until_its_weights_are_others(tmp_path, monkeypatch):
    path, store = tmp_path / "w", Kept()
    path.write_text("1")
    row = {"model": "m", "weights": str(path)}
    first = store.model(row, "cpu", lambda row, device: Net())
    assert store.model(dict(row), "cpu", None) is first
    for other, device in (({**row, "layers": "all"}, "cpu"), (row, "cuda")):
        assert store.model(other, device, lambda row, device: Net()) is not first
    assert store.model(row, "cuda", lambda row, device: Net()) is not first  # nothing is kept there
    path.write_text("22")
    assert store.model(row, "cpu", lambda row, device: Net()) is not first
    monkeypatch.setattr(kept, "LIMIT", 0)
    for _ in range(2):
        large = Net()
        assert (
            store.model({"model": "large"}, "cpu", lambda row, device, large=large: large) is large
        )


def test_what_counts_as_it_reads_is_loaded_each_time():
    store, found = Kept(), [Net(truncated="0"), Net(truncated="0")]
    assert [store.model({}, "cpu", lambda row, device, one=one: one) for one in found] == found
