"""Checkpoints of others and your own: fetched, read without running code, fitted, described."""

import argparse
import hashlib
import io
import threading
import time

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file
from servers import serve
from test_models import Trap, image_row, pictures

from consilience.errors import ModelError
from consilience.models import _download, load_model


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Short waits, no proxy, caches of our own."""
    monkeypatch.setattr(_download, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(_download, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(_download, "PROBE_SECONDS", 1.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def features(row, samples=None):
    extractor = load_model(row)
    inputs = [extractor.preprocess(sample) for sample in samples or pictures(2)]
    return extractor.extract(inputs)


def as_bytes(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(3)
    return torchvision.models.resnet18().state_dict()


def expected(state, tmp_path, library="torchvision", name="resnet18", **cells):
    """Features by the library's own source from a plain file."""
    save_file(state, tmp_path / "plain.safetensors")
    row = image_row(library, name, weights=str(tmp_path / "plain.safetensors"), **cells)
    return features({"transform": "imagenet", **row})


# Fetching

CONTENT = bytes(range(256)) * 2000


def fetch(server, path="/w.bin", **options):
    return _download.fetch(server.url + path, **options).read_bytes()


def test_a_file_is_fetched_once_and_checked():
    sha = hashlib.sha256(CONTENT).hexdigest()
    with serve({"/w.bin": CONTENT}) as server:
        assert fetch(server, digest=sha) == CONTENT
        assert fetch(server, digest=sha) == CONTENT
        assert len(server.asked) == 1
        with pytest.raises(ModelError, match=r"SHA-256 of .*w\.bin is .*, expected 00; delete"):
            fetch(server, digest="00")
    folder = _download.cached_path("x").parent
    assert [p.name for p in folder.iterdir() if not p.name.startswith(".")] == [
        _download.cached_path(server.url + "/w.bin").name
    ]
    assert not list(folder.glob(".*.part"))


def test_a_replaced_file_is_not_kept():
    with serve({"/w.bin": CONTENT}) as server:
        with pytest.raises(ModelError, match="was replaced or damaged on its way"):
            fetch(server, digest="0" * 64)
        assert not _download.cached_path(server.url + "/w.bin").exists()


def test_a_cut_transfer_goes_on_where_it_stopped():
    with serve({"/w.bin": CONTENT}) as server:
        server.faults["/w.bin"] = [100_000, 250_000]
        assert fetch(server) == CONTENT
        assert [ask for _, ask in server.asked] == [None, "bytes=100000-", "bytes=350000-"]


def test_a_part_of_another_version_is_thrown_away():
    with serve({"/w.bin": CONTENT}) as server:
        server.faults["/w.bin"] = [1000] * 3
        with pytest.raises(ModelError, match=r"3000 of 512000 bytes came, 3 times; try again"):
            fetch(server)
        server.files["/w.bin"] = CONTENT[::-1]
        assert fetch(server) == CONTENT[::-1]


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([404], "the server answers 404 Not Found; correct `weights`"),
        ([500, 503, 500], "the server answers 500 .*, 3 times; try again later"),
        (["hang"] * 3, "the server sent nothing for 0.3 s, 3 times"),
    ],
)
def test_a_server_that_fails_gives_a_clear_error_in_bounded_time(faults, message):
    began = time.monotonic()
    with serve({"/w.bin": CONTENT}, patience=1.0) as server:
        server.faults["/w.bin"] = faults
        with pytest.raises(ModelError, match=message):
            fetch(server)
        assert not _download.cached_path(server.url + "/w.bin").exists()
    assert time.monotonic() - began < 8


def test_a_server_that_recovers_is_asked_again():
    with serve({"/w.bin": CONTENT}, patience=1.0) as server:
        server.faults["/w.bin"] = [503, "hang"]
        assert fetch(server) == CONTENT


def test_two_jobs_fetch_one_file_once():
    got = []
    with serve({"/w.bin": CONTENT}) as server:
        jobs = [threading.Thread(target=lambda: got.append(fetch(server))) for _ in range(4)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        assert got == [CONTENT] * 4 and len(server.asked) == 1


def test_no_server_and_no_place_are_told_apart(monkeypatch, tmp_path):
    with serve({}) as server:
        pass
    with pytest.raises(ModelError, match="its server cannot be reached; load it once"):
        fetch(server)
    with serve({"/w.bin": CONTENT}) as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
            fetch(server)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "file"))
        with pytest.raises(ModelError, match=r"cannot be kept in .*file"):
            fetch(server)


# Published checkpoints


