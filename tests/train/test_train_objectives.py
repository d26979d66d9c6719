"""Networks that learn something else than classes from pictures: losses, draws, features."""

import dataclasses
import functools
import math
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from given import Given, checkpoints, extractor_of, pictures, spec, train
from PIL import Image

from consilience.alterations.draws import keys
from consilience.alterations.streams import stream
from consilience.config.objectives import OPTIONS, check_objective, objective_options
from consilience.datasets import Sample
from consilience.errors import ConfigError, DataError, ModelError
from consilience.files import file_digest, read_table
from consilience.networks import OF_PICTURES, Task, build
from consilience.networks.weights import read_header, read_trained
from consilience.samples import make_samples
from consilience.train import Sources, train_models
from consilience.train.altered import Stimuli
from consilience.train.inputs import open_data, picture_of
from consilience.train.learned import make_learned
from consilience.train.losses import image_text_loss, nt_xent

NAMES = ("left", "middle", "right")
SEEDS = ("init", "order", "draw", "noise", "study")
VIT = {"patch": 4, "width": 16, "depth": 1, "heads": 2}


def wanted(objective, architecture="small:cnn", options=None, given=None, **changes):
    """Returns what is trained, with all options of its objective."""
    whole = {"objective": objective, "objective_options": given or {}}
    training = {"training": {"lr": 0.01, "steps": 60, "batch_size": 20}}
    return spec(
        architecture, options or {}, **training | whole | objective_options(whole) | changes
    )


class Named(Given):
    """Samples whose classes have names."""

    def data(self, split, spec, device, like=None):
        return open_data(Stimuli(self.found, 3, names=NAMES), spec, device, like)


def fit(folder, given, **settings):
    """Returns the file of one model that learnt stripes."""
    out = folder / "m.safetensors"
    train_models([{"m": given}], {"m": out}, Named(pictures()), None, device="cpu", **settings)
    return out


def data(given, samples=None):
    return open_data(Stimuli(list(samples or pictures()), 3, names=NAMES), given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns (asked for once, then kept) the file of an objective's network."""
    return functools.cache(
        lambda objective: fit(tmp_path_factory.mktemp(objective), wanted(objective))
    )


# Losses, against loops over pairs


def cosine(one, other):
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def test_the_loss_of_two_views_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 4))
    both, total = [*first, *second], 0.0
    for i in range(10):
        score = [math.exp(cosine(both[i], both[k]) / 0.3) for k in range(10)]
        total -= math.log(score[(i + 5) % 10] / (sum(score) - score[i]))
    found = nt_xent(torch.tensor(first), torch.tensor(second), 0.3)
    assert float(found) == pytest.approx(total / 10, rel=1e-12)
    alike = torch.ones(5, 4)
    assert float(nt_xent(alike, 2 * alike, 0.3)) == pytest.approx(math.log(9), rel=1e-6)


def test_the_loss_of_pictures_and_texts_is_that_of_loops():
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    score = np.array([[cosine(i, t) / 0.2 for t in texts] for i in images])
    clip = 0.0
    for side in (score, score.T):
        clip += np.mean([-math.log(math.exp(s[k]) / np.exp(s).sum()) for k, s in enumerate(side)])
    given = torch.tensor(images), torch.tensor(texts)
    found = image_text_loss(*given, torch.arange(6), 0.2)
    assert float(found) == pytest.approx(clip / 2, rel=1e-12)

    which = [0, 2, 2, 1, 0, 2]
    total = 0.0
    for i in range(6):
        same = [k for k in range(6) if which[k] == which[i]]
        row = [score[i, which[k]] for k in range(6)]
        column = [score[k, which[i]] for k in range(6)]
        for one in (row, column):
            below = sum(map(math.exp, one))
            total -= sum(math.log(math.exp(one[k]) / below) for k in same) / len(same)
    found = image_text_loss(*given, torch.tensor(which), 0.2)
    assert float(found) == pytest.approx(total / 12, rel=1e-12)


