"""Metrics of rotations on a device: bounds against float64 singular values, values against the CPU.

The device is PyTorch's own CPU, which takes the way that a GPU takes, with as little memory as a
test gives it.
"""

import numpy as np
import pytest
import torch

from consilience.metrics import get_metric
from consilience.similarity import Engine, Task, pairwise
from consilience.similarity import task as tasks
from consilience.similarity.engine import device as devices
from consilience.similarity.engine import device_pairs, polar

SPECTRA = {
    "flat": np.ones(48),
    "decaying": np.arange(1, 49) ** -2.0,
    "eight decades": 10 ** (-8 * np.arange(48) / 48),
    "fifteen decades": 10 ** (-15 * np.arange(48) / 48),
    "deficient": np.r_[np.linspace(1, 0.1, 20), np.zeros(28)],
    "weak rest": np.r_[np.ones(5), np.full(43, 1e-6)],
    "zero": np.zeros(48),
}
VALUES = [
    ("procrustes", {}),
    ("procrustes", {"form": "squared", "scale": False}),
    ("shape", {}),
    ("shape", {"alpha": 0.0}),
    ("nbs", {}),
    ("bures", {}),
    ("cca", {}),
    ("svcca", {}),
    ("aligned_cosine", {}),
    ("aligned_cosine", {"zero_rows": "skip"}),
    ("pwcca", {}),
]


def matrix(sizes, other=70, scale=7e3, seed=0):
    rng = np.random.default_rng(seed)
    u = np.linalg.qr(rng.standard_normal((len(sizes), len(sizes))))[0]
    v = np.linalg.qr(rng.standard_normal((other, len(sizes))))[0]
    return torch.from_numpy(scale * (u * sizes) @ v.T)[None]


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("least", [polar.ROUGH, polar.FINE])
def test_a_nuclear_norm_is_as_near_as_its_bound_says(spectrum, dtype, least):
    cross = matrix(SPECTRA[spectrum])
    found = polar.nuclear_norms(cross, [(dtype, least)])
    true = 7e3 * SPECTRA[spectrum].sum()
    assert abs(float(found.value) - true) <= float(found.loss) + 1e-12 * true
    best = polar.nuclear_norms(cross)
    assert float(best.loss) <= 2 * polar.ENOUGH * true
    assert abs(float(best.value) - true) <= polar.ENOUGH * true
    turned = polar.nuclear_norms(cross.mT)
    assert float(turned.value) == float(best.value)


def test_a_factor_that_is_wrong_is_not_believed():
    """The bounds must hold whatever the iteration gives: noise, too large, or not finite."""
    cross = matrix(SPECTRA["decaying"])
    true = float(torch.linalg.svdvals(cross[0]).sum())
    right = polar._iterated(cross, torch.float64, polar.ROUGH)
    noise = torch.randn(cross.shape, dtype=torch.float64, generator=torch.manual_seed(0))
    for wrong in (right + 0.01 * noise, 3 * right, -right, right * torch.nan, 0.7 * right):
        found = polar._norms(cross, wrong)
        assert abs(float(found.value) - true) <= float(found.loss) * (1 + 1e-9)
        assert float(found.loss) > 1e-4 * true


@pytest.mark.parametrize("spectrum", ["flat", "decaying", "eight decades", "weak rest"])
def test_a_polar_factor_is_as_near_as_its_bound_says(spectrum):
    cross = matrix(SPECTRA[spectrum])
    u, _, vt = np.linalg.svd(cross[0].numpy(), full_matrices=False)
    found = polar.rotations(cross)
    off = np.linalg.norm(found.factor[0].numpy() - u @ vt)
    assert off <= float(found.loss) + 1e-6 * (spectrum == "eight decades")  # what LAPACK is off
    assert float(found.loss) < 1e-3


@pytest.mark.parametrize("spectrum", ["deficient", "zero", "fifteen decades"])
def test_a_singular_matrix_has_no_polar_factor(spectrum):
    assert not float(polar.rotations(matrix(SPECTRA[spectrum])).loss) < 1e-3


def test_a_card_of_slow_doubles_iterates_in_float32_first(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 9))
    assert polar.ways(torch.device("cuda"))[0] == (torch.float32, polar.ROUGH)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert polar.ways(torch.device("cuda"))[0] == (torch.float64, polar.ROUGH)


