"""Closeness of predictions against representations: published classifiers, planted ones, bounds."""

import itertools
import json
import logging

import numpy as np
import pandas as pd
import pytest
from golden import DATA
from test_bundle import lab

from consilience.bundle import merge_bundles, write_bundle
from consilience.errors import DataError
from consilience.features import write_features, write_manifest
from consilience.files import read_table, write_table
from consilience.identifiability import (
    COLUMNS,
    TREND,
    kl_table,
    make_constructed,
    make_identifiability,
    make_trend,
    perturbed,
    trend,
)
from consilience.identifiability.models import Quality, make_model
from consilience.identifiability.pairs import Distance, compare_models
from consilience.identifiability.trend import Width
from consilience.metrics import get_metric
from consilience.probe import parse_columns
from consilience.samples import COLUMNS as SAMPLE_COLUMNS
from consilience.samples import hash_samples, read_samples
from consilience.similarity import make_similarity

MLP = "small:mlp"
with np.load(DATA / "close_dist" / "models.npz") as stored:
    ARRAYS = dict(stored)


def published(classes, width, seed):
    """Features, unembedding and logits of a published classifier, as a features file has them."""
    f, g = (ARRAYS[f"{part}_{classes}_{width}_{seed}"] for part in "fg")
    return {"features": f, "unembedding": g, "logits": f @ g.T}


def write_samples(path, labels, classes, names=None):
    n = len(labels)
    table = pd.DataFrame(
        {"row": range(n), "id": names or [f"p{i}" for i in range(n)], "split": "test"}
    )
    table["label"] = pd.array(labels, dtype="Int32")
    table = table.assign(text="", parent_row=pd.NA, labels="").astype(SAMPLE_COLUMNS)
    classes = [str(k) for k in range(classes)]
    row = {"dataset": path.stem}
    write_table(table, path, {"hash": hash_samples(table), "classes": classes, "row": row})
    return read_samples(path)


