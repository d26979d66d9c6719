"""The self-test of loaded networks, and how it is found what a layer's axes and tokens are."""

import itertools
import json

import numpy as np
import pytest
import timm
import torch
import transformers
from test_models import image_row, pictures, save_text_model, texts
from torch import nn
from torchvision import transforms
from transformers import (
    BertConfig,
    BertLMHeadModel,
    CanineConfig,
    CanineModel,
    FNetConfig,
    FNetModel,
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    SegformerConfig,
    SegformerModel,
    ViTMAEConfig,
    ViTMAEModel,
    XLNetConfig,
    XLNetLMHeadModel,
    YolosConfig,
    YolosModel,
)

from consilience.errors import ModelError
from consilience.models import _selftest, load_model
from consilience.models._blocks import Stack
from consilience.models._images import ImageExtractor, Pooling
from consilience.models._layouts import Call, special_count
from consilience.models._network import Tap
from consilience.models._selftest import distance_of
from consilience.models._texts import TextExtractor, TextRules

examine = _selftest.tested
NUMBERS = itertools.count()
LINES = ("cat", "a cat sits on the mat and the stock market fell one two three four")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CONSILIENCE_CACHE", str(tmp_path / "cache"))


def wrapped(network, layers=("body",), **options):
    """An extractor of pictures around a network, tested."""
    transform = transforms.Compose([transforms.Resize((24, 24)), transforms.ToTensor()])
    torch.manual_seed(2)
    taps = {name: Tap(network.get_submodule(name)) for name in layers}
    extractor = ImageExtractor(network, taps, transform, Pooling(), {}, "cpu", **options)
    return examine({"model": "m", "source": "hub", "name": f"{next(NUMBERS)}"}, extractor)


class Body(nn.Module):
    """Convolution, and what a test does to its output (b, 7, 12, 12)."""

    def __init__(self, then):
        super().__init__()
        self.conv, self.then = nn.Conv2d(3, 7, 2, 2), then
        self.norm = nn.BatchNorm2d(7)

    def forward(self, x):
        return self.then(self, self.conv(x))


class Net(nn.Module):
    """A network whose one layer is `body`."""

    def __init__(self, then):
        super().__init__()
        self.body = Body(then)

    def forward(self, x):
        return self.body(x)


# Randomness and neighbours


def test_a_network_that_is_random_in_evaluation_is_refused():
    dropped = Net(lambda _, x: nn.functional.dropout(x, 0.1, training=True))
    with pytest.raises(ModelError, match=r"^model 'm': the same picture gives other features each"):
        wrapped(dropped)
    subset = Net(lambda _, x: x[:, :, torch.randperm(12)[:9]])
    with pytest.raises(ModelError, match="random numbers in evaluation"):
        wrapped(subset)


def test_random_numbers_that_change_nothing_are_told_and_borne():
    shuffled = wrapped(Net(lambda _, x: x[:, :, torch.randperm(12)]))
    found = json.loads(shuffled.provenance["self_test"])
    assert found == {"repeated": "the same, though random numbers are drawn", "beside": "same"}
    plain = wrapped(Net(lambda _, x: x))
    assert json.loads(plain.provenance["self_test"]) == {"repeated": "same", "beside": "same"}


def test_the_caller_keeps_its_random_state():
    extractor = wrapped(Net(lambda _, x: x))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    examine({"model": "m", "source": "hub", "name": "another"}, extractor)
    assert torch.equal(before, torch.get_rng_state())


def test_a_norm_over_the_batch_is_refused():
    def then(body, x):
        return nn.functional.batch_norm(x, None, None, training=True)

    with pytest.raises(ModelError, match=r"features of a picture depend on the pictures beside it"):
        wrapped(Net(then))