def test_a_published_checkpoint_gives_the_features_of_its_weights(resnet, tmp_path):
    content = as_bytes({k: v for k, v in resnet.items() if not k.startswith("fc.")})
    with serve({"/r.pth": content}) as server:
        row = image_row("hub", "torchvision:resnet18", weights=f"{server.url}/r.pth")
        row["sha256"] = hashlib.sha256(content).hexdigest()
        found = features(row)
        extractor = load_model(row)
    assert torch.equal(found["pre_logits"], expected(resnet, tmp_path)["pre_logits"])
    assert extractor.outputs == ()
    assert extractor.provenance["weights_sha256"] == row["sha256"]
    assert extractor.provenance["weights"] == f"{server.url}/r.pth"
    assert "Resize(size=256, interpolation=bilinear" in extractor.provenance["transform"]


def test_errors_of_a_checkpoint_begin_with_the_model():
    with serve({}) as server:
        row = image_row("hub", "torchvision:resnet18", weights=f"{server.url}/absent.pth")
        with pytest.raises(ModelError, match=r"model 'm': .*absent\.pth .*404"):
            load_model(row)


def vissl(state):
    """The layout of VISSL's checkpoints: deep tables, a prefix, plain values beside them."""
    trunk = {
        f"_feature_blocks.{k}": v
        for k, v in state.items()
        if not k.startswith("fc.") and "num_batches" not in k
    }
    heads = {"0.clf.weight": torch.zeros(3, 3)}
    return {
        "phase_idx": 799,
        "loss": np.float64(0.5),
        "history": np.arange(3.0),
        "args": argparse.Namespace(lr=0.1),
        "classy_state_dict": {"base_model": {"model": {"trunk": trunk, "heads": heads}}},
    }


def moco(state):
    """A query and a key encoder, wrapped for several devices, with a projection for a head."""
    both = {f"module.encoder_q.{k}": v for k, v in state.items() if not k.startswith("fc.")}
    both["module.encoder_q.fc.0.weight"] = torch.zeros(4, 4)
    both |= {k.replace("_q.", "_k."): torch.zeros_like(v) for k, v in both.items()}
    return {"epoch": 200, "state_dict": both, "optimizer": {"state": {0: torch.zeros(2)}}}


@pytest.mark.parametrize(
    ("layout", "keys"),
    [
        (vissl, "classy_state_dict.base_model.model.trunk._feature_blocks."),
        (moco, "state_dict.module.encoder_q."),
    ],
)
def test_checkpoints_of_training_are_read_through_keys(resnet, tmp_path, layout, keys):
    torch.save(layout(resnet), tmp_path / "net.torch")
    row = image_row("hub", "torchvision:resnet18", weights=str(tmp_path / "net.torch"), keys=keys)
    found = features(row)["pre_logits"]
    assert torch.equal(found, expected(resnet, tmp_path)["pre_logits"])


def test_keys_rename_keep_and_drop(resnet, tmp_path):
    state = {k.replace("layer", "stage"): v for k, v in resnet.items()}
    save_file({**state, "projector.0.weight": torch.zeros(2)}, tmp_path / "own.safetensors")
    weights = str(tmp_path / "own.safetensors")
    row = image_row("checkpoint", "torchvision:resnet18", weights=weights, transform="imagenet")
    keys = "stage=layer,projector.=unused.,="
    with pytest.raises(ModelError, match=r"1 not known to the model \(unused.0.weight\)"):
        load_model({**row, "keys": keys})
    keys = "stage=layer,conv1=conv1,bn1=bn1,fc=fc"
    extractor = load_model({**row, "keys": keys})
    assert extractor.outputs == ("logits",)
    found = features({**row, "keys": keys})
    assert torch.equal(found["pre_logits"], expected(resnet, tmp_path)["pre_logits"])
    with pytest.raises(ModelError, match=r"keys trunk\. keep no tensor of .*, which holds bn1"):
        load_model({**row, "keys": "trunk."})
    with pytest.raises(ModelError, match=r"two tensors of .* become 'weight'"):
        load_model({**row, "keys": "conv1.,bn1."})


