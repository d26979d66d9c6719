"""Model recovery: planted truth, chance, ties, failures, and draws that depend on ids alone."""

import numpy as np
import pandas as pd
import pytest

from consilience.errors import ConfigError
from consilience.features import write_features, write_manifest
from consilience.files import read_table, write_table
from consilience.grounding.recovery import (
    CONFUSION,
    RECOVERED,
    accuracy_of,
    decide,
    make_recovery,
    recover,
    recovered_from,
    shares,
)
from consilience.grounding.simulation import Simulation, draw_stimuli, simulate
from consilience.metrics import get_metric
from consilience.samples import COLUMNS as SAMPLE_COLUMNS
from consilience.samples import hash_samples, read_samples
from consilience.similarity import Task
from consilience.similarity.items import items_of

N, M = 120, 5
IDS = [f"p{i}" for i in range(N)]


def rotation(rng, d):
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    return q * np.sign(np.diag(r))


def unlike(widths=(12, 20, 16, 12, 24)):
    rng = np.random.default_rng(0)
    return {f"m{i}": rng.normal(size=(N, d)) for i, d in enumerate(widths)}


def alike():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 16)) * np.arange(1, 17) ** -0.5
    return {f"m{i}": x @ rotation(rng, 16) for i in range(M)}


def run(models, name="cka", simulation=None, ids=IDS, groups=None, **parameters):
    metric = get_metric(name, **parameters)
    items = [items_of(metric, model, x)[0] for model, x in models.items()]
    simulation = simulation or Simulation(stimuli=(20, 60, 120), draws=4, units=100, noise=0.2)
    return recover(Task(metric, groups=groups), items, ids, simulation)


def matrix(confused, n):
    table = pd.DataFrame(confused)
    return table[table["n"] == n].pivot_table("share", "model_x", "model_y").to_numpy()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("cka", {}), ("procrustes", {}), ("rsa", {}), ("linear_regression", {"direction": "y_to_x"})],
)
def test_models_of_unlike_geometry_are_recovered(name, parameters):
    """By similarities, distances and asymmetric metrics, and from some number of stimuli on."""
    confused, rows = run(unlike(), name, **parameters)
    last = rows[-1]
    assert last["accuracy"] == 1 and last["status"] == "ok" and last["chance"] == 1 / M
    assert np.isnan(last["low"]) and "no interval" in last["note"]
    assert matrix(confused, 120) == pytest.approx(np.eye(M))
    assert last["n_recovered"] in (20, 60, 120)


def test_rotations_of_one_model_cannot_be_told_apart():
    """By metrics that do not see rotations: all tie, so that each is the answer by 1 / M."""
    for name in ("cka", "procrustes", "rsa"):
        parameters = {"rdm": "euclidean"} if name == "rsa" else {}
        confused, rows = run(alike(), name, **parameters)
        assert [row["accuracy"] for row in rows] == pytest.approx([1 / M] * 3)
        assert matrix(confused, 60) == pytest.approx(np.full((M, M), 1 / M))
        assert rows[0]["n_recovered"] is None


def test_a_metric_that_sees_units_recovers_rotations_from_single_units():
    """Units of one model are recorded: matching units finds the basis that they are of."""
    simulation = Simulation(stimuli=(120,), draws=4, units=16, mixing=False, noise=0.1)
    _, rows = run(alike(), "hard_correlation_match", simulation)
    assert rows[0]["accuracy"] == 1
    _, rows = run(alike(), "cka", simulation)
    assert rows[0]["accuracy"] == pytest.approx(1 / M)


def test_the_confusion_matrix_holds_shares_of_answers():
    models = unlike()
    models["m1"] = models["m0"] + 0.3 * models["m0"][:, ::-1]  # two that are much alike
    simulation = Simulation(stimuli=(20, 120), draws=6, units=10, noise=3.0)
    confused, rows = run(models, simulation=simulation)
    for n in (20, 120):
        found = matrix(confused, n)
        assert found.sum(axis=1) == pytest.approx(np.ones(M))
        row = next(row for row in rows if row["n"] == n)
        assert np.diag(found).mean() == pytest.approx(row["accuracy"])
    assert rows[0]["accuracy"] < rows[1]["accuracy"]


