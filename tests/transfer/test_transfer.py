"""Attacks and what carries over: planted truths, closed forms, and one sentence per mistake."""
# ruff: noqa: E501 - one line for each variant

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from consilience.config import load_study
from consilience.config.plan import Plan
from consilience.errors import ConfigError, DataError, ModelError
from consilience.files import digest, read_table
from consilience.networks import Task, build
from consilience.networks.weights import read_header, write_trained
from consilience.results import RESULT_FILES, Results
from consilience.samples import make_samples
from consilience.transfer import (
    COLUMNS,
    Attack,
    Network,
    Pictures,
    compare,
    make_transfer,
    mislead,
    read_network,
    read_pictures,
    signs_of,
)
from consilience.transfer.pairs import look, parse_eps

SIDE = 4
NAMES = ("dark", "light", "grey")


def linear(weights, bias=0.0, classes=NAMES[:2], id_="m", **more):
    """Returns a network of two classes whose log-odds are weights · pixels + bias."""
    layer = nn.Linear(SIDE * SIDE, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.zeros(SIDE * SIDE), torch.as_tensor(weights)]))
        layer.bias.copy_(torch.tensor([0.0, bias]))
    network = nn.Sequential(nn.Flatten(), layer).requires_grad_(False)
    return Network(id_, network, classes, (1, SIDE), **more)


def pictures_of(network, n=200, seed=0):
    """Returns pictures away from black and white, each of the class that a network says."""
    rng = np.random.default_rng(seed)
    pixels = torch.tensor(rng.uniform(0.3, 0.7, (n, 1, SIDE, SIDE)), dtype=torch.float32)
    labels = network.answers(pixels)
    return Pictures([f"p{k}" for k in range(n)], labels, network.classes, pixels)


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(1)
    weights = torch.tensor(rng.normal(size=SIDE * SIDE), dtype=torch.float32)
    network = linear(weights, bias=float(-0.5 * weights.sum()))
    return weights, network, pictures_of(network)


@pytest.mark.parametrize("momentum", [0.0, 1.0, 0.5])
def test_a_linear_classifier_is_attacked_along_its_closed_form(planted, momentum):
    """x* = x - eps sign(w) for class 1: the worst that eps can do, whatever the steps."""
    weights, network, given = planted
    labels = torch.from_numpy(given.labels)
    for eps in (0.01, 0.05):
        found, flat = mislead(network.scores, given.pixels, labels, Attack(eps, 10, momentum))
        sign = weights.sign().view(1, 1, SIDE, SIDE) * (1 - 2 * labels.view(-1, 1, 1, 1))
        torch.testing.assert_close(found, given.pixels + eps * sign, atol=2e-6, rtol=0)
        assert not flat.any()


def test_success_begins_at_the_least_eps_that_can_succeed(planted):
    """A linear classifier is lost from eps = |w x + b| / |w|_1 on, and not before."""
    weights, network, given = planted
    scores = network.scores(given.pixels).double()
    least = ((scores[:, 1] - scores[:, 0]).abs() / weights.abs().sum()).numpy()
    for eps in np.quantile(least, [0.1, 0.5, 0.9]) + 1e-5:
        seen = {"m": look(network, given, [eps])}
        (row,) = compare(network, seen, [], given, Attack(float(eps), 10, 1.0))
        assert row["success"] == pytest.approx(np.mean(least < eps), abs=1e-12)
        assert row["n"] == row["n_known"] == 200 and row["clean_x"] == row["clean_y"] == 1


def test_nothing_is_changed_by_nothing(planted):
    _, network, given = planted
    seen = {"m": look(network, given, [0.0])}
    (row,) = compare(network, seen, [], given, Attack(0.0))
    assert row["success"] == row["success_noise"] == row["success_published"] == 0


