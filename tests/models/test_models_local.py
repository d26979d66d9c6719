"""Local weights: what libraries set for published ones, and tensors that only seem to fit."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import torchvision
from open_clip.model import QuickGELU
from safetensors.torch import save_file
from test_models import image_row, pictures

from consilience.errors import ModelError
from consilience.models import _weights, load_model
from consilience.models import open_clip as clip_source
from consilience.models import timm as timm_source
from consilience.models import torchvision as torchvision_source
from consilience.models._fit import resized_places
from consilience.models._published import Published, settle


def extract(row, samples=None):
    extractor = load_model(row)
    inputs = [extractor.preprocess(sample) for sample in samples or pictures(2)]
    return extractor, torch.stack(inputs), extractor.extract(inputs)


def transform(row):
    return load_model(row).provenance["transform"]


# What torchvision sets for its own weights


@pytest.fixture(scope="module")
def googlenet():
    torch.manual_seed(0)
    return torchvision.models.googlenet(weights=None, init_weights=False).eval()


@pytest.mark.parametrize("auxiliary", [True, False])
@pytest.mark.parametrize("file", ["googlenet-1378be20.pth", "mine.pth"])
def test_googlenet_sees_the_pictures_that_its_published_weights_expect(
    googlenet, tmp_path, file, auxiliary
):
    state = {k: v for k, v in googlenet.state_dict().items() if auxiliary or "aux" not in k}
    torch.save(state, tmp_path / file)
    row = image_row("torchvision", "googlenet", weights=str(tmp_path / file), input_size="64")
    extractor, images, found = extract(row)
    assert extractor.outputs == ("logits",)
    how = "known by the name" if file != "mine.pth" else "its only published weights"
    assert how in extractor.provenance["settings"]
    # the builder's docstring: ImageNet's normalisation undone, that to [-1, 1] done
    mean, std = (
        torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.no_grad():
        expected = googlenet((images * std + mean - 0.5) / 0.5)
    torch.testing.assert_close(found["logits"], expected, rtol=1e-4, atol=1e-4)


def test_inception_too_and_a_local_file_is_what_the_builder_makes_of_a_tag(tmp_path):
    network = torchvision_source.unfilled(
        "inception_v3", torchvision.models.Inception_V3_Weights.DEFAULT
    )
    assert network.transform_input and not network.training
    plain = torchvision.models.inception_v3(weights=None, init_weights=False)
    assert not plain.transform_input
    state = plain.state_dict()
    assert network.state_dict().keys() == state.keys()
    torch.save(state, tmp_path / "i.pth")
    row = image_row("torchvision", "inception_v3", weights=str(tmp_path / "i.pth"))
    assert load_model({**row, "transform": "imagenet"})._model.transform_input


def mobilenet(tmp_path, file="mine.pth", **cells):
    torch.manual_seed(1)
    torch.save(torchvision.models.mobilenet_v2().state_dict(), tmp_path / file)
    return image_row("torchvision", "mobilenet_v2", weights=str(tmp_path / file), **cells)


def test_weights_of_which_nobody_knows_the_preprocessing_are_refused(tmp_path):
    row = mobilenet(tmp_path)
    with pytest.raises(ModelError) as caught:
        load_model(row)
    for part in ("mine.pth", "resize 256 (IMAGENET1K_V1) or 232 (IMAGENET1K_V2)"):
        assert part in str(caught.value)
    assert "`name` = mobilenet_v2/TAG" in str(caught.value)
    assert "size=256" in transform({**row, "transform": "imagenet"})


def test_a_tag_in_the_name_and_the_name_of_a_file_tell_the_preprocessing(tmp_path):
    row = mobilenet(tmp_path)
    for tag, size in (("IMAGENET1K_V1", 256), ("IMAGENET1K_V2", 232)):
        assert f"resize_size=[{size}]" in transform({**row, "name": f"mobilenet_v2/{tag}"})
    row = mobilenet(tmp_path, "mobilenet_v2-7ebf99e0.pth")
    extractor = load_model(row)
    assert "resize_size=[232]" in extractor.provenance["transform"]
    assert "IMAGENET1K_V2: known by the name of the file" in extractor.provenance["settings"]
    with pytest.raises(ModelError, match=r"'mobilenet_v2' has no weights 'IMAGENET1K_V3'; did"):
        load_model({**row, "name": "mobilenet_v2/IMAGENET1K_V3"})
    with pytest.raises(ModelError, match="name says 'IMAGENET1K_V1' and weights 'IMAGENET1K_V2'"):
        load_model({**row, "name": "mobilenet_v2/IMAGENET1K_V1", "weights": "IMAGENET1K_V2"})


def test_every_builder_of_torchvision_runs_without_weights():
    with torch.device("meta"):
        for name in ("densenet121", "vgg16", "maxvit_t", "mnasnet0_5", "vit_b_16"):
            for preset in torchvision.models.get_model_weights(name):
                network = torchvision_source.unfilled(name, preset)
                assert next(network.parameters()).is_meta
                size = preset.transforms().crop_size[0]
                assert getattr(network, "image_size", size) == size
    layer = torch.nn.Linear(2, 2)
    layer.load_state_dict({"weight": torch.ones(2, 2), "bias": torch.zeros(2)})
    assert (layer.weight == 1).all()  # nothing stays switched off


def test_every_architecture_of_torchvision_has_settings():
    for name in ("regnet_y_400mf", "swin_v2_t", "shufflenet_v2_x0_5", "inception_v3"):
        row = image_row("torchvision", name)
        settings = [
            torchvision_source._settings(row, preset)
            for preset in torchvision.models.get_model_weights(name)
        ]
        assert all(found["resize"] >= found["crop"] for found in settings)
        assert [found.get("transform_input", False) for found in settings] == [
            name == "inception_v3"
        ] * len(settings)


@pytest.mark.parametrize("weights", ["random", "file"])
def test_vits_of_torchvision_take_another_size(tmp_path, weights):
    torch.manual_seed(5)
    network = torchvision.models.vit_b_32(weights=None).eval()
    if weights == "file":
        torch.save(network.state_dict(), tmp_path / "v.pth")
        weights = str(tmp_path / "v.pth")
    row = image_row("torchvision", "vit_b_32", weights=weights, input_size="160")
    extractor, images, found = extract(row)
    assert images.shape == (2, 3, 160, 160) and found["pre_logits"].shape == (2, 768)
    if extractor.outputs:  # the same network with its places interpolated by the library
        state = torchvision.models.vision_transformer.interpolate_embeddings(
            160, 32, network.state_dict()
        )
        other = torchvision.models.vit_b_32(weights=None, image_size=160).eval()
        other.load_state_dict(state)
        with torch.no_grad():
            torch.testing.assert_close(found["logits"], other(images), rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match="input_size is 150, no multiple of the patches of 32"):
        load_model({**row, "input_size": "150"})


def test_networks_that_cannot_read_a_size_say_so_in_one_sentence():
    row = image_row("torchvision", "maxvit_t", weights="random", input_size="96")
    with pytest.raises(ModelError, match=r"pictures of shape \(3, 96, 96\) .*set input_size to"):
        extract(row)


def test_names_of_older_versions_are_read_as_the_library_reads_them(tmp_path):
    torch.manual_seed(2)
    state = torchvision.models.densenet121().state_dict()
    old = {}
    counted = "num_batches_tracked"  # which versions as old as these names did not keep
    for name, tensor in state.items():
        if name.endswith(counted):
            continue
        for part in ("norm", "conv"):
            for number in "12":
                if "denselayer" in name:
                    name = name.replace(f".{part}{number}.", f".{part}.{number}.")  # noqa: PLW2901
        old[name] = tensor
    assert any(".norm.1." in name for name in old)
    row = image_row("torchvision", "densenet121", input_size="64")
    found = []
    for file, tensors in (("old.pth", old), ("new.pth", state)):
        torch.save(tensors, tmp_path / file)
        found.append(extract({**row, "weights": str(tmp_path / file)})[2]["logits"])
    assert torch.equal(*found)


def test_modules_that_ask_for_their_version_are_told(tmp_path):
    state = torchvision.models.mnasnet0_5().state_dict()
    save_file(dict(state), tmp_path / "m.safetensors")
    weights = str(tmp_path / "m.safetensors")
    found = extract(image_row("torchvision", "mnasnet0_5", weights=weights, input_size="64"))
    assert found[2]["logits"].shape == (2, 1000)


# timm and open_clip


def test_timm_takes_the_preprocessing_of_known_weights_only(tmp_path):
    torch.manual_seed(3)
    name = "mobilenetv4_conv_small"
    state = timm.create_model(name).state_dict()
    folder = tmp_path / f"models--timm--{name}.e3600_r256_in1k" / "snapshots" / "c"
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors")
    save_file(state, tmp_path / "mine.safetensors")
    row = image_row("timm", name, weights=str(tmp_path / "mine.safetensors"))
    with pytest.raises(ModelError) as caught:
        load_model(row)
    for part in ("crop_pct 0.875 (", "0.95 (e3600_r256_in1k)", f"`name` = {name}.TAG"):
        assert part in str(caught.value)
    cached = load_model({**row, "weights": str(folder / "model.safetensors")})
    stated = load_model({**row, "name": f"{name}.e3600_r256_in1k"})
    assert cached.provenance["transform"] == stated.provenance["transform"]
    assert "mean=tensor([0.5000, 0.5000, 0.5000])" in cached.provenance["transform"]
    assert "known by the repository" in cached.provenance["settings"]
    assert "the row names them" in stated.provenance["settings"]
    assert "size=256" in transform({**row, "transform": "imagenet"})  # 256/224 of 224


def test_files_of_timm_are_known_by_their_names():
    row = image_row("timm", "resnet18")
    for file, tag in (
        ("resnet18-f37072fd.pth", "tv_in1k"),
        ("resnet18_a1_0-d63eafa0.pth", "a1_in1k"),
        ("/x/gluon_resnet18_v1b-0757602b.pth", "gluon_in1k"),
    ):
        weights = _weights.Weights(path=Path(file))
        assert timm_source.settled({**row, "weights": file}, weights).like == tag


def test_the_usual_transform_has_the_size_that_a_network_is_built_for(tmp_path):
    name = "vit_tiny_patch16_384"
    torch.save(timm.create_model(name, num_classes=0).state_dict(), tmp_path / "v.pth")
    row = image_row("timm", name, weights=str(tmp_path / "v.pth"), transform="imagenet")
    assert extract(row)[1].shape == (2, 3, 384, 384)


def test_hub_rows_get_other_colours_only_if_the_file_is_known_to_want_them(tmp_path):
    name = "mobilenetv4_conv_small"
    folder = tmp_path / f"models--timm--{name}.e3600_r256_in1k" / "snapshots" / "c"
    folder.mkdir(parents=True)
    for place in (folder, tmp_path):
        torch.save(timm.create_model(name).state_dict(), place / "own.pth")
    known = image_row("hub", f"timm:{name}", weights=str(folder / "own.pth"))
    assert "0.5000" in transform(known)
    assert "(0.485, 0.456" in transform({**known, "weights": str(tmp_path / "own.pth")})
    assert "(0.485, 0.456" in transform({**known, "transform": "imagenet"})


QUICK = {"quick_gelu": True, "mean": (0.5,) * 3, "std": (0.25,) * 3, "resize_mode": "squash"}
PLAIN = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "resize_mode": "squash"}
SMALL_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    (folder / "local-clip.json").write_text(json.dumps(SMALL_CLIP))
    open_clip.add_model_config(folder / "local-clip.json")
    torch.manual_seed(1)
    save_file(open_clip.create_model("local-clip").state_dict(), folder / "w.safetensors")
    return image_row("open_clip", "local-clip", weights=str(folder / "w.safetensors"))


def quick(extractor):
    return any(isinstance(module, QuickGELU) for module in extractor._model.modules())


def test_open_clip_takes_colours_and_activation_that_all_tags_agree_in(clip, monkeypatch):
    tags = {"one": QUICK, "two": QUICK}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "local-clip", tags)
    extractor = load_model(clip)
    assert quick(extractor) and quick(load_model({**clip, "modality": "text"}))
    assert "Resize(size=(32, 32)" in extractor.provenance["transform"]
    assert "std=(0.25, 0.25, 0.25)" in extractor.provenance["transform"]
    assert "all its published weights agree" in extractor.provenance["settings"]


def test_open_clip_refuses_what_its_tags_disagree_in_unless_the_file_is_known(
    clip, monkeypatch, tmp_path
):
    tags = {"one": {**QUICK, "url": "https://x/one-0123abcd.pt"}, "two": PLAIN}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "local-clip", tags)
    for modality in ("image", "text"):
        with pytest.raises(
            ModelError, match=r"quick_gelu True \(one\) or False \(two\).*-clip/TAG"
        ):
            load_model({**clip, "modality": modality})
    assert not quick(load_model({**clip, "name": "local-clip/two"}))
    known = tmp_path / "one-0123abcd.pt"
    torch.save(open_clip.create_model("local-clip").state_dict(), known)
    assert quick(load_model({**clip, "weights": str(known)}))


def test_the_registry_of_open_clip_tells_what_is_to_be_refused():
    def like(architecture, file="w.pt", **cells):
        row = image_row("open_clip", architecture, weights=file, **cells)
        return clip_source.settled(row, architecture, "", _weights.Weights(path=Path(file))).like

    assert like("ViT-B-16-SigLIP") == "webli"
    assert like("ViT-B-32", "vit_b_32-quickgelu-laion400m_e31-d867053b.pt") == "laion400m_e31"
    with pytest.raises(ModelError, match="quick_gelu"):
        like("ViT-B-32")
    with pytest.raises(ModelError, match="image_resize_mode"):
        like("ViT-H-14-quickgelu")
    assert like("ViT-H-14-quickgelu", modality="text") == "metaclip_fullcc"


def test_a_file_is_known_by_its_hash_and_must_not_contradict_the_row(tmp_path):
    path = tmp_path / "renamed.pt"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    weights = _weights.Weights(path=path, sha256=digest)
    published = [
        Published("a", (f"https://x/w-{digest[:8]}.pth",), {"crop": 1}),
        Published("b", (f"https://x/{digest}/w.pth",), {"crop": 1}),
        Published("c", ("https://x/w-00000000.pth",), {"crop": 2}),
    ]
    row = image_row("timm", "x")
    for first in (published[0], published[1]):
        found = settle(row, weights, [first, published[2]], "", "")
        assert found.like == first.tag and found.known and "hash" in found.notes["settings"]
    with pytest.raises(ModelError, match=r"name says 'c', and .* is 'a' by its hash"):
        settle(row, weights, published, "c", "")
    with pytest.raises(ModelError, match=r"crop 1 \(a, b\) or 2 \(c\)"):
        settle(row, replace(weights, sha256="f" * 64), published, "", "")


# Tensors that only seem to fit


def small(tmp_path, state, file="net.pth", **cells):
    torch.save(state, tmp_path / file)
    return image_row("timm", "test_resnet", weights=str(tmp_path / file), **cells)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(4)
    return timm.create_model("test_resnet").state_dict()


def renamed(state, how):
    return {how(name): tensor for name, tensor in state.items()}


def test_tensors_are_not_taken_by_position_unless_the_row_asks(state, tmp_path):
    foreign = renamed(state, lambda name: "net/" + name.replace("layer", "stage"))
    row = small(tmp_path, foreign)
    with pytest.raises(ModelError, match="number, order and shapes agree: write `keys`"):
        load_model(row)
    extractor, _, found = extract({**row, "keys": "by-position"})
    assert extractor.provenance["matched"].startswith("by position, 92 tensors")
    expected = extract(small(tmp_path, state, "right.pth"))[2]
    assert torch.equal(found["pre_logits"], expected["pre_logits"])


def swapped(state):
    """Bias before weight in every norm layer, under names that do not fit."""
    items, out = list(state.items()), []
    while items:
        (name, tensor), *rest = items
        if (
            rest
            and rest[0][0] == f"{name.removesuffix('weight')}bias"
            and rest[0][1].shape == tensor.shape
        ):
            out += [rest[0], (name, tensor)]
            items = rest[1:]
        else:
            out.append((name, tensor))
            items = rest
    return {f"net/{name}": tensor for name, tensor in out}


def test_neighbours_of_one_shape_are_never_taken_by_position(state, tmp_path):
    nameless = {f"part{i}._x": tensor for i, tensor in enumerate(state.values())}
    for wrong in (swapped(state), nameless):
        row = small(tmp_path, wrong, keys="by-position")
        with pytest.raises(ModelError, match="stand side by side and have one shape"):
            load_model(row)


def test_files_that_keep_no_order_or_other_shapes_are_not_taken_by_position(state, tmp_path):
    save_file(renamed(state, "x.{}".format), tmp_path / "s.safetensors")
    row = image_row("timm", "test_resnet", keys="by-position")
    with pytest.raises(ModelError, match=r"safetensors are sorted by name and\s+keep no order"):
        load_model({**row, "weights": str(tmp_path / "s.safetensors")})
    foreign = renamed(state, "x.{}".format)
    foreign["x.conv1.0.weight"] = foreign["x.conv1.0.weight"][:1]
    with pytest.raises(ModelError, match=r"by-position: x.conv1.0.weight is \(1, 3, 3, 3\)"):
        load_model(small(tmp_path, foreign, keys="by-position"))


def test_a_prefix_that_would_fit_is_named(state, tmp_path):
    row = small(tmp_path, renamed(state, "enc/{}".format))
    with pytest.raises(ModelError, match="without 'enc/' the names fit: write it into `keys`"):
        load_model(row)
    expected = extract(small(tmp_path, state, "right.pth"))[2]["pre_logits"]
    assert torch.equal(extract({**row, "keys": "enc/"})[2]["pre_logits"], expected)


def test_all_prefixes_that_would_fit_are_named_as_the_column_takes_them(state, tmp_path):
    both = {**renamed(state, "module.q.{}".format), **renamed(state, "module.k.{}".format)}
    row = small(tmp_path, {"state_dict": both})
    prefix = "state_dict.module."
    with pytest.raises(
        ModelError, match=rf"'{prefix}q\.' or '{prefix}k\.' the names fit: write the"
    ):
        load_model(row)
    expected = extract(small(tmp_path, state, "right.pth"))[2]["pre_logits"]
    assert torch.equal(extract({**row, "keys": f"{prefix}k."})[2]["pre_logits"], expected)
    beside = {**state, **renamed(state, "ema.{}".format)}
    with pytest.raises(ModelError, match=r"without 'ema\.' \(and as they are\) the names fit"):
        load_model(small(tmp_path, beside))


def test_two_tensors_that_meet_without_their_wrappers_are_refused(state, tmp_path):
    average = {name: tensor * 2 for name, tensor in state.items()}
    row = small(tmp_path, {**state, **renamed(average, "module.{}".format)})
    with pytest.raises(ModelError, match=r"'conv1.0.weight' twice, with and without module"):
        load_model(row)
    found = extract({**row, "keys": "module."})[2]["pre_logits"]
    expected = extract(small(tmp_path, average, "right.pth"))[2]["pre_logits"]
    assert torch.equal(found, expected)


def test_the_header_says_which_of_several_entries_was_taken(state, tmp_path):
    row = small(tmp_path, {"epoch": 1, "model": state, "model_ema": state, "teacher": state})
    assert load_model(row).provenance["entry"] == "model_ema; the file also holds model, teacher"
    assert "entry" not in load_model(small(tmp_path, {"model": state})).provenance


def test_the_header_says_why_there_are_no_logits(state, tmp_path):
    narrow = {k: v[:5] if k.startswith("fc.") else v for k, v in state.items()}
    body = {k: v for k, v in state.items() if not k.startswith("fc.")}
    partly = {k: v for k, v in state.items() if k != "fc.bias"}
    for tensors, said in (
        (narrow, "not taken: fc.weight is (5, "),
        (body, "fc is not in the file"),
        (partly, "not taken: fc.bias is absent"),
    ):
        extractor = load_model(small(tmp_path, tensors))
        assert extractor.outputs == () and extractor.provenance["head"].startswith(said)
    assert "head" not in load_model(small(tmp_path, state)).provenance


def test_positions_are_interpolated_only_to_a_size_that_the_row_names(tmp_path):
    torch.manual_seed(6)
    state = timm.create_model("vit_tiny_patch16_384", num_classes=0).state_dict()
    torch.save(state, tmp_path / "v.pth")
    row = image_row("timm", "vit_tiny_patch16_224", weights=str(tmp_path / "v.pth"))
    sentence = r"pictures of another size .*pos_embed of 577 places to 197.*or `input_size` to"
    with pytest.raises(ModelError, match=sentence):
        load_model(row)
    extractor = load_model({**row, "input_size": "224"})
    assert "pos_embed of 577 places to 197" in extractor.provenance["interpolated"]
    right = load_model({**row, "name": "vit_tiny_patch16_384"})
    assert "interpolated" not in right.provenance
    unregistered = {**state, "pos_embed": state["pos_embed"][:, 1:]}
    assert not resized_places(state, unregistered)  # a class token less


def test_open_clip_too(clip, tmp_path):
    larger = {**SMALL_CLIP, "vision_cfg": {**SMALL_CLIP["vision_cfg"], "image_size": 64}}
    (tmp_path / "larger-clip.json").write_text(json.dumps(larger))
    open_clip.add_model_config(tmp_path / "larger-clip.json")
    row = {**clip, "name": "larger-clip"}
    with pytest.raises(ModelError, match=r"visual.positional_embedding of 17 places to 65"):
        load_model(row)
    torch.save(open_clip.create_model("local-clip").state_dict(), tmp_path / "w.pt")
    extractor = load_model({**row, "weights": str(tmp_path / "w.pt"), "input_size": "64"})
    assert "17 places to 65" in extractor.provenance["interpolated"]
    assert "interpolated" not in load_model(clip).provenance


def test_quantised_weights_are_refused(state, tmp_path):
    whole = {k: (v * 127).to(torch.int8) if v.ndim == 4 else v for k, v in state.items()}
    with pytest.raises(ModelError, match=r"'conv1.0.weight' is of int8, and the network computes"):
        load_model(small(tmp_path, whole))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "Git LFS"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"", "empty"),
    ],
)
def test_what_lies_in_the_place_of_weights_is_told(content, what, tmp_path):
    for file in ("net.pth", "net.safetensors"):
        (tmp_path / file).write_bytes(content)
        row = image_row("torchvision", "resnet18", weights=str(tmp_path / file))
        with pytest.raises(ModelError, match=rf"{file} holds no weights: it is .*{what}"):
            load_model(row)


def test_a_folder_in_the_place_of_weights_is_told(tmp_path):
    (tmp_path / "last.ckpt").touch()
    row = image_row("timm", "test_resnet", weights=str(tmp_path))
    with pytest.raises(ModelError, match=r"is a folder, which holds last.ckpt; name the file"):
        load_model(row)


def test_tables_within_an_entry_are_named_as_the_column_takes_them(state, tmp_path):
    with pytest.raises(ModelError, match=r"some under model_ema\.shadow"):
        load_model(small(tmp_path, {"model_ema": {"shadow": state, "decay": 0.9}}))
