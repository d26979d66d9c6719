"""Figures of attacks: that they can be read, and show what is in the tables."""
# ruff: noqa: E501 - a planted table

import numpy as np
import pandas as pd
import pytest
from test_plots import check_texts

from consilience.causes.effects import PAIRS
from consilience.errors import DataError
from consilience.files import read_table, write_table
from consilience.plots.transfer_overlap import transfer_overlap
from consilience.plots.transfer_similarity import transfer_similarity
from consilience.transfer import COLUMNS

OVERLAPS = (0.0, 0.5, 1.0)


def tables(draws=3, slope=0.2):
    """Returns attacks and similarities of planted slopes; y's success on x is twice as steep."""
    rng, rows, pairs = np.random.default_rng(0), [], []
    for kind in ("data", "task"):
        shared = {"kind": kind, "family": "cnn", "train_set": "clothes", "dataset": "seen"}
        for draw in range(draws):
            base = {**shared, "draw": str(draw), "eps": 16 / 255, "steps": 10, "momentum": 1.0,
                    "size": 28, "n_known": 600, "n_flat": 0}  # fmt: skip
            x = f"{kind}.x.{draw}"
            own = {"model_x": x, "model_y": x, "side_x": "x", "side_y": "x", "control": "self"}
            rows.append({**base, **own, "success": 0.6, "n": 500})
            for overlap in OVERLAPS:
                y, off = f"{kind}.y.{overlap}.{draw}", 0.01 * draw
                value = 0.1 + slope * overlap + off
                few = kind == "task" and overlap == 0
                for a, b, sides, share in (
                    (x, y, "xy", value),
                    (y, x, "yx", value + slope * overlap),
                ):
                    shares = {
                        "success": share,
                        "success_noise": 0.02,
                        "success_published": share + 0.1,
                    }
                    rows.append({
                        **base, "overlap": overlap, "control": "", "model_x": a, "model_y": b,
                        "side_x": sides[0], "side_y": sides[1], "n": 20 if few else 400,
                        **({"failure": "too few"} if few else shares),
                    })  # fmt: skip
                for name, shift in (("seen", 0.0), ("digits", 0.2)):
                    pairs.append({**shared, "dataset": name, "metric": "m", "draw": str(draw),
                                  "overlap": overlap, "control": "", "model_x": x, "model_y": y,
                                  "value": 0.3 + overlap / 3 - shift + 0.01 * rng.normal()})  # fmt: skip
    successes = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return successes, pd.DataFrame(pairs).reindex(columns=list(PAIRS)).astype(PAIRS)


def write_successes(results, dataset, metric):
    """Writes attacks on all models of the pairs of a written table of causes, either way."""
    pairs = read_table(results.of("causes", dataset=dataset, metric=metric))
    plain = pairs[(pairs["control"] == "") & (pairs["kind"] != "labels")]
    rows = [
        {"dataset": dataset, "kind": pair.kind, "family": pair.family, "draw": pair.draw,
         "train_set": pair.train_set, "overlap": pair.overlap, "control": "", "model_x": x,
         "model_y": y, "side_x": sides[0], "side_y": sides[1], "size": 28, "eps": 16 / 255,
         "steps": 10, "momentum": 1.0, "n_known": 600, "n": 500, "n_flat": 0, "clean_x": 0.8,
         "clean_y": 0.8, "success": 0.1 + 0.2 * pair.overlap, "success_noise": 0.02,
         "success_published": 0.3}
        for pair in plain.itertuples()
        for x, y, sides in ((pair.model_x, pair.model_y, "xy"), (pair.model_y, pair.model_x, "yx"))
    ]  # fmt: skip
    write_table(pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS), results["successes"], {})


@pytest.mark.figure("transfer_overlap")
def test_success_is_followed_over_the_overlap():
    successes, _ = tables()
    figure, table = transfer_overlap(successes)
    check_texts(figure)
    assert len(figure.axes) == 2 * 3
    assert (
        figure.axes[0]
        .get_title(loc="left")
        .startswith("attack on x, success on y\nslope 0.20 [0.20, 0.20]")
    )
    assert "slope 0.40 [0.40, 0.40]" in figure.axes[1].get_title(loc="left")
    shown = table[(table["kind"] == "data") & (table["side_x"] == "x")]
    assert shown["slope"].to_numpy() == pytest.approx(0.2, abs=1e-9)
    words = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"random signs", "the attacked model itself"} <= words
    assert "same data, another start" not in words
    single, _ = tables(draws=1)
    assert transfer_overlap(single)[1]["slope_low"].isna().all()


@pytest.mark.figure("transfer_similarity")
def test_success_is_shown_against_similarity():
    successes, pairs = tables()
    figure, table = transfer_similarity(successes, pairs, label="Mutual kNN")
    check_texts(figure)
    assert set(table["similarity_on"]) == {"seen", "digits"}
    data = table[(table["kind"] == "data") & (table["similarity_on"] == "seen")]
    assert len(data) == 3 * 3
    # the mean of both directions: 0.1 + 1.5 slope * overlap + 0.01 * draw
    wanted = 0.1 + 0.3 * data["overlap"] + 0.01 * data["draw"].astype(int)
    assert data["success"].to_numpy() == pytest.approx(wanted.to_numpy(), abs=1e-12)
    assert "within draws 1.00 (9 pairs)" in figure.axes[0].get_title(loc="left")
    # of kind task, pairs without a success are left out
    assert len(table[table["kind"] == "task"]) == 2 * 3 * 2
    turned = pairs.rename(columns={"model_x": "model_y", "model_y": "model_x"})
    again = transfer_similarity(successes, turned, label="Mutual kNN")[1]
    key = ["kind", "draw", "overlap", "similarity_on"]
    both = [t.sort_values(key)[["success", "similarity"]].to_numpy() for t in (table, again)]
    np.testing.assert_allclose(*both)


def test_no_success_is_said():
    successes, pairs = tables()
    none = successes.assign(success=np.nan, failure="too few pictures")
    with pytest.raises(DataError, match="no attack on another model has a success: too few"):
        transfer_overlap(none)
    with pytest.raises(DataError, match="no pair of models has a success and a similarity by M"):
        transfer_similarity(successes, pairs.assign(value=np.nan), label="M")