def test_pictures_stay_near_and_within_black_and_white():
    network = read_cnn()
    rng = np.random.default_rng(0)
    pixels = torch.tensor(rng.uniform(0, 1, (30, 1, 12, 12)), dtype=torch.float32).round(decimals=1)
    labels = torch.from_numpy(rng.integers(0, 3, 30))
    for eps in (0.02, 0.3):
        for momentum in (0.0, 1.0):
            found, _ = mislead(network.scores, pixels, labels, Attack(eps, 7, momentum))
            assert float((found - pixels).abs().max()) <= eps + 1e-6
            assert float(found.min()) >= 0 and float(found.max()) <= 1
            assert not torch.equal(found, pixels)
        noisy = signs_of([f"s{k}" for k in range(30)], pixels, eps)
        inside = (pixels > eps) & (pixels < 1 - eps)
        moved = (noisy - pixels).abs()[inside]
        torch.testing.assert_close(moved, torch.full_like(moved, eps))
        assert float(noisy.min()) >= 0 and float(noisy.max()) <= 1


def test_an_attack_is_that_of_a_plain_loop():
    """Against the recursion written out, picture by picture, with a cross-entropy in float64."""
    network = read_cnn()
    rng = np.random.default_rng(3)
    pixels = torch.tensor(rng.uniform(0, 1, (4, 1, 12, 12)), dtype=torch.float32)
    labels, eps, steps, mu = torch.tensor([0, 1, 2, 0]), 0.1, 5, 0.9
    found, _ = mislead(network.scores, pixels, labels, Attack(eps, steps, mu))
    for k in range(4):
        x0, x, g = pixels[k : k + 1], pixels[k : k + 1].clone(), 0
        for _ in range(steps):
            x.requires_grad_()
            loss = -torch.log_softmax(network.scores(x).double(), 1)[0, labels[k]]
            d = torch.autograd.grad(loss, x)[0]
            g = mu * g + d / d.abs().sum()
            x = x.detach() + eps / steps * torch.sign(g)
            x = torch.minimum(torch.maximum(x, x0 - eps), x0 + eps).clamp(0, 1)
        assert float((found[k : k + 1] - x).abs().mean()) < 1e-5


def test_a_sure_network_has_a_direction_and_a_constant_one_is_flat(planted):
    weights, _, given = planted
    sure = linear(300 * weights, bias=float(-150 * weights.sum()))
    labels = torch.from_numpy(given.labels)
    margin = sure.scores(given.pixels).diff(dim=1).abs()
    assert float(margin.max()) > 110  # where float32 has no probability of the other class
    _, flat = mislead(sure.scores, given.pixels, labels, Attack(0.1))
    assert not flat.any()
    still = linear(torch.zeros(SIDE * SIDE), bias=1.0)
    found, flat = mislead(still.scores, given.pixels, labels, Attack(0.1))
    assert flat.all() and torch.equal(found, given.pixels)


def test_an_equal_network_is_misled_as_the_one_that_is_attacked(planted):
    weights, network, given = planted
    twin = linear(weights, bias=float(-0.5 * weights.sum()), id_="twin")
    other = linear(-weights.flip(0), bias=float(0.5 * weights.sum()), id_="other")
    seen = {one.id: look(one, given, [0.05]) for one in (network, twin, other)}
    own, same, far = compare(network, seen, [twin, other], given, Attack(0.05))
    assert 0 < own["success"] < 1
    shares = ("success", "success_noise", "success_published", "n", "clean_y")
    assert {key: own[key] for key in shares} == {key: same[key] for key in shares}
    assert far["clean_y"] < 0.9 and far["n"] < own["n"]
    # errors before the attack count as successes by the published definition alone
    assert far["success_published"] >= far["success"] * far["n"] / far["n_known"]


def test_classes_are_met_by_name_and_only_those_that_both_know(planted):
    """The victim numbers its classes the other way about, and knows one more."""
    weights, network, given = planted
    turned = linear(-weights, bias=float(0.5 * weights.sum()), classes=NAMES[1::-1], id_="turned")
    half = Network("half", network.network, ("dark", "grey"), (1, SIDE))
    none = Network("none", network.network, ("grey", "green"), (1, SIDE))
    all_ = (network, turned, half, none)
    seen = {one.id: look(one, given, [0.05]) for one in all_}
    own, same, one_class, nothing = compare(network, seen, all_[1:], given, Attack(0.05))
    assert same["success"] == own["success"] and same["n"] == own["n"] == 200
    dark = int((given.labels == 0).sum())
    assert one_class["n_known"] == dark
    assert nothing["failure"] == "no picture is of a class that both networks know"
    assert nothing["n_known"] == 0 and "success" not in nothing and "clean_y" not in nothing