def write_model(folder, name, given, samples, classes=None):
    """The features file of one model, with a layer before the one that the head reads."""
    early = np.random.default_rng(0).normal(size=(len(samples.table), 7)).astype(np.float32)
    dataset = samples.row["dataset"]
    header = {"model": {"model": name}, "dataset": dataset, "samples_hash": samples.hash}
    if classes is not None:
        header["provenance"] = {"classes": json.dumps(classes)}
    path = folder / f"{name}.safetensors"
    write_features(
        path, {"early": early, "last": given["features"]}, header, list(samples.table["id"]),
        outputs={k: given[k] for k in ("logits",) if k in given},
        unembedding=given.get("unembedding"),
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Ten published classifiers of 4 classes, one of 6, one without logits, one of other units."""
    folder = tmp_path_factory.mktemp("identifiability")
    labels = ARRAYS["labels_4"].astype(int)
    samples = write_samples(folder / "radial.parquet", labels, 4)
    models, given = {}, {}
    for width, seed in itertools.product((16, 128), range(5)):
        name = f"radial.w{width}.{seed}"
        given[name] = published(4, width, seed)
        models[name] = {"architecture": MLP, "width": str(width)}
    given["other"] = published(6, 32, 0)
    given["mute"] = {"features": given["radial.w16.1"]["features"]}
    given["third"] = published(4, 16, 2)
    models |= {name: {"architecture": MLP, "width": "32"} for name in ("other", "mute")}
    models["third"] = {"architecture": "small:cnn", "width": "16"}
    paths = [write_model(folder, name, x, samples) for name, x in given.items()]
    write_manifest(paths, folder / "manifest.parquet")
    return folder, models, given, labels


def made(files, tmp_path, **how):
    folder, models, *_ = files
    out = tmp_path / "radial.parquet"
    make_identifiability(folder / "manifest.parquet", folder / "radial.parquet", out,
                         dataset="radial", models=models, **how)  # fmt: skip
    return read_table(out)


@pytest.fixture(scope="module")
def table(files, tmp_path_factory):
    return made(files, tmp_path_factory.mktemp("legacy"), draw="legacy")


def test_pairs_have_architecture_classes_and_dimension_in_common(table):
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 45 and set(table["architecture"]) == {MLP}
    assert set(table["dataset"]) == {"radial"} and set(table["draw"]) == {"legacy"}
    assert (table["model_x"] < table["model_y"]).all()
    assert set(table["classes"]) == {4} and set(table["dimension"]) == {2}
    assert set(table["width_x"]) | set(table["width_y"]) == {16, 128}
    assert table["failure"].isna().all()


def of_pair(table, width, x, y):
    names = table.set_index(["model_x", "model_y"])
    return names.loc[(f"radial.w{width}.{x}", f"radial.w{width}.{y}")]


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ((16, 1, 2), {"d_llv": 0.509866, "t2": 0.506265, "t3": 56.672, "t4": 10.560,
                      "d_svd_f": 0.108694, "d_svd_g": 0.096563, "m_cca_f": 0.807807,
                      "kl_xy": 0.019019, "kl_yx": 0.016940, "pivot": 0, "left_out": 1}),
        ((16, 0, 3), {"d_llv": 0.553515, "d_svd_f": 0.101897, "m_cca_f": 0.607833}),
        ((128, 3, 4), {"d_llv": 0.085281, "t2": 0.028340, "t3": 1.583, "t4": 1.794,
                       "d_svd_f": 0.003617, "d_svd_g": 0.000247, "m_cca_f": 0.995427,
                       "kl_xy": 0.001441, "kl_yx": 0.001637, "pivot": 0, "left_out": 1}),
        ((128, 1, 4), {"d_llv": 0.289240, "d_svd_f": 0.023654, "m_cca_f": 0.971649}),
    ],
)  # fmt: skip
def test_published_pairs(table, pair, expected):
    row = of_pair(table, *pair)
    for column, value in expected.items():
        decimals = 3 if column in ("t3", "t4") else 6
        assert row[column] == pytest.approx(value, rel=1e-5, abs=0.51 * 10.0**-decimals), column


@pytest.mark.parametrize(
    ("width", "accuracy", "loss"),
    [(16, [0.4905, 0.9920, 0.9915, 0.9895, 0.9940], [0.6973, 0.0199, 0.0242, 0.0271, 0.0230]),
     (128, [0.9920, 0.9895, 0.9915, 0.9935, 0.9910], [0.0165, 0.0276, 0.0184, 0.0145, 0.0172])],
)  # fmt: skip
def test_accuracies_and_losses(table, width, accuracy, loss):
    for x, y in itertools.combinations(range(5), 2):
        row = of_pair(table, width, x, y)
        assert [row["accuracy_x"], row["accuracy_y"]] == [accuracy[x], accuracy[y]]
        assert [row["loss_x"], row["loss_y"]] == pytest.approx([loss[x], loss[y]], abs=5.1e-5)


def test_columns_agree_with_one_another_and_the_bound_holds(table):
    assert (table["d_fg"] == table[["d_svd_f", "d_svd_g"]].max(axis=1)).all()
    weighted = 1e-5 * table[["t3", "t4"]].max(axis=1)
    terms = pd.concat([table[["t1", "t2"]], weighted], axis=1)
    assert (table["d_llv"] == terms.max(axis=1)).all()
    assert np.allclose(table["bound"], 4 * table["d_llv"])
    assert np.allclose(table["slack"], table["bound"] - table["d_fg"])
    assert (table["bound_applies"] == (table["d_llv"] < 0.25)).all()
    assert table["bound_applies"].any() and (table.loc[table["bound_applies"], "slack"] > 0).all()
    assert all(1 - min(m) == d for m, d in zip(table["m_svd_f"], table["d_svd_f"], strict=True))
    assert (table["d_svd_f_ties"] >= table["d_svd_f"]).all() and (table["n_ties"] >= 1).all()
    assert (table["n_ties"] > 1).any()
    assert (table["m_cca_f_least"] <= table["m_cca_f"] + 1e-12).all()
    assert (table["m_cca_f_least"] > 0.5).any()


def test_registered_metrics_give_the_same_numbers(files, table, tmp_path):
    """As the step of similarity computes them from the same files."""
    folder, *_ = files
    chosen = ["radial.w16.0", "radial.w16.3", "radial.w128.1", "radial.w128.4"]
    manifest = folder / "few.parquet"
    write_manifest([folder / f"{name}.safetensors" for name in chosen], manifest)
    wanted = table.set_index(["model_x", "model_y"])
    for column, metric, parameters in (
        ("d_llv", "d_llv", {"draw": "legacy"}),
        ("d_fg", "identifiable_svd", {"draw": "legacy"}),
        ("d_svd_g", "identifiable_svd", {"draw": "legacy", "form": "unembedding"}),
        ("logit_distance", "logit_distance", {}),
        ("kl_xy", "kl", {}),
        ("m_cca_f", "cca", {}),
    ):
        spec = {
            "metric": metric, "parameters": parameters, "layers": "last", "permutations": 0,
            "preprocessing": {"row_normalize": False, "center": False},
        }  # fmt: skip
        out = tmp_path / f"{column}.parquet"
        make_similarity(manifest, out, dataset="radial", metric_id=metric, spec=spec)
        found = read_table(out)
        found = found[found["model_x"] != found["model_y"]]
        checked = 0
        for row in found.itertuples():
            x, y = sorted((row.model_x, row.model_y))
            of = column
            if column == "kl_xy" and x != row.model_x:
                of = "kl_yx"
            assert row.value == pytest.approx(wanted.loc[(x, y), of], rel=1e-12), (column, x, y)
            checked += 1
        assert checked >= 6


def test_sets_by_ids_are_the_same_whatever_the_order_of_samples(files, tmp_path):
    _, models, given, labels = files
    order = np.random.default_rng(0).permutation(2000)
    tables = []
    for name, rows in (("as_is", np.arange(2000)), ("mixed", order)):
        folder = tmp_path / name
        folder.mkdir()
        ids = [f"p{i}" for i in rows]
        samples = write_samples(folder / "radial.parquet", labels[rows], 4, ids)
        paths = [
            write_model(folder, model, {
                k: x if k == "unembedding" else x[rows] for k, x in given[model].items()
            }, samples)
            for model in list(models)[:4]
        ]  # fmt: skip
        write_manifest(paths, folder / "manifest.parquet")
        out = folder / "out.parquet"
        make_identifiability(folder / "manifest.parquet", folder / "radial.parquet", out,
                             dataset="radial", models=models, seed=3)  # fmt: skip
        tables.append(read_table(out))
    one, other = tables
    assert [list(x) for x in one["input_ids"]] == [list(x) for x in other["input_ids"]]
    numbers = [c for c, kind in COLUMNS.items() if kind == "float64"]
    np.testing.assert_allclose(one[numbers], other[numbers], rtol=1e-8, atol=1e-10)
    assert (one["pivot"] == other["pivot"]).all()


def test_sets_by_ids():
    ids = [f"s{i}" for i in range(50)]
    how = Distance(sets=6, seed=1)
    sets = how.draw_sets(ids, 2)
    assert sets.shape == (6, 3) and len(set(sets.ravel().tolist())) == 18
    assert np.array_equal(Distance(sets=9, seed=1).draw_sets(ids, 2)[:6], sets)
    assert not np.array_equal(Distance(sets=6, seed=2).draw_sets(ids, 2), sets)
    back = Distance(sets=6, seed=1).draw_sets(ids[::-1], 2)
    assert np.array_equal(49 - back, sets)
    assert how.draw_sets(ids, 30).shape == (1, 31)


def planted(name, f, g, bias=0.0, logits=None, **quality):
    given = {"features": f, "unembedding": g, "logits": f @ g.T + bias}
    if logits is not None:
        given["logits"] = logits
    facts = {"architecture": MLP, "width": "8"}
    return make_model(name, facts, given, Quality(**quality))


def rows_of(models, **how):
    ids = [f"s{i}" for i in range(len(models[0].centred))]
    return pd.DataFrame(list(compare_models(models, ids, Distance(**how))))


def test_equal_predictions_leave_nothing_but_a_linear_map():
    rng = np.random.default_rng(1)
    f, g, turn = rng.normal(size=(90, 2)), rng.normal(size=(5, 2)), rng.normal(size=(2, 2))
    twin = planted("b", f @ turn, (g + rng.normal(size=2)) @ np.linalg.inv(turn).T)
    row = rows_of([planted("a", f, g), twin]).iloc[0]
    assert row["d_llv"] < 1e-7 and row["d_fg"] < 1e-12 and row["kl_xy"] < 1e-15
    assert row["m_cca_f"] == pytest.approx(1) and row["m_cca_f_least"] == pytest.approx(1)
    assert row["logit_distance"] < 1e-12 and row["bound_applies"]


def test_a_bias_voids_the_bound_but_not_that_on_canonical_correlations():
    rng = np.random.default_rng(2)
    f, g = rng.normal(size=(90, 2)), rng.normal(size=(5, 2))
    models = [
        planted("a", f, g), planted("b", f + 0.01 * rng.normal(size=f.shape), g),
        planted("c", f, g, bias=np.arange(5.0)),
        planted("d", f, g, logits=rng.normal(size=(90, 5))),
        planted("e", f, g, bias=7.0),
    ]  # fmt: skip
    assert [model.head for model in models] == ["plain", "plain", "biased", "other", "plain"]
    table = rows_of(models).set_index(["model_x", "model_y"])
    assert table.loc[("a", "b"), "bound_applies"] and table.loc[("a", "e"), "bound_applies"]
    assert not table.loc[("a", "c"), "bound_applies"]
    assert not rows_of(models[:2], type="mean").loc[0, "bound_applies"]
    assert table.loc[("a", "c"), "m_cca_f_least"] <= 1 and table.loc[("a", "c"), "m_cca_f"] > 0.99
    assert np.isnan(table.loc[("a", "d"), "m_cca_f_least"])


def test_what_cannot_be_computed_is_said_and_the_rest_is_there():
    rng = np.random.default_rng(3)
    f, g = rng.normal(size=(90, 3)), rng.normal(size=(4, 3))  # K < M + 2
    row = rows_of([planted("a", f, g), planted("b", f[::-1], g)]).iloc[0]
    assert "needs at least M + 2 = 5 classes" in row["failure"]
    assert "d_llv" not in row or np.isnan(row["d_llv"])
    assert row["kl_xy"] > 0 and 0 < row["m_cca_f"] < 1 and row["logit_distance"] > 0
    flat = np.hstack([f[:, :1], 0 * f[:, :1]])
    dead = planted("c", 0 * flat + 1, rng.normal(size=(5, 2)))
    row = rows_of([dead, planted("d", f[:, :2], rng.normal(size=(5, 2)))]).iloc[0]
    assert "the log-odds of classes are constant" in row["failure"]
    assert "m_cca_f: " in row["failure"] and row["kl_xy"] > 0
    few = rows_of([planted("g", f[:2, :2], g[:, :2]), planted("h", f[2:4, :2], g[:, :2])]).iloc[0]
    assert "need at least 3 samples, not 2" in few["failure"] and few["kl_xy"] > 0


def test_distances_follow_the_settings():
    rng = np.random.default_rng(4)
    f, g = rng.normal(size=(90, 2)), rng.normal(size=(6, 2))
    models = [planted("a", f, g), planted("b", f + 0.3 * rng.normal(size=f.shape), g)]
    together = rows_of(models, combine="sum", weight=0.5).iloc[0]
    assert together["d_llv"] == pytest.approx(
        together["t1"] + together["t2"] + 0.5 * (together["t3"] + together["t4"])
    )
    mean = rows_of(models, type="mean").iloc[0]
    assert mean["t1"] < together["t1"] and mean["t2"] == together["t2"]
    logits = [f @ g.T for f, g in ((m.parts.features, m.parts.unembedding) for m in models)]
    expected = get_metric("d_llv", draw="legacy", type="mean", rank=2)(*logits)
    assert rows_of(models, type="mean", draw="legacy").loc[0, "d_llv"] == expected


def test_accuracy_needs_labels_of_the_models_classes(files, tmp_path, caplog):
    folder, models, given, labels = files
    for name, classes, given_labels, columns in (
        ("six", 6, labels, ""),
        ("bare", 4, [None] * 2000, ""),
        ("part", 2, np.minimum(labels, 1), "4: 0-1"),
    ):
        place = tmp_path / name
        place.mkdir()
        samples = write_samples(place / "s.parquet", given_labels, classes)
        names = list(models)[1:3]
        paths = [write_model(place, n, given[n], samples) for n in names]
        write_manifest(paths, place / "manifest.parquet")
        make_identifiability(place / "manifest.parquet", place / "s.parquet", place / "o.parquet",
                             dataset="s", models=models, logit_columns=columns)  # fmt: skip
        row = read_table(place / "o.parquet").iloc[0]
        if not columns:
            assert np.isnan(row["accuracy_x"]) and np.isnan(row["loss_y"]), name
            continue
        assert parse_columns(columns).outputs == 4
        logits = given[names[0]]["logits"][:, :2]
        assert row["accuracy_x"] == np.mean(logits.argmax(axis=1) == given_labels)
    with pytest.raises(DataError, match="is of other samples than dataset 's' has now"):
        make_identifiability(folder / "manifest.parquet", tmp_path / "part" / "s.parquet",
                             tmp_path / "x.parquet", dataset="s", models=models)  # fmt: skip
    with caplog.at_level(logging.INFO):
        made(files, tmp_path)
    assert "model 'mute' has no logits and no unembedding: left out" in caplog.text


def test_models_of_other_classes_are_never_compared(files, tmp_path):
    _, models, given, labels = files
    samples = write_samples(tmp_path / "s.parquet", labels, 4)
    these, others = list("0123"), list("0132")
    said = dict(zip(list(models)[:5], [these, these, others, others, None], strict=True))
    paths = [write_model(tmp_path, n, given[n], samples, each) for n, each in said.items()]
    write_manifest(paths, tmp_path / "manifest.parquet")
    make_identifiability(tmp_path / "manifest.parquet", tmp_path / "s.parquet",
                         tmp_path / "o.parquet", dataset="s", models=models)  # fmt: skip
    table = read_table(tmp_path / "o.parquet")
    one, same, other, beside, unsaid = said
    pairs = set(zip(table["model_x"], table["model_y"], strict=True))
    assert pairs == {(one, same), (other, beside), *((name, unsaid) for name in list(said)[:4])}
    known = {}
    for side in "xy":
        known |= table.set_index(f"model_{side}")[f"accuracy_{side}"].notna().to_dict()
    assert known == {one: True, same: True, other: False, beside: False, unsaid: True}


def test_a_dataset_without_pairs_has_an_empty_table(files, tmp_path, caplog):
    _, models, given, labels = files
    samples = write_samples(tmp_path / "s.parquet", labels, 4)
    wide = {**given["third"], "unembedding": np.ones((4, 3), np.float32)}
    paths = [write_model(tmp_path, n, given[n], samples) for n in ("other", "third", "mute")]
    paths.append(write_model(tmp_path, "wide", wide, samples))
    write_manifest(paths, tmp_path / "manifest.parquet")
    make_identifiability(tmp_path / "manifest.parquet", tmp_path / "s.parquet",
                         tmp_path / "o.parquet", dataset="s", models=models)  # fmt: skip
    table = read_table(tmp_path / "o.parquet")
    assert len(table) == 0 and list(table.columns) == list(COLUMNS)
    assert "no two of 2 models" in caplog.text
    assert "model 'wide' is left out: the features have 2 units and the unemb" in caplog.text
    assert len(trend(table)) == 0


def test_tables_of_two_labs_are_united(table, tmp_path):
    table = table.assign(dataset="digits")
    other = table[:2].assign(d_llv=2.0)
    half = table["model_y"].str.endswith(("0", "1", "2"))
    for name, part in (("a", table[half]), ("b", table[~half]), ("c", other)):
        lab(tmp_path / name, ["m0", "m1", "m2"])
        write_table(part, tmp_path / name / "identifiability" / "digits.parquet", {})
        write_bundle(tmp_path / name, tmp_path / f"{name}.zip")
    merge_bundles([tmp_path / "a.zip", tmp_path / "b.zip"], tmp_path / "both")
    united = read_table(tmp_path / "both" / "identifiability" / "digits.parquet")
    wanted = table.sort_values(["model_x", "model_y"], ignore_index=True)
    pd.testing.assert_frame_equal(united, wanted)
    with pytest.raises(DataError, match="other values in the column d_llv"):
        merge_bundles([tmp_path / "a.zip", tmp_path / "c.zip"], tmp_path / "none")


# --- over widths ----------------------------------------------------------------------------------


def test_trend_of_published_models(table, tmp_path):
    """Means of pairs whose models reach 0.9: 6 pairs of width 16, 10 of width 128."""
    table.to_parquet(tmp_path / "radial.parquet")
    write_table(table, tmp_path / "radial.parquet", {})
    make_trend([tmp_path / "radial.parquet"], tmp_path / "t.parquet", bootstrap=200)
    found = read_table(tmp_path / "t.parquet")
    assert list(found.columns) == list(TREND)
    by = found.set_index(["measure", "statistic", "width"])
    for measure, at_16, at_128, tolerance in (
        ("d_llv", 0.4525, 0.1719, 5.1e-5),
        ("d_fg", 0.0895, 0.0141, 5.1e-5),
        ("m_cca_f", 0.887, 0.984, 5.1e-4),
    ):
        narrow, wide = (by.loc[(measure, "mean", width)] for width in (16.0, 128.0))
        assert narrow["value"] == pytest.approx(at_16, abs=tolerance)
        assert wide["value"] == pytest.approx(at_128, abs=tolerance)
        assert (narrow["n_models"], narrow["n_pairs"]) == (4, 6)
        assert (wide["n_models"], wide["n_pairs"]) == (5, 10)
        for row in (narrow, wide):
            assert row["low"] <= row["value"] <= row["high"]
        slope = found[(found["measure"] == measure) & (found["statistic"] == "slope")].iloc[0]
        assert slope["value"] == pytest.approx((wide["value"] - narrow["value"]) / 3)
        assert slope["low"] <= slope["value"] <= slope["high"]
    assert by.loc[("d_llv", "median", 128.0), "value"] == pytest.approx(0.129, abs=6e-4)
    assert (found["status"] == "ok").all()
    assert by.loc[("d_llv", "slope"), "high"].iloc[0] < 0


def drawn_pairs(rng, widths, models, accuracy=0.95, noise=1.0, slope=-0.5):
    """Pairs of models with effects of their own, and a known slope on log₂ width."""
    rows = []
    for width in widths:
        effects = noise * rng.normal(size=models)
        for i, j in itertools.combinations(range(models), 2):
            value = slope * np.log2(width) + effects[i] + effects[j] + 0.1 * rng.normal()
            rows.append(
                {"dataset": "d", "architecture": MLP, "classes": 4, "dimension": 2,
                 "model_x": f"w{width}.{i}", "model_y": f"w{width}.{j}",
                 "width_x": width, "width_y": width, "accuracy_x": accuracy,
                 "accuracy_y": accuracy, "d_llv": value, "d_fg": value, "m_cca_f": value}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_intervals_hold_over_models_and_not_over_pairs():
    """The spread of the mean over new models, of which pairs are no independent sample."""
    rng = np.random.default_rng(5)
    means, slopes, inside, lengths = [], [], 0, []
    for _ in range(60):
        found = trend(drawn_pairs(rng, [16, 64], 12), bootstrap=200)
        by = found[found["measure"] == "d_llv"].set_index("statistic")
        slope = by.loc["slope"]
        slopes.append(slope["value"])
        inside += slope["low"] <= -0.5 <= slope["high"]
        lengths.append(slope["high"] - slope["low"])
        means.append(by.loc["mean", "value"].iloc[0])
    assert inside >= 48  # about 93 % of small samples
    assert np.mean(slopes) == pytest.approx(-0.5, abs=4 * np.std(slopes) / np.sqrt(60))
    assert 2.5 < np.mean(lengths) / np.std(slopes) < 5  # 3.9 at 95 %
    assert np.std(means) == pytest.approx(2 / np.sqrt(12), rel=0.35)


def test_median_is_that_of_the_drawn_pairs():
    rng = np.random.default_rng(6)
    table = drawn_pairs(rng, [16], 6)
    found = trend(table, bootstrap=100).set_index(["measure", "statistic"])
    assert found.loc[("d_llv", "median"), "value"] == pytest.approx(table["d_llv"].median())
    weights = rng.integers(0, 4, size=(15, 50)).astype(float)
    width = Width(16.0, (), table, weights)
    _, drawn = width.median("d_llv")
    _, mean = width.mean("d_llv")
    for column in range(50):
        repeated = np.repeat(table["d_llv"].to_numpy(), weights[:, column].astype(int))
        assert drawn[column] == pytest.approx(np.median(repeated))
        assert mean[column] == pytest.approx(repeated.mean())
    none = Width(16.0, (), table, np.zeros((15, 2)))
    assert np.isnan(none.median("d_llv")[1]).all() and np.isnan(none.mean("d_llv")[1]).all()


def test_widths_of_too_few_accurate_models_are_listed():
    rng = np.random.default_rng(7)
    table = drawn_pairs(rng, [16, 32, 64], 4)
    for side in "xy":
        table.loc[table[f"model_{side}"].isin(["w32.0", "w32.1"]), f"accuracy_{side}"] = 0.5
        table.loc[table[f"model_{side}"] == "w64.0", f"accuracy_{side}"] = np.nan
    across = {**table.iloc[0], "width_y": 64.0, "model_y": "w64.1", "d_llv": 1e6}
    table = pd.concat([table, pd.DataFrame([across])], ignore_index=True)
    found = trend(table, min_models=3, bootstrap=100)
    by = found[found["measure"] == "d_llv"].set_index(["statistic", "width"])
    assert by.loc[("mean", 32.0), "status"] == "2 of at least 3 models reach the accuracy 0.9"
    assert np.isnan(by.loc[("mean", 32.0), "value"])
    assert by.loc[("mean", 64.0), "n_models"] == 3 and by.loc[("mean", 64.0), "n_pairs"] == 3
    assert by.loc[("mean", 16.0), "value"] < 1e3  # pairs of two widths do not count
    assert by.loc["slope"]["n_models"].iloc[0] == 7
    one = trend(table[table["width_x"] == 16], bootstrap=100)
    status = one[one["statistic"] == "slope"]["status"]
    assert set(status) == {"a slope needs at least 2 widths with values"}
    table.loc[table["width_x"] == 64, "d_fg"] = np.nan
    found = trend(table, bootstrap=100)
    part = found[(found["measure"] == "d_fg") & (found["width"] == 64)]
    assert set(part["status"]) == {"no pair of this width has a value"}


# --- constructed models ---------------------------------------------------------------------------


def test_kl_table_vanishes_while_models_stay_unlike():
    """Published values are of float32 and of sets drawn in one row."""
    table = kl_table(draw="legacy").set_index("length")
    expected = {
        1: 0.787580,
        2: 1.057044,
        5: 0.381943,
        10: 0.0197276,
        15: 7.64742e-4,
        20: 2.73574e-5,
    }
    for length, kl in expected.items():
        assert table.loc[length, "kl"] == pytest.approx(kl, rel=2e-4)
    assert len(table) == 20
    assert table["d_llv"].to_numpy() == pytest.approx(1.31735, rel=1e-4)
    assert table["m_cca_f"].to_numpy() == pytest.approx(0.00103102, rel=1e-4)
    assert table["d_svd_f"].to_numpy() == pytest.approx(0.99942, rel=1e-4)
    again = kl_table(seed=1, lengths=[20]).iloc[0]
    assert again["kl"] < 1e-4 and again["d_llv"] > 1 and again["d_svd_f"] > 0.99


def test_the_bound_holds_for_perturbed_models():
    table = perturbed(units={4: 0.005}, steps=60, draw="legacy")
    assert table.loc[0, "d_llv"] == pytest.approx(0.00139887, rel=1e-5)
    assert table.loc[59, "d_llv"] == pytest.approx(0.0833013, rel=1e-5)
    assert table["noise"].tolist() == pytest.approx([0.005 * (i + 1) for i in range(60)])
    for part in (table, perturbed(seed=2, units={6: 0.004, 18: 0.002}, steps=12)):
        assert part["bound_applies"].all() and (part["d_fg"] < part["bound"]).all()


def test_constructed_tables_are_written(tmp_path):
    make_constructed(tmp_path / "kl.parquet", construction="kl", seed=4)
    table = read_table(tmp_path / "kl.parquet")
    pd.testing.assert_frame_equal(table, kl_table(4))
    assert table.attrs == {"construction": "kl", "seed": 4}
    with pytest.raises(Exception, match="no construction 'ckl'"):
        make_constructed(tmp_path / "x.parquet", construction="ckl", seed=0)