def test_the_loss_of_texts_has_its_bounds():
    which = torch.tensor([0, 1, 1, 1])
    alike = image_text_loss(torch.ones(4, 3), torch.ones(2, 3), which, 0.1)
    assert float(alike) == pytest.approx(math.log(4), rel=1e-6)
    told = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]])
    best = image_text_loss(told, told[:2], which, 0.01)
    assert float(best) == pytest.approx(3 * math.log(3) / 4, rel=1e-6)


# What is drawn


def test_streams_are_uniform_and_of_their_counters():
    numbers = stream(keys([f"s{k}" for k in range(4000)], "test"), 5, 3)
    assert numbers.shape == (4000, 5)
    assert (numbers.min(), numbers.max()) == pytest.approx((0, 1), abs=1e-3)
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(2000, abs=5 * 2000**0.5)
    correlations = np.corrcoef(numbers.T)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 5 / 4000**0.5
    own = stream(keys(["s0"], "test"), 5, 3)
    assert (own == numbers[:1]).all()  # whatever other samples there are
    others = [stream(keys(["s0"], "test"), 5, *more) for more in ((4,), (), (3, 0), (0, 3))]
    assert not any(np.isin(other, own).any() for other in others)


@pytest.mark.parametrize("objective", ["contrastive", "masked", "rotation"])
def test_draws_are_of_the_sample_the_epoch_and_the_model(objective):
    given = wanted(objective)
    whole, few = data(given), data(given, list(pictures())[:9])
    other = whole.of_model({**given["seeds"], "draw": 7})

    def seen(found, rows, epoch):
        return found.numbers(torch.tensor(rows), 4, epoch)

    assert torch.equal(seen(whole, [3, 8], 2), seen(few, [3, 8], 2))
    assert torch.equal(seen(whole, [8, 3], 2), seen(few, [3, 8], 2).flip(0))
    for changed in (seen(whole, [3, 8], 1), seen(other, [3, 8], 2), seen(whole, [3, 8], None)):
        assert not (changed == seen(whole, [3, 8], 2)).any()
    assert torch.equal(seen(whole, [3, 8], None), seen(other, [3, 8], None))
    noise = whole.of_model({**given["seeds"], "noise": 7, "order": 7, "init": 7})
    assert torch.equal(seen(noise, [3, 8], 2), seen(whole, [3, 8], 2))


def test_views_are_parts_of_their_picture():
    whole = {"crop": 1.0, "flip": 0.0, "jitter": 0.0}
    rows = torch.arange(60)
    same = data(wanted("contrastive", given=whole))
    plain = same.scaled(same.shares(rows))
    torch.testing.assert_close(same.view(rows, 0, 0), plain, rtol=0, atol=1e-5)
    flipped = data(wanted("contrastive", given={**whole, "flip": 1.0}))
    torch.testing.assert_close(flipped.view(rows, 0, 0), plain.flip(3), rtol=0, atol=1e-5)
    given = data(wanted("contrastive"))
    first, second = given.view(rows, 0, 0), given.view(rows, 0, 1)
    assert float((first - second).abs().mean()) > 0.1
    low, high = given.scaled(torch.tensor([0.0, 1.0]))
    assert low <= first.min() <= first.max() <= high


def test_what_is_hidden_is_a_share_of_the_patches():
    given = data(wanted("masked", given={"ratio": 0.5}))
    hidden = given.hidden(torch.arange(60), 0)
    patches = hidden.view(60, 3, 4, 3, 4).permute(0, 1, 3, 2, 4).flatten(3)
    assert (patches.all(3) == patches.any(3)).all()
    assert (patches.any(3).flatten(1).sum(1) == 4).all()  # ⌊0.5 · 9⌋
    assert (hidden.float().mean(0) > 0.15).all()


def test_what_is_seen_does_not_count_and_what_is_hidden_is_not_seen():
    given, rows = data(wanted("masked")), torch.arange(20)
    hidden, pixels = given.hidden(rows, 0), given.scaled(given.shares(rows))

    def answer(x):
        assert (x[hidden] == 0).all()
        assert torch.equal(x[~hidden], pixels[~hidden])
        return torch.where(hidden, pixels + 2.0, 1e6)

    assert float(given.compare(answer, rows, 0)) == pytest.approx(4.0)