def test_published_vision_transformers_become_those_of_timm(tmp_path):
    torch.manual_seed(4)
    size = {"input_size": "64", "layers": "norm", "pool": "cls"}
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()
    xcit = timm.create_model("xcit_nano_12_p16_224", num_classes=0).state_dict()
    published = {}
    for name, values in xcit.items():  # queries, keys and values in one, another spelling
        joined, axis = name.replace(".attn.q.", ".attn.qkv."), 0
        if name.startswith("cls_attn_blocks") and ".attn.q." in name:
            parts = [xcit[name.replace(".attn.q.", f".attn.{part}.")] for part in "qkv"]
            published[joined] = torch.cat(parts, axis)
        elif not (name.startswith("cls_attn_blocks") and (".attn.k." in name or ".v." in name)):
            published[name.replace("pos_embed.", "pos_embeder.")] = values
    torch.save({"model": vit}, tmp_path / "mae.pth")
    torch.save(published, tmp_path / "xcit.pth")
    for file, name, state, cells in (
        ("mae.pth", "vit_tiny_patch16_224", vit, {**size, "input_size": ""}),
        ("xcit.pth", "xcit_nano_12_p16_224", xcit, size),
    ):
        row = image_row("hub", f"timm:{name}", weights=str(tmp_path / file), **cells)
        wanted = expected(state, tmp_path, "timm", name, **cells)["norm"]
        assert torch.equal(features(row)["norm"], wanted)


def test_position_embeddings_follow_the_size_of_the_pictures(tmp_path):
    torch.manual_seed(5)
    model = timm.create_model("vit_small_patch14_dinov2", num_classes=0)
    state = {"mask_token": torch.zeros(1, 384), **model.state_dict()}
    torch.save(state, tmp_path / "dinov2.pth")
    row = image_row(
        "hub",
        "timm:vit_small_patch14_dinov2",
        weights=str(tmp_path / "dinov2.pth"),
        input_size="56",
        layers="blocks.*",
        pool="cls",
    )
    extractor = load_model(row)
    assert len(extractor.layers) == 12
    assert extractor._model.pos_embed.shape == (1, 1 + 4 * 4, 384)
    whole = model.pos_embed[:, 1:].reshape(37, 37, 384).mean((0, 1))
    small = extractor._model.pos_embed[0, 1:].mean(0)
    torch.testing.assert_close(small, whole, atol=2e-3, rtol=0)


# Your own checkpoints


@pytest.mark.parametrize("source", ["hub", "checkpoint"])
def test_architecture_rows_with_one_mistake_give_one_message(source, tmp_path, resnet):
    save_file(resnet, tmp_path / "r.safetensors")
    good = image_row(source, "torchvision:resnet18", weights=str(tmp_path / "r.safetensors"))
    for cells, message in (
        ({"name": "torchvision:resnet19"}, "no image classifier 'resnet19'; did you mean"),
        ({"name": "timm:resnet19"}, "timm has no model 'resnet19'; did you mean"),
        ({"name": "resnet18"}, "write timm:NAME"),
        ({"weights": ""}, "`weights` must name a checkpoint"),
        ({"weights": "IMAGENET1K_V1"}, "`weights` must name a checkpoint"),
        ({"name": "torchvision:resnet34"}, r"120 tensors for 216; \d+ missing \(layer1.2.conv1"),
        ({"weights": "/nowhere/x.pth"}, "no such file or folder"),
        ({"revision": "v1"}, "revision"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model({**good, **cells})


def test_a_checkpoint_keeps_the_preprocessing_and_layers_of_its_library(resnet, tmp_path):
    save_file(resnet, tmp_path / "r.safetensors")
    own = image_row("torchvision", "resnet18", weights=str(tmp_path / "r.safetensors"))
    own |= {"layers": "all", "input_size": "64"}
    row = {**own, "source": "checkpoint", "name": "torchvision:resnet18"}
    a, b = features(own), features(row)
    assert list(a) == list(b) == [*(f"layer{i}" for i in range(1, 5)), "pre_logits", "logits"]
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_pickle_with_code_is_refused_with_the_way_to_convert_it(tmp_path):
    trap = tmp_path / "sprung"
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "x": Trap(trap)}, tmp_path / "w.pt")
    row = image_row("checkpoint", "torchvision:resnet18", weights=str(tmp_path / "w.pt"))
    for keys in ("", "state_dict."):
        with pytest.raises(ModelError, match=r"w\.pt .*more than tensors .* would be run.*python"):
            load_model({**row, "keys": keys})
    assert not trap.exists()


def test_tables_inside_tables_are_named_in_the_message(resnet, tmp_path):
    torch.save({"epoch": 1, "net": {"trunk": resnet}}, tmp_path / "w.pt")
    row = image_row("checkpoint", "torchvision:resnet18", weights=str(tmp_path / "w.pt"))
    with pytest.raises(ModelError, match=r"no plain table of tensors \(.* net\.trunk.*keys"):
        load_model(row)
    assert load_model({**row, "keys": "net.trunk."}).outputs == ("logits",)


