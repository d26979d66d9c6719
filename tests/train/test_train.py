"""Training: right by a loop written out, the same after a kill, and never silent about failure."""

import multiprocessing
import os
import random
import signal
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from given import checkpoints
from torch import nn

from consilience.datasets import Sample, open_dataset
from consilience.errors import ConfigError, DataError, ModelError
from consilience.features.verification import verify_results
from consilience.files import digest, file_digest, read_table, write_table
from consilience.models import load_model
from consilience.networks import Task, build
from consilience.networks.weights import read_header, read_trained, write_trained
from consilience.samples import make_samples
from consilience.train import Sources, train_models
from consilience.train.altered import Stimuli
from consilience.train.batches import Order
from consilience.train.inputs import Labelled, open_data
from consilience.train.settings import Settings
from consilience.train.single import Single
from consilience.train.stacked import Stacked

ROW = {"dataset": "points", "source": "synthetic", "name": "radial classes=4 n=400",
       "modality": "vector", "splits": "train,test"}  # fmt: skip
OPTIONS = {"width": 8, "dimension": 2, "labels": 8}
TASK = Task("vector", (2,), 4)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Returns the samples of 400 radial points to learn from and 40 to be scored on."""
    path = tmp_path_factory.mktemp("samples") / "points.parquet"
    make_samples(ROW, 0, path)
    return Sources.read(ROW, path)


def spec(seed=0, **changes):
    """Returns what is trained, as a recipe's expansion gives it."""
    given = {
        "architecture": "small:mlp",
        "options": OPTIONS,
        "dataset": "points",
        "test": "",
        "split": "train",
        "modality": "vector",
        "objective": "classes",
        "input": {},
        "training": {"lr": 0.01, "steps": 60, "batch_size": 64},
        "weights": "",
        "keys": "",
        "alterations": {},
        "overlap": {},
        "seeds": {"init": seed, "order": 10 + seed, "draw": seed, "noise": 20 + seed, "study": 0},
    }
    return {**given, **changes}


def outs(folder, models):
    return {model: folder / f"{model}.safetensors" for model in models}


def train(folder, points, specs, **settings):
    train_models([specs], outs(folder, specs), points, None, device="cpu", **settings)
    return outs(folder, specs)