def models(n=400, widths=(70, 90, 70, 66)):
    rng = np.random.default_rng(1)
    common = rng.standard_normal((n, 20)) / np.arange(1, 21)
    found = {}
    for number, d in enumerate(widths):
        x = common @ rng.standard_normal((20, d)) + 0.1 * rng.standard_normal((n, d))
        found[f"m{number}"] = x.astype(np.float32)
    found["near m0"] = found["m0"] + np.float32(1e-4) * found["m2"]
    return found


@pytest.fixture
def all_on_device(monkeypatch):
    monkeypatch.setattr(tasks, "TILED_SAMPLES", 1)


@pytest.mark.usefixtures("all_on_device")
@pytest.mark.parametrize(("name", "parameters"), VALUES)
@pytest.mark.parametrize("memory", [10**9, 10**5])
def test_values_are_those_of_the_cpu(monkeypatch, name, parameters, memory):
    monkeypatch.setattr(devices, "CPU_MEMORY", memory)
    made = []  # with 10**5 bytes, half of which hold no side, pairs go one by one

    class Watched(device_pairs.DevicePairs):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(device_pairs, "DevicePairs", Watched)
    metric, x = get_metric(name, **parameters), models()
    here = pairwise(metric, x)
    there = pairwise(metric, x, engine=Engine(device="cpu:0"))
    # a squared distance that is not scaled is as large as the features
    size = max(1.0, float(here["value"].abs().max()))
    np.testing.assert_allclose(there["value"], here["value"], rtol=0, atol=1e-6 * size)
    batches = [size for device in made for size in device.batches]
    assert (max(batches) == 1) == (memory == 10**5)


@pytest.mark.usefixtures("all_on_device")
@pytest.mark.parametrize("name", ["procrustes", "aligned_cosine", "cca"])
def test_the_device_spares_the_cpu_its_singular_values(monkeypatch, name):
    """Else the values would be right and nothing won."""

    def refuse(*_args, **_options):
        raise AssertionError("computed on the CPU")

    metric, x = get_metric(name), {k: v for k, v in models().items() if k != "near m0"}
    task = Task(metric)
    there = device_pairs.DevicePairs(task, "cpu:0")
    forms = [tasks.Form(metric.prepare(side.astype(float)), None, len(side)) for side in x.values()]
    pairs = [(a, b) for a in forms for b in forms]
    known = there.ahead(pairs)
    monkeypatch.setattr(np.linalg, "svd", refuse)
    monkeypatch.setattr(np.linalg, "eigvalsh", refuse)
    for (a, b), given in zip(pairs, known, strict=True):
        assert there.compare(a, b, given).failure is None


@pytest.mark.usefixtures("all_on_device")
def test_what_the_device_cannot_prove_is_computed_on_the_cpu(monkeypatch):
    nothing = torch.tensor([np.inf], dtype=torch.float64)
    metric, x = get_metric("procrustes"), models()
    here = pairwise(metric, x)
    monkeypatch.setattr(
        device_pairs,
        "nuclear_norms",
        lambda cross: polar.Norms(nothing.expand(len(cross)) * 0 + 5, nothing.expand(len(cross))),
    )
    there = pairwise(metric, x, engine=Engine(device="cpu:0"))
    other = here["model_x"] != here["model_y"]
    np.testing.assert_array_equal(there["value"][other], here["value"][other])
    np.testing.assert_allclose(there["value"], here["value"], atol=1e-7)


@pytest.mark.usefixtures("all_on_device")
def test_failures_are_those_of_the_cpu():
    x = models() | {"constant": np.ones((400, 70), np.float32)}
    x["m1"][3] = 0
    for name in ("procrustes", "aligned_cosine"):
        here = pairwise(get_metric(name), x)
        there = pairwise(get_metric(name), x, engine=Engine(device="cpu:0"))
        assert here["failure"].notna().any()
        assert there["failure"].tolist() == here["failure"].tolist()


@pytest.mark.usefixtures("all_on_device")
def test_nulls_of_permutations_stay_on_the_cpu():
    task = Task(get_metric("procrustes"), null="monte_carlo")
    assert task.device_kind("cuda", 5000) == "cpu"
    assert Task(get_metric("procrustes")).device_kind("cuda", 5000) == "cuda"
    assert Task(get_metric("cca", form="mean_squared")).device_kind("cuda", 5000) == "cpu"