# Repositories of torch.hub

HUBCONF = """
from pathlib import Path
import torch
dependencies = ["torch"]
Path(__file__).with_name("ran").touch()

def small(**options):
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 7, 7), torch.nn.Flatten())

def text(**options):
    return "no network"
"""


def test_code_of_a_repository_is_run_only_if_the_row_says_so(tmp_path):
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    row = image_row("hub", f"{tmp_path}/small", input_size="28")
    for trust in ("", "no"):
        with pytest.raises(ModelError, match="would run its own code; set trust_remote_code"):
            load_model({**row, "trust_remote_code": trust})
    assert not (tmp_path / "ran").exists()
    row["trust_remote_code"] = "yes"
    first, second = load_model(row), load_model(row)
    assert first.layers == ("output",) and features(row)["output"].shape == (2, 64)
    assert first.provenance["state_sha256"] == second.provenance["state_sha256"]
    assert load_model({**row, "layers": "0, last"}).layers == ("0", "output")
    with pytest.raises(ModelError, match="gives str, not a network"):
        load_model({**row, "name": f"{tmp_path}/text"})
    with pytest.raises(ModelError, match="leave the column `weights` blank"):
        load_model({**row, "weights": "random"})
    with pytest.raises(ModelError, match=r"cannot be loaded: .*absent"):
        load_model({**row, "name": f"{tmp_path}/absent"})


# Revisions

COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The hub's cache with two revisions of one model, as its client leaves it; no network."""
    repository = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    states = {}
    for reference, commit in COMMITS.items():
        torch.manual_seed(len(states))
        states[reference] = timm.create_model("test_resnet").state_dict()
        (repository / "snapshots" / commit).mkdir(parents=True)
        save_file(states[reference], repository / "snapshots" / commit / "model.safetensors")
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / reference).write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repository, states


def file_of(repository, reference):
    return repository / "snapshots" / COMMITS[reference] / "model.safetensors"


@pytest.mark.parametrize("wanted", ["", "v1", COMMITS["v1"]])
def test_the_revision_decides_the_weights_and_its_commit_is_recorded(hub_cache, wanted):
    repository, states = hub_cache
    reference = "v1" if wanted else "main"
    row = image_row("timm", "test_resnet.r160_in1k", revision=wanted)
    extractor = load_model(row)
    sha = hashlib.sha256(file_of(repository, reference).read_bytes()).hexdigest()
    assert extractor.provenance["revision"] == COMMITS[reference]
    assert extractor.provenance["weights_sha256"] == sha
    assert extractor.outputs == ("logits",)
    loaded = extractor._model.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in states[reference].items())
    assert load_model({**row, "sha256": sha}).layers == ("pre_logits",)
    with pytest.raises(ModelError, match=f"is {sha}, expected 00"):
        load_model({**row, "sha256": "00"})


def test_one_file_of_the_hub_is_a_checkpoint(hub_cache):
    _, states = hub_cache
    weights = "hf-hub:timm/test_resnet.r160_in1k/model.safetensors"
    row = image_row("hub", "timm:test_resnet", weights=weights, revision="v1")
    extractor = load_model(row)
    assert extractor.provenance["revision"] == COMMITS["v1"]
    loaded = extractor._model.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in states["v1"].items())
    with pytest.raises(ModelError, match="is not in the local cache and HF_HUB_OFFLINE is set"):
        load_model({**row, "revision": "v2"})
    with pytest.raises(ModelError, match="is not in the local cache"):
        load_model({**row, "weights": weights.replace("model.safe", "other.safe")})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (404, "cannot be loaded: .*404"),
        (500, "cannot be loaded: .*500"),
        ("hang", "the hub cannot be reached"),
    ],
)
def test_a_hub_that_fails_gives_a_clear_error_in_bounded_time(
    monkeypatch, tmp_path, fault, message
):
    # The hub's client tries six times, 23 s in all.
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda seconds: None)
    with serve({}, patience=3.0) as server:
        server.always = fault
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(huggingface_hub.file_download.constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            server.url + "/{repo_id}/{revision}/{filename}",
        )
        began = time.monotonic()
        weights = "hf-hub:some/where/model.safetensors"
        with pytest.raises(ModelError, match=message):
            load_model(image_row("hub", "timm:test_resnet", weights=weights))
        assert time.monotonic() - began < 25
    assert not list((tmp_path / "hub").rglob("*.safetensors"))