def test_noise_is_about_chance_and_the_reverse_below_it():
    rng = np.random.default_rng(0)
    noise = [decide(rng.normal(size=(20, 8, 8))) for _ in range(40)]
    values = np.array([row["accuracy"] for row in noise])
    assert values.mean() == pytest.approx(1 / 8, abs=3 * values.std() / np.sqrt(40))
    inside = np.mean([row["low"] <= 1 / 8 <= row["high"] for row in noise])
    assert inside >= 0.85  # 95 % intervals, 40 of them
    truth = np.eye(8) + 0.1 * rng.normal(size=(20, 8, 8))
    assert decide(truth)["accuracy"] == 1
    assert decide(-truth)["accuracy"] == 0


def test_ties_share_and_what_is_missing_has_no_answer():
    assert shares(np.array([1.0, 1.0 - 1e-12, 0.0])).tolist() == [0.5, 0.5, 0]
    assert np.isnan(shares(np.array([1.0, np.nan]))).all()
    closeness = np.tile(np.eye(3), (20, 1, 1))
    closeness[0, 1, 2] = np.nan
    row = decide(closeness)
    assert (row["accuracy"], row["n_failed"], row["status"]) == (1, 1, "ok")
    closeness[:3, 1, 2] = np.nan
    row = decide(closeness)
    assert row["status"] == "failed" and "15%" in row["note"] and "accuracy" not in row
    assert np.isnan(accuracy_of(np.full((2, 2, 2), np.nan)))


def test_the_number_from_which_on_models_are_recovered():
    def rows(*accuracies):
        return [{"n": 10 * (i + 1), "accuracy": a} for i, a in enumerate(accuracies)]

    assert recovered_from(rows(0.5, 0.96, 0.97), 0.95) == 20
    assert recovered_from(rows(0.97, 0.9, 0.97), 0.95) == 30
    assert recovered_from(rows(1.0, 1.0, 0.9), 0.95) is None
    assert recovered_from([{"n": 10}, {"n": 20, "accuracy": 1.0}], 0.95) == 20


@pytest.mark.parametrize("mixing", [True, False])
def test_data_are_of_the_asked_size_and_noise(mixing):
    x = np.random.default_rng(0).normal(size=(2000, 30)) * np.linspace(0.5, 2, 30)
    for noise, units in ((0.0, 200), (1.0, 200), (4.0, 10)):
        settings = Simulation(units=units, mixing=mixing, noise=noise)
        found = [simulate(x, settings, np.random.default_rng(i)) for i in range(20)]
        size = np.mean([(y**2).sum() for y in found])
        assert found[0].shape == (2000, units)
        assert size == pytest.approx((1 + noise) * (x**2).sum(), rel=0.2)
    exact = simulate(x, Simulation(units=30, mixing=False, noise=0), np.random.default_rng(0))
    assert np.sort(exact[0]) == pytest.approx(np.sort(x[0]))  # every unit once


def test_stimuli_are_drawn_by_ids_and_nested():
    settings = Simulation(stimuli=(20, 50, 500), draws=2)
    draws = {(d.n, d.draw): d.rows for d in draw_stimuli(IDS, None, settings, (0,))}
    assert sorted(draws) == [(20, 0), (20, 1), (50, 0), (50, 1), (120, 0), (120, 1)]
    assert set(draws[20, 0]) < set(draws[50, 0]) and set(draws[20, 0]) != set(draws[20, 1])
    order = np.random.default_rng(3).permutation(N)
    moved = {(d.n, d.draw): d.rows
             for d in draw_stimuli([IDS[i] for i in order], None, settings, (0,))}  # fmt: skip
    assert {IDS[order[i]] for i in moved[20, 1]} == {IDS[i] for i in draws[20, 1]}


