"""The figure of model recovery: what it shows, and that it can be read."""

import numpy as np
import pandas as pd
import pytest
from test_plots import check_texts

from consilience.files import write_table
from consilience.grounding.recovery import CONFUSION, RECOVERED, decide, recovered_from, shares
from consilience.plots.grounding_recovery import grounding_recovery


def tables(dataset, metric, models=6, failed=()):
    """Confusion and shares of models that are the better told apart the more stimuli there are."""
    rng = np.random.default_rng(len(dataset))
    names = [f"model_with_a_name_{k:02}" for k in range(models)]
    confused, rows = [], []
    for n in (20, 50, 200):
        closeness = rng.normal(size=(10, models, models)) + n / 40 * np.eye(models)
        if n in failed:
            closeness[:] = np.nan
        row = {"dataset": dataset, "metric": metric, "n": n, "bound": 0.9} | decide(closeness)
        rows.append(row)
        if n not in failed:
            answered = shares(closeness).mean(axis=0)
            confused += [
                {"dataset": dataset, "metric": metric, "n": n, "model_x": x, "model_y": y,
                 "share": answered[i, j], "value": 0.5}
                for i, x in enumerate(names) for j, y in enumerate(names)
            ]  # fmt: skip
    least = recovered_from(rows, 0.9)
    rows = [row | {"n_recovered": least} for row in rows]
    return (
        pd.DataFrame(confused, columns=list(CONFUSION)).astype(CONFUSION),
        pd.DataFrame(rows, columns=list(RECOVERED)).astype(RECOVERED),
    )


def write_recovery(results, datasets, metric):
    for dataset in datasets:
        found = zip(("grounding_recovery", "grounding_recovered"), tables(dataset, metric),
                    strict=True)  # fmt: skip
        for kind, table in found:
            write_table(table, results[kind].format(dataset=dataset, metric=metric), {})


@pytest.mark.figure("grounding_recovery")
def test_confusion_and_share_recovered():
    confused, rows = tables("first", "m")
    figure, table = grounding_recovery(confused, rows, label="a metric")
    check_texts(figure)
    matrix, curve = figure.axes[:2]
    last = confused[confused["n"] == 200].sort_values(["model_x", "model_y"])
    shown = [text.get_text() for text in matrix.texts]
    assert shown == [f"{100 * share:.0f}" for share in last["share"]]
    assert curve.lines[0].get_ydata() == pytest.approx(rows["accuracy"])
    assert curve.lines[1].get_ydata()[0] == pytest.approx(1 / 6)
    least = rows["n_recovered"].iloc[0]
    assert least == 200 and curve.lines[3].get_xdata()[0] == 200
    assert "from 200 stimuli" in curve.get_title()
    assert len(table) == 3


def test_many_models_and_what_has_no_value():
    many = tables("many", "m", models=24)
    none = tables("none", "m", failed=(20, 50, 200))
    part = tables("part", "m", failed=(20,))
    confused, rows = (pd.concat(both, ignore_index=True) for both in zip(many, none, part,
                                                                         strict=True))  # fmt: skip
    figure, _ = grounding_recovery(confused, rows, label="a metric")
    check_texts(figure)
    assert not figure.axes[0].texts and not figure.axes[0].get_yticklabels()
    assert "no value" in figure.axes[2].texts[0].get_text()
    assert len(figure.axes[5].lines[0].get_ydata()) == 2
