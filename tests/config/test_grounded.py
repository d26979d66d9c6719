"""Tests of recipes: how they resolve, one sentence for each mistake, and what a plan makes."""

import re

import pytest

from consilience.config import load_study
from consilience.config.plan import Plan
from consilience.errors import ConfigError
from consilience.results import Results

DATASETS = """\
dataset\tsource\tname\tmodality\tparent\tview\talteration
whole\tpackaged\tdigits\timage\t\t\t
part\t\t\timage\twhole\tsplit=test\t
dots\tpackaged\tdigits\timage\t\t\tof=whole split=test shortcut=1
odd\tpackaged\tdigits\timage\t\t\tof=whole split=test shortcut=0 miss=uniform
"""
BASE = """\
tiny:
  dataset: whole
  runs_on: [part]
  architecture: small:cnn
  training: {epochs: 1}
  seeds: 2
  variants:
    standard: {}
    labels_100: {labels: {rate: 1}}
    clear: {shortcut: {rate: 1}, runs_on: [dots, odd]}
    blind: {shortcut: {rate: 0}, runs_on: [dots, odd]}
  tests:
    output: {models: standard, measures: [jsd]}
    labels: {groups: [standard, labels_100]}
    shortcuts: {groups: [blind, clear], on: odd, informative: dots, uninformative: odd}
"""


def load(
    tmp_path, recipes=BASE, models="recipe == 'tiny'", datasets=("part", "dots", "odd"), **more
):
    (tmp_path / "datasets.tsv").write_text(DATASETS, encoding="utf8")
    (tmp_path / "recipes.yaml").write_text(recipes, encoding="utf8")
    catalogs = {name: [str(tmp_path / f"{name}.{end}")]
                for name, end in (("datasets", "tsv"), ("recipes", "yaml"))}  # fmt: skip
    given = {"models": models, "datasets": list(datasets), "metrics": ["cka_debiased"]}
    return load_study({**given, "catalogs": catalogs, "grounding": {}, **more})


def cases(study):
    return {case["test"]: case for case in Plan(study, Results()).cases}


def test_tests_resolve_to_models_and_datasets(tmp_path):
    found = cases(load(tmp_path))
    assert list(found) == ["output", "labels", "shortcuts"]
    assert found["output"]["groups"] == {"standard": ["tiny.standard.0", "tiny.standard.1"]}
    assert found["output"]["measures"] == ["jsd"] and found["labels"]["measures"] == []
    assert (found["labels"]["dataset"], found["shortcuts"]["dataset"]) == ("part", "odd")
    assert list(found["shortcuts"]["groups"]) == ["blind", "clear"]  # in the order of the recipe
    assert found["shortcuts"]["gate"] == {"informative": "dots", "uninformative": "odd"}
    assert {case["domain"] for case in found.values()} == {"image"}


def test_models_start_alike_only_where_their_seeds_match(tmp_path):
    starts = cases(load(tmp_path))["labels"]["starts"]
    assert len(set(starts.values())) == 4
    matched = cases(load(tmp_path, BASE + "  init: matched\n"))["labels"]["starts"]
    assert len(set(matched.values())) == 2
    assert matched["tiny.standard.1"] == matched["tiny.labels_100.1"]


def test_a_plan_asks_for_answers_where_tests_need_them(tmp_path):
    plan = Plan(load(tmp_path), Results())
    assert plan.grounded_on == ["part", "odd"] and plan.answered == ["part", "odd", "dots"]
    assert plan.answering("dots") == [f"tiny.{v}.{i}" for v in ("blind", "clear") for i in (0, 1)]
    assert plan.answer_sets("part") == [["tiny.standard.0", "tiny.standard.1"]]
    assert plan.answer_sets("odd") == []
    assert plan.thresholds == {"min_labels": 0.03, "min_shortcuts": 0.05, "min_augmentation": 0.03}


