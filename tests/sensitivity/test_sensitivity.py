"""Curves over n and k: the same rows for all, values as from the features alone, planted truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from consilience.errors import ConfigError
from consilience.features import read_layer, write_features, write_manifest
from consilience.features.manifest import hash_of_rows
from consilience.files import read_table, write_table
from consilience.metrics import Preprocessing, get_metric
from consilience.sensitivity import (
    Curves,
    draw_rows,
    make_sensitivity,
    make_stability,
    stability,
)
from consilience.similarity import Engine

SAMPLES = 120
SPEC = {"metric": "cka", "parameters": {}, "preprocessing": {"row_normalize": True}}
KNN = {"metric": "mutual_knn", "parameters": {"k": 5}, "preprocessing": {}}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Features of five models that share more and more of one source; two layers each."""
    folder = tmp_path_factory.mktemp("sensitivity")
    generator = np.random.default_rng(0)
    source, paths = generator.normal(size=(SAMPLES, 6)), []
    for m, share in enumerate((0.9, 0.8, 0.6, 0.4, 0.1)):
        own = generator.normal(size=(SAMPLES, 6))
        late = np.hstack([share * source, (1 - share) * own])
        header = {"model": {"model": f"m{m}"}, "dataset": "toys", "samples_hash": "s"}
        paths.append(folder / f"m{m}.safetensors")
        write_features(paths[-1], {"early": own, "late": late}, header, list(map(str, range(120))))
    write_manifest(paths, folder / "manifest.parquet")
    return folder / "manifest.parquet"


def curves(manifest, out, spec=SPEC, metric="cka", dataset="toys", **settings):
    make_sensitivity(
        manifest, out, dataset=dataset, metric_id=metric, spec=spec, curves=Curves(**settings)
    )
    return read_table(out)


def test_values_are_those_of_the_metric_on_the_rows(manifest, tmp_path):
    table = curves(manifest, tmp_path / "t.parquet", n=(20, 50, 500), draws=2)
    counts = table.groupby(["axis", "setting", "draw"]).size()
    places = [("n", 20.0, 0), ("n", 20.0, 1), ("n", 50.0, 0), ("n", 50.0, 1), ("n", 120.0, 0)]
    assert list(counts.index) == places
    assert (counts == 15).all()
    assert len(table.attrs["code"]) == 64, "a merge asks whether two labs had the same code"
    assert set(table["layer_x"]) | set(table["layer_y"]) == {"late"}
    metric, prepare = get_metric("cka"), Preprocessing(row_normalize=True)
    for row in table.itertuples():
        rows = draw_rows(SAMPLES, int(row.setting), (0, "toys"), row.draw)
        x, y = (
            prepare(read_layer(manifest.parent / f"{m}.safetensors", "late")[rows].astype(float))
            for m in (row.model_x, row.model_y)
        )
        assert row.value == pytest.approx(metric(x, y), abs=1e-12)


def test_rows_are_nested_without_repeats_and_the_same_for_every_metric(manifest, tmp_path):
    for draw in range(3):
        small, large = (draw_rows(100, n, (0, "d"), draw) for n in (10, 60))
        assert set(small) < set(large) and len(set(large)) == 60
    assert set(draw_rows(100, 30, (0, "d"), 0)) != set(draw_rows(100, 30, (0, "d"), 1))
    assert set(draw_rows(100, 30, (0, "d"), 0)) != set(draw_rows(100, 30, (0, "e"), 0))
    shares = np.mean([np.isin(np.arange(50), draw_rows(50, 10, (), d)) for d in range(600)], axis=0)
    assert abs(shares - 0.2).max() < 4.5 * np.sqrt(0.2 * 0.8 / 600)


def test_curves_over_k(manifest, tmp_path):
    table = curves(manifest, tmp_path / "t.parquet", KNN, k=(2, 10, 120), k_share=(0.05,))
    features = {m: read_layer(manifest.parent / f"m{m}.safetensors", "late") for m in (0, 3)}
    pair = table[(table["model_x"] == "m0") & (table["model_y"] == "m3")]
    for axis, setting in (("k", 2), ("k", 10), ("k_share", 0.05)):
        row = pair[(pair["axis"] == axis) & (pair["setting"] == setting)]
        expected = get_metric("mutual_knn", k=setting)(features[0], features[3])
        assert row["value"].item() == pytest.approx(expected, abs=1e-12)
    assert table.loc[table["setting"] == 120, "value"].isna().all()  # as many as samples
    assert set(table["draw"]) == {0}
    assert curves(manifest, tmp_path / "u.parquet", SPEC, k=(2,)).empty  # CKA has no k


