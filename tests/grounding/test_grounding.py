"""Grounding from files to tables: planted metrics, gates, failures, ranks and differences."""

import itertools

import numpy as np
import pandas as pd
import pytest
from other_bytes import in_other_bytes
from scipy.stats import rankdata, spearmanr

from consilience.features import write_features, write_manifest
from consilience.files import read_table, write_table
from consilience.grounding import COLUMNS, make_answers, make_grounding, make_ranks
from consilience.grounding.answers import accuracy_of, half_of
from consilience.grounding.cases import Case
from consilience.grounding.closeness import Closeness
from consilience.grounding.gate import Thresholds, check_gate
from consilience.grounding.ranks import (
    average_ranks,
    case_weights,
    critical_difference,
    rank_cases,
    summarize,
)
from consilience.samples import COLUMNS as SAMPLE_COLUMNS
from consilience.samples import hash_samples, read_samples

N, K, SEEDS = 200, 4, 5
LAYERS = [f"l{i}" for i in range(5)]
VARIANTS = ("standard", "labels_50", "labels_100")
MODELS = {v: [f"r.{v}.{i}" for i in range(SEEDS)] for v in VARIANTS}
ALL = [model for models in MODELS.values() for model in models]
BASE = {"recipe": "r", "dataset": "d", "domain": "image"}
STANDARD = {"standard": MODELS["standard"]}
CASES = [
    {**BASE, "test": "accuracy", "groups": STANDARD},
    {**BASE, "test": "output", "groups": STANDARD, "measures": ["jsd", "disagreement"]},
    {**BASE, "test": "labels", "groups": MODELS},
    {**BASE, "test": "layers", "groups": STANDARD},
]
GAPS = {"min_labels": 0.03, "min_shortcuts": 0.05, "min_augmentation": 0.03}


