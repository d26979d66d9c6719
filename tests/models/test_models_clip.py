"""Both towers of open_clip: texts, layers, and the activation that weights were trained with."""

import hashlib
import json
from pathlib import Path

import open_clip
import pytest
import torch
from huggingface_hub import constants
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from test_models import image_row, pictures, texts

from consilience.errors import DataError, ModelError
from consilience.models import load_model
from consilience.models import open_clip as source
from consilience.models._clip_text import TokenPooling

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}
LINES = ("a cat", "two dogs and a very small bird", "x")


@pytest.fixture(scope="module", params=["whole", "custom"])
def clip(request, tmp_path_factory):
    """A row and its model, of the older layout and of the one with a text tower of its own."""
    folder, name = tmp_path_factory.mktemp("clip"), f"small-{request.param}"
    config = {**SMALL, "custom_text": request.param == "custom"}
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(1)
    model = open_clip.create_model(name).eval()
    save_file(model.state_dict(), folder / "w.safetensors")
    row = image_row("open_clip", name, weights=str(folder / "w.safetensors"))
    return {**row, "modality": "text"}, model


def extract(row, samples):
    extractor = load_model(row)
    return extractor, extractor.extract([extractor.preprocess(s) for s in samples])


def test_text_is_the_embedding_that_pictures_are_compared_with(clip):
    row, model = clip
    extractor, found = extract(row, texts(*LINES))
    with torch.no_grad():
        expected = model.encode_text(open_clip.get_tokenizer(row["name"])(list(LINES)))
    assert extractor.layers == ("text",)
    torch.testing.assert_close(found["text"], expected, rtol=1e-4, atol=1e-5)


def test_text_layers_pool_over_the_tokens_of_each_text_alone(clip):
    row, model = clip
    half = getattr(model, "text", model)
    tokens = open_clip.get_tokenizer(row["name"])(list(LINES))
    states = []
    hook = half.transformer.resblocks[1].register_forward_hook(lambda m, i, o: states.append(o))
    with torch.no_grad():
        for line in tokens:
            width = int((line != 0).sum())
            # Attention looks back only: what stands behind a text does not change it.
            model.encode_text(line[None])
            states[-1] = states[-1][0, :width]
    hook.remove()
    for pool, reduce in {
        "mean": lambda h: h.mean(0),
        "cls": lambda h: h[0],
        "last": lambda h: h[-1],
    }.items():
        _, found = extract({**row, "layers": "all", "pool": pool}, texts(*LINES))
        assert list(found) == [*(f"transformer.resblocks.{i}" for i in range(3)), "text"]
        expected = torch.stack([reduce(h) for h in states])
        got = found["transformer.resblocks.1"]
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_long_texts_are_cut_and_counted(clip):
    row, _ = clip
    full = " ".join(["cat"] * 10)  # with its two marks as wide as the tower
    extractor, found = extract(row, texts(full, full + " cat", full + " dog", "cat"))
    assert extractor.provenance["truncated"] == "2"
    assert torch.equal(found["text"][0], found["text"][1])
    assert "at most 12 tokens" in extractor.provenance["transform"]


def test_text_towers_and_image_towers_refuse_the_other_kind(clip):
    row, _ = clip
    with pytest.raises(DataError, match="has no text; use an image model"):
        extract(row, pictures(1))
    with pytest.raises(DataError, match="has no image; choose a text model"):
        extract({**row, "modality": "image"}, texts("a"))
    with pytest.raises(ModelError, match="unknown pool 'flatten' for texts"):
        load_model({**row, "pool": "flatten"})
    with pytest.raises(ModelError, match=r"no layer 'resblocks\.0'"):
        load_model({**row, "layers": "resblocks.0"})


def test_both_towers_of_one_row_are_one_model_with_two_hashes(clip):
    row, _ = clip
    image, text = load_model({**row, "modality": "image"}), load_model(row)
    assert image.provenance["weights_sha256"] == text.provenance["weights_sha256"]
    assert image.provenance["state_sha256"] != text.provenance["state_sha256"]


def test_image_layers_all(clip):
    row, _ = clip
    row = {**row, "modality": "image", "layers": "all"}
    blocks = [f"transformer.resblocks.{i}" for i in range(2)]
    assert list(extract(row, pictures(2))[1]) == [*blocks, "visual"]


def test_token_pooling_closed_forms():
    tokens = torch.tensor([[5, 0, 7, 0], [5, 6, 7, 8]])
    states = torch.arange(24.0).reshape(2, 4, 3)
    for how, first in (("mean", states[0, :3].mean(0)), ("last", states[0, 2])):
        pooling = TokenPooling(how, padding=0)
        pooling.watch(tokens)
        torch.testing.assert_close(pooling(states)[0], first)
        flat = torch.rand(2, 5)
        assert pooling(flat) is flat
        with pytest.raises(ModelError, match="cannot reduce shape"):
            pooling(torch.zeros(2, 3, 3))