def test_masked_autoencoders_see_the_whole_picture(tmp_path):
    config = ViTMAEConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    )
    torch.manual_seed(0)
    model = ViTMAEModel(config).eval()
    model.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    row = image_row("transformers", str(tmp_path), layers="all,last")
    extractor = load_model(row)
    inputs = [extractor.preprocess(sample) for sample in pictures(2)]
    found, again = extractor.extract(inputs), extractor.extract(inputs)
    model.config.mask_ratio = 0.0
    for name, x in found.items():
        assert torch.equal(x, again[name])
    with torch.no_grad():
        order = torch.arange(16.0).expand(2, -1)
        expected = model(torch.stack(list(inputs)), noise=order).last_hidden_state[:, 1:].mean(1)
    torch.testing.assert_close(found["last"], expected, rtol=1e-5, atol=1e-6)


# Texts beside others


def text_row(folder, model, **more):
    row = save_text_model(folder, model, ["[PAD]", "[UNK]"], pad_token="[PAD]", **more)
    return {**row, "layers": "all"}


def extracted(row, *lines):
    extractor = load_model(row)
    inputs = [extractor.preprocess(sample) for sample in texts(*lines)]
    return extractor, extractor.extract(inputs)


def test_fnet_pads_to_its_width_and_gives_what_it_gives_alone(tmp_path):
    torch.manual_seed(0)
    model = FNetModel(
        FNetConfig(
            vocab_size=40,
            hidden_size=24,
            num_hidden_layers=2,
            intermediate_size=32,
            max_position_embeddings=48,
            pad_token_id=0,
        )
    ).eval()
    row = text_row(tmp_path, model)
    _, alone = extracted(row, LINES[0])
    extractor, beside = extracted(row, *LINES)
    for name, x in alone.items():
        assert distance_of(x[0].numpy(), beside[name][0].numpy()) < 1e-6
    ids = torch.zeros(1, 48, dtype=torch.long)
    tokens = extractor.preprocess(texts(LINES[0])[0]).inputs["input_ids"]
    ids[0, : len(tokens)] = torch.tensor(tokens)
    with torch.no_grad():
        expected = model(input_ids=ids).last_hidden_state[:, : len(tokens)].mean(1)
    torch.testing.assert_close(beside["layer_2"][:1], expected, rtol=1e-4, atol=1e-5)


class Blind(nn.Module):
    """Embeds tokens and adds the mean over all places, padding too, whatever the mask says."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.embed, self.scale = nn.Embedding(64, 5), scale

    def forward(self, input_ids, output_hidden_states, **_unknown):
        x = self.embed(input_ids)
        state = x + self.scale * x.mean(1, keepdim=True)
        return transformers.modeling_outputs.BaseModelOutput(hidden_states=(x, state))


def text_extractor(model, predicts=False):
    class Tokenizer:
        pad_token_id, model_max_length = 3, 10**9

        def __call__(self, text, **_options):
            return {"input_ids": [4 + ord(letter) % 60 for letter in text]}

    rules = TextRules(predicts=predicts)
    return TextExtractor(model, Tokenizer(), {"layer_1": 1}, rules, {}, "cpu")


def test_a_network_that_padding_reaches_gets_texts_of_one_length_together(caplog):
    row = {"model": "b", "source": "transformers"}
    extractor = examine(row, text_extractor(Blind()))
    assert extractor.apart and "only texts of one length go through" in caplog.text
    assert json.loads(extractor.provenance["self_test"])["beside"] == "texts of one length only"
    samples = texts("one", "sixteen", "two", "a", "seventy", "longest of all")
    inputs = [extractor.preprocess(sample) for sample in samples]
    together = extractor.extract(inputs)["layer_1"]
    for i, one in enumerate(inputs):
        state = extractor.network(torch.tensor([one.inputs["input_ids"]]), True).hidden_states[1]
        torch.testing.assert_close(together[i], state[0].mean(0))
    assert not examine(row | {"name": "masked"}, text_extractor(Blind(0.0))).apart
    # Kept: a second load asks the network nothing but takes what was found.
    again = text_extractor(Blind())
    again.network.load_state_dict(extractor.network.state_dict())
    again.extract = None
    assert examine(row, again).apart


def test_what_is_not_finite_in_a_wider_type_excuses_nothing():
    class Narrow(Blind):
        def forward(self, input_ids, output_hidden_states, **more):
            out = super().forward(input_ids, output_hidden_states, **more)
            if self.embed.weight.dtype == torch.float64:
                out.hidden_states = tuple(x * np.nan for x in out.hidden_states)
            return out

    assert examine({"model": "n", "source": "transformers"}, text_extractor(Narrow())).apart


def test_states_of_another_length_than_the_tokens_are_not_offered(tmp_path):
    """Inner states of CANINE stand for four characters each; only its last one fits its tokens."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 32}
    model = CanineModel(CanineConfig(**sizes, num_hidden_layers=2, max_position_embeddings=64))
    row = text_row(tmp_path, model.eval())
    with pytest.raises(ModelError, match=r"no hidden state 'layer_1': .* not those of 2 bl"):
        load_model({**row, "layers": "layer_1"})
    lines = ("a cat sits on it", "the stock market fell one two three four five six seven")
    extractor, beside = extracted({**row, "layers": ""}, *lines)
    assert extractor.layers == ("last",) and extractor.apart
    ids = torch.tensor([extractor.preprocess(texts(lines[0])[0]).inputs["input_ids"]])
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    torch.testing.assert_close(beside["last"][:1], expected.mean(1), rtol=1e-4, atol=1e-5)


