"""Into how many jobs the pairs of a table are dealt, counted by hand."""

import math
from types import SimpleNamespace

import pytest

from consilience.config import load_study
from consilience.config.plan import Plan
from consilience.config.sharded import MOST, PAIR_SECONDS, SECONDS, USUAL
from consilience.errors import ConfigError
from consilience.metrics import METRICS
from consilience.results import Results

FOUR = ["lite0", "lite1", "pixels", "squeezenet"]
PAIRS = 4 * 5 // 2  # with those of a model's own layers
BASE = {"models": FOUR, "datasets": ["digits"]}


def plan_of(metrics, **similarity):
    return Plan(load_study({**BASE, "metrics": metrics, "similarity": similarity}), Results())


def test_one_job_unless_asked():
    plan = plan_of(["procrustes"])
    assert plan.shard_counts == {} and plan.shards == []


@pytest.mark.parametrize(("shards", "count"), [(3, 3), (PAIRS, PAIRS), (500, PAIRS)])
def test_no_more_shards_than_pairs(shards, count):
    plan = plan_of(["procrustes"], shards=shards)
    assert plan.shard_counts == {("digits", "procrustes"): count}
    place = SimpleNamespace(dataset="digits", metric="procrustes")
    files = plan.shards(place)
    assert len(files) == len(set(files)) == count


def test_only_metrics_whose_pairs_cost_are_dealt_unless_named():
    metrics = ["cka_debiased", "mutual_knn_k10", "procrustes", "riemannian"]
    dealt = {metric for _, metric in plan_of(metrics, shards=2).shard_counts}
    assert dealt == {"procrustes", "riemannian"}
    named = plan_of(metrics, shards=2, sharded=["mutual_knn_k10"]).shard_counts
    assert named == {("digits", "mutual_knn_k10"): 2}


def test_auto_deals_half_an_hour_of_pairs(monkeypatch):
    assert plan_of(["procrustes", "riemannian"], shards="auto").shard_counts == {}
    monkeypatch.setattr("consilience.config.sharded.SECONDS", 1)
    found = plan_of(["procrustes", "riemannian"], shards="auto").shard_counts
    assert found == {
        ("digits", "procrustes"): math.ceil(PAIRS * USUAL),
        ("digits", "riemannian"): PAIRS,  # 1 s each
    }


def test_draws_of_a_null_and_both_directions_count(monkeypatch):
    monkeypatch.setattr("consilience.config.sharded.SECONDS", 10)

    def count_of(metric, permutations):
        plan = plan_of([metric], shards="auto", permutations=permutations)
        return plan.shard_counts.get(("digits", metric), 1)

    assert count_of("procrustes", 0) == 1
    assert count_of("procrustes", 9) == math.ceil(PAIRS * USUAL * 10 / 10) == 2
    assert count_of("procrustes", 999) == PAIRS
    assert count_of("linear_regression", 9) == math.ceil(PAIRS * USUAL * 2 * 10 / 10) == 4


def test_the_costs_name_metrics_that_are_there():
    assert set(PAIR_SECONDS) <= set(METRICS) and MOST >= 2 and SECONDS > 0


def test_a_shard_that_is_none_is_refused_in_one_sentence():
    plan = plan_of(["procrustes"], shards=3)
    given = {"dataset": "digits", "metric": "procrustes"}
    assert plan.shard_count(SimpleNamespace(**given, shard="3")) == 3
    for wrong in ("0", "4", "03", "x"):
        with pytest.raises(ConfigError, match=f"no shard '{wrong}' of 'procrustes' on 'digits'"):
            plan.shard_count(SimpleNamespace(**given, shard=wrong))


def test_what_cannot_be_dealt_is_said_before_anything_runs():
    with pytest.raises(ConfigError, match=r"similarity\.sharded\[0\].*'procrustas'.*procrustes"):
        plan_of(["procrustes"], sharded=["procrustas"])
    with pytest.raises(ConfigError, match="computed together with"):
        plan_of(["mutual_knn_k10", "jaccard_knn_k10"], shards=2, sharded=["mutual_knn_k10"])