def test_the_best_blind_answer_has_the_loss_of_chance():
    given = data(wanted("masked"))
    pixels = given.scaled(given.shares(torch.arange(60)))
    mean = pixels.double().mean(0)
    assert given.chance == pytest.approx(float(((pixels - mean) ** 2).mean()), rel=1e-9)
    score = given.score(lambda x: mean.float().expand(len(x), -1, -1, -1)).loss
    assert score == pytest.approx(given.chance, rel=0.1)  # of those that are hidden
    for objective, floor in (("rotation", math.log(4)), ("contrastive", math.log(39))):
        found = data(wanted(objective))
        assert found.chance == pytest.approx(floor)
        assert found.score(lambda x: torch.ones(len(x), 4)).loss == pytest.approx(floor, rel=1e-6)


def test_turns_are_right_angles():
    given = data(wanted("rotation"))
    rows, turns = torch.arange(4), torch.arange(4)
    plain = given.scaled(given.shares(rows)).numpy()
    for k, found in enumerate(given.turned(rows, turns).numpy()):
        assert np.array_equal(found[0], np.rot90(plain[k, 0], k))


# Training


@pytest.mark.parametrize("objective", OF_PICTURES)
def test_it_learns_and_says_what(trained, tmp_path, objective):
    header = read_header(trained(objective))
    assert (header["status"], header["spec"]["objective"]) == ("trained", objective)
    assert header["scores"]["train"]["loss"] < 0.93 * header["chance_loss"]
    assert header["history"]["loss"][-1] < header["history"]["loss"][0]
    assert header["classes"] == []
    row = {"recipe": "r", "variant": "v", "seed": "0", "learnt": ""}
    make_learned({"m": row}, [trained(objective)],
                 tmp_path / "table.parquet", tmp_path / "curves.parquet")  # fmt: skip
    (line,) = read_table(tmp_path / "table.parquet").to_dict("records")
    assert (line["objective"], line["status"]) == (objective, "trained")
    assert np.isnan(line["accuracy_train"])
    assert "probes of its features" in line["note"]


@pytest.mark.parametrize("objective", OF_PICTURES)
def test_transformers_and_perceptrons_learn_it_too(tmp_path, objective):
    for number, (architecture, options) in enumerate((("small:vit", VIT), ("small:mlp", {}))):
        slow = {"lr": 0.003, "steps": 60, "batch_size": 20}
        given = wanted(objective, architecture, options, training=slow)
        (folder := tmp_path / str(number)).mkdir()
        header = read_header(fit(folder, given))
        assert header["scores"]["train"]["loss"] < header["chance_loss"]
        assert header["company"] == 1


@pytest.mark.parametrize("objective", OF_PICTURES)
def test_features_are_what_enters_the_head_and_there_are_no_scores(trained, objective):
    extractor = extractor_of(trained(objective), layers="all")
    assert extractor.layers == ("embedding.a1", "embedding.a2", "embedding.a3", "features")
    assert (extractor.outputs, extractor.unembedding) == ((), None)
    network = read_trained(trained(objective)).network()
    plain = data(wanted(objective))
    with torch.no_grad():
        features = network.embedding(plain.scaled(plain.shares(torch.arange(5))))
    batch = [extractor.preprocess(sample) for sample in list(pictures())[:5]]
    torch.testing.assert_close(extractor.extract(batch)["features"], features)


@pytest.mark.parametrize("objective", OF_PICTURES)
def test_the_same_again_alone_and_in_company(trained, tmp_path, objective):
    specs = {name: wanted(objective) for name in ("m", "n")}
    specs["n"]["seeds"] = {**specs["n"]["seeds"], "init": 9, "draw": 9}
    outs = {name: tmp_path / f"{name}.safetensors" for name in specs}
    train_models([dict(reversed(specs.items()))], outs, Named(pictures()), None, device="cpu")
    assert file_digest(outs["m"]) == file_digest(trained(objective))
    assert file_digest(outs["n"]) != file_digest(outs["m"])


def _fit_in_child(folder, given):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    fit(folder, given, checkpoint=0.01)