# Losses


@pytest.mark.parametrize("kind", ["xlnet", "bert", "gpt2"])
def test_only_networks_that_do_not_see_what_they_predict_have_a_loss(tmp_path, kind):
    torch.manual_seed(0)
    if kind == "xlnet":
        config = XLNetConfig(vocab_size=40, d_model=24, n_layer=2, n_head=2, d_inner=32)
        model = XLNetLMHeadModel(config)
    elif kind == "bert":  # saved as a language model, but not as a decoder
        config = BertConfig(
            vocab_size=40,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
        )
        model = BertLMHeadModel(config)
    else:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=24, n_layer=2, n_head=2))
    extractor, found = extracted(text_row(tmp_path, model), *LINES)
    sees = kind != "gpt2"
    note = json.loads(extractor.provenance["self_test"])["loss"]
    assert ("loss" in found, "loss" in extractor.outputs) == (not sees, not sees)
    assert note.startswith("none: predictions change") if sees else note.startswith("kept")
    assert list(extractor.layers) == ["layer_0", "layer_1", "layer_2"]


# Layers and blocks


def test_layers_of_mamba_are_what_leaves_its_blocks(tmp_path):
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=40, hidden_size=24, num_hidden_layers=3, state_size=4)
    model = MambaForCausalLM(config).eval()
    with torch.no_grad():
        model.backbone.norm_f.weight += torch.rand(24)
    row = text_row(tmp_path, model)
    extractor, found = extracted(row, LINES[1])
    ids = torch.tensor([extractor.preprocess(texts(LINES[1])[0]).inputs["input_ids"]])
    states = [model.backbone.embeddings(ids)]
    with torch.no_grad():
        for block in model.backbone.layers:
            states.append(block(states[-1]))
        expected = [state.mean(1) for state in states]
        last = model.backbone.norm_f(states[-1]).mean(1)
    assert list(found) == ["layer_0", "layer_1", "layer_2", "layer_3", "loss"]
    for i, x in enumerate(expected):
        torch.testing.assert_close(found[f"layer_{i}"], x, rtol=1e-4, atol=1e-5)
    assert "elsewhere" in extractor.provenance["blocks"]
    _, blank = extracted({**row, "layers": ""}, LINES[1])
    torch.testing.assert_close(blank["last"], last, rtol=1e-4, atol=1e-5)


def test_a_stack_fits_a_list_that_begins_with_what_enters_it():
    states = [torch.full((1, 2, 3), float(i)) for i in range(4)]
    stack = Stack([nn.Identity()] * 3, states[:3], states[1:])
    assert stack.fits([*states[:3], torch.zeros(1, 2, 3)])  # the last may be normalised
    assert not stack.fits([*states[1:], torch.zeros(1, 2, 3)])
    assert not stack.fits(states[:3])
    assert stack.found_in(states[2:]) == 2


# Axes and tokens