def data_of(points):
    return points.data("train", spec(), "cpu")


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        ({"optimizer": "adam"}, lambda w: torch.optim.Adam(w, 0.01)),
        (
            {"optimizer": "adamw", "weight_decay": 0.1},
            lambda w: torch.optim.AdamW(w, 0.01, weight_decay=0.1),
        ),
        ({"optimizer": "sgd", "momentum": 0.5}, lambda w: torch.optim.SGD(w, 0.01, momentum=0.5)),
    ],
    ids=["adam", "adamw", "sgd"],
)  # fmt: skip
def test_both_trainings_do_what_a_plain_loop_does(points, given, reference):
    settings = Settings.of({"lr": 0.01, "steps": 80, "batch_size": 64, **given})
    data, seeds = data_of(points), {"order": 3, "noise": 0}
    # In float64: in float32 rounding alone moves a loss by 1e-4 within 80 steps.
    data.inputs = data.inputs.double()
    single, first, second, plain = (
        build("small:mlp", OPTIONS, TASK, s).double() for s in (1, 1, 2, 1)
    )
    optimiser, order = reference(list(plain.parameters())), Order(data.n, 64, 3)
    one = Single(single, data, settings, seeds, torch.enable_grad)
    stack = Stacked([first, second], [data, data], settings, [seeds, {"order": 4}])
    for step in range(80):
        inputs, labels = data.inputs[order.rows(step)], data.labels[order.rows(step)]
        features, vectors = (
            plain.embedding(inputs),
            plain.head.network(torch.eye(4).double()[:, :3]),
        )
        loss = nn.functional.cross_entropy(features @ vectors.T, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses = [one.step(step)[0], stack.step(step)[0]]
        np.testing.assert_allclose(losses, loss.item(), rtol=1e-8)
    stack.finish()
    for name, weight in plain.state_dict().items():
        for network in (single, first):
            torch.testing.assert_close(network.state_dict()[name], weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_a_model_in_a_stack_depends_on_the_others_by_rounding_only(points, clip):
    settings = Settings.of({"lr": 0.01, "steps": 200, "batch_size": 64, "clip": clip})
    data, losses = data_of(points), {}
    for count in (1, 5):
        networks = [build("small:mlp", OPTIONS, TASK, s) for s in range(count)]
        stack = Stacked(networks, [data] * count, settings, [{"order": s} for s in range(count)])
        losses[count] = [float(stack.step(step)[0]) for step in range(200)]
    np.testing.assert_allclose(losses[5], losses[1], rtol=1e-4)
    assert losses[1][-1] < losses[1][0]


def test_weights_are_those_that_were_published_under_the_seed():
    # SHA-256 over the tensors, by name, of the published untrained checkpoint: 4 classes, seed 1,
    # width 16.
    network = build("small:mlp", {"width": 16, "dimension": 2, "labels": 16}, TASK, 1)
    state = sorted(network.state_dict().items())
    found = digest([[name, x.flatten().tolist()] for name, x in state])
    assert found == "47d3298e02f4471a46c21a0346bde4623bf9f85e6c2acb21dfd2b1cf85f6e757"


def test_random_numbers_of_others_are_left_alone():
    torch.manual_seed(5)
    build("small:mlp", OPTIONS, TASK, 1)
    one = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(one, torch.rand(1))


def test_the_same_bytes_twice_and_what_the_header_says(points, tmp_path):
    specs = {f"m{s}": spec(s) for s in range(3)}
    first, second = (train(tmp_path / name, points, specs) for name in "ab")
    for model in specs:
        assert file_digest(first[model]) == file_digest(second[model])
    header = read_header(first["m0"])
    assert header["spec"] == specs["m0"]
    assert header["status"] == "trained"
    assert header["steps"] == 60
    assert header["history"]["step"][-1] == 60
    assert header["history"]["loss"][0] > header["history"]["loss"][-1]
    assert header["scores"]["train"]["n"] == 400
    assert header["scores"]["test"]["n"] == 40
    assert header["parameters"] == sum(
        w.numel() for w in build("small:mlp", OPTIONS, TASK).parameters()
    )
    frequencies = np.bincount(data_of(points).labels) / 400
    assert header["chance_loss"] == pytest.approx(-(frequencies * np.log(frequencies)).sum())


def test_scores_are_those_of_the_trained_network(points, tmp_path):
    path = train(tmp_path, points, {"m": spec(training={"lr": 0.01, "epochs": 20})})["m"]
    trained, data = read_trained(path), data_of(points)
    assert trained.header["steps"] == 20 * 4
    with torch.no_grad():
        scores = trained.network()(data.inputs).double()
    found = trained.header["scores"]["train"]
    assert found["accuracy"] == pytest.approx(
        float((scores.argmax(1) == data.labels).double().mean())
    )
    picked = torch.log_softmax(scores, 1)[torch.arange(400), data.labels]
    assert found["loss"] == pytest.approx(float(-picked.mean()))


def _train_in_child(folder, points, specs):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    train(folder, points, specs, checkpoint=0.01)


@pytest.mark.parametrize("stacked", [True, False])
def test_a_killed_training_goes_on_to_the_same_bytes(points, tmp_path, stacked):
    count = 3 if stacked else 1
    longer = {"lr": 0.01, "steps": 400, "batch_size": 64}
    specs = {f"m{s}": spec(s, training=longer) for s in range(count)}
    whole = train(tmp_path / "whole", points, specs)
    draw, kills = random.Random(0), 0
    context = multiprocessing.get_context("spawn")
    for _ in range(4):
        child = context.Process(target=_train_in_child, args=(tmp_path / "cut", points, specs))
        child.start()
        seen = checkpoints(tmp_path / "cut")
        while child.is_alive() and checkpoints(tmp_path / "cut") == seen:
            child.join(0.002)
        child.join(draw.uniform(0, 0.02))
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
    assert kills
    cut = train(tmp_path / "cut", points, specs)
    for model in specs:
        assert file_digest(whole[model]) == file_digest(cut[model])
    assert not list((tmp_path / "cut" / ".store").glob("*.checkpoint"))


def test_a_stack_that_was_cut_while_its_models_were_written(points, tmp_path, monkeypatch):
    specs = {f"m{s}": spec(s) for s in range(3)}
    whole, written = train(tmp_path / "whole", points, specs), []

    def write_once(path, *rest):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write_trained(path, *rest)

    monkeypatch.setattr("consilience.train.jobs.write_trained", write_once)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", points, specs)
    monkeypatch.undo()
    cut = train(tmp_path / "cut", points, specs)
    for model in specs:
        assert file_digest(whole[model]) == file_digest(cut[model])


def test_only_what_is_new_is_trained(points, tmp_path, caplog):
    caplog.set_level("INFO")
    specs = {f"m{s}": spec(s) for s in range(2)}
    train(tmp_path, points, specs)
    before = {model: path.stat().st_ino for model, path in outs(tmp_path, specs).items()}
    caplog.clear()
    train(tmp_path, points, {**specs, "m2": spec(2)})
    assert "trained 1, kept 2" in caplog.text
    assert {m: p.stat().st_ino for m, p in outs(tmp_path, specs).items()} == before
    (tmp_path / "m1.safetensors").unlink()
    caplog.clear()
    train(tmp_path, points, {**specs, "m2": spec(2)})
    assert "trained 0, kept 3" in caplog.text
    assert (tmp_path / "m1.safetensors").exists()
    caplog.clear()
    train(tmp_path, points, {"m0": spec(0, training={"lr": 0.01, "steps": 61})})
    assert "trained 1, kept 0" in caplog.text


def test_other_data_are_another_model(points, tmp_path, caplog):
    """Pictures and vectors are in no hash of samples: the row of the dataset counts."""
    caplog.set_level("INFO")
    train(tmp_path, points, {"m": spec()})
    caplog.clear()
    train(tmp_path, replace(points, row={**ROW, "sha256": "0" * 64}), {"m": spec()})
    assert "trained 1, kept 0" in caplog.text
    table = points.samples.table.query("split == 'train'")[["id", "label"]]
    table = table.assign(new_label=table["label"], side_x=True, side_y=table["label"] < 2)
    caplog.clear()
    train(tmp_path, replace(points, split=table), {"m": spec(overlap={"side": "x"})})
    train(tmp_path, replace(points, split=table[1:]), {"m": spec(overlap={"side": "x"})})
    assert caplog.text.count("trained 1, kept 0") == 2


def test_models_of_one_job_may_have_splits_of_their_own(points, tmp_path):
    """Each learns its own side, in a stack too, and has the bytes that it has alone."""
    ids = points.samples.table.query("split == 'train'")[["id", "label"]]
    paths = {}
    for k in range(2):
        own = np.arange(len(ids)) % 2 == k
        table = ids.assign(new_label=ids["label"].astype("Int32"), side_x=own, side_y=~own)
        paths[f"m{k}"] = tmp_path / f"split{k}.parquet"
        write_table(table, paths[f"m{k}"], {})
    whole = Sources(points.row, points.samples)
    known = {m: replace(whole, split=read_table(path)) for m, path in paths.items()}
    specs = {m: spec(k, overlap={"side": "x"}) for k, m in enumerate(paths)}
    both = replace(whole, parted=known)
    assert both.of("m1") is known["m1"] and both.of("other") is both
    together = train(tmp_path / "both", both, specs)
    for model in paths:
        header = read_trained(together[model]).header
        assert header["scores"]["train"]["n"] == len(ids) // 2
        assert header["data"]["train"]["split"] == known[model].told["split"]
        assert header["company"] == 2
        alone = train(tmp_path / model, known[model], {model: specs[model]})
        losses = (
            read_trained(out).header["history"]["loss"] for out in (alone[model], together[model])
        )
        first, second = (loss[:9] for loss in losses)  # before rounding grows
        np.testing.assert_allclose(first, second, rtol=1e-5)


@pytest.mark.parametrize("change", ["bit", "header", "cut", "emptied"])
def test_what_was_changed_by_hand_is_trained_again(points, tmp_path, caplog, change):
    path = train(tmp_path, points, {"m": spec()})["m"]
    whole = path.read_bytes()
    changed = {
        "bit": whole[:-1] + bytes([whole[-1] ^ 1]),
        "header": whole.replace(b'device\\":\\"cpu', b'device\\":\\"gpu'),
        "cut": whole[:-8],
        "emptied": b"",
    }[change]
    assert changed != whole
    with path.open("r+b") as file:  # in place, so that the store's file is another one, too
        file.write(changed)
        file.truncate()
    with pytest.raises(ModelError, match="delete it and run snakemake again"):
        read_trained(path)
    path.unlink()
    train(tmp_path, points, {"m": spec()})
    assert "it is trained again" in caplog.text
    assert path.read_bytes() == whole


def test_weights_are_verified(points, tmp_path):
    make_samples(ROW, 0, tmp_path / "samples" / "points.parquet")
    path = train(tmp_path / "train", points, {"m": spec(training={"steps": 0})})["m"]
    assert verify_results(tmp_path)[:2] == ({"samples": 1, "train": 1}, [])
    make_samples({**ROW, "cap": "50"}, 0, tmp_path / "samples" / "points.parquet")
    (problem,) = verify_results(tmp_path).problems
    assert problem == ("train/m.safetensors", "is of other samples than 'points' has now")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (problem,) = verify_results(tmp_path).problems
    assert "it is damaged, or was edited; delete it and run snakemake again" in problem.text


def test_a_loss_that_is_not_finite_is_an_error_and_costs_no_other_model(points, tmp_path):
    weights = tmp_path / "huge.safetensors"
    huge = build("small:mlp", OPTIONS, TASK, 0).state_dict()
    write_trained(weights, {name: x * 1e30 for name, x in huge.items()}, {"spec": {}, "task": {}})
    specs = {"good": spec(0), "bad": spec(1, weights=str(weights)), "fair": spec(2)}
    with pytest.raises(ModelError, match=r"^model 'bad': its loss is not finite by step 1; lower"):
        train(tmp_path, points, specs)
    assert not (tmp_path / "bad.safetensors").exists()
    alone = train(tmp_path / "alone", points, {"good": spec(0), "fair": spec(2)})
    for model in ("good", "fair"):
        one, other = (
            read_trained(p / f"{model}.safetensors") for p in (tmp_path, tmp_path / "alone")
        )
        for name, x in one.state.items():
            torch.testing.assert_close(x, other.state[name], rtol=1e-4, atol=1e-5)
    assert set(alone) == {"good", "fair"}


@pytest.mark.parametrize("training", [{}, {"batch_size": "all"}])
def test_a_loss_that_is_not_finite_after_the_last_step(points, tmp_path, training):
    training = {"lr": 1e30, "optimizer": "sgd", "steps": 1, "batch_size": 64, **training}
    given = {"bad": spec(0, training=training), "worse": spec(1, training=training)}
    with pytest.raises(ModelError, match="'worse': its loss is not finite after the last step"):
        train(tmp_path, points, given)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"lr": 1e-9, "steps": 3}, "did not fit: its loss"),
        ({"lr": 0.01, "steps": 60, "min_accuracy": 0.999}, "is below training.min_accuracy, 0.999"),
    ],
)
def test_a_network_that_did_not_fit_says_so(points, tmp_path, caplog, training, message):
    path = train(tmp_path, points, {"m": spec(training=training)})["m"]
    assert message in read_header(path)["status"]
    assert message in caplog.text


