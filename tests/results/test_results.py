"""The table of result files agrees with what rules make and what tables hold."""

import re

import pandas as pd
import pytest
from clones import ROOT

from consilience import (
    alignment,
    behavior,
    factors,
    grounding,
    identifiability,
    reliability,
    sensitivity,
    similarity,
)
from consilience.consistency.differences import COLUMNS as DIFFERENCES
from consilience.consistency.tables import MEANS
from consilience.grounding import published, recovery
from consilience.results import (
    RESULT_FILES,
    Results,
    kind_of,
    list_tables,
    read_study,
)

RULES = {path.name: path.read_text(encoding="utf8") for path in (ROOT / "rules").glob("*.smk")}
TEXT = "\n".join(RULES.values())


def test_every_output_of_every_rule_is_in_the_table():
    found = re.findall(r"^( +)output:\n(.*?)\n\1log:", TEXT, re.DOTALL | re.MULTILINE)
    outputs = [block for _, block in found]
    assert len(outputs) == len(re.findall(r"^ *rule\b(?! all)", TEXT, re.MULTILINE))
    named = {
        name
        for block in outputs
        for name in re.findall(r'(?:RESULTS\[|PLAN\.each\()"(\w+)"', block)
    }
    figures = {"figures"} if "figure.stem(RESULTS)" in TEXT else set()
    assert named | figures == set(RESULT_FILES), "a file of no rule, or an output of no entry"


def test_no_rule_writes_a_path_by_hand():
    assert not re.findall(r'"(?:results|logs|benchmarks)/', TEXT)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("similarity", ["dataset", "metric", *similarity.all_pairs.COLUMNS]),
        ("alignment", alignment.COLUMNS),
        ("reliability", reliability.COLUMNS),
        ("sensitivity", ["dataset", "metric", *sensitivity.COLUMNS]),
        ("stability", list(sensitivity.STABILITY)),
        ("behavior", behavior.COLUMNS),
        ("relation", list(behavior.RELATION)),
        ("grounding_accuracies", grounding.ACCURACIES),
        ("grounding_answers", grounding.PAIRS),
        ("grounding", list(grounding.COLUMNS)),
        ("grounding_models", grounding.MODELS),
        ("grounding_samples", grounding.SAMPLES),
        ("grounding_ranks", grounding.RANKS),
        ("grounding_summary", grounding.SUMMARY),
        ("grounding_differences", grounding.DIFFERENCES),
        ("grounding_published", list(published.VALUES)),
        ("grounding_published_cases", published.CASES),
        ("grounding_published_domains", published.DOMAINS),
        ("grounding_recovery", list(recovery.CONFUSION)),
        ("grounding_recovered", list(recovery.RECOVERED)),
        ("matched", list(MEANS)),
        ("matched_differences", list(DIFFERENCES)),
        ("factors", ["metric", *factors.SHARES]),
        ("dimensions", list(factors.DIMENSIONS)),
        ("dimension_shares", list(factors.SHARES)),
        ("identifiability", list(identifiability.COLUMNS)),
        ("identifiability_trend", list(identifiability.TREND)),
        ("constructed_kl", list(identifiability.KL_TABLE)),
        ("constructed_perturbed", list(identifiability.PERTURBED)),
    ],
)
def test_columns_are_those_that_the_steps_write(name, columns):
    assert list(RESULT_FILES[name].columns) == list(columns)


@pytest.mark.parametrize("file", RESULT_FILES.values(), ids=list(RESULT_FILES))
def test_every_entry_is_whole(file):
    assert file.what and not file.what.endswith(".")
    assert set(file.key) <= set(file.columns) and set(file.optional_key) <= set(file.key)
    assert bool(file.columns) == file.is_table == bool(file.key)
    assert all(unit and meaning for unit, meaning in file.columns.values())
    path = file.pattern.format(**dict.fromkeys(file.wildcards, "a-1.b_2"))
    assert kind_of(path) == (file, dict.fromkeys(file.wildcards, "a-1.b_2"))


@pytest.mark.parametrize(
    "path",
    [
        "similarity/a/../b.parquet", "similarity/../b.parquet", "similarity/a.parquet",
        "../similarity/a/b.parquet", "similarity/a/b.csv", "other/a/b.parquet", "",
        "consistency/other/a.parquet", "similarity/a/./b.parquet", "similarity/a/b c.parquet",
    ],
)  # fmt: skip
def test_other_paths_are_no_result(path):
    assert kind_of(path) is None


def test_paths_of_a_study():
    results = Results("results/mine", "results/seed1")
    assert (
        results.of("similarity", dataset="d", metric="m") == "results/mine/similarity/d/m.parquet"
    )
    assert results["features"] == "results/seed1/features/{dataset}/{model}.safetensors"
    assert results.log("similarity") == "logs/mine/similarity/{dataset}/{metric}.log"
    assert results.benchmark("samples") == "benchmarks/seed1/samples/{dataset}.tsv"
    assert Results("out/x").log("accuracy") == "logs/out/x/accuracy.log"
    assert Results("results2").log("accuracy") == "logs/results2/accuracy.log"
    assert Results().log("accuracy") == "logs/accuracy.log"


def test_tables_of_what_a_study_selects_no_more_are_left_out(tmp_path):
    for dataset, metric in (("a", "m"), ("b", "m"), ("a", "old")):
        path = tmp_path / "similarity" / dataset / f"{metric}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"x": [1]}).to_parquet(path)
    (tmp_path / "similarity" / "a" / ".pairs").mkdir()
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "similarity" / "a" / ".pairs" / "m.parquet")
    assert read_study(tmp_path) is None
    assert len(list(list_tables(tmp_path, name="similarity"))) == 3
    study = {"datasets": {"a": {}}, "metrics": {"m": {}}, "models": {}}
    assert [path.as_posix() for _, path in list_tables(tmp_path, study)] == [
        (tmp_path / "similarity/a/m.parquet").as_posix()
    ]
