"""The studies of ReSi at published size: what they hold, against its paper, and what they fetch."""

from collections import Counter

import pytest
import yaml
from clones import ROOT

from consilience.config import load_study
from consilience.config.plan import Plan
from consilience.networks import Task, build
from consilience.results import Results

LEVELS = {
    "cora": {"labels": (0.25, 1), "shortcut": (0, 0.5, 1), "drop_edges": (0.2, 0.8)},
    "flickr": {"labels": (0.25, 1), "shortcut": (0, 0.5, 1), "drop_edges": (0.2, 0.8)},
    "arxiv": {"labels": (0.25, 1), "shortcut": (0, 0.5, 1), "drop_edges": (0.2, 0.8)},
    "sst2": {"labels": (0.75, 1), "shortcut": (0.558, 0.889, 1), "eda": (1,)},
    "mnli": {"labels": (0.75, 1), "shortcut": (0.354, 0.8385, 1), "eda": (0.25, 1)},
    "c100": {"labels": (0.5, 1), "shortcut": (0, 0.75, 1), "noise": (1000, 2000, 4000)},
    "in100": {"labels": (0.5, 1), "shortcut": (0, 0.75, 1), "noise": (1000, 2000, 4000)},
}
"""Rates by data, of groups other than the standard one; of MNLI's ALBERT there is one of EDA."""
CPU = {"cka_debiased", "mutual_knn_k10"}
"""Metrics of the study resi_cpu that are not of the paper."""


@pytest.fixture(scope="module")
def studies():
    return {
        domain: load_study(read(f"resi_{domain}")) for domain in ("graph", "language", "vision")
    }


def read(name):
    return yaml.safe_load((ROOT / "config" / "studies" / f"{name}.yaml").read_text("utf8"))


@pytest.mark.parametrize(
    ("domain", "recipes", "models", "tests"),
    [("graph", 9, 450, 54), ("language", 4, 165, 22), ("vision", 14, 700, 84)],
)
def test_recipes_and_tests(studies, domain, recipes, models, tests):
    study = studies[domain]
    assert len({row["recipe"] for row in study.models.values()}) == recipes
    assert len(study.models) == models
    cases = Plan(study, Results()).cases
    assert len(cases) == tests
    for case in cases:
        sizes = {len(members) for members in case["groups"].values()}
        assert sizes <= ({10} if case["test"] in ("accuracy", "output") else {5, 10})


@pytest.mark.parametrize("domain", ["graph", "language", "vision"])
def test_levels_are_those_published(studies, domain):
    found = {}
    for training in studies[domain].trainings.values():
        spec = training.spec
        rates = found.setdefault(spec["dataset"].split("_")[1], {})
        for kind, cells in spec["alterations"].items():
            for key in {"labels": ["rate"], "shortcut": ["rate"]}.get(kind, cells):
                if key != "synonyms":
                    rates.setdefault(kind if key == "rate" else key, set()).add(cells[key])
    assert found == {
        data: {kind: set(rates) for kind, rates in LEVELS[data].items()} for data in found
    }
    assert set(found) <= set(LEVELS)


def test_metrics_are_the_papers(studies):
    ours = set(studies["graph"].metrics)
    assert len(ours) == 24 and "rtd" in ours
    assert ours == set(studies["language"].metrics) == set(studies["vision"].metrics)
    assert ours - {"rtd"} == set(read("resi_cpu")["metrics"]) - CPU


@pytest.mark.parametrize("domain", ["graph", "language", "vision"])
def test_nothing_that_was_learnt_is_compared(studies, domain):
    plan = Plan(studies[domain], Results())
    assert all(plan.held_out(case["dataset"]) for case in plan.cases)


def test_all_that_they_need_is_fetched(studies):
    def starts(domain):
        rows = Plan(studies[domain], Results()).remote
        return Counter(row["kind"] for row in rows), {
            row["name"] for row in rows if row["kind"] == "model"
        }

    counts, names = starts("language")
    berts = {f"hf-hub:google/multiberts-seed_{seed}" for seed in range(10)}
    assert names == berts | {"hf-hub:albert/albert-base-v2"} and counts["dataset"] == 10
    assert starts("graph") == ({"dataset": 15}, set())
    assert {name.split(".")[1].split("/")[0] for name in starts("vision")[1]} == {"orig_in21k"}
    for study in studies.values():
        for row in study.touched.values():
            assert Plan(study, Results()).presence.sampling(row["dataset"])


def test_shared_starts(studies):
    """Models of one number start alike in all groups of graphs and of MultiBERTs, as published."""
    for domain, recipe in (("graph", "published_cora_gcn"), ("language", "published_sst2_bert")):
        case = next(
            case
            for case in Plan(studies[domain], Results()).cases
            if (case["recipe"], case["test"]) == (recipe, "labels")
        )
        by_number = {}
        for model, start in case["starts"].items():
            by_number.setdefault(model.rpartition(".")[2], set()).add(start)
        assert all(len(found) == 1 for found in by_number.values())
        assert len(set.union(*by_number.values())) == 10


@pytest.mark.parametrize(
    "recipe", ["c100_resnet18", "c100_resnet34", "c100_vgg11", "c100_vgg19", "in100_resnet34"]
)
def test_layers_are_there(studies, recipe):
    training = studies["vision"].trainings[f"published_{recipe}.standard.0"]
    spec, layers = training.spec, training.row["layers"].split(",")
    network = build(spec["architecture"], spec["options"], Task("image", (3, 64, 64), 100))
    assert set(layers) <= {name for name, _ in network.named_modules()}
    assert len(layers) == (5 if recipe.endswith(("18", "11")) else 6)