def test_groups_of_samples_are_drawn_whole():
    groups = np.repeat(np.arange(N // 3), 3)
    for draw in draw_stimuli(IDS, groups, Simulation(stimuli=(20, 50), draws=2), (0,)):
        assert len(draw.rows) == 3 * (draw.n // 3)
        assert (np.bincount(groups[draw.rows])[np.unique(groups[draw.rows])] == 3).all()


def test_only_so_many_models_are_drawn():
    models = {f"m{i}": x for i, x in enumerate([*unlike().values(), *alike().values()])}
    simulation = Simulation(stimuli=(60,), draws=1, models=4)
    confused, rows = run(models, simulation=simulation)
    assert rows[0]["n_models"] == 4 and len(confused) == 16
    backwards = dict(reversed(models.items()))
    again, _ = run(backwards, simulation=simulation)
    assert {row["model_x"] for row in again} == {row["model_x"] for row in confused}


def test_what_a_metric_is_not_defined_for_has_failed():
    """Thirty neighbours of twenty stimuli."""
    simulation = Simulation(stimuli=(20, 120), draws=2, units=100, noise=0.1)
    confused, rows = run(unlike(), "mutual_knn", simulation, k=30)
    assert rows[0]["status"] == "failed" and "accuracy" not in rows[0] and ":" in rows[0]["note"]
    assert rows[1]["status"] == "ok" and rows[1]["n_recovered"] == 120
    assert {row["n"] for row in confused} == {120}


def test_settings_that_cannot_be_used_are_refused():
    with pytest.raises(ConfigError, match=r"grounding\.recovery: .*0"):
        Simulation(draws=0)


# Files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recovery")
    table = pd.DataFrame({"row": range(N), "id": IDS, "split": "test"})
    table["label"] = pd.array(np.arange(N) % 3, dtype="Int32")
    table = table.assign(text="", parent_row=pd.NA, labels="").astype(SAMPLE_COLUMNS)
    metadata = {"hash": hash_samples(table), "classes": list("abc"), "row": {"dataset": "d"}}
    write_table(table, folder / "d.parquet", metadata)
    samples, paths = read_samples(folder / "d.parquet"), []
    for model, x in unlike().items():
        path = folder / f"{model}.safetensors"
        header = {"model": {"model": model}, "dataset": "d", "samples_hash": samples.hash}
        layers = {"first": x[:, :3].astype(np.float32), "last": x.astype(np.float32)}
        write_features(path, layers, header, IDS)
        paths.append(path)
    write_manifest(paths, folder / "manifest.parquet")
    return folder


def make(folder, tmp_path, spec):
    outs = [tmp_path / "confusion.parquet", tmp_path / "recovered.parquet"]
    make_recovery(
        folder / "manifest.parquet", folder / "d.parquet", *outs, dataset="d", metric_id="mine",
        spec={"parameters": {}, "preprocessing": {"row_normalize": True, "center": False}, **spec},
        simulation=Simulation(stimuli=(20, 120), draws=2, units=100, noise=0.2), seed=3,
    )  # fmt: skip
    return [read_table(out) for out in outs]


def test_tables_of_a_metric(folder, tmp_path):
    confused, rows = make(folder, tmp_path, {"metric": "cka"})
    assert list(confused.columns) == list(CONFUSION) and len(confused) == 2 * M * M
    assert list(rows.columns) == list(RECOVERED) and rows["n"].tolist() == [20, 120]
    assert rows["accuracy"].iloc[-1] == 1 and (rows["n_recovered"] <= 120).all()
    assert rows.attrs["simulation"]["noise"] == 0.2
    again, _ = make(folder, tmp_path, {"metric": "cka"})
    pd.testing.assert_frame_equal(confused, again)
    own = confused[confused["model_x"] == confused["model_y"]]
    assert own["value"].max() < 1  # noise and channels: no model equals its own data


def test_metrics_of_answers_are_told_apart(folder, tmp_path):
    confused, rows = make(folder, tmp_path, {"metric": "jsd"})
    assert confused.empty and rows["status"].tolist() == ["unsupported"]
    assert "logits" in rows["note"].iloc[0] and rows["accuracy"].isna().all()
