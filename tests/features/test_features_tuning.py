"""What makes networks faster on a GPU, and leaves them as they are on a CPU."""

import numpy as np
import pytest
import torch

from consilience.datasets import open_dataset
from consilience.features import read_header, read_layer
from consilience.features.extract import extract_features
from consilience.features.forward import compile_network, tune
from consilience.models import _sending, load_model
from consilience.samples import iterate, make_samples, read_samples

VIT = {"model": "vit", "source": "timm", "name": "test_vit", "weights": "random"}
VIT = {**VIT, "input_size": "64", "layers": "blocks.0,pre_logits"}
CONVOLUTIONS = {"model": "c", "source": "timm", "name": "test_resnet", "weights": "random"}
CONVOLUTIONS = {**CONVOLUTIONS, "input_size": "64", "layers": "layer1,pre_logits"}
PHOTOS = {"dataset": "photos", "source": "packaged", "name": "photo_crops", "modality": "image"}


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "samples.parquet"
    make_samples({**PHOTOS, "cap": "4"}, 0, path)
    return path


def inputs_of(extractor, samples):
    found = read_samples(samples)
    stream = iterate(open_dataset({**PHOTOS, **found.pin}), found)
    return [extractor.preprocess(sample) for _, sample in stream]


def test_compile_changes_nothing_on_a_cpu(tmp_path, samples):
    for compiled in (False, True):
        out = tmp_path / f"{compiled}.safetensors"
        extract_features(VIT, PHOTOS, samples, out, device="cpu", compile=compiled)
        assert "compiled" not in read_header(out)
    one, other = (tmp_path / f"{c}.safetensors" for c in (False, True))
    assert one.read_bytes() == other.read_bytes()
    assert read_layer(one, "blocks.0").shape[0] == 4


@pytest.mark.parametrize("row", [VIT, CONVOLUTIONS])
def test_a_tuned_network_gives_the_same_features(row, samples):
    """As on a GPU, where the compiler is inductor; the taps must see the compiled pass."""
    plain, tuned = load_model(row, "cpu"), load_model(row, "cpu")
    calls = []

    def backend(graph, _inputs):
        calls.append(1)
        return graph.forward

    batch = inputs_of(plain, samples)
    with torch.inference_mode():
        before = plain.extract(batch)
        tuned.lay_out(torch.channels_last)
        compile_network(tuned.network, backend)
        for part in (batch, batch[:3]):
            after = tuned.extract(part)
            for name, x in before.items():
                np.testing.assert_allclose(after[name], x[: len(part)], rtol=1e-4, atol=1e-5)
    assert calls


def test_channels_come_last_under_autocast_on_a_gpu_only(monkeypatch):
    seen = []

    class Extractor:
        network = torch.nn.Linear(2, 2)

        def lay_out(self, order):
            seen.append(order)

    monkeypatch.setattr("consilience.features.forward.compile_network", seen.append)
    given = Extractor()
    assert not tune(given, "cpu", precision="bfloat16", compiled=True)
    assert not tune(given, "cuda", precision="none", compiled=False)
    assert seen == []
    assert not tune(given, "cuda", precision="bfloat16", compiled=False)
    assert seen == [torch.channels_last]
    assert tune(given, "cuda:0", precision="none", compiled=True)
    assert seen[1:] == [given.network]


def test_inputs_are_pinned_for_cuda_only():
    class Input:
        device, made = torch.device("cpu"), ()

        def pin_memory(self):
            self.made += ("pinned",)
            return self

        def to(self, where, **options):
            self.made += (where, options)
            return self

    assert _sending.sent(Input(), "cuda:0").made == ("pinned", "cuda:0", {"non_blocking": True})
    assert _sending.sent(Input(), "cpu").made == ("cpu", {})
