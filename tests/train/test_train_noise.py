"""Networks that learn noise: which noise they see, and what is read of them at which time."""

import functools

import numpy as np
import pytest
import torch
from given import INPUT, extractor_of, pictures, spec, train

from consilience.errors import ConfigError, ModelError
from consilience.files import file_digest
from consilience.networks import Task, build
from consilience.networks.noise import STEPS, TIMES, add_noise, noise_of
from consilience.networks.weights import read_header, read_trained
from consilience.train.altered import Stimuli
from consilience.train.inputs import open_data

OPTIONS = {"width": 8, "depth": 2}
SMALL = {**INPUT, "size": 8}
GIVEN = spec("small:denoiser", OPTIONS, objective="noise", input=SMALL,
             training={"lr": 0.005, "steps": 100, "batch_size": 20})  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("noise"), pictures(), GIVEN)


def kept(time):
    """Returns the product of 1 - beta up to a time, in a loop."""
    product = 1.0
    for step in range(time + 1):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * step / (STEPS - 1))
    return product


def by_hand(sample, time):
    """Returns the picture of a sample with its noise at a time, (1, 1, 8, 8)."""
    values = np.asarray(sample.image().convert("L").resize((8, 8), 2), np.float32) / 255
    picture = torch.from_numpy((values - 0.5) / 0.25)[None, None]
    noise, _ = noise_of(sample.id, (1, 8, 8))
    return kept(time) ** 0.5 * picture + (1 - kept(time)) ** 0.5 * noise


def test_it_learns_to_the_same_bytes_and_its_score_is_that_of_a_loop(trained, tmp_path):
    assert file_digest(train(tmp_path, pictures(), GIVEN)) == file_digest(trained)
    header, network = read_header(trained), read_trained(trained).network()
    assert header["status"] == "trained"
    assert header["chance_loss"] == 1
    assert header["scores"]["train"]["accuracy"] is None
    errors = []
    for sample in pictures():
        noise, _ = noise_of(sample.id, (1, 8, 8))
        for time in TIMES:
            with torch.no_grad():
                found = network(by_hand(sample, time), torch.tensor([time]))[0]
            errors.append(float(((found - noise) ** 2).mean()))
    assert np.mean(errors) == pytest.approx(header["scores"]["train"]["loss"], rel=1e-4)
    assert np.mean(errors) < 0.6


def test_features_are_moments_of_what_enters_the_last_convolution(trained):
    extractor, network = extractor_of(trained), read_trained(trained).network()
    assert extractor.layers == tuple(f"t{time}" for time in TIMES)
    assert extractor.outputs == ()
    assert extractor.unembedding is None
    samples = list(pictures())[:3]
    found = extractor.extract([extractor.preprocess(sample) for sample in samples])
    for row, sample in enumerate(samples):
        for time in TIMES:
            with torch.no_grad():
                maps = network.embedding(by_hand(sample, time), torch.tensor([time]))[0].flatten(1)
            expected = np.concatenate([maps.mean(1).numpy(), maps.numpy().std(1)])
            assert np.allclose(found[f"t{time}"][row], expected, atol=1e-4)


def test_a_random_time_is_that_of_the_sample(trained):
    extractor = extractor_of(trained, layers="t_random,t999")
    samples = list(pictures())[:4]
    together = extractor.extract([extractor.preprocess(sample) for sample in samples])
    times = {noise_of(sample.id, (1, 8, 8))[1] for sample in samples}
    assert len(times) > 1
    for row, sample in enumerate(samples):
        time = noise_of(sample.id, (1, 8, 8))[1]
        alone = extractor_of(trained, layers=f"t{time}").extract([extractor.preprocess(sample)])
        assert torch.allclose(together["t_random"][row], alone[f"t{time}"][0], atol=1e-5)


@pytest.mark.parametrize("layers", ["t1000", "features", "t-1"])
def test_what_is_no_time_is_no_layer(trained, layers):
    with pytest.raises(ModelError, match="t0 to t999 and t_random"):
        extractor_of(trained, layers=layers)


def test_noise_at_a_time_follows_the_schedule():
    picture, noise = torch.full((3, 1, 2, 2), 2.0), torch.ones(3, 1, 2, 2)
    times = torch.tensor([0, 100, 999])
    found = add_noise(picture, noise, times)[:, 0, 0, 0]
    expected = [2 * kept(t) ** 0.5 + (1 - kept(t)) ** 0.5 for t in (0, 100, 999)]
    assert np.allclose(found, expected, atol=1e-5)


def test_noise_and_times_are_drawn_anew_in_training():
    data = open_data(Stimuli(list(pictures()), 3), GIVEN)
    rows, seen = torch.arange(data.n), []

    def network(given, times):
        seen.append((given, times))
        return given

    for seed in (0, 1):
        torch.manual_seed(seed)
        data.loss(network, rows)
    assert not torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[0][0], seen[1][0])
    assert set(functools.reduce(lambda a, b: a + b, [t.tolist() for _, t in seen])) <= set(
        range(1000)
    )


def test_what_learns_noise_learns_nothing_else():
    with pytest.raises(ConfigError, match="it learns noise, not classes"):
        build("small:denoiser", {}, Task("image", (1, 8, 8), 3))
    with pytest.raises(ConfigError, match="it learns classes, not noise"):
        build("small:cnn", {}, Task("image", (1, 8, 8), 0, objective="noise"))