def write_samples(path):
    table = pd.DataFrame({"row": range(N), "id": [f"p{i}" for i in range(N)]})
    table["split"] = np.where(np.arange(N) < N // 4, "train", "test")
    table["label"] = pd.array(np.arange(N) % K, dtype="Int32")
    table = table.assign(text="", parent_row=pd.NA, labels="").astype(SAMPLE_COLUMNS)
    row = {"dataset": path.stem}
    write_table(table, path, {"hash": hash_samples(table), "classes": list("abcd"), "row": row})
    return read_samples(path)


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """Logits of 15 models, the worse the more of their labels were altered, and their answers."""
    folder = tmp_path_factory.mktemp("grounding")
    samples = write_samples(folder / "d.parquet")
    generator = np.random.default_rng(0)
    truth, paths, logits = np.eye(K)[np.arange(N) % K], [], {}
    for variant, model in ((v, m) for v, models in MODELS.items() for m in models):
        signal = {"standard": 2.0, "labels_50": 1.0, "labels_100": 0.0}[variant]
        noise = generator.normal(size=(N, K)) * generator.uniform(0.8, 1.2)
        logits[model] = (signal * truth + noise).astype(np.float32)
        path = folder / f"{model}.safetensors"
        header = {"model": {"model": model}, "dataset": "d", "samples_hash": samples.hash}
        write_features(path, {"last": logits[model]}, header, list(samples.table["id"]),
                       outputs={"logits": logits[model]})  # fmt: skip
        paths.append(path)
    write_manifest(paths, folder / "manifest.parquet")
    make_answers(
        folder / "manifest.parquet", folder / "d.parquet", folder / "acc.parquet",
        folder / "ans.parquet", dataset="d", models=ALL, sets=[MODELS["standard"]],
        held_out=False,
    )  # fmt: skip
    return folder, logits


def test_answers_count_on_the_test_split(answered):
    folder, logits = answered
    accuracy = read_table(folder / "acc.parquet").set_index("model")
    test = np.arange(N // 4, N)
    for model in ALL:
        right = logits[model][test].argmax(axis=1) == test % K
        assert accuracy.loc[model, "accuracy"] == pytest.approx(right.mean(), abs=1e-12)
        halves = accuracy.loc[model, ["accuracy_a", "accuracy_b"]].mean()
        assert halves == pytest.approx(right.mean(), abs=1e-12)
    pairs = read_table(folder / "ans.parquet")
    assert len(pairs) == 3 * 10 and set(pairs["model_x"]) < set(MODELS["standard"])
    row = pairs[pairs["measure"] == "disagreement"].iloc[0]
    x, y = (logits[row[side]][test].argmax(axis=1) for side in ("model_x", "model_y"))
    assert row["value"] == pytest.approx((x != y).mean(), abs=1e-12)


def test_all_samples_count_where_no_model_learnt_from_any(answered, tmp_path):
    folder, logits = answered
    make_answers(
        folder / "manifest.parquet", folder / "d.parquet", tmp_path / "a.parquet",
        tmp_path / "b.parquet", dataset="d", models=ALL[:3], sets=[], held_out=True,
    )  # fmt: skip
    row = read_table(tmp_path / "a.parquet").set_index("model").loc[ALL[1]]
    right = logits[ALL[1]].argmax(axis=1) == np.arange(N) % K
    assert row["n"] == N and row["accuracy"] == pytest.approx(right.mean(), abs=1e-12)
    assert read_table(tmp_path / "b.parquet").empty


def test_halves_are_drawn_by_ids():
    ids = np.array([f"p{i}" for i in range(101)])
    first = half_of(ids, 0)
    assert first.sum() == 51
    order = np.random.default_rng(0).permutation(101)
    assert (half_of(ids[order], 0) == first[order]).all()


def test_no_accuracy_where_labels_are_not_the_classes():
    assert np.isnan(
        accuracy_of(np.ones((3, 2)), np.array([0, 1, 2.0]), np.ones(3, bool))["accuracy"]
    )
    assert np.isnan(
        accuracy_of(np.ones((2, 2)), np.array([0, np.nan]), np.ones(2, bool))["accuracy"]
    )


def similarity(closeness, layers, larger=True, both=False):
    """A similarity table of (models, layers) from a function of two items."""
    rows = []
    items = [(m, layer) for m in ALL for layer in layers]
    pairs = itertools.product(items, repeat=2) if both else itertools.combinations_with_replacement(
        items, 2)  # fmt: skip
    for (x, a), (y, b) in pairs:
        rows.append({"dataset": "d", "metric": "m", "model_x": x, "layer_x": a, "model_y": y,
                     "layer_y": b, "value": closeness(x, a, y, b), "failure": None})  # fmt: skip
    table = pd.DataFrame(rows)
    facts = {"larger_is_more_similar": larger}
    table.attrs = {"facts": facts, "layers": {m: list(layers) for m in ALL}}
    return table


def variant(model):
    return model.split(".")[1]


@pytest.fixture(scope="module")
def truth(answered):
    """The closeness of a metric that knows all: groups, layers, and how answers differ."""
    folder, _ = answered
    accuracy = read_table(folder / "acc.parquet").set_index("model")["accuracy"]

    def of(x, a, y, b):
        if x == y:
            return -abs(int(a[1]) - int(b[1])) / 10
        return (variant(x) == variant(y)) - abs(accuracy[x] - accuracy[y])

    return of


def noise(seed):
    def of(x, a, y, b):
        return float(np.random.default_rng([seed, *map(hash_of, sorted((x + a, y + b)))]).normal())

    return of


def hash_of(text):
    return int.from_bytes(text.encode()[-8:], "big")


def ground(answered, tmp_path, table, metric="m", cases=CASES, **settings):
    folder, _ = answered
    path = tmp_path / metric / "d" / f"{metric}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path, table.attrs)
    outs = [tmp_path / f"{name}-{metric}.parquet" for name in ("table", "models", "samples")]
    make_grounding(
        [path], [folder / "acc.parquet"], [folder / "ans.parquet"], *outs, metric_id=metric,
        cases=cases, thresholds=GAPS, **{"bootstrap": 100, "permutations": 99, **settings},
    )  # fmt: skip
    return [read_table(out) for out in outs]


def value_of(table, test, score, **more):
    rows = table[(table["test"] == test) & (table["score"] == score)]
    for column, wanted in {"group_x": "", "same_seed": "keep", **more}.items():
        rows = rows[rows[column] == wanted]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_a_metric_that_is_the_truth(answered, tmp_path, truth):
    table, models, samples = ground(answered, tmp_path, similarity(truth, LAYERS))
    assert list(table.columns) == list(COLUMNS)
    assert (table["status"] == "ok").all()
    assert value_of(table, "accuracy", "spearman")["value"] == pytest.approx(1)
    assert value_of(table, "labels", "auprc")["value"] == 1
    assert value_of(table, "labels", "conformity")["lift"] == 1
    assert value_of(table, "layers", "spearman")["value"] == pytest.approx(1)
    assert value_of(table, "layers", "conformity")["value"] == 1
    assert len(models) == 2 * SEEDS and (models["value"].round(12) == 1).all()
    pairs = table[(table["test"] == "labels") & (table["group_x"] != "")]
    assert set(zip(pairs["group_x"], pairs["group_y"], strict=True)) == set(
        itertools.combinations(VARIANTS, 2)
    )
    p = value_of(table, "labels", "auprc")["p"]
    assert p == pytest.approx(1 / 100)
    assert value_of(table, "labels", "auprc", group_x="standard", group_y="labels_50")[
        "p"
    ] == pytest.approx(1 / 100)
    assert len(samples) == 5


def test_the_direction_of_a_metric_counts(answered, tmp_path, truth):
    def distance(*pair):
        return -truth(*pair)

    table, *_ = ground(answered, tmp_path, similarity(distance, LAYERS, larger=False))
    assert value_of(table, "labels", "auprc")["value"] == 1
    assert value_of(table, "layers", "spearman")["value"] == pytest.approx(1)
    wrong, *_ = ground(answered, tmp_path, similarity(distance, LAYERS))
    row = value_of(wrong, "labels", "auprc")
    assert row["value"] < row["chance"] and row["lift"] < 0
    assert value_of(wrong, "layers", "spearman")["value"] == pytest.approx(-1)
    assert value_of(wrong, "accuracy", "spearman")["value"] == pytest.approx(-1)


def test_correlations_are_scipys(answered, tmp_path):
    table = similarity(noise(1), ["l0"])
    found, *_ = ground(answered, tmp_path, table, cases=CASES[:2])
    pairs = read_table(answered[0] / "ans.parquet")
    values = table.set_index(["model_x", "model_y"])["value"]
    for test, measure in (("accuracy", "accuracy_difference"), ("output", "jsd")):
        rows = pairs[pairs["measure"] == measure]
        ours = [values[x, y] for x, y in zip(rows["model_x"], rows["model_y"], strict=True)]
        known = spearmanr(-np.array(ours), rows["value"]).statistic
        assert value_of(found, test, "spearman", measure=measure)["value"] == pytest.approx(known)
    row = value_of(found, "accuracy", "spearman")
    assert -1 <= row["reliability"] <= 1 and np.isnan(
        value_of(found, "output", "spearman", measure="jsd")["reliability"]
    )


def test_noise_is_about_chance(answered, tmp_path):
    """The mean over 20 metrics of noise, within 3 standard errors."""
    found = {"auprc": [], "conformity": []}
    for seed in range(20):
        table, *_ = ground(answered, tmp_path, similarity(noise(seed), ["l0"]), cases=CASES[2:3])
        for score, values in found.items():
            row = value_of(table, "labels", score)
            values.append(row["value"] - row["chance"])
    for values in found.values():
        assert np.mean(values) == pytest.approx(0, abs=3 * np.std(values) / np.sqrt(20))


def test_asymmetric_metrics_count_by_the_mean_of_both_orders(truth):
    def one_way(x, a, y, b):
        return truth(x, a, y, b) + (5.0 if (x, a) < (y, b) else -5.0)

    close = Closeness(similarity(one_way, LAYERS, both=True), "d")
    same = Closeness(similarity(truth, LAYERS), "d")
    off = ~np.eye(len(ALL), dtype=bool)
    assert close.models(ALL)[off] == pytest.approx(same.models(ALL)[off])
    off = ~np.eye(len(LAYERS), dtype=bool)
    assert close.layers(ALL[0])[off] == pytest.approx(same.layers(ALL[0])[off])


def test_failed_pairs(answered, tmp_path, truth):
    """One of 10 pairs inside a group is left out, two are too many; so for correlations."""

    def failing(*lost):
        return lambda x, a, y, b: np.nan if {x, y} in lost and x != y else truth(x, a, y, b)

    one, two = [{ALL[0], ALL[1]}], [{ALL[0], ALL[1]}, {ALL[0], ALL[2]}]
    table, *_ = ground(answered, tmp_path, similarity(failing(*one), LAYERS))
    row = value_of(table, "labels", "auprc")
    assert (row["status"], row["value"], row["n_failed"]) == ("ok", 1, 1)
    table, _, samples = ground(answered, tmp_path, similarity(failing(*two), LAYERS))
    row = value_of(table, "labels", "auprc")
    assert row["status"] == "failed" and np.isnan(row["value"]) and "20%" in row["note"]
    assert np.isnan(row["low"]) and row["n_failed"] == 2
    assert value_of(table, "accuracy", "spearman")["status"] == "failed"
    assert value_of(table, "layers", "spearman")["status"] == "ok"
    others = value_of(table, "labels", "auprc", group_x="labels_50", group_y="labels_100")
    assert others["status"] == "ok"
    assert set(samples.loc[samples["status"] == "failed", "test"]) == {
        "accuracy",
        "labels",
        "output",
    }


def test_a_constant_metric_has_no_value(answered, tmp_path):
    table, *_ = ground(answered, tmp_path, similarity(lambda *_: 0.5, LAYERS))
    assert set(table["status"]) == {"constant"} and table["value"].isna().all()


def test_a_single_layer_is_too_few(answered, tmp_path, truth):
    table, *_ = ground(answered, tmp_path, similarity(truth, ["l0"]), cases=CASES[3:])
    assert set(table["status"]) == {"too_small"}
    assert table["note"].str.contains("similarity.layers").all()


def test_groups_that_behave_alike_ground_nothing(answered, tmp_path, truth):
    """Two groups of one kind of model: the value is kept, and does not count."""
    halves = {"a": MODELS["standard"][:2], "b": MODELS["standard"][2:]}
    cases = [{**BASE, "test": "labels", "groups": halves}]
    table, _, samples = ground(answered, tmp_path, similarity(truth, LAYERS), cases=cases)
    assert set(table["status"]) == {"not_grounded"} and table["value"].notna().all()
    assert table["note"].str.startswith("accuracy: ").all()
    assert set(samples["status"]) == {"not_grounded"}


def means(case, **by_group):
    """Accuracies that are the same for all models of a group: {dataset: one per group}."""
    groups = list(case.groups.values())
    return {(d, m): a for d, row in by_group.items()
            for a, ms in zip(row, groups, strict=True) for m in ms}  # fmt: skip


@pytest.mark.parametrize(
    ("test", "accuracy", "passed"),
    [
        ("labels", {"d": (0.9, 0.8, 0.77)}, True),
        ("labels", {"d": (0.9, 0.8, 0.78)}, False),
        ("labels", {"d": (0.9, 0.91, 0.5)}, False),
        ("shortcuts", {"a": (0.8, 0.82, 0.9), "b": (0.8, 0.8, 0.84)}, True),
        ("shortcuts", {"a": (0.8, 0.9, 0.88), "b": (0.8, 0.8, 0.8)}, False),
        ("shortcuts", {"a": (0.8, 0.82, 0.84), "b": (0.8, 0.8, 0.8)}, False),
        ("augmentation", {"z": (0.5, 0.4, 0.54)}, True),
        ("augmentation", {"z": (0.5, 0.6, 0.52)}, False),
        ("augmentation", {}, False),
        ("accuracy", {}, True),
    ],
)
def test_the_gate(test, accuracy, passed):
    gate = {"informative": "a", "uninformative": "b", "altered": "z"}
    case = Case("r", test, "d", "image", MODELS, gate=gate)
    found = check_gate(case, means(case, **accuracy), Thresholds())
    assert found.passed == passed
    if test == "augmentation" and not accuracy:
        assert "not known" in found.note


def test_models_that_share_a_start_have_both_rows(answered, tmp_path, truth):
    starts = {m: m.rpartition(".")[2] for m in ALL}
    cases = [{**CASES[2], "starts": starts}]
    table, _, samples = ground(answered, tmp_path, similarity(truth, LAYERS), cases=cases)
    keep, drop = (value_of(table, "labels", "auprc", same_seed=s) for s in ("keep", "drop"))
    assert (keep["n_pairs"], drop["n_pairs"]) == (105, 90)
    assert round(keep["chance"], 3) == 0.219 and round(drop["chance"], 3) == 0.257
    assert len(samples) == 1  # ranks are without these pairs


# Ranks


@pytest.fixture(scope="module")
def ranked(answered, tmp_path_factory, truth):
    folder = tmp_path_factory.mktemp("ranks")
    paths = []
    for metric, of in {"truth": truth, "noise": noise(3), "flat": lambda *_: 1.0}.items():
        ground(answered, folder, similarity(of, LAYERS), metric=metric)
        paths.append(folder / f"samples-{metric}.parquet")
    outs = [folder / f"{name}.parquet" for name in ("cases", "domains", "differences")]
    make_ranks(paths, *outs)
    return [read_table(out) for out in outs]


def test_bytes_that_say_nothing_change_no_ranks(answered, tmp_path, truth):
    paths, made = [], []
    for metric, of in {"truth": truth, "noise": noise(3)}.items():
        ground(answered, tmp_path, similarity(of, LAYERS), metric=metric)
        paths.append(tmp_path / f"samples-{metric}.parquet")
    outs = [tmp_path / f"{name}.parquet" for name in ("cases", "domains", "differences")]
    for change in (lambda: None, lambda: in_other_bytes(paths[1])):
        change()
        make_ranks(paths, *outs)
        made.append([out.read_bytes() for out in outs])
    assert made[0] == made[1]


def test_ranks_of_planted_metrics(ranked):
    cases, domains, _ = ranked
    assert len(cases) == 3 * 4
    by = cases.set_index(["test", "metric"])["rank"]
    assert all(by[test, "flat"] == 3 for test in ("accuracy", "output", "labels", "layers"))
    assert by["labels", "truth"] == by["layers", "truth"] == 1
    whole = domains[domains["domain"] == "all"].set_index("metric")
    assert whole.loc["truth", "place"] == 1 and pd.isna(whole.loc["flat", "place"])
    assert whole.loc["flat", "coverage"] == 0 and whole.loc["flat", "mean_rank"] == 3
    assert whole["best_share"].sum() == pytest.approx(1)
    assert (whole["low"] <= whole["mean_rank"] + 1e-9).all()


def test_differences_are_paired(ranked):
    *_, between = ranked
    row = between[(between["test"] == "layers")].iloc[0]
    assert (row["metric_x"], row["metric_y"]) == ("noise", "truth")
    assert row["low"] < row["difference"] < row["high"] < 0
    assert between["low"].min() >= -2 and between["high"].max() <= 2
    assert "flat" not in {*between["metric_x"], *between["metric_y"]}


def test_average_ranks_are_scipys():
    values = np.round(np.random.default_rng(0).normal(size=(6, 5)), 0)
    values[0, 0] = np.nan
    filled = np.where(np.isnan(values), -99, values)
    assert average_ranks(values) == pytest.approx(rankdata(-filled, axis=0))


def test_each_test_weighs_the_same_in_a_domain():
    keys = [("image", "a", "labels"), ("image", "b", "labels"), ("image", "a", "layers"),
            ("text", "c", "labels")]  # fmt: skip
    assert case_weights(keys) == pytest.approx([1 / 8, 1 / 8, 1 / 4, 1 / 2])


@pytest.mark.parametrize(("k", "n", "known"), [(24, 6, 14.9), (24, 18, 8.6), (24, 54, 5.0)])
def test_critical_difference(k, n, known):
    assert critical_difference(k, n) == pytest.approx(known, abs=0.06)


def sample(metric, recipe, status="ok", value=0.5, test="labels", measure="", p=0.5):
    return {"metric": metric, "domain": "image", "recipe": recipe, "test": test,
            "measure": measure, "score": "auprc", "status": status, "value": value,
            "drawn": [value] * 3 if status == "ok" else [], "p": p}  # fmt: skip


def test_cases_that_do_not_count_are_left_out_for_all():
    rows = [sample("x", "a", "not_grounded"), sample("y", "a", "failed"), sample("x", "b"),
            sample("y", "b", "failed"), sample("z", "b", "too_small")]  # fmt: skip
    cases, drawn = rank_cases(pd.DataFrame(rows))
    by = cases.set_index(["recipe", "metric"])
    assert by.loc["a", "rank"].isna().all() and list(drawn) == [("image", "b", "labels")]
    assert by.loc[("b", "x"), "rank"] == 1 and by.loc[("b", "y"), "rank"] == 2
    assert ("b", "z") not in by.index
    summary = summarize(cases, drawn)
    assert set(summary["metric"]) == {"x", "y"}


def test_p_values_are_adjusted_for_the_number_of_metrics():
    """The example of Holm's procedure: .01, .04, .03 and .005 become .03, .06, .06 and .02."""
    given = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    rows = [sample(metric, "r", p=p) for metric, p in given.items()]
    cases, _ = rank_cases(pd.DataFrame([*rows, sample("e", "r", "failed", p=np.nan)]))
    found = cases.set_index("metric")["p_holm"]
    assert found[list("abcd")].tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(found["e"])


def test_a_test_of_two_measures_ranks_by_their_mean():
    rows = [sample("x", "a", value=0.9, measure="jsd"), sample("y", "a", value=0.1, measure="jsd"),
            sample("x", "a", value=0.2, measure="disagreement"),
            sample("y", "a", value=0.3, measure="disagreement")]  # fmt: skip
    cases, drawn = rank_cases(pd.DataFrame(rows))
    assert cases["rank"].tolist() == [1.5, 1.5]
    assert (next(iter(drawn.values())) == 1.5).all().all()