def test_few_pictures_give_no_value(planted):
    _, network, given = planted
    few = Pictures(given.ids[:49], given.labels[:49], given.names, given.pixels[:49])
    (row,) = compare(network, {"m": look(network, few, [0.05])}, [], few, Attack(0.05))
    assert row["n"] == 49 and "success" not in row and row["clean_x"] == 1
    assert row["failure"].startswith("both networks find 49 of 49 pictures right, and fewer")


def test_networks_of_other_pictures_are_no_victims(planted):
    _, network, given = planted
    seen = {"m": look(network, given, [0.05])}
    (_, row) = compare(network, seen, [read_cnn()], given, Attack(0.05))
    assert row["failure"] == (
        "the networks take pictures of 1 channels and 4 pixels and of 1 channels and 12 pixels"
    )


# Files


def header_of(side="x", seed=0, **changes):
    spec = {
        "architecture": "small:cnn", "options": {"width": 4, "depth": 2, "dimension": 8},
        "input": {"size": 12, "channels": 1, "mean": 0.5, "deviation": 0.25},
        "dataset": "digits", "overlap": {"side": side}, **changes,
    }  # fmt: skip
    task = Task("image", (1, 12, 12), 10)
    return spec, {"spec": spec, "task": task.as_dict(), "classes": [str(k) for k in range(10)]}


def write_cnn(path, seed=0, **changes):
    spec, header = header_of(seed=seed, **changes)
    network = build(spec["architecture"], spec["options"], Task.of(header["task"]), seed)
    write_trained(path, network.state_dict(), header)


def read_cnn():
    network = build("small:cnn", {"width": 4, "depth": 2, "dimension": 8},
                    Task("image", (1, 12, 12), 3), 0)  # fmt: skip
    return Network("cnn", network.eval().requires_grad_(False), NAMES, (1, 12), 0.5, 0.25)


ROW = {"dataset": "digits", "source": "packaged", "name": "digits", "modality": "image",
       "cap": "300", "test_share": "0.5"}  # fmt: skip
HOW = {"eps": ["16/255", 0.2], "steps": 3, "momentum": [1.0, 0.0], "images": 120, "seed": 0}
PAIR = {"kind": "data", "family": "cnn", "train_set": "digits", "draw": "0", "overlap": 0.5,
        "control": "", "side_x": "x", "side_y": "y"}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    make_samples(ROW, 0, folder / "samples.parquet")
    weights = {}
    for seed, model in enumerate("ab"):
        weights[model] = folder / f"{model}.safetensors"
        write_cnn(weights[model], seed)
    return folder, weights


def run(folder, weights, tmp_path, **changes):
    victims = {"a": {"b": PAIR}, "b": {"a": {**PAIR, "side_x": "y", "side_y": "x"}}}
    outs = {model: tmp_path / f"{model}.parquet" for model in victims}
    given = {"row": ROW, "victims": victims, "device": "cpu", "learnt": {"a": "", "b": ""}}
    given |= {**HOW, **changes}
    make_transfer(weights, folder / "samples.parquet", outs, **given)
    return outs


def test_weights_of_another_model_are_not_attacked(files, tmp_path):
    folder, weights = files
    learnt = {m: digest(read_header(path)["spec"]) for m, path in weights.items()}
    exchanged = learnt | {"a": digest({"dataset": "others"})}
    with pytest.raises(ModelError, match=r"a\.safetensors is not of the model that its name says"):
        run(folder, weights, tmp_path, learnt=exchanged)
    assert list(run(folder, weights, tmp_path, learnt=learnt)) == ["a", "b"]