def test_no_steps_leave_a_network_as_it_is(points, tmp_path):
    path = train(tmp_path, points, {"m": spec(7, training={"steps": 0})})["m"]
    trained = read_trained(path)
    assert trained.header["status"] == "untrained"
    for name, x in build("small:mlp", OPTIONS, TASK, 7).state_dict().items():
        assert torch.equal(trained.state[name], x)


def test_so_few_epochs_that_they_have_no_step(points, tmp_path):
    with pytest.raises(ConfigError, match=r"0\.4 epochs of 1 steps are none; raise"):
        train(tmp_path, points, {"m": spec(training={"epochs": 0.4, "batch_size": "all"})})


def test_a_single_sample_that_batch_normalisation_cannot_learn(points, tmp_path):
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    settings = Settings(steps=1, batch_size=1)
    training = Single(network, data_of(points), settings, spec()["seeds"], nullcontext)
    with pytest.raises(ConfigError, match="a batch of 1 of 400 samples cannot be learnt"):
        training.step(0)


@pytest.mark.parametrize("classes", [3, 6])
def test_a_test_of_other_classes_is_refused(points, tmp_path, classes):
    row = {
        **ROW,
        "dataset": "others",
        "name": ROW["name"].replace("classes=4", f"classes={classes}"),
    }
    make_samples(row, 0, tmp_path / "others.parquet")
    others = Sources.read(row, tmp_path / "others.parquet")
    with pytest.raises(DataError, match="the test 'others' has other classes than 'points'"):
        train_models([{"m": spec()}], outs(tmp_path, ["m"]), points, others)