def test_a_view_reads_its_own_rows(manifest, tmp_path):
    """A manifest may name rows of the files in its metadata."""
    table = read_table(manifest)
    rows = [7, 3, 99, 40, 41, 42, 43, 44, 110, 0]
    folder = manifest.parent
    hashes = [hash_of_rows(one, np.array(rows)) for one in table["hash"]]
    view = table.assign(n=10, hash=hashes)
    write_table(view, folder / "view.parquet", table.attrs | {"rows": rows})
    found = curves(folder / "view.parquet", tmp_path / "t.parquet", n=(10,))
    x, y = (read_layer(folder / f"m{m}.safetensors", "late")[rows] for m in (0, 1))
    prepare = Preprocessing(row_normalize=True)
    expected = get_metric("cka")(prepare(x.astype(float)), prepare(y.astype(float)))
    pair = found[(found["model_x"] == "m0") & (found["model_y"] == "m1")]
    assert pair["value"].item() == pytest.approx(expected, abs=1e-12)


def test_a_share_of_the_samples_is_no_setting_of_every_metric(manifest, tmp_path):
    spec = KNN | {"metric": "imd"}  # takes whole numbers only
    table = curves(manifest, tmp_path / "t.parquet", spec, k=(3,), k_share=(0.05,))
    assert set(table["axis"]) == {"k"}


def test_bytes_depend_neither_on_memory_nor_on_threads(manifest, tmp_path):
    settings = {"dataset": "toys", "metric_id": "cka", "spec": SPEC}
    for name, engine in (("a", Engine()), ("b", Engine(threads=2, max_memory=1000))):
        make_sensitivity(manifest, tmp_path / name, **settings, curves=Curves((20, 90)),
                         engine=engine)  # fmt: skip
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "settings", [{"n": (0,)}, {"k": (0,)}, {"k_share": (1.0,)}, {"n": (5,), "draws": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError, match="sensitivity"):
        Curves(**settings)


# --- the ranking ----------------------------------------------------------------------------------


def ranking(noise, models=12, draws=3, seed=0):
    """A table in which every n adds noise of a stated size to the same values."""
    generator = np.random.default_rng(seed)
    first, second = np.triu_indices(models, k=1)
    truth = generator.normal(size=len(first))
    parts = []
    for n, size in noise.items():
        for draw in range(draws):
            part = {
                "axis": "n", "setting": float(n), "draw": draw, "layer_x": "a", "layer_y": "a",
                "model_x": [f"m{i:02}" for i in first], "model_y": [f"m{i:02}" for i in second],
                "value": truth + size * generator.normal(size=len(first)),
            }  # fmt: skip
            parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True).assign(dataset="toys", metric="cka")


def test_the_stable_number_is_the_planted_one():
    table = stability(ranking({100: 1.0, 300: 0.5, 1000: 0.05, 3000: 0.03, 9000: 0.01}))
    assert table["n_stable"].unique().tolist() == [1000]
    assert table["stable"].tolist() == [False, False, True, True, False]
    assert table["n_pairs"].unique().tolist() == [66]
    assert (table["lowest"] <= table["mean"]).all()


def test_agreement_is_the_rank_correlation_of_scipy():
    table = ranking({100: 1.0, 200: 0.4}, draws=2)
    values = {key: part["value"].to_numpy() for key, part in table.groupby(["setting", "draw"])}
    expected = [
        spearmanr(values[100.0, a], values[200.0, b]).statistic for a in (0, 1) for b in (0, 1)
    ]
    row = stability(table).iloc[0]
    assert row["lowest"] == pytest.approx(min(expected), abs=1e-12)
    assert row["mean"] == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_ranking_that_only_the_largest_number_has_is_not_stable():
    table = stability(ranking({100: 2.0, 300: 1.0, 1000: 0.5}))
    assert table["n_stable"].isna().all() and not table["stable"].any()
    # stable at 100 by luck, not at 300: then not from 100 on
    table = stability(ranking({100: 0.01, 300: 1.0, 1000: 0.01, 3000: 0.01}))
    assert table["n_stable"].unique().tolist() == [1000]


