"""Pairs that a study plans: those that its tests need, counted by hand, and what it then lacks."""

import re
from math import comb

import pytest
from test_grounded import BASE, load

from consilience.config.plan import Plan
from consilience.errors import ConfigError
from consilience.plots import FIGURES
from consilience.results import Results

MORE = """\
other:
  extends: tiny
  seeds: 3
  tests:
    output: {models: standard}
    labels: {groups: [standard, labels_100]}
    layers: {models: standard}
"""
BOTH = "recipe in ['tiny', 'other']"
SOME = {"pairs": "grounding"}


def plan_of(tmp_path, recipes=BASE + MORE, models=BOTH, **more):
    return Plan(load(tmp_path, recipes, models, **{"similarity": SOME, **more}), Results())


def named(recipe, *variants, seeds=2):
    return sorted(f"{recipe}.{v}.{i}" for v in variants for i in range(seeds))


def test_pairs_of_two_recipes(tmp_path):
    """Six models of `other` and four of `tiny` meet on `part`; `standard` is in three tests."""
    plan = plan_of(tmp_path)
    tiny, other = named("tiny", "standard", "labels_100"), named(
        "other", "standard", "labels_100", seeds=3
    )  # fmt: skip
    assert plan.pairs_on("part") == {
        "sets": [other, tiny],
        "layered": named("other", "standard", seeds=3),
    }
    assert sum(comb(len(own), 2) for own in plan.pairs_on("part")["sets"]) == 15 + 6
    assert len(plan.study.models_on["part"]) == 10  # of which all pairs are 45
    blind = named("tiny", "blind", "clear"), named("other", "blind", "clear", seeds=3)
    assert plan.pairs_on("odd") == {"sets": sorted(map(list, blind)), "layered": []}


def test_similarities_only_where_tests_compare(tmp_path):
    plan = plan_of(tmp_path)
    assert plan.compared == ["part", "odd"]
    with pytest.raises(ConfigError, match="no test compares models on 'dots'"):
        plan.pairs_on("dots")
    every = plan_of(tmp_path, similarity={})
    assert every.compared == ["dots", "odd", "part"] and every.pairs_on("dots") is None
    assert not every.lacks and every.metrics_of_all_pairs() == ["cka_debiased"]


def test_fewer_tests_need_fewer_pairs(tmp_path):
    plan = plan_of(tmp_path, grounding={"tests": ["output"]})
    assert plan.pairs_on("part") == {
        "sets": [named("other", "standard", seeds=3), named("tiny", "standard")],
        "layered": [],
    }


def test_what_needs_all_pairs_is_not_made(tmp_path):
    plan = plan_of(tmp_path, metrics=["cka_debiased", "procrustes"])
    assert plan.related == [] and plan.metrics_of_all_pairs() == []
    assert plan.pages, "a page of what the tests say"
    assert plan.page_tables["similarity"] == [] and len(plan.page_tables["grounding"]) == 2
    assert {"consistency", "relation", "similarity"} <= plan.lacks
    drawn = {name for name, facts in FIGURES.items() if facts.values(plan)}
    assert drawn and not any(
        files.lacking(plan) for name in drawn for files in FIGURES[name].reads().values()
    )
    assert {"grounding_pairs", "grounding_layers", "grounding_cost"} <= drawn
    assert "similarity_heatmaps" not in drawn and "metric_agreement" not in drawn
    inputs = FIGURES["similarity_heatmaps"].inputs(plan, Results())
    with pytest.raises(ConfigError, match="needs all pairs of models"):
        inputs["similarity"](["cka_debiased"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"grounding": None}, "the study has no block `grounding`"),
        ({"consistency": {"groups": ["variant"]}}, "consistency.groups: it needs all pairs"),
        ({"reliability": {"splits": 2}}, "reliability.splits: it needs all pairs"),
        ({"similarity": {"pairs": "some"}}, "'some' is not possible"),
    ],
)
def test_mistakes(tmp_path, more, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        plan_of(tmp_path, **more)