def expected_of_timm(row):
    extractor = load_model(row)
    inputs = [extractor.preprocess(sample) for sample in pictures(2)]
    with torch.no_grad():
        maps = extractor.network.forward_intermediates(
            torch.stack(list(inputs)), intermediates_only=True, output_fmt="NCHW"
        )
    return extractor.extract(inputs), [x.mean((2, 3)) for x in maps]


@pytest.mark.parametrize(
    "name", ["volo_d1_224", "cait_xxs24_224", "xcit_nano_12_p8_224", "convit_tiny", "test_vit"]
)
def test_means_are_over_positions_whatever_the_layout(name):
    """(b, h, w, d) in VOLO; class tokens join late in CaiT, XCiT and ConViT."""
    row = image_row("timm", name, weights="random", layers="all")
    found, maps = expected_of_timm(row)
    assert len(found) == len(maps) + 1
    for x, wanted in zip(list(found.values())[:-1], maps, strict=True):
        torch.testing.assert_close(x, wanted, rtol=1e-4, atol=1e-5)


def test_a_map_with_as_many_units_as_rows_is_read_as_others_of_its_kind():
    """Stage 0 of this network has 24 units and, at 96 pixels, 24 x 24 positions."""
    row = image_row("timm", "test_convnext", weights="random", layers="all", input_size="96")
    found, maps = expected_of_timm(row)
    torch.testing.assert_close(found["stages.0"], maps[0], rtol=1e-4, atol=1e-5)


def test_class_tokens_that_join_late_are_left_out_of_the_mean():
    row = image_row("timm", "xcit_nano_12_p8_224", weights="random", layers="cls_attn_blocks.0")
    extractor = load_model(row)
    inputs = [extractor.preprocess(sample) for sample in pictures(2)]
    caught = []
    extractor.network.cls_attn_blocks[0].register_forward_hook(lambda *x: caught.append(x[2]))
    found = extractor.extract(inputs)["cls_attn_blocks.0"]
    assert caught[0].shape[1] == 28 * 28 + 1
    torch.testing.assert_close(found, caught[0][:, 1:].mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("then", "mean"),
    [
        (lambda _, x: x, lambda x: x.mean((2, 3))),
        (lambda _, x: x.permute(0, 2, 3, 1), lambda x: x.mean((1, 2))),
        (lambda _, x: x.flatten(2), lambda x: x.mean(2)),
        (lambda _, x: x.flatten(2).mT, lambda x: x.mean(1)),
    ],
    ids=["b,d,h,w", "b,h,w,d", "b,d,n", "b,n,d"],
)
def test_the_axis_of_units_follows_from_the_maps_before(then, mean):
    extractor = wrapped(Net(then))
    inputs = [extractor.preprocess(sample) for sample in pictures(2)]
    raw = extractor.network(torch.stack(list(inputs)))
    found = extractor.extract(inputs)["body"]
    assert found.shape == (2, 7)
    torch.testing.assert_close(found, mean(raw), rtol=1e-4, atol=1e-5)


def test_special_tokens_are_counted_per_layer():
    grids = {196, 49}
    assert special_count(196, grids, 1) == 0  # a class token that has not joined yet
    assert special_count(197, grids, 1) == 1
    assert special_count(201, grids, 1) == 5  # registers that nobody told of
    assert special_count(1, grids, 1) == 0  # the class token by itself
    assert special_count(50, grids, 0) == 1  # nothing is said: class tokens are found
    assert special_count(50, set(), 1) == 1  # no maps: what is said
    assert special_count(130, grids, 1) is None
    assert Call((2, 7, 12, 12), 1).positions == (12, 12)


