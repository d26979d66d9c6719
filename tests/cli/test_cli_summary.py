"""The command `consilience summary`: one screen, whatever a study trains."""

import json

import pandas as pd
import pytest
from families_study import DATASETS, write_families

from consilience.cli.summary import summarize
from consilience.errors import DataError
from consilience.files import read_table, write_table


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_families(folder)
    return folder


def test_groups_stand_with_their_intervals(results):
    """Those between families, where models have them."""
    means = read_table(results / "consistency" / "means" / "cka.parquet")
    row = means[
        (means["grouping"] == "objective") & (means["group_x"] == means["group_y"])
        & (means["method"] == "pearson")
    ].iloc[0]  # fmt: skip
    value, low, high = (row[f"{name}_between"] for name in ("value", "low", "high"))
    line = f"  cka                objective {row['group_x']}: {value:.2f} [{low:.2f}, {high:.2f}]"
    assert line in summarize(results).splitlines()


def test_models_of_a_variant_are_one_row(tmp_path):
    kinds = {"tiny.a.0": "a", "tiny.a.1": "a", "tiny.b.0": "b"}
    rows = {m: {"recipe": "tiny", "variant": v} for m, v in kinds.items()} | {"net": {}}
    (tmp_path / "explorer").mkdir()
    (tmp_path / "explorer" / "study.json").write_text(json.dumps({"models": rows}))
    found = pd.DataFrame(
        {
            "model": list(rows), "dataset": DATASETS[0], "layer": "l", "kind": "linear",
            "accuracy": [0.25, 0.75, 0.125, 1.0],
        }
    )  # fmt: skip
    write_table(found, tmp_path / "probe" / "accuracy.parquet", {})
    text = summarize(tmp_path)
    shown = dict(
        line.rsplit(None, 1) for line in text.splitlines() if line.startswith(("tiny", "net"))
    )
    assert {k.strip(): v for k, v in shown.items()} == {
        "tiny.a (2)": "50.0", "tiny.b.0": "12.5", "net": "100.0",
    }  # fmt: skip


def test_nothing_is_said_to_be_nothing(tmp_path):
    with pytest.raises(DataError, match="holds no results"):
        summarize(tmp_path)