def test_a_batch_larger_than_the_data(points, tmp_path):
    train(tmp_path, points, {"m": spec(training={"steps": 0, "batch_size": 401})})
    with pytest.raises(ConfigError, match="a batch of 401 samples is larger than the 400 to train"):
        train(tmp_path, points, {"m": spec(training={"steps": 1, "batch_size": 401})})


def test_a_sample_without_a_class():
    sample = Sample(id="s7", origin="here", vector=np.zeros(2, np.float32))
    with pytest.raises(DataError, match="dataset 'points': sample 's7' has no class to learn"):
        open_data(Stimuli([sample], 4), spec())


def test_a_sample_of_another_kind():
    sample = Sample(id="s7", origin="here", label=0, text="a word")
    with pytest.raises(DataError, match="here: sample 's7' holds no vector"):
        open_data(Stimuli([sample], 4), spec())


@pytest.mark.parametrize("n", [10, 12])
def test_every_epoch_has_every_sample_once(n):
    order = Order(n, 4, seed=1)
    epochs = [
        torch.cat([order.rows(e * order.per_epoch + k) for k in range(order.per_epoch)]).tolist()
        for e in range(3)
    ]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    again = Order(n, 4, seed=1)
    assert again.rows(2 * order.per_epoch).tolist() == epochs[2][:4]  # without the steps before
    assert Order(n, None, 1).rows(5).tolist() == list(range(n))


