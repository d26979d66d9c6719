"""Objectives in recipes, and the block `factors`: what a plan makes of them, and their mistakes."""

import re

import pytest
from test_recipes import BASE, load

from consilience.config.plan import Plan
from consilience.errors import ConfigError
from consilience.results import Results

PICTURES = """\
net:
  dataset: pictures
  architecture: small:cnn
  training: {steps: 10}
  seeds: 2
  init: matched
  order: matched
  variants:
    supervised: {columns: {objective: supervised}}
    masked: {objective: masked, objective_options: {patch: 8}, columns: {objective: masked}}
"""
FACTORS = {"columns": ["objective"]}


def study_of(tmp_path, recipes=PICTURES, **changes):
    return load(tmp_path, recipes, datasets=("pictures",), **changes)


def test_a_spec_says_the_objective_and_all_its_options(tmp_path):
    specs = {m: t.spec for m, t in study_of(tmp_path).trainings.items()}
    assert specs["net.masked.0"]["objective"] == "masked"
    assert specs["net.masked.0"]["objective_options"] == {"ratio": 0.6, "patch": 8}
    # what was trained before there were objectives is still found by what it is
    assert "objective_options" not in specs["net.supervised.0"]
    assert specs["net.supervised.0"]["objective"] == "classes"
    for purpose in ("init", "order"):
        of_one = [specs[f"net.{v}.1"]["seeds"][purpose] for v in ("supervised", "masked")]
        assert of_one[0] == of_one[1] != specs["net.masked.0"]["seeds"][purpose]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("{patch: 8}", "{patches: 8}"), "unknown key 'patches'; did you mean 'patch'?"),
        (("{patch: 8}", "{ratio: 1.0}"), "ratio: 1.0 is greater than or equal to the maximum"),
        (("{patch: 8}", "{flip: 0.5}"), "masked has no option 'flip'"),
        (("objective: masked,", "objective: maskd,"), "'maskd' is not possible; did you mean"),
        (("{patch: 8}", "{patch: 5}"), "pictures of 32 pixels have no patches of 5; set patch"),
    ],
)  # fmt: skip
def test_a_mistake_names_recipe_and_variant_in_one_sentence(tmp_path, change, message):
    assert change[0] in PICTURES
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        study_of(tmp_path, PICTURES.replace(*change))
    assert "masked" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2, caught.value


def test_vectors_have_no_such_objective(tmp_path):
    with pytest.raises(
        ConfigError, match="rotation is learnt from pictures, and the recipe learns"
    ):
        load(tmp_path, BASE + "  objective: rotation\n")


def plan_of(tmp_path, **changes):
    study = study_of(tmp_path, **changes)
    return Plan(study, Results("results", "results"))


def test_factors_are_told_of_where_the_study_has_the_block(tmp_path):
    plan = plan_of(tmp_path)
    assert plan.matched == plan.shared_out == plan.dimensioned == plan.dimension_shares == []
    plan = plan_of(tmp_path, factors=FACTORS)
    assert plan.matched == plan.shared_out == ["cka_debiased"]
    assert plan.dimensioned == ["pictures"]
    assert plan.dimension_shares == ["results/factors/dimension_shares.parquet"]
    assert plan.dimension_settings == {"columns": ["objective"], "dimensions": 10, "predictors": 20}
    assert plan.factor_models["net.masked.1"]["objective"] == "masked"
    assert plan.share_settings == {"columns": ["objective"], "clusters": "family"}
    unprobed = plan_of(tmp_path, factors=FACTORS, probe={"datasets": []})
    assert (unprobed.matched, unprobed.shared_out) == ([], ["cka_debiased"])


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (
            {"columns": ["objctive"]},
            "no column 'objctive' in the models; did you mean 'objective'?",
        ),
        (
            {"columns": ["training_set"]},
            "all models have one 'training_set'; name columns in which",
        ),
        ({}, "'columns' is missing"),
        ({"columns": ["objective"], "rank": 3}, "unknown key 'rank'"),
    ],
)
def test_factors_that_say_nothing(tmp_path, factors, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        plan_of(tmp_path, factors=factors)
