"""z and calibrated where chance gives the best value, or permuting changes nothing: missing."""

import numpy as np
import pandas as pd
import pytest

from consilience.alignment.layers import align
from consilience.calibration import Permutations, best_value, calibrate
from consilience.errors import MetricError
from consilience.metrics import get_metric, list_metrics
from consilience.similarity import Task, compare

SAMPLES = 16
COSTLY = {"rtd", "soft_matching"}


def of_features():
    """Yields the metrics of features that have a null."""
    for name in list_metrics():
        few = {"k": 4} if isinstance(get_metric(name).parameters.get("k"), int) else {}
        metric = get_metric(name, **few)
        if metric.facts.paired and metric.facts.inputs == ("features",) and name not in COSTLY:
            yield name, metric
    yield "shape[0]", get_metric("shape", alpha=0.0)
    yield "gulp[root]", get_metric("gulp", form="root")
    narrow = {"kernel": "rbf", "sigma": 0.05, "estimator": "biased"}
    yield "cka[narrow]", get_metric("cka", **narrow)


METRICS = dict(of_features())
WIDTHS = {
    "n < d": (30, 20), "n = d": (16, 16), "n = d + 1": (15, 15), "one wide": (30, 3),
    "one unit": (1, 1), "one unit, one wide": (1, 30),
}  # fmt: skip


def table_of(metric, x, y):
    """The rows of x with itself and with y, and of y with itself; y is what is permuted."""
    null = "closed_form" if metric.has_closed_form else "monte_carlo"
    task = Task(metric, null=null, permutations=Permutations(19))
    return pd.DataFrame([compare(task, *pair) for pair in ((x, x), (x, y), (y, y))])


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("widths", WIDTHS)
def test_no_share_of_rounding_is_told(name, widths):
    """Whatever is told is the same for features that differ by rounding alone."""
    rng, metric = np.random.default_rng(3), METRICS[name]
    if "k" in metric.parameters and 1 in WIDTHS[widths]:
        pytest.skip("cosines of one unit tie: rounding decides the neighbours")
    x, y = (rng.normal(size=(SAMPLES, d)) for d in WIDTHS[widths])
    try:
        table = table_of(metric, x, y)
    except MetricError:
        return  # not defined for one unit
    again = table_of(metric, x * (1 + 1e-13), y * (1 - 1e-13))
    for column in ("z", "calibrated"):
        assert (table[column].isna() == again[column].isna()).all(), column
        np.testing.assert_allclose(
            table[column].astype(float), again[column].astype(float), rtol=1e-3, atol=1e-3
        )
    assert np.allclose(table["p"], again["p"], rtol=1e-3)
    notes = table["note"].fillna("")
    assert (notes.str.contains("no z") == table["z"].isna()).all()
    if np.isfinite(best_value(metric.facts)):
        assert (notes.str.contains("no calibrated") == table["calibrated"].isna()).all()
    own = table["calibrated"].astype(float)[[0, 2]]
    if metric.facts.self_value is not None:
        assert (own.isna() | (abs(own - 1) < 1e-6)).all()


@pytest.mark.parametrize("name", ["cca", "pwcca", "gulp", "linear_regression", "shape[0]"])
def test_full_agreement_whatever_the_features_says_nothing(name):
    rng, metric = np.random.default_rng(4), METRICS[name]
    table = table_of(metric, *rng.normal(size=(2, SAMPLES, 40)))
    assert table["calibrated"].isna().all() and table["z"].isna().all()
    assert (table["p"] == 1).all(), "no permutation is less similar than another"
    for text in ("no z: permuting", "no calibrated: chance gives the best value"):
        assert table["note"].str.contains(text).all()


def test_one_sample_more_than_units_leaves_room():
    rng = np.random.default_rng(5)
    table = table_of(get_metric("cca"), *rng.normal(size=(2, SAMPLES, 14)))
    assert table["calibrated"].notna().all() and table["note"].isna().all()


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-40, 2.0**40])
@pytest.mark.parametrize("name", ["bures", "rsm_norm_difference", "permutation_procrustes"])
def test_small_units_are_no_rounding(name, scale):
    """Distances in units of the features are as large as these are."""
    x, y = np.random.default_rng(6).normal(size=(2, SAMPLES, 5))
    plain, small = table_of(METRICS[name], x, y), table_of(METRICS[name], scale * x, scale * y)
    assert small["note"].isna().all()
    for column in ("z", "calibrated", "p"):
        np.testing.assert_allclose(small[column], plain[column], rtol=1e-6, atol=1e-9)


def test_a_spread_of_rounding_beside_large_values_gives_no_z():
    """Two models whose scales differ by so much that the pairing is lost."""
    x, y = np.random.default_rng(7).normal(size=(2, SAMPLES, 5))
    pair = table_of(get_metric("bures"), 1e8 * x, 1e-8 * y).iloc[1]
    assert pd.isna(pair["z"]) and "no z" in pair["note"] and pair["p"] == 1


def test_float32_values_need_more_room():
    facts = get_metric("cka").facts
    table = pd.DataFrame({"value": [1.0], "null_mean": [1 - 1e-7], "null_sd": [1e-7]})
    exact, tiled = calibrate(table, facts), calibrate(table, facts, 1e-6)
    assert exact["note"].isna().all() and exact["calibrated"].notna().all()
    assert tiled["note"].notna().all() and tiled[["z", "calibrated"]].isna().all(axis=None)


def test_notes_are_added_to_what_is_said_of_p():
    facts = get_metric("cka").facts
    table = pd.DataFrame(
        {"value": [1.0, 0.5, np.nan], "null_mean": [1.0, 0.1, np.nan], "null_sd": [0.1, 0.1, None],
         "note": ["p is set", None, None]}
    )  # fmt: skip
    found = calibrate(table, facts)["note"]
    assert found[0].startswith("p is set; no calibrated")
    assert found[1:].isna().all()


def test_alignment_follows():
    rng = np.random.default_rng(8)
    layers = [{f"l{i}": rng.normal(size=(20, 40)) for i in range(2)} for _ in range(2)]
    found = align(get_metric("cca"), *layers, permutations=19)
    assert all(np.isnan(each.calibrated) for each in found)
