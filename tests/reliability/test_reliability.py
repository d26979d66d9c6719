"""Reliability: halves of the stimuli, and what they tell of consistency."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.consistency import consistency_tables
from consilience.consistency.stimuli import (
    corrected,
    joint_variance,
    reliabilities,
    stimulus_part,
)
from consilience.errors import ConfigError, DataError
from consilience.features import content_hash, write_features
from consilience.features.manifest import hash_of_rows
from consilience.files import file_digest, read_table, write_table
from consilience.metrics import Preprocessing, get_metric
from consilience.pairs.correlations import Block, correlations
from consilience.pairs.inference import estimate, interval, resample_counts
from consilience.reliability import halves_of, make_reliability
from consilience.similarity import Engine, pairwise

SPEC = {
    "metric": "mutual_knn",
    "parameters": {"k": 5},
    "preprocessing": {"row_normalize": True, "center": False},
}

# --- halves -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [40, 41])
def test_halves_share_no_stimulus_and_depend_on_seed_and_dataset_alone(n):
    first = list(halves_of(n, 5, seed=1, dataset="one"))
    for a, b in first:
        assert len(a) == len(b) == 20
        assert len(np.union1d(a, b)) == 40
        assert (np.diff(a) > 0).all()
    longer = list(halves_of(n, 7, seed=1, dataset="one"))
    np.testing.assert_array_equal(first, longer[:5])
    for other in (halves_of(n, 5, seed=2, dataset="one"), halves_of(n, 5, seed=1, dataset="two")):
        assert not np.array_equal(first, list(other))


def test_too_few_stimuli_are_named():
    with pytest.raises(DataError, match="dataset 'tiny' has 7 samples; halves need at least 8"):
        list(halves_of(7, 2, seed=0, dataset="tiny"))


# --- the file -----------------------------------------------------------------------------------


def features_of(folder, n=60, models=5, view=None):
    """Features files and a manifest, as the workflow writes them; returns the arrays."""
    rng = np.random.default_rng(0)
    common, arrays, lines = rng.normal(size=(n, 4)), {}, []
    for k in range(models):
        layers = {
            name: (common @ rng.normal(size=(4, 6 + k)) + rng.normal(size=(n, 6 + k)))
            for name in ("early", "late")
        }
        name = f"m{k}"
        header = {"model": {"model": name}, "dataset": "one", "samples_hash": "s"}
        layers = {layer: x.astype("float32") for layer, x in layers.items()}
        path = folder / f"{name}.safetensors"
        write_features(path, layers, header, [f"s{i}" for i in range(n)])
        arrays[name] = layers["late"]
        for layer, x in layers.items():
            rows = n if view is None else len(view)
            line = {"model": name, "layer": layer, "file": path.name, "n": rows, "d": x.shape[1]}
            hash_ = hash_of_rows(content_hash(x), None if view is None else np.asarray(view))
            lines.append(line | {"dtype": "float32", "hash": hash_, "samples_hash": "s"})
    metadata = {} if view is None else {"rows": [int(row) for row in view]}
    write_table(pd.DataFrame(lines), folder / "manifest.parquet", metadata)
    return arrays


def make(folder, out="out.parquet", **settings):
    given = {"dataset": "one", "metric_id": "knn", "spec": SPEC, "splits": 3, "seed": 4}
    make_reliability(folder / "manifest.parquet", folder / out, **given | settings)
    return read_table(folder / out)


def test_table_holds_the_metric_of_the_rows_of_each_half(tmp_path):
    arrays = features_of(tmp_path)
    table = make(tmp_path)
    assert table.groupby(["split", "half"]).size().tolist() == [15] * 6
    assert set(table["layer_x"]) == set(table["layer_y"]) == {"late"}
    metric, before = get_metric("mutual_knn", k=5), Preprocessing(row_normalize=True)
    halves = list(halves_of(60, 3, seed=4, dataset="one"))
    for row in table.itertuples():
        rows = halves[row.split]["ab".index(row.half)]
        x, y = (before(arrays[model][rows].astype(float)) for model in (row.model_x, row.model_y))
        assert row.value == pytest.approx(metric(x, y), abs=1e-12)
        assert row.n == 30
    assert table.attrs["splits"] == 3
    assert table.attrs["device"] == "cpu"
    assert len(table.attrs["code"]) == 64, "a merge asks whether two labs had the same code"


def test_memory_changes_no_byte_and_a_view_takes_its_rows(tmp_path):
    features_of(tmp_path)
    make(tmp_path, "one.parquet")
    make(tmp_path, "two.parquet", engine=Engine(max_memory=1))
    assert file_digest(tmp_path / "one.parquet") == file_digest(tmp_path / "two.parquet")
    view = np.arange(0, 60, 2)
    arrays = features_of(tmp_path, view=view)
    table = make(tmp_path, "view.parquet", splits=1).query("half == 'a'").reset_index(drop=True)
    rows = view[next(halves_of(30, 1, seed=4, dataset="one"))[0]]
    expected = pairwise(
        get_metric("mutual_knn", k=5),
        {name: x[rows] for name, x in arrays.items()},
        preprocessing=Preprocessing(row_normalize=True),
    )
    pd.testing.assert_series_equal(table["value"], expected["value"])


def test_no_splits_are_refused(tmp_path):
    features_of(tmp_path)
    with pytest.raises(ConfigError, match="splits is 0; it must be at least 1"):
        make(tmp_path, splits=0)


# --- what halves tell -----------------------------------------------------------------------------

PAIRS = 600


def noisy_halves(reliability, rng, splits=20, n=40):
    """Values of pairs, and on halves of n stimuli; with all of them they have this reliability."""
    truth = rng.normal(size=PAIRS)
    noise = np.sqrt(n * (1 / reliability - 1)) * rng.normal(size=(n, PAIRS))
    halves = np.empty((splits, 2, PAIRS))
    for split in range(splits):
        halves[split] = truth + noise[rng.permutation(n).reshape(2, -1)].mean(axis=1)
    return truth, truth + noise.mean(axis=0), halves


@pytest.mark.parametrize("planted", [0.4, 0.8])
@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_reliability_is_the_planted_one(planted, method):
    rng = np.random.default_rng(0)
    found = [reliabilities(noisy_halves(planted, rng)[2][:, :, None], method)[0] for _ in range(20)]
    assert np.mean(found) == pytest.approx(planted, abs=0.03)


def test_correction_restores_the_consistency_without_noise():
    rng = np.random.default_rng(1)
    raw, restored = [], []
    for _ in range(20):
        truth, x, on_x = noisy_halves(0.5, rng)
        other, y, on_y = noisy_halves(0.7, rng)
        shift = 0.6 * truth + (0.8 - 1) * other  # y's truth becomes 0.6 truth + 0.8 other
        y, on_y = y + shift, on_y + shift
        halves = np.stack([on_x, on_y], axis=2)
        r = np.array([np.corrcoef(x, y)[0, 1]])
        reliability = reliabilities(halves, "pearson")
        raw.append(r[0])
        restored.append(corrected(r, reliability[:1], reliability[1:])[0][0])
    assert np.mean(raw) < 0.42
    assert np.mean(restored) == pytest.approx(0.6, abs=0.03)


def test_corrections_above_one_and_undefined_ones_are_marked_and_not_clipped():
    value, one = np.array([0.5, 0.9, 0.5, np.nan, 0.5]), np.array([0.5, 0.5, -0.1, 0.5, np.nan])
    found, notes = corrected(value, one, np.array([0.5, 0.5, 0.5, 0.5, 0.5]))
    assert notes == ["ok", "above 1", "undefined", "", ""]
    np.testing.assert_allclose(found[:2], [1.0, 1.8])
    assert np.isnan(found[2:]).all()


# --- intervals over models and stimuli ----------------------------------------------------------

STIMULI, SPLITS, TRAIT, TRAIT_SD, NOISE = 40, 8, 0.5, 1.5, 2.0


def study(m, rng):
    """s(i, j) = a_i + a_j + e_ij + mean over stimuli of h_t (b_i + b_j) + noise, on two datasets.

    Stimuli with large h show the trait b, which both datasets have: which stimuli are drawn moves
    the consistency of all models alike, so resampled models alone do not show it.
    """
    i, j = np.triu_indices(m, 1)
    a, e, b = rng.normal(size=(2, m)), rng.normal(size=(2, len(i))), rng.normal(size=m)
    a[1], e[1] = 0.6 * a[0] + 0.8 * a[1], 0.6 * e[0] + 0.8 * e[1]
    base = np.sqrt(0.3) * (a[:, i] + a[:, j]) + np.sqrt(0.4) * e
    whole, halves = [], np.empty((SPLITS, 2, 2, len(i)))
    for dataset in range(2):
        h = rng.normal(TRAIT, TRAIT_SD, size=(STIMULI, 1))
        each = base[dataset] + h * (b[i] + b[j]) + rng.normal(scale=NOISE, size=(STIMULI, len(i)))
        whole.append(each.mean(axis=0))
        for split in range(SPLITS):
            halves[split, :, dataset] = each[rng.permutation(STIMULI).reshape(2, -1)].mean(axis=1)
    ends = np.array([0]), np.array([1])
    return Block(np.stack(whole), i, j, (m,), *ends), halves


def truth_of_study():
    """Consistency of infinitely many models, in the mean (of z) over samples of stimuli."""
    h = np.random.default_rng(2).normal(TRAIT, TRAIT_SD / np.sqrt(STIMULI), size=(2, 400_000))
    variance = 1 + 2 * h**2 + NOISE**2 / STIMULI
    return np.tanh(np.arctanh((0.6 + 2 * h[0] * h[1]) / np.sqrt(variance.prod(axis=0))).mean())


def test_joint_intervals_cover_where_those_over_models_do_not():
    rng, truth, hits, studies = np.random.default_rng(3), truth_of_study(), np.zeros(2), 150
    for _ in range(studies):
        block, halves = study(28, rng)
        found = estimate(block, "pearson", resample_counts((28,), 150, rng))
        part = stimulus_part(block, halves, "pearson")
        spread = found.variance, found.freedom
        both = joint_variance(*spread, part.variance, part.shared, part.splits)
        assert both[0] >= max(found.variance[0], part.variance[0])
        for place, one in enumerate((spread, both)):
            low, high = np.tanh(interval(found.z, found.drawn, *one))
            hits[place] += low[0] <= truth <= high[0]
    alone, joint = hits / studies
    assert alone < 0.91
    assert 0.91 <= joint <= 0.99


def test_variance_over_stimuli_is_that_of_new_stimuli():
    """The same models with new stimuli, many times: the spread of z is what halves foretold."""
    rng = np.random.default_rng(4)
    m, z, foretold = 16, [], []
    i, j = np.triu_indices(m, 1)
    base = rng.normal(size=(2, len(i)))
    base[1] = 0.6 * base[0] + 0.8 * base[1]
    for _ in range(150):
        each = base[:, None] + rng.normal(scale=2, size=(2, 60, len(i)))
        halves = np.stack([
            [each[:, half].mean(axis=1) for half in rng.permutation(60).reshape(2, -1)]
            for _ in range(SPLITS)
        ])  # fmt: skip
        block = Block(each.mean(axis=1), i, j, (m,), np.array([0]), np.array([1]))
        z.append(np.arctanh(correlations(block, np.ones((m, 1)), "pearson")[0, 0]))
        foretold.append(stimulus_part(block, halves, "pearson").variance[0])
    assert np.mean(foretold) == pytest.approx(np.var(z), rel=0.3)
    chance = stats.chi2(149).ppf([0.001, 0.999]) / 149
    assert chance[0] < np.var(z) / np.mean(foretold) < chance[1]


@pytest.mark.parametrize("method", ["pearson", "spearman", "kendall"])
def test_tables_say_what_halves_tell_and_what_is_missing(method):
    rng = np.random.default_rng(5)
    block, halves = study(10, rng)
    whole = block.values  # noqa: PD011 - no table
    names = np.array([f"m{k}" for k in range(10)])

    def table(values, dataset):
        ends = {"model_x": names[block.first], "model_y": names[block.second], "value": values}
        extra = {"dataset": dataset, "metric": "cka", "layer_x": "l", "layer_y": "l"}
        return pd.DataFrame(ends).assign(**extra)

    tables = {name: table(whole[k], name) for k, name in enumerate("xy")}
    on_halves = {
        name: pd.concat(
            [
                table(halves[split, half, k], name).assign(split=split, half="ab"[half])
                for split in range(SPLITS)
                for half in range(2)
            ]
        )
        for k, name in enumerate("xy")
    }
    models = pd.DataFrame(index=names)
    settings = {"groups": [], "methods": [method], "bootstrap": 100, "permutations": 0}
    row = consistency_tables(tables, models, halves=on_halves, **settings).table.iloc[0]
    assert row["low_joint"] <= row["low"] < row["high"] <= row["high_joint"]
    if method == "kendall":
        assert np.isnan(row["reliability_x"])
    else:
        r = reliabilities(halves, method)
        assert row[["reliability_x", "reliability_y"]].tolist() == pytest.approx(r.tolist())
        assert row["corrected"] == pytest.approx(row["value"] / np.sqrt(r.prod()))
    without = consistency_tables(tables, models, **settings).table.iloc[0]
    assert without["low"] == row["low"]
    assert np.isnan(without[["low_joint", "reliability_x", "corrected"]].astype(float)).all()
    only_x = {"x": on_halves["x"]}
    some = consistency_tables(tables, models, halves=only_x, **settings).table.iloc[0]
    assert np.isnan(some["low_joint"])
    damaged = {"x": on_halves["x"].query("half == 'a'")}
    with pytest.raises(DataError, match="split 0 of dataset 'x' has the halves a; expected a and"):
        consistency_tables(tables, models, halves=damaged, **settings)