def test_tables_are_of_both_directions_and_the_same_again(files, tmp_path, monkeypatch):
    monkeypatch.setattr("consilience.transfer.pairs.LEAST", 1)
    outs = run(*files, tmp_path)
    again = {model: path.read_bytes() for model, path in outs.items()}
    tables = {model: read_table(path) for model, path in outs.items()}
    for model, other in ("ab", "ba"):
        table = tables[model]
        assert list(table.columns) == list(COLUMNS) == list(RESULT_FILES["transfer"].columns)
        assert set(table["model_x"]) == {model} and len(table) == 2 * 2 * 2
        own = table[table["model_y"] == model]
        assert (own["control"] == "self").all() and own["overlap"].isna().all()
        assert (own["side_y"] == own["side_x"]).all()
        pair = table[table["model_y"] == other]
        assert (pair["overlap"] == 0.5).all() and (pair["size"] == 12).all()
        assert table.attrs["device"] == "cpu" and table.attrs["settings"]["images"] == 120
        key = list(RESULT_FILES["transfer"].key)
        assert not table.duplicated(key).any()
        assert set(table["n_known"]) == {120}
    sides = {m: set(zip(t["side_x"], t["side_y"], strict=True)) for m, t in tables.items()}
    assert sides == {"a": {("x", "x"), ("x", "y")}, "b": {("y", "y"), ("y", "x")}}
    assert {m: p.read_bytes() for m, p in run(*files, tmp_path).items()} == again


def test_only_pictures_that_nobody_learnt_from_count(files, tmp_path):
    folder, _ = files
    given = {"count": 60, "seed": 0, "learnt": True}
    found = read_pictures(ROW, folder / "samples.parquet", (1, 12), **given)
    table = pd.read_parquet(folder / "samples.parquet").set_index("id")
    assert len(found.ids) == 60 and (table.loc[found.ids, "split"] == "test").all()
    assert table.loc[found.ids, "label"].tolist() == found.labels.tolist()
    assert float(found.pixels.min()) >= 0 and float(found.pixels.max()) == 1
    fewer = read_pictures(ROW, folder / "samples.parquet", (1, 12), **{**given, "count": 20})
    assert set(fewer.ids) < set(found.ids)
    whole = {**ROW, "test_share": "0"}
    make_samples(whole, 0, tmp_path / "whole.parquet")
    with pytest.raises(DataError, match="the models learnt from it and it has no split `test`"):
        read_pictures(whole, tmp_path / "whole.parquet", (1, 12), **given)
    other = read_pictures(
        whole, tmp_path / "whole.parquet", (1, 12), **{**given, "learnt": False, "count": 999}
    )
    assert len(other.ids) == 300
    unseen = {**given, "learnt": False, "count": 999}
    assert len(read_pictures(ROW, folder / "samples.parquet", (1, 12), **unseen).ids) == 300


def test_bad_input_is_one_sentence(files, tmp_path):
    _, header = header_of()
    task = Task("image", (1, 12, 12), 0, objective="noise")
    write_trained(tmp_path / "noise.safetensors", {}, {**header, "task": task.as_dict()})
    with pytest.raises(ModelError, match="model 'm' learnt noise of image, and an attack takes"):
        read_network(tmp_path / "noise.safetensors", "m")
    (tmp_path / "bare").mkdir()
    Image.new("L", (12, 12)).save(tmp_path / "bare" / "one.png")
    bare = {"dataset": "bare", "source": "folder", "name": str(tmp_path / "bare"),
            "modality": "image"}  # fmt: skip
    make_samples(bare, 0, tmp_path / "bare.parquet")
    with pytest.raises(DataError, match="'bare': it has samples without a class"):
        read_pictures(bare, tmp_path / "bare.parquet", (1, 12), count=9, seed=0, learnt=False)
    assert parse_eps("16/255") == 16 / 255 and parse_eps(0.5) == 0.5
    with pytest.raises(DataError, match="300/255 is not from 0 to 1, the range of pixels"):
        parse_eps("300/255")