@pytest.mark.parametrize("objective", ["contrastive", "image_text"])
def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path, objective):
    (whole := tmp_path / "whole").mkdir()
    (cut := tmp_path / "cut").mkdir()
    given = wanted(objective, training={"lr": 0.01, "steps": 150, "batch_size": 20})
    context, kills = multiprocessing.get_context("spawn"), 0
    for seconds in (0.0, 0.1):
        child = context.Process(target=_fit_in_child, args=(cut, given))
        child.start()
        before = checkpoints(cut)
        while child.is_alive() and checkpoints(cut) == before:
            child.join(0.002)
        child.join(seconds)
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
    assert kills
    assert file_digest(fit(cut, given)) == file_digest(fit(whole, given))


def test_objectives_of_one_seed_begin_at_the_same_weights():
    task = Task("image", (1, 12, 12), 3)
    plain = build("small:vit", VIT, task, 5).embedding.state_dict()
    for objective in OF_PICTURES:
        other = dataclasses.replace(task, classes=0, objective=objective, vocabulary=9)
        found = build("small:vit", VIT, other, 5).embedding.state_dict()
        assert all(torch.equal(x, found[name]) for name, x in plain.items())


def test_a_network_that_did_not_learn_says_so(tmp_path, caplog):
    idle = {"lr": 1e-12, "steps": 1, "batch_size": 20}
    header = read_header(fit(tmp_path, wanted("masked", training=idle)))
    assert header["status"].startswith("did not fit: its loss ")
    assert "no less than that of the mean of each pixel, " in header["status"]
    assert header["status"] in caplog.text


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    wild = {"lr": 1e30, "optimizer": "sgd", "steps": 5, "batch_size": 20}
    with pytest.raises(ModelError, match="'m': its loss is not finite by step"):
        fit(tmp_path, wanted("masked", training=wild))


def test_no_steps_leave_a_network_untrained(tmp_path):
    header = read_header(fit(tmp_path, wanted("rotation", training={"steps": 0})))
    assert header["status"] == "untrained"
    assert header["history"] == {"step": [], "loss": []}


# What cannot be learnt


@pytest.mark.parametrize("objective", ["contrastive", "image_text"])
def test_a_single_sample_has_no_other_to_be_told_from(tmp_path, objective):
    given = wanted(objective, training={"lr": 0.01, "steps": 9, "batch_size": 59})
    with pytest.raises(ConfigError, match="a batch of 1 of 60 samples cannot be learnt, for 2 are"):
        fit(tmp_path, given)


def test_pictures_that_are_no_squares_tell_their_turn():
    image = Image.new("L", (12, 9))
    sample = Sample("p", "here", label=0, image=functools.partial(Image.Image.copy, image))
    with pytest.raises(DataError, match=r"^here: sample 'p' has 12 x 9 pixels, and a picture that"):
        data(wanted("rotation"), [sample])
    data(wanted("masked"), [sample])


@pytest.mark.parametrize("names", [(), ("a", "", "c"), ("a_b", "a b", "c")])
def test_classes_without_names_of_their_own_have_no_texts(names):
    with pytest.raises(DataError, match="'given' has no two classes with a name each"):
        open_data(Stimuli(list(pictures()), 3, names=names), wanted("image_text"))


def test_captions_are_texts_and_words_of_training_are_the_vocabulary(tmp_path):
    colours = ("red", "green", "blue")
    told = [
        dataclasses.replace(s, text=f"a {colours[k % 3]} stripe") for k, s in enumerate(pictures())
    ]
    given = wanted("image_text", given={"texts": "captions"})
    header = read_header(train(tmp_path, told, given))
    assert set(header["task"]["words"]) == {"a", "red", "green", "blue", "stripe"}
    assert header["status"] == "trained"
    task = Task.of(header["task"])
    other = [dataclasses.replace(told[0], text="a pink stripe"), told[1]]
    found = open_data(Stimuli(other, 3), given, like=task)
    assert found.task.vocabulary == task.vocabulary == 8
    assert found.symbols[0].tolist().count(1) == 1  # pink is a word that training did not see
    with pytest.raises(DataError, match="sample 'p0' holds no text"):
        open_data(Stimuli(list(pictures()), 3), given)