def test_answers_count_on_samples_that_no_model_learnt_from(tmp_path):
    """All of a view or an alteration of the test split; of what is learnt, the test split alone."""
    plan = Plan(load(tmp_path), Results())
    assert all(plan.held_out(dataset) for dataset in ("part", "odd", "dots"))
    study = load(tmp_path, BASE.replace("runs_on: [part]", "runs_on: [whole]"),
                 datasets=("whole", "dots", "odd"))  # fmt: skip
    plan = Plan(study, Results())
    assert plan.held_out("dots") and not plan.held_out("whole")


def test_nothing_is_grounded_unless_asked_for(tmp_path):
    plan = Plan(load(tmp_path, grounding=None), Results())
    assert not plan.cases and not plan.grounded and not plan.grounding_ranks


def test_a_study_chooses_among_tests(tmp_path):
    study = load(tmp_path, datasets=("part",), grounding={"tests": ["labels"]})
    assert list(cases(study)) == ["labels"]


def test_a_recipe_takes_over_the_tests_of_another_one_by_one(tmp_path):
    more = "other:\n  extends: tiny\n  tests: {output: {models: labels_100}}\n"
    study = load(tmp_path, BASE + more, "recipe == 'other'")
    found = cases(study)
    assert list(found["output"]["groups"]) == ["labels_100"] and "labels" in found


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "{models: standard,",
            "{models: standart,",
            "no variant 'standart'; did you mean 'standard'",
        ),
        ("[blind, clear]", "[blind, claer]", "no variant 'claer'"),
        ("on: odd", "on: evn", "'evn' is not in the study"),
        ("on: odd", "on: part", "'tiny.blind.0' does not run on 'part'"),
        ("informative: dots, ", "", "'informative' is missing"),
        ("[jsd]", "[jds]", "'jds' is not possible"),
        ("seeds: 2", "seeds: 1", "has one model, and a test needs 2"),
        ("    output:", "    outputs:", "unknown key 'outputs'"),
        ("    standard: {}", "    standard: {tests: {}}", "a variant has none of its own"),
    ],
)
def test_mistakes(tmp_path, old, new, words):
    assert old in BASE
    with pytest.raises(ConfigError, match=re.escape(words)):
        load(tmp_path, BASE.replace(old, new, 1))


def test_a_test_whose_models_the_study_lacks(tmp_path):
    with pytest.raises(ConfigError, match=r"lacks its model 'tiny\.labels_100\.0' \(2 in all"):
        load(tmp_path, models="recipe == 'tiny' and variant != 'labels_100'")


def test_a_block_that_grounds_nothing(tmp_path):
    plain = BASE.partition("  tests:")[0]
    with pytest.raises(ConfigError, match="no recipe of the study's models has any of the tests"):
        load(tmp_path, plain)


def test_published_tables_stand_beside_the_ranks(tmp_path):
    given = {"published": {"early": ["a.csv", "b.csv"], "late": ["c.csv"]}}
    plan = Plan(load(tmp_path, grounding=given), Results())
    assert plan.published_files == ["a.csv", "b.csv", "c.csv"]
    assert [path.partition("published/")[2] for path in plan.published_tables] == [
        "values.parquet", "cases.parquet", "domains.parquet",
    ]  # fmt: skip
    assert not Plan(load(tmp_path), Results()).published_tables


def test_recovery_needs_no_recipe(tmp_path):
    given = {"recovery": {"stimuli": [20], "datasets": ["odd"]}, "tests": ["layers"]}
    plan = Plan(load(tmp_path, grounding=given), Results())
    assert plan.recovery_datasets == ["odd"] and plan.recovery_settings["stimuli"] == [20]
    assert plan.recovery == [
        f"results/grounding/{kind}/odd/cka_debiased.parquet" for kind in ("recovery", "recovered")
    ]
    assert not plan.cases and not plan.grounding_ranks
    everywhere = Plan(load(tmp_path, grounding={"recovery": {}}), Results())
    assert everywhere.recovery_datasets == ["dots", "odd", "part"]
    assert everywhere.recovering == ["cka_debiased"]
    assert not Plan(load(tmp_path), Results()).recovery
    with pytest.raises(ConfigError, match=r"`recovery` names 'dot'.*did you mean 'dots'"):
        load(tmp_path, grounding={"recovery": {"datasets": ["dot"]}})