# The plan

RECIPES = """\
r:
  dataset: pictures
  architecture: small:cnn
  input: {size: 16, channels: 1}
  overlap: {kind: data, size: 10, draw: index}
  training: {steps: 5, batch_size: 20}
  seeds: 2
  variants:
    x: {overlap: {side: x}}
    y0: {overlap: {side: "y", overlap: 0.0}}
    y1: {overlap: {side: "y", overlap: 1.0}}
    twin: {overlap: {side: "y", overlap: 1.0}, columns: {control: twin}}
    start: {overlap: {side: x}, columns: {control: untrained}, training: {steps: 0}}
    start_y: {overlap: {side: "y", overlap: 1.0}, columns: {control: untrained}, training: {steps: 0}}
plain:
  dataset: pictures
  architecture: small:cnn
  input: {size: 16, channels: 1}
  training: {steps: 5, batch_size: 20}
  seeds: 2
"""
DATASETS = (
    "dataset\tsource\tname\tmodality\tcap\ttest_share\n"
    "pictures\tpackaged\tdigits\timage\t600\t0.5\n"
    "others\tpackaged\tdigits\timage\t100\t0.5\n"
)


def plan_of(tmp_path, datasets=("pictures",), causes=None, **changes):
    (tmp_path / "recipes.yaml").write_text(RECIPES, encoding="utf8")
    (tmp_path / "datasets.tsv").write_text(DATASETS, encoding="utf8")
    catalogs = {"datasets": [str(tmp_path / "datasets.tsv")],
                "recipes": [str(tmp_path / "recipes.yaml")]}  # fmt: skip
    given = {"models": "recipe != ''", "datasets": list(datasets), "metrics": ["cka_debiased"],
             "catalogs": catalogs, "causes": causes, **changes}  # fmt: skip
    return Plan(load_study(given), Results())


def test_victims_are_the_other_side_of_the_same_draw(tmp_path):
    plan = plan_of(tmp_path, causes={"transfer": {}})
    found = {model: set(victims) for model, victims in plan.victims.items()}
    assert found["r.x.0"] == {"r.y0.0", "r.y1.0", "r.twin.0"}
    assert found["r.y0.1"] == found["r.twin.1"] == {"r.x.1"}
    assert not any("start" in model or "plain" in model for model in found)
    assert plan.victims["r.y1.0"]["r.x.0"] == {
        "kind": "data", "family": "cnn", "train_set": "pictures", "draw": "0", "overlap": 1.0,
        "control": "", "side_x": "y", "side_y": "x",
    }  # fmt: skip
    assert plan.victims["r.x.1"]["r.twin.1"]["control"] == "twin"
    groups = {group.name: group.models for group in plan.groups_attacked}
    assert {name: len(models) for name, models in groups.items()} == {
        "data.cnn.pictures.0.pictures": 4, "data.cnn.pictures.1.pictures": 4,
    }  # fmt: skip
    assert plan.attack_settings == {
        "eps": ["16/255"], "steps": 10, "momentum": [1.0], "images": 600,
    }  # fmt: skip
    assert len(plan.transfers) == 8
    assert "results/transfer/pictures/r.x.0.parquet" in plan.transfers


def test_nothing_is_attacked_where_nobody_asks(tmp_path):
    plan = plan_of(tmp_path, causes={})
    assert plan.victims == {} and plan.transfers == plan.groups_attacked == []
    assert plan.attack_settings == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"eps": ["a lot"]}, "is not a number from 0 to 1, or a fraction such as 16/255"),
        ({"eps": [2]}, "is not a number from 0 to 1, or a fraction such as 16/255"),
        ({"step": 3}, "unknown key 'step'; did you mean 'steps'"),
        ({"images": 10}, "10 is less than the minimum of 50"),
        ({"momentum": []}, "should be non-empty"),
    ],
)
def test_a_block_that_says_nonsense(tmp_path, given, said):
    with pytest.raises(ConfigError, match=said):
        plan_of(tmp_path, causes={"transfer": given})