def test_failed_pairs_are_left_out_of_the_ranking():
    table = ranking({100: 0.01, 300: 0.01, 900: 0.01})
    table.loc[(table["setting"] == 100) & (table["model_x"] == "m00"), "value"] = np.nan
    found = stability(table)
    assert found["n_pairs"].tolist() == [55, 66, 66]
    assert found["n_stable"].unique().tolist() == [100]


def test_more_stimuli_agree_more_with_all_of_them(manifest, tmp_path):
    paths = [tmp_path / "cka.parquet", tmp_path / "knn.parquet"]
    curves(manifest, paths[0], n=(6, 30, 100, 120), draws=4)
    curves(manifest, paths[1], KNN, metric="knn", k=(3,))  # no curve over n
    make_stability(paths, tmp_path / "stability.parquet", bound=0.9)
    table = read_table(tmp_path / "stability.parquet")
    assert set(table["metric"]) == {"cka"} and table["n"].tolist() == [6, 30, 100, 120]
    assert table["draws"].tolist() == [4, 4, 4, 1]
    few, _, many, everything = table["lowest"]
    assert few < 0.8 < many < everything == pytest.approx(1)
    assert table["n_stable"].isna().all() and "does the ranking agree" in table["status"].iloc[0]


def test_no_n_above_half_of_the_largest_is_stable():
    """Its stimuli are most of those that it is measured by."""
    alike = {100: 0.01, 300: 0.01, 400: 0.01, 600: 0.01, 800: 0.01}
    table = stability(ranking(alike))
    assert table["stable"].tolist() == [True, True, True, False, False]
    assert table["n_stable"].unique().tolist() == [100] and set(table["status"]) == {"ok"}
    table = stability(ranking({n: size for n, size in alike.items() if n > 400}))
    assert table["n_stable"].isna().all()
    assert table["status"].str.contains("no n up to half of the largest, 800").all()
    # a larger n that differs still speaks against a smaller one
    table = stability(ranking(alike | {600: 1.0}))
    assert (
        table["n_stable"].isna().all()
        and table["status"].str.contains("does the ranking agree").all()
    )


def independent(path, count, shared=0.0, seed=0):
    """Writes a manifest of models with 4 to 13 units, independent but for a share of one source."""
    generator, paths = np.random.default_rng(seed), []
    source = generator.normal(size=(400, 4))
    for m in range(count):
        x = generator.normal(size=(400, 4 + m))
        x[:, :4] += shared * m * source
        header = {"model": {"model": f"m{m}"}, "dataset": "toys", "samples_hash": "s"}
        paths.append(path / f"m{m}.safetensors")
        write_features(paths[-1], {"late": x}, header, list(map(str, range(400))))
    write_manifest(paths, path / "manifest.parquet")
    return path / "manifest.parquet"


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_stable_ranking(seed, tmp_path):
    """Ten unrelated models: 390 of 400 stimuli rank their pairs as 400 do, new ones would not."""
    found = curves(independent(tmp_path, 10, seed=seed), tmp_path / "t.parquet",
                   {**SPEC, "preprocessing": {}}, n=(100, 200, 300, 390, 400))  # fmt: skip
    for bound in (0.95, 0.7):
        table = stability(found, bound)
        assert table["n_stable"].isna().all() and not table["stable"].any()
        assert (table["status"] != "ok").all()
    assert table.set_index("n")["lowest"][390] > 0.9, "which is the overlap alone"


def test_differences_between_models_have_one(tmp_path):
    found = curves(independent(tmp_path, 10, shared=0.2), tmp_path / "t.parquet",
                   {**SPEC, "preprocessing": {}}, n=(100, 200, 400))  # fmt: skip
    table = stability(found, 0.9)
    assert table["n_stable"].iloc[0] in (100, 200) and set(table["status"]) == {"ok"}


def test_three_pairs_of_models_are_too_few():
    """Of noise, their order is the same in one of six cases, and more often with shared stimuli."""
    table = stability(ranking({100: 0.0, 300: 0.0, 900: 0.0}, models=3))
    assert (table["lowest"] == 1).all() and table["n_stable"].isna().all()
    assert table["status"].str.contains("3 pairs of models are too few").all()
    assert stability(ranking({100: 0.0, 900: 0.0}, models=4))["n_stable"].iloc[0] == 100