FASHION = {"f": {"modality": "image"}, "t": {"modality": "text"},
           "b": {"modality": "image+text"}, "u": {"modality": "image", "labels": "no"}}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective_options": {"ratio": 0.5}}, "classes has no option 'ratio'; it has none"),
        ({"objective": "masked", "objective_options": {"rate": 1}},
         "masked has no option 'rate'; did you mean 'ratio'"),
        ({"objective": "rotation", "objective_options": {"patch": 4}},
         "rotation has no option 'patch'; it has none"),
        ({"objective": "contrastive", "dataset": "t"}, "from pictures, and the recipe learns text"),
        ({"objective": "masked", "modality": "graph"}, "and the recipe learns graph"),
        ({"objective": "rotation", "architecture": "timm:resnet18"}, "not by timm:resnet18"),
        ({"objective": "contrastive", "training": {"batch_size": 1}}, "batch_size is 1, and"),
        ({"objective": "masked", "labels": {"rate": 0.5}}, "labels: masked learns other things"),
        ({"objective": "masked", "augmentation": {"flip": 0.5}}, "augmentation: masked learns"),
        ({"objective": "rotation", "training": {"min_accuracy": 0.5}}, "accuracy is of classes"),
        ({"objective": "masked", "input": {"size": 30}}, "30 pixels have no patches of 4; set"),
        ({"objective": "masked", "input": {"size": 4}}, "a patch of 4 pixels hides all"),
        ({"objective": "image_text", "dataset": "u"}, "'u' has no classes whose names"),
        ({"objective": "image_text", "objective_options": {"texts": "captions"}},
         "'f' holds no texts of its pictures"),
        ({"objective": "image_text", "objective_options": {"template": "a photo"}},
         "'a photo' has no place for a class"),
    ],
)  # fmt: skip
def test_one_mistake_one_sentence(change, message):
    with pytest.raises(ConfigError, match=message):
        check_objective({"dataset": "f", "architecture": "small:cnn", **change}, FASHION)


@pytest.mark.parametrize("objective", OF_PICTURES)
def test_what_is_right_passes(objective):
    whole = {"dataset": "b", "modality": "image", "objective": objective,
             "objective_options": OPTIONS[objective]}  # fmt: skip
    check_objective(whole, FASHION)
    assert objective_options({"objective": objective})["objective_options"] == OPTIONS[objective]
    assert objective_options({}) == objective_options({"objective": "noise"}) == {}


@pytest.mark.parametrize("options", [{"labels": 8}, {"bias": False}])
def test_options_of_a_head_for_classes_are_of_no_use(options):
    task = Task("image", (1, 12, 12), 0, objective="masked")
    with pytest.raises(ConfigError, match="of a head for classes, and masked has none"):
        build("small:cnn", options, task)


def test_variants_read_their_pictures_once_and_learn_the_same(tmp_path, monkeypatch):
    """Pictures of both splits are read once for all; a model that is trained alone is the same."""
    row = {"dataset": "s", "source": "packaged", "name": "shapes:40", "modality": "image"}
    make_samples(row, 0, tmp_path / "samples.parquet")
    short = {"training": {"lr": 0.01, "steps": 5, "batch_size": 8}, "split": "train"}
    variants = [
        {
            f"{kind}.{number}": wanted(kind, **short, seeds=dict.fromkeys(SEEDS, number))
            for number in range(2)
        }
        for kind in ("classes", "masked", "rotation")
    ]
    read = []
    monkeypatch.setattr(
        "consilience.train.inputs.picture_of",
        lambda sample, *how: read.append(sample.id) or picture_of(sample, *how),
    )

    def make(folder, variants):
        outs = {m: tmp_path / folder / f"{m}.safetensors" for specs in variants for m in specs}
        sources = Sources.read(row, tmp_path / "samples.parquet")
        train_models(variants, outs, sources, None, device="cpu")
        return {m: file_digest(path) for m, path in outs.items()}, read_header(outs.popitem()[1])

    together, header = make("together", variants)
    assert len(read) == len(set(read)) == 40 == sum(s["n"] for s in header["scores"].values())
    alone, _ = make("alone", [{"masked.1": variants[1]["masked.1"]}])
    assert alone == {"masked.1": together["masked.1"]}