def test_learning_rates():
    settings = Settings.of(
        {"lr": 1.0, "steps": 10, "warmup": 0.2, "schedule": "cosine", "final": 0.1}
    )
    found = [settings.rate(step, 10) for step in range(10)]
    assert found[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    expected = [0.1 + 0.9 * (1 + np.cos(np.pi * k / 8)) / 2 for k in range(8)]
    assert found[2:] == pytest.approx(expected)
    linear = replace(settings, schedule="linear", warmup=0.0)
    assert [linear.rate(s, 10) for s in (0, 5)] == pytest.approx([1.0, 0.1 + 0.9 * 0.5])
    assert replace(settings, schedule="constant", warmup=0.0).rate(9, 10) == 1.0


def test_features_of_a_trained_model_are_what_enters_its_head(points, tmp_path):
    path = train(tmp_path, points, {"m": spec()})["m"]
    row = {"model": "m", "source": "trained", "name": "small:mlp", "modality": "vector",
           "weights": str(path), "layers": "all"}  # fmt: skip
    extractor = load_model(row)
    assert extractor.layers == ("embedding.a1", "embedding.a2", "embedding.a3", "features")
    samples = [s for s in open_dataset(ROW) if s.split == "test"][:5]
    found = extractor.extract([extractor.preprocess(s) for s in samples])
    network = read_trained(path).network()
    inputs = torch.from_numpy(np.stack([s.vector for s in samples]))
    with torch.no_grad():
        features, vectors = network.embedding(inputs), network.head.unembedding()
    torch.testing.assert_close(found["features"], features)
    torch.testing.assert_close(found["logits"], features @ vectors.T)
    np.testing.assert_array_equal(extractor.unembedding, vectors)
    assert extractor.provenance["status"] == "trained"


def test_weights_of_another_network_are_refused(points, tmp_path):
    path = train(tmp_path, points, {"m": spec()})["m"]
    header = read_header(path)
    header["spec"]["options"] = {**OPTIONS, "width": 9}
    write_trained(path, read_trained(path).state, header)
    with pytest.raises(ModelError, match="do not fit the network"):
        read_trained(path).network()
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelError, match="is no readable file of trained weights"):
        read_trained(path)
    with pytest.raises(ModelError, match="no such file; run snakemake"):
        read_header(tmp_path / "none.safetensors")


def test_weights_that_hold_code_are_never_run(points, tmp_path):
    path = tmp_path / "pickle.pt"
    torch.save({"embedding.l1.weight": range}, path)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        train(tmp_path, points, {"m": spec(weights=str(path), training={"steps": 0})})


def test_weights_that_do_not_fit(points, tmp_path):
    path = tmp_path / "other.pt"
    torch.save({"f_net.l1.weight": torch.zeros(8, 2)}, path)
    with pytest.raises(ModelError, match=r"it lacks embedding.l1.bias, .* say in `keys`"):
        train(tmp_path, points, {"m": spec(weights=str(path), keys="f_net.=embedding.")})


def test_progress_is_told(points, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("consilience.train.course.REPORT", 0.0)
    caplog.set_level("INFO")
    train(tmp_path, points, {"m": spec()})
    assert "step 30 of 60, 1 min left" in caplog.text


def test_the_loss_of_the_best_constant_answer():
    data = Labelled(torch.zeros(6, 2), torch.tensor([0, 0, 0, 1, 1, 2]), 3, "vector")
    p = np.array([3, 2, 1]) / 6
    assert data.chance == pytest.approx(-(p * np.log(p)).sum())


def test_what_is_next_to_nothing_is_nothing_while_training(points, tmp_path, monkeypatch):
    # Gradients below 1e-38, which sure networks have, take a step up to three times as long.
    def tiny():
        return float(torch.tensor([1e-30]) * torch.tensor([1e-10]))

    seen = []
    step = Stacked.step
    monkeypatch.setattr(Stacked, "step", lambda *given: seen.append(tiny()) or step(*given))
    train(tmp_path, points, {f"m{s}": spec(s) for s in range(2)})
    assert set(seen) == {0.0}
    assert tiny() == pytest.approx(1e-40, rel=1e-4)