OPENAI = sorted(m for m, t in open_clip.list_pretrained() if t == "openai" and "quick" not in m)


@pytest.mark.parametrize("architecture", OPENAI)
def test_all_openai_weights_get_quick_gelu(architecture):
    assert source.tag_options(architecture, "openai")["force_quick_gelu"]


def activations(extractor):
    kinds = {type(m) for m in extractor._model.modules()}
    return {kind for kind in kinds if kind in (QuickGELU, torch.nn.GELU)}


@pytest.mark.parametrize(
    ("tag", "kind"), [("openai", QuickGELU), ("laion2b_s34b_b79k", torch.nn.GELU)]
)
def test_the_activation_in_both_towers_is_the_tags(monkeypatch, tag, kind):
    # As with the weights, which are not here: the architecture of the tag, its values drawn.
    real = open_clip.create_model_and_transforms

    def shallow(name, **options):
        small = {"image_size": 224, "layers": 1, "width": 64, "patch_size": 32, "head_width": 32}
        text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
        return real(name, vision_cfg=small, text_cfg=text, **options)

    monkeypatch.setattr(open_clip, "create_model_and_transforms", shallow)
    row = image_row("open_clip", f"ViT-B-32/{tag}", weights="random")
    assert activations(load_model(row)) == {kind}
    assert activations(load_model({**row, "modality": "text"})) == {kind}


def test_local_weights_of_a_tag_keep_its_activation_and_colours(monkeypatch, tmp_path):
    asked = {}

    def note(name, pretrained, **options):
        asked.update(options, name=name, pretrained=pretrained)
        raise RuntimeError("enough")

    monkeypatch.setattr(open_clip, "create_model_from_pretrained", note)
    path = tmp_path / "w.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="enough"):
        load_model(image_row("open_clip", "ViT-B-16/openai", weights=str(path)))
    assert asked["force_quick_gelu"] and asked["pretrained"] == str(path)
    with pytest.raises(ModelError, match="enough"):
        load_model(image_row("open_clip", "ViT-B-16-SigLIP/webli", weights=str(path)))
    assert asked["image_mean"] == (0.5, 0.5, 0.5) and asked["image_resize_mode"] == "squash"
    assert not asked["force_quick_gelu"]


COMMIT = "c" * 40


def cached(folder, monkeypatch, repository, files):
    """Puts files into a cache of the hub as revision v1; there is no network."""
    root = folder / "hub" / f"models--{repository.replace('/', '--')}"
    (root / "snapshots" / COMMIT).mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "v1").write_text(COMMIT)
    for name, content in files.items():
        (root / "snapshots" / COMMIT / name).write_bytes(content)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_a_tag_is_loaded_from_its_revision_with_its_activation(clip, tmp_path, monkeypatch):
    row, _ = clip
    content = Path(row["weights"]).read_bytes()
    plain = extract(row, texts(*LINES))[1]["text"]  # before there is a tag of this architecture
    tag = {"hf_hub": "some/where/", "quick_gelu": True, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, row["name"], {"mine": tag})
    cached(tmp_path, monkeypatch, "some/where", {"open_clip_model.safetensors": content})
    pinned = {**row, "name": f"{row['name']}/mine", "weights": "", "revision": "v1"}
    for modality in ("image", "text"):
        extractor = load_model({**pinned, "modality": modality})
        assert activations(extractor) == {QuickGELU}
        assert extractor.provenance["revision"] == COMMIT
        assert extractor.provenance["weights_sha256"] == hashlib.sha256(content).hexdigest()
    quick = extract(pinned, texts(*LINES))[1]["text"]
    assert not torch.allclose(plain, quick)  # the same weights: the activation matters
    x = load_model({**pinned, "modality": "image"}).preprocess(pictures(1)[0])
    assert x.min() >= -2 and x.max() <= 2  # (0 to 1 less 0.5) / 0.25
    with pytest.raises(ModelError, match="is not in the local cache"):
        load_model({**pinned, "revision": "v2"})


def test_a_model_of_the_hub_is_loaded_from_its_revision(clip, tmp_path, monkeypatch):
    row, model = clip
    config = {"model_cfg": {**SMALL, "custom_text": hasattr(model, "text")}, "preprocess_cfg": {}}
    files = {
        "open_clip_config.json": json.dumps(config).encode(),
        "open_clip_model.safetensors": Path(row["weights"]).read_bytes(),
    }
    cached(tmp_path, monkeypatch, "some/model", files)
    pinned = {**row, "name": "hf-hub:some/model", "weights": "", "revision": "v1"}
    extractor, found = extract(pinned, texts(*LINES))
    assert extractor.provenance["revision"] == COMMIT
    assert torch.equal(found["text"], extract(row, texts(*LINES))[1]["text"])