def test_tokens_of_objects_stand_behind_the_positions(tmp_path):
    config = YolosConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[32, 32],
        patch_size=8,
        num_detection_tokens=5,
    )
    torch.manual_seed(0)
    model = YolosModel(config).eval()
    with torch.no_grad():
        model.embeddings.detection_tokens.normal_()
    model.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    extractor = load_model(image_row("transformers", str(tmp_path), layers="all,last"))
    inputs = [extractor.preprocess(sample) for sample in pictures(2)]
    with torch.no_grad():
        states = model(torch.stack(list(inputs)), output_hidden_states=True).hidden_states
    assert states[0].shape[1] == 1 + 16 + 5
    found = extractor.extract(inputs)
    for i, state in enumerate(states):
        wanted = state[:, 1:17].mean(1)
        torch.testing.assert_close(found[f"layer_{i}"], wanted, rtol=1e-4, atol=1e-5)


def test_stages_are_numbered_by_what_leaves_them(tmp_path):
    """The list of this network begins with what leaves the first stage, not with what enters."""
    torch.manual_seed(0)
    model = SegformerModel(SegformerConfig(hidden_sizes=[8, 16, 24, 32], image_size=64)).eval()
    model.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    extractor = load_model(image_row("transformers", str(tmp_path), layers="all"))
    assert extractor.layers == ("layer_1", "layer_2", "layer_3", "layer_4")


# Widths and branches


def test_networks_of_two_branches_are_refused_or_read_at_a_whole():
    with pytest.raises(ModelError, match=r"'blocks\.0' gives 2 tensors, of shapes .* none of them"):
        load_model(image_row("timm", "crossvit_tiny_240", weights="random", layers="blocks.0"))
    with pytest.raises(ModelError, match="name a module whose output is one tensor"):
        wrapped(Net(lambda _, x: (x, x[:, :, :6])))


def test_what_only_serves_a_state_may_stand_by_it():
    states = wrapped(Net(lambda _, x: (x.flatten(2).mT, torch.zeros(len(x), 1, 144, 144))))
    maps = wrapped(Net(lambda _, x: (x, torch.zeros(len(x), 1, 7), None)))
    inputs = [states.preprocess(sample) for sample in pictures(2)]
    assert states.extract(inputs)["body"].shape == maps.extract(inputs)["body"].shape == (2, 7)


def test_another_width_than_the_network_says_is_refused(monkeypatch):
    row = image_row("timm", "test_resnet", weights="random", layers="layer1")
    made = timm.create_model

    def other(name, **options):
        model = made(name, **options)
        model.feature_info[1]["num_chs"] += 1
        return model

    assert load_model(row).layers == ("layer1",)
    monkeypatch.setattr(timm, "create_model", other)
    monkeypatch.setattr(_selftest, "_read", lambda _place: None)
    with pytest.raises(ModelError, match=r"'layer1' has \d+ units when pooled, and \d+ by what"):
        load_model(row)


def test_bare_lists_are_their_members():
    row = image_row("timm", "coat_lite_tiny", weights="random", layers="all", input_size="64")
    assert load_model(row).layers[:2] == ("serial_blocks1.0", "serial_blocks1.1")


# Precision


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precision_passes_by_its_own_limit(tmp_path, dtype):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=24, n_layer=2, n_head=2))
    extractor, _ = extracted({**text_row(tmp_path, model), "dtype": dtype}, *LINES)
    assert next(extractor.network.parameters()).dtype == getattr(torch, dtype)
    assert json.loads(extractor.provenance["self_test"])["beside"] == "same"


def test_rounding_is_looked_at_in_a_wider_type():
    """The difference of two large numbers is rounding in float32, and nothing in float64."""

    def then(_, x):
        big = 1e6 * x.mean((0, 1, 2, 3), keepdim=True)
        return x + big - big

    model = Net(then)
    weights = {name: x.clone() for name, x in model.state_dict().items()}
    extractor = wrapped(model)
    assert json.loads(extractor.provenance["self_test"])["beside"] == "same"
    for name, x in extractor.network.state_dict().items():
        assert x.dtype == weights[name].dtype and torch.equal(x, weights[name])


def test_distances_are_shares_of_the_norm():
    x = np.array([3.0, 4.0])
    assert distance_of(x, np.array([3.0, 4.5])) == pytest.approx(0.1)
    assert distance_of(x * np.nan, x) == 0  # extraction tells it, with its sample
    assert distance_of(x, x * np.nan) == distance_of(x, x[:1]) == np.inf
